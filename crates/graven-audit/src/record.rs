//! Recording: from an event to a durable leaf with its sealed payload.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use graven_event::facts::{EventFacts, RejectedFacts};
use graven_event::group::parties;
use graven_event::payload::{Sealer, Subject};
use graven_event::producers::Producer;
use graven_event::query::{Term, terms};
use graven_event::{
    Event, Facts, Frame, Invalid, LogState, Malformed, Party, Ref, Time, Unplaced, View, Word,
};
use graven_log::{AppendError, Draft, IdempotencyKey, Patience, Sequenced};
use tokio::sync::oneshot;

use crate::audit::Audit;
use crate::book::{Book, content, keyed, producer_name, short};
use crate::error::AuditError;
use crate::hook::{bare, refused};
use crate::read::FOUND_BY;

/// How often and how long an event waits for the erasure of somebody in it: a change of epoch takes seconds at most.
pub(crate) const ERASURE_TRIES: u32 = 200;
pub(crate) const ERASURE_PAUSE: Duration = Duration::from_millis(50);

thread_local! {
    /// The packer's memory, kept from event to event.
    static SEALER: RefCell<Sealer> = RefCell::default();
}

/// What a caller wants recorded.
#[derive(Debug)]
pub struct Request<'a> {
    /// Who calls: the name of its credentials.
    pub caller: &'a str,
    /// The events, all or none, as they were handed in.
    pub events: Vec<Event>,
    /// What the call knows and an event may not say: not of its content, so that a repeat is the same by whatever way it comes.
    pub call: Call<'a>,
    /// The producer's numbers.
    pub numbered: Option<Numbered<'a>>,
    /// Names the request, so that a repeat is recognised. With numbers it is not needed.
    pub key: Option<IdempotencyKey<'a>>,
    /// The retention class's name; empty: the default.
    pub retention: &'a str,
    /// What happens when there is no room.
    pub patience: Patience,
    /// Comes once what must be recorded before these is. Sealing goes on meanwhile; if it never comes, these are not recorded.
    pub after: Option<oneshot::Receiver<()>>,
}

/// What is known of a call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// Its number.
    pub request_id: Option<&'a str>,
    /// The address that it came from.
    pub ip: Option<&'a str>,
}

impl Call<'_> {
    /// Completes an event. One that was made from a record says what that says, and nothing else.
    fn complete(self, event: &mut Event) {
        if event.raw.is_some() {
            return;
        }
        let context = &mut event.context;
        context.ip = context.ip.take().or_else(|| self.ip.map(str::to_owned));
        // Headers may be longer than a text.
        let request_id = self.request_id.filter(|id| id.len() <= graven_event::MAX_TEXT_BYTES);
        context.request_id = context.request_id.take().or_else(|| request_id.map(str::to_owned));
    }
}

/// A producer's own numbers.
#[derive(Clone, Copy, Debug)]
pub struct Numbered<'a> {
    /// Which stream of the caller's.
    pub stream: &'a str,
    /// The number of the first event; the others' follow.
    pub first: u64,
}

/// Where events are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// As for any entry.
    pub sequenced: Sequenced,
}

