//! The client's connections: whom it believes, what it shows, and what it says where that fails.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use graven_client::{
    BearerToken, CertificatesError, Client, ClientIdentity, Code, ConnectError, ConnectOptions, DialError,
    RetryPolicy, RootCertificates, Roots, TlsProblem, Trust,
};
use graven_merkle::LeafIndex;
use graven_proto::v1::log_service_server::LogServiceServer;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use rcgen::date_time_ymd;
use rustls::ServerConfig;
use tower::Service;

use crate::{
    certificates::{Ca, Issued},
    fake_log::FakeLog,
    raw,
    tls::{Asks, serve},
};

const SECRET: &str = "gvn_0123456789abcdef";

fn options(ca: &Ca) -> ConnectOptions {
    let roots = RootCertificates::from_pem(ca.pem().as_bytes()).unwrap();
    ConnectOptions { roots: Roots::Only(roots), retries: RetryPolicy::NEVER, ..ConnectOptions::default() }
}

fn showing(ca: &Ca, shown: &Issued) -> ConnectOptions {
    let identity = ClientIdentity::from_pem(shown.certificate.as_bytes(), shown.key.as_bytes()).unwrap();
    ConnectOptions { identity: Some(identity), ..options(ca) }
}

/// A log behind TLS.
async fn serve_log(config: Arc<ServerConfig>) -> String {
    let address = serve(LogServiceServer::new(FakeLog::new(3)), Some(config)).await;
    format!("https://localhost:{}", address.port())
}

/// What the client says of a server that it must not use, at the latest with its first call.
async fn failure(address: &str, options: ConnectOptions) -> String {
    match Client::connect(address, options).await {
        Err(error) => error.to_string(),
        Ok(client) => client.admin().list().await.unwrap_err().to_string(),
    }
}

async fn problem(address: &str, options: ConnectOptions) -> TlsProblem {
    let error = Client::connect(address, options).await.unwrap_err();
    match error.dial_error() {
        Some(DialError::Tls(problem)) => {
            assert!(error.to_string().ends_with(&problem.to_string()), "{error}");
            problem.clone()
        }
        other => panic!("{other:?}: {error}"),
    }
}

#[tokio::test]
async fn every_call_carries_the_token_and_nothing_prints_it() {
    let (ca, seen) = (Ca::new(), Arc::new(Mutex::new(Vec::<HeaderMap>::new())));
    let (log, kept) = (LogServiceServer::new(FakeLog::new(300)), Arc::clone(&seen));
    let recording = tower::service_fn(move |request: Request<Incoming>| {
        kept.lock().unwrap().push(request.headers().clone());
        log.clone().call(request)
    });
    let address = serve(recording, Some(ca.issue("localhost").server(Asks::No, &["h2"]))).await;
    let token = Some(BearerToken::new(SECRET).unwrap());
    let options = ConnectOptions { token, ..options(&ca) };
    assert!(!format!("{options:?}").contains(SECRET));
    let client = Client::connect(&format!("https://localhost:{}", address.port()), options).await.unwrap();
    let log = client.log("audit", Trust::of_vkeys([FakeLog::vkey()]).unwrap());

    log.append("one").published().await.unwrap();
    log.append_batch(["two", "three"]).durable().await.unwrap();
    log.entry(LeafIndex::from(7)).await.unwrap();
    log.audit(|_| ()).await.unwrap();
    log.watch().await.unwrap().next().await.unwrap().unwrap();
    let (mut sender, mut acks) = log.append_stream();
    sender.send("four").await.unwrap();
    sender.finish();
    acks.next().await.unwrap().unwrap();
    let refused = client.admin().list().await.unwrap_err();
    assert!(!format!("{refused:?} {refused}").contains(SECRET));
    assert!(!format!("{client:?} {log:?}").contains(SECRET));

    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 8, "{}", seen.len());
    let expected = format!("Bearer {SECRET}");
    assert!(seen.iter().all(|headers| headers["authorization"] == expected.as_str()));
}

