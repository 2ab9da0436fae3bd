//! What an access token says, once it is known to be its issuer's (RFC 9068 §4, RFC 7662 §2.2).

use std::fmt;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::Value;

use crate::json::Object;
use crate::jws::Jws;
use crate::key::sha256;
use crate::{Algorithm, Binding, KeySet, TokenError};

/// The longest token that is read, opaque or not: a request's head has 16 KiB for all of its fields.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;
/// By how much clocks may differ, at most.
pub const MAX_LEEWAY: Duration = Duration::from_secs(60);
/// The longest subject, client or other name.
const MAX_NAME_BYTES: usize = 256;
/// Audiences, and scopes, that one token has at most.
const MAX_ITEMS: usize = 256;
/// What an access token says that it is (RFC 9068 §2.1).
const TYPES: [&str; 2] = ["at+jwt", "application/at+jwt"];
/// What older issuers say instead, if anything.
const LEGACY_TYPES: [&str; 2] = ["JWT", ""];

/// What an issuer's tokens must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The issuer's identifier, to the letter.
    pub issuer: String,
    /// Who we are to it. One of a token's audiences must be one of these.
    pub audiences: Vec<String>,
    /// How its tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// Whether `typ` may be `JWT` or missing. Then nothing but the audience tells an access token from an ID token.
    pub legacy_type: bool,
    /// By how much its clock may be ahead of ours: for `nbf` and `iat`. There is none for `exp`. At most [`MAX_LEEWAY`] counts.
    pub leeway: Duration,
}

/// A token that was found good, until it expires.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The issuer's identifier.
    pub issuer: String,
    /// On whose behalf; a client's own name where there is nobody else.
    pub subject: String,
    /// Which client it was issued to.
    pub client_id: Option<String>,
    /// SHA-256 of its identifier, so that it can be found again and not used.
    pub jti_hash: Option<[u8; 32]>,
    /// Its identifier, by which a log that is told of it knows it again. An issuer may let an opaque token be its own: it is no less secret
    /// than the token.
    pub id: Option<String>,
    /// What it is good for, in the issuer's words. Empty: nothing.
    pub scopes: Vec<String>,
    /// When it was issued, in seconds since 1970, where that is said.
    pub issued: Option<u64>,
    /// When it is over, in seconds since 1970.
    pub expires: u64,
    /// What has to be shown with it.
    pub bound_to: BoundTo,
}

/// A token that somebody was shown and asks about: good, as far as its issuer knows. For whom it is and what it is bound to is theirs to
/// look at, so it lets nobody in here.
#[derive(Clone, PartialEq, Eq)]
pub struct Examined {
    /// What it says.
    pub token: AccessToken,
    /// For whom it is: one at least.
    pub audiences: Vec<String>,
}

/// What a token is bound to (RFC 7800): each that is there must be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoundTo {
    /// The thumbprint of a key that proofs are made by (RFC 9449 §6.1).
    pub key: Option<[u8; 32]>,
    /// SHA-256 of a client certificate (RFC 8705 §3.1).
    pub certificate: Option<[u8; 32]>,
}

/// A signed token whose key is not found yet.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    jws: Jws<'a>,
    algorithm: Algorithm,
}

