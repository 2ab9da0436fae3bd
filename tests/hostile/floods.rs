//! Floods over HTTP/2.

use std::{
    io::{self, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use crate::{
    h2::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, frame, greet, header, request,
    },
    honest::{Field, Tally},
};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const APPEND: &str = "/graven.v1.LogService/AppendStream";
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Frames that are sent in one go, and the pause after them: a flood, and not one that fills this machine by itself.
const ROUND: u32 = 200;
const PAUSE: Duration = Duration::from_millis(1);

/// Whether the peer reads what the server answers.
#[derive(Clone, Copy, PartialEq)]
enum Reads {
    Everything,
    Nothing,
}

/// Sends rounds of frames until the flood is over, on new connections where the server ends one. `frames` gives those
/// of the `n`-th exchange of a connection, whose streams are free to use from `2 n + 1` on.
fn flood(field: &Field, tally: &Tally, reads: Reads, frames: impl Fn(u32) -> Vec<u8>) {
    while !tally.is_over() {
        let Ok(mut wire) = greet(field.address()) else { continue };
        let drain = (reads == Reads::Everything).then(|| drain(&wire));
        wire.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut next = 0;
        while !tally.is_over() {
            let round: Vec<u8> = (next..next + ROUND).flat_map(&frames).collect();
            if wire.write_all(&round).is_err() {
                break;
            }
            next += ROUND;
            tally.count(ROUND);
            thread::sleep(PAUSE);
        }
        drop(wire.shutdown(Shutdown::Both));
        if let Some(drain) = drain {
            drain.join().unwrap();
        }
    }
}

/// Reads and forgets.
fn drain(wire: &TcpStream) -> thread::JoinHandle<()> {
    let mut wire = wire.try_clone().unwrap();
    thread::spawn(move || drop(io::copy(&mut wire, &mut io::sink())))
}

fn ask(n: u32, method: &str, path: &str, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, 2 * n + 1, &request(method, path, &[]))
}

#[test]
fn rapid_resets() {
    Field::plain().endure("rapid resets", 2, |field, tally| {
        flood(field, tally, Reads::Everything, |n| {
            [ask(n, "POST", CHECK, 0), frame(RST_STREAM, 0, 2 * n + 1, &CANCEL)].concat()
        });
    });
}

#[test]
fn requests_that_make_the_server_reset() {
    // A window that grows by nothing, and one that grows beyond all bounds, are errors of the stream.
    Field::plain().endure("made resets", 2, |field, tally| {
        flood(field, tally, Reads::Everything, |n| {
            let increment = if n % 2 == 0 { [0; 4] } else { [0x7f, 0xff, 0xff, 0xff] };
            [ask(n, "POST", CHECK, 0), frame(WINDOW_UPDATE, 0, 2 * n + 1, &increment)].concat()
        });
    });
}

#[test]
fn continuations_without_end() {
    let padding = header(b"x-padding", &[b'x'; 100]);
    Field::plain().endure("continuations", 2, |field, tally| {
        flood(field, tally, Reads::Everything, |n| {
            if n == 0 {
                return frame(HEADERS, END_STREAM, 1, &request("GET", "/open/checkpoint", &[]));
            }
            frame(CONTINUATION, 0, 1, &padding)
        });
    });
}

#[test]
fn empty_continuations_without_end() {
    Field::plain().endure("empty continuations", 2, |field, tally| {
        flood(field, tally, Reads::Everything, |n| {
            if n == 0 {
                return frame(HEADERS, END_STREAM, 1, &request("GET", "/open/checkpoint", &[]));
            }
            frame(CONTINUATION, 0, 1, &[])
        });
    });
}

#[test]
fn heads_that_are_too_large() {
    let large = header(b"x-large", &[b'x'; 2000]);
    Field::plain().endure("large heads", 2, |field, tally| {
        flood(field, tally, Reads::Everything, |n| {
            let mut head = request("GET", "/open/checkpoint", &[]);
            head.extend(large.repeat(7));
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head)
        });
    });
}

#[test]
fn heads_that_grow_when_they_are_unpacked() {
    // A header of 3,900 bytes goes into the table once (0x40), and is then named by one byte each time (0x80 | 62).
    let mut named = vec![0x40];
    named.extend(&header(b"x-bomb", &[b'x'; 3900])[1..]);
    let bomb = [named, vec![0x80 | 62; 8000]].concat();
    Field::plain().endure("HPACK bombs", 2, |field, tally| {
        flood(field, tally, Reads::Everything, |n| {
            let head = [request("GET", "/open/checkpoint", &[]), bomb.clone()].concat();
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head)
        });
    });
}

#[test]
fn empty_data() {
    Field::plain().endure("empty data", 2, |field, tally| {
        flood(field, tally, Reads::Everything, |n| match n {
            0 => ask(0, "POST", APPEND, 0),
            _ => frame(DATA, 0, 1, &[]),
        });
    });
}

#[test]
fn pings_settings_priorities_and_frames_of_no_type() {
    let settings = [0, 4, 0, 0, 0xff, 0xff].repeat(20);
    for reads in [Reads::Everything, Reads::Nothing] {
        Field::plain().endure("control frames", 2, |field, tally| {
            flood(field, tally, reads, |n| match n % 4 {
                0 => frame(PING, 0, 0, &[0; 8]),
                1 => frame(SETTINGS, 0, 0, &settings),
                2 => frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1]),
                _ => frame(0xfe, 0, 0, &[0; 64]),
            });
        });
    }
}

#[test]
fn streams_that_are_opened_and_left() {
    Field::plain().endure("streams that are left", 2, |field, tally| {
        flood(field, tally, Reads::Everything, |n| ask(n, "POST", APPEND, 0));
    });
}

#[test]
fn requests_of_every_name() {
    // Each a name of its own: what is counted by name would grow without end.
    Field::plain().endure("names", 2, |field, tally| {
        flood(field, tally, Reads::Everything, |n| {
            let path = if n % 2 == 0 {
                format!("/graven.v1.LogService/Call{n}")
            } else {
                format!("/log-{n}/checkpoint")
            };
            ask(n, "POST", &path, END_STREAM)
        });
    });
}
