//! Applying a policy to checkpoints.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{Node, Policy, PolicyWord};
use crate::checkpoint::{Checkpoint, Origin};
use crate::name::KeyName;
use crate::note::SignedNote;
use crate::open::VerifiedNote;
use crate::rotation::LogKeys;
use crate::verified::{VerifiedCheckpoint, VerifyCheckpointError};
use crate::vkey::VerifierKey;

/// A verified checkpoint that met a policy's quorum, and the witnesses that cosigned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessedCheckpoint {
    verified: VerifiedCheckpoint,
    witnesses: Vec<WitnessTime>,
}

/// A witness that cosigned, by its name in the policy, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessTime {
    /// The witness's name in the policy.
    pub name: PolicyWord,
    /// The time in its cosignature, in seconds since the Unix epoch; `None` where it states none.
    pub time_seconds: Option<u64>,
}

/// Why a policy does not accept a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyCheckError {
    /// Not a checkpoint signed by a log that the policy lists.
    #[error(transparent)]
    Checkpoint(#[from] VerifyCheckpointError),
    /// No `log` line has this origin as its key's name.
    #[error("the policy lists no key for log {0:?}")]
    UnknownLog(String),
    /// Too few witnesses cosigned.
    #[error("the quorum is not met: valid cosignatures by {} of the policy's witnesses", .0.len())]
    Quorum(Vec<WitnessTime>),
}

impl PolicyCheckError {
    /// The same, saying so where the note was refused for its keys' end: see [`LogKeys::explain`].
    #[must_use]
    pub fn explained_by(self, note: &[u8], origin: &Origin, keys: &LogKeys) -> Self {
        match self {
            Self::Checkpoint(error) => Self::Checkpoint(keys.explain(note, origin, error)),
            other => other,
        }
    }
}

impl WitnessedCheckpoint {
    /// The checkpoint.
    pub fn verified(&self) -> &VerifiedCheckpoint {
        &self.verified
    }

    /// The checkpoint alone.
    pub fn into_verified(self) -> VerifiedCheckpoint {
        self.verified
    }

    /// The policy's witnesses whose cosignature is on it, in the policy's order.
    pub fn witnesses(&self) -> &[WitnessTime] {
        &self.witnesses
    }
}

