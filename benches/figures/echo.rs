//! E: what tonic itself costs, with the messages of an append and nothing behind them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use graven_proto::v1::{AppendRequest, AppendResponse};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

pub(crate) const PATH: &str = "/bench.Echo/Append";

/// Serves until it is killed; prints where.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        println!("listening on http://{}", listener.local_addr().expect("it is bound"));
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = tonic::transport::Server::builder().tcp_nodelay(true).add_service(Echo);
        server.serve_with_incoming(incoming).await.expect("the echo serves");
    });
}

#[derive(Clone)]
struct Echo;

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
        Box::pin(async move {
            let codec = ProstCodec::<AppendResponse, AppendRequest>::default();
            Ok(Grpc::new(codec).unary(Answer, request).await)
        })
    }
}

struct Answer;

impl UnaryService<AppendRequest> for Answer {
    type Response = AppendResponse;
    type Future = std::future::Ready<Result<Response<AppendResponse>, Status>>;

    fn call(&mut self, request: Request<AppendRequest>) -> Self::Future {
        // As many bytes as a real answer has: an index, 32 bytes of hash, a time.
        let leaf_hash = request.into_inner().entry.slice(..32);
        let log_time = Some(prost_types::Timestamp { seconds: 1_760_000_000, nanos: 1 });
        let answer = AppendResponse { index: 1 << 20, leaf_hash, log_time, ..AppendResponse::default() };
        std::future::ready(Ok(Response::new(answer)))
    }
}
