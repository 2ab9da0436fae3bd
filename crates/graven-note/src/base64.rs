//! The one base64 rule: RFC 4648 §4, padded, trailing bits zero.
//!
//! Go's `StdEncoding` lets the unused bits of the last character be anything, so several texts decode to
//! the same bytes there. Here a value has exactly one text.

use base64ct::{Base64, Encoding};
use graven_merkle::Hash;

pub(crate) fn encode(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// The bytes of `text`, or `None` when `text` is not what [`encode`] would have written.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = Base64::decode_vec(text).ok()?;
    (encode(&bytes) == text).then_some(bytes)
}

/// A 32-byte hash written in base64.
pub(crate) fn decode_hash(text: &str) -> Option<Hash> {
    let bytes: [u8; 32] = decode(text)?.try_into().ok()?;
    Some(Hash::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_text_decodes() {
        assert_eq!(decode("AQ==").unwrap(), [1]);
        assert_eq!(decode("").unwrap(), []);
        for wrong in ["AR==", "AQ=", "AQ", "AQ==\n", " AQ==", "A-==", "AQ==AQ==", "=", "AQ=\u{2014}"] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
    }
}
