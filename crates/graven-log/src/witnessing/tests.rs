//! Rounds without I/O, and the journal on a disk that forgets what was not synced.

use bytes::Bytes;
use graven_merkle::{TreeSize, leaf_hash};
use graven_note::{
    Checkpoint, LocalSigner, Policy, SignatureLine, SignatureType, Signer as _, sign_checkpoint, sign_line,
};

use super::candidate::Candidate;
use super::rounds::{Effect, Rounds};
use super::{CosignError, Publish, Witnessing, WitnessingError};
use crate::log::Head;
use crate::window::MAX_SKEW;

const ORIGIN: &str = "example.com/audit";
const ROUND: u64 = 5_000;
/// When rounds start, and what the clock says in them, in seconds since 1970.
const START: u64 = 1_000;
const NOW: u64 = 3_000;

struct World {
    log: LocalSigner,
    witnesses: Vec<LocalSigner>,
    policy: Policy,
}

impl World {
    /// Three witnesses, two of which are a quorum; the third signs with ML-DSA-44.
    fn new() -> Self {
        let key = |name: &str, kind, n| LocalSigner::generate(name.parse().unwrap(), kind, &[n; 32]).unwrap();
        let witnesses = vec![
            key("w.example/1", SignatureType::CosignatureV1, 1),
            key("w.example/2", SignatureType::CosignatureV1, 2),
            key("w.example/3", SignatureType::MlDsa44, 3),
        ];
        let lines: String =
            witnesses.iter().zip(1..).map(|(key, n)| format!("witness w{n} {}\n", key.vkey())).collect();
        let policy = Policy::parse(format!("{lines}group g 2 w1 w2 w3\nquorum g\n").as_bytes()).unwrap();
        Self { log: key(ORIGIN, SignatureType::MlDsa44, 9), witnesses, policy }
    }

    fn head_at(&self, size: u64, time_seconds: u64) -> Head {
        let root = leaf_hash(&size.to_be_bytes());
        let checkpoint = Checkpoint::new(ORIGIN.parse().unwrap(), TreeSize::new(size).unwrap(), root);
        let note = sign_checkpoint(&checkpoint, &[&self.log], time_seconds).unwrap();
        Head { checkpoint, time_seconds, note: Bytes::copy_from_slice(note.as_str().as_bytes()) }
    }

    fn head(&self, size: u64) -> Head {
        self.head_at(size, 100)
    }

    /// The line of witness `n`, counted from 1, over a head.
    fn line(&self, n: usize, size: u64, time_seconds: u64) -> SignatureLine {
        let text = self.head(size).checkpoint.to_string();
        sign_line(&text, &self.witnesses[n - 1], time_seconds).unwrap()
    }

    fn start(&self, size: u64) -> Rounds {
        Rounds::start(self.policy.clone(), ROUND, self.head(size), None, 0, START)
    }

    /// Rounds that are past their start, with head 1 witnessed by the first two.
    fn begun(&self) -> Rounds {
        let mut rounds = self.start(1);
        for n in [1, 2] {
            rounds.cosigned(1, &[self.line(n, 1, 1_000)], 10, NOW).unwrap();
        }
        assert!(rounds.is_cleared() && !rounds.is_open(10));
        rounds
    }

    fn signers(&self, head: &Head) -> usize {
        let keys: Vec<_> = self.witnesses.iter().map(|it| it.vkey().clone()).collect();
        graven_note::open(&head.note, &keys).map_or(0, |note| note.signatures().len())
    }
}

