//! Public keys as issuers publish them (RFC 7517), each with the algorithms that it may be used with and no others.
//!
//! A shared secret (`oct`) is no key here, so that no public key can be taken for one. Keys of other kinds, for other uses, or with
//! a private part are passed over: an issuer may publish more than we use.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::Value;

use crate::json::Object;

/// Keys of one issuer; they publish two or three.
const MAX_KEYS: usize = 64;
/// Moduli of RSA, in bytes: longer ones cost strangers nothing and us much.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// The longest public exponent: 65537 is what everybody has.
const MAX_EXPONENT_BYTES: usize = 4;
/// The longest name of a key.
const MAX_KID_BYTES: usize = 256;
/// What gives a private or shared key away (RFC 7518 §6).
const SECRET_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

/// A way to sign (RFC 7518 §3.1, RFC 8037 §3.1). There is none without a signature or with a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA by P-256 with SHA-256.
    Es256,
    /// Ed25519, also by its newer name (RFC 9864).
    EdDsa,
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// RSA-PSS with SHA-256.
    Ps256,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    material: Material,
    /// The one that it is for, where its owner says so.
    algorithm: Option<Algorithm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    /// Uncompressed.
    P256([u8; 65]),
    Ed25519([u8; 32]),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

/// The keys of an issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<(Option<String>, PublicKey)>);

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Es256, Self::EdDsa, Self::Rs256, Self::Ps256];

    /// Its name in `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// By its name, to the letter.
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl PublicKey {
    /// A key that signs, out of a JWK. `None`: it is of another kind, for another use, or not only public.
    pub(crate) fn of_jwk(jwk: &Object) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| Base64UrlUnpadded::decode_vec(text(name)?).ok();
        let signs = jwk.get("use").is_none_or(|given| given == "sig")
            && jwk
                .get("key_ops")
                .is_none_or(|given| given.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify")));
        if !signs || SECRET_MEMBERS.iter().any(|name| jwk.contains_key(*name)) {
            return None;
        }
        let material = match (text("kty")?, text("crv")) {
            ("EC", Some("P-256")) => {
                let point = [&[4][..], &coordinate(bytes("x")?)?, &coordinate(bytes("y")?)?].concat();
                Material::P256(point.try_into().ok()?)
            }
            ("OKP", Some("Ed25519")) => Material::Ed25519(coordinate(bytes("x")?)?),
            ("RSA", None) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                let is_sound = RSA_BYTES.contains(&n.len())
                    && n.first() != Some(&0)
                    && (1..=MAX_EXPONENT_BYTES).contains(&e.len())
                    && e.first() != Some(&0);
                is_sound.then_some(Material::Rsa { n, e })?
            }
            _ => return None,
        };
        let mut key = Self { material, algorithm: None };
        if let Some(given) = jwk.get("alg") {
            let algorithm = given.as_str().and_then(Algorithm::named)?;
            key.algorithm = Some(key.takes(algorithm).then_some(algorithm)?);
        }
        Some(key)
    }

    /// Whether it may be used like this.
    pub fn takes(&self, algorithm: Algorithm) -> bool {
        let fits = match self.material {
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
            Material::Rsa { .. } => matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256),
        };
        fits && self.algorithm.is_none_or(|pinned| pinned == algorithm)
    }

    /// Whether this is its signature over a message. Never where [`takes`](Self::takes) says no.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.material {
            _ if !self.takes(algorithm) => return false,
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Material::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature),
            Material::Rsa { n, e } => {
                let parameters = match algorithm {
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    _ => &RSA_PKCS1_2048_8192_SHA256,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
        };
        verified.is_ok()
    }

    /// SHA-256 of the key in its one canonical form (RFC 7638).
    pub fn thumbprint(&self) -> [u8; 32] {
        let text = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
        let canonical = match &self.material {
            Material::P256(point) => {
                let (x, y) = (text(&point[1..33]), text(&point[33..]));
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Material::Ed25519(point) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(point)),
            Material::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
        };
        sha256(canonical.as_bytes())
    }
}

