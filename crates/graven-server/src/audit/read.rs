//! `Query`, `Tail` and `Reveal`: each is in the access log before anything is told.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use graven_audit::{AuditError, Book, Deed, FOUND_BY, Opened, Page, Who};
use graven_event::query::Query;
use graven_event::{Facts, Group, Outcome, Time};
use graven_log::{AppendError, Head};
use graven_merkle::LeafIndex;
use graven_proto::Refusal;
use graven_proto::convert::event::timestamp;
use graven_proto::v1::{self, ErrorReason, MultiInclusionProof};
use tonic::{Request, Status};

use super::watch::Watch;
use super::{Admitted, Answers, admit, may, refuse, who};
use crate::access::Permission;
use crate::core::{Core, blocking};
use crate::log::wait;
use crate::message::tree_head;
use crate::refusal;

/// Hits of a page whose size was not said.
const DEFAULT_PAGE: u32 = 100;
/// Most events that are opened by one call.
const MAX_REVEALED: usize = 256;
/// Most bytes of one answer of disclosures, and of one message of a tail.
pub(crate) const ANSWER_BYTES: usize = 3 << 20;
/// Longest purpose of a reading, as it stands in the access log.
const MAX_PURPOSE_BYTES: usize = 256;
/// Leaves that a tail looks at in one go.
pub(crate) const TAIL_LEAVES: u64 = 256;

/// `Query`.
pub(super) async fn query(
    core: &Core,
    request: Request<v1::QueryRequest>,
) -> Result<v1::QueryResponse, Status> {
    let Admitted { audit, book } = admit(core, &request, &request.get_ref().log, Permission::Query)?;
    let visible = visible(core, &request, &book, request.get_ref().without_raw);
    let (deadline, who) = (wait::deadline(request.metadata()), who(&request));
    let asked = request.into_inner();
    let query = parse(&asked.query, core)?;
    check_size(&book, asked.min_size)?;
    let head = if asked.prove { Some(covering(core, &book, asked.min_size, deadline).await?) } else { None };
    let page = Page {
        size: usize::try_from(if asked.page_size == 0 { DEFAULT_PAGE } else { asked.page_size }).unwrap_or(1),
        token: token_bytes(&asked.page_token)?,
        min_size: asked.min_size,
        ascending: asked.ascending,
        below: head.as_ref().map(|head| head.size().get()),
    };
    let name = book.log().meta().name.as_str();
    let found = audit.find(name, query.clone(), page, visible.clone()).await;
    let found = found.map_err(|error| refuse(&error, core))?;
    let deed = Deed::new("graven.query", name)
        .with_all("query", &query.blinded(book.blinder()))
        .with("hits", found.hits.len())
        .with("size", found.complete_to)
        .with("revealed", !visible.is_empty());
    audit.note(&who, deed).await.map_err(|error| refuse(&error, core))?;
    let proof = match &head {
        Some(head) if !found.hits.is_empty() => {
            let indices = found.hits.iter().map(|hit| hit.index).collect();
            Some(prove(&book, indices, head.clone()).await?)
        }
        _ => None,
    };
    Ok(v1::QueryResponse {
        hits: found.hits.into_iter().map(hit).collect(),
        next_page_token: found.next.map(|next| hex(&next)).unwrap_or_default(),
        complete_to: found.complete_to,
        head: head.as_deref().map(tree_head),
        proof,
    })
}

