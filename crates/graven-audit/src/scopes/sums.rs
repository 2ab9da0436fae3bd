//! Allowed decisions that a scope says are recorded in sums: counted in memory, and in the log within a second.
//!
//! A sum is a decision like any other, and true at its leaf: every command of the log waits until the sums are in it, and no decision is
//! counted meanwhile. What was counted and not yet written is lost with a crash: that is what a scope chooses with sums.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use graven_event::facts::DecisionFacts;
use graven_event::scopes::Verdict;
use graven_event::{Facts, Frame, Ref, Time, Word};
use graven_log::{AppendError, Patience};
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;
use crate::hook::{bare, refused};
use crate::record::{random, unsealed};

/// How often sums are written.
const INTERVAL: Duration = Duration::from_millis(500);
/// Most sums that are counted at a time: what is one more is an entry of its own.
const MAX_SUMS: usize = 10_000;

/// The sums of one log.
#[derive(Default)]
pub(crate) struct Sums {
    counted: Mutex<HashMap<Alike, Sum>>,
    /// Shared while a decision is made and counted; alone while a command changes what decisions depend on.
    gate: Arc<RwLock<()>>,
}

/// What decisions of one sum have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Alike {
    producer: Ref,
    action: Word,
    client: Ref,
    subject: Option<Ref>,
    token: Option<Ref>,
    scopes: Vec<Word>,
    presented: Vec<Word>,
    resource: Option<Word>,
    place: Option<Ref>,
    grants: Vec<Ref>,
}

struct Sum {
    /// The newest of them, with the time of the first.
    newest: DecisionFacts,
    first: u64,
    count: u64,
}

impl Sums {
    /// Nothing changes while this is held.
    pub(crate) async fn counting(&self) -> OwnedRwLockReadGuard<()> {
        self.gate.clone().read_owned().await
    }

    /// Counts an allowed decision. `false`: there are too many sums, or it is unlike itself a moment ago.
    pub(crate) fn count(&self, producer: Ref, facts: DecisionFacts) -> bool {
        let alike = Alike {
            producer,
            action: facts.action.clone(),
            client: facts.client,
            subject: facts.subject,
            token: facts.token,
            scopes: facts.scopes.clone(),
            presented: facts.presented.clone(),
            resource: facts.resource.clone(),
            place: facts.place,
            grants: facts.grants.clone(),
        };
        let mut counted = self.counted.lock();
        if let Some(sum) = counted.get_mut(&alike) {
            sum.count += 1;
            sum.newest = facts;
            return true;
        }
        if counted.len() >= MAX_SUMS {
            return false;
        }
        let first = facts.decided_at;
        counted.insert(alike, Sum { newest: facts, first, count: 1 });
        true
    }

    fn take(&self) -> Vec<(Alike, Sum)> {
        self.counted.lock().drain().collect()
    }

    /// What could not be written is counted on.
    fn put_back(&self, alike: Alike, sum: Sum) {
        let mut counted = self.counted.lock();
        match counted.get_mut(&alike) {
            Some(newer) => {
                newer.count += sum.count;
                newer.first = sum.first;
            }
            None => drop(counted.insert(alike, sum)),
        }
    }
}

impl Audit {
    /// Writes sums for as long as the server runs.
    pub async fn write_sums(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            ticks.tick().await;
            self.write_all_sums().await;
        }
    }

    /// Writes what was counted, in all logs.
    pub async fn write_all_sums(&self) {
        for book in self.books() {
            let _closed = book.sums.gate.clone().write_owned().await;
            if let Err(error) = self.write(&book).await {
                tracing::warn!(log = %book.log.meta().name, %error, "sums of decisions are not written yet");
            }
        }
    }

    /// Writes what was counted; until the guard goes, nothing is.
    ///
    /// # Errors
    /// It is not in the log, and nothing may change before it is.
    pub(crate) async fn close_sums(&self, book: &Book) -> Result<OwnedRwLockWriteGuard<()>, AuditError> {
        let closed = book.sums.gate.clone().write_owned().await;
        self.write(book).await?;
        Ok(closed)
    }

    async fn write(&self, book: &Book) -> Result<(), AuditError> {
        let mut sums = book.sums.take().into_iter();
        let mut failed = None;
        for (alike, sum) in sums.by_ref() {
            if let Err(error) = self.write_one(book, &alike, &sum).await {
                book.sums.put_back(alike, sum);
                failed = Some(error);
                break;
            }
        }
        sums.for_each(|(alike, sum)| book.sums.put_back(alike, sum));
        failed.map_or(Ok(()), Err)
    }

    async fn write_one(&self, book: &Book, alike: &Alike, sum: &Sum) -> Result<(), AuditError> {
        let facts = DecisionFacts { count: Some(sum.count), since: Some(sum.first), ..sum.newest.clone() };
        let frame = Frame {
            outcome: Some(graven_event::Outcome::Success),
            producer: alike.producer,
            ..bare(Facts::Decision(facts), random()?)
        };
        let draft = unsealed(&frame).map_err(|_| AuditError::Damaged(0))?;
        match self.engine.sequence(&book.log, vec![draft], None, Patience::Wait).await {
            Ok(_) => Ok(()),
            // It was true when it was counted, and nothing came between: a defect, that must not stop the log.
            Err(AppendError::Refused(refusal)) if refusal.code == refused::STALE => {
                let log = book.log.meta().name.to_string();
                tracing::error!(%log, count = sum.count, why = %refusal, "a sum of decisions is not what the log says");
                metrics::counter!("graven_lost_decisions_total", "log" => log).increment(sum.count);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The facts of a decision as it came out.
pub(crate) fn decided(facts: DecisionFacts, verdict: &Verdict, state_size: u64, at: Time) -> DecisionFacts {
    DecisionFacts {
        reason: verdict.reason.word(),
        grants: verdict.grants.clone(),
        state_size,
        decided_at: at.0,
        ..facts
    }
}
