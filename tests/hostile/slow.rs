//! Peers that take their time, or only a place.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use graven_proto::v1::{AppendBatchRequest, GetEntriesRequest, Wait, log_service_client::LogServiceClient};
use prost::Message as _;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{
    h2::{self, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, WINDOW_UPDATE, frame, request},
    honest::{Field, Tally},
    http1::{Connection, dial},
};

/// Slow peers of one kind.
const PEERS: usize = 200;
/// Connections that do nothing: more than a server takes.
const IDLE: usize = 2000;

/// Opens connections and sends this on each, byte by byte, as slowly as the flood is long; begins anew where it is cut.
fn trickle(field: &Field, tally: &Tally, text: &[u8]) {
    let mut peers: Vec<(TcpStream, usize)> = Vec::new();
    while !tally.is_over() {
        while peers.len() < PEERS {
            let Ok(peer) = TcpStream::connect(field.address()) else { break };
            peers.push((peer, 0));
            tally.count(1);
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
    Field::encrypted().endure("slow handshakes", 1, |field, tally| trickle(field, tally, &hello));
}

#[test]
fn heads_that_do_not_end() {
    let head = format!("GET /open/checkpoint HTTP/1.1\r\nhost: localhost\r\n{}", "x-slow: x\r\n".repeat(100));
    Field::plain().endure("slow heads", 1, |field, tally| trickle(field, tally, head.as_bytes()));
}

#[test]
fn prefaces_that_do_not_end() {
    Field::plain().endure("slow prefaces", 1, |field, tally| trickle(field, tally, h2::PREFACE));
}

#[test]
fn bodies_that_do_not_end() {
    let head = "POST /graven.v1.LogService/Append HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\
                content-type: application/grpc-web+proto\r\n\r\n";
    let slow = [head.as_bytes(), &[0; 100]].concat();
    Field::plain().endure("slow bodies", 1, |field, tally| trickle(field, tally, &slow));
}

#[test]
fn bodies_over_http_2_that_do_not_end() {
    // Of seven messages of 4 MiB, the first MiB each: within what a connection may have on its way.
    let head = request("POST", "/graven.v1.LogService/Append", &[]);
    let begun = frame(DATA, 0, 0, &[&[0, 0, 0x3f, 0xff, 0xff][..], &[7; 16_000]].concat());
    let more = frame(DATA, 0, 0, &[7; 16_384]);
    let on = |stream: u32, frame: &[u8]| [&frame[..5], &stream.to_be_bytes(), &frame[9..]].concat();
    Field::plain().endure("unfinished bodies", 1, |field, tally| {
        let mut peers = Vec::new();
        for _ in 0..40 {
            // What may be on its way is only as much as the greeting says.
            let Ok(mut wire) = h2::greet(field.address()) else { continue };
            let mut text = Vec::new();
            for stream in (1..=13).step_by(2) {
                text.extend(frame(HEADERS, END_HEADERS, stream, &head));
                text.extend(on(stream, &begun));
                (0..63).for_each(|_| text.extend(on(stream, &more)));
            }
            // The server may part with somebody like this at any moment.
            drop(wire.write_all(&text));
            tally.count(1);
            peers.push(wire);
        }
        while !tally.is_over() {
            thread::sleep(Duration::from_millis(10));
        }
    });
}

#[test]
fn heads_with_many_small_headers() {
    let names: Vec<_> = (0..400).map(|n| format!("a{n:03}")).collect();
    let small: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let head = request("GET", "/open/checkpoint", &small);
    Field::plain().endure("many small headers", 1, |field, tally| {
        unread(field, tally, 16, |wire| {
            let mut text = [h2::PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
            // None of them ends: each stays for as long as the server lets it.
            (1..=511).step_by(2).for_each(|stream| text.extend(frame(HEADERS, END_HEADERS, stream, &head)));
            drop(wire.write_all(&text));
        });
    });
}

#[test]
fn connections_that_do_nothing() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    Field::plain().endure("idle connections", 1, |field, tally| {
        let mut idle: Vec<TcpStream> = Vec::new();
        while !tally.is_over() {
            // Not all at once: who overruns the queue of the system waits a second for its next try.
            for _ in 0..100.min(IDLE - idle.len()) {
                let Ok(peer) = TcpStream::connect(field.address()) else { break };
                peer.set_nonblocking(true).unwrap();
                idle.push(peer);
                tally.count(1);
            }
            // Those that were turned away come again.
            idle.retain(|mut peer| !matches!(peer.read(&mut [0; 1]), Ok(0)));
            thread::sleep(Duration::from_millis(10));
        }
    });
}

/// How much the server may grow for large answers that nobody takes, however many are asked for: they have a room of
/// their own, each processor works on one more, and the allocator keeps some of what was given back.
fn max_unread_bytes() -> u64 {
    (256 << 20) + thread::available_parallelism().unwrap().get() as u64 * (128 << 20)
}

/// A server with a bundle of 14 MiB in its public log, `/open/tile/entries/001`.
fn with_a_large_bundle() -> Field {
    let mut field = Field::plain();
    field.max_growth_bytes = max_unread_bytes();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut log = LogServiceClient::connect(field.server.url().to_owned()).await.unwrap();
        for batch in 0..64 {
            let entries = (0..4).map(|n| noise(batch * 4 + n)).collect();
            let wait = Wait::Published.into();
            let request = AppendBatchRequest { log: "open".to_owned(), entries, wait, ..Default::default() };
            let mut request = tonic::Request::new(request);
            request.metadata_mut().insert("authorization", field.bearer().parse().unwrap());
            log.append_batch(request).await.unwrap();
        }
    });
    field
}

