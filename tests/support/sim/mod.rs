//! A simulated server: its outside, its story, and the model that watches it.

pub(crate) mod faults;
pub(crate) mod model;
pub(crate) mod tally;
pub(crate) mod trace;
pub(crate) mod world;
