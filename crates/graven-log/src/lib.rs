//! The engine: it takes entries, makes them durable, grows the tree, verifies, signs, publishes, seals, and recovers.
//!
//! ```text
//! request task          writer thread                publisher thread                 sealer thread
//! ───────────────       ────────────────────         ───────────────────────────      ─────────────────────
//! check, hash,   pool   sequence, frame,      tail   re-read, re-hash, two roots,     write bundles and tiles,
//! admit        ───────▶ write, sync, ack,   ───────▶ consistency, journal body,  head one sync, journal how far,
//!                       grow tail and tree    tree   sign, journal note, release ───▶ let go, export the site
//! ```
//!
//! * **An acknowledgement is durable**: it is sent after the one sync of the journal record that holds the entries.
//! * **A signature is verified**: what is signed was computed from the bytes as storage gives them back.
//! * **The first failure of a write or sync ends it**: nothing is acknowledged or signed after, the process exits and
//!   recovers from disk.
//!
//! The engine knows neither events nor gRPC. Storage, time and entropy come in through [`Env`]; every rule runs in a
//! step that a test can call on its own thread.

mod append;
mod blobs;
mod block;
mod clock;
mod config;
mod create;
mod drive;
mod engine;
mod env;
mod error;
mod fsck;
mod keys;
mod log;
mod meta;
mod metrics;
mod pool;
mod recover;
mod replay;
mod restore;
mod rollback;
mod rotation;
mod seal;
mod segments;
mod sequencer;
mod signing;
mod site;
mod state;
mod tail;
mod tree;
mod window;
mod witnessing;
mod writer;

pub use append::{IdempotencyKey, Patience};
pub use clock::{ClockError, LogClock, MAX_LAG_NS, MAX_LEAP_NS};
pub use config::{Config, MAX_LOGS, MAX_REQUEST_BYTES, MAX_REQUEST_ENTRIES};
pub use create::{Initialized, init};
pub use drive::Running;
pub use engine::{Engine, Status};
pub use env::{Clock, Entropy, Env};
pub use error::{AppendError, CreateError, InitError, KeyError, OpenError, ReadError, RestoreError};
pub use fsck::{Attached, FsckReport, LogReport, Look, MAX_PROBLEMS, Problem, fsck, fsck_with};
pub use keys::LOG_KEY_TYPES;
pub use log::{Head, Log};
pub use meta::{
    InvalidName, Kind, LogMeta, LogName, MAX_NAME_BYTES, Paths, RESERVED_NAMES, Visibility, name_of,
};
pub use pool::Sequenced;
pub use recover::log_keys;
pub use restore::{LogCopy, Missing, Restored, restore};
pub use rotation::{Announced, RotateError, request_rotation};
pub use sequencer::{
    BytesOnly, Draft, Identity, Leaf, MAX_ATTACHMENT_BYTES, MAX_SEQUENCED_BYTES, MAX_SEQUENCED_LEAVES,
    Refusal, Sequencer, Sequencers,
};
pub use state::MAX_STATE_BYTES;
pub use window::{MAX_KEY_BYTES, MAX_SKEW, WindowLimits};
pub use witnessing::{CosignError, MAX_WITNESSES, Pending, Publish, WitnessLag, Witnessing, WitnessingError};
