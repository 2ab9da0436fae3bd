//! Refusals as entries of the access log: those of known callers one by one, before they are answered; those of strangers as sums, so that
//! nobody fills a log that cannot be emptied.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use graven_audit::{Audit, Deed, Who};
use graven_proto::Refusal;
use graven_proto::v1::ErrorReason;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::access::Denied;

/// How often sums are written.
const INTERVAL: Duration = Duration::from_secs(60);

/// Sees to it that refusals are written down.
#[derive(Clone)]
pub(crate) struct Watch {
    audit: Option<Arc<Audit>>,
    /// Refusals of strangers since the last sum, by reason.
    strangers: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    /// How many entries are being written whose calls are over.
    late: watch::Sender<usize>,
}

impl Watch {
    pub(crate) fn new(audit: Option<Arc<Audit>>) -> Self {
        Self { audit, strangers: Arc::default(), late: watch::Sender::new(0) }
    }

    /// Whether there is a log to write into.
    pub(crate) fn is_on(&self) -> bool {
        self.audit.as_ref().is_some_and(|audit| audit.has_access_log())
    }

    /// Somebody who is not known was refused.
    pub(crate) fn stranger(&self, denied: &Denied) {
        *self.strangers.lock().entry(denied.label()).or_default() += 1;
    }

    /// Somebody who is known may not do what they asked for.
    ///
    /// # Errors
    /// It cannot be written down: then they are not told what they may not do either.
    pub(crate) async fn refused(&self, who: &Who, what: &str) -> Result<(), Refusal> {
        let Some(audit) = &self.audit else { return Ok(()) };
        let deed = Deed::new("graven.refused", "*").with("method", what).denied("permission");
        let noted = audit.note(who, deed).await;
        noted.map(drop).map_err(|error| {
            tracing::error!(%error, "a refusal is not in the access log");
            Refusal::new(ErrorReason::AccessUnrecorded, "what you may not do cannot be recorded: try again")
        })
    }

    /// Writes down how a call ended. Nobody waits for that but the end of the server.
    pub(crate) fn ended(&self, who: Who, deed: Deed) {
        let (Some(audit), Ok(runtime)) = (self.audit.clone(), Handle::try_current()) else { return };
        self.late.send_modify(|under_way| *under_way += 1);
        let late = self.late.clone();
        runtime.spawn(async move {
            if let Err(error) = audit.note(&who, deed).await {
                tracing::error!(%error, "the end of a call is not in the access log");
            }
            late.send_modify(|under_way| *under_way -= 1);
        });
    }

    /// Waits until the ends of all calls are written down.
    pub(crate) async fn all_ended(&self) {
        // The sender is here, so there is no error.
        let _ = self.late.subscribe().wait_for(|under_way| *under_way == 0).await;
    }

    /// Writes sums until the server stops, and the last one then.
    pub(crate) async fn tell_sums(self, mut draining: watch::Receiver<bool>) {
        loop {
            let stop = draining.wait_for(|draining| *draining);
            let is_stopping = tokio::time::timeout(INTERVAL, stop).await.is_ok();
            self.tell_sum().await;
            if is_stopping {
                return;
            }
        }
    }

    async fn tell_sum(&self) {
        let Some(audit) = &self.audit else { return };
        let sums = std::mem::take(&mut *self.strangers.lock());
        if sums.is_empty() {
            return;
        }
        let deed = Deed::new("graven.refusals", "*");
        let deed = sums.iter().fold(deed, |deed, (reason, count)| deed.with(reason, count));
        let graven = Who { name: "graven".to_owned(), ..Who::default() };
        if let Err(error) = audit.note(&graven, deed.denied("strangers")).await {
            tracing::error!(%error, "refusals of strangers are not in the access log");
            let mut kept = self.strangers.lock();
            sums.into_iter().for_each(|(reason, count)| *kept.entry(reason).or_default() += count);
        }
    }
}
