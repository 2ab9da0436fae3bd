//! Following the commands of a log, across broken connections.

use std::collections::VecDeque;

use graven_proto::v1;
use tonic::{Request, Status, Streaming};

use super::Step;
use crate::{Appender, CallError, ReadError};

/// The commands of a log in their order, refused ones too, as they are published.
#[derive(Debug)]
pub struct ScopeWatch {
    log: Appender,
    from: Option<u64>,
    messages: Option<Box<Streaming<v1::WatchScopesResponse>>>,
    ready: VecDeque<Step>,
    failures: u32,
    over: bool,
}

impl ScopeWatch {
    pub(super) fn new(log: Appender, from: Option<u64>) -> Self {
        Self { log, from, messages: None, ready: VecDeque::new(), failures: 0, over: false }
    }

    /// The next command. A broken connection is made anew, and goes on after what was looked at; what begins with the next new entry, and
    /// has not begun, is not: something may have been missed.
    ///
    /// # Errors
    /// See [`ReadError`]. Nothing comes after one: then this is `None`.
    pub async fn next(&mut self) -> Result<Option<Step>, ReadError> {
        while self.ready.is_empty() && !self.over {
            if let Err(error) = self.receive().await {
                self.over = true;
                return Err(error);
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Every entry below this index was looked at, once the commands that are ready are read; `None` before the first answer.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.from
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

    async fn attempt(&mut self) -> Result<Option<v1::WatchScopesResponse>, Status> {
        let messages = match &mut self.messages {
            Some(messages) => messages,
            None => {
                let request = v1::WatchScopesRequest {
                    log: self.log.name().to_owned(),
                    from_index: self.from.unwrap_or_default(),
                    from_now: self.from.is_none(),
                };
                let answer = self.log.pool().scope_service().watch(Request::new(request)).await?;
                self.messages.insert(Box::new(answer.into_inner()))
            }
        };
        messages.message().await
    }

    async fn again(&mut self, status: Status) -> Result<(), ReadError> {
        self.messages = None;
        self.failures += 1;
        let delay = self.log.pool().retries().delay_after(self.failures, &status);
        match delay.filter(|_| self.from.is_some()) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => return Err(CallError::new(status, self.failures).into()),
        }
        Ok(())
    }

    fn take(&mut self, message: v1::WatchScopesResponse) -> Result<(), ReadError> {
        let mut next = self.from.unwrap_or_default();
        for step in message.steps {
            let step = Step::of(step)?;
            if step.index().get() < next || step.index().get() >= message.next_index {
                return Err(ReadError::WrongAnswer("commands out of order"));
            }
            next = step.index().get() + 1;
            self.ready.push_back(step);
        }
        if message.next_index < next {
            return Err(ReadError::WrongAnswer("commands that go back"));
        }
        self.from = Some(message.next_index);
        Ok(())
    }
}
