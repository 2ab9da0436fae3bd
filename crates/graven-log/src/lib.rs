//! The engine: commit, integrate, verify-then-sign, publish, seal, recover.
