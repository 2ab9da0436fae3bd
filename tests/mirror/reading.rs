//! Readers that ask for much and take nothing, and writers that do not finish.

use std::io::{Read as _, Write as _};

use crate::{
    http1::{Connection, dial},
    pusher::Log,
    pushing::Pushed,
};

/// As many of the longest bundles as answers may hold at a time.
const HELD: usize = 15;

#[test]
fn what_readers_do_not_take_is_bounded_and_others_are_told_so() {
    let log = Log::of((0..256_u16).map(|n| [&n.to_be_bytes()[..], &[7; 65_533]].concat()).collect());
    let pushed = Pushed::new(&log);
    pushed.push(&log, 0, 256);
    let bundle = "tile/entries/000";
    let stalled: Vec<_> = (0..HELD)
        .map(|_| {
            let mut stream = dial(pushed.address());
            let request = format!("GET /{}/{bundle} HTTP/1.1\r\nhost: m\r\n\r\n", pushed.place());
            stream.write_all(request.as_bytes()).unwrap();
            let mut status = [0; 15];
            stream.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 200 OK");
            stream
        })
        .collect();
    let refused = pushed.get(bundle);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    assert_eq!(pushed.get("checkpoint").status, 200, "what is small is nobody's burden");
    // Whoever goes makes room.
    drop(stalled);
    let answer = pushed.get(bundle);
    assert_eq!((answer.status, answer.body == log.bundle(0, 256)), (200, true));
}

#[test]
fn a_request_that_is_not_finished_is_let_go() {
    let pushed = Pushed::new(&Log::of(vec![b"entry".to_vec()]));
    let unfinished = ["add-checkpoint", "sign-subtree"].map(|call| {
        let mut stream = dial(pushed.address());
        let request = format!("POST /{call} HTTP/1.1\r\nhost: m\r\ncontent-length: 12\r\n\r\nold 0\n\nexam");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    });
    for stream in unfinished {
        assert_eq!(Connection::new(stream).receive(true).unwrap().status, 408);
    }
}
