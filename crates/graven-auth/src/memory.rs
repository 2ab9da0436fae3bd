//! What is remembered of tokens and proofs: bounded, whoever shows how many of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Outage, Proof, TokenError};

/// Proofs that are remembered at a time, at about 50 bytes each: over 16,000 calls a second.
pub const MAX_PROOFS: usize = 1 << 20;

/// The last answers by a token's hash. Two generations: what is asked for stays, what is not is gone after as many others as one
/// generation holds.
#[derive(Debug)]
pub(crate) struct Recent<V>(Mutex<Generations<V>>);

#[derive(Debug)]
struct Generations<V> {
    young: HashMap<[u8; 32], V>,
    old: HashMap<[u8; 32], V>,
    /// How many one generation holds.
    limit: usize,
}

/// The proofs that were shown within their time.
#[derive(Debug)]
pub struct Replays {
    seen: Mutex<Seen>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Seen {
    proofs: HashMap<[u8; 32], u64>,
    /// When the oldest were last thrown out.
    swept: u64,
}

impl<V: Clone> Recent<V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Mutex::new(Generations { young: HashMap::new(), old: HashMap::new(), limit }))
    }

    pub(crate) fn get(&self, hash: &[u8; 32]) -> Option<V> {
        let mut all = lock(&self.0);
        if let Some(found) = all.young.get(hash) {
            return Some(found.clone());
        }
        let found = all.old.remove(hash)?;
        all.put(*hash, found.clone());
        Some(found)
    }

    pub(crate) fn keep(&self, hash: [u8; 32], value: V) {
        lock(&self.0).put(hash, value);
    }
}

impl<V> Generations<V> {
    fn put(&mut self, hash: [u8; 32], value: V) {
        if self.young.len() >= self.limit {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, value);
    }
}

impl Default for Replays {
    fn default() -> Self {
        Self::new(MAX_PROOFS)
    }
}

impl Replays {
    /// Remembers so many at most.
    pub fn new(limit: usize) -> Self {
        Self { seen: Mutex::default(), limit }
    }

    /// Notes a proof that holds, at this time in seconds since 1970.
    ///
    /// # Errors
    /// It was shown before, or so many are being shown that this one could not be remembered.
    pub fn note(&self, proven: &crate::Proven, now: u64) -> Result<(), TokenError> {
        let mut seen = lock(&self.seen);
        // Once a second at most: it looks at all of them.
        if now != seen.swept {
            seen.swept = now;
            if seen.proofs.len() >= self.limit / 2 {
                seen.proofs.retain(|_, forget_at| *forget_at > now);
            }
        }
        if seen.proofs.contains_key(&proven.id) {
            return Err(TokenError::Proof(Proof::Replayed));
        }
        if seen.proofs.len() >= self.limit {
            return Err(TokenError::Unavailable(Outage::Proofs));
        }
        seen.proofs.insert(proven.id, proven.forget_at);
        Ok(())
    }
}

/// Nothing here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u32) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        hash
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let recent = Recent::new(10);
        for number in 0..1000 {
            recent.keep(hash(number), number);
            assert_eq!(recent.get(&hash(0)), Some(0));
        }
        let kept = (0..1000).filter(|number| recent.get(&hash(*number)).is_some()).count();
        assert!((10..=20).contains(&kept), "{kept}");
    }

    #[test]
    fn a_proof_counts_once_and_no_more_are_taken_than_remembered() {
        let replays = Replays::new(4);
        let proven = |number, forget_at| crate::Proven { key: [0; 32], id: hash(number), forget_at };
        for number in 0..4 {
            assert_eq!(replays.note(&proven(number, 130), 100), Ok(()));
            assert_eq!(replays.note(&proven(number, 130), 100), Err(TokenError::Proof(Proof::Replayed)));
        }
        assert_eq!(replays.note(&proven(9, 150), 129), Err(TokenError::Unavailable(Outage::Proofs)));
        // Those whose time is over make room.
        assert_eq!(replays.note(&proven(9, 150), 130), Ok(()));
        assert_eq!(replays.note(&proven(9, 150), 149), Err(TokenError::Proof(Proof::Replayed)));
    }
}