#[tokio::test]
async fn a_server_is_believed_by_its_certificate_alone() {
    let ca = Ca::new();
    let good = serve_log(ca.issue("localhost").server(Asks::No, &["h2"])).await;
    Client::connect(&good, options(&ca)).await.unwrap();
    assert_eq!(problem(&good, options(&Ca::new())).await, TlsProblem::Untrusted);
    // By its number it is another name, which the certificate does not have.
    let wrong = problem(&good.replace("localhost", "127.0.0.1"), options(&ca)).await;
    assert_eq!(wrong, TlsProblem::WrongName(vec!["localhost".to_owned()]));
    assert!(wrong.to_string().contains("not for this host, but for localhost"), "{wrong}");

    let old = ca.issue_with("localhost", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let old = serve_log(old.server(Asks::No, &["h2"])).await;
    assert_eq!(problem(&old, options(&ca)).await, TlsProblem::Expired);
    let early = ca.issue_with("localhost", |params| params.not_before = date_time_ymd(3000, 1, 1));
    let early = serve_log(early.server(Asks::No, &["h2"])).await;
    assert_eq!(problem(&early, options(&ca)).await, TlsProblem::NotYetValid);
}

#[tokio::test]
async fn a_server_must_speak_tls_1_3_and_http_2() {
    let ca = Ca::new();
    for protocols in [&["http/1.1"][..], &[]] {
        let address = serve_log(ca.issue("localhost").server(Asks::No, protocols)).await;
        assert_eq!(problem(&address, options(&ca)).await, TlsProblem::NoHttp2);
    }
    // The record of an alert, protocol_version; and the hello of a server that chose TLS 1.2.
    let alert = [0x15, 3, 3, 0, 2, 2, 70];
    let hello = [&[0x16, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3][..], &[7; 32], &[0, 0xc0, 0x2f, 0]].concat();
    for old in [alert.to_vec(), hello] {
        let address = format!("https://{}", raw::saying(old).await);
        assert_eq!(problem(&address, options(&ca)).await, TlsProblem::TooOld);
    }
    let plain = raw::saying("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_eq!(problem(&format!("https://{plain}"), options(&ca)).await, TlsProblem::NotTls);
    let silent = format!("https://{}", raw::saying("").await);
    let error = Client::connect(&silent, options(&ca)).await.unwrap_err();
    assert!(matches!(error.dial_error(), Some(DialError::HungUp)), "{error}");

    // And the other way around.
    let encrypted = serve_log(ca.issue("localhost").server(Asks::No, &["h2"])).await;
    let said = failure(&encrypted.replace("https", "http"), options(&ca)).await;
    assert!(said.contains("the server speaks TLS: use https://"), "{said}");
}

#[tokio::test]
async fn a_server_that_demands_a_certificate_is_shown_one() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let address = serve_log(ca.issue("localhost").server(Asks::Insists(&clients), &["h2"])).await;
    let said = failure(&address, options(&ca)).await;
    assert!(said.contains("the server demands a client certificate"), "{said}");
    let stranger = Ca::new().issue("gateway");
    let said = failure(&address, showing(&ca, &stranger)).await;
    assert!(said.contains("the server refuses the client certificate"), "{said}");

    let known = clients.issue("gateway");
    let client = Client::connect(&address, showing(&ca, &known)).await.unwrap();
    client.appender("audit").append("entry").durable().await.unwrap();
    let optional = serve_log(ca.issue("localhost").server(Asks::For(&clients), &["h2"])).await;
    let client = Client::connect(&optional, options(&ca)).await.unwrap();
    client.appender("audit").append("entry").durable().await.unwrap();

    let mixed = Issued { key: stranger.key, ..known };
    let error = Client::connect(&address, showing(&ca, &mixed)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Certificates(CertificatesError::Mismatch(_))), "{error}");
}

#[tokio::test]
async fn nobody_there_is_said_so_and_where() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for scheme in ["http", "https"] {
        let address = format!("{scheme}://{free}");
        let error = Client::connect(&address, options(&Ca::new())).await.unwrap_err();
        assert!(matches!(error.dial_error(), Some(DialError::Unreachable(_))), "{error}");
        let said = error.to_string();
        assert!(said.starts_with(&address) && said.contains("no server answers there"), "{said}");
    }
}

#[tokio::test]
async fn a_call_without_credentials_is_refused_once_and_not_tried_again() {
    let (ca, calls) = (Ca::new(), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&calls);
    let refusing = tower::service_fn(move |_: Request<Incoming>| {
        counted.fetch_add(1, Ordering::Relaxed);
        let answer = Response::builder().header("content-type", "application/grpc");
        let answer = answer.header("grpc-status", "16").header("grpc-message", "who are you");
        std::future::ready(answer.body(String::new()))
    });
    let address = serve(refusing, Some(ca.issue("localhost").server(Asks::No, &["h2"]))).await;
    let options = ConnectOptions { retries: RetryPolicy::default(), ..options(&ca) };
    let client = Client::connect(&format!("https://localhost:{}", address.port()), options).await.unwrap();
    let error = client.admin().list().await.unwrap_err();
    assert_eq!((error.code(), error.attempts()), (Code::Unauthenticated, 1));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert!(error.to_string().contains("who are you"), "{error}");
}
