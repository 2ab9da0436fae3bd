//! What the seeds did, so that a simulation that no longer reaches something is noticed.

macro_rules! tally {
    ($($count:ident),+) => {
        /// Counts of what happened.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $count: u64),+
        }

        impl Tally {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$count += other.$count;)+
            }

            /// A campaign must have met everything, or it says nothing about it.
            pub(crate) fn check_coverage(&self, seeds: u64) {
                $(assert!(seeds < 100 || self.$count > 0, "not once in {seeds} seeds: {}", stringify!($count));)+
            }
        }
    };
}

tally!(
    lives,
    deaths,
    faults,
    refused_opens,
    poisoned,
    acked_requests,
    repeats,
    too_old,
    heads,
    sealed_bundles,
    refusals,
    snapshots,
    dropped_blobs,
    exports,
    logs_made,
    logs_frozen,
    proofs,
    rollbacks
);
