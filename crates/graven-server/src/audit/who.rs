//! Who calls, as the access log has it.

use std::sync::Arc;

use graven_audit::Who;
use graven_net::Peer;
use http::{Extensions, HeaderMap};
use tonic::Request;

use crate::access::{Caller, KnownBy};

/// Who calls.
pub(crate) fn who<T>(request: &Request<T>) -> Who {
    of_parts(request.extensions(), request.metadata().as_ref())
}

/// The same, from the parts of an HTTP request.
pub(crate) fn of_parts(extensions: &Extensions, headers: &HeaderMap) -> Who {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let caller = extensions.get::<Caller>();
    let mut who = Who {
        name: caller.and_then(Caller::name).unwrap_or("nobody").to_owned(),
        by: "open".to_owned(),
        ip: extensions.get::<Arc<Peer>>().map(|peer| peer.address.ip()),
        request_id: text("x-request-id"),
        user_agent: text("user-agent"),
        ..Who::default()
    };
    match caller.map(Caller::known_by) {
        None | Some(KnownBy::Nothing) => {}
        Some(KnownBy::Token) => who.by = "token".to_owned(),
        Some(KnownBy::Certificate) => who.by = "certificate".to_owned(),
        Some(KnownBy::OAuth(token)) => {
            who.by = "oauth".to_owned();
            who.subject = Some(token.subject.clone());
            who.client = token.client_id.clone();
            who.issuer = Some(token.issuer.to_string());
            who.token =
                token.jti_hash.as_ref().map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect());
        }
    }
    who
}

/// What a caller is called where its streams and decisions are: clients of one issuer are apart.
pub(crate) fn principal(who: &Who) -> String {
    match (&who.issuer, &who.client, &who.subject) {
        (Some(_), Some(client), _) => format!("{}/{client}", who.name),
        (Some(_), None, Some(subject)) => format!("{}/{subject}", who.name),
        _ => who.name.clone(),
    }
}
