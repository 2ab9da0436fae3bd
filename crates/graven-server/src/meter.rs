//! What calls and requests take: rate, errors, duration. Labels are taken from the interface, never from a request, so
//! that no peer can make series.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use graven_auth::TokenError;
use metrics::{Counter, Gauge, Histogram};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;

/// Codes that gRPC has, and one more for callers that went away.
const CODES: usize = 17;

/// The meters of all methods.
pub(crate) struct Meters {
    by_path: HashMap<String, Arc<RpcMeter>>,
    other: Arc<RpcMeter>,
}

/// What the calls of one method take.
pub(crate) struct RpcMeter {
    path: String,
    in_flight: Gauge,
    duration: Histogram,
    /// By code; each is made when it is first needed, as most never are.
    ended: [OnceLock<Counter>; CODES + 1],
}

impl Meters {
    /// Meters for the methods of these descriptors. Others are counted together.
    pub(crate) fn of(descriptors: &[&[u8]]) -> Self {
        let sets = descriptors.iter().filter_map(|bytes| FileDescriptorSet::decode(*bytes).ok());
        let mut by_path = HashMap::new();
        for file in sets.flat_map(|set| set.file) {
            for service in &file.service {
                let service_name = format!("{}.{}", file.package(), service.name());
                for method in &service.method {
                    let meter = RpcMeter::new(&service_name, method.name());
                    by_path.insert(meter.path.clone(), Arc::new(meter));
                }
            }
        }
        Self { by_path, other: Arc::new(RpcMeter::new("other", "other")) }
    }

    /// The meter of the method at this path.
    pub(crate) fn rpc(&self, path: &str) -> Arc<RpcMeter> {
        self.by_path.get(path).unwrap_or(&self.other).clone()
    }
}

impl RpcMeter {
    fn new(service: &str, method: &str) -> Self {
        let labels = [("service", service.to_owned()), ("method", method.to_owned())];
        Self {
            path: format!("/{service}/{method}"),
            in_flight: metrics::gauge!("graven_rpc_in_flight", &labels),
            duration: metrics::histogram!("graven_rpc_duration_seconds", &labels),
            ended: Default::default(),
        }
    }

    /// The method, as it stands in a request.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether its callers must be known: those of all methods that are there, but for the health of the server.
    pub(crate) fn asks_who(&self) -> bool {
        !self.path.starts_with("/other/") && !self.path.starts_with("/grpc.health.v1.")
    }

    /// A call begins.
    pub(crate) fn begin(&self) {
        self.in_flight.increment(1);
    }

    /// A call ends: with a code, or because its caller went away.
    pub(crate) fn end(&self, code: Option<Code>, took: Duration) {
        self.in_flight.decrement(1);
        self.duration.record(took);
        let slot = code.map_or(CODES, |code| usize::try_from(code as i32).unwrap_or(CODES).min(CODES));
        let counter = self.ended[slot].get_or_init(|| {
            let (service, method) = self.path[1..].split_once('/').unwrap_or_default();
            let code = code.map_or("GONE", name).to_owned();
            let labels = [("service", service.to_owned()), ("method", method.to_owned()), ("code", code)];
            metrics::counter!("graven_rpc_requests_total", &labels)
        });
        counter.increment(1);
    }
}

/// Begins the counts that alerts watch, so that the first refusal shows as a rise from nothing.
pub(crate) fn begin() {
    for reason in ["missing", "invalid", "permission"].into_iter().chain(TokenError::LABELS) {
        metrics::counter!("graven_auth_refusals_total", "reason" => reason).increment(0);
    }
    for reason in ["limit", "handshake"] {
        metrics::counter!("graven_connections_refused_total", "reason" => reason).increment(0);
    }
}

/// Counts a request for a resource of the site.
pub(crate) fn resource(resource: &'static str, status: u16, took: Duration) {
    metrics::counter!("graven_http_requests_total", "resource" => resource, "status" => status.to_string())
        .increment(1);
    metrics::histogram!("graven_http_duration_seconds", "resource" => resource).record(took);
}

/// A code by its name in the gRPC documentation.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
