//! Keeping and erasing: retention classes, legal holds, and the keys of people.
//!
//! Each call here becomes an entry of the log, so each is sent once: where its outcome is unknown, look before it is repeated.

use std::time::Duration;

use graven_event::Ref;
use graven_merkle::LeafIndex;
use graven_proto::{convert::leaf_index, v1};

use super::EventLog;
use crate::{CallError, ReadError, RetryPolicy, call::call_audit};

/// A person whose key was destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// Where the entry stands that says so.
    pub index: LeafIndex,
    /// What stood for the person.
    pub reference: Ref,
    /// The epoch of the key store since then.
    pub epoch: u64,
}

/// What a log keeps, and for how long, as its server says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedRetention {
    /// Its classes.
    pub classes: Vec<ReportedClass>,
    /// The holds that stand.
    pub holds: Vec<ReportedHold>,
}

/// A retention class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedClass {
    /// Its name.
    pub name: String,
    /// How long its payloads are kept; `None`: for ever.
    pub keep: Option<Duration>,
    /// Payloads of leaves below this index were dropped.
    pub dropped_before: u64,
}

/// A legal hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedHold {
    /// Its number: 32 hex digits.
    pub hold: String,
    /// How many people it covers; 0: everybody.
    pub subjects: u64,
    /// The classes that it covers; none: all.
    pub classes: Vec<String>,
    /// By what right.
    pub authority: String,
    /// The index of its entry.
    pub index: u64,
}

impl EventLog {
    /// Destroys the key of `subject` (`alice`, or `user:alice`), so that nothing sealed under it is ever read again. By what right
    /// stands in the log for ever, as one word: `gdpr-17`. Needs the grant `erase`.
    ///
    /// # Errors
    /// The server refuses, does not answer, or answers something else.
    pub async fn erase_subject(&self, subject: &str, authority: &str) -> Result<Erased, ReadError> {
        let request = v1::EraseSubjectRequest {
            log: self.name().to_owned(),
            subject: subject.to_owned(),
            authority: authority.to_owned(),
        };
        let answer =
            call_audit(self.log.pool(), &RetryPolicy::NEVER, &request, |mut audit, request| async move {
                audit.erase_subject(request).await
            })
            .await?;
        let reference = answer.reference[..].try_into().map(Ref);
        Ok(Erased {
            index: leaf_index("index", answer.index)?,
            reference: reference.map_err(|_| ReadError::WrongAnswer("a reference that is none"))?,
            epoch: answer.epoch,
        })
    }

    /// Says how long payloads of a class are kept; `None`: for ever. Answers the index of the entry. Needs the grant `admin`.
    ///
    /// # Errors
    /// The server refuses, does not answer, or answers something else.
    pub async fn define_retention(&self, name: &str, keep: Option<Duration>) -> Result<LeafIndex, ReadError> {
        let keep = keep.map(|keep| prost_types::Duration {
            seconds: i64::try_from(keep.as_secs()).unwrap_or(i64::MAX),
            nanos: 0,
        });
        let request = v1::DefineRetentionRequest { log: self.name().to_owned(), name: name.to_owned(), keep };
        let answer =
            call_audit(self.log.pool(), &RetryPolicy::NEVER, &request, |mut audit, request| async move {
                audit.define_retention(request).await
            });
        Ok(leaf_index("index", answer.await?.index)?)
    }

    /// Forbids that payloads are dropped or people erased: of these people (none: everybody) in these classes (none: all). Answers
    /// the hold's number and the index of its entry. Needs the grant `admin`.
    ///
    /// # Errors
    /// The server refuses, does not answer, or answers something else.
    pub async fn place_hold(
        &self,
        subjects: &[String],
        classes: &[String],
        authority: &str,
    ) -> Result<(String, LeafIndex), ReadError> {
        let request = v1::PlaceHoldRequest {
            log: self.name().to_owned(),
            subjects: subjects.to_vec(),
            classes: classes.to_vec(),
            authority: authority.to_owned(),
        };
        let answer =
            call_audit(self.log.pool(), &RetryPolicy::NEVER, &request, |mut audit, request| async move {
                audit.place_hold(request).await
            })
            .await?;
        Ok((answer.hold, leaf_index("index", answer.index)?))
    }

    /// Ends a hold. Answers the index of the entry. Needs the grant `admin`.
    ///
    /// # Errors
    /// The server refuses, does not answer, or answers something else.
    pub async fn release_hold(&self, hold: &str, authority: &str) -> Result<LeafIndex, ReadError> {
        let request = v1::ReleaseHoldRequest {
            log: self.name().to_owned(),
            hold: hold.to_owned(),
            authority: authority.to_owned(),
        };
        let answer =
            call_audit(self.log.pool(), &RetryPolicy::NEVER, &request, |mut audit, request| async move {
                audit.release_hold(request).await
            });
        Ok(leaf_index("index", answer.await?.index)?)
    }

    /// The log's retention classes and holds.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub async fn retention(&self) -> Result<ReportedRetention, CallError> {
        let request = v1::ListRetentionRequest { log: self.name().to_owned() };
        let pool = self.log.pool();
        let answer = call_audit(pool, pool.retries(), &request, |mut audit, request| async move {
            audit.list_retention(request).await
        })
        .await?;
        let classes = answer.classes.into_iter().map(|class| ReportedClass {
            name: class.name,
            keep: class.keep.and_then(|keep| keep.try_into().ok()),
            dropped_before: class.dropped_before,
        });
        let holds = answer.holds.into_iter().map(|hold| ReportedHold {
            hold: hold.hold,
            subjects: hold.subjects,
            classes: hold.classes,
            authority: hold.authority,
            index: hold.index,
        });
        Ok(ReportedRetention { classes: classes.collect(), holds: holds.collect() })
    }
}
