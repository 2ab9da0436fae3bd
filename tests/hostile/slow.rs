//! Peers that take their time, or only a place.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use graven_proto::v1::{AppendBatchRequest, log_service_client::LogServiceClient};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{
    h2::{self, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame, request},
    honest::{Field, Newcomers, Tally},
    http1::dial,
};

/// Slow peers of one kind.
const PEERS: usize = 200;
/// Connections that do nothing: more than a server takes.
const IDLE: usize = 2000;

/// Opens connections and sends this on each, byte by byte, as slowly as the flood is long; begins anew where it is cut.
fn trickle(field: &Field, tally: &Tally, text: &[u8]) {
    let mut peers: Vec<(TcpStream, usize)> = Vec::new();
    while !tally.over.load(Ordering::SeqCst) {
        while peers.len() < PEERS {
            let Ok(peer) = TcpStream::connect(field.address()) else { break };
            peers.push((peer, 0));
            tally.rounds.fetch_add(1, Ordering::SeqCst);
        }
        peers.retain_mut(|(peer, sent)| {
            let byte = text[*sent % text.len()];
            *sent += 1;
            peer.write_all(&[byte]).is_ok()
        });
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn handshakes_that_do_not_end() {
    // The beginning of a ClientHello: handshake, TLS, 512 bytes long, and then nothing that matters.
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat();
    Field::encrypted()
        .endure("slow handshakes", 1, Newcomers::LetIn, |field, tally| trickle(field, tally, &hello));
}

#[test]
fn heads_that_do_not_end() {
    let head = format!("GET /open/checkpoint HTTP/1.1\r\nhost: localhost\r\n{}", "x-slow: x\r\n".repeat(100));
    Field::plain()
        .endure("slow heads", 1, Newcomers::LetIn, |field, tally| trickle(field, tally, head.as_bytes()));
}

#[test]
fn prefaces_that_do_not_end() {
    Field::plain()
        .endure("slow prefaces", 1, Newcomers::LetIn, |field, tally| trickle(field, tally, h2::PREFACE));
}

#[test]
fn bodies_that_do_not_end() {
    let head = "POST /graven.v1.LogService/Append HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\
                content-type: application/grpc-web+proto\r\n\r\n";
    let slow = [head.as_bytes(), &[0; 100]].concat();
    Field::plain().endure("slow bodies", 1, Newcomers::LetIn, |field, tally| trickle(field, tally, &slow));
}

#[test]
fn connections_that_do_nothing() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    Field::plain().endure("idle connections", 1, Newcomers::TurnedAway, |field, tally| {
        let mut idle = Vec::new();
        while !tally.over.load(Ordering::SeqCst) {
            while idle.len() < IDLE {
                let Ok(peer) = TcpStream::connect(field.address()) else { break };
                idle.push(peer);
                tally.rounds.fetch_add(1, Ordering::SeqCst);
            }
            // Those that were turned away come again.
            idle.retain(|peer| {
                peer.set_nonblocking(true).unwrap();
                !matches!((&*peer).read(&mut [0; 1]), Ok(0))
            });
            thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn readers_that_do_not_read() {
    let field = Field::plain();
    // A bundle of 14 MiB, which everybody may ask for.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut log = LogServiceClient::connect(field.server.url().to_owned()).await.unwrap();
        for batch in 0..256_u32 / 4 {
            let entries = (0..4).map(|n| noise(batch * 4 + n)).collect();
            let request = AppendBatchRequest { log: "open".to_owned(), entries, ..Default::default() };
            let mut request = tonic::Request::new(request);
            request.metadata_mut().insert("authorization", field.bearer().parse().unwrap());
            log.append_batch(request).await.unwrap();
        }
    });
    field.endure("readers that do not read", 2, Newcomers::LetIn, |field, tally| {
        let mut peers = Vec::new();
        while !tally.over.load(Ordering::SeqCst) && peers.len() < 4 {
            let mut wire = dial(field.address());
            // SETTINGS_INITIAL_WINDOW_SIZE = 0: not a byte of any answer may be sent.
            let greeting = [h2::PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
            wire.write_all(&greeting).unwrap();
            for n in 0..100 {
                let head = request("GET", "/open/tile/entries/001", &[("accept-encoding", "identity")]);
                if wire.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head)).is_err() {
                    break;
                }
                tally.rounds.fetch_add(1, Ordering::SeqCst);
            }
            peers.push(wire);
        }
        while !tally.over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
    });
}

/// 65,535 bytes without a pattern.
fn noise(seed: u32) -> bytes::Bytes {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..65_535).map(|_| next()).collect::<Vec<_>>().into()
}