impl Policy {
    /// Whether cosignatures by the witnesses for which `cosigned` holds meet the quorum.
    pub fn quorum_is_met(&self, cosigned: impl Fn(&PolicyWord) -> bool) -> bool {
        let mut met: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            // Members stand before their group, so their answers are known here.
            met.push(match node {
                Node::Witness(witness) => cosigned(&witness.name),
                Node::Group(group) => {
                    group.members.iter().filter(|member| met[**member]).count() >= group.threshold
                }
            });
        }
        self.quorum.is_none_or(|quorum| met[quorum])
    }

    /// How fresh a checkpoint is, in seconds since the Unix epoch: the latest time such that cosignatures no older than
    /// it meet the quorum, or the log's own time where the policy asks for no witness. `None` where too few state one.
    ///
    /// So one witness whose clock runs ahead, or that cosigns for a log that stands still, does not make a checkpoint
    /// look fresh to a policy that asks for two.
    pub fn time_of(&self, checkpoint: &WitnessedCheckpoint) -> Option<u64> {
        if self.quorum_is_met(|_| false) {
            return checkpoint.verified.time();
        }
        let mut times: Vec<_> = checkpoint.witnesses.iter().filter_map(|it| it.time_seconds).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        let since = |time: u64, name: &PolicyWord| {
            checkpoint.witnesses.iter().any(|it| &it.name == name && it.time_seconds >= Some(time))
        };
        times.into_iter().find(|time| self.quorum_is_met(|name| since(*time, name)))
    }

    /// A witness that a group would count twice, because its keys stand on several lines: by the name of its keys.
    ///
    /// tlog-policy calls lines the same only if their public keys are, and this is not part of parsing: it is for
    /// verifiers, for whom two out of three witnesses are two parties. A witness that signs with several algorithms is
    /// written as a group of its own, `any` or `all`, which counts once.
    pub fn counted_twice(&self) -> Option<&KeyName> {
        let mut below: Vec<BTreeSet<&str>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let mut names = BTreeSet::new();
            match node {
                Node::Witness(witness) => {
                    names.insert(witness.key.name().as_str());
                }
                Node::Group(group) => {
                    let demands_all = group.threshold == group.members.len()
                        && group.members.iter().all(|member| self.nodes[*member].witness().is_some());
                    for name in group.members.iter().flat_map(|member| &below[*member]) {
                        let is_twice = !names.insert(*name) && group.threshold > 1;
                        if is_twice && !(demands_all && below_all_alike(&below, &group.members)) {
                            return self.witnesses().map(|it| it.key.name()).find(|it| it.as_str() == *name);
                        }
                    }
                }
            }
            below.push(names);
        }
        None
    }

    /// Verifies a checkpoint note of one of the policy's logs, with the policy's quorum.
    pub fn verify_checkpoint(&self, note: &[u8]) -> Result<WitnessedCheckpoint, PolicyCheckError> {
        let note = SignedNote::parse(note).map_err(VerifyCheckpointError::from)?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(VerifyCheckpointError::from)?;
        let origin = checkpoint.origin();
        let log_keys: Vec<_> = self.keys_of(origin).cloned().collect();
        if log_keys.is_empty() {
            return Err(PolicyCheckError::UnknownLog(origin.to_string()));
        }
        self.check(note, origin, &log_keys)
    }

    /// Verifies a checkpoint note of a log that is known otherwise: one of `log_keys` must have signed it, and the
    /// policy's witnesses and quorum count. An invalid signature by a log of the policy still refuses it.
    pub fn verify_checkpoint_of(
        &self,
        note: &[u8],
        origin: &Origin,
        log_keys: &[VerifierKey],
    ) -> Result<WitnessedCheckpoint, PolicyCheckError> {
        let note = SignedNote::parse(note).map_err(VerifyCheckpointError::from)?;
        self.check(note, origin, log_keys)
    }

    /// The policy's keys for the log `origin`.
    pub fn keys_of(&self, origin: &Origin) -> impl Iterator<Item = &VerifierKey> {
        let named = move |key: &&VerifierKey| key.name().as_str() == origin.as_str();
        self.logs.iter().map(|log| &log.key).filter(named)
    }

    fn check(
        &self,
        note: SignedNote,
        origin: &Origin,
        log_keys: &[VerifierKey],
    ) -> Result<WitnessedCheckpoint, PolicyCheckError> {
        let mut keys = log_keys.to_vec();
        let listed = self.logs.iter().map(|log| &log.key).chain(self.witnesses().map(|witness| &witness.key));
        for key in listed {
            // One key may be a log's and a witness's at once.
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        let note = note.verify(&keys).map_err(VerifyCheckpointError::from)?;
        let witnesses = self.witnesses_on(&note);
        let verified = VerifiedCheckpoint::of_note(note, origin, log_keys)?;
        if !self.quorum_is_met(|name| witnesses.iter().any(|witness| &witness.name == name)) {
            return Err(PolicyCheckError::Quorum(witnesses));
        }
        Ok(WitnessedCheckpoint { verified, witnesses })
    }

    fn witnesses_on(&self, note: &VerifiedNote) -> Vec<WitnessTime> {
        let time = |witness: &super::PolicyWitness| {
            let signature = note.signature_by(&witness.key)?;
            Some(WitnessTime { name: witness.name.clone(), time_seconds: signature.timestamp() })
        };
        self.witnesses().filter_map(time).collect()
    }
}

/// Whether these members are the keys of one witness.
fn below_all_alike(below: &[BTreeSet<&str>], members: &[usize]) -> bool {
    members.windows(2).all(|pair| below[pair[0]] == below[pair[1]])
}
