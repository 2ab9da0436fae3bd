//! Introspection (RFC 7662): whether a token is active, as its issuer and the log say.
//!
//! It is where its issuer says so, the log has not revoked it, and its client has a grant for one of its scopes at least; `scope` names
//! those alone. Where the caller says no `resource`, a token that is for one audience is asked about for that one: a grant for some resource
//! alone counts nowhere else.

use axum::body::Body;
use graven_audit::{Audit, Book, Deed};
use graven_auth::Examined;
use graven_event::Party;
use graven_event::scopes::Reason;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::fault::Fault;
use super::{Call, json as answered, shown, subject};
use crate::access::Permission;
use crate::audit::APPLICATION;
use crate::scopes::fields;

/// What is answered of a token, and why.
struct Found {
    /// The scopes that count: none where it is not active.
    scopes: Vec<String>,
    why: &'static str,
    /// The number of leaves that were taken into account.
    size: u64,
}

pub(super) async fn answer(call: &Call<'_>) -> Result<Response<Body>, Fault> {
    call.allow(Permission::Check).await?;
    let (audit, book) = call.book()?;
    let wanted = fields::resource(call.form.resource.as_deref().unwrap_or_default(), "resource").map_err(
        |refusal| Fault::invalid(StatusCode::BAD_REQUEST, format!("resource: {}", refusal.message())),
    )?;
    let examined = call.examine().await?;
    let found = match &examined {
        Ok(examined) => find(&audit, &book, examined, wanted.as_deref())
            .map_err(|error| Fault::audit(&error, call.core))?,
        Err(why) => Found::nothing(why),
    };
    let examined = examined.ok();
    let deed = noted(&book, examined.as_ref(), &found);
    audit.note(&call.who(), deed).await.map_err(|error| Fault::audit(&error, call.core))?;
    let body = match examined.filter(|_| !found.scopes.is_empty()) {
        Some(examined) => active(&examined, &found.scopes),
        // Nothing more is said of it (RFC 7662 §2.2).
        None => json!({"active": false}),
    };
    Ok(answered(StatusCode::OK, &body))
}

impl Found {
    fn nothing(why: &'static str) -> Self {
        Self { scopes: Vec::new(), why, size: 0 }
    }
}

fn find(
    audit: &Audit,
    book: &Book,
    examined: &Examined,
    wanted: Option<&str>,
) -> Result<Found, graven_audit::AuditError> {
    if wanted.is_some_and(|wanted| !examined.audiences.iter().any(|audience| audience == wanted)) {
        return Ok(Found::nothing("audience"));
    }
    let Some(client) = &examined.token.client_id else { return Ok(Found::nothing("no-client")) };
    let Some(token) = shown(examined) else { return Ok(Found::nothing("no-id")) };
    let resource = wanted.map(str::to_owned).or_else(|| only_audience(examined));
    let (subject, resource) = (subject(examined), resource.as_deref());
    let (reason, scopes, size) = audit.active_scopes(book, client, subject.as_deref(), resource, &token)?;
    let scopes = if reason == Reason::Granted { scopes } else { Vec::new() };
    Ok(Found { scopes, why: reason.as_str(), size })
}

/// The resource that a token is for, where it is for one.
fn only_audience(examined: &Examined) -> Option<String> {
    let [audience] = &examined.audiences[..] else { return None };
    fields::resource(audience, "aud").ok().flatten()
}

fn active(examined: &Examined, scopes: &[String]) -> Value {
    let token = &examined.token;
    let mut body = json!({
        "active": true,
        "scope": scopes.join(" "),
        "client_id": token.client_id,
        "sub": token.subject,
        "exp": token.expires,
        "iss": token.issuer,
        "jti": token.id,
        "aud": examined.audiences,
        "token_type": if token.bound_to.key.is_some() { "DPoP" } else { "Bearer" },
    });
    if let [audience] = &examined.audiences[..] {
        body["aud"] = audience.as_str().into();
    }
    if let Some(issued) = token.issued {
        body["iat"] = issued.into();
    }
    // Whoever is shown the token has to see that it is shown by whom it was made for (RFC 8705 §3.2, RFC 9449 §6.2).
    if let Some(confirmation) = token.bound_to.confirmation() {
        body["cnf"] = confirmation;
    }
    body
}

/// What the access log says of it: the token by the hash of its identifier, as callers' tokens are, and its client by what stands for it.
fn noted(book: &Book, examined: Option<&Examined>, found: &Found) -> Deed {
    let deed = Deed::new("oauth.token.introspect", book.log().meta().name.as_str())
        .with("active", !found.scopes.is_empty())
        .with("why", found.why)
        .with("size", found.size);
    let Some(token) = examined.map(|examined| &examined.token) else { return deed };
    let deed = match &token.jti_hash {
        Some(hash) => deed.with("token", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        None => deed,
    };
    let client = token.client_id.as_ref().map(|client| Party::new(APPLICATION, client.as_str()).subject());
    match client.and_then(|client| book.named(&client)) {
        Some(client) => deed.with("client", client),
        None => deed,
    }
}
