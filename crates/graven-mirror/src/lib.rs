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
//! Nothing is served that is not under the mirror checkpoint, and nothing from disk that does not hash to the tile above it.
//!
//! ```text
//! DATA/mirror                      the mirror, written once (see `meta`)
//! DATA/lock                        held by the one process that may write here
//! DATA/keys/TYPE.pem               its cosigning keys, mode 0600
//! DATA/logs/HASH/log               a log, written once; HASH is the SHA-256 of its origin, in hex
//! DATA/logs/HASH/state             how far the copy has got (see `state`)
//! DATA/logs/HASH/site/             the copy: a C2SP tlog-tiles folder
//! ```
//!
//! Entries come by polling any tlog-tiles prefix that has the log ([`MirroredLog::update`]). The submission endpoints of
//! tlog-mirror, `add-checkpoint` and `add-entries`, are not here yet; [`graven_merkle::tile::ProvenBundle`] is what they would
//! hand to a copy. Nothing is pruned: the minimum index is 0.

mod copy;
mod edge;
mod error;
mod log;
mod meta;
mod mirror;
mod site;
mod state;

pub use copy::Updated;
pub use error::{MirrorError, UpdateError};
pub use log::MirroredLog;
pub use meta::MIRROR_KEY_TYPES;
pub use mirror::{AddLog, Mirror, add_log, init};
pub use site::router;
