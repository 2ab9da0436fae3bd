//! Before a tonic server, over a real connection, with handlers that stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use graven_guard::{Allowed, GuardLayer, Known, Need, Rules};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{StreamExt as _, iter};
use tonic::body::Body;
use tonic::client::Grpc as Client;
use tonic::server::{Grpc, NamedService};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Layer as _;

use crate::rig::{Log, alice, denied};

/// A message with one text in it, on the wire `google.protobuf.StringValue`.
type Text = String;

/// Answers each message with itself, as it comes.
#[derive(Clone)]
struct Documents(Arc<AtomicU64>);

impl NamedService for Documents {
    const NAME: &'static str = "docs.v1.Documents";
}

impl tower::Service<http::Request<Body>> for Documents {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.fetch_add(1, Ordering::SeqCst);
        let echo = tower::service_fn(async |request: Request<Streaming<Text>>| {
            let index = request.extensions().get::<Allowed>().and_then(Allowed::index);
            let index = index.ok_or(Status::internal("nothing allows this"))?;
            let mut said = request.into_inner();
            let mut answers = vec![Ok(index.to_string())];
            while let Some(text) = said.next().await {
                answers.push(text);
            }
            Ok::<_, Status>(Response::new(iter(answers)))
        });
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Text, Text>::default());
            Ok(grpc.streaming(echo, request).await)
        })
    }
}

struct Rig {
    channel: Channel,
    runs: Arc<AtomicU64>,
    log: Log,
}

impl Rig {
    /// Guards the whole server, or its service alone.
    async fn serve(log: Log, whole: bool) -> Self {
        let mut rules = Rules::default();
        rules.need("POST /docs.v1.Documents/Edit", Need::of(["documents:modify"])).unwrap();
        let guard = GuardLayer::new(rules, Known, log.clone());
        let runs = Arc::new(AtomicU64::new(0));
        let documents = Documents(runs.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let incoming = TcpListenerStream::new(listener);
        // Whoever this server talks to is alice.
        let known = tower::util::MapRequestLayer::new(|mut request: http::Request<Body>| {
            request.extensions_mut().insert(alice());
            request
        });
        if whole {
            let server = Server::builder().layer(known).layer(guard).add_service(documents);
            tokio::spawn(server.serve_with_incoming(incoming));
        } else {
            let server = Server::builder().layer(known).add_service(guard.layer(documents));
            tokio::spawn(server.serve_with_incoming(incoming));
        }
        let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
        Self { channel, runs, log }
    }

    async fn edit(&self, method: &'static str, texts: usize) -> Result<Vec<String>, Status> {
        let mut client = Client::new(self.channel.clone());
        client.ready().await.unwrap();
        let said = iter((0..texts).map(|n| n.to_string()));
        let codec = ProstCodec::<Text, Text>::default();
        let mut answers = client
            .streaming(Request::new(said), PathAndQuery::from_static(method), codec)
            .await?
            .into_inner();
        let mut texts = Vec::new();
        while let Some(text) = answers.message().await? {
            texts.push(text);
        }
        Ok(texts)
    }

    fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }
}

const EDIT: &str = "/docs.v1.Documents/Edit";

#[tokio::test]
async fn a_stream_begins_once_it_is_recorded() {
    for whole in [true, false] {
        let rig = Rig::serve(Log::allowing(), whole).await;
        assert_eq!(rig.edit(EDIT, 3).await.unwrap(), ["10", "0", "1", "2"]);
        assert_eq!((rig.runs(), rig.log.asked().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_stream_that_is_not_allowed_does_not_begin() {
    for whole in [true, false] {
        for (log, code) in [
            (
                Log::answering(|asked, index| Some(Ok(denied(asked, "no-grant", index)))),
                Code::PermissionDenied,
            ),
            (Log::answering(|_, _| Some(Err(Status::internal("broken")))), Code::Unavailable),
        ] {
            let rig = Rig::serve(log, whole).await;
            let status = rig.edit(EDIT, 100).await.unwrap_err();
            assert_eq!(status.code(), code);
            assert!(status.metadata().contains_key("graven-reason"));
            assert_eq!(rig.runs(), 0);
        }
        let rig = Rig::serve(Log::allowing(), whole).await;
        let status = rig.edit("/docs.v1.Documents/Erase", 1).await.unwrap_err();
        assert_eq!((status.code(), rig.runs(), rig.log.asked().len()), (Code::PermissionDenied, 0, 0));
    }
}

#[tokio::test]
async fn calls_on_one_connection_have_a_decision_each() {
    let rig = Arc::new(Rig::serve(Log::allowing(), true).await);
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let rig = rig.clone();
            tokio::spawn(async move { rig.edit(EDIT, n % 5).await.unwrap().remove(0) })
        })
        .collect();
    let mut indices = std::collections::BTreeSet::new();
    for call in calls {
        indices.insert(call.await.unwrap());
    }
    assert_eq!((indices.len(), rig.runs(), rig.log.asked().len()), (200, 200, 200));
}
