//! Messages that grow when they are unpacked.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use h2_client as h2;
use http::{HeaderMap, Request};

use crate::honest::{Field, Tally};

const GIB: u64 = 1 << 30;
/// How much the server may grow while it refuses one.
const MAX_BOMB_GROWTH_BYTES: u64 = 32 << 20;

/// A GiB of zeros as a gRPC message that says it is compressed: about a MiB.
fn bomb() -> Bytes {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    std::io::copy(&mut std::io::repeat(0).take(GIB), &mut packed).unwrap();
    packed.flush().unwrap();
    let packed = packed.finish().unwrap();
    let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
    [&[1], &length[..], &packed].concat().into()
}

#[test]
fn gzip_bombs_are_refused_before_they_grow() {
    let (mut field, bomb) = (Field::plain(), bomb());
    field.max_growth_bytes = MAX_BOMB_GROWTH_BYTES;
    assert!(bomb.len() < 4 << 20, "it must pass for a message");
    let before = field.most_resident_bytes();
    for method in ["Append", "AppendBatch", "AppendStream", "GetTreeHead"] {
        let trailers = send(&field, &format!("/graven.v1.LogService/{method}"), &bomb);
        let status = trailers.get("grpc-status").and_then(|status| status.to_str().ok()).unwrap();
        // Too large (OUT_OF_RANGE, RESOURCE_EXHAUSTED), or no message (INVALID_ARGUMENT, INTERNAL).
        assert!(["3", "8", "11", "13"].contains(&status), "{method}: {trailers:?}");
        let growth = field.most_resident_bytes().saturating_sub(before);
        assert!(growth < MAX_BOMB_GROWTH_BYTES, "{method}: the server grew by {} KiB", growth >> 10);
    }
    field.endure("gzip bombs", 1, |field, tally: &Tally| {
        while !tally.is_over() {
            send(field, "/graven.v1.LogService/Append", &bomb);
            tally.count(1);
        }
    });
}

/// Sends one message, and answers with what came at the end.
fn send(field: &Field, path: &str, message: &Bytes) -> HeaderMap {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let wire = tokio::net::TcpStream::connect(field.address()).await.unwrap();
        let (client, connection) = h2::client::handshake(wire).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-encoding", "gzip")
            .header("authorization", field.bearer());
        let (answer, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(message.clone(), true).unwrap();
        let answer = answer.await.unwrap();
        if answer.headers().contains_key("grpc-status") {
            return answer.headers().clone();
        }
        let mut body = answer.into_body();
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data.unwrap().len()).unwrap();
        }
        body.trailers().await.unwrap().unwrap()
    })
}
