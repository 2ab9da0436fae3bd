//! What gateways and clients of an OAuth server ask, in their own words: whether a token is active, and that it be worth nothing.
//!
//! ```text
//! POST /<log>/oauth/introspect   token=…[&resource=…]          RFC 7662; needs the grant `check`
//! POST /<log>/oauth/revoke       token=…[&token_type_hint=…]   RFC 7009; the token's own client, or the grant `scope`
//! ```
//!
//! Both take a form and answer JSON that nobody keeps. Who calls is known as for every call: by a token of the server's, an access token
//! or a certificate. A token that is asked about is checked by its issuer's keys or its issuer's word, as those of callers are, but
//! whomever it was made for: that it is for the one who asks, that one sees in `aud`; and what it is bound to, in `cnf`.
//!
//! An introspection is no decision of the log: nobody knows what is about to be done, so nothing of it is in any history. It is an entry
//! of the access log, `oauth.token.introspect`, durable before the answer. A revocation is a command, and its leaf says so.
//!
//! Errors are JSON as in RFC 6749 §5.2: `{"error": "invalid_request", "error_description": "…"}`.

mod fault;
mod form;
mod introspect;
mod revoke;

use std::sync::Arc;

use axum::body::Body;
use graven_audit::scopes::ShownToken;
use graven_audit::{Audit, Book, Who};
use graven_auth::Examined;
use graven_event::{Party, Time};
use graven_log::{Kind, LogName};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::Value;

use self::fault::Fault;
use self::form::Form;
use crate::access::{Caller, Permission};
use crate::core::Core;
use crate::site;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: &str = "application/x-www-form-urlencoded";
/// The longest form: a token of 8 KiB with each of its bytes escaped, and room for what else there is.
const MAX_FORM_BYTES: usize = 32 << 10;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Introspect,
    Revoke,
}

/// A call of somebody who is known.
struct Call<'a> {
    core: &'a Core,
    request: &'a Parts,
    caller: Caller,
    log: LogName,
    form: Form,
}

impl Endpoint {
    /// One word for metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
        }
    }
}

/// Answers a request.
pub(crate) async fn answer(
    core: &Core,
    request: &Parts,
    body: Body,
    log: &str,
    endpoint: Endpoint,
) -> Response<Body> {
    if request.method != Method::POST {
        let mut refused = Fault::invalid(StatusCode::METHOD_NOT_ALLOWED, "POST only").answer();
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return refused;
    }
    let answering = tokio::time::timeout(core.request_timeout, respond(core, request, body, log, endpoint));
    let answered = answering.await.unwrap_or_else(|_| Err(Fault::later("the call took longer than it may")));
    answered.unwrap_or_else(|fault| fault.answer())
}

async fn respond(
    core: &Core,
    request: &Parts,
    body: Body,
    log: &str,
    endpoint: Endpoint,
) -> Result<Response<Body>, Fault> {
    let log = LogName::new(log).map_err(|_| Fault::no_log())?;
    // Strangers fill no memory.
    let caller = site::identify(core, request).await.map_err(|denied| Fault::denied(&denied))?;
    let kind = request.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM)) {
        return Err(Fault::invalid(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send a form: application/x-www-form-urlencoded",
        ));
    }
    let received = core.forms.read(body, MAX_FORM_BYTES).await.map_err(Fault::body)?;
    let form = Form::parse(&received).map_err(|why| Fault::invalid(StatusCode::BAD_REQUEST, why))?;
    let call = Call { core, request, caller, log, form };
    match endpoint {
        Endpoint::Introspect => introspect::answer(&call).await,
        Endpoint::Revoke => revoke::answer(&call).await,
    }
}

impl Call<'_> {
    fn who(&self) -> Who {
        site::who(self.request, &self.caller)
    }

    /// Whether the caller may do this to the log; asked before it is looked whether there is one.
    async fn allow(&self, permission: Permission) -> Result<(), Fault> {
        site::allow(self.core, self.request, &self.caller, &self.log, permission).await.map_err(Fault::no)
    }

    fn book(&self) -> Result<(Arc<Audit>, Arc<Book>), Fault> {
        let audit = self.core.audit.clone().ok_or_else(Fault::no_log)?;
        let book = audit.book(self.log.as_str()).ok_or_else(Fault::no_log)?;
        if book.log().meta().kind == Kind::Events { Ok((audit, book)) } else { Err(Fault::no_log()) }
    }

    /// What the token says; `Err` with a word why it counts for nothing.
    async fn examine(&self) -> Result<Result<Examined, &'static str>, Fault> {
        match self.core.access.examine(&self.form.token).await {
            Ok(examined) => Ok(Ok(examined)),
            Err(error) if error.is_outage() => Err(Fault::later(error.to_string())),
            Err(error) => Ok(Err(error.label())),
        }
    }
}

/// A token as decisions know it. `None`: it has no identifier, so nobody could tell whether it was revoked.
fn shown(examined: &Examined) -> Option<ShownToken> {
    let token = &examined.token;
    Some(ShownToken {
        issuer: token.issuer.clone(),
        id: token.id.clone()?,
        issued: token.issued.map(Time::from_seconds),
        expires: Some(Time::from_seconds(token.expires)),
        scopes: token.scopes.clone(),
    })
}

/// In whose name, where that is not the client's own; always a person, whatever they are called.
fn subject(examined: &Examined) -> Option<String> {
    let subject = &examined.token.subject;
    let is_another = examined.token.client_id.as_ref() != Some(subject);
    is_another.then(|| Party::new(Party::USER, subject.as_str()).subject())
}

/// JSON that no cache keeps (RFC 7662 §4, RFC 6749 §5.1).
fn json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
