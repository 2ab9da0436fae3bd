//! Bytes that somebody made to be misread: leaves, payloads, disclosures and snapshots decode one way or not at all, without a panic and
//! in bounded memory.
//!
//! Cases are seeded. `GRAVEN_HOSTILE_CASES=100000` takes more of them than the quick form does, and `GRAVEN_HOSTILE_SEED` others.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[path = "support/vectors.rs"]
mod vectors;

#[path = "event_hostile/crafted.rs"]
mod crafted;
#[path = "event_hostile/frames.rs"]
mod frames;
#[path = "event_hostile/mutated.rs"]
mod mutated;
#[path = "event_hostile/mutation.rs"]
mod mutation;

use graven_event::facts::Ref;
use graven_event::payload::{Payload, Sealed, Sealer, SecretKey, Subject};
use graven_event::{Event, Group, Party, PayloadId};
use proptest::test_runner::{Config, RngSeed};
use sha2::{Digest, Sha256};

const QUICK_CASES: u32 = 512;

fn config() -> Config {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    Config {
        cases: number("GRAVEN_HOSTILE_CASES").map_or(QUICK_CASES, |cases| u32::try_from(cases).unwrap()),
        rng_seed: RngSeed::Fixed(number("GRAVEN_HOSTILE_SEED").unwrap_or(6962)),
        failure_persistence: None,
        ..Config::default()
    }
}

const LOG_KEY: SecretKey = SecretKey([3; 32]);

fn subject(party: &Party) -> Subject {
    let digest: [u8; 32] = Sha256::digest(party.subject()).into();
    Subject { reference: Ref(*digest.first_chunk().unwrap()), key: SecretKey(digest) }
}

fn event(raw: &str) -> Event {
    let json = serde_json::json!({
        "action": "admin.role.assign", "actor": "alice", "client": "application:console", "outcome": "denied",
        "targets": [{"kind": "user", "id": "bob"}], "decision": {"reason": "no"}, "context": {"ip": "192.0.2.7"},
        "labels": {"env": "prod"}, "raw": {"format": "text/plain", "text": raw},
    });
    serde_json::from_value(json).unwrap()
}

fn sealed(event: &Event, id: &[u8; 16]) -> Sealed {
    Sealer::default().seal(event, id, &[5; 32], &LOG_KEY, |party| Some(subject(party))).unwrap()
}

fn key_of(event: &Event) -> impl Fn(Ref) -> Option<SecretKey> {
    let subjects: Vec<Subject> = graven_event::group::parties(event).iter().map(subject).collect();
    move |reference| subjects.iter().find(|it| it.reference == reference).map(|it| it.key.clone())
}

/// As if the leaf had committed to these bytes.
fn claim(bytes: &[u8], honest: &PayloadId) -> PayloadId {
    PayloadId { digest: Sha256::digest(bytes).into(), ..*honest }
}

/// Whether every group opens.
fn opens(bytes: &[u8], id: &[u8; 16], honest: &PayloadId, event: &Event) -> bool {
    let claimed = claim(bytes, honest);
    let Ok(payload) = Payload::of(bytes, id, &claimed) else { return false };
    let groups: Vec<Group> = payload.groups().collect();
    groups.into_iter().all(|group| payload.open(group, &LOG_KEY, key_of(event)).is_ok())
}
