//! What is counted, and how it is shown to Prometheus.

use std::{sync::Arc, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::exit::{Failure, Outcome};

/// How often what histograms have gathered is put away; without it they would grow until somebody asks.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Upper bounds in seconds: from a page in memory to a stalled disk.
const SECONDS: [f64; 18] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];
/// Upper bounds of requests and entries of one commit.
const COUNTS: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0];
/// Upper bounds in bytes.
const BYTES: [f64; 8] = [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

/// Everything that is counted in this process.
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    process: metrics_process::Collector,
}

impl Metrics {
    /// Begins to count.
    pub(crate) fn start() -> Outcome<Self> {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(|it| {
                it.set_buckets_for_metric(Matcher::Full("graven_commit_requests".to_owned()), &COUNTS)
            })
            .and_then(|it| {
                it.set_buckets_for_metric(Matcher::Full("graven_commit_entries".to_owned()), &COUNTS)
            })
            .and_then(|it| {
                it.set_buckets_for_metric(Matcher::Full("graven_commit_bytes".to_owned()), &BYTES)
            });
        let handle = builder.and_then(PrometheusBuilder::install_recorder).map_err(Failure::trouble)?;
        let process = metrics_process::Collector::default();
        process.describe();
        describe();
        metrics::gauge!("graven_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        tokio::spawn({
            let handle = handle.clone();
            async move {
                loop {
                    tokio::time::sleep(UPKEEP_EVERY).await;
                    handle.run_upkeep();
                }
            }
        });
        Ok(Self { handle, process })
    }

    /// Writes everything down, in the text format of Prometheus.
    pub(crate) fn render(self) -> Arc<dyn Fn() -> String + Send + Sync> {
        Arc::new(move || {
            self.process.collect();
            self.handle.render()
        })
    }
}

