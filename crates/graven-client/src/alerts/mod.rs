//! Rules over the leaves of a log of events, and the alerts that they raise.
//!
//! ```no_run
//! use graven_client::{Client, ConnectOptions, alerts::{AlertOptions, Severity}};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:4740", ConnectOptions::default()).await?;
//! let log = client.alerts("audit");
//! log.enable("denial-burst").await?;
//! let mut alerts = log.watch(AlertOptions { from: Some(0), min_severity: Some(Severity::High) });
//! while let Some(alert) = alerts.next().await? {
//!     println!("{} {}: {:?}", alert.severity().as_str(), alert.rule(), alert.leaves());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is checked
//! An [`Alert`] is what its leaf says: the rule with its hash, how bad it is, and which leaves fired it.
//! [`LogClient::prove_alert`](crate::LogClient::prove_alert) shows that the leaf is in the log. Whom it is about is the server's word. That an
//! alert is missing, whoever replays the log (`graven replay`) sees; of rules in CEL, only who can open the events.

mod rules;
mod watch;

pub use rules::{ReportedRule, RuleTest, RuleText, Tested};
pub use watch::{Alert, AlertOptions, AlertWatch, Severity};

use graven_merkle::{LeafIndex, leaf_hash};

use crate::{Appender, Client, LogClient, ReadError, VerifiedProof};

/// The rules and alerts of a log of events, believed as far as its server is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AlertLog {
    log: Appender,
}

impl Client {
    /// The alerts of the log with this name; an empty name means the server's only log. No keys are needed.
    #[must_use]
    pub fn alerts(&self, name: impl Into<String>) -> AlertLog {
        AlertLog { log: self.appender(name) }
    }
}

impl LogClient {
    /// The same log's alerts, as far as its server is believed.
    #[must_use]
    pub fn alerts(&self) -> AlertLog {
        AlertLog { log: self.appender().clone() }
    }

    /// Proves that an alert's leaf is in the log.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn prove_alert(&self, alert: &Alert) -> Result<VerifiedProof, ReadError> {
        let index = alert.index().and_then(|index| LeafIndex::new(index.get()));
        let proof =
            self.prove(index.ok_or(ReadError::WrongAnswer("an alert that was never raised"))?).await?;
        if proof.leaf_hash() == leaf_hash(alert.leaf()) {
            Ok(proof)
        } else {
            Err(ReadError::WrongAnswer("another entry than the alert"))
        }
    }
}

impl AlertLog {
    /// The log's name, empty for the server's only log.
    #[must_use]
    pub fn name(&self) -> &str {
        self.log.name()
    }

    /// Alerts from an index on, then each new one.
    #[must_use]
    pub fn watch(&self, options: AlertOptions) -> AlertWatch {
        AlertWatch::new(self.log.clone(), options)
    }
}
