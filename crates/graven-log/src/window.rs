//! Idempotency: which requests of the recent past are already in the log.
//!
//! A caller names a request with a key and the time it first used it. The key is remembered, with a keyed digest of the
//! request, in the journal record of the entries; the window in memory is rebuilt from the segments that are kept.
//! Forgetting is explicit: below the *floor* a key may be forgotten, and a request that was first issued at or before
//! it is refused, never appended a second time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use graven_store::journal::{KeyRow, LogId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::AppendError;

/// Longest idempotency key.
pub const MAX_KEY_BYTES: usize = 128;
/// How far a caller's clock may be ahead of ours. A key from the future that is forgotten makes honest keys look old for as
/// long, so this is less than the time in which the window can be filled.
pub const MAX_SKEW: Duration = Duration::from_secs(5);

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    /// For how long, unless one of the other limits is met before.
    pub max_age: Duration,
    /// How many keys (about 150 bytes of memory each).
    pub max_keys: usize,
    /// How many journal segments are kept for it.
    pub max_segments: u64,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(600), max_keys: 1 << 19, max_segments: 16 }
    }
}

/// Digests keys and requests, so that neither can be guessed from what is stored.
pub(crate) struct KeyDigester(Zeroizing<[u8; 64]>);

/// A request's claim to be the one of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) key: [u8; 32],
    pub(crate) request: [u8; 32],
    pub(crate) issued_ns: u64,
}

/// What is remembered of a request that is in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remembered {
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) time_ns: u64,
    request: [u8; 32],
    issued_ns: u64,
    /// The newest journal segment that says so.
    segment: u64,
}

/// The window of one server.
pub(crate) struct Window {
    limits: WindowLimits,
    known: HashMap<[u8; 32], Remembered>,
    /// In the order of the journal: segment, key.
    order: VecDeque<(u64, [u8; 32])>,
    floor_ns: u64,
}

impl KeyDigester {
    pub(crate) fn new(secret: &[u8; 32]) -> Self {
        // HMAC itself pads a short key with zeros to its block.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(secret);
        Self(block)
    }

    /// The claim of a request on `log` under `key`, issued at `issued_ns`.
    pub(crate) fn claim<'a>(
        &self,
        log: LogId,
        key: &str,
        issued_ns: u64,
        entries: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Claim, AppendError> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AppendError::KeyMalformed);
        }
        let mut key_mac = self.mac(b"key", log);
        key_mac.update(key.as_bytes());
        let mut request_mac = self.mac(b"request", log);
        for entry in entries {
            request_mac.update(&(entry.len() as u64).to_be_bytes());
            request_mac.update(entry);
        }
        let digest = |mac: Hmac<Sha256>| mac.finalize().into_bytes().into();
        Ok(Claim { key: digest(key_mac), request: digest(request_mac), issued_ns })
    }

    fn mac(&self, purpose: &[u8], log: LogId) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&(*self.0).into());
        mac.update(purpose);
        mac.update(&log.0.to_be_bytes());
        mac
    }
}

impl Claim {
    /// The claim as journalled, for `count` entries from the `first`-th of its section on.
    pub(crate) fn row(&self, first: u32, count: u32) -> KeyRow {
        let Self { key, request, issued_ns } = *self;
        KeyRow { first, count, key, request, issued_ns }
    }
}

impl Window {
    /// An empty window that has forgotten everything issued up to `floor_ns`.
    pub(crate) fn new(limits: WindowLimits, floor_ns: u64) -> Self {
        Self { limits, known: HashMap::new(), order: VecDeque::new(), floor_ns }
    }

    /// Keys issued at or before this time may have been forgotten.
    pub(crate) fn floor_ns(&self) -> u64 {
        self.floor_ns
    }

    pub(crate) fn raise_floor(&mut self, floor_ns: u64) {
        self.floor_ns = self.floor_ns.max(floor_ns);
    }

    /// Whether a request is new (`None`), a repeat, or neither.
    pub(crate) fn look_up(&self, claim: &Claim, now_ns: u64) -> Result<Option<Remembered>, AppendError> {
        match self.known.get(&claim.key) {
            Some(found) if found.request == claim.request => Ok(Some(*found)),
            Some(found) => Err(AppendError::KeyReused { index: found.first }),
            None if claim.issued_ns <= self.oldest_ns(now_ns) => Err(AppendError::KeyTooOld),
            None if claim.issued_ns > now_ns.saturating_add(nanos(MAX_SKEW)) => {
                Err(AppendError::KeyFromFuture)
            }
            None => Ok(None),
        }
    }

