//! A stream of heads, each consistent with the one before.

use graven_proto::v1;
use tonic::{Request, Streaming};

use crate::{CallError, HeadError, LogClient, VerifiedHead};

/// The heads of a log as they are published. A reader that is slow misses some, never the newest.
#[derive(Debug)]
pub struct Watch {
    log: LogClient,
    heads: Streaming<v1::WatchTreeHeadsResponse>,
    last: Option<VerifiedHead>,
}

impl LogClient {
    /// Follows the log's heads: the newest at once, then each newer one, and renewals of the same one.
    ///
    /// # Errors
    /// The server refuses, or the head store cannot be read.
    pub async fn watch(&self) -> Result<Watch, HeadError> {
        let last = self.follower().kept().await?;
        let request = Request::new(v1::WatchTreeHeadsRequest { log: self.name() });
        let answer = self.pool().log_service().watch_tree_heads(request).await;
        let heads = answer.map_err(|status| CallError::new(status, 1))?.into_inner();
        Ok(Watch { log: self.clone(), heads, last })
    }
}

impl Watch {
    /// The next head; `None` where the server ended the stream.
    ///
    /// # Errors
    /// See [`HeadError`]. After a [`HeadError::Call`], watch again; after any other, the log misbehaved.
    pub async fn next(&mut self) -> Option<Result<VerifiedHead, HeadError>> {
        let message = match self.heads.message().await {
            Ok(message) => message?,
            Err(status) => return Some(Err(CallError::new(status, 1).into())),
        };
        let head = self.log.follower().accept_message(message.head, self.last.as_ref()).await;
        if let Ok(head) = &head {
            self.last = Some(head.clone());
        }
        Some(head)
    }
}
