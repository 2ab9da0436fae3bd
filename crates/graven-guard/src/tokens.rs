//! Callers by their OAuth access tokens.

use std::sync::Arc;

use graven_auth::{AccessToken, MAX_TOKEN_BYTES, Scheme, Shown, TokenError, Validator};
use graven_client::scopes::ShownToken;
use graven_event::{Party, Time};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use crate::{Caller, Identify, Unknown};

/// Identifies callers by access tokens (RFC 6750, RFC 9068, RFC 9449), as a [`Validator`] finds them.
#[derive(Clone)]
pub struct Tokens {
    validator: Validator,
    certificate: Option<Certificate>,
}

type Certificate = Arc<dyn Fn(&Parts) -> Option<[u8; 32]> + Send + Sync>;

impl Tokens {
    /// By tokens that this validator finds good.
    pub fn new(validator: Validator) -> Self {
        Self { validator, certificate: None }
    }

    /// Finds the SHA-256 of the client certificate of a request's connection, for tokens that are bound to one (RFC 8705 §3). Without
    /// this they are refused.
    #[must_use]
    pub fn certificate(mut self, of: impl Fn(&Parts) -> Option<[u8; 32]> + Send + Sync + 'static) -> Self {
        self.certificate = Some(Arc::new(of));
        self
    }
}

impl Identify for Tokens {
    async fn identify(&self, request: &Parts) -> Result<Caller, Unknown> {
        let mut shown = shown(request)?;
        shown.certificate = self.certificate.as_ref().and_then(|of| of(request));
        let accepted = match self.validator.recall(&shown) {
            Some(known) => known,
            None => self.validator.accept(&shown).await,
        };
        caller(&accepted.map_err(|error| unknown(&error))?.token)
    }
}

/// The one token of a request's head. Other schemes are not understood, and refused.
fn shown(request: &Parts) -> Result<Shown<'_>, Unknown> {
    let header = one(&request.headers, AUTHORIZATION.as_str())?.ok_or(Unknown::Missing)?;
    let (scheme, token) = header.split_once(' ').ok_or(Unknown::Invalid)?;
    let scheme = match scheme {
        it if it.eq_ignore_ascii_case("bearer") => Scheme::Bearer,
        it if it.eq_ignore_ascii_case("dpop") => Scheme::Dpop,
        _ => return Err(Unknown::Invalid),
    };
    let is_token =
        (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|it| it.is_ascii_graphic());
    if !is_token {
        return Err(Unknown::Invalid);
    }
    Ok(Shown {
        token: token.into(),
        token_hash: Sha256::digest(token).into(),
        scheme,
        proof: one(&request.headers, "dpop")?.map(Into::into),
        method: request.method.as_str().into(),
        path: request.uri.path().into(),
        certificate: None,
    })
}

/// A header that must not stand twice.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Unknown> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let value = value.to_str().ok().filter(|_| values.next().is_none());
    value.map(Some).ok_or(Unknown::Invalid)
}

fn unknown(error: &TokenError) -> Unknown {
    if error.is_outage() { Unknown::Unavailable } else { Unknown::Invalid }
}

/// Whom a token stands for. A grant is a client's, so a token that names none stands for nobody here.
fn caller(token: &AccessToken) -> Result<Caller, Unknown> {
    let client = token.client_id.clone().ok_or(Unknown::Invalid)?;
    // Whatever it is called: an issuer's word must not make a person into an application.
    let person = Some(&token.subject).filter(|subject| **subject != client);
    let subject = person.map(|subject| Party::new(Party::USER, subject.as_str()).subject());
    let token = ShownToken {
        // One without could not be revoked.
        id: token.id.clone().ok_or(Unknown::Invalid)?,
        issuer: token.issuer.clone(),
        issued: token.issued.map(Time::from_seconds),
        expires: Some(Time::from_seconds(token.expires)),
        scopes: token.scopes.clone(),
    };
    Ok(Caller { client, subject, token: Some(token) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> AccessToken {
        AccessToken {
            issuer: "https://id.example.com".to_owned(),
            subject: "alice".to_owned(),
            client_id: Some("billing".to_owned()),
            jti_hash: Some([0xab; 32]),
            id: Some("token-1".to_owned()),
            scopes: vec!["documents:read".to_owned()],
            issued: Some(1_760_000_000),
            expires: 1_760_000_600,
            bound_to: graven_auth::BoundTo::default(),
        }
    }

    fn parts(headers: &[(&'static str, &str)]) -> Parts {
        let mut request = http::Request::post("/a?b=c");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_token_stands_for_its_client_and_whom_it_acts_for() {
        let found = caller(&token()).unwrap();
        assert_eq!((found.client.as_str(), found.subject.as_deref()), ("billing", Some("user:alice")));
        let shown = found.token.unwrap();
        assert_eq!((shown.id.as_str(), shown.issuer.as_str()), ("token-1", "https://id.example.com"));
        assert_eq!(shown.issued, Some(Time::from_seconds(1_760_000_000)));
        assert_eq!(shown.expires, Some(Time::from_seconds(1_760_000_600)));

        let its_own = AccessToken { subject: "billing".to_owned(), ..token() };
        assert_eq!(caller(&its_own).unwrap().subject, None);
        let odd = AccessToken { subject: "application:payroll".to_owned(), ..token() };
        assert_eq!(caller(&odd).unwrap().subject.as_deref(), Some("user:application:payroll"));
    }

    #[test]
    fn a_token_that_cannot_be_named_stands_for_nobody() {
        let nameless = AccessToken { id: None, ..token() };
        assert_eq!(caller(&nameless).unwrap_err(), Unknown::Invalid);
        let nobodys = AccessToken { client_id: None, ..token() };
        assert_eq!(caller(&nobodys).unwrap_err(), Unknown::Invalid);
    }

    #[test]
    fn there_is_one_token_in_a_head_or_none() {
        let is = |headers: &[(&'static str, &str)]| {
            shown(&parts(headers)).map(|shown| (shown.scheme, shown.proof.is_some()))
        };
        assert_eq!(is(&[("authorization", "bearer a.b.c")]), Ok((Scheme::Bearer, false)));
        assert_eq!(is(&[("authorization", "DPoP a.b.c"), ("dpop", "p")]), Ok((Scheme::Dpop, true)));
        assert_eq!(is(&[]), Err(Unknown::Missing));
        for headers in [
            &[("authorization", "Basic YTpi")][..],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer a b")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
            &[("authorization", "DPoP a"), ("dpop", "p"), ("dpop", "q")],
        ] {
            assert_eq!(is(headers), Err(Unknown::Invalid), "{headers:?}");
        }
        let head = parts(&[("authorization", "Bearer a")]);
        let shown = shown(&head).unwrap();
        assert_eq!((&*shown.method, &*shown.path), ("POST", "/a"));
    }
}
