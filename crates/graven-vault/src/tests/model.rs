//! Random sequences of everything a vault can be asked.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Make { realm: u8, names: Vec<u8> },
    Erase { realm: u8, names: Vec<u8> },
    EraseUnknown { realm: u8, reference: [u8; 16] },
    EraseAgain,
    Reopen,
    PowerCut { seed: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let names = || prop::collection::vec(0_u8..24, 0..8);
    prop_oneof![
        4 => (0_u8..3, names()).prop_map(|(realm, names)| Step::Make { realm, names }),
        2 => (0_u8..3, names()).prop_map(|(realm, names)| Step::Erase { realm, names }),
        1 => (0_u8..3, any::<[u8; 16]>()).prop_map(|(realm, reference)| Step::EraseUnknown { realm, reference }),
        1 => Just(Step::EraseAgain),
        1 => Just(Step::Reopen),
        1 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_vault_keeps_its_promises(steps in prop::collection::vec(step(), 1..40)) {
        let disk = machine();
        let mut vault = create(&disk).unwrap();
        let mut promises = Promises::default();
        for step in steps {
            let names = |names: Vec<u8>| names.iter().map(|n| format!("user:{n}")).collect::<Vec<_>>();
            match step {
                Step::Make { realm, names: some } => {
                    promises.make(&vault, &realm.to_string(), &names(some)).unwrap();
                }
                Step::Erase { realm, names: some } => {
                    let refs = promises.refs(&realm.to_string(), &names(some));
                    promises.erase(&vault, &realm.to_string(), &refs).unwrap();
                    promises.check_erased_on(&disk);
                }
                Step::EraseUnknown { realm, reference } => {
                    promises.erase(&vault, &realm.to_string(), &[SubjectRef(reference)]).unwrap();
                    promises.erased.insert((realm.to_string(), SubjectRef(reference)), [0; 32]);
                }
                Step::EraseAgain => {
                    for (realm, reference) in promises.erased.clone().into_keys() {
                        promises.erase(&vault, &realm, &[reference]).unwrap();
                    }
                }
                Step::Reopen => vault = open(&disk).unwrap(),
                Step::PowerCut { seed } => {
                    disk.crash(&mut Seed(seed));
                    vault = open(&disk).unwrap();
                }
            }
            promises.check(&vault);
        }
    }
}

#[test]
fn names_of_two_realms_and_of_two_lives_have_nothing_in_common() {
    let vault = create(&machine()).unwrap();
    let (one, two) = (vault.realm(b"one").unwrap(), vault.realm(b"two").unwrap());
    let first = make(&vault, &one, "user:alice");
    let other = make(&vault, &two, "user:alice");
    vault.erase(&[(&one, first.reference())]).unwrap();
    assert!(one.by_name(b"user:alice").is_none());
    let again = make(&vault, &one, "user:alice");
    let refs = BTreeSet::from([first.reference(), other.reference(), again.reference()]);
    let keys: BTreeSet<_> = [&first, &other, &again].map(|subject| *subject.key().as_bytes()).into();
    assert_eq!((refs.len(), keys.len()), (3, 3));
    assert!(matches!(one.by_ref(other.reference()), Lookup::Unknown));
}

#[test]
fn many_at_once_get_one_reference_a_name_and_few_syncs() {
    let disk = machine();
    let vault = create(&disk).unwrap();
    let realm = vault.realm(b"log").unwrap();
    let told: Vec<Vec<SubjectRef>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|n: usize| {
                let (vault, realm) = (&vault, &realm);
                scope.spawn(move || {
                    // Everybody asks for everything, each in another order.
                    let mut told = vec![SubjectRef([0; 16]); 50];
                    for at in 0..50 {
                        let name = (at + n * 7) % 50;
                        told[name] = make(vault, realm, &format!("user:{name}")).reference();
                    }
                    told
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(told.iter().all(|refs| *refs == told[0]));
    let reopened = open(&disk).unwrap().realm(b"log").unwrap();
    assert_eq!(reopened.len(), 50);
    assert_eq!(reopened.by_name(b"user:7").unwrap().reference(), told[0][7]);
}

#[test]
fn known_subjects_are_answered_while_others_are_erased_and_made() {
    let disk = machine();
    let vault = create(&disk).unwrap();
    let realm = vault.realm(b"log").unwrap();
    let stays = make(&vault, &realm, "stays").reference();
    std::thread::scope(|scope| {
        let (vault, realm) = (&vault, &realm);
        scope.spawn(move || {
            for n in 0..40 {
                let goes = make(vault, realm, &format!("goes:{n}"));
                vault.erase(&[(realm, goes.reference())]).unwrap();
            }
        });
        for n in 0..40 {
            make(vault, realm, &format!("new:{n}"));
            assert_eq!(realm.known(&[b"stays"]).unwrap()[0].reference(), stays);
        }
    });
    let realm = open(&disk).unwrap().realm(b"log").unwrap();
    assert_eq!(realm.len(), 41);
}

#[test]
fn names_have_a_length_and_nobody_is_made_by_asking() {
    let vault = create(&machine()).unwrap();
    let realm = vault.realm(b"log").unwrap();
    for name in [&b""[..], &[b'x'; 1_025]] {
        assert!(
            matches!(vault.subjects(&realm, &[name]), Err(WriteError::NameLength(len)) if len == name.len())
        );
        assert!(matches!(vault.realm(name), Err(WriteError::NameLength(_))));
    }
    vault.subjects(&realm, &[&[b'x'; 1_024]]).unwrap();
    assert!(realm.by_name(b"nobody").is_none() && realm.known(&[b"nobody"]).is_none());
    assert!(matches!(realm.by_ref(SubjectRef([1; 16])), Lookup::Unknown));
    assert_eq!(realm.len(), 1);
}

#[test]
fn nothing_tells_what_it_holds() {
    let vault = create(&machine()).unwrap();
    let realm = vault.realm(b"example.com/log").unwrap();
    let alice = make(&vault, &realm, "user:alice");
    let shown =
        format!("{vault:?} {realm:?} {alice:?} {:?} {:?}", alice.reference(), Lookup::Known(alice.clone()));
    assert!(!shown.contains("alice") && !shown.contains("example"), "{shown}");
    let reference: Vec<_> = alice.reference().0.iter().map(ToString::to_string).collect();
    assert!(!shown.contains(&reference.join(", ")), "{shown}");
}

#[test]
fn a_vault_that_was_put_back_is_known_by_its_epoch_and_told_what_was_erased_since() {
    let disk = machine();
    let vault = create(&disk).unwrap();
    let realm = vault.realm(b"log").unwrap();
    let (alice, bob) = (make(&vault, &realm, "alice"), make(&vault, &realm, "bob"));
    let copy = disk.snapshot();
    let carol = make(&vault, &realm, "carol");
    let refs = [alice.reference(), carol.reference()];
    let erased = vault.erase(&refs.map(|reference| (&realm, reference))).unwrap();

    disk.restore(&copy);
    let vault = open(&disk).unwrap();
    assert!(vault.epoch() < erased.epoch);
    let realm = vault.realm(b"log").unwrap();
    assert!(matches!(realm.by_ref(alice.reference()), Lookup::Known(_)));
    let replayed = vault.erase(&refs.map(|reference| (&realm, reference))).unwrap();
    assert_eq!(replayed.destroyed, 1);
    for vault in [vault, open(&disk).unwrap()] {
        let realm = vault.realm(b"log").unwrap();
        assert!(refs.iter().all(|reference| matches!(realm.by_ref(*reference), Lookup::Erased)));
        assert!(matches!(realm.by_ref(bob.reference()), Lookup::Known(_)));
    }
    assert!(!keys_on(&disk).contains(alice.key().as_bytes()));
}
