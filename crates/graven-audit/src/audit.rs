//! All logs of events of one server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_event::Time;
use graven_index::events::{EventFollower, EventFollowing, EventIndex, IndexId};
use graven_log::{CreateError, Engine, Env, Kind, Log, LogName, Visibility};
use graven_vault::{Entropy, MasterError, MasterKey, Vault};
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};

use crate::book::{Book, Keys};
use crate::error::AuditError;
use crate::fresh::Fresh;
use crate::hook::Hooks;
use crate::read::Leaves;
use crate::scopes::Sums;

/// The name of the log of what was read and done.
pub const ACCESS_LOG: &str = "access";
/// The version of the terms by which events are found: another one makes an index anew.
const TERMS_VERSION: &[u8] = b"graven terms v2\n";

/// Where things are, and what opens them.
pub struct AuditOptions {
    /// Storage, time, randomness.
    pub env: Env,
    /// The key store's folder.
    pub vault: PathBuf,
    /// What the key store's keys are wrapped by.
    pub master: Arc<dyn Master>,
    /// The folder of the indexes.
    pub index: PathBuf,
}

/// Where the master key is.
pub trait Master: Send + Sync {
    /// Finds it.
    ///
    /// # Errors
    /// It is not there, or cannot be used.
    fn open(&self) -> Result<Arc<dyn MasterKey>, MasterError>;

    /// Makes it, for a key store that is about to be made. One that is there already is taken.
    ///
    /// # Errors
    /// It cannot be made.
    fn create(&self) -> Result<Arc<dyn MasterKey>, MasterError>;
}

/// All logs of events of one server.
pub struct Audit {
    pub(crate) engine: Arc<Engine>,
    /// `None`: there never was a log of events.
    vault: RwLock<Option<Arc<Vault>>>,
    vault_dir: PathBuf,
    master: Arc<dyn Master>,
    pub(crate) env: Env,
    hooks: Arc<Hooks>,
    pub(crate) index_dir: PathBuf,
    books: RwLock<BTreeMap<LogName, Arc<Book>>>,
    following: Mutex<Vec<EventFollowing>>,
    /// Held while logs are made.
    making: tokio::sync::Mutex<()>,
}

