//! Connections that cost something and bring nothing.

use std::time::{Duration, Instant};

use graven_proto::v1::{AppendBatchRequest, Wait};
use graven_server::ServerOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::raw::get;
use crate::service::{Service, config};

async fn with(options: ServerOptions) -> Service {
    Service::start_with(config(), options).await
}

/// How long it takes until the server closes a connection on which this was sent.
async fn closed_after(service: &Service, sent: &[u8]) -> Duration {
    let mut stream = TcpStream::connect(service.address()).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let started = Instant::now();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    closed.expect("the server closes it").ok();
    started.elapsed()
}

#[tokio::test]
async fn who_does_not_ask_anything_is_let_go() {
    let limit = Duration::from_millis(400);
    let service = with(ServerOptions { first_request_timeout: limit, ..ServerOptions::default() }).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for silent in [&b""[..], b"G", b"GET /healthz HTTP/1.1\r\nX: ", preface, &preface[..10]] {
        let took = closed_after(&service, silent).await;
        assert!(took >= limit / 2 && took < limit * 10, "{silent:?}: {took:?}");
    }
    // One that asks may stay.
    service.fill(1).await;
    tokio::time::sleep(limit * 2).await;
    service.fill(1).await;
    service.stop().await;
}

#[tokio::test]
async fn who_has_nothing_more_to_ask_is_let_go() {
    let limit = Duration::from_millis(400);
    let service = with(ServerOptions { idle_timeout: limit, ..ServerOptions::default() }).await;
    let took = closed_after(&service, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(took >= limit / 2 && took < limit * 10, "{took:?}");
    // A call that goes on is not nothing.
    let request = graven_proto::v1::WatchTreeHeadsRequest::default();
    let mut heads = service.client().watch_tree_heads(request).await.unwrap().into_inner();
    assert!(heads.message().await.unwrap().is_some());
    tokio::time::sleep(limit * 3).await;
    service.fill(1).await;
    assert!(heads.message().await.unwrap().is_some());
    drop(heads);
    service.stop().await;
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_let_go() {
    let limit = Duration::from_millis(400);
    let service = with(ServerOptions { stall_timeout: limit, ..ServerOptions::default() }).await;
    let entries = vec![vec![b'x'; 60_000].into(); 30];
    let request = AppendBatchRequest { entries, wait: Wait::Published.into(), ..Default::default() };
    service.client().append_batch(request).await.unwrap();
    let bundle = "/audit/tile/entries/000.p/30";
    for (window, more) in [
        (0, ("accept-encoding", "identity")),
        (0, ("accept-encoding", "gzip")),
        (1, ("accept-encoding", "identity")),
        (1, ("accept-encoding", "gzip")),
    ] {
        let request = [(":method", "GET"), (":scheme", "http"), (":path", bundle), (":authority", "x"), more];
        let head: Vec<u8> = request.iter().flat_map(|(name, value)| header(name, value)).collect();
        let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0";
        // As many bytes of each answer may be sent.
        let window = [0, 4, 0, 0, 0, window];
        let frame = [&[0, 0, u8::try_from(head.len()).unwrap(), 1, 5, 0, 0, 0, 1][..], &head].concat();
        let took = closed_after(&service, &[&greeting[..], &window, &frame].concat()).await;
        assert!(took >= limit / 2 && took < limit * 10, "{more:?}: {took:?}");
    }
    // Whoever takes it gets it.
    assert_eq!(get(service.address(), bundle, &[]).await.body.len(), 30 * 60_002);
    service.stop().await;
}

/// A header in HPACK, spelled out.
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

#[tokio::test]
async fn beyond_the_limit_connections_are_closed_at_once() {
    let service = with(ServerOptions { max_connections: 3, ..ServerOptions::default() }).await;
    service.fill(1).await; // holds one
    let held = [asked(&service).await, asked(&service).await];
    let took = closed_after(&service, b"").await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    // Those that are there go on, and room that is made is used.
    service.fill(1).await;
    drop(held);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(get(service.address(), "/healthz", &[]).await.status, 200);
    service.stop().await;
}

#[tokio::test]
async fn who_has_not_asked_for_anything_gives_way() {
    let service = with(ServerOptions { max_connections: 3, ..ServerOptions::default() }).await;
    service.fill(1).await; // holds one
    let mut held = [asked(&service).await, TcpStream::connect(service.address()).await.unwrap()];
    for _ in 0..20 {
        assert_eq!(get(service.address(), "/healthz", &[]).await.status, 200);
        let silent = TcpStream::connect(service.address()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(silent);
    }
    // The silent one is gone, the one that has asked is not.
    assert_eq!(held[1].read(&mut [0; 1]).await.unwrap(), 0);
    ask(&mut held[0]).await;
    service.fill(1).await;
    service.stop().await;
}

/// A connection on which something was asked, and more may be.
async fn asked(service: &Service) -> TcpStream {
    let mut stream = TcpStream::connect(service.address()).await.unwrap();
    ask(&mut stream).await;
    stream
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn heads_of_requests_have_a_length() {
    let service = with(ServerOptions::default()).await;
    let at = service.address();
    let long = format!("X-Long: {}", "x".repeat(100_000));
    assert_eq!(get(at, "/healthz", &[&long]).await.status, 431);
    let many = vec!["X: y"; 100];
    assert_eq!(get(at, "/healthz", &many).await.status, 431);
    assert_eq!(get(at, "/healthz", &many[..20]).await.status, 200);
    service.stop().await;
}
