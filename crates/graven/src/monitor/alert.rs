//! Telling a webhook, beside the work: a hook that does not answer holds up nothing.

use std::time::Duration;

use graven_client::Webhook;
use metrics::counter;
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

/// Alerts that may wait. States change seldom; a hook that is away for longer than this many changes misses some.
const MAX_WAITING: usize = 64;

/// How long the last alerts may take when the monitor ends.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// The one that tells.
pub(super) struct Alerts {
    queue: Queue,
    telling: JoinHandle<()>,
}

/// Takes what is to be told.
#[derive(Clone)]
pub(super) struct Queue(mpsc::Sender<String>);

impl Alerts {
    /// Begins to tell `webhook`; nobody, where there is none.
    pub(super) fn start(webhook: Option<Webhook>) -> Self {
        let (queue, mut waiting) = mpsc::channel::<String>(MAX_WAITING);
        let telling = tokio::spawn(async move {
            while let Some(alert) = waiting.recv().await.filter(|alert| !alert.is_empty()) {
                let Some(webhook) = &webhook else { continue };
                let told = webhook.post(alert).await;
                let outcome = if told.is_ok() { "told" } else { "failed" };
                counter!("graven_monitor_alerts_total", "outcome" => outcome).increment(1);
                if let Err(error) = told {
                    tracing::error!(%error, "the webhook was not told");
                }
            }
        });
        Self { queue: Queue(queue), telling }
    }

    pub(super) fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Waits until everything is told, for a while.
    pub(super) async fn finish(self) {
        // An empty message is the last one: other queues may still be there.
        let told = async {
            let _ = self.queue.0.send(String::new()).await;
            let _ = self.telling.await;
        };
        if timeout(LAST_WORDS, told).await.is_err() {
            tracing::error!("the webhook was not told everything");
        }
    }
}

impl Queue {
    pub(super) fn tell(&self, alert: &Value) {
        if self.0.try_send(alert.to_string()).is_err() {
            counter!("graven_monitor_alerts_total", "outcome" => "dropped").increment(1);
        }
    }
}
