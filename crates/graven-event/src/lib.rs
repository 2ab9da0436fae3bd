//! Audit events: who did what to what, when, with which token and scope, and what was decided.
//!
//! # What is here
//! * [`Event`] and its parts, as producers hand them in, with everything that [`Event::check`] asks of one.
//! * [`Frame`]: the leaf of a log of events, its one encoding, and [`facts`]: what stands in it in clear.
//! * [`map`]: events made of other systems' audit records.
//! * [`group`] and [`payload`]: the rest of an event, sealed in groups under the keys of those whom it is about, each
//!   committed to by the leaf, so that one can be shown without the others and becomes unreadable without changing a leaf.
//! * [`disclosure`]: chosen groups of an event with the proof that it is in a log, for anybody to check offline.
//! * [`producers`] and [`rules`]: what the leaves of a log say about gaps, and about keeping and erasing. Folds: functions of the
//!   leaves and nothing else.
//! * [`scopes`]: who may do what, as the leaves of a log say; [`alerts`]: what its built-in rules find in them. Folds too.
//! * [`replay`]: a log computed again, with each entry that says something else than what follows from those before it.
//! * [`query`]: the language in which events are asked for, and the blinded terms by which an index finds them.
//!
//! # What is not
//! No I/O, clock, randomness or async: keys, times and random bytes are arguments. Nothing about trees and signatures: that a leaf is in
//! a log is proven by `graven-merkle` and `graven-note`.

pub mod alerts;
pub mod catalogue;
mod check;
mod codec;
pub mod disclosure;
pub mod facts;
mod frame;
pub mod group;
pub mod map;
mod model;
mod pack;
pub mod payload;
pub mod producers;
pub mod query;
pub mod replay;
pub mod rules;
pub mod scopes;
mod state;
#[cfg(test)]
mod tests;
mod time;
mod word;

pub use check::{
    Invalid, MAX_AHEAD_SECONDS, MAX_CHANGES_BYTES, MAX_ITEMS, MAX_LONG_TEXT_BYTES, MAX_PARTIES,
    MAX_RAW_BYTES, MAX_TEXT_BYTES, MAX_TOKEN_VALUES,
};
pub use codec::Malformed;
pub use disclosure::Disclosure;
pub use facts::{Facts, Ref, Word};
pub use frame::{Frame, HEADER_BYTES, MAX_FACTS_BYTES, PayloadId, Unplaced};
pub use group::{Group, View};
pub use model::{Change, Context, Decision, Event, Outcome, Party, Raw, Scope, Source, Target, Token};
pub use state::LogState;
pub use time::{NoTime, Time};
