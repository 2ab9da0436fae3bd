//! Whoever calls.

use graven_guard::{Caller, Identify, Unknown};
use http::request::Parts;
use http::{Request, Response};

use crate::rig::{Desk, Log, alice, header, request, send};

/// As somebody, over a connection from somewhere.
async fn put(identify: impl Identify, log: &Log) -> (Response<String>, u64) {
    let mut request = request("PUT", "/documents/7");
    request.headers_mut().insert("x-request-id", "r-1".parse().unwrap());
    request.headers_mut().insert("user-agent", "curl/8".parse().unwrap());
    send(identify, log, request).await
}

#[tokio::test]
async fn nobody_who_is_not_known_gets_through_or_is_asked_about() {
    for (unknown, status, reason, challenge) in [
        (Unknown::Missing, 401, "no-credentials", "Bearer"),
        (Unknown::Invalid, 401, "credentials-invalid", "Bearer error=\"invalid_token\""),
        (Unknown::Unavailable, 503, "unavailable", ""),
    ] {
        let log = Log::allowing();
        let (answer, runs) = put(move |_: &Parts| Err(unknown), &log).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "graven-reason")), (status, reason));
        assert_eq!(header(&answer, "www-authenticate"), challenge);
        assert_eq!((runs, log.asked().len()), (0, 0));
    }
    let desk = Desk::new(Log::allowing());
    let answer = desk.send(Request::get("/documents/7").body(()).unwrap()).await;
    assert_eq!((answer.status().as_u16(), desk.runs()), (401, 0));
}

#[tokio::test]
async fn the_log_is_told_what_is_known() {
    let log = Log::allowing();
    let service = |_: &Parts| Ok(Caller { client: "reports".to_owned(), ..Caller::default() });
    assert_eq!(put(service, &log).await.1, 1);
    let asked = log.asked().remove(0);
    assert_eq!((asked.client.as_str(), asked.subject.as_str(), asked.token), ("reports", "", None));
    assert_eq!(asked.resource, "https://docs.example.com");
    let context = asked.context.unwrap();
    assert_eq!(
        (context.request_id.as_str(), context.ip.as_str(), context.user_agent.as_str()),
        ("r-1", "192.0.2.7", "curl/8")
    );

    let log = Log::allowing();
    assert_eq!(put(|_: &Parts| Ok(alice()), &log).await.1, 1);
    let token = log.asked().remove(0).token.unwrap();
    assert_eq!(
        (token.id.as_str(), token.issuer.as_str(), token.scopes.len()),
        ("token-1", "https://id.example.com", 3)
    );
}

/// Never finds out.
struct Endless;

impl Identify for Endless {
    async fn identify(&self, _: &Parts) -> Result<Caller, Unknown> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn who_calls_is_found_out_in_time_or_not_at_all() {
    let log = Log::allowing();
    let (answer, runs) = put(Endless, &log).await;
    assert_eq!((answer.status().as_u16(), runs, log.asked().len()), (503, 0, 0));
}
