//! A log that is behind is restored from a copy, with storage failing at every point on the way and power lost there.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};

use graven_log::{LogCopy, LogName, Missing, OpenError, RestoreError, Restored, restore};
use graven_merkle::tile::{BundlePath, EntryBundle, TILE_HEIGHT, TILE_WIDTH, TileId};
use graven_merkle::{
    ConsistencyProof, Frontier, Hash, HashReader, NodeId, Subtree, TreeSize, leaf_hash, prove_consistency,
    prove_subtree_consistency,
};
use graven_note::Checkpoint;

use crate::sim_rig::{DATA, Rig, check, entry, fill, publish};

const SIZE: u64 = 900;

/// All that there is to copy, in memory.
struct Copied {
    note: Vec<u8>,
    nodes: BTreeMap<NodeId, Hash>,
}

impl HashReader for Copied {
    type Error = Infallible;

    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
        Ok(ids.iter().map(|id| self.nodes[id]).collect())
    }
}

impl LogCopy for Copied {
    fn checkpoint(&self) -> &[u8] {
        &self.note
    }

    fn consistency(&mut self, from: TreeSize) -> io::Result<ConsistencyProof> {
        prove_consistency(self, from, size()).map_err(io::Error::other)
    }

    fn bundles(&mut self, number: u64) -> io::Result<Vec<(BundlePath, Vec<u8>, ConsistencyProof)>> {
        let path = BundlePath::new(number, TileId::new(0, number).unwrap().width_in(size())).unwrap();
        let first = number << TILE_HEIGHT;
        let entries = first..first + u64::from(path.width());
        let proof = prove_subtree_consistency(self, Subtree::new(entries.clone()).unwrap(), size());
        let bytes = EntryBundle::encode(entries.map(entry)).unwrap();
        Ok(vec![(path, bytes, proof.map_err(io::Error::other)?)])
    }
}

fn size() -> TreeSize {
    TreeSize::new(SIZE).unwrap()
}

/// A disk whose journal is that of 300 entries while 900 were signed, what was signed, and the copy.
fn behind() -> (Rig, Checkpoint, Copied) {
    let (rig, engine, log) = Rig::with_log();
    fill(&engine, &log, 300);
    publish(&engine, &log);
    let older: BTreeMap<PathBuf, Vec<u8>> = rig.disk.snapshot();
    fill(&engine, &log, SIZE);
    publish(&engine, &log);
    let head = log.head();
    drop((engine, log));
    rig.disk.kill();
    let signer = |path: &Path| path.ends_with("signer");
    let newer = rig.disk.snapshot().into_iter().filter(|(path, _)| signer(path));
    rig.disk.restore(&older.into_iter().filter(|(path, _)| !signer(path)).chain(newer).collect());
    let (mut frontier, mut nodes) = (Frontier::new(), BTreeMap::new());
    for n in 0..SIZE {
        frontier.push_with(leaf_hash(&entry(n)), |id, hash| {
            nodes.insert(id, hash);
        });
    }
    (rig, head.checkpoint.clone(), Copied { note: head.note.to_vec(), nodes })
}

fn restored(rig: &Rig, copy: &mut Copied, missing: Missing) -> Result<Restored, RestoreError> {
    let name = LogName::new("audit").unwrap();
    restore(&rig.env(), Path::new(DATA), &name, &rig.config, copy, missing, |_, _| ())
}

/// Restores with storage failing at every point on the way. Until the log has all that was signed it is refused, as
/// `refused` has it; then it goes on from there.
fn fail_everywhere(
    rig: &Rig,
    signed: &Checkpoint,
    copy: &mut Copied,
    missing: Missing,
    refused: impl Fn(&OpenError) -> bool,
) {
    let disk = rig.disk.snapshot();
    let mut failures = 0;
    for at in 0.. {
        rig.disk.kill();
        rig.disk.restore(&disk);
        rig.die_at(at);
        let whole = restored(rig, copy, missing).is_ok();
        rig.crash(at);
        rig.heal();
        match rig.try_open() {
            Ok(engine) => {
                assert_eq!(engine.log("audit").unwrap().head().checkpoint, *signed, "point {at}");
                drop(engine);
                rig.disk.kill();
            }
            Err(error) if !whole && refused(&error) => failures += 1,
            Err(other) => panic!("point {at}: {other}"),
        }
        match restored(rig, copy, missing) {
            Ok(restored) => assert_eq!(restored.checkpoint, *signed, "point {at}"),
            Err(error) => panic!("point {at}: {error}"),
        }
        let (engine, log) = rig.reopen();
        assert_eq!(log.head().checkpoint, *signed);
        fill(&engine, &log, SIZE + 1);
        publish(&engine, &log);
        check(&log);
        drop((engine, log));
        if whole {
            break;
        }
    }
    assert!(failures > 10, "only {failures} points failed on the way");
}

