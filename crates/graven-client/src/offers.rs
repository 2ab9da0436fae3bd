//! The heads of a log for a witness that comes to it, and what it brings back.
//!
//! ```text
//! the log has witnesses    WatchPending      what it wants cosigned, before it is published     AddCosignature
//! it has none              WatchTreeHeads    what it publishes                                  nothing is brought back
//! ```
//!
//! Nothing is verified here: a witness holds what comes to its own memory.

use bytes::Bytes;
use graven_merkle::{ConsistencyProof, TreeSize};
use graven_note::SignatureLine;
use graven_proto::{
    Refusal,
    convert::required,
    v1::{self, ErrorReason},
};
use tonic::{Code, Request, Status, Streaming};

use crate::{
    Appender, CallError, HeadError,
    call::call_witness,
    follow::{empty_proof, fetch_consistency},
};

/// The heads that a log offers to its witnesses. A reader that is slow misses some, never the newest.
#[derive(Debug)]
pub struct Offers {
    log: Appender,
    heads: Heads,
}

#[derive(Debug)]
enum Heads {
    Pending(Streaming<v1::WatchPendingResponse>),
    Published(Streaming<v1::WatchTreeHeadsResponse>),
}

impl Appender {
    /// Follows the heads that the log wants cosigned, where it has witnesses, and otherwise those that it publishes: the
    /// newest at once.
    ///
    /// # Errors
    /// The server refuses: pending heads are shown to those with the grant `witness` on the log.
    pub async fn offers(&self) -> Result<Offers, CallError> {
        let pool = self.pool();
        let request = Request::new(v1::WatchPendingRequest { log: self.name().to_owned() });
        let heads = match pool.witness_service().watch_pending(request).await {
            Ok(pending) => Heads::Pending(pending.into_inner()),
            Err(status) if knows_no_witnesses(&status) => {
                let request = Request::new(v1::WatchTreeHeadsRequest { log: self.name().to_owned() });
                let published = pool.log_service().watch_tree_heads(request).await;
                Heads::Published(published.map_err(|status| CallError::new(status, 1))?.into_inner())
            }
            Err(status) => return Err(CallError::new(status, 1)),
        };
        Ok(Offers { log: self.clone(), heads })
    }
}

impl Offers {
    /// The next head's checkpoint note, not verified; `None` where the server ended the stream.
    ///
    /// # Errors
    /// The server broke off, or its answer is malformed.
    pub async fn next(&mut self) -> Option<Result<Bytes, HeadError>> {
        let message = match &mut self.heads {
            Heads::Pending(heads) => heads.message().await.map(|it| it.map(|message| message.head)),
            Heads::Published(heads) => heads.message().await.map(|it| it.map(|message| message.head)),
        };
        let head = match message {
            Ok(message) => required("head", message?),
            Err(status) => return Some(Err(CallError::new(status, 1).into())),
        };
        Some(head.map(|head| head.checkpoint).map_err(HeadError::from))
    }

    /// The server's proof that the tree of `from` entries begins that of `to`, at most the newest that it offered. Not
    /// verified.
    ///
    /// # Errors
    /// The server refuses, or its answer is malformed.
    pub async fn consistency(&self, from: TreeSize, to: TreeSize) -> Result<ConsistencyProof, HeadError> {
        if matches!(self.heads, Heads::Published(_)) {
            return Ok(fetch_consistency(&self.log, from, to).await?);
        }
        if let Some(empty) = empty_proof(from, to) {
            return Ok(empty);
        }
        let request = v1::GetPendingConsistencyRequest {
            log: self.log.name().to_owned(),
            first_size: from.get(),
            second_size: to.get(),
        };
        let pool = self.log.pool();
        let answer = call_witness(pool, pool.retries(), &request, |mut witness, request| async move {
            witness.get_pending_consistency(request).await
        });
        Ok(required("proof", answer.await?.proof)?.to_merkle()?)
    }

    /// Brings cosignatures over the head of this size back to the log. `false`: it did not want them, or not any more.
    ///
    /// # Errors
    /// The server refuses: it knows none of the keys, or a cosignature does not verify.
    pub async fn bring(&self, size: TreeSize, lines: &[SignatureLine]) -> Result<bool, CallError> {
        if matches!(self.heads, Heads::Published(_)) {
            return Ok(false);
        }
        let request = v1::AddCosignatureRequest {
            log: self.log.name().to_owned(),
            tree_size: size.get(),
            signatures: lines.iter().map(ToString::to_string).collect::<String>().into(),
        };
        let pool = self.log.pool();
        let answer = call_witness(pool, pool.retries(), &request, |mut witness, request| async move {
            witness.add_cosignature(request).await
        });
        match answer.await {
            Ok(_) => Ok(true),
            // Its round is over.
            Err(error) if error.reason() == Some(ErrorReason::NotPending) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn knows_no_witnesses(status: &Status) -> bool {
    let reason = Refusal::of(status).map(|refusal| refusal.reason());
    reason == Some(ErrorReason::WitnessPolicyMissing) || status.code() == Code::Unimplemented
}
