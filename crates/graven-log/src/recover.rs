//! Opening and checking a data directory.
//!
//! Opening trusts nothing that it can check: the journal is chained and hashed, the tree is rebuilt from tiles and
//! journal, and its root at the signed size must be the one that the signer journal says was signed. The code that
//! rebuilds is the code that runs after every commit.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use graven_merkle::{Frontier, TreeSize};
use graven_note::{Checkpoint, LogKeys, VerifierKey};
use graven_store::fs::Lock;
use graven_store::journal::{Journal, LogId, OpenError as JournalError, RecordBuilder};
use graven_store::{ChainFile, Objects, planted};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::blobs::Blobs;
use crate::clock::LogClock;
use crate::config::Config;
use crate::env::Env;
use crate::error::{OpenError, RestoreError};
use crate::log::{Head, Log};
use crate::meta::{LOG_FORMAT, LogMeta, LogName, MAX_MANIFEST_BYTES, Paths, SERVER_FORMAT, ServerMeta};
use crate::metrics::Metrics;
use crate::replay::{Replay, Replayed};
use crate::restore::{LogCopy, Missing, Target};
use crate::rotation::{self, KeyRing, Rotations};
use crate::sequencer::Identity;
use crate::signing::{self, SignError, Signed, Signing};
use crate::tail::Tail;
use crate::tree::Tree;
use crate::window::Window;
use crate::witnessing::{self, OpenedWitnesses};
use crate::writer::{Lane, Writer};
use crate::{keys, rollback, state};

/// A data directory, opened and checked.
pub(crate) struct Opened {
    pub(crate) paths: Paths,
    pub(crate) server: ServerMeta,
    pub(crate) logs: BTreeMap<LogName, Arc<Log>>,
    pub(crate) writer: Writer,
    pub(crate) lock: Box<dyn Lock>,
}

/// Takes the lock of a data directory and reads its manifest.
pub(crate) fn enter(env: &Env, paths: &Paths) -> Result<(ServerMeta, Box<dyn Lock>), OpenError> {
    let foreign = || OpenError::Foreign(paths.root().to_owned());
    if !env.fs.exists(&paths.server())? {
        return Err(OpenError::Missing(paths.root().to_owned()));
    }
    let lock = env.fs.lock(&paths.lock()).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked(paths.root().to_owned()),
        _ => OpenError::Io(error),
    })?;
    let text = Zeroizing::new(env.fs.read(&paths.server(), MAX_MANIFEST_BYTES)?);
    let parsed = std::str::from_utf8(&text).ok().and_then(|text| ServerMeta::parse(text).ok());
    let server = parsed.ok_or_else(|| {
        if !text.starts_with(SERVER_FORMAT.as_bytes()) {
            return foreign();
        }
        let what = format!("{} does not hold together", paths.server().display());
        OpenError::Damaged { log: "(all)".to_owned(), what }
    })?;
    Ok((server, lock))
}

/// The manifests of all logs.
pub(crate) fn manifests(env: &Env, paths: &Paths) -> Result<Vec<LogMeta>, OpenError> {
    let mut metas = Vec::new();
    for name in env.fs.list(&paths.logs())? {
        let Ok(name) = LogName::new(&name) else { continue };
        let path = paths.manifest(&name);
        if !env.fs.exists(&path)? {
            // Its creation was interrupted before anybody was told that it exists.
            continue;
        }
        let text = env.fs.read(&path, MAX_MANIFEST_BYTES)?;
        let parsed = std::str::from_utf8(&text).ok().and_then(|text| LogMeta::parse(text).ok());
        let meta = parsed.filter(|meta| meta.name == name).ok_or_else(|| {
            if !text.starts_with(LOG_FORMAT.as_bytes()) {
                return OpenError::Foreign(path.clone());
            }
            let what = format!("{} does not hold together", path.display());
            OpenError::Damaged { log: name.to_string(), what }
        })?;
        metas.push(meta);
    }
    metas.sort_by_key(|meta| meta.id);
    Ok(metas)
}

/// Opens a data directory and makes it ready to be written.
pub(crate) fn open(env: &Env, dir: &Path, config: &Config) -> Result<Opened, OpenError> {
    open_each(env, dir, config, |env, paths, meta, replayed| open_log(env, paths, meta, replayed, config))
}

