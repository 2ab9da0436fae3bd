//! Statements that hand a log over to new keys: which are followed, and whose signature counts at which size then.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use graven_merkle::{LeafIndex, TreeSize, leaf_hash};
use graven_note::{
    Checkpoint, LocalSigner, LogKeys, Origin, Policy, PolicyCheckError, Rotation, RotationError,
    RotationText, SignatureType, Signer, VerifiedRotation, VerifierKey, VerifyCheckpointError,
    rotation::{MAX_ROTATED_KEYS, format_history, parse_history},
    sign_checkpoint,
};

const ORIGIN: &str = "example.com/audit";
const TYPES: [SignatureType; 3] = [SignatureType::EcdsaP256, SignatureType::Ed25519, SignatureType::MlDsa44];

fn key(name: &str, kind: SignatureType, seed: u8) -> LocalSigner {
    LocalSigner::generate(name.parse().unwrap(), kind, &[seed; 32]).unwrap()
}

/// The keys of generation `n`, one of each type.
fn generation(n: u8) -> Vec<LocalSigner> {
    TYPES.iter().map(|kind| key(ORIGIN, *kind, n + 1)).collect()
}

fn vkeys(signers: &[LocalSigner]) -> Vec<VerifierKey> {
    signers.iter().map(|signer| signer.vkey().clone()).collect()
}

fn recovery() -> LocalSigner {
    key("example.com/recovery", SignatureType::Ed25519, 200)
}

fn origin() -> Origin {
    ORIGIN.parse().unwrap()
}

/// From generation `n` to the next one, as the log completes it.
fn rotation(n: u8, last_size: u64) -> Rotation {
    let (old, new) = (generation(n), generation(n + 1));
    let text =
        RotationText::new(origin(), TreeSize::new(last_size).unwrap(), vkeys(&old), vkeys(&new)).unwrap();
    let signers = old.iter().chain(&new).map(|signer| signer as &dyn Signer);
    text.authorise(&recovery()).unwrap().signed_by(signers).unwrap()
}

fn verified(n: u8, last_size: u64) -> VerifiedRotation {
    rotation(n, last_size).verify(recovery().vkey()).unwrap()
}

/// A head of `size`, signed by these.
fn head(size: u64, signers: &[&LocalSigner]) -> Vec<u8> {
    let signers: Vec<_> = signers.iter().map(|signer| *signer as &dyn Signer).collect();
    let head = Checkpoint::new(origin(), TreeSize::new(size).unwrap(), leaf_hash(b"root"));
    sign_checkpoint(&head, &signers, 1_763_600_000).unwrap().as_str().as_bytes().to_vec()
}

#[test]
fn a_statement_has_one_text_and_any_other_is_refused() {
    let rotation = rotation(0, 7);
    assert_eq!(Rotation::parse(rotation.as_bytes()).unwrap(), rotation);
    let text = rotation.text().to_string();
    assert_eq!(RotationText::parse(&text).unwrap(), *rotation.text());
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    for at in 0..lines.len() {
        let mut without = lines.clone();
        without.remove(at);
        if (3..lines.len()).contains(&at) {
            // A key less is another statement, which the signatures do not cover.
            assert!(RotationText::parse(&joined(&without)).is_ok(), "{at}");
        } else {
            RotationText::parse(&joined(&without)).unwrap_err();
        }
        let mut twice = lines.clone();
        twice.insert(at, lines[at]);
        RotationText::parse(&joined(&twice)).unwrap_err();
    }
    let mut reordered = lines.clone();
    reordered.swap(5, 6);
    RotationText::parse(&joined(&reordered)).unwrap_err();
    for (from, to) in
        [("v1", "v2"), ("\n7\n", "\n07\n"), ("\n7\n", "\n9223372036854775808\n"), ("old ", "old  ")]
    {
        RotationText::parse(&text.replacen(from, to, 1)).unwrap_err();
    }
    RotationText::parse(text.trim_end()).unwrap_err();

    let many: Vec<_> = (0..9).map(|n| key(ORIGIN, SignatureType::Ed25519, 50 + n).vkey().clone()).collect();
    let of = |old: &[VerifierKey], new: &[VerifierKey]| {
        RotationText::new(origin(), TreeSize::ZERO, old.to_vec(), new.to_vec())
    };
    of(&many[..1], &many[1..=MAX_ROTATED_KEYS]).unwrap();
    of(&many[..MAX_ROTATED_KEYS], &many[8..]).unwrap();
    of(&many, &vkeys(&generation(0))).unwrap_err();
    of(&[], &many[..1]).unwrap_err();
    of(&many[..2], &many[1..3]).unwrap_err();
    of(&many[..1], &vkeys(&generation(0))[2..]).unwrap_err();
}

