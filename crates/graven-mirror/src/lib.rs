//! A mirror: verified full copies of logs, served as tlog-tiles and cosigned (C2SP tlog-mirror).
//!
//! A mirror's cosignature says more than a witness's: that every entry under the checkpoint is durable here and can be read.
//! So a copy moves in this order, and what a crash leaves after each step is:
//!
//! 1. the log's new checkpoint is proven to begin with the pending one and becomes the *pending checkpoint*, synced — from
//!    here on the mirror follows no other history;
//! 2. bundle by bundle, entries are proven to be in the tree under it; only then bundle and tiles are written, in rounds: a
//!    sync, then the state says how far they reach — what lies beyond is written again, with the same bytes;
//! 3. the tiles and the bundle that are not full are written and synced — as before;
//! 4. the root over everything is computed and compared, the checkpoint cosigned, and the note with the cosignatures goes into
//!    the state, synced: it is the *mirror checkpoint* — after a crash these very bytes are served;
//! 5. it is served — the same.
//!
//! Nothing is served that is not under the mirror checkpoint, and nothing from disk that does not hash to the tile above it. The
//! first write, sync or signature that fails is the last one, of all copies.
//!
//! Entries come in two ways, at the same time if they like: every step looks at the copy as it is, takes what is missing and
//! no more, and moves nothing back.
//!
//! - *Poll*: [`MirroredLog::update`] fetches from any tlog-tiles prefix that has the log.
//! - *Push*: clients send them by C2SP tlog-mirror, over HTTP ([`router`], and the format in [`graven_note::mirror`]).
//!
//! ```text
//! POST /add-checkpoint ─▶ signed by the log, follows the pending one? ─▶ 1 ─▶ 200
//! POST /add-entries    ─▶ under a head that is or was pending? ─▶ package, proven ─▶ 2, and so on
//!                                  └▶ 409 where it is            └▶ 422       after the last one: 3, 4, 5 ─▶ 200 cosignatures
//!                                                                             before it: what is durable ─▶ 202 where it is
//! ```
//!
//! A pending checkpoint is known again among the last few, or by a ticket, and only until the full bundles reach beyond it. An
//! upload may begin up to 8,192 entries below the next one. A checkpoint that is pushed again is cosigned once a minute, and
//! answered with the same cosignatures in between. The time of a cosignature does not go back when the clock does.
//!
//! Where a log signed what cannot both be true, the evidence goes into the log's folder before anything else happens, for
//! `graven evidence verify`. For as long as it lies there nothing of that log is taken or cosigned; what was mirrored is served
//! on, and other logs go on.
//!
//! ```text
//! DATA/mirror                      the mirror, written once (see `meta`)
//! DATA/lock                        held by the one process that may write here
//! DATA/keys/TYPE.pem               its cosigning keys, mode 0600
//! DATA/logs/HASH/log               a log, replaced where it gets more keys; HASH is the SHA-256 of its origin, in hex
//! DATA/logs/HASH/state             how far the copy has got (see `state`)
//! DATA/logs/HASH/site/             the copy: a C2SP tlog-tiles folder
//! DATA/logs/HASH/evidence/…        what the log signed that cannot both be true
//! ```
//!
//! Nothing is pruned: the minimum index is 0.

mod alive;
mod copy;
mod edge;
mod error;
mod log;
mod meta;
mod mirror;
mod pieces;
mod poll;
mod push;
mod site;
mod state;
mod submit;
mod ticket;

pub use error::{MirrorError, UpdateError};
pub use log::{MirroredLog, Status};
pub use meta::MIRROR_KEY_TYPES;
pub use mirror::{AddLog, Mirror, add_log, init};
pub use poll::Updated;
pub use site::router;