impl Rules {
    /// A signed token, verified by these keys at this time, in seconds since 1970.
    ///
    /// # Errors
    /// It does not count: see [`TokenError`].
    pub fn verify(&self, token: &str, keys: &KeySet, now: u64) -> Result<AccessToken, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        self.claims(&self.admit(Jws::parse(token)?)?.verify(keys)?, now, true)
    }

    /// Whether a token may be this issuer's, before its signature is looked at.
    pub(crate) fn admit<'a>(&self, jws: Jws<'a>) -> Result<Unverified<'a>, TokenError> {
        let algorithm = jws.algorithm(&self.algorithms)?;
        let is_legacy = self.legacy_type && LEGACY_TYPES.contains(&jws.typ());
        if !(TYPES.contains(&jws.typ()) || is_legacy) {
            return Err(TokenError::Type);
        }
        if jws.claimed_issuer() != Some(&self.issuer) {
            return Err(TokenError::Issuer);
        }
        jws.kid()?;
        Ok(Unverified { jws, algorithm })
    }

    /// Whether an issuer's answer says of a token that it is an access token of its own, and counts.
    pub(crate) fn answered(&self, answer: &Object) -> Result<(), TokenError> {
        if answer.get("active") != Some(&Value::Bool(true)) {
            return Err(TokenError::Inactive);
        }
        // A refresh token is active as well, and has no type.
        let kind = answer.get("token_type").and_then(Value::as_str).unwrap_or_default();
        if !["bearer", "dpop"].iter().any(|known| kind.eq_ignore_ascii_case(known)) {
            return Err(TokenError::Type);
        }
        if answer.get("iss").is_some_and(|issuer| issuer.as_str() != Some(&self.issuer)) {
            return Err(TokenError::Issuer);
        }
        Ok(())
    }

    /// What a token says, whomever it is for: of a signed one, or of an issuer's answer that has been [looked at](Self::answered).
    pub(crate) fn examined(&self, claims: &Object, now: u64, signed: bool) -> Result<Examined, TokenError> {
        Ok(Examined {
            token: self.said(claims, now, signed)?,
            audiences: audiences(claims)?.into_iter().map(str::to_owned).collect(),
        })
    }

    pub(crate) fn claims(&self, claims: &Object, now: u64, signed: bool) -> Result<AccessToken, TokenError> {
        let is_us = |it: &&str| self.audiences.iter().any(|us| us == it);
        audiences(claims)?.iter().any(is_us).then_some(()).ok_or(TokenError::Audience)?;
        self.said(claims, now, signed)
    }

    fn said(&self, claims: &Object, now: u64, signed: bool) -> Result<AccessToken, TokenError> {
        let leeway = self.leeway.min(MAX_LEEWAY).as_secs();
        let expires = seconds(claims, "exp")?.ok_or(TokenError::Claim("exp"))?;
        if now >= expires {
            return Err(TokenError::Expired);
        }
        let issued = seconds(claims, "iat")?;
        let begins = issued.max(seconds(claims, "nbf")?);
        if begins.is_some_and(|begins| begins > now.saturating_add(leeway)) {
            return Err(TokenError::NotYet);
        }
        let (client_id, jti) = (name(claims, "client_id")?, name(claims, "jti")?);
        // RFC 9068 §2.2 demands what older issuers do not send.
        if signed && !self.legacy_type {
            issued.ok_or(TokenError::Claim("iat"))?;
            client_id.ok_or(TokenError::Claim("client_id"))?;
            jti.ok_or(TokenError::Claim("jti"))?;
        }
        let nobody_else = client_id.filter(|_| !signed);
        let subject = name(claims, "sub")?.or(nobody_else).ok_or(TokenError::Claim("sub"))?;
        Ok(AccessToken {
            issuer: self.issuer.clone(),
            subject: subject.to_owned(),
            client_id: client_id.map(str::to_owned),
            jti_hash: jti.map(|jti| sha256(jti.as_bytes())),
            id: jti.map(str::to_owned),
            scopes: scopes(claims)?,
            issued,
            expires,
            bound_to: BoundTo::of(claims)?,
        })
    }
}

/// Without what it says of anybody: what can be printed is printed, some day, to a log.
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Likewise.
impl fmt::Debug for Examined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examined").field("token", &self.token).finish_non_exhaustive()
    }
}

impl Unverified<'_> {
    pub(crate) fn key<'k>(&self, keys: &'k KeySet) -> Option<&'k crate::PublicKey> {
        keys.find(self.jws.kid().ok()?, self.algorithm)
    }

    /// What it says, if it is signed by one of these.
    pub(crate) fn verify(self, keys: &KeySet) -> Result<Object, TokenError> {
        let key = self.key(keys).ok_or(TokenError::UnknownKey)?;
        self.jws.verified(key, self.algorithm)
    }
}

