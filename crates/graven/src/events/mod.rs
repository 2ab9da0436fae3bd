//! The commands for logs of events: who did what, recorded, found, followed, disclosed, kept and erased.

pub(crate) mod erase;
mod feed;
pub(crate) mod hold;
pub(crate) mod import;
pub(crate) mod query;
pub(crate) mod record;
pub(crate) mod retention;
pub(crate) mod reveal;
mod show;
mod source;
pub(crate) mod tail;
