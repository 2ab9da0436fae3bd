//! Connections that have not asked for anything yet: none of their requests is here as a whole, and none is answered. When
//! there is room for no more, the oldest of them gives way: however many somebody opens and leaves, whoever comes to ask
//! gets in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

/// Those of one port, by age.
#[derive(Clone, Default)]
pub(super) struct Silent(Arc<Mutex<Connections>>);

#[derive(Default)]
struct Connections {
    next: u64,
    by_number: BTreeMap<u64, AbortHandle>,
}

/// Kept by a connection for as long as it is silent.
pub(super) struct Newcomer {
    number: u64,
    silent: Silent,
}

impl Silent {
    /// Takes a connection in, which `spawn` begins to serve.
    pub(super) fn admit(&self, spawn: impl FnOnce(Newcomer) -> AbortHandle) {
        // Until it is listed it cannot take itself off the list.
        let mut connections = self.lock();
        let number = connections.next;
        connections.next += 1;
        let connection = spawn(Newcomer { number, silent: self.clone() });
        connections.by_number.insert(number, connection);
    }

    /// Ends the oldest. `false`: all have asked for something.
    pub(super) fn dismiss_oldest(&self) -> bool {
        let oldest = self.lock().by_number.pop_first();
        oldest.inspect(|(_, connection)| connection.abort()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.silent.lock().by_number.remove(&self.number);
    }
}