impl BoundTo {
    fn of(claims: &Object) -> Result<Self, TokenError> {
        let unknown = TokenError::Binding(Binding::Unknown);
        let Some(confirmation) = claims.get("cnf") else { return Ok(Self::default()) };
        let mut bound_to = Self::default();
        for (method, value) in confirmation.as_object().ok_or(unknown)? {
            let mut hash = [0; 32];
            let text = value.as_str().ok_or(unknown)?;
            let length = Base64UrlUnpadded::decode(text, &mut hash).map_err(|_| unknown)?.len();
            match method.as_str() {
                _ if length != hash.len() => return Err(unknown),
                "jkt" => bound_to.key = Some(hash),
                "x5t#S256" => bound_to.certificate = Some(hash),
                // It is bound to something that we cannot check.
                _ => return Err(unknown),
            }
        }
        // Bound to nothing is no binding that anybody means.
        if bound_to == Self::default() { Err(unknown) } else { Ok(bound_to) }
    }

    /// The same as a token says it (`cnf`: RFC 8705 §3.1, RFC 9449 §6.1); `None`: it is bound to nothing.
    pub fn confirmation(&self) -> Option<Value> {
        let named = [("jkt", self.key), ("x5t#S256", self.certificate)];
        let bound = named.into_iter().filter_map(|(method, hash)| {
            Some((method.to_owned(), Value::from(Base64UrlUnpadded::encode_string(&hash?))))
        });
        let bound: Object = bound.collect();
        (!bound.is_empty()).then_some(Value::Object(bound))
    }

    /// How such a token is shown, in a word: `bearer`, `dpop`, `mtls` or `dpop+mtls`.
    pub fn method(&self) -> &'static str {
        match (self.key, self.certificate) {
            (None, None) => "bearer",
            (Some(_), None) => "dpop",
            (None, Some(_)) => "mtls",
            (Some(_), Some(_)) => "dpop+mtls",
        }
    }
}

/// A time in seconds (RFC 7519 §2, NumericDate), its fraction cut off.
fn seconds(claims: &Object, claim: &'static str) -> Result<Option<u64>, TokenError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let fraction = || value.as_f64().filter(|it| (0.0..9e15).contains(it));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // Within the range above there is neither.
    let whole = value.as_u64().or_else(|| fraction().map(|it| it as u64));
    whole.map(Some).ok_or(TokenError::Claim(claim))
}

/// A name of bounded length without anything that disturbs a line.
fn name<'a>(claims: &'a Object, claim: &'static str) -> Result<Option<&'a str>, TokenError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let is_name = |it: &&str| (1..=MAX_NAME_BYTES).contains(&it.len()) && !it.chars().any(char::is_control);
    value.as_str().filter(is_name).map(Some).ok_or(TokenError::Claim(claim))
}

/// For whom it is (RFC 7519 §4.1.3): one at least, and nothing but texts.
fn audiences(claims: &Object) -> Result<Vec<&str>, TokenError> {
    let all = match claims.get("aud") {
        Some(Value::Array(all)) if (1..=MAX_ITEMS).contains(&all.len()) => all.as_slice(),
        Some(one @ Value::String(_)) => std::slice::from_ref(one),
        _ => return Err(TokenError::Audience),
    };
    all.iter().map(|one| one.as_str().ok_or(TokenError::Audience)).collect()
}

/// The scopes (RFC 6749 §3.3). Without the claim there are none.
fn scopes(claims: &Object) -> Result<Vec<String>, TokenError> {
    let wrong = TokenError::Claim("scope");
    let Some(value) = claims.get("scope") else { return Ok(Vec::new()) };
    let scopes: Vec<_> =
        value.as_str().ok_or(wrong)?.split(' ').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let is_scope = |it: &String| it.len() <= MAX_NAME_BYTES && it.bytes().all(|byte| byte.is_ascii_graphic());
    if scopes.len() > MAX_ITEMS || !scopes.iter().all(is_scope) { Err(wrong) } else { Ok(scopes) }
}