impl Audit {
    /// Records events, and returns once they are durable. What is no event leaves an entry that says so, and is refused.
    ///
    /// # Errors
    /// Nothing was recorded, except where the engine's word is that it cannot be known.
    pub async fn record(&self, book: &Book, mut request: Request<'_>) -> Result<Recorded, AuditError> {
        let now = self.now();
        for (position, event) in request.events.iter().enumerate() {
            if let Err(invalid) = event.check(now) {
                self.reject(book, request.caller, &content(event), &invalid).await?;
                return Err(AuditError::Invalid { position, invalid });
            }
        }
        let class = book.state.lock().rules.class(request.retention).ok_or(AuditError::NoClass)?;
        let contents: Vec<Vec<u8>> = match (&request.numbered, &request.key) {
            (None, None) => Vec::new(),
            _ => request.events.iter().map(content).collect(),
        };
        request.events.iter_mut().for_each(|event| request.call.complete(event));
        let mut tries = 0;
        loop {
            let recorded = self.record_checked(book, &mut request, class, &contents, now).await;
            tries += 1;
            match recorded {
                // Somebody was erased while their event was being sealed. They are new, once their key is gone.
                Err(AuditError::Append(AppendError::Refused(refusal)))
                    if refusal.code == refused::STALE && tries < ERASURE_TRIES =>
                {
                    tokio::time::sleep(ERASURE_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    async fn record_checked(
        &self,
        book: &Book,
        request: &mut Request<'_>,
        class: u8,
        contents: &[Vec<u8>],
        now: Time,
    ) -> Result<Recorded, AuditError> {
        let people = self.people(book, request).await?;
        let stream = request.numbered.map_or("", |numbered| numbered.stream);
        let producer = people[&producer_name(request.caller, stream)].reference;
        let mut drafts = Vec::with_capacity(request.events.len());
        let mut to_find = Vec::with_capacity(request.events.len());
        for (event, offset) in request.events.iter().zip(0..) {
            let sequence = request.numbered.map_or(0, |numbered| numbered.first.saturating_add(offset));
            let made = draft(book, event, Place { producer, sequence, class }, &people)?;
            drafts.push(made.draft);
            to_find.push((made.id, made.terms));
        }
        let parts: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
        // A number is a name too: while the window remembers it, a repeat is told its index. Nobody else can guess that name
        // and take it before.
        let numbers = request.numbered.map(|numbered| {
            let number = [&producer.0[..], &numbered.first.to_be_bytes()].concat();
            hex(&book.keys.pseudonym("number", &number))
        });
        let by_number = numbers.as_deref().map(|key| IdempotencyKey { key, issued_ns: now.0 });
        let claim = request.key.or(by_number).map(|key| (key, &parts[..]));
        if let Some(after) = request.after.take() {
            after.await.map_err(|_| AuditError::Stopping)?;
        }
        let offered = book.fresh.offer(to_find);
        let sequenced = self.engine.sequence(&book.log, drafts, claim, request.patience).await?;
        if !sequenced.duplicate {
            offered.keep();
            book.tell_clock(&request.events, producer, now);
        }
        Ok(Recorded { sequenced })
    }

    /// What a log's leaves say about it, once they are durable.
    ///
    /// # Errors
    /// The engine stopped.
    pub async fn durably<T>(&self, book: &Book, read: impl Fn(&LogState) -> T) -> Result<T, AuditError> {
        let (said, size) = {
            let state = book.state.lock();
            (read(&state), state.size)
        };
        // Sequenced is not durable yet: that takes one sync at most.
        while book.log.durable_size() < size {
            if self.engine.status().is_over() {
                return Err(AuditError::Stopping);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(said)
    }

    /// How far the numbers of a caller's stream have come, durably.
    ///
    /// # Errors
    /// The engine stopped.
    pub async fn producer(&self, book: &Book, caller: &str, stream: &str) -> Result<Producer, AuditError> {
        let Some(producer) = book.producer(caller, stream) else { return Ok(Producer::default()) };
        let known = self.durably(book, |state| state.producers.of(producer).cloned()).await?;
        Ok(known.unwrap_or_default())
    }

    /// Leaves an entry that something was refused: by whom and why, with a keyed hash of what it was.
    ///
    /// # Errors
    /// The entry is not durable.
    pub async fn reject(
        &self,
        book: &Book,
        caller: &str,
        content: &[u8],
        invalid: &Invalid,
    ) -> Result<(), AuditError> {
        let producer = book.subjects(&self.vault()?, vec![producer_name(caller, "")]).await?;
        let reason =
            Word::new(invalid.reason).map_err(|error| AuditError::Word { field: "reason", error })?;
        let digest = book.keys.pseudonym("rejected", content);
        let facts = Facts::Rejected(RejectedFacts { digest, reason });
        let frame = Frame { producer: producer[0].reference, ..bare(facts, random()?) };
        self.append(book, &frame).await.map(drop)
    }

    /// Appends a leaf without payload.
    pub(crate) async fn append(&self, book: &Book, frame: &Frame) -> Result<Sequenced, AuditError> {
        let draft = unsealed(frame).map_err(|_| AuditError::Damaged(0))?;
        Ok(self.engine.sequence(&book.log, vec![draft], None, Patience::Wait).await?)
    }

    /// Everybody whom the events are about, and their producer, by name.
    async fn people(
        &self,
        book: &Book,
        request: &Request<'_>,
    ) -> Result<HashMap<String, Subject>, AuditError> {
        let stream = request.numbered.map_or("", |numbered| numbered.stream);
        let mut names = vec![producer_name(request.caller, stream)];
        names.extend(request.events.iter().flat_map(parties).map(|party| party.subject()));
        self.named(book, names).await
    }

    /// The subjects of names, by name.
    pub(crate) async fn named(
        &self,
        book: &Book,
        mut names: Vec<String>,
    ) -> Result<HashMap<String, Subject>, AuditError> {
        names.sort_unstable();
        names.dedup();
        let subjects = book.subjects(&self.vault()?, names.clone()).await?;
        Ok(names.into_iter().zip(subjects).collect())
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone, Copy)]
struct Place {
    producer: Ref,
    sequence: u64,
    class: u8,
}

/// A leaf that is to be.
pub(crate) struct Made {
    pub(crate) draft: Draft,
    id: [u8; 16],
    /// What it will be found by.
    terms: Vec<Term>,
}

fn draft(
    book: &Book,
    event: &Event,
    place: Place,
    people: &HashMap<String, Subject>,
) -> Result<Made, AuditError> {
    let frame = Frame {
        outcome: Some(event.outcome),
        retention: place.class,
        producer: place.producer,
        sequence: place.sequence,
        ..bare(Facts::Event(facts(book, event, people)?), random()?)
    };
    sealed(book, event, frame, people)
}

/// A leaf whose payload is the rest of an event.
pub(crate) fn sealed(
    book: &Book,
    event: &Event,
    frame: Frame,
    people: &HashMap<String, Subject>,
) -> Result<Made, AuditError> {
    let limit = |error: &dyn std::fmt::Display| {
        let invalid = Invalid { field: "event".to_owned(), reason: "limit", what: error.to_string() };
        AuditError::Invalid { position: 0, invalid }
    };
    let of = |party: &Party| people.get(&party.subject()).cloned();
    let pad = random()?;
    let sealed = SEALER.with_borrow_mut(|sealer| sealer.seal(event, &frame.id, &pad, &book.keys.group, of));
    let sealed = sealed.map_err(|error| limit(&error))?;
    let attachment = [&[frame.retention][..], &sealed.bytes].concat();
    let frame = Frame { payload: Some(sealed.id), ..frame };
    let draft = unsealed(&frame).map_err(|error| limit(&error))?.with_attachment(Bytes::from(attachment));
    let owners = sealed.about.iter().filter(|(group, _)| FOUND_BY.contains(group));
    let owners = owners.map(|(group, people)| (*group, &people[..]));
    let terms = terms(&frame, &View::to_find(event), owners, &book.keys.blinder);
    Ok(Made { draft, id: frame.id, terms })
}

/// A leaf without payload.
pub(crate) fn unsealed(frame: &Frame) -> Result<Draft, Malformed> {
    Ok(Draft::new(Unplaced::new(frame)?.as_bytes().to_vec().into()))
}

fn facts(book: &Book, event: &Event, people: &HashMap<String, Subject>) -> Result<EventFacts, AuditError> {
    let person = |party: &Party| people.get(&party.subject()).ok_or(AuditError::Stopping);
    let actor = person(&event.actor)?;
    let targets: Vec<Party> = event.targets.iter().filter_map(graven_event::Target::as_party).collect();
    let all = |parties: &[Party]| -> Result<Vec<Ref>, AuditError> {
        parties.iter().map(|party| Ok(person(party)?.reference)).collect()
    };
    let token = event.token.as_ref().and_then(|token| {
        Some(book.token(token.issuer.as_deref().unwrap_or_default(), token.id.as_deref()?))
    });
    let ip = event.context.ip.as_ref();
    Ok(EventFacts {
        action: word("action", &event.action)?,
        product: event.source.product.as_ref().map(|product| word("source.product", product)).transpose()?,
        event_time: event.time.map(Time::nanoseconds),
        actor: actor.reference,
        client: event.client.as_ref().map(person).transpose()?.map(|client| client.reference),
        targets: all(&targets)?,
        requested: words(&event.scope.requested)?,
        granted: words(&event.scope.granted)?,
        used: words(&event.scope.used)?,
        token,
        place: ip.map(|ip| place(actor, ip)),
        on_behalf_of: all(&event.on_behalf_of)?,
        about: all(&event.about)?,
    })
}

/// An address, under the key of who acts from there: gone with it, and nothing that links two people.
pub(crate) fn place(actor: &Subject, ip: &str) -> Ref {
    short(&keyed(&actor.key, "place", ip.as_bytes()))
}

pub(crate) fn word(field: &'static str, text: &str) -> Result<Word, AuditError> {
    Word::new(text).map_err(|error| AuditError::Word { field, error })
}

pub(crate) fn words(texts: &[String]) -> Result<Vec<Word>, AuditError> {
    texts.iter().map(|text| word("scope", text)).collect()
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], AuditError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}
