//! Opening leaves, finding them, and following what is new.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_event::disclosure::{Disclosure, Shown};
use graven_event::facts::{DecisionFacts, Ref};
use graven_event::payload::{OpenError, Payload};
use graven_event::query::{Query, Term, terms};
use graven_event::{Facts, Frame, Group, Party, View};
use graven_index::events::{Cursor, Entry, Page as IndexPage, Source, SourceError};
use graven_log::Head;
use graven_merkle::{Hash, LeafIndex, leaf_hash};
use graven_note::TlogProof;

use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;
use crate::hook::is_statement;

/// How long a question waits for the index to have read what was acknowledged before it.
const INDEX_PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of one page as it is told, so that an answer fits a message: what is sealed may be a thousandth of that.
const PAGE_BYTES: usize = 2 << 20;
/// Most bytes that are read at once.
const READ_BYTES: usize = 4 << 20;
/// Most leaves that one page looks at: what an index still knows of dropped payloads must not hold up a thread. A page may be empty and have
/// a next one.
const MAX_LOOKED: usize = 4096;
/// The groups by which events are found: all but the long ones.
pub const FOUND_BY: [Group; 6] =
    [Group::Actor, Group::Targets, Group::Token, Group::Context, Group::Decision, Group::Origin];

/// A leaf, as far as it can be opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its index.
    pub index: u64,
    /// Its bytes.
    pub leaf: Bytes,
    /// What they say; `None`: a statement about the log's keys.
    pub frame: Option<Frame>,
    /// What the opened groups say.
    pub view: View,
    /// Groups that there are and that were not opened.
    pub hidden: Vec<Group>,
    /// Groups whose keys are gone.
    pub erased: Vec<Group>,
    /// The payload was dropped when its time was over: an entry says so.
    pub is_dropped: bool,
    /// The payload ought to be there and is not; a damaged one is an error.
    pub is_missing: bool,
    /// What an answer takes that tells it: the leaf, what it says, and what was opened of the payload.
    pub bytes: usize,
}

/// Which part of an answer is wanted.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Most hits: 1 to 1,000.
    pub size: usize,
    /// Of the page before; empty: the first.
    pub token: Bytes,
    /// The answer must be complete for so many leaves.
    pub min_size: u64,
    /// Oldest first.
    pub ascending: bool,
    /// Only leaves below this; `None`: all.
    pub below: Option<u64>,
}

/// A page of an answer.
#[derive(Clone, Debug)]
pub struct Found {
    /// The hits, in order.
    pub hits: Vec<Opened>,
    /// The next page; `None`: there is none.
    pub next: Option<[u8; 8]>,
    /// Every leaf below this was looked at.
    pub complete_to: u64,
}

impl Opened {
    /// A leaf, without its payload.
    pub(crate) fn closed(index: u64, leaf: Bytes) -> Self {
        Self {
            index,
            bytes: 2 * leaf.len(),
            frame: Frame::decode(&leaf).ok(),
            leaf,
            view: View::default(),
            hidden: Vec::new(),
            erased: Vec::new(),
            is_dropped: false,
            is_missing: false,
        }
    }
}

