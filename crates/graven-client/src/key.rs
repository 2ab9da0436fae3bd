//! Idempotency keys: the names of appends, which make repeating one safe.
//!
//! ```text
//! 0197a3c5d2e1-8f3b…    milliseconds since the Unix epoch, 12 hex digits; 128 random bits, 32 hex digits
//! ```
//!
//! The time comes first so that keys sort by age, as in a UUIDv7 (RFC 9562 §5.7).

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use graven_proto::limits::MAX_IDEMPOTENCY_KEY_BYTES;
use thiserror::Error;

const RANDOM_BYTES: usize = 16;

/// A key and when it was first sent. An append that is tried again uses the same of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    text: String,
    issued: SystemTime,
}

/// Why there is no idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdempotencyKeyError {
    /// The text cannot be one.
    #[error("an idempotency key is 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters")]
    Text,
    /// The operating system gave no random bytes.
    #[error("the operating system has no randomness for an idempotency key: {0}")]
    Randomness(String),
}

impl IdempotencyKey {
    /// A key of the caller's own, first sent now.
    ///
    /// # Errors
    /// The text is not 1 to 128 visible ASCII characters.
    pub fn new(text: impl Into<String>) -> Result<Self, IdempotencyKeyError> {
        let text = text.into();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > MAX_IDEMPOTENCY_KEY_BYTES || !visible {
            return Err(IdempotencyKeyError::Text);
        }
        Ok(Self { text, issued: SystemTime::now() })
    }

    /// A key that nobody used before.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn random() -> Result<Self, IdempotencyKeyError> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|error| IdempotencyKeyError::Randomness(error.to_string()))?;
        let issued = SystemTime::now();
        let millis = issued.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { text: format!("{millis:012x}-{random}"), issued })
    }

    /// The same key, first sent at `time`: for a repeat by another run of the program.
    ///
    /// The server refuses a key that is older than it remembers; a wrong time here would have it append again.
    #[must_use]
    pub fn first_sent(mut self, time: SystemTime) -> Self {
        self.issued = time;
        self
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// When it was first sent.
    #[must_use]
    pub fn issued(&self) -> SystemTime {
        self.issued
    }

    pub(crate) fn issued_message(&self) -> prost_types::Timestamp {
        self.issued.into()
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_keys_are_fit_and_differ() {
        let (one, two) = (IdempotencyKey::random().unwrap(), IdempotencyKey::random().unwrap());
        assert_ne!(one.as_str(), two.as_str());
        assert_eq!(one.as_str().len(), 45);
        assert_eq!(IdempotencyKey::new(one.as_str()).unwrap().as_str(), one.as_str());
    }

    #[test]
    fn keys_are_visible_ascii_and_bounded() {
        for bad in ["", "a b", "a\n", "é", &"k".repeat(129)] {
            assert_eq!(IdempotencyKey::new(bad), Err(IdempotencyKeyError::Text), "{bad:?}");
        }
        assert!(IdempotencyKey::new("k".repeat(128)).is_ok());
    }
}
