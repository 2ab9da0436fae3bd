//! Traces as a collector gets them: OTLP over gRPC, from the real server.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "cli/bench.rs"]
mod bench;

use std::time::Duration;

use graven_proto::v1::{AppendRequest, log_service_client::LogServiceClient};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use bench::Bench;

/// A collector that hands on what it gets.
struct Collector(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for scope in request.into_inner().resource_spans.into_iter().flat_map(|it| it.scope_spans) {
            scope.spans.into_iter().for_each(|span| self.0.send(span).unwrap());
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn collector() -> (String, mpsc::UnboundedReceiver<Span>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (spans, collected) = mpsc::unbounded_channel();
    let service = TraceServiceServer::new(Collector(spans));
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    (endpoint, collected)
}

fn settings(endpoint: &str, ratio: f64) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n[ops]\nlisten = \"off\"\n[engine]\nreserve_mib = 0\n\
         [traces]\notlp_endpoint = \"{endpoint}\"\nsample_ratio = {ratio:?}\n"
    )
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Appends, as a caller whose own trace is sampled or not.
async fn append(url: &str, sampled: bool, entry: &'static str) {
    let mut client = LogServiceClient::connect(url.to_owned()).await.unwrap();
    let mut request = Request::new(AppendRequest { entry: entry.into(), ..AppendRequest::default() });
    let parent = format!("00-{TRACE}-{PARENT}-0{}", u8::from(sampled));
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    client.append(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_traced_as_its_caller_decided() {
    let (endpoint, mut collected) = collector().await;
    let bench = Bench::with_log();
    bench.write("graven.toml", settings(&endpoint, 0.0));
    // What is logged does not decide what is traced.
    let server = bench.serve_with("serve --config graven.toml --dev --log-level error");
    append(server.url(), false, "canary-one").await;
    append(server.url(), true, "canary-two").await;
    let span = tokio::time::timeout(Duration::from_secs(20), collected.recv()).await.unwrap().unwrap();
    assert_eq!(span.name, "graven.v1.LogService/Append");
    assert_eq!(span.kind, SpanKind::Server as i32);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!(attribute(&span, "log").unwrap(), "audit");
    assert_eq!(attribute(&span, "index").unwrap(), "1", "the second one: the first was not to be traced");
    assert!(!format!("{span:?}").contains("canary"), "an entry in a trace");
    server.stop();
    assert!(collected.try_recv().is_err(), "nothing else is traced");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_sent_at_the_end() {
    let (endpoint, mut collected) = collector().await;
    let bench = Bench::with_log();
    bench.write("graven.toml", settings(&endpoint, 1.0));
    let server = bench.serve_with("serve --config graven.toml --dev");
    bench.at(&server, "head").ok();
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    let mut names = Vec::new();
    while let Ok(span) = collected.try_recv() {
        names.push(span.name);
    }
    assert!(names.contains(&"graven.v1.LogService/GetTreeHead".to_owned()), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_stops_nothing() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let bench = Bench::with_log();
    bench.write("graven.toml", settings(&format!("http://{nobody}"), 1.0));
    let server = bench.serve_with("serve --config graven.toml --dev");
    append(server.url(), true, "entry").await;
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
}
