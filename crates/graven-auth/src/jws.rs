//! A signed token in its compact form (RFC 7515 §3.1), taken apart and not yet believed.
//!
//! ```text
//! base64url(header) . base64url(payload) . base64url(signature)
//!   header     JSON: alg, and perhaps kid, typ, jwk; crit is refused, everything else is not looked at.
//!              So nothing is fetched from jku or x5u, and no key is taken from x5c.
//!   payload    JSON
//!   signature  over the first two parts, with the dot between them
//! ```

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::Value;

use crate::json::{self, Object};
use crate::{Algorithm, PublicKey, TokenError};

/// The longest name of a key that is looked up.
const MAX_KID_BYTES: usize = 256;

/// The parts of a token.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    header: Object,
    payload: Object,
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Takes a token apart. The caller bounds its length.
    pub(crate) fn parse(token: &'a str) -> Result<Self, TokenError> {
        let malformed = TokenError::Malformed;
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        // Five parts are an encrypted token, and a payload has no dot.
        let (header, payload) = signed.split_once('.').ok_or(malformed)?;
        let decode = |part: &str| Base64UrlUnpadded::decode_vec(part).map_err(|_| malformed);
        let object = |part| json::object(&decode(part)?).ok_or(malformed);
        let (header, payload) = (object(header)?, object(payload)?);
        if header.contains_key("crit") {
            return Err(TokenError::Critical);
        }
        Ok(Self { header, payload, signed: signed.as_bytes(), signature: decode(signature)? })
    }

    /// How it says that it is signed, if that is among these.
    pub(crate) fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, TokenError> {
        let named = self.header.get("alg").and_then(Value::as_str).and_then(Algorithm::named);
        named.filter(|it| allowed.contains(it)).ok_or(TokenError::Algorithm)
    }

    /// The name of its key.
    pub(crate) fn kid(&self) -> Result<Option<&str>, TokenError> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) if kid.len() <= MAX_KID_BYTES => Ok(Some(kid)),
            Some(_) => Err(TokenError::Malformed),
        }
    }

    /// Its type, to the letter; empty where there is none.
    pub(crate) fn typ(&self) -> &str {
        self.header.get("typ").and_then(Value::as_str).unwrap_or_default()
    }

    /// The key that it brings along. Only a proof may: there, it is what the proof is about.
    pub(crate) fn own_key(&self) -> Option<PublicKey> {
        self.header.get("jwk").and_then(Value::as_object).and_then(PublicKey::of_jwk)
    }

    /// Who issued it, as it says itself: good for choosing whose keys to verify it by.
    pub(crate) fn claimed_issuer(&self) -> Option<&str> {
        self.payload.get("iss").and_then(Value::as_str)
    }

    /// What it says, now that it is known who says so.
    pub(crate) fn verified(self, key: &PublicKey, algorithm: Algorithm) -> Result<Object, TokenError> {
        if key.verify(algorithm, self.signed, &self.signature) {
            Ok(self.payload)
        } else {
            Err(TokenError::Signature)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str, signature: &[u8]) -> String {
        let [header, payload, signature] =
            [header.as_bytes(), payload.as_bytes(), signature].map(Base64UrlUnpadded::encode_string);
        format!("{header}.{payload}.{signature}")
    }

    #[test]
    fn the_form_is_one_and_no_other() {
        let good = token(r#"{"alg":"ES256"}"#, "{}", b"x");
        assert!(Jws::parse(&good).is_ok());
        let (head, tail) = good.split_once('.').unwrap();
        for bad in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            head.to_owned(),
            format!("{head}.{}", tail.split_once('.').unwrap().0),
            format!("{good}."),
            format!("{good}.{good}"),
            format!(" {good}"),
            format!("{good}\n"),
            good.replace('.', "=."),
            format!("{good}="),
            // One letter more, or one with bits that nobody reads: another text of the same bytes.
            format!("{}h", &good[..good.len() - 1]),
            good.replacen('e', "+", 1),
            token("[]", "{}", b"x"),
            token("{}", "[]", b"x"),
            token(r#"{"alg":"ES256","alg":"none"}"#, "{}", b"x"),
            token("{}", r#"{"aud":"a","aud":"b"}"#, b"x"),
            token("{} {}", "{}", b"x"),
        ] {
            assert_eq!(Jws::parse(&bad).unwrap_err(), TokenError::Malformed, "{bad}");
        }
    }

    #[test]
    fn a_header_says_little_that_counts() {
        let parse = |header: &str| {
            let token = token(header, "{}", b"x");
            let jws = Jws::parse(&token)?;
            jws.kid()?;
            jws.algorithm(&Algorithm::ALL)
        };
        assert_eq!(parse(r#"{"alg":"ES256","jku":"http://a/","x5c":[1],"zip":"DEF"}"#), Ok(Algorithm::Es256));
        assert_eq!(parse(r#"{"alg":"ES256","crit":[]}"#), Err(TokenError::Critical));
        assert_eq!(parse(r#"{"alg":"ES256","crit":["exp"],"exp":1}"#), Err(TokenError::Critical));
        assert_eq!(parse(r#"{"alg":"ES256","kid":1}"#), Err(TokenError::Malformed));
        assert_eq!(
            parse(&format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(257))),
            Err(TokenError::Malformed)
        );
        for alg in [
            "\"none\"",
            "\"None\"",
            "\"HS256\"",
            "\"es256\"",
            "\"ES256 \"",
            "\"ES384\"",
            "[\"ES256\"]",
            "null",
            "\"\"",
        ] {
            assert_eq!(parse(&format!(r#"{{"alg":{alg}}}"#)), Err(TokenError::Algorithm), "{alg}");
        }
        assert_eq!(parse("{}"), Err(TokenError::Algorithm));
    }
}
