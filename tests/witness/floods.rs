//! Requests that do not come, from anybody: a witness answers others meanwhile, stays as large as it was, and lets go of them.

use std::{io::Write, net::TcpStream};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{
    h2::{self, DATA, END_HEADERS, HEADERS, frame},
    http1::{Connection, dial},
    rig::{Log, Place},
};

/// More connections than a witness has at a time.
const CONNECTIONS: usize = 1100;

#[test]
fn whoever_does_not_finish_a_request_gives_way_and_is_let_go() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let place = Place::with_keys("ed25519");
    let log = Log::new("example.com/patient");
    place.know_log(&log);
    let running = place.serve();
    let begun = "POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ncontent-length: 12\r\n\r\nold 0\n\nexam";
    let unfinished: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            // Not all at once: who overruns the queue of the system waits for its next try.
            if number % 50 == 0 {
                assert_eq!(running.connect().get("/healthz", &[]).status, 200);
            }
            let mut stream = dial(&running.address);
            stream.write_all(begun.as_bytes()).unwrap();
            stream
        })
        .collect();
    for to in 1..20 {
        assert_eq!(running.connect().get("/healthz", &[]).status, 200);
        assert_eq!(running.add(&log.request(to - 1, to)).status, 200);
    }
    // The last of them waits for as long as it may.
    let mut last = Connection::new(unfinished.into_iter().next_back().unwrap());
    assert_eq!(last.receive(true).unwrap().status, 408);
    assert!(last.receive(true).is_err(), "it is closed");
}

#[test]
fn bodies_that_do_not_end_fill_no_memory() {
    const BODY_BYTES: usize = 500_000;
    let place = Place::with_keys("ed25519");
    let log = Log::new("example.com/small");
    place.know_log(&log);
    let running = place.serve();
    assert_eq!(running.add(&log.request(0, 1)).status, 200);
    let before = running.resident_bytes();
    let head = h2::request("POST", "/add-checkpoint", &[]);
    let piece = vec![b'x'; 10_000];
    let mut peers: Vec<TcpStream> = Vec::new();
    for _ in 0..32 {
        let mut wire = h2::greet(&running.address).unwrap();
        for stream in (1..=31).step_by(2) {
            // The witness may part with somebody like this at any moment.
            drop(wire.write_all(&frame(HEADERS, END_HEADERS, stream, &head)));
            drop(wire.write_all(&frame(DATA, 0, stream, &piece).repeat(BODY_BYTES / piece.len())));
        }
        peers.push(wire);
    }
    // 256 MB were sent; of 64 MiB there is room for.
    assert_eq!(running.add(&log.request(1, 2)).status, 200);
    let grown = running.resident_bytes().saturating_sub(before);
    assert!(grown < 160 << 20, "{grown}");
}