#[test]
fn wherever_storage_fails_the_log_stays_behind_until_it_has_all_that_was_signed() {
    let (rig, signed, mut copy) = behind();
    let is_behind = |error: &OpenError| matches!(error, OpenError::Behind { signed: SIZE, .. });
    fail_everywhere(&rig, &signed, &mut copy, Missing::Refused, is_behind);
}

/// What is put back from a backup of the small files, and perhaps more that is older than the log.
fn put_back(rig: &Rig, is_here: impl Fn(&str) -> bool) {
    let small =
        |path: &str| path == "server" || path == "logs/audit/log" || path.starts_with("logs/audit/keys/");
    let kept = rig.disk.snapshot().into_iter().filter(|(path, _)| {
        let path = path.strip_prefix(DATA).unwrap().to_str().unwrap();
        small(path) || is_here(path)
    });
    rig.disk.kill();
    rig.disk.restore(&kept.collect());
}

#[test]
fn wherever_storage_fails_a_log_that_is_promoted_is_at_no_moment_one_that_never_signed() {
    let (rig, signed, mut copy) = behind();
    put_back(&rig, |_| false);
    // There is no journal, or no signer journal, or both, and then the log is behind: any refusal will do.
    fail_everywhere(&rig, &signed, &mut copy, Missing::Anew, |_| true);

    let (rig, signed, mut copy) = behind();
    put_back(&rig, |path| !path.ends_with("signer"));
    fail_everywhere(&rig, &signed, &mut copy, Missing::Anew, |_| true);

    // A signer journal as it was before the first signature.
    let (new, engine, log) = Rig::with_log();
    drop((engine, log));
    new.disk.kill();
    let older = new.disk.snapshot();
    let (rig, signed, mut copy) = behind();
    put_back(&rig, |_| false);
    let (path, bytes) = older.into_iter().find(|(path, _)| path.ends_with("signer")).unwrap();
    let mut disk = rig.disk.snapshot();
    disk.insert(path, bytes);
    rig.disk.restore(&disk);
    fail_everywhere(&rig, &signed, &mut copy, Missing::Anew, |_| true);
}

#[test]
fn a_copy_that_is_refused_leaves_no_signer_journal() {
    let (rig, _, mut copy) = behind();
    put_back(&rig, |path| !path.ends_with("signer"));
    copy.nodes.values_mut().for_each(|hash| *hash = leaf_hash(hash.as_bytes()));
    let refused = restored(&rig, &mut copy, Missing::Anew);
    assert!(matches!(refused, Err(RestoreError::Differs { size: 300, .. })), "{refused:?}");
    assert!(!rig.disk.snapshot().contains_key(&rig.path("logs/audit/signer")));
}

#[test]
fn bundles_of_another_width_or_out_of_order_are_refused() {
    struct Shifted(Copied);
    impl LogCopy for Shifted {
        fn checkpoint(&self) -> &[u8] {
            self.0.checkpoint()
        }
        fn consistency(&mut self, from: TreeSize) -> io::Result<ConsistencyProof> {
            self.0.consistency(from)
        }
        fn bundles(&mut self, number: u64) -> io::Result<Vec<(BundlePath, Vec<u8>, ConsistencyProof)>> {
            self.0.bundles((number + 1) % (SIZE / u64::from(TILE_WIDTH)))
        }
    }
    let (rig, _, copy) = behind();
    let (name, mut copy) = (LogName::new("audit").unwrap(), Shifted(copy));
    let refused = Missing::Refused;
    let restored = restore(&rig.env(), Path::new(DATA), &name, &rig.config, &mut copy, refused, |_, _| ());
    assert!(matches!(restored, Err(RestoreError::Copy(_))), "{restored:?}");
}
