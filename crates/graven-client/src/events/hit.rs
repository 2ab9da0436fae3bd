//! One entry of a log of events, as a server tells of it.

use bytes::Bytes;
use graven_event::{Event, Facts, Frame, Malformed, Time, View, Word};
use graven_merkle::LeafIndex;
use graven_note::rotation::Rotation;
use graven_proto::{
    convert::{event::time_of, leaf_index},
    v1,
};

use crate::ReadError;

/// An entry of a log of events, with as much of it as the caller may read.
///
/// What it says in clear stands in its [leaf](Self::leaf). What was sealed, its [view](Self::view), is the server's word.
#[derive(Clone, Debug)]
pub struct Hit {
    index: LeafIndex,
    leaf: Bytes,
    frame: Option<Frame>,
    log_time: Option<Time>,
    kind: String,
    view: Option<View>,
    hidden: Vec<String>,
    erased: Vec<String>,
    is_dropped: bool,
    is_missing: bool,
}

impl Hit {
    /// Where it stands.
    #[must_use]
    pub fn index(&self) -> LeafIndex {
        self.index
    }

    /// The bytes of its leaf, as they were hashed.
    #[must_use]
    pub fn leaf(&self) -> &Bytes {
        &self.leaf
    }

    /// What the leaf says; `None` for a statement of rotated keys, and for what a later version wrote.
    #[must_use]
    pub fn frame(&self) -> Option<&Frame> {
        self.frame.as_ref()
    }

    /// When the log took it in; `None` for a statement of rotated keys.
    #[must_use]
    pub fn log_time(&self) -> Option<Time> {
        self.log_time
    }

    /// What it is: `event`, `gap`, `erasure`, …
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What is readable of an event beside its leaf.
    #[must_use]
    pub fn view(&self) -> Option<&View> {
        self.view.as_ref()
    }

    /// The event, where its actor may be read; what is hidden or erased is absent from it.
    #[must_use]
    pub fn event(&self) -> Option<Event> {
        let frame = self.frame.as_ref()?;
        let Facts::Event(facts) = &frame.facts else { return None };
        self.view.clone()?.event(facts, frame.outcome?)
    }

    /// Groups that the caller may not read.
    #[must_use]
    pub fn hidden(&self) -> &[String] {
        &self.hidden
    }

    /// Groups that nobody can read any more.
    #[must_use]
    pub fn erased(&self) -> &[String] {
        &self.erased
    }

    /// Whether its payload was dropped when its time was over, as an entry of the kind `expiry` says.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.is_dropped
    }

    /// Whether its payload ought to be there and is not, and no entry says why.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// A hit of a message, where what it says in clear is what its leaf says.
    pub(super) fn of(message: v1::Hit) -> Result<Self, ReadError> {
        let index = leaf_index("hit.index", message.index)?;
        let log_time = message.log_time.map(|time| time_of("log_time", time)).transpose()?;
        let frame = Frame::decode(&message.leaf).ok();
        if let Some(frame) = &frame {
            let same = Some(frame.log_time) == log_time
                && frame.facts.kind_word() == message.kind
                && frame.id[..] == message.id[..];
            let event = message.event.as_ref().is_none_or(|event| in_clear(frame, event));
            if !same || !event {
                return Err(ReadError::WrongAnswer("a hit that is not what its leaf says"));
            }
        }
        Ok(Self {
            index,
            frame,
            log_time,
            leaf: message.leaf,
            kind: message.kind,
            view: message.event.map(View::try_from).transpose()?,
            hidden: message.hidden,
            erased: message.erased,
            is_dropped: message.dropped,
            is_missing: message.missing,
        })
    }

    /// Whether the leaf is one that such a log has and this version can read.
    pub(super) fn check_leaf(&self) -> Result<(), Malformed> {
        if self.frame.is_some() || Rotation::parse(&self.leaf).is_ok() {
            return Ok(());
        }
        Frame::decode(&self.leaf).map(drop)
    }
}

/// Whether an event says in clear what the leaf says.
fn in_clear(frame: &Frame, event: &v1::Event) -> bool {
    let Facts::Event(facts) = &frame.facts else { return false };
    let outcome = frame.outcome.map_or(v1::Outcome::Unspecified, v1::Outcome::from);
    let product = event.source.as_ref().map_or("", |source| source.product.as_str());
    let scope = event.scope.clone().unwrap_or_default();
    let words = |words: &[Word], texts: &[String]| words.iter().map(Word::as_str).eq(texts.iter());
    let time = event.time.map(|time| time_of("time", time).map(Time::nanoseconds)).transpose();
    event.action == facts.action.as_str()
        && event.outcome() == outcome
        && product == facts.product.as_ref().map_or("", Word::as_str)
        && time == Ok(facts.event_time)
        && words(&facts.requested, &scope.requested)
        && words(&facts.granted, &scope.granted)
        && words(&facts.used, &scope.used)
}