impl KeySet {
    /// The keys of a JWK set that can be used. `None`: it is no such set, or one of more than 64 keys.
    pub fn parse(jwks: &[u8]) -> Option<Self> {
        let set = crate::json::object(jwks)?;
        let keys = set.get("keys")?.as_array().filter(|keys| keys.len() <= MAX_KEYS)?;
        let keys = keys.iter().filter_map(Value::as_object).filter_map(|jwk| {
            let kid = match jwk.get("kid") {
                None => None,
                Some(kid) => Some(kid.as_str().filter(|kid| kid.len() <= MAX_KID_BYTES)?.to_owned()),
            };
            Some((kid, PublicKey::of_jwk(jwk)?))
        });
        Some(Self(keys.collect()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one key that a token names and that takes this algorithm; without a name, the only one that does. A name is compared and
    /// used for nothing else.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&PublicKey> {
        let fits = |(name, key): &&(Option<String>, PublicKey)| {
            (kid.is_none() || name.as_deref() == kid) && key.takes(algorithm)
        };
        let mut found = self.0.iter().filter(fits).map(|(_, key)| key);
        let key = found.next()?;
        found.next().is_none().then_some(key)
    }
}

/// 32 bytes, no fewer and no more.
fn coordinate(bytes: Vec<u8>) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 7638 §3.1, and its thumbprint there.
    const RSA_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    const RSA_THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
    /// The keys of RFC 7515 §A.3 and RFC 8037 §A.2.
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;
    const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

    fn jwk(text: &str) -> Option<PublicKey> {
        PublicKey::of_jwk(&crate::json::object(text.as_bytes()).unwrap())
    }

    fn rsa(extra: &str) -> String {
        format!(r#"{{"kty":"RSA","n":"{RSA_N}","e":"AQAB"{extra}}}"#)
    }

    #[test]
    fn a_key_takes_what_it_is_for() {
        let taken = |text: &str| {
            let key = jwk(text).unwrap();
            Algorithm::ALL.into_iter().filter(|it| key.takes(*it)).collect::<Vec<_>>()
        };
        assert_eq!(taken(&format!("{EC}}}")), [Algorithm::Es256]);
        assert_eq!(taken(&format!("{ED}}}")), [Algorithm::EdDsa]);
        assert_eq!(taken(&format!(r#"{ED},"alg":"Ed25519","use":"sig"}}"#)), [Algorithm::EdDsa]);
        assert_eq!(taken(&rsa("")), [Algorithm::Rs256, Algorithm::Ps256]);
        assert_eq!(taken(&rsa(r#","alg":"PS256","key_ops":["verify"]"#)), [Algorithm::Ps256]);
    }

    #[test]
    fn what_is_no_public_key_for_signatures_is_passed_over() {
        for bad in [
            rsa(r#","alg":"HS256""#),
            rsa(r#","alg":"ES256""#),
            rsa(r#","alg":7"#),
            rsa(r#","use":"enc""#),
            rsa(r#","key_ops":["encrypt"]"#),
            rsa(r#","d":"AQAB""#),
            rsa("").replace("AQAB", "AQAAAAAB"),
            rsa("").replace("\"0vx7", "\"AA"),
            rsa("").replace(RSA_N, "AQAB"),
            format!("{EC}}}").replace("P-256", "P-384"),
            format!("{EC}}}").replace("f83O", ""),
            format!("{EC}}}").replace("VEU\"", "VEU=\""),
            format!("{ED}}}").replace("Ed25519", "X25519"),
            r#"{"kty":"oct","k":"AQAB"}"#.to_owned(),
            "{}".to_owned(),
        ] {
            assert!(jwk(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn thumbprints_are_those_of_the_standards() {
        let text = |key: &str| Base64UrlUnpadded::encode_string(&jwk(key).unwrap().thumbprint());
        assert_eq!(text(&rsa(r#","alg":"RS256","kid":"2011-04-29""#)), RSA_THUMBPRINT);
        // RFC 8037 §A.3.
        assert_eq!(text(&format!("{ED}}}")), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_name_finds_one_key_or_none() {
        let set = format!(
            r#"{{"keys":[{EC},"kid":"a"}},{},{ED},"kid":"c"}},{ED},"kid":"c"}},{{"kty":"oct","k":"AQAB","kid":"d"}},7]}}"#,
            rsa(r#","kid":"b""#)
        );
        let set = KeySet::parse(set.as_bytes()).unwrap();
        assert!(set.find(Some("a"), Algorithm::Es256).is_some());
        assert!(set.find(None, Algorithm::Es256).is_some());
        for (kid, algorithm) in [
            (Some("a"), Algorithm::Rs256),
            (Some("b"), Algorithm::Es256),
            (Some("A"), Algorithm::Es256),
            (Some("../a"), Algorithm::Es256),
            (Some("c"), Algorithm::EdDsa),
            (None, Algorithm::EdDsa),
            (Some("d"), Algorithm::Rs256),
        ] {
            assert!(set.find(kid, algorithm).is_none(), "{kid:?}");
        }
    }

    #[test]
    fn a_set_is_bounded() {
        let many = |count: usize| format!(r#"{{"keys":[{}]}}"#, vec![format!("{EC}}}"); count].join(","));
        assert!(KeySet::parse(many(MAX_KEYS).as_bytes()).is_some());
        assert!(KeySet::parse(many(MAX_KEYS + 1).as_bytes()).is_none());
        assert!(KeySet::parse(b"{}").is_none());
        assert!(KeySet::parse(br#"{"keys":{}}"#).is_none());
        assert!(KeySet::parse(br#"{"keys":[]}"#).unwrap().is_empty());
    }
}