#[test]
fn the_recovery_key_and_a_new_key_must_have_signed_it() {
    let text = rotation(0, 7).text().clone();
    let (old, new) = (generation(0), generation(1));
    let verify = |rotation: Rotation| rotation.verify(recovery().vkey());
    let authorised = || text.authorise(&recovery()).unwrap();
    assert!(matches!(verify(authorised()), Err(RotationError::Unheld(_))));
    let by_old = authorised().signed_by(old.iter().map(|signer| signer as &dyn Signer)).unwrap();
    assert!(matches!(verify(by_old), Err(RotationError::Unheld(_))));
    verify(authorised().signed_by([&new[1] as &dyn Signer]).unwrap()).unwrap();
    // A thief has the old keys, makes new ones, and lacks the recovery key.
    let thief = text.authorise(&key("example.com/recovery", SignatureType::Ed25519, 201)).unwrap();
    let thief = thief.signed_by(old.iter().chain(&new).map(|signer| signer as &dyn Signer)).unwrap();
    assert!(matches!(verify(thief), Err(RotationError::Unauthorised(_))));
    // What was authorised is the text, every byte of it.
    let later = String::from_utf8(rotation(0, 7).as_bytes().to_vec()).unwrap().replacen("\n7\n", "\n8\n", 1);
    assert!(matches!(
        verify(Rotation::parse(later.as_bytes()).unwrap()),
        Err(RotationError::Unauthorised(_))
    ));
}

#[test]
fn whose_signature_counts_follows_from_the_size() {
    let mut keys = LogKeys::new(vkeys(&generation(0)));
    assert!(keys.follow(&verified(0, 10), &origin()).unwrap());
    assert!(keys.follow(&verified(1, 20), &origin()).unwrap());
    let generations = [generation(0), generation(1), generation(2)].map(|it| vkeys(&it));
    for size in 0..30 {
        let due = usize::from(size > 10) + usize::from(size > 20);
        let at = TreeSize::new(size).unwrap();
        assert_eq!(keys.due_at(at), generations[due], "{size}");
        assert_eq!(keys.valid_at(at), generations[due..].concat(), "{size}");
        for (n, generation) in [generation(0), generation(1), generation(2)].iter().enumerate() {
            let opened = keys.open(&head(size, &generation.iter().collect::<Vec<_>>()), &origin());
            match opened {
                Ok(_) => assert!(n >= due, "{size} by {n}"),
                Err(VerifyCheckpointError::Ended { last_size }) => {
                    assert!(n < due, "{size} by {n}");
                    assert_eq!(last_size.get(), [10, 20][n]);
                }
                Err(other) => panic!("{size} by {n}: {other}"),
            }
        }
    }
    assert_eq!(keys.last_size_of(&generations[1][0]), Some(TreeSize::from(20)));
    assert_eq!((keys.last_size_of(&generations[2][0]), keys.newest()), (None, &generations[2][..]));
    // Signed by both, it is signed by the one that counts.
    keys.open(&head(11, &[&generation(0)[0], &generation(1)[0]]), &origin()).unwrap();
    // A stranger's signature is no ended one.
    let stranger = key(ORIGIN, SignatureType::Ed25519, 99);
    let error = keys.open(&head(11, &[&stranger]), &origin()).unwrap_err();
    assert!(matches!(error, VerifyCheckpointError::Note(_)), "{error}");
    // A policy that lists the old key does not make it count.
    let policy = Policy::without_witnesses(&generations[0]).unwrap();
    let note = head(11, &[&generation(0)[1]]);
    let refused = policy.verify_checkpoint_of(&note, &origin(), keys.valid_for(&note)).unwrap_err();
    let refused = refused.explained_by(&note, &origin(), &keys);
    assert!(
        matches!(refused, PolicyCheckError::Checkpoint(VerifyCheckpointError::Ended { .. })),
        "{refused}"
    );
}

