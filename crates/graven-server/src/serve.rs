//! What is served on which port, and stopping well.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use graven_audit::Audit;
use graven_log::{Engine, Log, Status as EngineStatus};
use graven_net::Port;
use graven_proto::limits::MAX_MESSAGE_BYTES;
use graven_proto::v1::admin_service_server::{AdminServiceServer, SERVICE_NAME as ADMIN_SERVICE};
use graven_proto::v1::alert_service_server::{AlertServiceServer, SERVICE_NAME as ALERT_SERVICE};
use graven_proto::v1::audit_service_server::{AuditServiceServer, SERVICE_NAME as AUDIT_SERVICE};
use graven_proto::v1::log_service_server::{LogServiceServer, SERVICE_NAME as LOG_SERVICE};
use graven_proto::v1::scope_service_server::{SERVICE_NAME as SCOPE_SERVICE, ScopeServiceServer};
use graven_proto::v1::witness_service_server::{SERVICE_NAME as WITNESS_SERVICE, WitnessServiceServer};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, Method, Request};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::codec::CompressionEncoding;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_web::GrpcWebLayer;
use tower::ServiceBuilder;
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::cors::CorsLayer;

use crate::admin::AdminApi;
use crate::alerts::AlertApi;
use crate::audit::AuditApi;
use crate::core::Core;
use crate::log::LogApi;
use crate::meter::{self, Meters};
use crate::ops::{self, Ops};
use crate::options::ServerOptions;
use crate::rpc::RpcLayer;
use crate::scopes::ScopeApi;
use crate::site::{self, Compressible};
use crate::witness::{self, WitnessApi};

/// How long until an announcement that failed is tried again.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(5);

/// The server over an engine.
pub struct Server {
    engine: Arc<Engine>,
    options: ServerOptions,
    ops: Option<Ops>,
}

/// The server did not come up.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The definitions that reflection gives out.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl Server {
    /// A server for a started engine.
    pub fn new(engine: Arc<Engine>, options: ServerOptions) -> Self {
        Self { engine, options, ops: None }
    }

    /// Serves metrics and probes on a port of their own as well.
    #[must_use]
    pub fn with_ops(mut self, ops: Ops) -> Self {
        self.ops = Some(ops);
        self
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
        let Self { engine, options, ops } = self;
        meter::begin();
        let (drain, draining) = watch::channel(false);
        let core = Arc::new(Core::new(engine.clone(), &options, draining.clone()));
        let (health, health_service) = tonic_health::server::health_reporter();
        let limits = Arc::new(options.limits());
        let main = Port {
            listener,
            tls: options.tls.clone(),
            router: router(&core, &options, health_service)?,
            limits: limits.clone(),
        };
        let drained = |mut draining: watch::Receiver<bool>| async move {
            let _ = draining.wait_for(|draining| *draining).await;
        };
        report(&health, ServingStatus::Serving).await;
        let main = main.serve(drained(draining.clone()), options.drain_timeout);
        let ops = async {
            let Some(Ops { listener, render }) = ops else { return };
            let tls = options.tls.clone().filter(|_| !is_loopback(&listener));
            let port = Port { listener, tls, router: ops::router(core.clone(), render), limits };
            port.serve(drained(draining.clone()), options.drain_timeout).await;
        };
        let pushing = witness::push_until(&engine, &options.witness_roots, draining.clone());
        let announcing = announce_until(&engine, draining.clone());
        let keeping = keep_until(options.audit.clone(), draining.clone());
        let telling = core.watch.clone().tell_sums(draining.clone());
        tokio::join!(
            main,
            ops,
            pushing,
            announcing,
            keeping,
            telling,
            until_drain(&engine, shutdown, &health, drain)
        );
        if tokio::time::timeout(options.drain_timeout, core.watch.all_ended()).await.is_err() {
            tracing::error!("the access log does not have the ends of all calls");
        }
        if let Some(audit) = &options.audit
            && tokio::time::timeout(options.drain_timeout, audit.write_all_sums()).await.is_err()
        {
            tracing::error!("the last sums of decisions are not written");
        }
        Ok(())
    }
}