/// The same for restoring the log that `target` names: none is served, so any may be behind what was signed.
pub(crate) fn open_to_restore(
    env: &Env,
    dir: &Path,
    config: &Config,
    target: &Target,
    copy: &mut dyn LogCopy,
    missing: Missing,
) -> Result<Opened, RestoreError> {
    let open = |copy: &mut dyn LogCopy| {
        open_each(env, dir, config, |env, paths, meta, replayed| {
            open_log_to_restore(env, paths, meta, replayed, target, copy, missing)
        })
    };
    match open(copy) {
        Err(RestoreError::Open(OpenError::Journal(JournalError::Missing(_)))) if missing == Missing::Anew => {
            begin_journal(env, dir, config, target, copy)?;
            open(copy)
        }
        opened => opened,
    }
}

/// Makes the journal that is gone, once the signer journal says that the copy's checkpoint was signed: before that, an
/// empty one would be the journal of a log that may start from nothing.
fn begin_journal(
    env: &Env,
    dir: &Path,
    config: &Config,
    target: &Target,
    copy: &mut dyn LogCopy,
) -> Result<(), RestoreError> {
    let paths = Paths::new(dir);
    let (_, _lock) = enter(env, &paths)?;
    settle_names(env, &paths)?;
    let meta = manifests(env, &paths)?.into_iter().find(|meta| meta.name == target.name);
    let meta = meta.ok_or_else(|| RestoreError::NoLog(target.name.clone()))?;
    open_log_to_restore(env, &paths, meta, Replayed::default(), target, copy, Missing::Anew)?;
    Ok(Journal::create(env.fs.clone(), &paths.journal(), config.segment_bytes, env.random()?)?)
}

fn open_each<E: From<OpenError> + From<JournalError> + From<io::Error>>(
    env: &Env,
    dir: &Path,
    config: &Config,
    mut open_log: impl FnMut(&Env, &Paths, LogMeta, Replayed) -> Result<Lane, E>,
) -> Result<Opened, E> {
    let paths = Paths::new(dir);
    let (server, lock) = enter(env, &paths)?;
    settle_names(env, &paths)?;
    let mut replay = Replay::new(Window::new(config.window, 0));
    let journal = Journal::open(&env.fs, &paths.journal(), config.segment_bytes, |record, stored| {
        replay.visit(record, &stored);
    })?;
    let mut logs = BTreeMap::new();
    let mut lanes = BTreeMap::new();
    for meta in manifests(env, &paths)? {
        let replayed = replay.logs.remove(&meta.id).unwrap_or_default();
        let lane = open_log(env, &paths, meta, replayed)?;
        logs.insert(lane.log.meta.name.clone(), lane.log.clone());
        lanes.insert(lane.log.meta.id, lane);
    }
    if let Some((id, _)) = replay.logs.first_key_value() {
        let (log, what) =
            (format!("number {}", id.0), "the journal has entries of it, and its folder is gone".to_owned());
        return Err(OpenError::Damaged { log, what }.into());
    }
    let journalled_floor_ns = replay.window.floor_ns();
    let clock = Arc::new(Mutex::new(LogClock::after(replay.last_time_ns)));
    let (env, window) = (env.clone(), replay.window);
    let poisoned = Arc::new(AtomicBool::new(false));
    let metrics = Metrics::register();
    let mut writer = Writer { env, journal, clock, window, lanes, journalled_floor_ns, poisoned, metrics };
    if !writer.journal.is_empty() {
        // What was read may never have reached the disk (a failed sync leaves it in the page cache): entries and keys
        // that no later record vouches for are written again, elsewhere, before anything is built on them.
        writer.roll(0)?;
        rewrite_keys(&mut writer, &replay.newest_keys)?;
    }
    Ok(Opened { paths, server, logs, writer, lock })
}

