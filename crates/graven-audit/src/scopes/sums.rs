//! Allowed decisions that a scope says are recorded in sums: counted in memory, and in the log within a second.
