//! Followers at work: every durable leaf is looked at once for each rule in CEL, and what that raises becomes an entry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use graven_event::facts::AlertFacts;
use graven_event::{Facts, Unplaced};
use graven_log::{AppendError, Draft, LogName, Patience};

use super::follower::Follower;
use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;
use crate::hook::{bare, refused};
use crate::record::random;

/// How often it is looked for new leaves: an alert comes well within a second.
const INTERVAL: Duration = Duration::from_millis(100);
/// Most alerts that are appended at once.
const APPEND_ALERTS: usize = 64;

impl Audit {
    /// Raises the alerts of rules in CEL for as long as the server runs, and counts all alerts.
    pub async fn raise_alerts(self: Arc<Self>) {
        let mut followers: BTreeMap<LogName, Follower> = BTreeMap::new();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            loop {
                let mut is_behind = false;
                for book in self.books() {
                    let name = book.log.meta().name.clone();
                    let follower = followers.remove(&name).unwrap_or_else(|| Follower::new(&self, &book));
                    if let Some(follower) = self.turn(follower).await {
                        is_behind |= follower.is_behind;
                        followers.insert(name, follower);
                    }
                }
                if !is_behind {
                    break;
                }
            }
        }
    }

    /// One turn of a follower: some leaves, what they raise, durably. One that broke is not given back: the next begins where it must.
    async fn turn(&self, mut follower: Follower) -> Option<Follower> {
        let book = follower.book.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let looked = follower.look();
            (follower, looked)
        });
        let (mut follower, looked) = looked.await.ok()?;
        let raised = match looked {
            Ok(()) => self.raise(&mut follower).await,
            Err(error) => Err(error),
        };
        if let Err(error) = raised {
            follower.is_behind = false;
            tracing::warn!(log = %book.log.meta().name, %error, "rules are not evaluated any further yet");
        }
        Some(follower)
    }

    /// Appends what was found, and keeps the position.
    async fn raise(&self, follower: &mut Follower) -> Result<(), AuditError> {
        while !follower.found.is_empty() {
            let some = &follower.found[..follower.found.len().min(APPEND_ALERTS)];
            let done = some.len();
            match self.append_alerts(&follower.book, some).await {
                // Of one that is refused the others know nothing.
                Err(error) if is_stale(&error) && some.len() > 1 => {
                    for alert in some {
                        self.append_or_drop(&follower.book, alert).await?;
                    }
                }
                Err(error) if is_stale(&error) => told_before(&follower.book, &some[0]),
                other => other?,
            }
            follower.found.drain(..done);
        }
        let Some(keeping) = follower.keep() else { return Ok(()) };
        tokio::task::spawn_blocking(move || keeping.write()).await.map_err(|_| AuditError::Stopping)?
    }

    async fn append_or_drop(&self, book: &Book, alert: &AlertFacts) -> Result<(), AuditError> {
        match self.append_alerts(book, std::slice::from_ref(alert)).await {
            Err(error) if is_stale(&error) => told_before(book, alert),
            other => return other,
        }
        Ok(())
    }

    async fn append_alerts(&self, book: &Book, alerts: &[AlertFacts]) -> Result<(), AuditError> {
        let draft = |alert: &AlertFacts| -> Result<Draft, AuditError> {
            let frame = bare(Facts::Alert(alert.clone()), random()?);
            let unplaced = Unplaced::new(&frame).map_err(|_| AuditError::Damaged(alert.state_size))?;
            Ok(Draft::new(unplaced.as_bytes().to_vec().into()))
        };
        let drafts = alerts.iter().map(draft).collect::<Result<Vec<_>, _>>()?;
        self.engine.sequence(&book.log, drafts, None, Patience::Wait).await?;
        Ok(())
    }
}

fn is_stale(error: &AuditError) -> bool {
    matches!(error, AuditError::Append(AppendError::Refused(refusal)) if refusal.code == refused::STALE)
}

/// It is in the log, or its rule was retired meanwhile.
fn told_before(book: &Book, alert: &AlertFacts) {
    tracing::info!(log = %book.log.meta().name, rule = %alert.name, state_size = alert.state_size, "an alert is not raised again");
}
