//! Proofs that a caller has the key that its token is bound to (RFC 9449 §4.2).
//!
//! ```text
//! DPoP: base64url(header) . base64url(payload) . base64url(signature)
//!   header   typ "dpop+jwt", alg, jwk (the public key)
//!   payload  htm  the method             jti  never the same twice
//!            htu  the address            iat  when it was made
//!            ath  SHA-256 of the token
//! ```
//!
//! A proof is for one call. Nonces (§9) are not handed out: how old a proof may be is bounded by the window alone.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use http::Uri;
use serde_json::Value;

use crate::jws::Jws;
use crate::key::sha256;
use crate::{Algorithm, Proof};

/// The longest proof: one by RSA of 4096 bits has less than 2 KiB.
pub const MAX_PROOF_BYTES: usize = 4 << 10;
/// How far from our clock a proof's may be, either way. Twice as long it has to be remembered.
pub const PROOF_WINDOW_S: u64 = 30;
/// The longest identifier.
const MAX_JTI_BYTES: usize = 256;

/// What a proof has to be for.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method: `POST`, for gRPC.
    pub method: &'a str,
    /// The path, without a query.
    pub path: &'a str,
    /// SHA-256 of the token that came with it.
    pub token_hash: [u8; 32],
}

/// Where a server is reached: scheme, host and port, such as `https://log.example.com:4740`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    scheme: String,
    host: String,
    port: u16,
}

/// A proof that holds, if it was not seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The thumbprint of the key that made it.
    pub key: [u8; 32],
    /// What must not be seen again: a hash of key and identifier.
    pub id: [u8; 32],
    /// From when on it need not be remembered, in seconds since 1970.
    pub forget_at: u64,
}

impl ServerUrl {
    /// Without a path, but for one slash.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        (matches!(uri.path(), "" | "/") && uri.query().is_none()).then(|| Self::of(&uri))?
    }

    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str().filter(|it| matches!(*it, "http" | "https"))?;
        let authority = uri.authority().filter(|it| !it.as_str().contains('@'))?;
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(':') => return None,
            None => {
                if scheme == "https" {
                    443
                } else {
                    80
                }
            }
        };
        Some(Self { scheme: scheme.to_owned(), host: authority.host().to_ascii_lowercase(), port })
    }
}

/// Whether a proof holds for a call to a server that is reached at one of these, at this time in seconds since 1970.
///
/// # Errors
/// It does not.
pub fn verify_proof(proof: &str, call: &Call<'_>, servers: &[ServerUrl], now: u64) -> Result<Proven, Proof> {
    if proof.len() > MAX_PROOF_BYTES {
        return Err(Proof::Malformed);
    }
    let jws = Jws::parse(proof).map_err(|_| Proof::Malformed)?;
    if jws.typ() != "dpop+jwt" {
        return Err(Proof::Malformed);
    }
    let algorithm = jws.algorithm(&Algorithm::ALL).map_err(|_| Proof::Signature)?;
    let key = jws.own_key().ok_or(Proof::Malformed)?;
    let claims = jws.verified(&key, algorithm).map_err(|_| Proof::Signature)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).ok_or(Proof::Malformed);
    let jti = text("jti")?;
    if !(1..=MAX_JTI_BYTES).contains(&jti.len()) {
        return Err(Proof::Malformed);
    }
    if text("htm")? != call.method || !is_address(text("htu")?, call.path, servers) {
        return Err(Proof::OtherCall);
    }
    if text("ath")? != Base64UrlUnpadded::encode_string(&call.token_hash) {
        return Err(Proof::OtherToken);
    }
    let made = claims.get("iat").and_then(Value::as_u64).ok_or(Proof::Malformed)?;
    if made.abs_diff(now) > PROOF_WINDOW_S {
        return Err(Proof::Time);
    }
    let key = key.thumbprint();
    let id = sha256(&[&key[..], jti.as_bytes()].concat());
    Ok(Proven { key, id, forget_at: made.saturating_add(PROOF_WINDOW_S + 1) })
}

/// Whether this is the address of a path here. Query and fragment do not count (RFC 9449 §4.3).
fn is_address(htu: &str, path: &str, servers: &[ServerUrl]) -> bool {
    let Some(uri) = htu.split(['?', '#']).next().and_then(|it| it.parse::<Uri>().ok()) else { return false };
    ServerUrl::of(&uri).is_some_and(|it| servers.contains(&it)) && uri.path() == path
}
