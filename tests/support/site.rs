//! A log's folder, made on the spot, as C2SP tlog-tiles lays it out.

use graven_client::Trust;
use graven_merkle::{
    Frontier, Hash, TreeSize, leaf_hash,
    tile::{EntryBundle, TILE_WIDTH, new_bundles, tiles},
};
use graven_note::{Checkpoint, KeyName, LocalSigner, Origin, SignatureType, Signer, sign_checkpoint};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

pub(crate) const ORIGIN: &str = "example.com/audit";

/// A log's folder, and who signs for it.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    signer: LocalSigner,
}

pub(crate) fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

impl Site {
    pub(crate) fn new(size: u32) -> Self {
        let name = KeyName::new(ORIGIN).unwrap();
        let signer = LocalSigner::generate(name, SignatureType::Ed25519, &[7; 32]).unwrap();
        let site = Self { folder: tempfile::tempdir().unwrap(), signer };
        let size = TreeSize::from(size);
        let mut nodes = HashMap::new();
        let mut frontier = Frontier::new();
        for index in 0..size.get() {
            frontier.push_with(leaf_hash(&entry(index)), |id, hash| {
                nodes.insert(id, hash);
            });
        }
        for path in tiles(size) {
            site.write(
                &path.to_string(),
                &path.node_ids().flat_map(|id| *nodes[&id].as_bytes()).collect::<Vec<_>>(),
            );
        }
        for path in new_bundles(TreeSize::ZERO, size) {
            let first = path.index() * u64::from(TILE_WIDTH);
            let entries = (first..first + u64::from(path.width())).map(entry);
            site.write(&path.to_string(), &EntryBundle::encode(entries).unwrap());
        }
        site.sign(size, frontier.root());
        site
    }

    pub(crate) fn sign(&self, size: TreeSize, root: Hash) {
        let checkpoint = Checkpoint::new(Origin::new(ORIGIN).unwrap(), size, root);
        let note = sign_checkpoint(&checkpoint, &[&self.signer], 1_700_000_000).unwrap();
        self.write("checkpoint", note.as_str().as_bytes());
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(path)).unwrap();
        change(&mut bytes);
        self.write(path, &bytes);
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Trust in the one who signs for the log.
    pub(crate) fn trust(&self) -> Trust {
        Trust::of_vkeys([self.signer.vkey().to_string()]).unwrap()
    }
}