    fn oldest_ns(&self, now_ns: u64) -> u64 {
        self.floor_ns.max(now_ns.saturating_sub(nanos(self.limits.max_age)))
    }

    /// Remembers a request whose entries begin at `first`, journalled in `segment` at `time_ns`.
    pub(crate) fn remember(&mut self, claim: &Claim, first: u64, count: u32, time_ns: u64, segment: u64) {
        let Claim { key, request, issued_ns } = *claim;
        let new = Remembered { first, count, time_ns, request, issued_ns, segment };
        self.known.entry(key).and_modify(|known| known.segment = segment).or_insert(new);
        self.order.push_back((segment, key));
        while self.known.len() > self.limits.max_keys {
            self.forget_oldest();
        }
    }

    /// Forgets what is past its age, and returns the oldest segment that must still be kept for the rest.
    pub(crate) fn expire(&mut self, now_ns: u64, active_segment: u64) -> Option<u64> {
        let keep_from = active_segment.saturating_sub(self.limits.max_segments);
        let too_old = now_ns.saturating_sub(nanos(self.limits.max_age + MAX_SKEW));
        while let Some((segment, key)) = self.order.front() {
            let found = self.known.get(key).filter(|found| found.segment == *segment);
            if found.is_some_and(|found| found.time_ns > too_old) && *segment >= keep_from {
                return Some(*segment);
            }
            self.forget_oldest();
        }
        None
    }

    fn forget_oldest(&mut self) {
        let Some((segment, key)) = self.order.pop_front() else { return };
        // A key that was journalled again stays until its newest place goes.
        if self.known.get(&key).is_some_and(|found| found.segment == segment)
            && let Some(gone) = self.known.remove(&key)
        {
            self.raise_floor(gone.issued_ns);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn claim(digester: &KeyDigester, key: &str, body: &[u8], issued_ns: u64) -> Claim {
        digester.claim(LogId(1), key, issued_ns, std::iter::once(body)).unwrap()
    }

    #[test]
    fn a_repeat_is_found_other_content_refused_and_the_forgotten_never_taken_for_new() {
        let digester = KeyDigester::new(&[7; 32]);
        let limits = WindowLimits { max_keys: 2, ..WindowLimits::default() };
        let mut window = Window::new(limits, 0);
        let now = 1_000 * SECOND;
        let first = claim(&digester, "a", b"x", now);
        assert!(window.look_up(&first, now).unwrap().is_none());
        window.remember(&first, 5, 1, now, 1);
        assert_eq!(window.look_up(&first, now).unwrap().unwrap().first, 5);
        let other = claim(&digester, "a", b"y", now);
        assert_eq!(window.look_up(&other, now).unwrap_err(), AppendError::KeyReused { index: 5 });
        for (n, key) in ["b", "c"].iter().enumerate() {
            window.remember(&claim(&digester, key, b"x", now + 1), 6 + n as u64, 1, now, 1);
        }
        assert_eq!(window.look_up(&first, now).unwrap_err(), AppendError::KeyTooOld, "it was pushed out");
        assert!(window.look_up(&claim(&digester, "d", b"x", now + 2), now).unwrap().is_none());
        let late = claim(&digester, "e", b"x", now - 600 * SECOND);
        assert_eq!(window.look_up(&late, now).unwrap_err(), AppendError::KeyTooOld);
        let early = claim(&digester, "f", b"x", now + 61 * SECOND);
        assert_eq!(window.look_up(&early, now).unwrap_err(), AppendError::KeyFromFuture);
    }

    #[test]
    fn keys_are_one_to_128_visible_characters() {
        let digester = KeyDigester::new(&[7; 32]);
        let long = "k".repeat(MAX_KEY_BYTES + 1);
        for bad in ["", " ", "a b", "ä", "a\n", long.as_str()] {
            let claimed = digester.claim(LogId(1), bad, 1, std::iter::empty());
            assert_eq!(claimed.unwrap_err(), AppendError::KeyMalformed, "{bad:?}");
        }
    }
}
