//! gRPC-Web, from pages in browsers.

use bytes::{Buf as _, Bytes};
use graven_proto::v1;
use graven_server::ServerOptions;
use prost::Message as _;

use crate::raw::request;
use crate::service::{Service, config};

const HEAD: &str = "/graven.v1.LogService/GetTreeHead";
const PAGE: &str = "https://explorer.example.com";

async fn start() -> Service {
    let options = ServerOptions { web_origins: vec![PAGE.parse().unwrap()], ..ServerOptions::default() };
    Service::start_with(config(), options).await
}

#[tokio::test]
async fn a_page_may_call_over_http_1() {
    let service = start().await;
    service.fill(3).await;
    let message = v1::GetTreeHeadRequest { log: "audit".to_owned() }.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(&message);
    let headers = ["Content-Type: application/grpc-web+proto", "X-Grpc-Web: 1", &format!("Origin: {PAGE}")];
    let answer = request(service.address(), "POST", HEAD, &headers, &framed).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin").unwrap(), PAGE);
    let mut body = Bytes::from(answer.body);
    assert_eq!(body.get_u8(), 0, "a message first");
    let length = usize::try_from(body.get_u32()).unwrap();
    let head = v1::GetTreeHeadResponse::decode(body.split_to(length)).unwrap().head;
    assert_eq!(service.verified(head).checkpoint().size().get(), 3);
    assert_eq!(body.get_u8(), 0x80, "then the trailers");
    body.advance(4);
    assert!(String::from_utf8_lossy(&body).contains("grpc-status:0"));
    service.stop().await;
}

#[tokio::test]
async fn pages_of_other_origins_may_not() {
    let service = start().await;
    let asks = |origin: &'static str| {
        let at = service.address();
        async move {
            let headers = [
                &format!("Origin: {origin}")[..],
                "Access-Control-Request-Method: POST",
                "Access-Control-Request-Headers: content-type,x-grpc-web,authorization",
            ];
            request(at, "OPTIONS", HEAD, &headers, b"").await.header("access-control-allow-origin")
        }
    };
    assert_eq!(asks(PAGE).await.as_deref(), Some(PAGE));
    assert_eq!(asks("https://evil.example").await, None);
    service.stop().await;
}
