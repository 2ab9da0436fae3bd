//! Who calls, as the access log has it.

use std::sync::Arc;

use graven_audit::Who;
use graven_event::Party;
use graven_net::Peer;
use http::{Extensions, HeaderMap};
use tonic::Request;

use crate::access::{Caller, KnownBy};

/// The kind of OAuth clients.
pub(crate) const APPLICATION: &str = "application";

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

/// Who a caller is where it is decided who may do what in a log: a person or an application, whatever it is known by here.
///
/// An access token is its person's; one that stands for nobody but its client, as its subject is the client itself (RFC 9068 §2.2) or
/// absent, is the application's. Whatever else it is known by is called as the operator named it: `alice` is `user:alice`, and
/// `application:billing` the application. So the operator sees to it that no name of theirs is also one of somebody else's.
pub(crate) fn party(who: &Who) -> Party {
    match (&who.issuer, &who.client, &who.subject) {
        (Some(_), Some(client), subject) if subject.as_ref().is_none_or(|subject| subject == client) => {
            Party::new(APPLICATION, client.as_str())
        }
        (Some(_), _, Some(subject)) => Party::new(Party::USER, subject.as_str()),
        _ => Party::parse(&who.name),
    }
}

/// What a caller is called where its streams and decisions are: clients of one issuer are apart.
pub(crate) fn principal(who: &Who) -> String {
    match (&who.issuer, &who.client, &who.subject) {
        (Some(_), Some(client), _) => format!("{}/{client}", who.name),
        (Some(_), None, Some(subject)) => format!("{}/{subject}", who.name),
        _ => who.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oauth(subject: Option<&str>, client: Option<&str>) -> String {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let who = Who {
            name: "corp".to_owned(),
            by: "oauth".to_owned(),
            subject: owned(subject),
            client: owned(client),
            issuer: Some("https://id.example.com".to_owned()),
            ..Who::default()
        };
        party(&who).subject()
    }

    fn named(name: &str) -> String {
        party(&Who { name: name.to_owned(), by: "token".to_owned(), ..Who::default() }).subject()
    }

    #[test]
    fn a_token_is_its_persons_or_where_there_is_none_its_clients() {
        assert_eq!(oauth(Some("alice"), Some("web")), "user:alice");
        assert_eq!(oauth(Some("alice"), None), "user:alice");
        assert_eq!(oauth(Some("web"), Some("web")), "application:web");
        assert_eq!(oauth(None, Some("web")), "application:web");
        // What a subject is called makes nobody an application, nor anybody else.
        assert_eq!(oauth(Some("application:web"), Some("other")), "user:application:web");
        assert_eq!(oauth(Some("user:root"), Some("other")), "user:user:root");
    }

    #[test]
    fn what_the_operator_named_is_called_so() {
        assert_eq!(named("alice"), "user:alice");
        assert_eq!(named("user:alice"), "user:alice");
        assert_eq!(named("application:billing"), "application:billing");
        assert_eq!(named("service:ci"), "service:ci");
        assert_eq!(named("corp/web"), "user:corp/web");
    }
}
