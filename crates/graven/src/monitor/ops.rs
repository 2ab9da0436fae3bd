//! The operators' port of a monitor, or a mirror: metrics, and whether it lives.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use graven_net::{Limits, Port, text};
use http::{HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};
use tokio::{net::TcpListener, task::AbortHandle};

use crate::exit::{Failure, Outcome};

/// Operators are few.
const MAX_CONNECTIONS: usize = 32;

/// Serves until it is dropped.
pub(crate) struct Serving(AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Opens the port, where there is to be one, and says where it is.
pub(crate) async fn serve(
    at: Option<SocketAddr>,
    render: Arc<dyn Fn() -> String + Send + Sync>,
) -> Outcome<Option<Serving>> {
    let Some(at) = at else { return Ok(None) };
    let cannot = |error| Failure::trouble(format_args!("cannot listen on {at}: {error}"));
    let listener = TcpListener::bind(at).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(Failure::trouble)?;
    tracing::info!(%address, "metrics and the probe: /metrics, /healthz");
    let limits = Arc::new(Limits { max_connections: MAX_CONNECTIONS, ..Limits::default() });
    let port = Port { listener, tls: None, router: router(render), limits };
    let serving = tokio::spawn(port.serve(std::future::pending(), Duration::ZERO));
    Ok(Some(Serving(serving.abort_handle())))
}

fn router(render: Arc<dyn Fn() -> String + Send + Sync>) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let render = render.clone();
        async move {
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            }
            match request.uri().path() {
                "/metrics" => {
                    let mut page = text(StatusCode::OK, render());
                    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                    page.headers_mut().insert(CONTENT_TYPE, kind);
                    page
                }
                "/healthz" => text(StatusCode::OK, "ok\n"),
                _ => text(StatusCode::NOT_FOUND, "here are /metrics and /healthz\n"),
            }
        }
    })
}
