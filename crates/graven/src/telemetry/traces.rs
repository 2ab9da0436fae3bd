//! Traces: a span for each call that is sampled, sent to a collector by OTLP over gRPC.
//!
//! A call that brings a `traceparent` (W3C Trace Context) goes on with its caller's trace, and is sampled as its caller
//! decided. A collector that does not answer costs spans, never calls: they are sent in batches behind them, and
//! what does not fit into the queue is dropped.

use std::sync::Arc;

use graven_server::OnCall;
use http::HeaderMap;
use opentelemetry::{
    KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Span, Subscriber, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

use crate::{
    exit::{Failure, Outcome},
    settings::TraceSettings,
};

/// Sends traces until it is shut down.
pub(crate) struct Traces(SdkTracerProvider);

struct Headers<'a>(&'a HeaderMap);

impl Traces {
    pub(super) fn new(settings: &TraceSettings) -> Outcome<Self> {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(&settings.otlp_endpoint).build();
        let exporter =
            exporter.map_err(|error| Failure::trouble(format_args!("traces.otlp_endpoint: {error}")))?;
        let resource = Resource::builder()
            .with_service_name("graven")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample_ratio)));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .with_sampler(sampler)
            .build();
        Ok(Self(provider))
    }

    /// The layer that turns the spans of calls into traces.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.0.tracer("graven");
        // Calls alone: what libraries do below them is theirs.
        let calls = Targets::new().with_target("graven_server", LevelFilter::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_filter(calls)
    }

    /// Joins calls with the traces of their callers.
    pub(crate) fn on_call(&self) -> OnCall {
        let propagator = TraceContextPropagator::new();
        Arc::new(move |span: &Span, headers: &HeaderMap| {
            span.record("otel.kind", "server");
            // It fails where nothing traces this span.
            let _ = span.set_parent(propagator.extract(&Headers(headers)));
        })
    }

    /// Sends what is left.
    pub(crate) fn stop(&self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