/// A process that was killed leaves names that were never synced: a log that is there now, or its mark of being frozen,
/// must still be there after a power cut, or what is built on it would not be. (What is in the files was synced before
/// they got their names; journal and signer journal settle their own last records.)
fn settle_names(env: &Env, paths: &Paths) -> io::Result<()> {
    env.fs.sync_dir(paths.root())?;
    env.fs.sync_dir(&paths.logs())?;
    for name in env.fs.list(&paths.logs())?.iter().filter_map(|name| LogName::new(name).ok()) {
        env.fs.sync_dir(&paths.log(&name))?;
        if env.fs.exists(&paths.keys(&name))? {
            env.fs.sync_dir(&paths.keys(&name))?;
        }
    }
    Ok(())
}

fn rewrite_keys(
    writer: &mut Writer,
    keys: &[(LogId, u64, Vec<graven_store::journal::KeyRow>)],
) -> io::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut record = RecordBuilder::default();
    for (log, first_index, rows) in keys {
        record.begin_entries(*log, *first_index, true);
        rows.iter().for_each(|row| record.key(*row));
    }
    writer.make_room(record.body_len())?;
    let (time_ns, segment) = (writer.last_ns(), writer.journal.active_segment());
    writer.journal.append(record, time_ns)?;
    for (_, first_index, rows) in keys {
        for row in rows {
            let claim = crate::window::Claim { key: row.key, request: row.request, issued_ns: row.issued_ns };
            writer.window.remember(&claim, first_index + u64::from(row.first), row.count, time_ns, segment);
        }
    }
    Ok(())
}

/// What a log's files say, before its tree is rebuilt.
pub(crate) struct Records {
    keys: LogKeys,
    rotations: Rotations,
    /// The signer journal, where there is one, and what it says was signed last.
    memory: Option<(ChainFile, Signed)>,
    exported: Option<Checkpoint>,
}

impl Records {
    pub(crate) fn read(
        env: &Env,
        paths: &Paths,
        meta: &LogMeta,
        replayed: &Replayed,
    ) -> Result<Self, OpenError> {
        let name = &meta.name;
        replayed.check().map_err(|what| damage(meta, what))?;
        let (rotations, keys) = Rotations::open(env.fs.clone(), paths, meta)?;
        let memory = if env.fs.exists(&paths.signer(name))? {
            let (chain, payloads) = ChainFile::open(&*env.fs, &paths.signer(name))?;
            let signed = signing::last_signed(&payloads, &meta.origin, &keys)
                .ok_or_else(|| damage(meta, "its signer journal is not one of this log".to_owned()))?;
            Some((chain, signed))
        } else {
            None
        };
        let exported = rollback::exported(env, paths, meta, &keys)?;
        Ok(Self { keys, rotations, memory, exported })
    }
}

/// Without its memory a log never signs.
fn remembered(memory: Option<(ChainFile, Signed)>, meta: &LogMeta) -> Result<(ChainFile, Signed), OpenError> {
    let what = "its signer journal is missing: restore it, it can never be made anew";
    memory.ok_or_else(|| damage(meta, what.to_owned()))
}

/// What a log has stored: its tree, rebuilt.
pub(crate) struct Grown {
    objects: Arc<Objects>,
    pub(crate) tree: Tree,
    tail: Tail,
    pub(crate) frontier: Frontier,
    sealed: u64,
}

impl Grown {
    pub(crate) fn rebuild(
        env: &Env,
        paths: &Paths,
        meta: &LogMeta,
        replayed: Replayed,
    ) -> Result<Self, OpenError> {
        let damaged = |what: String| damage(meta, what);
        let objects = Arc::new(Objects::open(env.fs.clone(), &paths.site(&meta.name))?);
        let tree = Tree::open(env.fs.clone(), paths.nodes(&meta.name), objects.clone(), replayed.sealed)
            .map_err(|error| unread_tile(error, damaged))?;
        let sealed = size_of(replayed.sealed).map_err(damaged)?;
        let mut frontier = tree.frontier(sealed)?;
        let mut tail = Tail::default();
        let mut nodes = Vec::new();
        for (chunk, leaves) in replayed.chunks {
            let skip = usize::try_from(frontier.size().get().saturating_sub(chunk.first));
            for leaf in leaves.into_iter().skip(skip.unwrap_or(usize::MAX)) {
                frontier.push_with(leaf, |id, hash| nodes.push((id, hash)));
            }
            tail.push(chunk);
        }
        tree.extend(&nodes);
        Ok(Self { objects, tree, tail, frontier, sealed: replayed.sealed })
    }