#[test]
fn a_chain_of_rotations_is_followed_in_order_and_nothing_else_is() {
    let pinned = || LogKeys::new(vkeys(&generation(0)));
    let mut keys = pinned();
    assert!(matches!(keys.follow(&verified(1, 20), &origin()), Err(RotationError::Unconnected)));
    assert!(keys.follow(&verified(0, 10), &origin()).unwrap());
    assert!(!keys.follow(&verified(0, 10), &origin()).unwrap(), "known");
    assert!(
        !keys.follow(&verified(0, 5), &origin()).unwrap(),
        "the same keys cannot be ended again, earlier"
    );
    assert!(matches!(keys.follow(&verified(1, 10), &origin()), Err(RotationError::Order { .. })));
    assert!(matches!(keys.follow(&verified(1, 9), &origin()), Err(RotationError::Order { .. })));
    let other: Origin = "example.com/other".parse().unwrap();
    assert!(matches!(pinned().follow(&verified(0, 10), &other), Err(RotationError::OtherLog(_))));
    assert!(keys.follow(&verified(1, 20), &origin()).unwrap());
    // Back to the first keys, which somebody may have stolen since.
    let (old, new) = (generation(2), generation(0));
    let back = RotationText::new(origin(), TreeSize::from(30), vkeys(&old), vkeys(&new)).unwrap();
    let back = back.authorise(&recovery()).unwrap();
    let back = back.signed_by(new.iter().map(|signer| signer as &dyn Signer)).unwrap();
    let back = back.verify(recovery().vkey()).unwrap();
    assert!(matches!(keys.follow(&back, &origin()), Err(RotationError::Returns(_))));

    // Who pinned both sets of keys while both signed, in whatever order, knows the same.
    for pinned in [[0, 1], [1, 0], [0, 2], [2, 0]] {
        let mut both = LogKeys::new(pinned.iter().flat_map(|n| vkeys(&generation(*n))).collect());
        assert!(both.follow(&verified(0, 10), &origin()).unwrap());
        assert!(both.follow(&verified(1, 20), &origin()).unwrap());
        assert_eq!(both, keys);
    }
    // A key that no rotation names is nobody's to end.
    let another = key(ORIGIN, SignatureType::Ed25519, 150).vkey().clone();
    let mut more = LogKeys::new([vkeys(&generation(0)), vec![another.clone()]].concat());
    assert!(more.follow(&verified(0, 10), &origin()).unwrap());
    assert_eq!(more.last_size_of(&another), None);
    // Who pinned one type goes on with that type; who pinned a type that ends takes what there is.
    let mut one = LogKeys::new(vec![generation(0)[1].vkey().clone()]);
    assert!(one.follow(&verified(0, 10), &origin()).unwrap());
    assert_eq!(one.newest(), [generation(1)[1].vkey().clone()]);
}

#[test]
fn a_history_is_followed_from_the_keys_that_are_known_on() {
    let all = || [rotation(0, 10), rotation(1, 20), rotation(2, 30)];
    let after = |known: &LogKeys, history: Vec<Rotation>| known.after(history, recovery().vkey(), &origin());
    let first = LogKeys::new(vkeys(&generation(0)));
    let (last, new) = after(&first, all().into()).unwrap();
    assert_eq!((last.newest(), new.len()), (&vkeys(&generation(3))[..], 3));
    assert_eq!(after(&last, all().into()).unwrap(), (last.clone(), vec![]), "all of it is known");
    // Who pinned later keys is led up to them, also when asked again.
    let second = LogKeys::new(vkeys(&generation(1)));
    let (known, new) = after(&second, all().into()).unwrap();
    assert_eq!((known.newest(), new.len()), (last.newest(), 2));
    assert_eq!(after(&known, all().into()).unwrap().1, []);
    // A link that is missing, and one that is forged.
    let missing = after(&first, vec![rotation(0, 10), rotation(2, 30)]);
    assert!(matches!(missing, Err(RotationError::Unconnected)));
    let (old, new) = (generation(0), generation(1));
    let forged = RotationText::new(origin(), TreeSize::from(10), vkeys(&old), vkeys(&new)).unwrap();
    let forged = forged.authorise(&key("example.com/recovery", SignatureType::Ed25519, 201)).unwrap();
    assert!(matches!(after(&first, vec![forged]), Err(RotationError::Unauthorised(_))));
}

#[test]
fn a_history_has_one_text() {
    let rotations =
        [(LeafIndex::new(3).unwrap(), rotation(0, 10)), (LeafIndex::new(12).unwrap(), rotation(1, 20))];
    let text = format_history(rotations.iter().map(|(index, rotation)| (*index, rotation)));
    assert_eq!(parse_history(text.as_bytes()).unwrap(), rotations);
    assert_eq!(parse_history(b"").unwrap(), []);
    for broken in [
        text.replacen("entry 3", "entry 03", 1),
        text.replacen("entry 3", "entry 9223372036854775808", 1),
        text.replacen("entry 3\n", "", 1),
        text.replacen("\n\n", "\n", 1),
        format!("{text}entry 30\n"),
        format!("{text}\n"),
        text[..text.len() - 1].to_owned(),
    ] {
        parse_history(broken.as_bytes()).unwrap_err();
    }
    for end in 1..text.len() {
        let whole = parse_history(&text.as_bytes()[..end]);
        if let Ok(whole) = whole {
            assert_eq!(format_history(whole.iter().map(|(index, rotation)| (*index, rotation))), text[..end]);
        }
    }
}
