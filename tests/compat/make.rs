//! Makes the golden directories and bundles. The engine runs step by step, with a clock and entropy that are no
//! chance: the same version makes the same bytes.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use graven_client::{FileHeadStore, HeadStore};
use graven_log::{
    AppendError, Clock, Config, Engine, Entropy, Env, IdempotencyKey, Kind, Log, LogName, Sequenced,
    Visibility, init,
};
use graven_merkle::LeafIndex;
use graven_note::{Policy, TlogProof};
use graven_store::{
    RealFs,
    fault::{Fate, FaultFs, Op, Phase, Point},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{facts::FOLDER, golden::ARCHIVE};

/// When the directories were made: 2026-01-01T00:00:00Z. No machine that reads them is behind it.
pub(crate) const MADE_NS: u64 = 1_767_225_600_000_000_000;

/// Short segments, so that the journal has several.
const SEGMENT_BYTES: u64 = 256 << 10;

/// AWS CloudTrail events, one a line: the demo's.
const EVENTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/sample/cloudtrail.jsonl"));

#[test]
fn golden_files_can_be_made() {
    let elsewhere = tempfile::tempdir().unwrap();
    // They replace what is under version control where that is wanted, and nowhere else.
    let is_wanted = std::env::var_os("GRAVEN_MAKE_GOLDEN").is_some();
    let into = if is_wanted { Path::new(FOLDER) } else { elsewhere.path() };
    let folder = tempfile::tempdir().unwrap();
    let expected = json!({
        "stopped": stopped(folder.path(), into),
        "killed-while-writing": killed(folder.path(), "killed-while-writing", "slot-", 1),
        "killed-while-signing": killed(folder.path(), "killed-while-signing", "signer", 2),
    });
    fs::write(into.join("expected.json"), format!("{expected:#}\n")).unwrap();
    pack(folder.path(), into);
    for made in [ARCHIVE, "bundles/audit-599.tlog-proof", "heads", "audit.policy"] {
        assert!(into.join(made).exists(), "{made} was not made");
    }
}

/// A log of 600 entries with bundles made on the way, a frozen one and an empty one, on a server that stopped well.
fn stopped(folder: &Path, into: &Path) -> Value {
    let mut maker = Maker::begin(&folder.join("stopped"), Arc::new(RealFs));
    let audit = maker.engine.log("audit").unwrap();
    let bundles = into.join("bundles");
    fs::create_dir_all(&bundles).unwrap();
    for n in 0..600 {
        let key = (n % 50 == 7).then(|| format!("key-{n}"));
        maker.append(&audit, vec![entry(n)], key.as_deref()).unwrap();
        if [0, 255, 299, 599].contains(&n) {
            maker.engine.publish_step(&audit);
            let bundle = bundle(&audit, n);
            fs::write(bundles.join(format!("audit-{n}.tlog-proof")), bundle.to_string()).unwrap();
            fs::write(bundles.join(format!("audit-{n}.entry")), entry(n)).unwrap();
        }
        if n == 299 {
            remember(&audit, into);
        }
        if n % 100 == 99 {
            maker.seal();
        }
    }

    let payments = maker.create("payments", Visibility::Public);
    maker.append(&payments, (600..640).map(entry).collect(), Some("batch")).unwrap();
    maker.append(&payments, vec![Bytes::from(vec![b'x'; 65_535])], None).unwrap();
    maker.append(&payments, vec![Bytes::from_static(&[0])], None).unwrap();
    maker.engine.freeze(&payments).unwrap();
    maker.create("quiet", Visibility::Private);
    maker.publish();
    maker.seal();
    for log in maker.engine.logs() {
        maker.engine.export_step(&log).unwrap();
    }
    maker.describe()
}

/// A server that died in the middle of the `nth` write to a file of this name: 290 entries are published, 300 durable.
fn killed(folder: &Path, name: &str, file: &'static str, nth: u64) -> Value {
    let to_go = Arc::new(AtomicU64::new(u64::MAX));
    let countdown = to_go.clone();
    let script = move |point: Point<'_>| {
        let is_it = point.op == Op::Write && point.phase == Phase::Before;
        if is_it
            && point.path.to_string_lossy().contains(file)
            && countdown.fetch_sub(1, Ordering::SeqCst) == 1
        {
            return Fate::Short(100);
        }
        Fate::Continue
    };
    let fs = FaultFs::new(Arc::new(RealFs), Arc::new(script));
    let mut maker = Maker::begin(&folder.join(name), Arc::new(fs));
    let audit = maker.engine.log("audit").unwrap();
    for n in 0..300 {
        maker.append(&audit, vec![entry(300 + n)], None).unwrap();
        if n == 289 {
            maker.publish();
            maker.seal();
            maker.engine.export_step(&audit).unwrap();
        }
    }
    let described = maker.describe();
    to_go.store(nth, Ordering::SeqCst);
    if file == "signer" {
        assert!(!maker.engine.publish_step(&audit));
    } else {
        maker.append(&audit, vec![entry(600)], None).unwrap_err();
    }
    assert_ne!(maker.engine.status(), graven_log::Status::Running);
    described
}

