//! Refusals as entries of the access log: those of known callers one by one, before they are answered; those of strangers as sums, so that
//! nobody fills a log that cannot be emptied.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use graven_audit::{Audit, Deed, Who};
use parking_lot::Mutex;
use tokio::sync::watch;

/// How often sums are written.
const INTERVAL: Duration = Duration::from_secs(60);

/// Refusals of strangers since the last sum, by reason.
#[derive(Clone, Default)]
pub(crate) struct Strangers(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Strangers {
    /// One more.
    pub(crate) fn count(&self, reason: &'static str) {
        *self.0.lock().entry(reason).or_default() += 1;
    }

    /// Writes sums until the server stops, and the last one then.
    pub(crate) async fn tell(self, audit: Option<Arc<Audit>>, mut draining: watch::Receiver<bool>) {
        let Some(audit) = audit else { return };
        loop {
            let stopping =
                tokio::time::timeout(INTERVAL, draining.wait_for(|draining| *draining)).await.is_ok();
            self.tell_now(&audit).await;
            if stopping {
                return;
            }
        }
    }

    async fn tell_now(&self, audit: &Audit) {
        let sums = std::mem::take(&mut *self.0.lock());
        if sums.is_empty() {
            return;
        }
        let deed = sums
            .iter()
            .fold(Deed::new("graven.refusals", "*"), |deed, (reason, count)| deed.with(reason, count));
        if let Err(error) =
            audit.note(&Who { name: "graven".to_owned(), ..Who::default() }, deed.denied("strangers")).await
        {
            tracing::error!(%error, "refusals of strangers are not in the access log");
            let mut kept = self.0.lock();
            sums.into_iter().for_each(|(reason, count)| *kept.entry(reason).or_default() += count);
        }
    }
}
