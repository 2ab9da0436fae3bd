//! HTTP/2 by hand: frames as they are written here, whether or not any client would write them.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use crate::http1::dial;

/// What an HTTP/2 client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 §6).
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Longest frame that is read here.
const MAX_FRAME_BYTES: usize = 1 << 20;

/// A frame, whatever it says.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header in HPACK, spelled out: neither compressed nor remembered.
pub(crate) fn header(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        integer(text.len(), &mut bytes);
        bytes.extend(text);
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn integer(value: usize, bytes: &mut Vec<u8>) {
    let Some(mut rest) = value.checked_sub(127) else { return bytes.push(u8::try_from(value).unwrap()) };
    bytes.push(127);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

/// The headers of a request.
pub(crate) fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block: Vec<u8> =
        [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")]
            .iter()
            .chain(more)
            .flat_map(|(name, value)| header(name.as_bytes(), value.as_bytes()))
            .collect();
    if method == "POST" {
        block.extend(header(b"content-type", b"application/grpc"));
        block.extend(header(b"te", b"trailers"));
    }
    block
}

/// An empty gRPC message: it names no log, and asks for the only one.
pub(crate) const EMPTY_MESSAGE: [u8; 5] = [0; 5];

/// A frame as it came.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// Reads one frame.
pub(crate) fn read(wire: &mut impl Read) -> io::Result<Frame> {
    let mut head = [0; 9];
    wire.read_exact(&mut head)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::other("no frame"));
    }
    let mut payload = vec![0; length];
    wire.read_exact(&mut payload)?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
    Ok(Frame { kind: head[3], flags: head[4], stream, payload })
}

/// A connection that has greeted.
pub(crate) fn greet(address: &str) -> io::Result<TcpStream> {
    let mut wire = dial(address);
    wire.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())?;
    loop {
        let frame = read(&mut wire)?;
        if frame.kind == SETTINGS && frame.flags & ACK == 0 {
            wire.write_all(&self::frame(SETTINGS, ACK, 0, &[]))?;
            return Ok(wire);
        }
    }
}

/// An answer, as far as it is told here.
pub(crate) struct Answer {
    /// Its status is 200.
    pub(crate) ok: bool,
}

/// `GET path` on a connection of its own. An error: the server ended the stream or the connection.
pub(crate) fn get(address: &str, path: &str) -> io::Result<Answer> {
    let mut wire = greet(address)?;
    wire.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("GET", path, &[])))?;
    loop {
        let frame = read(&mut wire)?;
        match frame.kind {
            // 0x88 is `:status: 200` in HPACK's static table, and comes first.
            HEADERS if frame.stream == 1 => return Ok(Answer { ok: frame.payload.first() == Some(&0x88) }),
            RST_STREAM | GOAWAY => return Err(io::Error::other("refused")),
            _ => {}
        }
    }
}

/// Begins a call whose answer goes on, and leaves it open. An answer is there when this returns.
pub(crate) fn hold(address: &str, path: &str) -> TcpStream {
    let mut wire = greet(address).unwrap();
    wire.write_all(&frame(HEADERS, END_HEADERS, 1, &request("POST", path, &[]))).unwrap();
    // Field 1: the log's name.
    let message = [&[0, 0, 0, 0, 7, 0x0a, 5][..], b"audit"].concat();
    wire.write_all(&frame(DATA, END_STREAM, 1, &message)).unwrap();
    while read(&mut wire).unwrap().kind != DATA {}
    wire
}
