//! One log of events, with what belongs to it: its people, its state, its index.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use graven_event::facts::Ref;
use graven_event::payload::{SecretKey, Subject};
use graven_event::query::Blinder;
use graven_event::{Event, Party};
use graven_index::events::EventIndex;
use graven_log::Log;
use graven_vault::{Lookup, Realm, SubjectRef, Vault};
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::Sha256;

use crate::error::AuditError;
use crate::fresh::Fresh;
use crate::hook::Shared;
use crate::scopes::Sums;

/// A log of events.
pub struct Book {
    pub(crate) log: Arc<Log>,
    pub(crate) realm: Realm,
    pub(crate) state: Shared,
    pub(crate) index: Arc<EventIndex>,
    pub(crate) fresh: Fresh,
    pub(crate) keys: Keys,
    /// Held from looking at the rules of keeping to the entry that changes them.
    pub(crate) deciding: tokio::sync::Mutex<()>,
    /// Up to where files of a class were dropped, as an entry says: since the start.
    pub(crate) swept: Mutex<BTreeMap<u8, u64>>,
    /// Decisions that are not in the log yet, as their scopes say.
    pub(crate) sums: Sums,
    /// Held while an earlier state is made again: that takes a processor.
    pub(crate) replaying: tokio::sync::Mutex<()>,
    /// When operators were last told of a producer's clock.
    pub(crate) clock_told: Mutex<Option<Instant>>,
}

/// The log's own keys, as they are used.
pub(crate) struct Keys {
    /// In every group's key.
    pub(crate) group: SecretKey,
    /// Of pseudonyms.
    pseudonym: SecretKey,
    /// Of the index.
    pub(crate) blinder: Blinder,
}

impl Keys {
    pub(crate) fn of(realm: &Realm) -> Self {
        let key = |key: &graven_vault::SecretKey| SecretKey(*key.as_bytes());
        let keys = realm.keys();
        let blinder = Blinder::new(&key(&keys.index));
        Self { group: key(&keys.group), pseudonym: key(&keys.pseudonym), blinder }
    }

    /// What stands for a value that is not a person, for as long as the log has its keys.
    pub(crate) fn pseudonym(&self, of: &str, value: &[u8]) -> [u8; 32] {
        keyed(&self.pseudonym, of, value)
    }
}

impl Book {
    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Blinds what is personal in a question, so that it can be written down.
    pub fn blinder(&self) -> &Blinder {
        &self.keys.blinder
    }

    /// What stands for somebody who is named as `user:alice`, or as `alice` for a user. A producer is nobody.
    pub fn named(&self, name: &str) -> Option<Ref> {
        if name.starts_with(PRODUCER) {
            return None;
        }
        let of = |name: &str| self.realm.by_name(name.as_bytes()).map(|found| Ref(found.reference().0));
        of(name).or_else(|| of(&Party::parse(name).subject()))
    }

    /// Whether a hold of this number stands.
    pub fn is_held_by(&self, hold: Ref) -> bool {
        self.state.lock().rules.holds.contains_key(&hold)
    }

    /// What stands for a token: its identifier is its issuer's (RFC 7519 §4.1.7), and two issuers may use the same.
    pub(crate) fn token(&self, issuer: &str, id: &str) -> Ref {
        let token = [&(issuer.len() as u64).to_be_bytes()[..], issuer.as_bytes(), id.as_bytes()].concat();
        short(&self.keys.pseudonym("token", &token))
    }

    /// What a caller's stream is called in leaves, if it has brought anything.
    pub(crate) fn producer(&self, caller: &str, stream: &str) -> Option<Ref> {
        let found = self.realm.by_name(producer_name(caller, stream).as_bytes());
        found.map(|found| Ref(found.reference().0))
    }

    /// The people of an event: known ones at once, new ones after their keys are durable.
    pub(crate) async fn subjects(
        &self,
        vault: &Arc<Vault>,
        names: Vec<String>,
    ) -> Result<Vec<Subject>, AuditError> {
        let found = {
            let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
            self.realm.known(&names)
        };
        let subjects = match found {
            Some(subjects) => subjects,
            None => {
                let (vault, realm) = (vault.clone(), self.realm.clone());
                let make = move || {
                    let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
                    vault.subjects(&realm, &names)
                };
                tokio::task::spawn_blocking(make).await.map_err(|_| AuditError::Stopping)??
            }
        };
        Ok(subjects.iter().map(subject).collect())
    }

    /// The key behind a reference, if it is still there.
    pub(crate) fn key_of(&self, reference: Ref) -> Option<SecretKey> {
        match self.realm.by_ref(SubjectRef(reference.0)) {
            Lookup::Known(found) => Some(subject(&found).key),
            Lookup::Erased | Lookup::Unknown => None,
        }
    }
}

fn subject(found: &graven_vault::Subject) -> Subject {
    Subject { reference: Ref(found.reference().0), key: SecretKey(*found.key().as_bytes()) }
}

/// HMAC-SHA256 of a value, apart for each use.
pub(crate) fn keyed(key: &SecretKey, of: &str, value: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
    mac.update(b"graven pseudonym v1\n");
    mac.update(of.as_bytes());
    mac.update(b"\n");
    mac.update(value);
    mac.finalize().into_bytes().into()
}

/// The first half, as it stands in leaves.
pub(crate) fn short(tag: &[u8; 32]) -> Ref {
    Ref(std::array::from_fn(|at| tag[at]))
}

/// A name under which the caller's stream of numbered events is a subject. No party has a name like it: theirs begin with their kind,
/// which is never blank.
pub(crate) fn producer_name(caller: &str, stream: &str) -> String {
    format!("{PRODUCER}{caller}/{stream}")
}

/// What producers' names begin with.
const PRODUCER: &str = ":producer/";

/// What an event is called by in a claim: all that it says, in one encoding.
pub(crate) fn content(event: &Event) -> Vec<u8> {
    serde_json::to_vec(event).unwrap_or_default()
}
