//! What a caller pins before it believes a server anything: a log's origin, its keys, perhaps its witnesses.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use graven_merkle::Hash;
use graven_note::{
    InvalidOrigin, KeyName, LogKeys, MissingSignatures, Origin, Policy, PolicyCheckError, PolicyError,
    ProofError, Rotation, RotationError, TlogProof, VerifiedInclusion, VerifiedRotation, VerifierKey,
    VkeyError, WitnessedCheckpoint, evidence::Asked,
};
use thiserror::Error;

use crate::VerifiedHead;

/// Whose signatures count for one log. Cheap to clone.
///
/// One valid signature by a trusted key suffices, unless [`requiring_all`](Self::requiring_all) asks for more;
/// an invalid signature by any of them rejects. Take the keys from the log's operator, never from its server.
#[derive(Clone, Debug)]
pub struct Trust(Arc<Pinned>);

#[derive(Clone, Debug)]
struct Pinned {
    origin: Origin,
    keys: LogKeys,
    /// The key that may hand the log over to new keys.
    recovery: Option<VerifierKey>,
    /// Its witnesses and quorum count; its logs were taken into `keys`.
    policy: Policy,
    all_keys: bool,
    fresh_within: Option<Duration>,
}

/// Why keys or a policy do not say whom to trust. The caller is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrustError {
    /// No key at all.
    #[error("no verifier key was given: ask the log's operator for its vkeys")]
    NoKeys,
    /// Not a verifier key.
    #[error("not a usable verifier key: {0}")]
    Vkey(#[from] VkeyError),
    /// The keys' names differ, so they do not say which log is meant.
    #[error("the keys are of several logs ({0} and {1}): say which origin is meant")]
    SeveralOrigins(String, String),
    /// A key's name is no origin.
    #[error(transparent)]
    Origin(#[from] InvalidOrigin),
    /// The policy has no key for the log.
    #[error("the policy has no `log` line whose key is named {0}")]
    UnknownLog(Origin),
    /// The keys alone make no policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// One witness would be counted as several, because several of its keys are listed.
    #[error(
        "the policy counts the witness {0} more than once, by several of its keys: put these into a group of their own, \
         `any` or `all`, and count that group"
    )]
    WitnessTwice(KeyName),
}

/// A head that is not as fresh as demanded: the log, its witnesses, or whoever stands between withholds newer ones.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("stalled: {}, and {} is the limit", made(.age), humane(.limit))]
pub struct StaleHead {
    /// How long ago the signatures that count were made; `None` where too few of them state a time.
    pub age: Option<Duration>,
    /// How long ago they may have been made.
    pub limit: Duration,
}

fn made(age: &Option<Duration>) -> String {
    match age {
        Some(age) => format!("the newest signatures that count were made {} ago", humane(age)),
        None => "no signature that counts states a time".to_owned(),
    }
}

/// Whole seconds, as nobody asks for less of a log.
fn humane(time: &Duration) -> String {
    format!("{} s", time.as_secs())
}