#[test]
fn a_quorum_makes_a_head_witnessed_and_later_cosignatures_are_added() {
    let world = World::new();
    let mut rounds = world.begun();
    assert!(rounds.signed(world.head(5), 20).is_offered);
    assert!(rounds.is_open(20));
    let first = rounds.cosigned(5, &[world.line(3, 5, 1_001)], 30, NOW).unwrap();
    assert_eq!(first, Effect { is_new: true, ..Effect::default() });
    assert_eq!(rounds.witnessed().unwrap().size(), 1, "one is no quorum");
    let second = rounds.cosigned(5, &[world.line(1, 5, 1_002)], 40, NOW).unwrap();
    assert!(second.is_newly_witnessed && second.is_witnessed);
    let head = rounds.witnessed().unwrap().head();
    assert_eq!((head.size().get(), world.signers(&head)), (5, 2));
    let late = rounds.cosigned(5, &[world.line(2, 5, 1_003)], 50, NOW).unwrap();
    assert!(late.is_new && late.is_witnessed && !late.is_newly_witnessed, "it is journalled once");
    let more = rounds.witnessed().unwrap().head();
    assert!(more.note.starts_with(&head.note), "what was released keeps its lines and their order");
    assert_eq!(world.signers(&more), 3);
    // Also once the next one is offered.
    rounds.signed(world.head(6), 60);
    assert!(!rounds.cosigned(5, &[world.line(2, 5, 1_003)], 70, NOW).unwrap().is_new);
}

#[test]
fn one_head_at_a_time_is_offered_until_its_quorum_or_the_end_of_its_time() {
    let world = World::new();
    let mut rounds = world.begun();
    rounds.signed(world.head(2), 100);
    for (size, at) in [(3, 110), (4, 120)] {
        assert_eq!(rounds.signed(world.head(size), at), Effect::default());
    }
    assert_eq!(rounds.offered().size(), 2);
    assert_eq!(rounds.tick(100 + ROUND - 1), Effect::default());
    assert!(rounds.tick(100 + ROUND).is_offered);
    assert_eq!(rounds.offered().size(), 4, "the newest, and none between");
    let refused = rounds.cosigned(2, &[world.line(1, 2, 1_001)], 5_200, NOW).unwrap_err();
    assert_eq!(refused, CosignError::NotPending { size: 4 });
    // With a quorum the next one need not wait.
    rounds.signed(world.head(7), 5_200);
    rounds.cosigned(4, &[world.line(1, 4, 1_002)], 5_210, NOW).unwrap();
    let effect = rounds.cosigned(4, &[world.line(2, 4, 1_002)], 5_220, NOW).unwrap();
    assert!(effect.is_newly_witnessed && effect.is_offered);
    assert_eq!((rounds.offered().size(), rounds.witnessed().unwrap().size()), (7, 4));
    assert_eq!(rounds.met_ns(), 5_220);
}

#[test]
fn a_witness_counts_once_and_what_does_not_verify_counts_for_nothing() {
    let world = World::new();
    let mut rounds = world.begun();
    rounds.signed(world.head(2), 20);
    for time in [1_001, 1_002, 1_001] {
        let effect = rounds.cosigned(2, &[world.line(1, 2, time), world.line(1, 2, time)], 30, NOW).unwrap();
        assert!(!effect.is_witnessed);
    }
    let head = rounds.offered().head();
    assert_eq!(head.note, [&world.head(2).note[..], world.line(1, 2, 1_002).to_string().as_bytes()].concat());

    let stranger =
        LocalSigner::generate("w.example/9".parse().unwrap(), SignatureType::CosignatureV1, &[7; 32]);
    let stranger = sign_line(&world.head(2).checkpoint.to_string(), &stranger.unwrap(), 1_001).unwrap();
    assert_eq!(
        rounds.cosigned(2, std::slice::from_ref(&stranger), 30, NOW).unwrap_err(),
        CosignError::Unknown
    );
    assert_eq!(rounds.cosigned(2, &[], 30, NOW).unwrap_err(), CosignError::Unknown);
    // A line over another tree, in the name of a witness: nothing that came with it is taken either.
    let lines = [stranger.clone(), world.line(2, 2, 1_001), world.line(3, 3, 1_001)];
    assert!(
        matches!(rounds.cosigned(2, &lines, 30, NOW).unwrap_err(), CosignError::Invalid(name) if name.as_bytes() == b"w3")
    );
    let timeless = world.line(3, 2, 0);
    assert!(matches!(rounds.cosigned(2, &[timeless], 30, NOW).unwrap_err(), CosignError::Invalid(_)));
    assert_eq!(rounds.offered().head(), head);
    // Beside a line of somebody known, strangers are only left out.
    assert!(rounds.cosigned(2, &[stranger, world.line(2, 2, 1_001)], 30, NOW).unwrap().is_newly_witnessed);
}

