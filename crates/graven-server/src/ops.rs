//! The operators' port: metrics, and whether the server lives.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use graven_log::{Log, Status as EngineStatus};
use graven_net::text;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use metrics::gauge;
use tokio::net::TcpListener;

use crate::core::Core;
use crate::site;

/// The operators' port. It asks for no credentials: keep it where operators alone can reach it.
pub struct Ops {
    /// Where it is.
    pub listener: TcpListener,
    /// Writes down all metrics, in the text format of Prometheus.
    pub render: Arc<dyn Fn() -> String + Send + Sync>,
}

impl std::fmt::Debug for Ops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ops").field("listener", &self.listener).finish_non_exhaustive()
    }
}

pub(crate) fn router(core: Arc<Core>, render: Arc<dyn Fn() -> String + Send + Sync>) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let (core, render) = (core.clone(), render.clone());
        async move {
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            }
            match request.uri().path() {
                "/metrics" => metrics_page(&core, &*render),
                "/healthz" => site::alive(),
                "/readyz" => site::ready(&core),
                _ => text(StatusCode::NOT_FOUND, "here are /metrics, /healthz and /readyz\n"),
            }
        }
    })
}

fn metrics_page(core: &Core, render: &dyn Fn() -> String) -> Response<Body> {
    observe(core);
    let mut page = text(StatusCode::OK, render());
    page.headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    page
}

/// Takes down what is true now and counted nowhere.
fn observe(core: &Core) {
    let engine = &core.engine;
    let status = engine.status();
    for (label, is_so) in [
        ("running", status == EngineStatus::Running),
        ("stopping", status == EngineStatus::Stopping),
        ("poisoned", matches!(status, EngineStatus::Poisoned(_))),
        ("rolled-back", matches!(status, EngineStatus::RolledBack(_))),
    ] {
        gauge!("graven_engine_status", "status" => label).set(flag(is_so));
    }
    gauge!("graven_disk_free_bytes").set(float(engine.free_bytes()));
    gauge!("graven_disk_reserve_bytes").set(float(engine.config().reserve_bytes));
    gauge!("graven_disk_full").set(flag(engine.is_disk_full()));
    gauge!("graven_clock_suspect").set(flag(engine.is_clock_suspect()));
    gauge!("graven_log_unsealed_limit_bytes").set(float(engine.config().max_unsealed_bytes as u64));
    gauge!("graven_connections_limit").set(float(core.max_connections as u64));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
    for log in engine.logs() {
        observe_log(core, &log, now);
    }
}

fn observe_log(core: &Core, log: &Log, now: f64) {
    let name = log.meta().name.to_string();
    let head = log.head();
    let published = head.size().get();
    let age = if head.time_seconds == 0 { 0.0 } else { (now - float(head.time_seconds)).max(0.0) };
    gauge!("graven_log_durable_size", "log" => name.clone()).set(float(log.durable_size()));
    gauge!("graven_log_published_size", "log" => name.clone()).set(float(published));
    gauge!("graven_log_sealed_size", "log" => name.clone()).set(float(log.sealed_size()));
    gauge!("graven_log_unsealed_bytes", "log" => name.clone()).set(float(log.unsealed_bytes()));
    gauge!("graven_log_head_age_seconds", "log" => name.clone()).set(age);
    gauge!("graven_log_frozen", "log" => name.clone()).set(flag(log.is_frozen()));
    observe_witnesses(core, log, &name);
    if let Some(covered) = core.lookup.as_ref().and_then(|lookup| lookup.covered(&name)) {
        let lag = published.saturating_sub(covered.get());
        gauge!("graven_follower_lag_entries", "log" => name, "follower" => "leaf-index").set(float(lag));
    }
}

/// Names of witnesses are those of the operator's policy.
fn observe_witnesses(core: &Core, log: &Log, name: &str) {
    // 0 where there are no witnesses, so that an alert can be written for all logs.
    let unwitnessed = core.engine.unwitnessed_for(log).unwrap_or_default();
    gauge!("graven_log_unwitnessed_seconds", "log" => name.to_owned()).set(unwitnessed.as_secs_f64());
    let (Some(policy), Some(pending)) = (log.witness_policy(), log.watch_pending()) else { return };
    let pending = pending.borrow().clone();
    let witnessed = log.witnessed_head().map_or(0, |head| head.size().get());
    gauge!("graven_log_pending_size", "log" => name.to_owned()).set(float(pending.head.size().get()));
    gauge!("graven_log_witnessed_size", "log" => name.to_owned()).set(float(witnessed));
    gauge!("graven_log_awaiting_witnesses", "log" => name.to_owned()).set(flag(log.is_awaiting_witnesses()));
    for witness in policy.witnesses() {
        let labels = [("log", name.to_owned()), ("witness", witness.name.to_string())];
        gauge!("graven_witness_cosigned", &labels).set(flag(pending.cosigned.contains(&witness.name)));
    }
    for lag in core.engine.witness_lags(log) {
        let labels = [("log", name.to_owned()), ("witness", lag.witness.to_string())];
        gauge!("graven_witness_lag_entries", &labels).set(float(lag.entries));
        gauge!("graven_witness_silent_seconds", &labels).set(lag.silent.as_secs_f64());
    }
}

/// A size as Prometheus takes it: exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    value as f64
}

fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}