/// `Tail`.
pub(super) async fn tail(
    core: &Arc<Core>,
    request: Request<v1::TailRequest>,
) -> Result<Answers<v1::TailResponse>, Status> {
    let Admitted { audit, book } = admit(core, &request, &request.get_ref().log, Permission::Query)?;
    let visible = visible(core, &request, &book, request.get_ref().without_raw);
    let who = who(&request);
    let asked = request.into_inner();
    let query = parse(&asked.query, core)?;
    let size = book.log().head().size().get();
    let next = if asked.from_now { size } else { asked.from_index };
    if next > size {
        let text = format!("index {next} is beyond the {size} published entries");
        return Err(Refusal::new(ErrorReason::IndexBeyondTree, text).with_fact("size", size).into());
    }
    let words = query.blinded(book.blinder());
    let deed = Deed::new("graven.tail.open", book.log().meta().name.as_str())
        .with_all("query", &words)
        .with("from", next)
        .with("revealed", !visible.is_empty());
    audit.note(&who, deed).await.map_err(|error| refuse(&error, core))?;
    let close = Closing { watch: core.watch.clone(), book, who, words, from: next, told: 0, next };
    let (core, text, ends) = (core.clone(), asked.query, asked.until_now);
    let following = Following { core, close, query, visible, text, ends };
    let answers = stream::try_unfold(following, |mut following| async move {
        Ok(following.step().await?.map(|answer| (answer, following)))
    });
    Ok(answers.boxed())
}

/// A tail under way.
struct Following {
    core: Arc<Core>,
    close: Closing,
    query: Query,
    visible: Vec<Group>,
    text: String,
    ends: bool,
}

impl Following {
    /// The next message: what matches among the leaves that are published, or `None` at the end.
    async fn step(&mut self) -> Result<Option<v1::TailResponse>, Status> {
        loop {
            let size = self.close.book.log().head().size().get();
            if self.close.next >= size {
                if self.ends {
                    return Ok(None);
                }
                self.wait(size).await?;
                continue;
            }
            let end = size.min(self.close.next + TAIL_LEAVES);
            let (book, range) = (self.close.book.clone(), self.close.next..end);
            let (query, visible) = (self.query.clone(), self.visible.clone());
            let core = self.core.clone();
            let (hits, next) = blocking(move || {
                matching(&book, range, &query, &visible).map_err(|error| refuse(&error, &core).into())
            })
            .await?;
            self.close.next = next;
            if hits.is_empty() && next < size {
                continue;
            }
            self.close.told += hits.len();
            return Ok(Some(v1::TailResponse { hits, next_index: next }));
        }
    }

    async fn wait(&mut self, size: u64) -> Result<(), Status> {
        let mut heads = self.close.book.log().watch();
        let mut draining = self.core.draining.clone();
        tokio::select! {
            grown = heads.wait_for(|head| head.size().get() > size) => {
                grown.map_err(|_| refusal::shutting_down())?;
            }
            _ = draining.wait_for(|draining| *draining) => return Err(refusal::shutting_down().into()),
        }
        // Spans count back from now, and now goes on.
        self.query = parse(&self.text, &self.core)?;
        Ok(())
    }
}

/// What a tail has told when it ends, however it ends.
struct Closing {
    watch: Watch,
    book: Arc<Book>,
    who: Who,
    words: String,
    from: u64,
    told: usize,
    next: u64,
}

impl Drop for Closing {
    fn drop(&mut self) {
        let deed = Deed::new("graven.tail.close", self.book.log().meta().name.as_str())
            .with_all("query", &self.words)
            .with("from", self.from)
            .with("to", self.next)
            .with("hits", self.told);
        self.watch.ended(std::mem::take(&mut self.who), deed);
    }
}

fn matching(
    book: &Book,
    range: std::ops::Range<u64>,
    query: &Query,
    visible: &[Group],
) -> Result<(Vec<v1::Hit>, u64), AuditError> {
    let (mut hits, mut bytes, mut next) = (Vec::new(), 0, range.start);
    // Whoever may see anything may see what events are found by.
    let seen = if visible.is_empty() { &FOUND_BY[..] } else { visible };
    for opened in book.open_range(range, seen)? {
        let opened = opened?;
        if opened.frame.as_ref().is_some_and(|frame| query.matches(frame, &opened.view)) {
            let opened = if visible.is_empty() { book.open_one(next, visible)? } else { opened };
            bytes += opened.bytes;
            if bytes > ANSWER_BYTES && !hits.is_empty() {
                return Ok((hits, next));
            }
            hits.push(hit(opened));
        }
        next += 1;
    }
    Ok((hits, next))
}