#[test]
fn nothing_is_cleared_after_a_start_while_those_that_are_silent_could_be_a_quorum() {
    let world = World::new();
    let mut rounds = world.start(8);
    assert!(!rounds.is_cleared());
    assert_eq!(rounds.tick(u64::MAX), Effect::default(), "no time makes up for an answer");
    assert!(!rounds.cosigned(8, &[world.line(1, 8, 1_001)], 10, NOW).unwrap().is_cleared);
    assert!(rounds.cosigned(8, &[world.line(1, 8, 1_002)], 10, NOW).is_ok_and(|it| !it.is_cleared));
    assert!(rounds.cosigned(8, &[world.line(3, 8, 1_001)], 10, NOW).unwrap().is_cleared);
    assert!(rounds.is_cleared());

    // What it had from before the start is not an answer.
    let mut stored = Candidate::new(world.head(8));
    let lines = [world.line(1, 8, START - 1), world.line(2, 8, START - 1)];
    let checked = stored.check(&lines, &world.policy, NOW).unwrap();
    stored.take_in(checked);
    let mut rounds = Rounds::start(world.policy.clone(), ROUND, world.head(8), Some(stored), 0, START);
    assert!(rounds.offered().has_quorum(&world.policy, false) && !rounds.is_cleared());
    assert_eq!(rounds.witnessed().unwrap().size(), 8);
    // Nor is it where it is brought again.
    for lines in [&lines[..1], &lines] {
        let refused = rounds.cosigned(8, lines, 10, NOW).unwrap_err();
        assert!(matches!(refused, CosignError::NotOfNow { seconds: -2_001, .. }), "{refused}");
    }
    assert!(!rounds.is_cleared());
}

/// The lines of the head that an old copy ends with are public: anybody can bring them to a server that was started on it.
#[test]
fn only_a_cosignature_of_after_the_start_and_not_of_the_future_is_an_answer() {
    let world = World::new();
    let skew = MAX_SKEW.as_secs();
    for (time, counts) in [
        (1, false),
        (START - 1, false),
        (START, true),
        (NOW, true),
        (NOW + skew, true),
        (NOW + skew + 1, false),
        (u64::MAX >> 1, false),
    ] {
        let mut rounds = world.start(8);
        let taken: Vec<_> =
            (1..=3).map(|n| rounds.cosigned(8, &[world.line(n, 8, time)], 10, NOW).is_ok()).collect();
        assert_eq!((taken, rounds.is_cleared()), (vec![counts; 3], counts), "{time}");
    }
    // One old line among new ones: nothing that came with it is taken.
    let mut rounds = world.start(8);
    let lines = [world.line(1, 8, START), world.line(2, 8, START - 1), world.line(3, 8, START)];
    let refused = rounds.cosigned(8, &lines, 10, NOW).unwrap_err();
    assert!(
        matches!(&refused, CosignError::NotOfNow { witness, .. } if witness.as_bytes() == b"w2"),
        "{refused}"
    );
    assert!(!rounds.is_cleared() && rounds.offered().witnesses(&world.policy, true).is_empty());
}

