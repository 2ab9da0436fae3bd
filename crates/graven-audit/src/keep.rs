//! Retention, holds and erasure: each decided by an entry first, then done.

use std::sync::Arc;
use std::time::Duration;

use graven_event::facts::{ErasureFacts, ExpiryFacts, HoldFacts, ReleaseFacts, RetentionFacts};
use graven_event::{Facts, Frame, LogState, Ref, Time};
use graven_log::AppendError;
use graven_merkle::LeafIndex;
use graven_vault::SubjectRef;

use crate::audit::Audit;
use crate::book::{Book, producer_name};
use crate::error::AuditError;
use crate::hook::{bare, refused};
use crate::record::{random, word};

/// How often it is looked whether a payload's time is over.
const INTERVAL: Duration = Duration::from_secs(60);
/// Longest name of a class.
const MAX_CLASS_BYTES: usize = 63;

/// Somebody was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The index of the entry that says so.
    pub index: u64,
    /// What stood for them.
    pub reference: Ref,
    /// The key store's epoch since then.
    pub epoch: u64,
}

impl Audit {
    /// Erases a person from a log. When this returns, an entry says so, their key is gone from the disk, and the index no longer finds
    /// them.
    ///
    /// # Errors
    /// Nobody of that name is known, or a hold forbids it; after others the entry may be there. Then a repeat completes it, and where the key is
    /// gone already the index forgets them behind.
    pub async fn erase(
        &self,
        book: &Arc<Book>,
        caller: &str,
        subject: &str,
        authority: &str,
    ) -> Result<Erased, AuditError> {
        let authority = word("authority", authority)?;
        let reference = book.named(subject).ok_or(AuditError::NoSubject)?;
        let _one_at_a_time = book.deciding.lock().await;
        // What was counted of them is written while they are known.
        let _closed = self.close_sums(book).await?;
        if let Some(hold) = book.state.lock().rules.hold_on(reference) {
            return Err(AuditError::Held(hold));
        }
        // What another call said of it must not be taken back by a crash once the key is gone.
        let said = self.durably(book, |state| state.rules.erased.get(&reference).copied()).await?;
        let index = match said {
            Some(index) => index,
            None => {
                let by = self.by(book, caller).await?;
                let facts = Facts::Erasure(ErasureFacts { erased: vec![reference], by, authority });
                self.decide(book, facts, by).await?
            }
        };
        let epoch = self.destroy(book, vec![reference]).await?;
        tracing::info!(log = %book.log.meta().name, index, epoch, "a person was erased");
        Ok(Erased { index, reference, epoch })
    }

    /// Destroys what a log says was erased: keys, then what the index knows. Repeating it does no harm.
    pub(crate) async fn destroy(&self, book: &Arc<Book>, erased: Vec<Ref>) -> Result<u64, AuditError> {
        let (vault, book) = (self.vault()?, book.clone());
        let destroy = move || {
            let doomed: Vec<_> = erased.iter().map(|one| (&book.realm, SubjectRef(one.0))).collect();
            let epoch = vault.erase(&doomed)?.epoch;
            book.index.erase(&erased)?;
            Ok(epoch)
        };
        tokio::task::spawn_blocking(destroy).await.map_err(|_| AuditError::Stopping)?
    }

