//! Signed notes, checkpoints, cosignatures, policies and proof bundles, with no I/O.
