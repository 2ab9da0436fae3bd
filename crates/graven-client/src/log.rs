//! One log of a server: without trust for appending, with trust for everything.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Append, AppendBatch, HeadStore, MemoryHeadStore, Trust,
    connect::Pool,
    follow::Follower,
    stream::{Acks, StreamSender},
};

/// Appends to one log. It knows no keys, so it verifies nothing and promises no more than the server does.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Appender {
    pool: Pool,
    name: Arc<str>,
}

impl Appender {
    pub(crate) fn new(pool: Pool, name: String) -> Self {
        Self { pool, name: name.into() }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The log's name, empty for the server's only log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Appends one entry of 1 to 65,535 bytes: say on the answer what to wait for.
    pub fn append(&self, entry: impl Into<Bytes>) -> Append<'_, Self> {
        Append::new(self, entry.into())
    }

    /// Appends 1 to 1,024 entries, all or none of them: say on the answer what to wait for.
    pub fn append_batch<E: Into<Bytes>>(
        &self,
        entries: impl IntoIterator<Item = E>,
    ) -> AppendBatch<'_, Self> {
        AppendBatch::new(self, entries.into_iter().map(Into::into).collect())
    }

    /// Opens a stream of appends, each acknowledged when it is durable. See [`StreamSender`].
    #[must_use]
    pub fn append_stream(&self) -> (StreamSender, Acks) {
        crate::stream::open(self, None)
    }
}

/// One log, verified by what a [`Trust`] pins. Cheap to clone; clones share the last verified head.
#[derive(Clone)]
pub struct LogClient {
    appender: Appender,
    follower: Arc<Follower>,
}

impl LogClient {
    pub(crate) fn new(appender: Appender, trust: Trust) -> Self {
        let store = Arc::new(MemoryHeadStore::default());
        let follower = Arc::new(Follower::new(appender.clone(), trust, store));
        Self { appender, follower }
    }

    /// The same log, with the last verified head kept in `store`: so that the log is held to it even after a
    /// restart of this program.
    #[must_use]
    pub fn with_head_store(self, store: Arc<dyn HeadStore>) -> Self {
        let trust = self.trust();
        let follower = Arc::new(Follower::new(self.appender.clone(), trust, store));
        Self { follower, ..self }
    }

    /// Whose signatures count, as of now: it follows the log's keys where a recovery key is pinned.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.follower.trust()
    }

    /// The log without trust.
    #[must_use]
    pub fn appender(&self) -> &Appender {
        &self.appender
    }

    pub(crate) fn follower(&self) -> &Arc<Follower> {
        &self.follower
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.appender.pool
    }

    /// The log's name as requests carry it.
    pub(crate) fn name(&self) -> String {
        self.appender.name.to_string()
    }

    /// Appends one entry of 1 to 65,535 bytes: say on the answer what to wait for.
    pub fn append(&self, entry: impl Into<Bytes>) -> Append<'_, Self> {
        Append::new(self, entry.into())
    }

    /// Appends 1 to 1,024 entries, all or none of them: say on the answer what to wait for.
    pub fn append_batch<E: Into<Bytes>>(
        &self,
        entries: impl IntoIterator<Item = E>,
    ) -> AppendBatch<'_, Self> {
        AppendBatch::new(self, entries.into_iter().map(Into::into).collect())
    }

    /// Opens a stream of appends, each acknowledged when it is durable. See [`StreamSender`].
    #[must_use]
    pub fn append_stream(&self) -> (StreamSender, Acks) {
        crate::stream::open(&self.appender, None)
    }

    /// Opens a stream of appends, each acknowledged when it was proven to be in a published tree.
    #[must_use]
    pub fn append_stream_published(&self) -> (StreamSender, Acks) {
        crate::stream::open(&self.appender, Some(self.clone()))
    }
}

impl std::fmt::Debug for LogClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogClient")
            .field("name", &self.appender.name)
            .field("trust", &self.trust())
            .finish_non_exhaustive()
    }
}