    /// Says how long payloads of a class are kept; `None`: for ever. Returns the index of the entry.
    ///
    /// # Errors
    /// The class cannot be.
    pub async fn define_retention(
        &self,
        book: &Book,
        caller: &str,
        name: &str,
        keep: Option<Duration>,
    ) -> Result<u64, AuditError> {
        let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=MAX_CLASS_BYTES).contains(&name.len()) || !name.bytes().all(is_legal) {
            return Err(AuditError::BadClass("a class's name has 1 to 63 of a-z, 0-9 and -"));
        }
        if keep.is_some_and(|keep| keep.as_secs() == 0) {
            return Err(AuditError::BadClass("a class is kept for a second at least"));
        }
        let by = self.by(book, caller).await?;
        // Two names that are given a number at the same time must not be given the same one.
        let _one_at_a_time = book.deciding.lock().await;
        let class = {
            let rules = &book.state.lock().rules;
            let known = rules.class(name).or_else(|| rules.next_class());
            known.ok_or(AuditError::BadClass("this log has as many classes as fit"))?
        };
        let facts =
            RetentionFacts { class, name: word("name", name)?, seconds: keep.map(|keep| keep.as_secs()), by };
        self.decide(book, Facts::Retention(facts), by).await
    }

    /// Places a hold. Returns its number and the index of its entry.
    ///
    /// # Errors
    /// A person or class is not known.
    pub async fn place_hold(
        &self,
        book: &Book,
        caller: &str,
        subjects: &[String],
        classes: &[String],
        authority: &str,
    ) -> Result<(Ref, u64), AuditError> {
        let by = self.by(book, caller).await?;
        let of = |name: &String| book.named(name).ok_or(AuditError::NoSubject);
        let subjects = subjects.iter().map(of).collect::<Result<_, _>>()?;
        let class = |name: &String| book.state.lock().rules.class(name).ok_or(AuditError::NoClass);
        let classes = classes.iter().map(class).collect::<Result<_, _>>()?;
        let hold = Ref(random()?);
        let facts = HoldFacts { hold, subjects, classes, by, authority: word("authority", authority)? };
        Ok((hold, self.decide(book, Facts::Hold(facts), by).await?))
    }

    /// Lifts a hold. Returns the index of the entry.
    ///
    /// # Errors
    /// No such hold stands.
    pub async fn release_hold(
        &self,
        book: &Book,
        caller: &str,
        hold: Ref,
        authority: &str,
    ) -> Result<u64, AuditError> {
        let by = self.by(book, caller).await?;
        let facts = ReleaseFacts { hold, by, authority: word("authority", authority)? };
        self.decide(book, Facts::Release(facts), by).await
    }

    /// Drops payloads whose time is over, for as long as the server runs.
    pub async fn drop_expired(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            ticks.tick().await;
            for book in self.books() {
                if let Err(error) = self.expire(&book).await {
                    tracing::warn!(log = %book.log.meta().name, %error, "payloads whose time is over are not dropped yet");
                }
            }
        }
    }

    /// Drops what may go now: an entry first, then the files.
    ///
    /// # Errors
    /// The log cannot be read or written.
    pub async fn expire(&self, book: &Arc<Book>) -> Result<(), AuditError> {
        // A time that is being changed is not judged by what it was.
        let _one_at_a_time = book.deciding.lock().await;
        let now = self.now();
        let said = |state: &LogState| state.rules.clone();
        let rules = self.durably(book, said).await?;
        let (expiring, dropped) = (rules.expiring(now), &rules.dropped);
        // What an entry says is done, whatever a class is kept for since: the last run may have broken off before it was. A hold
        // that came between keeps what is still there.
        for (class, before) in dropped.iter().filter(|(class, _)| !rules.is_held(**class)) {
            self.drop_blobs(book, *class, *before).await?;
        }
        for (class, before) in expiring {
            let (log, from) = (book.clone(), dropped.get(&class).copied().unwrap_or(0));
            let first_kept = tokio::task::spawn_blocking(move || log.first_since(before, from));
            let first_kept = first_kept.await.map_err(|_| AuditError::Stopping)??;
            // Whole files of sealed entries go.
            let end = first_kept.min(book.log.sealed_size()) / 256 * 256;
            if end > from {
                let facts = Facts::Expiry(ExpiryFacts { class, before: end });
                match self.decide(book, facts, Ref::default()).await {
                    Err(AuditError::Append(AppendError::Refused(refusal)))
                        if refusal.code == refused::HELD =>
                    {
                        continue;
                    }
                    other => other?,
                };
                self.drop_blobs(book, class, end).await?;
            }
        }
        Ok(())
    }

    async fn drop_blobs(&self, book: &Arc<Book>, class: u8, before: u64) -> Result<(), AuditError> {
        if book.swept.lock().get(&class).is_some_and(|swept| *swept >= before) {
            return Ok(());
        }
        let (engine, log) = (self.engine.clone(), book.log.clone());
        let before = LeafIndex::new(before).ok_or(AuditError::Damaged(before))?;
        let dropped = tokio::task::spawn_blocking(move || engine.drop_blobs(&log, class, before));
        let files = dropped.await.map_err(|_| AuditError::Stopping)??;
        book.swept.lock().insert(class, before.get());
        if files > 0 {
            tracing::info!(log = %book.log.meta().name, class, files, before = before.get(), "payloads dropped: their time was over");
        }
        Ok(())
    }

    /// What stands for a caller who decides.
    pub(crate) async fn by(&self, book: &Book, caller: &str) -> Result<Ref, AuditError> {
        let by = book.subjects(&self.vault()?, vec![producer_name(caller, "")]).await?;
        Ok(by[0].reference)
    }

    pub(crate) async fn decide(&self, book: &Book, facts: Facts, by: Ref) -> Result<u64, AuditError> {
        let frame = Frame { producer: by, ..bare(facts, random()?) };
        Ok(self.append(book, &frame).await?.first)
    }
}

impl Book {
    /// The first leaf at or after a log time, from an index on: log time never falls.
    pub(crate) fn first_since(&self, time: Time, from: u64) -> Result<u64, AuditError> {
        let (mut low, mut high) = (from, self.log.durable_size());
        while low < high {
            let middle = low + (high - low) / 2;
            let opened = self.open_one(middle, &[])?;
            match opened.frame {
                Some(frame) if frame.log_time < time => low = middle + 1,
                // A statement has no time: it goes with what follows it.
                None if middle + 1 < high => {
                    let next = self.open_one(middle + 1, &[])?;
                    match next.frame {
                        Some(frame) if frame.log_time < time => low = middle + 2,
                        _ => high = middle,
                    }
                }
                _ => high = middle,
            }
        }
        Ok(low)
    }
}