/// `Reveal`.
pub(super) async fn reveal(
    core: &Arc<Core>,
    request: Request<v1::RevealRequest>,
) -> Result<v1::RevealResponse, Status> {
    let Admitted { audit, book } = admit(core, &request, &request.get_ref().log, Permission::Reveal)?;
    let (deadline, who) = (wait::deadline(request.metadata()), who(&request));
    let asked = request.into_inner();
    let groups = groups(&asked.groups)?;
    check_indices(&asked.indices)?;
    check_purpose(&asked.purpose)?;
    let last = asked.indices.last().copied().unwrap_or(0);
    if last >= book.log().durable_size() {
        let size = book.log().durable_size();
        let text = format!("index {last} is beyond the {size} entries");
        return Err(Refusal::new(ErrorReason::IndexBeyondTree, text).with_fact("size", size).into());
    }
    let head = covering(core, &book, last + 1, deadline).await?;
    let indices = asked.indices.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let words: Vec<&str> = groups.iter().map(|group| group.as_str()).collect();
    let deed = Deed::new("graven.reveal", book.log().meta().name.as_str())
        .with("first", asked.indices.first().copied().unwrap_or(0))
        .with("last", last)
        .with("count", asked.indices.len())
        .with_all("indices", &indices)
        .with("groups", words.join(","))
        .because(&asked.purpose);
    audit.note(&who, deed).await.map_err(|error| refuse(&error, core))?;
    let failing = core.clone();
    let disclosures = blocking(move || {
        let (mut disclosures, mut bytes) = (Vec::<Bytes>::with_capacity(asked.indices.len()), 0);
        for index in &asked.indices {
            let text = book.disclose(*index, &groups, &head).map_err(|error| refuse(&error, &failing))?;
            bytes += text.len();
            if bytes > ANSWER_BYTES {
                let text =
                    "these disclosures are more than one answer holds: ask for fewer entries or groups at once";
                return Err(Refusal::new(ErrorReason::IndicesTooMany, text).with_field("indices").into());
            }
            disclosures.push(text.into());
        }
        Ok(disclosures)
    })
    .await?;
    Ok(v1::RevealResponse { disclosures })
}

/// What was not acknowledged yet is not waited for: callers would hold up threads for as long as they like.
fn check_size(book: &Book, min_size: u64) -> Result<(), Refusal> {
    let size = book.log().durable_size();
    if min_size <= size {
        return Ok(());
    }
    let text = format!("size {min_size} is beyond the {size} entries of the log");
    Err(Refusal::new(ErrorReason::SizeBeyondTree, text).with_field("min_size").with_fact("size", size))
}

fn check_purpose(purpose: &str) -> Result<(), Refusal> {
    if purpose.len() <= MAX_PURPOSE_BYTES {
        return Ok(());
    }
    let text = format!("a purpose has at most {MAX_PURPOSE_BYTES} bytes");
    Err(Refusal::new(ErrorReason::FieldInvalid, text)
        .with_field("purpose")
        .with_fact("limit", MAX_PURPOSE_BYTES))
}

fn check_indices(indices: &[u64]) -> Result<(), Refusal> {
    let refuse = |reason, text: &str| Err(Refusal::new(reason, text.to_owned()).with_field("indices"));
    match indices {
        [] => refuse(ErrorReason::IndicesEmpty, "name the entries to open"),
        many if many.len() > MAX_REVEALED => {
            let text = format!("at most {MAX_REVEALED} entries are opened at once");
            Err(Refusal::new(ErrorReason::IndicesTooMany, text)
                .with_field("indices")
                .with_fact("limit", MAX_REVEALED))
        }
        some if !some.is_sorted_by(|a, b| a < b) => {
            refuse(ErrorReason::IndicesUnsorted, "indices strictly increase")
        }
        _ => Ok(()),
    }
}