/// An engine that is called step by step, with the time and the entropy of nowhere.
struct Maker {
    engine: Arc<Engine>,
}

impl Maker {
    fn begin(dir: &Path, fs: Arc<dyn graven_store::Fs>) -> Self {
        let env = Env { fs, clock: Arc::new(Ticking::from(MADE_NS)), entropy: Arc::new(Counted::default()) };
        let config = Config { segment_bytes: SEGMENT_BYTES, reserve_bytes: 0, ..Config::default() };
        init(&env, dir, "golden.example/audit", Kind::Bytes, Visibility::Private, &config).unwrap();
        Self { engine: Engine::open(env, dir, config).unwrap() }
    }

    fn create(&mut self, name: &str, visibility: Visibility) -> Arc<Log> {
        self.engine.create_log(&LogName::new(name).unwrap(), Kind::Bytes, visibility).unwrap()
    }

    fn append(
        &mut self,
        log: &Arc<Log>,
        entries: Vec<Bytes>,
        key: Option<&str>,
    ) -> Result<Sequenced, AppendError> {
        append(&self.engine, log, entries, key)
    }

    fn publish(&self) {
        for log in self.engine.logs() {
            self.engine.publish_step(&log);
        }
    }

    fn seal(&self) {
        for log in self.engine.logs() {
            while self.engine.seal_step(&log) {}
        }
        self.engine.upkeep_step();
    }

    /// What whoever opens the directory has to find.
    fn describe(&self) -> Value {
        let log = |log: &Arc<Log>| {
            let (meta, head) = (log.meta(), log.head());
            let facts = json!({
                "origin": meta.origin.as_str(),
                "visibility": meta.visibility.to_string(),
                "state": if log.is_frozen() { "frozen" } else { "active" },
                "vkeys": meta.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "durable": log.durable_size(),
                "sealed": log.sealed_size(),
                "size": head.size().get(),
                "root": head.checkpoint.root().to_string(),
                "checkpoint": std::str::from_utf8(&head.note).unwrap(),
            });
            (meta.name.to_string(), facts)
        };
        self.engine.logs().iter().map(log).collect::<serde_json::Map<_, _>>().into()
    }
}

/// Appends at once. The key is as old as the directory.
pub(crate) fn append(
    engine: &Engine,
    log: &Arc<Log>,
    entries: Vec<Bytes>,
    key: Option<&str>,
) -> Result<Sequenced, AppendError> {
    let key = key.map(|key| IdempotencyKey { key, issued_ns: MADE_NS });
    let mut answer = engine.append_later(log, entries, key)?;
    engine.commit_step(Duration::ZERO);
    answer.try_recv().unwrap_or(Err(AppendError::Poisoned))
}

/// Entry `n`: a real event, or something short.
pub(crate) fn entry(n: u64) -> Bytes {
    let event = EVENTS.lines().nth(usize::try_from(n).unwrap()).map(str::to_owned);
    event.unwrap_or_else(|| format!("{{\"actor\":\"robot-{}\",\"action\":\"read\",\"n\":{n}}}", n % 7)).into()
}

fn bundle(log: &Log, n: u64) -> TlogProof {
    let head = log.head();
    let index = LeafIndex::new(n).unwrap();
    let (_, inclusion) = log.inclusion(index, head.size()).unwrap();
    TlogProof::new(index, inclusion, std::str::from_utf8(&head.note).unwrap()).unwrap()
}

/// Keeps the head as a client does that comes back later, and writes down whom it trusts.
fn remember(log: &Log, into: &Path) {
    let heads = FileHeadStore::open(into.join("heads")).unwrap();
    let kept = heads.load(&log.meta().origin).unwrap();
    assert!(heads.replace(&log.meta().origin, kept.as_deref(), &log.head().note).unwrap());
    let policy = Policy::without_witnesses(&log.meta().keys).unwrap();
    fs::write(into.join("audit.policy"), policy.to_bytes()).unwrap();
}

/// Packs the directories, without what is derived from the rest, always into the same bytes.
fn pack(folder: &Path, into: &Path) {
    let status = Command::new("sh")
        .args([
            "-c",
            "tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --exclude=nodes \
                      --exclude=index --exclude=lock . | gzip -9n > \"$1\"",
            "sh",
        ])
        .arg(into.join(ARCHIVE))
        .current_dir(folder)
        .status();
    assert!(status.unwrap().success());
}

/// A clock that goes on by a millisecond whenever somebody looks at it.
pub(crate) struct Ticking(AtomicU64);

impl Ticking {
    pub(crate) fn from(start_ns: u64) -> Self {
        Self(AtomicU64::new(start_ns))
    }
}

impl Clock for Ticking {
    fn wall_ns(&self) -> u64 {
        self.0.fetch_add(1_000_000, Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// SplitMix64 from a fixed start. The keys that come of it are worth nothing, and everybody can know them.
#[derive(Default)]
struct Counted(Mutex<u64>);

impl Entropy for Counted {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        let mut state = self.0.lock();
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