    /// The log, from here on, and its frontier.
    pub(crate) fn into_log(
        self,
        env: &Env,
        paths: &Paths,
        meta: LogMeta,
        signing: Signing,
        rotations: Rotations,
        OpenedWitnesses { witnesses, published: head }: OpenedWitnesses,
    ) -> Result<(Arc<Log>, Frontier), OpenError> {
        let Self { objects, tree, tail, frontier, sealed } = self;
        let log = Arc::new(Log {
            tree,
            tail: RwLock::new(tail),
            objects,
            blobs: Blobs::open(env.fs.clone(), paths.blobs(&meta.name), meta.id)?,
            sequenced: AtomicU64::new(frontier.size().get()),
            integrated: AtomicU64::new(frontier.size().get()),
            sealed: AtomicU64::new(sealed),
            snapshotted: AtomicU64::new(0),
            frozen: AtomicBool::new(env.fs.exists(&paths.frozen(&meta.name))?),
            recent: RwLock::new([(head.size(), *head.checkpoint.root())].into()),
            head: watch::Sender::new(Arc::new(head)),
            keys: signing.keys().clone(),
            signing: Mutex::new(signing),
            rotations: Mutex::new(rotations),
            announcing: tokio::sync::Mutex::new(()),
            witnesses,
            site: paths.site(&meta.name),
            meta,
        });
        Ok((log, frontier))
    }
}

/// Opens one log: rebuilds its tree, compares it with what was signed, and releases the last signed head again.
pub(crate) fn open_log(
    env: &Env,
    paths: &Paths,
    meta: LogMeta,
    replayed: Replayed,
    config: &Config,
) -> Result<Lane, OpenError> {
    let sequencer =
        config.sequencers.of(&meta).ok_or_else(|| OpenError::Foreign(paths.manifest(&meta.name)))?;
    let changed = |size: TreeSize| OpenError::Changed { log: meta.name.to_string(), size: size.get() };
    let Records { keys, rotations, memory, exported } = Records::read(env, paths, &meta, &replayed)?;
    let (chain, mut signed) = remembered(memory, &meta)?;
    let valid = keys.valid_at(signed.checkpoint.size());
    let signers = keys::load_all(&*env.fs, &paths.keys(&meta.name), valid, &meta)?;
    let keys = KeyRing::new(keys);
    if !planted("no-compare-and-swap") {
        rollback::refuse_behind(&meta, &replayed, &signed, exported.as_ref())?;
    }
    let grown = Grown::rebuild(env, paths, &meta, replayed)?;
    let Grown { objects, tree, tail, frontier, sealed } = &grown;
    if planted("no-compare-and-swap") && frontier.size() < signed.checkpoint.size() {
        // The bug: the head follows what is stored, whatever was signed.
        signed.checkpoint = Checkpoint::new(meta.origin.clone(), frontier.size(), frontier.root());
        signed.note = None;
    }
    if !planted("no-compare-and-swap") {
        rollback::refuse_overtaken(&meta, objects, tail, *sealed, frontier.size().get())?;
        if let Some(exported) = exported
            && !rollback::has_root(tree, &exported, |what| damage(&meta, what))?
        {
            return Err(changed(exported.size()));
        }
    }
    let signed_frontier = tree.frontier(signed.checkpoint.size())?;
    if !signing::agrees(&signed_frontier, &signed.checkpoint) {
        return Err(changed(signed.checkpoint.size()));
    }
    let (fs, path) = (env.fs.clone(), paths.signer(&meta.name));
    let mut signing = Signing::resume(fs, path, chain, signed, signers, keys.clone(), signed_frontier);
    let signed = signing.release_last().map_err(|error| match error {
        SignError::Io(error) => OpenError::Io(error),
        other => damage(&meta, other.to_string()),
    })?;
    let settings = config.witnessing.get(&meta.name);
    let (fs, path) = (env.fs.clone(), paths.witnessed(&meta.name));
    let head = witnessing::open(fs, path, &meta, &keys.now(), settings, signed, &*env.clock)?;
    let (log, frontier) = grown.into_log(env, paths, meta, signing, rotations, head)?;
    let mut lane = Lane { log, frontier, sequencer };
    state::catch_up(env, paths, &*config.sequencers, &mut lane)?;
    Ok(lane)
}

