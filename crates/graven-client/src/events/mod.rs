//! Logs of events: who did what, recorded, found again, followed, disclosed and erased.
//!
//! ```no_run
//! use graven_client::{Client, ConnectOptions, Trust, events::Query};
//! # use graven_event::Event;
//!
//! # async fn example(vkey: &str, event: Event) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:4740", ConnectOptions::default()).await?;
//! let log = client.log("audit", Trust::of_vkeys([vkey])?);
//! log.record(event).published().await?; // its leaf says what was sent, and is in a signed tree
//!
//! let mut hits = log.query(Query::new("actor:alice outcome:denied since:24h"));
//! while let Some(hit) = hits.next().await? {
//!     println!("{} {:?}", hit.index(), hit.frame().map(|frame| &frame.facts));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is checked
//! [`EventLog`] knows no keys: what it hands out are the server's words. They are held against each other all the same: what a
//! [`Hit`] says in clear is what stands in its leaf.
//!
//! [`LogClient::query`](crate::LogClient::query) hands out a [`ProvenHit`] only once its leaf was proven to be under a verified
//! head, and the leaf holds what the query asked for in clear. What was sealed and is shown beside it (who, to whom, from where) is
//! the server's word there; a [disclosure](crate::LogClient::reveal) proves it. That hits were left out, no proof shows:
//! [`Hits::complete_to`] is a promise, which an auditor can hold against the log.
//!
//! # Repeats
//! Events that carry a producer's number, or an idempotency key, are sent again when a connection breaks. A [stream](RecordSender) with
//! a producer's name goes on by itself on a new connection; after a restart, [`EventLog::producer`] says from where.

mod account;
mod batch;
mod hit;
mod keep;
mod pages;
mod prove;
mod record;
mod reveal;
mod stream;
mod tail;
mod terms;

pub use account::{Absence, Account, MAX_ABSENCES};
pub use batch::{ProvenRecords, RecordBatch, RecordedBatch};
pub use hit::Hit;
pub use keep::{Erased, ReportedClass, ReportedHold, ReportedRetention};
pub use pages::{Hits, Query};
pub use prove::{ProvenHit, ProvenHits};
pub use record::{ProvenRecord, Record, Recorded};
pub use reveal::{DisclosureRefused, MAX_REVEALED, RevealError, VerifiedDisclosure};
pub use stream::{
    RecordAcks, RecordClosed, RecordSender, RecordStreamError, RecordedRun, StreamOptions, WaitFor,
};
pub use tail::{Tail, TailOptions};

use std::ops::RangeInclusive;

use graven_event::Event;
use graven_proto::v1;

use crate::{Appender, CallError, Client, LogClient, call::call_audit};

/// A log of events, believed as far as its server is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventLog {
    log: Appender,
}

/// How far a producer's numbers have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerState {
    /// The largest number that was recorded; 0: none.
    pub last: u64,
    /// Numbers below it that are missing. The server names 1,024 ranges at most.
    pub missing: Vec<RangeInclusive<u64>>,
}

impl ProducerState {
    /// Whether this number was recorded.
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        (1..=self.last).contains(&number) && !self.missing.iter().any(|range| range.contains(&number))
    }
}

impl Client {
    /// The log of events with this name; an empty name means the server's only log. Nothing of it is verified, so no keys are needed.
    #[must_use]
    pub fn events(&self, name: impl Into<String>) -> EventLog {
        EventLog { log: self.appender(name) }
    }
}

impl LogClient {
    /// The same log, as far as its server is believed.
    #[must_use]
    pub fn events(&self) -> EventLog {
        EventLog { log: self.appender().clone() }
    }

    /// Records one event: say on the answer what to wait for.
    pub fn record(&self, event: Event) -> Record<'_, Self> {
        Record::new(self, event)
    }

    /// Records 1 to 1,024 events, all or none of them: say on the answer what to wait for.
    pub fn record_batch(&self, events: Vec<Event>) -> RecordBatch<'_, Self> {
        RecordBatch::new(self, events)
    }

    /// Finds events, each proven to be in the log before it is handed out.
    #[must_use]
    pub fn query(&self, query: Query) -> ProvenHits {
        ProvenHits::new(self.clone(), query)
    }
}

impl EventLog {
    /// The log's name, empty for the server's only log.
    #[must_use]
    pub fn name(&self) -> &str {
        self.log.name()
    }

    /// Records one event: say on the answer what to wait for.
    pub fn record(&self, event: Event) -> Record<'_, Appender> {
        Record::new(&self.log, event)
    }

    /// Records 1 to 1,024 events, all or none of them: say on the answer what to wait for.
    pub fn record_batch(&self, events: Vec<Event>) -> RecordBatch<'_, Appender> {
        RecordBatch::new(&self.log, events)
    }

    /// Opens a stream of events. Must be called within a tokio runtime. See [`RecordSender`].
    #[must_use]
    pub fn record_stream(&self, options: StreamOptions) -> (RecordSender, RecordAcks) {
        stream::open(&self.log, options)
    }

    /// How far the numbers of this caller's stream of events have come.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub async fn producer(&self, stream: &str) -> Result<ProducerState, CallError> {
        let request = v1::GetProducerRequest { log: self.name().to_owned(), stream: stream.to_owned() };
        let answer = call_audit(
            self.log.pool(),
            self.log.pool().retries(),
            &request,
            |mut audit, request| async move { audit.get_producer(request).await },
        )
        .await?;
        let missing = answer.missing.iter().map(|range| range.first..=range.last).collect();
        Ok(ProducerState { last: answer.last_sequence, missing })
    }

    /// Finds events, page by page.
    #[must_use]
    pub fn query(&self, query: Query) -> Hits {
        Hits::new(self.log.clone(), query)
    }

    /// Follows the log.
    #[must_use]
    pub fn tail(&self, options: TailOptions) -> Tail {
        Tail::new(self.log.clone(), options)
    }
}
