//! Typed client that hands out verified values only.
