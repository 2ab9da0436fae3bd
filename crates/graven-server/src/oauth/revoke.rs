//! Revocation (RFC 7009): a token is worth nothing from its entry on, for every decision of the log.
//!
//! The token's own client may, as it shows itself by credentials of its own, and whoever holds the grant `scope` and may command so in the
//! log. A token that is not known, or over, is as good as revoked: that is no error (§2.2). Of its issuer nobody learns of it.

use axum::body::Body;
use graven_audit::scopes::{Command, Commanded, Commanding, ShownToken};
use graven_audit::{Audit, Book};
use graven_auth::Examined;
use graven_event::scopes::Reason;
use graven_event::{Party, Time};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};

use super::fault::Fault;
use super::{Call, shown};
use crate::access::{KnownBy, Permission};
use crate::audit::{APPLICATION, party, principal};
use crate::scopes::context;

pub(super) async fn answer(call: &Call<'_>) -> Result<Response<Body>, Fault> {
    let Ok(examined) = call.examine().await? else { return Ok(done()) };
    let client = examined.token.client_id.as_deref();
    let own = client.filter(|client| is_own(call, &examined, client));
    if own.is_none() {
        call.allow(Permission::Scope).await?;
    }
    let (audit, book) = match call.book() {
        Ok(found) => found,
        // Whoever may do nothing to it does not learn whether there is such a log.
        Err(fault) => return Err(call.allow(Permission::Scope).await.err().unwrap_or(fault)),
    };
    let token = shown(&examined).ok_or_else(Fault::unsupported_token)?;
    if is_revoked(&audit, &book, client.unwrap_or_default(), &token) {
        // As far as anybody was told, at least.
        let told = audit.durably(&book, |_| ()).await;
        return told.map(|()| done()).map_err(|error| Fault::audit(&error, call.core));
    }
    let who = call.who();
    let command = Command::RevokeToken {
        issuer: token.issuer,
        id: token.id,
        expires: token.expires.filter(|expires| *expires > Time::default()),
        client: own.map(str::to_owned),
    };
    let commanding = Commanding {
        caller: &principal(&who),
        by: party(&who),
        command,
        justification: None,
        context: context(&who),
        key: None,
    };
    let commanded = audit.command(&book, commanding).await;
    let Commanded { refused, .. } = commanded.map_err(|error| Fault::audit(&error, call.core))?;
    match refused {
        None => Ok(done()),
        Some(why) => Err(Fault::unauthorized(format!("the log refuses it, and says so: {why}"))),
    }
}

/// Whether the caller is the client that the token was issued to: by the same issuer, or called so by the operator.
fn is_own(call: &Call<'_>, examined: &Examined, client: &str) -> bool {
    let is_issuers = match call.caller.known_by() {
        KnownBy::OAuth(token) => token.issuer == examined.token.issuer,
        KnownBy::Token | KnownBy::Certificate => true,
        KnownBy::Nothing => false,
    };
    is_issuers && party(&call.who()) == Party::new(APPLICATION, client)
}

/// So that nobody fills a log with what it says already.
fn is_revoked(audit: &Audit, book: &Book, client: &str, token: &ShownToken) -> bool {
    let any = ShownToken { scopes: vec!["any".to_owned()], ..token.clone() };
    let said = audit.active_scopes(book, client, None, None, &any);
    said.is_ok_and(|(reason, ..)| reason == Reason::TokenRevoked)
}

fn done() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
