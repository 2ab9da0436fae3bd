//! What the log is asked about a request.

use std::net::IpAddr;

use graven_client::scopes::{Check, Freshness};
use graven_event::Context;
use http::HeaderMap;
use http::request::Parts;

use crate::{Caller, Need};

/// The longest request id and user agent that go on: what is longer is cut, so that nobody is refused for it.
const MAX_ID_BYTES: usize = 128;
/// See [`MAX_ID_BYTES`].
const MAX_AGENT_BYTES: usize = 1024;

pub(crate) fn question(need: &Need, caller: &Caller, request: &Parts, from: Option<IpAddr>) -> Check {
    Check {
        client: caller.client.clone(),
        subject: caller.subject.clone(),
        action: need.action.clone(),
        scopes: need.scopes.clone(),
        resource: need.resource.clone(),
        token: caller.token.clone(),
        context: context(&request.headers, from),
        freshness: Freshness::Latest,
    }
}

fn context(headers: &HeaderMap, from: Option<IpAddr>) -> Context {
    Context {
        request_id: text(headers, "x-request-id", MAX_ID_BYTES),
        trace_id: trace_id(headers),
        ip: from.map(|ip| ip.to_canonical().to_string()),
        user_agent: text(headers, "user-agent", MAX_AGENT_BYTES),
    }
}

fn text(headers: &HeaderMap, name: &str, longest: usize) -> Option<String> {
    // Visible ASCII, so that it can be cut anywhere.
    let value = headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())?;
    Some(value[..value.len().min(longest)].to_owned())
}

/// The second field of a `traceparent` (W3C Trace Context §3.2.2.3).
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("traceparent")?.to_str().ok()?.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_the_request_is_asked() {
        let need = Need::of(["b", "a"]).action("data.read").resource("https://docs.example.com");
        let caller = Caller { client: "billing".to_owned(), subject: Some("alice".to_owned()), token: None };
        let request = http::Request::get("/")
            .header("x-request-id", "r-1")
            .header("user-agent", "x".repeat(2000))
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let asked = question(&need, &caller, &parts, Some("::ffff:192.0.2.7".parse().unwrap()));

        assert_eq!((asked.client.as_str(), asked.subject.as_deref()), ("billing", Some("alice")));
        assert_eq!(
            (asked.action.as_str(), asked.resource.as_deref()),
            ("data.read", Some("https://docs.example.com"))
        );
        assert_eq!(asked.scopes, ["a", "b"]);
        assert_eq!(asked.freshness, Freshness::Latest);
        let context = asked.context;
        assert_eq!((context.request_id.as_deref(), context.ip.as_deref()), (Some("r-1"), Some("192.0.2.7")));
        assert_eq!(context.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(context.user_agent.unwrap().len(), MAX_AGENT_BYTES);
    }

    #[test]
    fn what_a_request_says_wrong_is_left_out() {
        let request =
            http::Request::get("/").header("x-request-id", &b"\xff"[..]).header("traceparent", "00-xyz-1");
        let (parts, ()) = request.header("user-agent", "").body(()).unwrap().into_parts();
        assert_eq!(question(&Need::of(["a"]), &Caller::default(), &parts, None).context, Context::default());
    }
}
