//! Whatever decodes is what would be written.

use graven_event::disclosure::{Disclosure, Shown};
use graven_event::payload::Payload;
use graven_event::{Frame, Group, HEADER_BYTES, LogState, Unplaced};
use graven_merkle::leaf_hash;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::frames::{any_facts, any_frame};
use super::mutation::{apply, changes};
use super::{LOG_KEY, config, event, key_of, opens, sealed};

const ID: [u8; 16] = [9; 16];

/// Decodes to what encodes to the same, or not at all.
fn one_way(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let Ok(frame) = Frame::decode(bytes) else { return Ok(false) };
    prop_assert_eq!(frame.encode(), Ok(bytes.to_vec()));
    let (unplaced, same) = Unplaced::from_bytes(bytes.to_vec()).unwrap();
    prop_assert_eq!(&same, &frame);
    prop_assert_eq!(unplaced.place(frame.log_time, frame.previous), bytes);
    Ok(true)
}

/// The leaf with other facts, and the length that goes with them.
fn with_facts(leaf: &[u8], facts: &[u8]) -> Vec<u8> {
    let mut leaf = leaf[..HEADER_BYTES].to_vec();
    let len = u16::try_from(facts.len()).unwrap_or(u16::MAX);
    leaf[154..156].copy_from_slice(&len.to_be_bytes());
    leaf.extend_from_slice(facts);
    leaf
}

/// Facts, field by field.
fn fields(mut facts: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    while let Some(([_, hi, lo], _)) = facts.split_first_chunk::<3>() {
        let (field, rest) = facts.split_at(3 + usize::from(u16::from_be_bytes([*hi, *lo])));
        fields.push(field.to_vec());
        facts = rest;
    }
    fields
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_frame_is_read_as_it_was_written(frame in any_frame()) {
        let bytes = frame.encode().unwrap();
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
    }

    #[test]
    fn a_leaf_that_was_changed_is_another_or_none(frame in any_frame(), changes in changes()) {
        let bytes = frame.encode().unwrap();
        let changed = apply(&bytes, &changes);
        if one_way(&changed)? && changed != bytes {
            prop_assert_ne!(Frame::decode(&changed), Ok(frame));
        }
    }

    /// The header is whole, so that all the damage is behind it.
    #[test]
    fn facts_that_were_changed_are_others_or_none(frame in any_frame(), changes in changes()) {
        let bytes = frame.encode().unwrap();
        one_way(&with_facts(&bytes, &apply(&bytes[HEADER_BYTES..], &changes)))?;
    }

    /// Fields in another order, twice, left out, or of another kind's leaf.
    #[test]
    fn fields_stand_in_one_order(
        frame in any_frame(), other in any_facts(), moves in vec((any::<Index>(), any::<Index>(), 0_u8..4), 1..4)
    ) {
        let bytes = frame.encode().unwrap();
        let foreign = Frame { facts: other, outcome: Some(graven_event::Outcome::Success), ..frame }.encode().unwrap();
        let (mut all, foreign) = (fields(&bytes[HEADER_BYTES..]), fields(&foreign[HEADER_BYTES..]));
        for (from, to, what) in moves {
            if all.is_empty() { break }
            let (from, to) = (from.index(all.len()), to.index(all.len()));
            match what {
                0 => all.swap(from, to),
                1 => all.insert(to, all[from].clone()),
                2 => drop(all.remove(from)),
                _ if foreign.is_empty() => {}
                _ => all[to] = foreign[from % foreign.len()].clone(),
            }
        }
        one_way(&with_facts(&bytes, &all.concat()))?;
    }

    #[test]
    fn noise_is_read_one_way(noise in vec(any::<u8>(), 0..400), kind in 0_u8..16, outcome in 0_u8..6) {
        prop_assert!(!one_way(&noise)?);
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&[b'G', b'R', b'V', b'E', 1, kind, outcome, 0]);
        one_way(&with_facts(&header, &noise))?;
    }

    #[test]
    fn a_payload_that_was_changed_does_not_open(changes in changes()) {
        let event = event("alice gave bob a role");
        let honest = sealed(&event, &ID);
        let changed = apply(&honest.bytes, &changes);
        prop_assert_eq!(opens(&changed, &ID, &honest.id, &event), changed == honest.bytes);
    }

    #[test]
    fn noise_is_no_payload(noise in vec(any::<u8>(), 0..300)) {
        let honest = sealed(&event("x"), &ID);
        let noise = [&honest.bytes[..42], &noise[..]].concat();
        prop_assert!(Payload::of(&noise, &ID, &super::claim(&noise, &honest.id)).is_err());
    }

    #[test]
    fn a_disclosure_is_read_one_way(changes in changes()) {
        let text = disclosure();
        let changed = apply(text.as_bytes(), &changes);
        let Ok(changed) = String::from_utf8(changed) else { return Ok(()) };
        if let Ok(read) = Disclosure::parse(&changed) {
            prop_assert_eq!(read.to_string(), &changed[..]);
            let same_proof = read.proof == Disclosure::parse(&text).unwrap().proof;
            // What is shown stands or falls with the leaf: it is the proof's business whether that one is in the log.
            let same_leaf = read.leaf == Disclosure::parse(&text).unwrap().leaf;
            if changed != text && same_leaf && same_proof && read.groups.is_some() {
                prop_assert!(read.open(|_| None).is_err());
            }
        }
    }

    #[test]
    fn a_snapshot_is_read_one_way(frames in vec(any_frame(), 0..12), changes in changes()) {
        let mut state = LogState::default();
        for frame in &frames {
            state.take(frame, leaf_hash(&frame.encode().unwrap()));
        }
        let bytes = state.encode();
        prop_assert_eq!(LogState::decode(&bytes), Ok(state));
        let changed = apply(&bytes, &changes);
        if let Ok(other) = LogState::decode(&changed) {
            prop_assert_eq!(other.encode(), changed);
        }
    }
}

fn disclosure() -> String {
    let event = event("record");
    let sealed = sealed(&event, &ID);
    let payload = Payload::of(&sealed.bytes, &ID, &sealed.id).unwrap();
    let facts =
        graven_event::facts::RejectedFacts { digest: [1; 32], reason: graven_event::Word::new("x").unwrap() };
    let frame = Frame {
        outcome: None,
        retention: 0,
        log_time: graven_event::Time(1),
        id: ID,
        producer: graven_event::Ref::default(),
        sequence: 0,
        previous: [0; 32],
        payload: Some(sealed.id),
        facts: graven_event::Facts::Rejected(facts),
    };
    let hashes = payload.hashes();
    let shown = |group: Group| match group {
        Group::Actor | Group::Context => Shown::Group(payload.open(group, &LOG_KEY, key_of(&event)).unwrap()),
        hidden => Shown::Hash(hashes[usize::from(hidden.number()) - 1]),
    };
    let proof = "c2sp.org/tlog-proof@v1\nindex 0\n".to_owned();
    Disclosure { leaf: frame.encode().unwrap(), groups: Some(Group::ALL.map(shown)), proof }.to_string()
}
