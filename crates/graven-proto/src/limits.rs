//! The bounds of `graven.v1`: what a server refuses to exceed and a client need not try.
//!
//! The definitions of the services state theirs; a test compares the two.

/// The largest entry. Entry bundles prefix each entry with its length in 16 bits (C2SP tlog-tiles).
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// The most entries of one batch: as many as one [`MAX_PROOF_INDICES`] proof can cover.
pub const MAX_BATCH_ENTRIES: usize = MAX_PROOF_INDICES;

/// The most bytes of all entries of one batch. A batch is one durable record, and everybody's commits
/// wait behind it.
pub const MAX_BATCH_BYTES: usize = 2 << 20;

/// The longest idempotency key: room for two UUIDs and a prefix; each key of the window is in memory.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 128;

/// The most indices of one multi-entry proof. Verifying it takes time that grows with the
/// square of their number.
pub const MAX_PROOF_INDICES: usize = graven_merkle::MAX_MULTI_INDICES;

/// The most entries of one `GetEntries` range: 256 full entry bundles.
pub const MAX_RANGE_ENTRIES: u64 = 65_536;

/// Where a `GetEntries` message is cut. With one more entry of the largest size it is still far below
/// [`MAX_MESSAGE_BYTES`].
pub const RANGE_MESSAGE_BYTES: usize = 1 << 20;

/// The most entries that an append stream may have unacknowledged before the server stops reading.
pub const STREAM_WINDOW_ENTRIES: usize = 4_096;

/// The most bytes of entries that an append stream may have unacknowledged.
pub const STREAM_WINDOW_BYTES: usize = 4 << 20;

/// The most logs of one `ListLogs` page: a log's keys and head take about 8 KiB with ML-DSA.
pub const MAX_PAGE_LOGS: u32 = 100;

/// The most statements of one `ListKeyRotations`: each takes about 12 KiB, and 64 KiB at most.
pub const MAX_PAGE_ROTATIONS: usize = 32;

/// The most signature lines of one `AddCosignature`: a witness answers one for each of its keys.
pub const MAX_COSIGNATURES: usize = 16;

/// The most bytes of one `AddCosignature`'s signature lines: [`MAX_COSIGNATURES`] of ML-DSA-44, about 3.3 kB each.
pub const MAX_COSIGNATURES_BYTES: usize = 64 << 10;

/// The largest message either side accepts, after decompression: gRPC's own default.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
