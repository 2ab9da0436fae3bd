//! Policies: quorums against counting, limits, and checkpoints of logs with several keys.

use graven_note::policy::{MAX_POLICY_BYTES, MAX_POLICY_LINES, PolicyErrorReason, PolicyWord};
use graven_note::{
    OpenError, Policy, PolicyCheckError, SignatureLine, SignatureType, SignedNote, Signer,
    VerifyCheckpointError, sign_line,
};

use crate::{ORIGIN, TIME, log, signer};

fn witness_line(name: &str, seed: u8) -> String {
    let key = signer(&format!("{name}.example"), SignatureType::CosignatureV1, seed);
    format!("witness {name} {}\n", key.vkey())
}

fn reason(file: &str) -> Option<PolicyErrorReason> {
    Policy::parse(file.as_bytes()).err().map(|error| error.reason)
}

/// (k of a, b, c) and (any of d, e), for every k and every set of witnesses.
#[test]
fn quorums_agree_with_counting() {
    let names = ["a", "b", "c", "d", "e"];
    let witnesses: String = (1..).zip(names).map(|(seed, name)| witness_line(name, seed)).collect();
    for k in 1..=3 {
        let groups = format!("group x {k} a b c\ngroup y any d e\ngroup both all x y\nquorum both\n");
        let policy = Policy::parse(format!("{witnesses}{groups}").as_bytes()).unwrap();
        for set in 0..32_u32 {
            let cosigned = |name: &PolicyWord| {
                (0..)
                    .zip(names)
                    .any(|(bit, known)| set >> bit & 1 == 1 && known.as_bytes() == name.as_bytes())
            };
            let expected = (set & 0b111).count_ones() >= k && set >> 3 != 0;
            assert_eq!(policy.quorum_is_met(cosigned), expected, "k = {k}, set {set:05b}");
        }
    }
}

#[test]
fn one_valid_key_of_a_log_suffices_and_one_invalid_refuses() {
    let log = log();
    let policy = Policy::without_witnesses(&log.keys).unwrap();
    let accept = |note: &SignedNote| policy.verify_checkpoint(note.as_str().as_bytes());
    assert_eq!(accept(&log.note).unwrap().verified().time(), Some(TIME));
    for (index, line) in log.note.signatures().iter().enumerate() {
        let alone = SignedNote::new(log.note.text(), std::slice::from_ref(line)).unwrap();
        accept(&alone).unwrap();
        let mut lines = log.note.signatures().to_vec();
        let mut forged = line.signature().to_vec();
        *forged.last_mut().unwrap() ^= 1;
        lines[index] = SignatureLine::new(&log.keys[index], forged);
        let refused = accept(&SignedNote::new(log.note.text(), &lines).unwrap());
        let expected = matches!(
            refused,
            Err(PolicyCheckError::Checkpoint(VerifyCheckpointError::Note(
                OpenError::InvalidSignature { .. }
            )))
        );
        assert!(expected, "{refused:?}");
    }
}

#[test]
fn a_log_is_known_by_its_keys_names_only() {
    let log = log();
    let stranger = signer("example.com/other", SignatureType::Ed25519, 1).vkey().clone();
    let policy = Policy::without_witnesses(&[stranger]).unwrap();
    let refused = policy.verify_checkpoint(log.note.as_str().as_bytes());
    assert_eq!(refused, Err(PolicyCheckError::UnknownLog(ORIGIN.to_owned())));
}

#[test]
fn both_types_of_cosignature_count_towards_a_quorum() {
    let log = log();
    let witnesses = [
        signer("w.example", SignatureType::CosignatureV1, 40),
        signer("w.example", SignatureType::MlDsa44, 41),
    ];
    let policy = format!(
        "log {}\nwitness a {}\nwitness b {}\ngroup g all a b\nquorum g\n",
        log.keys[0],
        witnesses[0].vkey(),
        witnesses[1].vkey()
    );
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let mut note = log.note;
    for (index, witness) in witnesses.iter().enumerate() {
        let refused = policy.verify_checkpoint(note.as_str().as_bytes());
        assert!(matches!(refused, Err(PolicyCheckError::Quorum(by)) if by.len() == index));
        note = note.with_signature(&sign_line(note.text(), witness, TIME + 5).unwrap()).unwrap();
    }
    let accepted = policy.verify_checkpoint(note.as_str().as_bytes()).unwrap();
    let times: Vec<_> = accepted.witnesses().iter().map(|witness| witness.time_seconds).collect();
    assert_eq!(times, [Some(TIME + 5); 2]);
    assert_eq!(accepted.verified().time(), None, "a witness's time is not the log's");
}

#[test]
fn a_key_may_be_a_logs_and_a_witnesss_at_once() {
    let log = log();
    let key = &log.keys[2];
    let policy = Policy::parse(format!("log {key}\nwitness self {key}\nquorum self\n").as_bytes()).unwrap();
    let accepted = policy.verify_checkpoint(log.note.as_str().as_bytes()).unwrap();
    assert_eq!(accepted.witnesses().len(), 1);
}

#[test]
fn one_public_key_is_listed_once_whatever_its_name() {
    let plain = signer("one.example", SignatureType::Ed25519, 1);
    let renamed = signer("two.example", SignatureType::Ed25519, 1);
    let file = format!("log {}\nlog {}\nquorum none\n", plain.vkey(), renamed.vkey());
    assert_eq!(reason(&file), Some(PolicyErrorReason::DuplicateKey));
    let cosigner = signer("one.example", SignatureType::CosignatureV1, 1);
    let file = format!("log {}\nquorum none\n", cosigner.vkey());
    assert_eq!(reason(&file), Some(PolicyErrorReason::KeyType(SignatureType::CosignatureV1)));
}

#[test]
fn policies_are_bounded() {
    let witnesses = |count: usize| -> String {
        (0..count).map(|index| witness_line(&format!("w{index}"), u8::try_from(index).unwrap())).collect()
    };
    assert_eq!(reason(&format!("{}quorum none\n", witnesses(MAX_POLICY_LINES))), None);
    assert_eq!(reason(&witnesses(MAX_POLICY_LINES + 1)), Some(PolicyErrorReason::TooMany));
    let comment = format!("#{}\nquorum none\n", "-".repeat(MAX_POLICY_BYTES));
    assert_eq!(reason(&comment), Some(PolicyErrorReason::TooLarge));
}

#[test]
fn errors_name_the_line() {
    let error = Policy::parse(b"# a comment\n\nquorum nobody\n").unwrap_err();
    assert_eq!(error.to_string(), "policy line 3: nobody is not defined on an earlier line");
}