/// Why a tree head is not believed. Whoever sent it is at fault, or the keys are another log's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UntrustedHead {
    /// Not a checkpoint of this log, not signed as it must be, or without its quorum.
    #[error(transparent)]
    Checkpoint(#[from] PolicyCheckError),
    /// A key that has to sign did not.
    #[error(transparent)]
    Missing(#[from] MissingSignatures),
    /// It is not as fresh as demanded.
    #[error(transparent)]
    Stale(#[from] StaleHead),
}

/// Why a proof bundle is not believed.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ProofRefused {
    /// Its checkpoint does not count, or does not include the entry.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A key that has to sign did not.
    #[error(transparent)]
    Missing(#[from] MissingSignatures),
    /// Its checkpoint is not as fresh as demanded.
    #[error(transparent)]
    Stale(#[from] StaleHead),
}

impl Trust {
    /// Trusts `keys` to sign for the log `origin`.
    ///
    /// # Errors
    /// There is no key.
    pub fn new(origin: Origin, keys: Vec<VerifierKey>) -> Result<Self, TrustError> {
        Self::pin(origin, keys, Policy::without_witnesses(&[])?)
    }

    /// Trusts `keys` for the log that they are named after.
    ///
    /// # Errors
    /// There is no key, or they are named after several logs.
    pub fn of_keys(keys: Vec<VerifierKey>) -> Result<Self, TrustError> {
        Self::new(common_origin(&keys)?, keys)
    }

    /// Trusts the keys with these texts for the log that they are named after.
    ///
    /// # Errors
    /// A text is no verifier key, there is none, or they are named after several logs.
    pub fn of_vkeys<T: AsRef<str>>(vkeys: impl IntoIterator<Item = T>) -> Result<Self, TrustError> {
        let keys: Result<Vec<_>, _> =
            vkeys.into_iter().map(|vkey| VerifierKey::parse(vkey.as_ref())).collect();
        Self::of_keys(keys?)
    }

    /// Trusts what `policy` says of its one log: its keys, its witnesses and their quorum.
    ///
    /// # Errors
    /// The policy lists no log, or several origins: see [`of_policy_for`](Self::of_policy_for).
    pub fn of_policy(policy: Policy) -> Result<Self, TrustError> {
        let keys: Vec<_> = policy.logs().iter().map(|log| log.key.clone()).collect();
        Self::of_policy_for(common_origin(&keys)?, policy)
    }

    /// Trusts what `policy` says of the log `origin`.
    ///
    /// # Errors
    /// The policy has no key of that name.
    pub fn of_policy_for(origin: Origin, policy: Policy) -> Result<Self, TrustError> {
        let keys: Vec<_> = policy.keys_of(&origin).cloned().collect();
        if keys.is_empty() {
            return Err(TrustError::UnknownLog(origin));
        }
        Self::pin(origin, keys, policy)
    }

    fn pin(origin: Origin, keys: Vec<VerifierKey>, policy: Policy) -> Result<Self, TrustError> {
        if keys.is_empty() {
            return Err(TrustError::NoKeys);
        }
        if let Some(name) = policy.counted_twice() {
            return Err(TrustError::WitnessTwice(name.clone()));
        }
        let keys = LogKeys::new(keys);
        let pinned = Pinned { origin, keys, recovery: None, policy, all_keys: false, fresh_within: None };
        Ok(Self(Arc::new(pinned)))
    }

    /// The same, following the log to new keys as far as `recovery`, its recovery key, authorises them.
    #[must_use]
    pub fn following(self, recovery: VerifierKey) -> Self {
        Self(Arc::new(Pinned { recovery: Some(recovery), ..Arc::unwrap_or_clone(self.0) }))
    }

    /// The same after a history of the log's keys, and what was new in it: a head above the last size of keys that ended counts by
    /// those that followed. Nothing is followed where no recovery key is pinned.
    ///
    /// # Errors
    /// A rotation is not authorised by the recovery key, or does not continue the keys that are known.
    pub fn rotated_by(
        &self,
        history: impl IntoIterator<Item = Rotation>,
    ) -> Result<(Self, Vec<VerifiedRotation>), RotationError> {
        let Pinned { origin, keys, recovery: Some(recovery), .. } = &*self.0 else {
            return Ok((self.clone(), Vec::new()));
        };
        let (keys, new) = keys.after(history, recovery, origin)?;
        Ok((Self(Arc::new(Pinned { keys, ..(*self.0).clone() })), new))
    }

    /// The key that may hand the log over to new keys, if it is pinned.
    #[must_use]
    pub fn recovery(&self) -> Option<&VerifierKey> {
        self.0.recovery.as_ref()
    }

    /// The same, demanding a valid signature by every one of the log's keys.
    ///
    /// A verifier that must not depend on a single algorithm pins one key of each type and asks for this.
    #[must_use]
    pub fn requiring_all(self) -> Self {
        Self(Arc::new(Pinned { all_keys: true, ..Arc::unwrap_or_clone(self.0) }))
    }

    /// The same, demanding that a head was signed not longer ago than `limit`: cosigned by enough witnesses to meet the
    /// quorum, or signed by the log itself where the policy asks for no witness. So a log that is shown as it was
    /// yesterday is not taken for the log of today. A time that lies as far ahead is not believed either.
    ///
    /// Heads that were kept from before were fresh then, and are not held to it.
    #[must_use]
    pub fn fresh_within(self, limit: Duration) -> Self {
        Self(Arc::new(Pinned { fresh_within: Some(limit), ..Arc::unwrap_or_clone(self.0) }))
    }

    /// The log.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// The log's keys, those included that ended.
    #[must_use]
    pub fn keys(&self) -> &[VerifierKey] {
        self.0.keys.all()
    }

    /// Verifies a tree head: a checkpoint note, byte for byte as it was signed.
    ///
    /// # Errors
    /// It is not this log's, or not signed as it must be.
    pub fn verify_head(&self, note: &[u8]) -> Result<VerifiedHead, UntrustedHead> {
        let head = self.verify_signed(note)?;
        self.check_fresh(&head)?;
        Ok(head)
    }

    /// Verifies a tree head as [`verify_head`](Self::verify_head) does, however old it is.
    ///
    /// # Errors
    /// It is not this log's, or not signed as it must be.
    pub fn verify_signed(&self, note: &[u8]) -> Result<VerifiedHead, UntrustedHead> {
        let Pinned { origin, keys, policy, .. } = &*self.0;
        let head = policy
            .verify_checkpoint_of(note, origin, keys.valid_for(note))
            .map_err(|error| error.explained_by(note, origin, keys))?;
        self.check_all_signed(&head)?;
        Ok(VerifiedHead::trusted(head))
    }

    /// Verifies, offline, that `bundle` proves the entry that hashes to `leaf_hash`.
    ///
    /// # Errors
    /// Its checkpoint is not to be trusted, or does not include the entry.
    pub fn verify_proof(
        &self,
        bundle: &TlogProof,
        leaf_hash: Hash,
    ) -> Result<VerifiedInclusion, ProofRefused> {
        let Pinned { origin, keys, policy, .. } = &*self.0;
        let valid = keys.valid_for(bundle.checkpoint().as_bytes());
        let inclusion = bundle.verify_for_log(leaf_hash, origin, valid, policy)?;
        self.check_all_signed(inclusion.checkpoint())?;
        self.check_fresh(&VerifiedHead::trusted(inclusion.checkpoint().clone()))?;
        Ok(inclusion)
    }

    /// When `head` was signed by those whose signatures count, in seconds since the Unix epoch; `None` where too few of them
    /// state a time.
    #[must_use]
    pub fn time_of(&self, head: &VerifiedHead) -> Option<u64> {
        self.0.policy.time_of(head.witnessed())
    }

    /// Whether `head` is as fresh as this demands.
    pub(crate) fn check_fresh(&self, head: &VerifiedHead) -> Result<(), StaleHead> {
        self.0.fresh_within.map_or(Ok(()), |limit| fresh(self.time_of(head), limit))
    }

    fn check_all_signed(&self, head: &WitnessedCheckpoint) -> Result<(), MissingSignatures> {
        let size = head.verified().checkpoint().size();
        let demanded = if self.0.all_keys { self.0.keys.due_at(size) } else { &[] };
        head.verified().note().require_keys(demanded)
    }
}

fn common_origin(keys: &[VerifierKey]) -> Result<Origin, TrustError> {
    let first = keys.first().ok_or(TrustError::NoKeys)?.name();
    if let Some(other) = keys.iter().map(VerifierKey::name).find(|name| *name != first) {
        return Err(TrustError::SeveralOrigins(first.to_string(), other.to_string()));
    }
    Ok(Origin::new(first.as_str())?)
}

/// Whether what was signed then is as fresh as that.
pub(crate) fn fresh(time_seconds: Option<u64>, limit: Duration) -> Result<(), StaleHead> {
    let now = now_seconds();
    let is_fresh = time_seconds.is_some_and(|time| now.abs_diff(time) <= limit.as_secs());
    let age = time_seconds.map(|time| Duration::from_secs(now.saturating_sub(time)));
    if is_fresh { Ok(()) } else { Err(StaleHead { age, limit }) }
}

/// The time that signatures are held against.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A record of a question, asked now.
pub(crate) fn asked_now(text: &str) -> Asked {
    Asked::new(now_seconds(), text)
}
