//! E: what tonic itself costs, with the messages of a call and nothing behind them.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use graven_proto::v1::{
    AppendRequest, AppendResponse, CheckAccessRequest, CheckAccessResponse, GetInclusionProofRequest,
    GetInclusionProofResponse,
};
use prost::Message;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

pub(crate) const APPEND: &str = "/bench.Echo/Append";
pub(crate) const PROVE: &str = "/bench.Echo/Prove";
pub(crate) const CHECK: &str = "/bench.Echo/Check";

/// Serves until it is killed; prints where. `answer` holds the real answer that it gives to who asks for a proof, or for a check.
pub(crate) fn serve(answer: Option<&Path>) {
    let bytes = answer.map(|path| std::fs::read(path).expect("the answer can be read")).unwrap_or_default();
    // It is of one of the two kinds.
    let proof = GetInclusionProofResponse::decode(bytes.as_slice()).unwrap_or_default();
    let checked = CheckAccessResponse::decode(bytes.as_slice()).unwrap_or_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(crate::WORKERS).enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        println!("listening on http://{}", listener.local_addr().expect("it is bound"));
        // Without nodelay some answers wait 40 ms for an acknowledgement by TCP, and any server looks fast beside that.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder().add_service(Echo { proof, checked });
        server.serve_with_incoming(incoming).await.expect("the echo serves");
    });
}

#[derive(Clone)]
struct Echo {
    proof: GetInclusionProofResponse,
    checked: CheckAccessResponse,
}

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() == APPEND {
            return Box::pin(answer(request, |request: AppendRequest| append(&request)));
        }
        if request.uri().path() == CHECK {
            let checked = self.checked.clone();
            return Box::pin(answer(request, move |_: CheckAccessRequest| checked.clone()));
        }
        let proof = self.proof.clone();
        Box::pin(answer(request, move |_: GetInclusionProofRequest| proof.clone()))
    }
}

async fn answer<Q, A>(
    request: http::Request<Body>,
    answer: impl Fn(Q) -> A + Clone,
) -> Result<http::Response<Body>, Infallible>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let service = tower::service_fn(|request: Request<Q>| {
        std::future::ready(Ok::<_, Status>(Response::new(answer(request.into_inner()))))
    });
    Ok(Grpc::new(ProstCodec::<A, Q>::default()).unary(service, request).await)
}

fn append(request: &AppendRequest) -> AppendResponse {
    // As many bytes as a real answer has: an index, 32 bytes of hash, a time.
    let leaf_hash = request.entry.slice(..32);
    let log_time = Some(prost_types::Timestamp { seconds: 1_760_000_000, nanos: 1 });
    AppendResponse { index: 1 << 20, leaf_hash, log_time, ..AppendResponse::default() }
}