impl Book {
    /// Opens leaves of a range within the durable size: some from its start on, at least one. Each is opened when it is asked for: payloads
    /// are small only while they are sealed.
    ///
    /// # Errors
    /// The log cannot be read; and of each, its payload is not the one that its leaf commits to.
    pub fn open_range<'a>(
        &'a self,
        range: Range<u64>,
        groups: &'a [Group],
    ) -> Result<impl Iterator<Item = Result<Opened, AuditError>> + 'a, AuditError> {
        let leaves = self.log.durable_entries(range.clone())?;
        let end = range.start + leaves.len() as u64;
        let payloads = self.log.attachments(range.start..end, READ_BYTES)?;
        let numbered = leaves.into_iter().zip(payloads).zip(range.start..);
        Ok(numbered.map(|((leaf, payload), index)| self.open(index, leaf, payload, groups)))
    }

    /// Opens one leaf.
    ///
    /// # Errors
    /// As [`open_range`](Self::open_range).
    pub fn open_one(&self, index: u64, groups: &[Group]) -> Result<Opened, AuditError> {
        self.open_range(index..index + 1, groups)?.next().ok_or(AuditError::Damaged(index))?
    }

    fn open(
        &self,
        index: u64,
        leaf: Bytes,
        attachment: Option<Bytes>,
        groups: &[Group],
    ) -> Result<Opened, AuditError> {
        let mut opened = Opened::closed(index, leaf);
        let Some(frame) = &opened.frame else {
            return is_statement(&opened.leaf).then_some(opened).ok_or(AuditError::Damaged(index));
        };
        let Some(claimed) = &frame.payload else {
            if let Facts::Decision(decision) = &frame.facts {
                let named = self.parties(decision);
                for (group, party) in named {
                    match party {
                        _ if !groups.contains(&group) => opened.hidden.push(group),
                        None => opened.erased.push(group),
                        Some(party) => show(&mut opened.view, group, party),
                    }
                }
            }
            return Ok(opened);
        };
        let Some(attachment) = attachment else {
            let dropped = self.state.lock().rules.dropped.get(&frame.retention).copied();
            opened.is_dropped = dropped.is_some_and(|before| index < before);
            opened.is_missing = !opened.is_dropped;
            return Ok(opened);
        };
        let damaged = |_| AuditError::Damaged(index);
        let payload =
            Payload::of(attachment.get(1..).unwrap_or_default(), &frame.id, claimed).map_err(damaged)?;
        for group in payload.groups() {
            if !groups.contains(&group) {
                opened.hidden.push(group);
                continue;
            }
            match payload.open(group, &self.keys.group, |reference| self.key_of(reference)) {
                Ok(text) => {
                    opened.bytes += text.text.len();
                    opened.view.add(group, &text.text).map_err(|_| AuditError::Damaged(index))?;
                }
                Err(OpenError::Erased { .. }) => opened.erased.push(group),
                Err(_) => return Err(AuditError::Damaged(index)),
            }
        }
        Ok(opened)
    }

    /// Whom a decision without payload is about, in the groups that they would be in: by name, as long as that is known.
    fn parties(&self, decision: &DecisionFacts) -> Vec<(Group, Option<Party>)> {
        let actor = decision.subject.unwrap_or(decision.client);
        vec![(Group::Actor, self.name_of(actor)), (Group::Token, self.name_of(decision.client))]
    }

    /// The disclosure of chosen groups of a leaf, under a head that covers it. What was erased or dropped is not in it.
    ///
    /// # Errors
    /// As [`open_range`](Self::open_range).
    pub fn disclose(&self, index: u64, groups: &[Group], head: &Head) -> Result<String, AuditError> {
        let at = LeafIndex::new(index).ok_or(AuditError::Damaged(index))?;
        let leaf = self.log.durable_entries(index..index + 1)?.pop().ok_or(AuditError::Damaged(index))?;
        let frame = Frame::decode(&leaf).ok();
        let shown = match frame.as_ref().and_then(|frame| Some((frame.id, frame.payload?))) {
            None => None,
            Some((id, claimed)) => self.shown(at, &id, &claimed, groups)?,
        };
        let (_, proof) = self.log.inclusion(at, head.size())?;
        let damaged = || AuditError::Damaged(index);
        let note = std::str::from_utf8(&head.note).map_err(|_| damaged())?;
        let proof = TlogProof::new(at, proof, note).map_err(|_| damaged())?.to_string();
        Ok(Disclosure { leaf: leaf.to_vec(), groups: shown, proof }.to_string())
    }

    fn shown(
        &self,
        index: LeafIndex,
        id: &[u8; 16],
        claimed: &graven_event::PayloadId,
        groups: &[Group],
    ) -> Result<Option<[Shown; 8]>, AuditError> {
        let Some(attachment) = self.log.attachment(index)? else { return Ok(None) };
        let damaged = || AuditError::Damaged(index.get());
        let payload =
            Payload::of(attachment.get(1..).unwrap_or_default(), id, claimed).map_err(|_| damaged())?;
        let hashes = payload.hashes();
        let mut shown = hashes.map(Shown::Hash);
        for (group, place) in Group::ALL.into_iter().zip(&mut shown) {
            if !groups.contains(&group) {
                continue;
            }
            match payload.open(group, &self.keys.group, |reference| self.key_of(reference)) {
                Ok(opened) => *place = Shown::Group(opened),
                Err(OpenError::Absent(_) | OpenError::Erased { .. }) => {}
                Err(_) => return Err(damaged()),
            }
        }
        Ok(Some(shown))
    }

    /// A page of what a question finds, each hit held against the question again. It holds up the thread.
    ///
    /// # Errors
    /// The index has not read far enough in time, or something cannot be read.
    pub fn find(&self, query: &Query, page: &Page, visible: &[Group]) -> Result<Found, AuditError> {
        let wanted = self.log.durable_size().max(page.min_size);
        if !self.index.wait_for(wanted, INDEX_PATIENCE) {
            return Err(AuditError::Behind { position: self.index.position() });
        }
        let plan = query.plan(&self.keys.blinder);
        let after = match &page.token[..] {
            [] => None,
            token => Some(Cursor::from_bytes(token).ok_or(AuditError::PageToken)?),
        };
        let limit = page.size.clamp(1, graven_index::events::MAX_PAGE);
        let (mut found, mut after, mut bytes, mut looked) = (Vec::new(), after, 0, 0);
        let mut complete_to = page.below.unwrap_or(u64::MAX);
        loop {
            let wish = IndexPage { after, limit: limit - found.len(), newest_first: !page.ascending };
            let hits = self.index.search(&plan, wish)?;
            // What came since the first look was not looked at.
            complete_to = complete_to.min(hits.complete_to);
            let end = |found, next: Option<Cursor>| {
                Ok(Found { hits: found, next: next.map(Cursor::to_bytes), complete_to })
            };
            for index in hits.indices {
                looked += 1;
                if page.below.is_some_and(|below| index >= below) {
                    if page.ascending {
                        return end(found, None);
                    }
                    continue;
                }
                let mut hit = self.open_one(index, &[&FOUND_BY[..], visible].concat())?;
                if !hit.frame.as_ref().is_some_and(|frame| query.matches(frame, &hit.view)) {
                    continue;
                }
                if !visible.contains(&Group::Actor) || visible.len() < FOUND_BY.len() {
                    hit = self.open_one(index, visible)?;
                }
                bytes += hit.bytes;
                if bytes > PAGE_BYTES && !found.is_empty() {
                    let last = found.last().map(|hit: &Opened| hit.index.to_be_bytes());
                    return end(found, last.and_then(|last| Cursor::from_bytes(&last)));
                }
                found.push(hit);
            }
            after = hits.next;
            if after.is_none() || found.len() >= limit || looked >= MAX_LOOKED {
                return end(found, after);
            }
        }
    }
}