/// Says what each metric means.
fn describe() {
    use metrics::{describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram};
    gauge!("graven_build_info", "1, with the version of the program");
    counter!("graven_rpc_requests_total", "Calls that ended, by gRPC code; GONE: the caller went away");
    histogram!("graven_rpc_duration_seconds", "From a call's headers to its last byte");
    gauge!("graven_rpc_in_flight", "Calls under way");
    counter!("graven_http_requests_total", "Requests for the logs as files, and probes, by HTTP status");
    histogram!("graven_http_duration_seconds", "From a request's head to the head of its answer");
    counter!(
        "graven_alert_deliveries_total",
        "Alerts that the webhook took, and attempts that it did not, by outcome"
    );
    gauge!("graven_connections", "Open connections");
    gauge!("graven_connections_limit", "Open connections at most");
    counter!("graven_connections_total", "Connections that were let in");
    counter!(
        "graven_connections_refused_total",
        "Connections that were closed: over the limit, or no TLS handshake"
    );
    counter!(
        "graven_auth_refusals_total",
        "Calls and requests without the credentials or the grant they need"
    );
    counter!(
        "graven_issuer_failures_total",
        "Times that an issuer of access tokens did not answer, by what it was asked"
    );
    gauge!("graven_issuer_keys_timestamp_seconds", "When an issuer's keys were last fetched");
    counter!("graven_producer_gaps_total", "Gaps in producers' numbers that an entry tells of");
    counter!(
        "graven_producer_clock_ahead_total",
        "Events whose own time was after they came, by more than ten seconds"
    );
    gauge!("graven_event_index_lag_entries", "Leaves that the index of a log of events has not read");
    histogram!("graven_commit_requests", "Requests that one sync made durable");
    histogram!("graven_commit_entries", "Entries that one sync made durable");
    histogram!("graven_commit_bytes", "Bytes that one sync made durable");
    histogram!("graven_commit_sync_seconds", "Write and sync of one commit");
    histogram!("graven_publish_seconds", "Verifying, signing and releasing one head");
    histogram!("graven_seal_seconds", "Writing one round of bundles and tiles");
    gauge!("graven_log_durable_size", "Entries that are durable");
    gauge!("graven_log_published_size", "Entries under the newest signed head");
    gauge!("graven_log_sealed_size", "Entries in bundles and tiles");
    gauge!("graven_log_unsealed_bytes", "Bytes of entries that are durable and not yet in bundles");
    gauge!("graven_log_unsealed_limit_bytes", "Beyond so many unsealed bytes appends to the log are refused");
    gauge!("graven_log_head_age_seconds", "Time since the newest head was signed");
    gauge!("graven_log_frozen", "1: the log takes no more entries, for ever");
    gauge!(
        "graven_log_unwitnessed_seconds",
        "Time since a quorum of witnesses cosigned last; 0 without witnesses"
    );
    gauge!("graven_log_pending_size", "Entries under the head that witnesses are asked to cosign");
    gauge!("graven_log_witnessed_size", "Entries under the newest head with its quorum");
    gauge!(
        "graven_log_awaiting_witnesses",
        "1: too few witnesses have answered since the start, appends are refused"
    );
    gauge!("graven_witness_cosigned", "1: this witness cosigned the head that it is asked to cosign");
    gauge!(
        "graven_witness_lag_entries",
        "Entries of the newest signed head beyond what this witness cosigned last"
    );
    gauge!("graven_witness_silent_seconds", "Time since this witness cosigned last, or since the start");
    counter!("graven_witness_errors_total", "Heads that a witness did not cosign, by kind");
    gauge!("graven_disk_free_bytes", "Room on the disk of the data directory");
    gauge!("graven_disk_reserve_bytes", "Appends are refused while there is less room");
    gauge!("graven_disk_full", "1: appends are refused for want of room");
    gauge!("graven_engine_status", "1 for what the engine is: running, stopping or poisoned");
    gauge!("graven_clock_suspect", "1: the clock jumped, nothing is sequenced or signed");
    gauge!("graven_follower_lag_entries", "Published entries that the index does not have yet");
    gauge!("graven_tls_certificate_not_after_timestamp_seconds", "When the server's certificate ends");
    counter!("graven_reload_failures_total", "Changed files that could not be used");
    gauge!(
        "graven_monitor_state",
        "1 for the state a watched log is in: ok, trouble, stalled, tampered, rollback or split-view"
    );
    gauge!("graven_monitor_size", "Entries of a watched log that were verified");
    gauge!(
        "graven_monitor_head_timestamp_seconds",
        "When the newest verified head of a watched log was signed"
    );
    counter!("graven_monitor_entries_total", "Entries of a watched log that were verified by this process");
    counter!(
        "graven_monitor_alerts_total",
        "Alerts to the webhook: told, failed, or dropped for want of room"
    );
    gauge!("graven_mirror_size", "Entries of a mirrored log under the checkpoint that was cosigned last");
    gauge!("graven_mirror_pending_size", "Entries under the checkpoint of a mirrored log that is followed");
    gauge!(
        "graven_mirror_cosigned_timestamp_seconds",
        "The time of the newest cosignature on a mirrored log"
    );
    gauge!(
        "graven_mirror_split_view",
        "1: the log signed two trees that cannot both be, and is not followed"
    );
    counter!("graven_mirror_polls_total", "Looks at a mirrored log's source: mirrored, unchanged or failed");
    counter!("graven_mirror_requests_total", "Requests to a mirror, by call and HTTP status");
    counter!("graven_witness_requests_total", "Requests to a witness, by HTTP status");
    counter!(
        "graven_witness_split_views_total",
        "Times that a witness saw a log sign what cannot both be true"
    );
    gauge!(
        "graven_witness_poll_success_timestamp_seconds",
        "When a witness last saw a polled log well, and cosigned what was new"
    );
    gauge!(
        "graven_witness_poll_lag_entries",
        "Entries in the head that a polled log showed last, beyond those that were cosigned"
    );
    counter!(
        "graven_witness_poll_errors_total",
        "Looks at a polled log that came to nothing: trouble, unsigned, inconsistent, rollback, refused or unwanted"
    );
    gauge!("graven_reload_success_timestamp_seconds", "When these files were last taken into use");
}
