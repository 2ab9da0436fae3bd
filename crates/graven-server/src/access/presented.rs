//! What stands in the head of a request.

use graven_auth::{MAX_TOKEN_BYTES, Proof, Scheme, Shown, TokenError};
use http::HeaderName;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};

use super::{Denied, Presented};

const DPOP: HeaderName = HeaderName::from_static("dpop");

impl<'a> Presented<'a> {
    /// The token, by RFC 6750 §2.1 or RFC 9449 §7.1. Other schemes, and more than one header, are not understood and refused.
    pub(super) fn token(&self) -> Result<Option<Shown<'a>>, Denied> {
        let mut headers = self.headers.get_all(AUTHORIZATION).iter();
        let Some(header) = headers.next() else { return Ok(None) };
        let (scheme, token) =
            header.to_str().ok().and_then(|it| it.split_once(' ')).ok_or(Denied::Invalid)?;
        let scheme = match scheme {
            it if it.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
            it if it.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
            _ => return Err(Denied::Invalid),
        };
        let is_token =
            (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|it| it.is_ascii_graphic());
        if headers.next().is_some() || !is_token {
            return Err(Denied::Invalid);
        }
        Ok(Some(Shown {
            token: token.into(),
            token_hash: Sha256::digest(token).into(),
            scheme,
            proof: self.proof()?.map(Into::into),
            method: self.method.as_str().into(),
            path: self.path.into(),
            certificate: self.peer.and_then(|peer| peer.certificate),
        }))
    }

    /// The one proof that there may be (RFC 9449 §4.3).
    fn proof(&self) -> Result<Option<&'a str>, Denied> {
        let mut headers = self.headers.get_all(DPOP).iter();
        let Some(header) = headers.next() else { return Ok(None) };
        let proof = header.to_str().ok().filter(|_| headers.next().is_none());
        proof.map(Some).ok_or(Denied::Token(TokenError::Proof(Proof::Malformed)))
    }
}
