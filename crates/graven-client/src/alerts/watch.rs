//! Alerts as they are raised, across broken connections.

use std::collections::VecDeque;

use bytes::Bytes;
use graven_event::{Facts, Frame, Time};
use graven_merkle::LeafIndex;
use graven_proto::{convert::leaf_index, v1};
use tonic::{Request, Status, Streaming};

use crate::{Appender, CallError, ReadError, scopes::state::time};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Severity {
    Low = 1,
    Medium,
    High,
    Critical,
}

impl Severity {
    /// All of them, the worst last.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The one with this number, from 1.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| *severity as u8 == number)
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// A rule fired.
#[derive(Clone, Debug)]
pub struct Alert {
    index: Option<LeafIndex>,
    rule: String,
    rule_hash: [u8; 32],
    severity: Severity,
    leaves: Vec<u64>,
    count: u64,
    about: Vec<String>,
    log_time: Option<Time>,
    leaf: Bytes,
    state_size: u64,
}

impl Alert {
    /// Where its leaf stands; `None`: it was never raised, as it comes from a test of a rule.
    #[must_use]
    pub fn index(&self) -> Option<LeafIndex> {
        self.index
    }

    /// The rule's name.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// SHA-256 of the rule.
    #[must_use]
    pub fn rule_hash(&self) -> &[u8; 32] {
        &self.rule_hash
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The leaves that fired it, rising: at most 256.
    #[must_use]
    pub fn leaves(&self) -> &[u64] {
        &self.leaves
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whom it is about: names, or what stands for somebody whose key is gone.
    #[must_use]
    pub fn about(&self) -> &[String] {
        &self.about
    }

    /// When the log took it in.
    #[must_use]
    pub fn log_time(&self) -> Option<Time> {
        self.log_time
    }

    /// The bytes of its leaf; empty where it was never raised.
    #[must_use]
    pub fn leaf(&self) -> &Bytes {
        &self.leaf
    }

    /// The number of leaves at which it fired.
    #[must_use]
    pub fn state_size(&self) -> u64 {
        self.state_size
    }

    /// An alert of a message that was raised, where it is what its leaf says.
    fn raised(message: v1::Alert) -> Result<Self, ReadError> {
        let index = leaf_index("alert.index", message.index)?;
        let alert = Self::of(message)?;
        let frame = Frame::decode(&alert.leaf)?;
        let Facts::Alert(facts) = &frame.facts else {
            return Err(ReadError::WrongAnswer("an entry that is no alert"));
        };
        let is_so = facts.rule == alert.rule_hash
            && facts.name.as_str() == alert.rule
            && facts.severity == alert.severity as u8
            && facts.leaves == alert.leaves
            && facts.count.is_none_or(|count| count == alert.count)
            && facts.about.len() == alert.about.len()
            && facts.state_size == alert.state_size
            && alert.log_time == Some(frame.log_time);
        if !is_so || facts.leaves.iter().any(|leaf| *leaf >= index.get()) {
            return Err(ReadError::WrongAnswer("an alert that is not what its leaf says"));
        }
        Ok(Self { index: Some(index), ..alert })
    }

    /// An alert of a message, whatever its leaf.
    pub(super) fn of(message: v1::Alert) -> Result<Self, ReadError> {
        let severity = u8::try_from(message.severity).ok().and_then(Severity::of);
        let rule_hash = message.rule_hash[..].try_into();
        if !message.leaves.is_sorted_by(|one, next| one < next) {
            return Err(ReadError::WrongAnswer("leaves out of order"));
        }
        Ok(Self {
            index: None,
            rule_hash: rule_hash.map_err(|_| ReadError::WrongAnswer("a rule's hash that is none"))?,
            severity: severity.ok_or(ReadError::WrongAnswer("an alert that is not said to be how bad"))?,
            log_time: time("log_time", message.log_time)?,
            rule: message.rule,
            leaves: message.leaves,
            count: message.count,
            about: message.about,
            leaf: message.leaf,
            state_size: message.state_size,
        })
    }
}

/// Which alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlertOptions {
    /// The first index to look at; `None`: the next new entry's.
    pub from: Option<u64>,
    /// At least as bad as this; `None`: all.
    pub min_severity: Option<Severity>,
}

/// The alerts of a log in their order, as they are published.
#[derive(Debug)]
pub struct AlertWatch {
    log: Appender,
    options: AlertOptions,
    messages: Option<Box<Streaming<v1::WatchAlertsResponse>>>,
    ready: VecDeque<Alert>,
    failures: u32,
    over: bool,
}

impl AlertWatch {
    pub(super) fn new(log: Appender, options: AlertOptions) -> Self {
        Self { log, options, messages: None, ready: VecDeque::new(), failures: 0, over: false }
    }

    /// The next alert. A broken connection is made anew, and goes on after what was looked at; what begins with the next new entry, and has
    /// not begun, is not: something may have been missed.
    ///
    /// # Errors
    /// See [`ReadError`]. Nothing comes after one: then this is `None`.
    pub async fn next(&mut self) -> Result<Option<Alert>, ReadError> {
        while self.ready.is_empty() && !self.over {
            if let Err(error) = self.receive().await {
                self.over = true;
                return Err(error);
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Every entry below this index was looked at, once the alerts that are ready are read; `None` before the first answer.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.options.from
    }

    async fn receive(&mut self) -> Result<(), ReadError> {
        match self.attempt().await {
            Ok(Some(message)) => {
                self.failures = 0;
                self.take(message)
            }
            // The server ends what has no end when it stops.
            Ok(None) => self.again(Status::unavailable("the server ended the stream")).await,
            Err(status) => self.again(status).await,
        }
    }

    async fn attempt(&mut self) -> Result<Option<v1::WatchAlertsResponse>, Status> {
        let messages = match &mut self.messages {
            Some(messages) => messages,
            None => {
                let request = v1::WatchAlertsRequest {
                    log: self.log.name().to_owned(),
                    from_index: self.options.from.unwrap_or_default(),
                    from_now: self.options.from.is_none(),
                    min_severity: self.options.min_severity.map_or(0, |severity| severity as i32),
                };
                let answer = self.log.pool().alert_service().watch_alerts(Request::new(request)).await?;
                self.messages.insert(Box::new(answer.into_inner()))
            }
        };
        messages.message().await
    }

    async fn again(&mut self, status: Status) -> Result<(), ReadError> {
        self.messages = None;
        self.failures += 1;
        let delay = self.log.pool().retries().delay_after(self.failures, &status);
        match delay.filter(|_| self.options.from.is_some()) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => return Err(CallError::new(status, self.failures).into()),
        }
        Ok(())
    }

    fn take(&mut self, message: v1::WatchAlertsResponse) -> Result<(), ReadError> {
        let mut next = self.options.from.unwrap_or_default();
        for alert in message.alerts {
            let alert = Alert::raised(alert)?;
            let index = alert.index().map_or(0, LeafIndex::get);
            if index < next || index >= message.next_index {
                return Err(ReadError::WrongAnswer("alerts out of order"));
            }
            if self.options.min_severity.is_some_and(|least| alert.severity < least) {
                return Err(ReadError::WrongAnswer("an alert that was not asked for"));
            }
            next = index + 1;
            self.ready.push_back(alert);
        }
        if message.next_index < next {
            return Err(ReadError::WrongAnswer("alerts that go back"));
        }
        self.options.from = Some(message.next_index);
        Ok(())
    }
}