/// Announces the rotations of keys that were not announced before the last stop.
async fn announce_until(engine: &Engine, draining: watch::Receiver<bool>) {
    let announce = |log: Arc<Log>| {
        let mut draining = draining.clone();
        async move {
            while let Err(error) = engine.announce_rotation(&log).await {
                tracing::warn!(log = %log.meta().name, %error, "new keys sign and are not announced yet");
                let draining = draining.wait_for(|draining| *draining);
                if tokio::time::timeout(ANNOUNCE_AGAIN, draining).await.is_ok() {
                    return;
                }
            }
        }
    };
    futures_util::future::join_all(engine.logs().into_iter().map(announce)).await;
}

/// What logs of events do by themselves: saying what is missing, writing sums, raising alerts, and dropping what is over.
async fn keep_until(audit: Option<Arc<Audit>>, mut draining: watch::Receiver<bool>) {
    let Some(audit) = audit else { return };
    tokio::select! {
        _ = draining.wait_for(|draining| *draining) => {}
        () = audit.clone().tell_gaps() => {}
        () = audit.clone().write_sums() => {}
        () = audit.clone().raise_alerts() => {}
        () = audit.drop_expired() => {}
    }
}

/// Waits for a reason to stop, and tells everybody.
async fn until_drain(
    engine: &Engine,
    shutdown: impl Future<Output = ()>,
    health: &HealthReporter,
    drain: watch::Sender<bool>,
) {
    let mut status = engine.watch_status();
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

/// Everything on the main port: the services, and beside them the logs as files.
fn router<H>(core: &Arc<Core>, options: &ServerOptions, health: H) -> Result<Router, ServeError>
where
    H: tower::Service<
            Request<tonic::body::Body>,
            Response = http::Response<tonic::body::Body>,
            Error = std::convert::Infallible,
        > + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    H::Future: Send + 'static,
{
    let log = LogServiceServer::new(LogApi::new(core.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip);
    let admin = AdminServiceServer::new(AdminApi::new(core.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip);
    let witness = WitnessServiceServer::new(WitnessApi::new(core.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip);
    let audit = AuditServiceServer::new(AuditApi::new(core.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip);
    let alerts = AlertServiceServer::new(AlertApi::new(core.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip);
    let scopes = ScopeServiceServer::new(ScopeApi::new(core.clone()))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip);
    let descriptors = [graven_proto::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET];
    let rpc = RpcLayer {
        access: options.access.clone(),
        meters: Arc::new(Meters::of(&[
            descriptors[0],
            descriptors[1],
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ])),
        on_call: options.on_call.clone(),
        timeout: options.request_timeout,
        watch: core.watch.clone(),
    };
    let mut services = tonic::service::Routes::builder();
    services
        .add_service(log)
        .add_service(admin)
        .add_service(audit)
        .add_service(scopes)
        .add_service(alerts)
        .add_service(witness)
        .add_service(health)
        .add_service(reflection(&descriptors).build_v1()?)
        .add_service(reflection(&descriptors).build_v1alpha()?);
    let services = services
        .routes()
        .into_axum_router()
        .layer(ServiceBuilder::new().layer(cors(options)).layer(GrpcWebLayer::new()).layer(rpc));
    let compression = CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(
        |_, _, _: &http::HeaderMap, extensions: &http::Extensions| extensions.get::<Compressible>().is_some(),
    );
    let core = core.clone();
    let site = Router::new()
        .fallback(move |request: Request<Body>| site::answer(core.clone(), request))
        .layer(compression);
    Ok(services.fallback_service(site))
}

/// Which pages of other origins may call.
fn cors(options: &ServerOptions) -> CorsLayer {
    let grpc = ["grpc-status", "grpc-message", "grpc-status-details-bin"].map(HeaderName::from_static);
    let sent = ["x-grpc-web", "x-user-agent", "grpc-timeout", "dpop"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(options.web_origins.clone())
        .allow_methods([Method::POST])
        .allow_headers([&sent[..], &[CONTENT_TYPE, AUTHORIZATION]].concat())
        .expose_headers(grpc)
}

fn reflection(descriptors: &[&'static [u8]]) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure();
    descriptors.iter().fold(builder, |builder, set| builder.register_encoded_file_descriptor_set(set))
}

fn is_loopback(listener: &TcpListener) -> bool {
    listener.local_addr().is_ok_and(|address| address.ip().is_loopback())
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    // The empty name stands for the server as a whole (gRPC health checking protocol).
    let events = [AUDIT_SERVICE, SCOPE_SERVICE, ALERT_SERVICE];
    for service in ["", LOG_SERVICE, ADMIN_SERVICE, WITNESS_SERVICE].into_iter().chain(events) {
        health.set_service_status(service, status).await;
    }
}
