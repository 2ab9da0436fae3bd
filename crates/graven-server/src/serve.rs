//! Listening, and stopping well.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use graven_log::{Engine, Status as EngineStatus};
use graven_proto::limits::MAX_MESSAGE_BYTES;
use graven_proto::v1::admin_service_server::{AdminServiceServer, SERVICE_NAME as ADMIN_SERVICE};
use graven_proto::v1::log_service_server::{LogServiceServer, SERVICE_NAME as LOG_SERVICE};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::transport::server::{Router, TcpIncoming};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::layer::util::{Identity, Stack};

use crate::admin::AdminApi;
use crate::core::Core;
use crate::log::LogApi;
use crate::options::{
    CONNECTION_WINDOW, FRAME_BYTES, MAX_HEADER_BYTES, MAX_STREAMS, STREAM_WINDOW, ServerOptions,
};
use crate::trace::TraceLayer;

/// How often a connection that was reset without a close is looked for.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// The gRPC server over an engine.
pub struct Server {
    engine: Arc<Engine>,
    options: ServerOptions,
}

/// The server did not come up, or its socket failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The definitions that reflection gives out.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport.
    #[error("the server's transport failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

impl Server {
    /// A server for a started engine.
    pub fn new(engine: Arc<Engine>, options: ServerOptions) -> Self {
        Self { engine, options }
    }

    /// Serves until `shutdown` is over or the engine stops taking entries, then lets calls finish for
    /// [`ServerOptions::drain_timeout`] at most. Stop the engine after it: it finishes what was accepted.
    ///
    /// # Errors
    /// The server did not come up.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let (drain, draining) = watch::channel(false);
        let core = Arc::new(Core::new(self.engine.clone(), &self.options, draining.clone()));
        let (health, health_service) = tonic_health::server::health_reporter();
        let router = builder(&self.options)
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(
                LogServiceServer::new(LogApi::new(core.clone())).max_decoding_message_size(MAX_MESSAGE_BYTES),
            )
            .add_service(
                AdminServiceServer::new(AdminApi::new(core)).max_decoding_message_size(MAX_MESSAGE_BYTES),
            );
        report(&health, ServingStatus::Serving).await;
        let until = self.until_drain(shutdown, &health, drain);
        serve_and_drain(router, listener, until, draining, self.options.drain_timeout).await
    }

    /// Waits for a reason to stop, and tells everybody.
    async fn until_drain(
        &self,
        shutdown: impl Future<Output = ()>,
        health: &HealthReporter,
        drain: watch::Sender<bool>,
    ) {
        let mut status = self.engine.watch_status();
        tokio::select! {
            () = shutdown => tracing::info!("shutting down: calls are finished, new ones refused"),
            ended = status.wait_for(|status| *status != EngineStatus::Running) => {
                let status = ended.map(|status| status.clone());
                tracing::error!(?status, "the engine takes no more entries: shutting down");
            }
        }
        report(health, ServingStatus::NotServing).await;
        drain.send_replace(true);
    }
}

/// Serves until `until` is over, and then as long as calls go on, but not for ever: an idle connection can keep the
/// transport waiting for an hour (hyper#4170).
async fn serve_and_drain(
    router: Router<Stack<TraceLayer, Identity>>,
    listener: TcpListener,
    until: impl Future<Output = ()>,
    mut draining: watch::Receiver<bool>,
    drain_timeout: Duration,
) -> Result<(), ServeError> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(TCP_KEEPALIVE));
    let too_long = async {
        let _ = draining.wait_for(|draining| *draining).await;
        tokio::time::sleep(drain_timeout).await;
    };
    tokio::select! {
        served = router.serve_with_incoming_shutdown(incoming, until) => served?,
        () = too_long => tracing::warn!("some calls have not ended in time: they are cut off"),
    }
    Ok(())
}

fn builder(options: &ServerOptions) -> tonic::transport::Server<Stack<TraceLayer, Identity>> {
    tonic::transport::Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keepalive_interval(Some(options.keepalive_interval))
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
        .max_connection_age(options.max_connection_age)
        .timeout(options.request_timeout)
        .layer(TraceLayer)
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(graven_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    // The empty name stands for the server as a whole (gRPC health checking protocol).
    for service in ["", LOG_SERVICE, ADMIN_SERVICE] {
        health.set_service_status(service, status).await;
    }
}