impl Audit {
    /// As [`Book::find`], without holding up the caller's thread.
    ///
    /// # Errors
    /// As there.
    pub async fn find(
        self: &Arc<Self>,
        log: &str,
        query: Query,
        page: Page,
        visible: Vec<Group>,
    ) -> Result<Found, AuditError> {
        let book = self.book(log).ok_or(AuditError::Stopping)?;
        let find = move || book.find(&query, &page, &visible);
        tokio::task::spawn_blocking(find).await.map_err(|_| AuditError::Stopping)?
    }
}

/// What the index of a book is made from.
pub(crate) struct Leaves {
    pub(crate) book: Arc<Book>,
    pub(crate) is_full: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Source for Leaves {
    fn size(&self) -> u64 {
        self.book.log.durable_size()
    }

    fn entries(&self, from: u64, to: u64) -> Result<Vec<Entry>, SourceError> {
        let leaves = self.book.log.durable_entries(from..to)?;
        let end = from + leaves.len() as u64;
        let payloads = self.book.log.attachments(from..end, READ_BYTES)?;
        let numbered = leaves.into_iter().zip(payloads).zip(from..);
        Ok(numbered.map(|((leaf, payload), index)| self.entry(index, &leaf, payload.as_ref())).collect())
    }

    fn leaf_hash(&self, index: u64) -> Option<Hash> {
        let leaf = self.book.log.durable_entries(index..index + 1).ok()?.pop()?;
        Some(leaf_hash(&leaf))
    }

    fn is_disk_full(&self) -> bool {
        (self.is_full)()
    }
}

impl Leaves {
    fn entry(&self, index: u64, leaf: &Bytes, attachment: Option<&Bytes>) -> Entry {
        let hash = leaf_hash(leaf);
        let Ok(frame) = Frame::decode(leaf) else {
            return Entry { index, leaf: hash, logged: 0, happened: None, terms: Vec::new() };
        };
        let terms = self.book.fresh.take(&frame.id);
        let terms = terms.unwrap_or_else(|| self.terms(index, &frame, attachment));
        let happened = match &frame.facts {
            Facts::Event(facts) => facts.event_time,
            _ => None,
        };
        Entry { index, leaf: hash, logged: frame.log_time.0, happened, terms }
    }

    /// What a leaf is found by, as far as its payload opens.
    fn terms(&self, index: u64, frame: &Frame, attachment: Option<&Bytes>) -> Vec<Term> {
        let (mut view, mut owners): (View, Vec<(Group, Vec<Ref>)>) = (View::default(), Vec::new());
        let body = attachment.and_then(|bytes| bytes.get(1..));
        if let (Some(claimed), Some(body)) = (&frame.payload, body) {
            match Payload::of(body, &frame.id, claimed) {
                Ok(payload) => {
                    let key_of = |reference| self.book.key_of(reference);
                    for (group, people) in payload.owners().filter(|(group, _)| FOUND_BY.contains(group)) {
                        let Ok(text) = payload.open(group, &self.book.keys.group, key_of) else { continue };
                        if view.add(group, &text.text).is_ok() {
                            owners.push((group, people.to_vec()));
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(log = %self.book.log.meta().name, index, %error, "not indexed by what it says");
                }
            }
        }
        if let (None, Facts::Decision(decision)) = (&frame.payload, &frame.facts) {
            let actor = decision.subject.unwrap_or(decision.client);
            for ((group, party), whose) in
                self.book.parties(decision).into_iter().zip([actor, decision.client])
            {
                if let Some(party) = party {
                    show(&mut view, group, party);
                    owners.push((group, vec![whose]));
                }
            }
        }
        let owners = owners.iter().map(|(group, references)| (*group, &references[..]));
        terms(frame, &view, owners, &self.book.keys.blinder)
    }
}

/// Puts somebody where the payload of a decision would have them.
fn show(view: &mut View, group: Group, party: Party) {
    match group {
        Group::Actor => view.actor = Some(party),
        _ => view.client = Some(party),
    }
}