fn groups(words: &[String]) -> Result<Vec<Group>, Refusal> {
    if words.is_empty() {
        return Ok(Group::ALL.to_vec());
    }
    let known = || Group::ALL.map(Group::as_str).join(", ");
    let of = |word: &String| {
        let unknown =
            || Refusal::new(ErrorReason::GroupUnknown, format!("an event has the groups {}", known()));
        Group::named(word).ok_or_else(|| unknown().with_field("groups"))
    };
    words.iter().map(of).collect()
}

fn parse(text: &str, core: &Core) -> Result<Query, Refusal> {
    let now = SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = Time(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
    Query::parse(text, now).map_err(|error| refuse(&AuditError::Query(error), core))
}

/// The groups that a caller may see of hits.
fn visible<T>(core: &Core, request: &Request<T>, book: &Book, without_raw: bool) -> Vec<Group> {
    if !may(core, request, &book.log().meta().name, Permission::Reveal) {
        return Vec::new();
    }
    Group::ALL.into_iter().filter(|group| !without_raw || *group != Group::Raw).collect()
}

/// A head that covers everything that was acknowledged before the call.
pub(crate) async fn covering(
    core: &Core,
    book: &Book,
    min_size: u64,
    deadline: tokio::time::Instant,
) -> Result<Arc<Head>, Status> {
    let size = book.log().durable_size().max(min_size);
    match tokio::time::timeout_at(deadline, core.engine.published(book.log(), size)).await {
        Ok(Ok(head)) => Ok(head),
        Ok(Err(AppendError::Stopping)) => Err(refusal::shutting_down().into()),
        Ok(Err(error)) => Err(refusal::append(&error, core.idempotency_window).into()),
        Err(_) => {
            let published = book.log().head().size();
            let text = format!("no checkpoint covered {size} entries in time: the newest has {published}");
            let refusal = Refusal::new(ErrorReason::NotPublishedYet, text);
            Err(refusal.with_retry_after(Duration::from_secs(1)).into())
        }
    }
}

/// One proof of entries, some of which may be named twice, in no order.
pub(crate) async fn prove(
    book: &Arc<Book>,
    mut indices: Vec<u64>,
    head: Arc<Head>,
) -> Result<MultiInclusionProof, Status> {
    indices.sort_unstable();
    indices.dedup();
    let log = book.log().clone();
    blocking(move || {
        let indices: Option<Vec<_>> = indices.into_iter().map(LeafIndex::new).collect();
        let indices = indices.ok_or_else(refusal::damaged)?;
        let (_, proof) = log.multi(&indices, head.size()).map_err(|error| refusal::read(&error))?;
        Ok(MultiInclusionProof::from_merkle(&indices, head.size(), &proof))
    })
    .await
}

fn hit(opened: Opened) -> v1::Hit {
    let words = |groups: &[Group]| groups.iter().map(|group| group.as_str().to_owned()).collect();
    let mut hit = v1::Hit {
        index: opened.index,
        hidden: words(&opened.hidden),
        erased: words(&opened.erased),
        dropped: opened.is_dropped,
        missing: opened.is_missing,
        leaf: opened.leaf,
        kind: "statement".to_owned(),
        ..v1::Hit::default()
    };
    if let Some(frame) = opened.frame {
        hit.kind = frame.facts.kind_word().to_owned();
        hit.log_time = Some(timestamp(frame.log_time));
        hit.id = Bytes::copy_from_slice(&frame.id);
        if let Facts::Event(facts) = &frame.facts {
            let outcome = frame.outcome.unwrap_or(Outcome::Success);
            hit.event = Some(v1::Event::of_view(opened.view, facts, outcome));
        }
    }
    hit
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn token_bytes(text: &str) -> Result<Bytes, Refusal> {
    let invalid = || {
        Refusal::new(ErrorReason::PageTokenInvalid, "not a page token of this method")
            .with_field("page_token")
    };
    if text.is_empty() {
        return Ok(Bytes::new());
    }
    // As it was handed out, and in no other way.
    let token = u64::from_str_radix(text, 16).map(u64::to_be_bytes).map_err(|_| invalid())?;
    if hex(&token) == text { Ok(Bytes::copy_from_slice(&token)) } else { Err(invalid()) }
}