/// Sends what `begin` writes on some connections, and reads nothing of what comes back.
fn unread(field: &Field, tally: &Tally, connections: u32, begin: impl Fn(&mut TcpStream)) {
    let mut peers = Vec::new();
    for _ in 0..connections {
        let mut wire = dial(field.address());
        begin(&mut wire);
        tally.count(1);
        peers.push(wire);
    }
    while !tally.is_over() {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Greets with a window of one byte, which is all of any answer that may be sent. Then asks, on many streams.
fn ask_and_take_nothing(wire: &mut TcpStream, head: &[u8], message: Option<&[u8]>) {
    let mut text = [h2::PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])].concat();
    for stream in (1..=199).step_by(2) {
        text.extend(frame(
            HEADERS,
            END_HEADERS | if message.is_none() { END_STREAM } else { 0 },
            stream,
            head,
        ));
        text.extend(message.map(|message| frame(DATA, END_STREAM, stream, message)).unwrap_or_default());
    }
    // The server may part with somebody like this at any moment.
    drop(wire.write_all(&text));
}

#[test]
fn readers_that_do_not_read() {
    with_a_large_bundle().endure("readers over HTTP/2 that do not read", 1, |field, tally| {
        let head = request("GET", "/open/tile/entries/001", &[]);
        unread(field, tally, 8, |wire| ask_and_take_nothing(wire, &head, None));
    });
}

#[test]
fn readers_over_http_1_that_do_not_read() {
    with_a_large_bundle().endure("readers over HTTP/1.1 that do not read", 1, |field, tally| {
        let head = b"GET /open/tile/entries/001 HTTP/1.1\r\nhost: localhost\r\n\r\n";
        unread(field, tally, 200, |wire| drop(wire.write_all(head)));
    });
}

#[test]
fn callers_that_do_not_read() {
    with_a_large_bundle().endure("callers that do not read", 1, |field, tally| {
        let head = request("POST", "/graven.v1.LogService/GetEntries", &[("authorization", &field.bearer())]);
        let range = GetEntriesRequest { log: "open".to_owned(), first: 256, count: 256 }.encode_to_vec();
        let message = [&[0, 0, 0, 0, u8::try_from(range.len()).unwrap()], &range[..]].concat();
        unread(field, tally, 8, |wire| ask_and_take_nothing(wire, &head, Some(&message)));
    });
}

#[test]
fn readers_that_leave_the_tail() {
    with_a_large_bundle().endure("readers that leave the tail", 1, |field, tally| {
        let path = "/open/tile/entries/001";
        let asked = Connection::plain(field.address()).ask("HEAD", path, &[]);
        let length: u32 = asked.header("content-length").unwrap().parse().unwrap();
        let head = request("GET", path, &[]);
        // All but the last byte of each answer may be sent.
        let window = [&[0, 4][..], &(length - 1).to_be_bytes()].concat();
        let mut peers = Vec::new();
        for _ in 0..6 {
            let mut wire = dial(field.address());
            let mut text = [h2::PREFACE, &frame(SETTINGS, 0, 0, &window)].concat();
            text.extend(frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes()));
            (1..=19).step_by(2).for_each(|n| text.extend(frame(HEADERS, END_HEADERS | END_STREAM, n, &head)));
            drop(wire.write_all(&text));
            wire.set_nonblocking(true).unwrap();
            tally.count(1);
            peers.push(wire);
        }
        let mut taken = vec![0; 1 << 20];
        while !tally.is_over() {
            for wire in &mut peers {
                while matches!(wire.read(&mut taken), Ok(1..)) {}
            }
            thread::sleep(Duration::from_millis(1));
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
