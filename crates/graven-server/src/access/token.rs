//! Tokens of the operator's own.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What tokens of ours begin with, so that scanners for leaked secrets know them.
const PREFIX: &str = "gvn_";

/// A new token. It is shown once; what is kept is its hash.
pub struct Token(Zeroizing<String>);

impl Token {
    /// The token that is made of these random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        Self(Zeroizing::new(format!("{PREFIX}{}", Base64UrlUnpadded::encode_string(random))))
    }

    /// The token itself: a secret.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What `sha256` says of it in the file, in hex.
    pub fn digest(&self) -> String {
        Sha256::digest(self.0.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Whether a token claims to be one of these, so that it is nobody else's business.
pub(super) fn is_ours(token: &str) -> bool {
    token.starts_with(PREFIX)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown_by_accident() {
        let token = Token::new(&[7; 32]);
        assert!(is_ours(token.expose()) && token.expose().len() == 47);
        assert_eq!(format!("{token:?}"), "Token(…)");
    }
}