/// The logs of events cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The key store.
    #[error("the key store: {0}")]
    Vault(#[from] graven_vault::OpenError),
    /// The master key.
    #[error("the master key of the key store: {0}")]
    Master(#[from] MasterError),
    /// A log.
    #[error("log `{log}`: {error}")]
    Log {
        /// Which.
        log: LogName,
        /// Why.
        error: AuditError,
    },
    /// A log could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// No thread.
    #[error("no thread can be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl Audit {
    /// Makes the key store of a server that has none. Nothing that exists is changed.
    ///
    /// # Errors
    /// There is one already, or it cannot be written.
    pub fn create_vault(env: &Env, vault: &Path, master: &dyn Master) -> Result<Vault, OpenError> {
        Ok(Vault::create(env.fs.clone(), entropy(env), vault, master.create()?)?)
    }

    /// Makes what every log of events needs, unless it is there: the key store, and the access log.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn prepare(self: &Arc<Self>) -> Result<(), OpenError> {
        let audit = self.clone();
        to_its_end(async move {
            let _one_at_a_time = audit.making.lock().await;
            audit.make_ready().await
        })
        .await
    }

    /// Makes a log of events. What it needs comes first: it is never served without the log of who reads it.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn create_log(
        self: &Arc<Self>,
        name: LogName,
        visibility: Visibility,
    ) -> Result<Arc<Log>, OpenError> {
        let audit = self.clone();
        to_its_end(async move {
            let _one_at_a_time = audit.making.lock().await;
            audit.make_ready().await?;
            audit.make(name, Kind::Events, visibility).await
        })
        .await
    }

    async fn make_ready(self: &Arc<Self>) -> Result<(), OpenError> {
        let audit = self.clone();
        let make = move || {
            let mut vault = audit.vault.write();
            if vault.is_none() {
                let made = Self::create_vault(&audit.env, &audit.vault_dir, &*audit.master)?;
                *vault = Some(Arc::new(made));
            }
            Ok::<_, OpenError>(())
        };
        tokio::task::spawn_blocking(make).await.map_err(std::io::Error::other)??;
        self.ensure_access().await
    }

    async fn make(&self, name: LogName, kind: Kind, visibility: Visibility) -> Result<Arc<Log>, OpenError> {
        let (engine, to_make) = (self.engine.clone(), name.clone());
        let make = move || engine.create_log(&to_make, kind, visibility);
        let log = tokio::task::spawn_blocking(make).await.map_err(std::io::Error::other)??;
        self.add(log.clone()).await.map_err(|error| OpenError::Log { log: name, error })?;
        Ok(log)
    }

    pub(crate) fn vault(&self) -> Result<Arc<Vault>, AuditError> {
        self.vault.read().clone().ok_or(AuditError::Stopping)
    }

    /// Opens every log of events of an engine that was opened with these hooks, and completes erasures that a log knows of and the key
    /// store does not: after a crash, or in a store that was restored from a copy. Nothing is served before.
    ///
    /// # Errors
    /// The key store is missing or damaged, or a log cannot be read.
    pub async fn open(
        engine: Arc<Engine>,
        hooks: Arc<Hooks>,
        options: AuditOptions,
    ) -> Result<Arc<Self>, OpenError> {
        let AuditOptions { env, vault: vault_dir, master, index } = options;
        let is_needed = engine.logs().iter().any(|log| log.meta().kind != Kind::Bytes);
        let vault = if is_needed || env.fs.exists(&vault_dir)? {
            Some(Arc::new(Vault::open(env.fs.clone(), entropy(&env), &vault_dir, master.open()?)?))
        } else {
            None
        };
        let audit = Arc::new(Self {
            engine: engine.clone(),
            vault: RwLock::new(vault),
            vault_dir,
            master,
            env,
            hooks,
            index_dir: index,
            books: RwLock::default(),
            following: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        });
        for log in engine.logs().into_iter().filter(|log| log.meta().kind != Kind::Bytes) {
            let name = log.meta().name.clone();
            audit.add(log).await.map_err(|error| OpenError::Log { log: name, error })?;
        }
        if is_needed {
            audit.ensure_access().await?;
        }
        Ok(audit)
    }

    /// Makes the access log, unless it is there. One that was made by an attempt that broke off is taken in.
    async fn ensure_access(&self) -> Result<(), OpenError> {
        if self.access_book().is_some() {
            return Ok(());
        }
        let name = LogName::new(ACCESS_LOG).map_err(|_| CreateError::Kind(Kind::Access))?;
        match self.engine.log(ACCESS_LOG).filter(|log| log.meta().kind == Kind::Access) {
            Some(log) => self.add(log).await.map_err(|error| OpenError::Log { log: name, error }),
            None => self.make(name, Kind::Access, Visibility::Private).await.map(drop),
        }
    }

    async fn add(&self, log: Arc<Log>) -> Result<(), AuditError> {
        let meta = log.meta();
        let state = self.hooks.state(&meta.name).ok_or(AuditError::Stopping)?;
        let (vault, origin) = (self.vault()?, meta.origin.as_str().to_owned());
        let realm = tokio::task::spawn_blocking(move || vault.realm(origin.as_bytes()));
        let realm = realm.await.map_err(|_| AuditError::Stopping)??;
        let keys = Keys::of(&realm);
        let id = Sha256::new()
            .chain_update(TERMS_VERSION)
            .chain_update(keys.pseudonym("index", meta.origin.as_str().as_bytes()))
            .finalize();
        let dir = self.index_dir.join(meta.name.as_str());
        let of = log.clone();
        let leaf = move |index| {
            let leaf = of.durable_entries(index..index + 1).ok()?.pop()?;
            Some(graven_merkle::leaf_hash(&leaf))
        };
        let index = EventIndex::open(self.env.fs.clone(), &dir, IndexId(id.into()), leaf)?;
        let name = meta.name.clone();
        let book = Arc::new(Book {
            log,
            realm,
            state,
            index: Arc::new(index),
            fresh: Fresh::default(),
            keys,
            deciding: tokio::sync::Mutex::default(),
            swept: Mutex::default(),
            sums: Sums::default(),
            replaying: tokio::sync::Mutex::default(),
            clock_told: Mutex::default(),
        });
        let erased: Vec<_> = book.state.lock().rules.erased().into_iter().collect();
        if !erased.is_empty() {
            self.destroy(&book, erased).await?;
        }
        // There from the beginning, so that the first one is an increase.
        for counted in ["graven_producer_gaps_total", "graven_producer_clock_ahead_total"] {
            metrics::counter!(counted, "log" => name.to_string()).increment(0);
        }
        let engine = self.engine.clone();
        let source = Leaves { book: book.clone(), is_full: Arc::new(move || engine.is_disk_full()) };
        let follower = EventFollower::new(book.index.clone(), source);
        let following = follower.start(progress(name.clone()))?;
        self.following.lock().push(following);
        self.books.write().insert(name, book);
        Ok(())
    }

    /// A log of events.
    pub fn book(&self, log: &str) -> Option<Arc<Book>> {
        let name = LogName::new(log).ok()?;
        self.books.read().get(&name).cloned()
    }

    /// All logs of events.
    pub fn books(&self) -> Vec<Arc<Book>> {
        self.books.read().values().cloned().collect()
    }

    /// Whether there is any log whose reading is recorded.
    pub(crate) fn has_books(&self) -> bool {
        !self.books.read().is_empty()
    }

    /// Whether what is read and done is recorded: it is before there is a log of events.
    pub fn has_access_log(&self) -> bool {
        self.access_book().is_some()
    }

    /// The log of what was read and done.
    pub(crate) fn access_book(&self) -> Option<Arc<Book>> {
        self.book(ACCESS_LOG).filter(|book| book.log.meta().kind == Kind::Access)
    }

    /// Ends the indexes' threads and waits for them.
    pub fn stop(&self) {
        self.following.lock().drain(..).for_each(EventFollowing::stop);
    }

    /// The time, as the machine believes.
    pub fn now(&self) -> Time {
        Time(self.env.clock.wall_ns())
    }
}

/// Goes on when whoever waits for it goes away: what is made halfway would be in nobody's hands.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, OpenError>> + Send + 'static,
) -> Result<T, OpenError> {
    tokio::spawn(work).await.map_err(std::io::Error::other)?
}

/// Says how far an index is that has much to read.
fn progress(log: LogName) -> impl Fn(u64, u64) + Send + 'static {
    const FAR: u64 = 100_000;
    let told = Mutex::new(0_u64);
    move |position, size| {
        let mut told = told.lock();
        if size.saturating_sub(position) > FAR && position.abs_diff(*told) > FAR {
            *told = position;
            tracing::info!(%log, position, size, "reading the log into the index of events");
        }
        metrics::gauge!("graven_event_index_lag_entries", "log" => log.to_string())
            .set(size.saturating_sub(position) as f64);
    }
}

fn entropy(env: &Env) -> Entropy {
    let source = env.entropy.clone();
    Arc::new(move |bytes: &mut [u8]| source.fill(bytes))
}
