//! Following what is new in a log of events: from an index on, message by message, until its reader goes, its credentials are over or the
//! server stops. The access log has its beginning before anything is told, and its end.

use std::ops::Range;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use graven_audit::{Audit, Book, Deed, Who};
use graven_proto::Refusal;
use graven_proto::v1::ErrorReason;
use prost::Message;
use tonic::{Request, Status};

use crate::audit::read::{ANSWER_BYTES, TAIL_LEAVES};
use crate::audit::watch::Watch;
use crate::audit::{Admitted, Answers, refuse, who};
use crate::core::Core;
use crate::refusal;

/// What there is in a range, looked at from its start on.
pub(crate) struct Seen<T> {
    /// Nothing where it need not be told.
    pub(crate) message: Option<T>,
    /// How many it tells of.
    pub(crate) count: usize,
    /// Every leaf below this was looked at: beyond the start of the range.
    pub(crate) next: u64,
}

type Look<T> = Box<dyn Fn(Range<u64>) -> BoxFuture<'static, Result<Seen<T>, Status>> + Send + Sync>;

/// Where a reader wants to begin.
#[derive(Clone, Copy)]
pub(crate) struct From {
    pub(crate) index: u64,
    pub(crate) now: bool,
}

/// Words of the catalogue for its two entries.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    pub(crate) open: &'static str,
    pub(crate) close: &'static str,
}

/// As many of what was found, with their indices, as one message holds, and up to where they were looked for then.
pub(crate) fn fitting<M: Message>(found: impl IntoIterator<Item = (u64, M)>, next: u64) -> (Vec<M>, u64) {
    let (mut fitting, mut room) = (Vec::new(), ANSWER_BYTES);
    for (index, one) in found {
        let bytes = one.encoded_len();
        if bytes > room && !fitting.is_empty() {
            // It comes first in the next message.
            return (fitting, index);
        }
        room = room.saturating_sub(bytes);
        fitting.push(one);
    }
    (fitting, next)
}

/// Opens it: `look` tells what is in a range.
pub(crate) async fn open<R, T: Send + 'static>(
    core: &Arc<Core>,
    request: &Request<R>,
    admitted: Admitted,
    from: From,
    words: Words,
    look: Look<T>,
) -> Result<Answers<T>, Status> {
    let Admitted { audit, book } = admitted;
    let who = who(request);
    let size = book.log().head().size().get();
    let next = if from.now { size } else { from.index };
    if next > size {
        let text = format!("index {next} is beyond the {size} published entries");
        return Err(Refusal::new(ErrorReason::IndexBeyondTree, text).with_fact("size", size).into());
    }
    note(core, &audit, &book, &who, words.open, next).await?;
    let close =
        Closing { watch: core.watch.clone(), book, who, word: words.close, from: next, told: 0, next };
    let following = Following { core: core.clone(), close, look };
    let answers = stream::try_unfold(following, |mut following| async move {
        Ok(Some((following.step().await?, following)))
    });
    Ok(answers.boxed())
}

async fn note(
    core: &Core,
    audit: &Audit,
    book: &Book,
    who: &Who,
    word: &'static str,
    from: u64,
) -> Result<(), Status> {
    let deed = Deed::new(word, book.log().meta().name.as_str()).with("from", from);
    audit.note(who, deed).await.map(drop).map_err(|error| refuse(&error, core).into())
}

struct Following<T> {
    core: Arc<Core>,
    close: Closing,
    look: Look<T>,
}

impl<T> Following<T> {
    async fn step(&mut self) -> Result<T, Status> {
        loop {
            let size = self.close.book.log().head().size().get();
            if self.close.next >= size {
                self.wait(size).await?;
                continue;
            }
            let end = size.min(self.close.next + TAIL_LEAVES);
            let Seen { message, count, next } = (self.look)(self.close.next..end).await?;
            self.close.next = next;
            if let Some(message) = message {
                self.close.told += count;
                return Ok(message);
            }
        }
    }

    async fn wait(&self, size: u64) -> Result<(), Status> {
        let mut heads = self.close.book.log().watch();
        let mut draining = self.core.draining.clone();
        tokio::select! {
            grown = heads.wait_for(|head| head.size().get() > size) => {
                grown.map(drop).map_err(|_| refusal::shutting_down().into())
            }
            _ = draining.wait_for(|draining| *draining) => Err(refusal::shutting_down().into()),
        }
    }
}

/// What was told when it ends, however it ends.
struct Closing {
    watch: Watch,
    book: Arc<Book>,
    who: Who,
    word: &'static str,
    from: u64,
    told: usize,
    next: u64,
}

impl Drop for Closing {
    fn drop(&mut self) {
        let deed = Deed::new(self.word, self.book.log().meta().name.as_str())
            .with("from", self.from)
            .with("to", self.next)
            .with("hits", self.told);
        self.watch.ended(std::mem::take(&mut self.who), deed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_a_message_comes_in_the_next_one() {
        let of = |bytes: usize| "x".repeat(bytes);
        let (some, next) = fitting([(3, of(10)), (5, of(ANSWER_BYTES)), (9, of(1))], 20);
        assert_eq!((some.len(), next), (1, 5));
        // One that is too long by itself goes alone.
        let (some, next) = fitting([(5, of(ANSWER_BYTES + 10)), (9, of(1))], 20);
        assert_eq!((some.len(), next), (1, 9));
        assert_eq!(fitting([(3, of(1)), (4, of(1))], 20).1, 20);
        assert_eq!(fitting(Vec::<(u64, String)>::new(), 20).1, 20);
    }
}