#[test]
fn a_head_that_is_signed_anew_keeps_its_cosignatures_and_asks_for_fresh_ones() {
    let world = World::new();
    let mut rounds = world.begun();
    assert!(rounds.signed(world.head_at(1, 2_000), 20).is_offered);
    let head = rounds.witnessed().unwrap().head();
    assert_eq!((head.time_seconds, world.signers(&head)), (2_000, 2));
    assert!(rounds.is_open(20), "the old ones are no fresh quorum");
    assert!(rounds.offered().witnesses(&world.policy, true).is_empty());
    // The old ones again are none either, and do not make it look as if witnesses were there.
    for time in [1_000, 1_999 - MAX_SKEW.as_secs()] {
        let lines = [world.line(1, 1, time), world.line(2, 1, time)];
        assert!(matches!(rounds.cosigned(1, &lines, 30, NOW), Err(CosignError::NotOfNow { .. })), "{time}");
    }
    assert!(rounds.is_open(30) && rounds.met_ns() == 10);
    for n in [1, 3] {
        rounds.cosigned(1, &[world.line(n, 1, 2_000 - MAX_SKEW.as_secs())], 30, NOW).unwrap();
    }
    assert!(!rounds.is_open(30));
    assert_eq!(world.signers(&rounds.witnessed().unwrap().head()), 3);
}

#[test]
fn a_stored_note_gives_back_what_its_lines_prove() {
    let world = World::new();
    let rounds = world.begun();
    let head = rounds.witnessed().unwrap().head();
    let (origin, keys) = (ORIGIN.parse().unwrap(), vec![world.log.vkey().clone()].into());
    let known = Candidate::of_note(&head.note, &origin, &keys, &world.policy).unwrap();
    assert_eq!(known.head(), head);
    assert!(known.has_quorum(&world.policy, false) && !known.has_quorum(&world.policy, true));
    let others =
        Policy::parse(format!("witness w {}\nquorum w\n", world.witnesses[2].vkey()).as_bytes()).unwrap();
    let known = Candidate::of_note(&head.note, &origin, &keys, &others).unwrap();
    assert_eq!(known.head(), world.head(1), "lines of witnesses that are not listed any more");
    assert!(!known.has_quorum(&others, false));
    let flipped = String::from_utf8(head.note.to_vec()).unwrap().replacen("audit\n1\n", "audit\n2\n", 1);
    assert!(Candidate::of_note(flipped.as_bytes(), &origin, &keys, &world.policy).is_none());
}

#[test]
fn a_policy_must_need_somebody_and_its_lines_must_fit() {
    let new = |policy: String| {
        let policy = Policy::parse(policy.as_bytes()).unwrap();
        Witnessing::new(policy, Publish::Signed, std::time::Duration::from_secs(5)).map(drop)
    };
    assert_eq!(new("quorum none\n".to_owned()), Err(WitnessingError::NoQuorum));
    let witness = |n: u8| {
        let key =
            LocalSigner::generate(format!("w{n}").parse().unwrap(), SignatureType::CosignatureV1, &[n; 32]);
        format!("witness w{n} {}\n", key.unwrap().vkey())
    };
    let policy = |count: u8| (0..count).map(witness).collect::<String>() + "quorum w0\n";
    assert_eq!(new(policy(64)), Ok(()));
    assert_eq!(new(policy(65)), Err(WitnessingError::TooMany(65)));

    // Two keys of one witness: as two of a quorum, as one, and as one voice.
    let key = |kind, n| LocalSigner::generate("w0".parse().unwrap(), kind, &[n; 32]).unwrap();
    let other = format!("witness w0b {}\n", key(SignatureType::MlDsa44, 9).vkey());
    let with = |groups: &str| new(policy(2).replace("quorum w0\n", &other) + groups + "quorum g\n");
    let twice = with("group g 2 w0 w0b w1\n");
    assert_eq!(twice, Err(WitnessingError::CountedTwice("w0".parse().unwrap())));
    assert!(twice.unwrap_err().to_string().contains("group of their own"));
    assert_eq!(with("group g 1 w0 w0b w1\n"), Ok(()));
    assert_eq!(with("group one any w0 w0b\ngroup g 2 one w1\n"), Ok(()));
}