/// Opens one log for its entries to be restored: nothing is signed, and it may be behind what was.
///
/// Where it is the one that `target` names, the target is compared with all that is known and then counts as signed last.
fn open_log_to_restore(
    env: &Env,
    paths: &Paths,
    meta: LogMeta,
    replayed: Replayed,
    target: &Target,
    copy: &mut dyn LogCopy,
    missing: Missing,
) -> Result<Lane, RestoreError> {
    let Records { keys, rotations, memory, exported } = Records::read(env, paths, &meta, &replayed)?;
    let is_it = meta.name == target.name;
    let memory = match missing {
        Missing::Anew if is_it => memory,
        _ => Some(remembered(memory, &meta)?),
    };
    // Nothing is written before it is known that what is restored can be signed for again.
    let last = memory.as_ref().map(|(_, signed)| &signed.checkpoint).filter(|_| !is_it);
    let valid = keys.valid_at(last.unwrap_or(target.checkpoint()).size());
    let signers = keys::load_all(&*env.fs, &paths.keys(&meta.name), valid, &meta).map_err(OpenError::Key)?;
    let keys = KeyRing::new(keys);
    let grown = Grown::rebuild(env, paths, &meta, replayed)?;
    let (chain, signed) = if is_it {
        let here = Checkpoint::new(meta.origin.clone(), grown.frontier.size(), grown.frontier.root());
        target.reaches("its journal", here.size())?;
        let signed = memory.as_ref().map(|(_, signed)| &signed.checkpoint);
        signed.map_or(Ok(()), |signed| target.reaches("its signer journal", signed.size()))?;
        let witnessed = witnessing::last(env.fs.clone(), paths.witnessed(&meta.name), &meta, &keys.now())?;
        for known in [Some(&here), signed, exported.as_ref(), witnessed.as_ref()].into_iter().flatten() {
            target.reaches("what it published or had witnessed", known.size())?;
            target.begins_with(copy, known)?;
        }
        target.adopt(&*env.fs, &paths.signer(&meta.name), memory)?
    } else {
        remembered(memory, &meta)?
    };
    let note = signed.note.clone().unwrap_or_default();
    let head = Head { checkpoint: signed.checkpoint.clone(), time_seconds: signed.time_seconds, note };
    let frontier = grown.frontier.clone();
    let path = paths.signer(&meta.name);
    let signing = Signing::resume(env.fs.clone(), path, chain, signed, signers, keys, frontier);
    let head = OpenedWitnesses { witnesses: None, published: head };
    // Nothing is sequenced: what is restored was.
    let (log, frontier) = grown.into_log(env, paths, meta, signing, rotations, head)?;
    Ok(Lane { log, frontier, sequencer: Box::new(Identity) })
}

fn damage(meta: &LogMeta, what: String) -> OpenError {
    OpenError::Damaged { log: meta.name.to_string(), what }
}

/// A tile that is missing or not a tile is damage; a system call that fails says nothing about the tile.
pub(crate) fn unread_tile(error: io::Error, damaged: impl Fn(String) -> OpenError) -> OpenError {
    use io::ErrorKind::{FileTooLarge, InvalidData, NotFound, UnexpectedEof};
    match error.kind() {
        FileTooLarge | InvalidData | NotFound | UnexpectedEof => {
            damaged(format!("a sealed tile does not read: {error}"))
        }
        _ => OpenError::Io(error),
    }
}

fn size_of(size: u64) -> Result<TreeSize, String> {
    TreeSize::new(size).ok_or_else(|| "its size is beyond 2^63 - 1".to_owned())
}

/// The keys of a data directory's logs, and their recovery keys, for `graven keys show`.
pub fn log_keys(env: &Env, dir: &Path) -> Result<Vec<(LogName, LogKeys, VerifierKey)>, OpenError> {
    let paths = Paths::new(dir);
    if !env.fs.exists(&paths.server())? {
        return Err(OpenError::Missing(dir.to_owned()));
    }
    let keys =
        |meta: LogMeta| Ok((meta.name.clone(), rotation::peek(&*env.fs, &paths, &meta)?, meta.recovery));
    manifests(env, &paths)?.into_iter().map(keys).collect()
}
