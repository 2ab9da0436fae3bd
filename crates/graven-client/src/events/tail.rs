//! Following a log of events, across broken connections.

use std::collections::VecDeque;

use graven_proto::v1;
use tonic::{Request, Status, Streaming};

use super::Hit;
use crate::{Appender, CallError, ReadError};

/// What to follow, and from where.
#[derive(Clone, Debug, Default)]
pub struct TailOptions {
    /// The first index to look at; `None`: the next new entry's.
    pub from: Option<u64>,
    /// Only what this finds; empty: everything.
    pub query: String,
    /// End at the newest entry instead of waiting for more.
    pub until_now: bool,
    /// Leave out the records that events were made from.
    pub without_raw: bool,
}

/// The events of a log in their order, as they are published.
#[derive(Debug)]
pub struct Tail {
    log: Appender,
    options: TailOptions,
    messages: Option<Box<Streaming<v1::TailResponse>>>,
    ready: VecDeque<Hit>,
    failures: u32,
    over: bool,
}

impl Tail {
    pub(super) fn new(log: Appender, options: TailOptions) -> Self {
        Self { log, options, messages: None, ready: VecDeque::new(), failures: 0, over: false }
    }

    /// The next event; `None` at the newest one, where that is the end. A broken connection is made anew, and goes on after what was
    /// looked at; what begins with the next new entry, and has not begun, is not: something may have been missed.
    ///
    /// # Errors
    /// See [`ReadError`]. Nothing comes after one.
    pub async fn next(&mut self) -> Result<Option<Hit>, ReadError> {
        while self.ready.is_empty() && !self.over {
            if let Err(error) = self.receive().await {
                self.over = true;
                return Err(error);
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Every entry below this index was looked at, once the hits that are ready are read; `None` before the first answer.
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
            Ok(None) if self.options.until_now => {
                self.over = true;
                Ok(())
            }
            // The server ends what has no end when it stops.
            Ok(None) => self.again(Status::unavailable("the server ended the stream")).await,
            Err(status) => self.again(status).await,
        }
    }

    async fn attempt(&mut self) -> Result<Option<v1::TailResponse>, Status> {
        let messages = match &mut self.messages {
            Some(messages) => messages,
            None => {
                let request = v1::TailRequest {
                    log: self.log.name().to_owned(),
                    from_index: self.options.from.unwrap_or_default(),
                    from_now: self.options.from.is_none(),
                    query: self.options.query.clone(),
                    until_now: self.options.until_now,
                    without_raw: self.options.without_raw,
                };
                let answer = self.log.pool().audit_service().tail(Request::new(request)).await?;
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

    fn take(&mut self, message: v1::TailResponse) -> Result<(), ReadError> {
        let mut next = self.options.from.unwrap_or_default();
        for hit in message.hits {
            let hit = Hit::of(hit)?;
            if hit.index().get() < next || hit.index().get() >= message.next_index {
                return Err(ReadError::WrongAnswer("events out of order"));
            }
            next = hit.index().get() + 1;
            self.ready.push_back(hit);
        }
        if message.next_index < next {
            return Err(ReadError::WrongAnswer("events that go back"));
        }
        self.options.from = Some(message.next_index);
        Ok(())
    }
}
