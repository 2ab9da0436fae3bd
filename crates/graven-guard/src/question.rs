//! What the log is asked about a request.

use std::net::IpAddr;
use std::time::SystemTime;

use graven_proto::v1::{CheckAccessRequest, CheckedToken, Context};
use http::HeaderMap;
use http::request::Parts;

use crate::{Caller, Need};

/// The longest request id and user agent that go on: what is longer is cut, so that nobody is refused for it.
const MAX_ID_BYTES: usize = 128;
/// See [`MAX_ID_BYTES`].
const MAX_AGENT_BYTES: usize = 1024;

pub(crate) fn question(
    log: &str,
    need: &Need,
    caller: &Caller,
    request: &Parts,
    from: Option<IpAddr>,
) -> CheckAccessRequest {
    CheckAccessRequest {
        log: log.to_owned(),
        client: caller.client.clone(),
        subject: caller.subject.clone().unwrap_or_default(),
        action: need.action.clone(),
        scopes: need.scopes.clone(),
        resource: need.resource.clone(),
        token: caller.token.as_ref().map(|token| CheckedToken {
            id: token.id.clone(),
            issuer: token.issuer.clone(),
            issued: token.issued.and_then(timestamp),
            expires: token.expires.and_then(timestamp),
            scopes: token.scopes.clone(),
        }),
        context: Some(context(&request.headers, from)),
        // The newest state, and a leaf that is durable: nothing less is worth asking for.
        consistency: None,
        wait: 0,
    }
}

fn context(headers: &HeaderMap, from: Option<IpAddr>) -> Context {
    Context {
        request_id: text(headers, "x-request-id", MAX_ID_BYTES),
        trace_id: trace_id(headers).unwrap_or_default(),
        ip: from.map(|ip| ip.to_canonical().to_string()).unwrap_or_default(),
        user_agent: text(headers, "user-agent", MAX_AGENT_BYTES),
    }
}

fn text(headers: &HeaderMap, name: &str, longest: usize) -> String {
    // Visible ASCII, so that it can be cut anywhere.
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value[..value.len().min(longest)].to_owned()
}

/// The second field of a `traceparent` (W3C Trace Context §3.2.2.3).
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("traceparent")?.to_str().ok()?.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

fn timestamp(time: SystemTime) -> Option<prost_types::Timestamp> {
    // A time before 1970 is one that nobody meant. What is absent counts as not known.
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|_| time.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShownToken;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn what_is_known_of_the_request_is_asked() {
        let need = Need::of(["b", "a"]).action("data.read").resource("https://docs.example.com");
        let token = ShownToken {
            id: "t".to_owned(),
            issuer: "https://id.example.com".to_owned(),
            issued: Some(UNIX_EPOCH + Duration::from_secs(7)),
            expires: None,
            scopes: vec!["a".to_owned()],
        };
        let caller =
            Caller { client: "billing".to_owned(), subject: Some("alice".to_owned()), token: Some(token) };
        let request = http::Request::get("/")
            .header("x-request-id", "r-1")
            .header("user-agent", "x".repeat(2000))
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let asked = question("scopes", &need, &caller, &parts, Some("::ffff:192.0.2.7".parse().unwrap()));

        assert_eq!(
            (asked.log.as_str(), asked.client.as_str(), asked.subject.as_str()),
            ("scopes", "billing", "alice")
        );
        assert_eq!(
            (asked.action.as_str(), asked.resource.as_str()),
            ("data.read", "https://docs.example.com")
        );
        assert_eq!(asked.scopes, ["a", "b"]);
        let shown = asked.token.unwrap();
        assert_eq!((shown.id.as_str(), shown.issued.unwrap().seconds, shown.expires), ("t", 7, None));
        let context = asked.context.unwrap();
        assert_eq!((context.request_id.as_str(), context.ip.as_str()), ("r-1", "192.0.2.7"));
        assert_eq!(context.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.user_agent.len(), MAX_AGENT_BYTES);
    }

    #[test]
    fn what_a_request_says_wrong_is_left_out() {
        let request =
            http::Request::get("/").header("x-request-id", &b"\xff"[..]).header("traceparent", "00-xyz-1");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let asked = question("", &Need::of(["a"]), &Caller::default(), &parts, None);
        assert_eq!(asked.context, Some(Context::default()));
        assert_eq!(asked.token, None);
    }
}
