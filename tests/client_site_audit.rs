//! Auditing a folder of tiles: a good one passes, and each way to spoil one is found and named.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use graven_client::{
    Trust,
    audit::{self, Altered, Finding, Folder, RootSource, SiteError, TileSource},
};
use graven_merkle::{
    Frontier, Hash, TreeSize, leaf_hash,
    tile::{BundleError, EntryBundle},
};
use std::{fs, io, path::Path};

#[path = "support/site.rs"]
mod site;
use site::{ORIGIN, Site, entry};

impl Site {
    fn audit(&self) -> Result<u64, Finding> {
        audit_folder(self.folder(), &self.trust())
    }

    /// Alters an entry together with its stored leaf hash.
    fn forge(&self, index: u64, bundle: &str, tile: &str) {
        let at = usize::try_from(index % 256).unwrap();
        let mut forged = entry(index);
        forged[0] ^= 1;
        self.change(bundle, |bytes| {
            let widths = (1..=256).filter_map(|width| EntryBundle::parse(bytes, width).ok());
            let mut entries: Vec<_> =
                widths.max_by_key(EntryBundle::width).unwrap().entries().map(<[u8]>::to_vec).collect();
            entries[at] = forged.clone();
            *bytes = EntryBundle::encode(entries).unwrap();
        });
        self.change(tile, |bytes| bytes[at * 32..][..32].copy_from_slice(leaf_hash(&forged).as_bytes()));
    }
}

fn audit_folder(folder: &Path, trust: &Trust) -> Result<u64, Finding> {
    let mut last = 0;
    match audit::site(&Folder::new(folder), trust, |progress| last = progress.entries) {
        Ok(audited) => {
            assert_eq!(audited.entries(), last, "the progress ends at the end");
            Ok(audited.entries())
        }
        Err(SiteError::Found(finding)) => Err(*finding),
        Err(error @ SiteError::Io { .. }) => panic!("{error}"),
    }
}

#[test]
fn logs_of_every_shape_pass() {
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 700, 20_000, 65_536, 65_537 + 256] {
        assert_eq!(Site::new(size).audit(), Ok(size.into()), "{size} entries");
    }
}

#[test]
fn progress_counts_the_bytes_of_entries() {
    let site = Site::new(9_000);
    let mut seen = Vec::new();
    let audited = audit::site(&Folder::new(site.folder()), &site.trust(), |at| seen.push(at)).unwrap();
    let bytes: usize = (0..9_000).map(|index| entry(index).len()).sum();
    assert_eq!(usize::try_from(audited.entry_bytes()), Ok(bytes));
    assert!(seen.windows(2).all(|pair| pair[0].entries < pair[1].entries));
    assert_eq!(seen.last().map(|at| (at.entries, at.of_entries)), Some((9_000, 9_000)));
}

#[test]
fn an_altered_entry_is_named() {
    let (bundle, index) = ("tile/entries/031", 7_999);
    let site = Site::new(20_000);
    // Four bytes from the end of the bundle: within entry 8191, its last one.
    site.change(bundle, |bytes| {
        let at = bytes.len() - 4;
        bytes[at] ^= 1;
    });
    assert!(matches!(site.audit(), Err(Finding::Entry { index: 8_191, .. })));
    // An earlier one is found first.
    let offset: usize = (7_936..index).map(|before| 2 + entry(before).len()).sum();
    site.change(bundle, |bytes| bytes[offset + 2] ^= 0x80);
    let finding = site.audit().unwrap_err();
    assert!(matches!(finding, Finding::Entry { index: 7_999, altered: Altered::Entry, .. }), "{finding}");
    assert_eq!(finding.first_index(), Some(7_999));
    assert!(finding.to_string().contains("entry 7999: its bytes were altered"), "{finding}");
}

#[test]
fn an_entry_forged_with_its_hash_is_narrowed_to_its_tile() {
    let site = Site::new(20_000);
    site.forge(8_000, "tile/entries/031", "tile/0/031");
    let Err(Finding::Tile { tile, above, entries }) = site.audit() else { panic!() };
    assert_eq!((tile.to_string(), above.to_string()), ("tile/0/031".into(), "tile/1/000.p/78".into()));
    assert_eq!(entries, 7_936..8_192);
}

#[test]
fn a_forgery_up_to_the_second_level_is_narrowed_by_the_third() {
    let site = Site::new(65_793);
    site.forge(300, "tile/entries/001", "tile/0/001");
    let mut frontier = Frontier::new();
    let row = fs::read(site.path("tile/0/001")).unwrap();
    frontier.append(row.chunks(32).map(|hash| Hash::try_from(hash).unwrap()));
    site.change("tile/1/000", |bytes| bytes[32..64].copy_from_slice(frontier.root().as_bytes()));
    let Err(Finding::Tile { tile, above, entries }) = site.audit() else { panic!() };
    assert_eq!((tile.to_string(), above.to_string()), ("tile/1/000".into(), "tile/2/000.p/1".into()));
    assert_eq!(entries, 0..65_536);
}

#[test]
fn a_forgery_in_the_last_tile_shows_at_the_root() {
    let site = Site::new(10);
    site.forge(9, "tile/entries/000.p/10", "tile/0/000.p/10");
    assert!(matches!(site.audit(), Err(Finding::Root { from: RootSource::Entries, .. })));
}

#[test]
fn bundles_of_another_shape_are_found() {
    let site = Site::new(700);
    site.change("tile/entries/001", |bytes| bytes.truncate(bytes.len() - 1));
    assert!(matches!(
        site.audit(),
        Err(Finding::Bundle { index: 511, problem: BundleError::Truncated { position: 255 }, .. })
    ));
    site.change("tile/entries/001", |bytes| bytes.extend([0; 3]));
    assert!(matches!(site.audit(), Err(Finding::Entry { .. } | Finding::Bundle { .. })));

    let site = Site::new(700);
    site.change("tile/entries/002.p/188", |bytes| bytes.push(0));
    let finding = site.audit().unwrap_err();
    assert!(
        matches!(finding, Finding::Bundle { index: 699, problem: BundleError::TrailingBytes(1), .. }),
        "{finding}"
    );
}

#[test]
fn tiles_of_another_length_are_found() {
    for (path, first) in [("tile/0/001", 256), ("tile/0/002.p/188", 512), ("tile/1/000.p/2", 0)] {
        for longer in [false, true] {
            let site = Site::new(700);
            site.change(path, |bytes| {
                bytes.resize(if longer { bytes.len() + 32 } else { bytes.len() - 1 }, 0);
            });
            let finding = site.audit().unwrap_err();
            assert!(matches!(finding, Finding::TileLength { .. }), "{path}: {finding}");
            assert_eq!(finding.first_index(), Some(first), "{path}");
        }
    }
}

#[test]
fn an_altered_hash_is_found_at_every_level() {
    for (path, at, bad) in [("tile/0/000", 5 * 32, 5), ("tile/0/002.p/188", 187 * 32, 699)] {
        let site = Site::new(700);
        site.change(path, |bytes| bytes[at] ^= 1);
        let finding = site.audit().unwrap_err();
        assert!(matches!(finding, Finding::Entry { altered: Altered::StoredHash, .. }), "{path}: {finding}");
        assert_eq!(finding.first_index(), Some(bad));
        // With the entry altered as well, neither is vouched for.
        site.forge(bad, if bad == 5 { "tile/entries/000" } else { "tile/entries/002.p/188" }, path);
        site.change(path, |bytes| bytes[at] ^= 1);
        assert!(matches!(site.audit(), Err(Finding::Entry { altered: Altered::Either, .. })));
    }
    let site = Site::new(700);
    site.change("tile/1/000.p/2", |bytes| bytes[32] ^= 1);
    assert!(matches!(site.audit(), Err(Finding::Tile { entries, .. }) if entries == (256..512)));
    // Nothing below the third level is left to compare with: the tiles alone must lead to the root.
    let site = Site::new(65_536);
    site.change("tile/2/000.p/1", |bytes| bytes[0] ^= 1);
    assert!(matches!(site.audit(), Err(Finding::Tile { .. })));
}

#[test]
fn what_is_missing_is_named() {
    for (path, first) in
        [("tile/entries/001", 256), ("tile/0/001", 256), ("tile/0/002.p/188", 512), ("tile/1/000.p/2", 0)]
    {
        let site = Site::new(700);
        fs::remove_file(site.path(path)).unwrap();
        let finding = site.audit().unwrap_err();
        assert!(matches!(&finding, Finding::Missing { path: missing, .. } if missing == path), "{finding}");
        assert_eq!(finding.first_index(), Some(first));
    }
    let site = Site::new(3);
    fs::remove_file(site.path("checkpoint")).unwrap();
    assert_eq!(site.audit(), Err(Finding::NoCheckpoint));
}

#[test]
fn full_tiles_stand_in_for_partial_ones() {
    let (small, large) = (Site::new(700), Site::new(768));
    for path in ["tile/entries/002", "tile/0/002"] {
        small.write(path, &fs::read(large.path(path)).unwrap());
        fs::remove_file(small.path(&format!("{path}.p/188"))).unwrap();
    }
    assert_eq!(small.audit(), Ok(700));
    // A full one is held to its own length, and its beginning to the signed tree.
    small.change("tile/0/002", |bytes| bytes[0] ^= 1);
    assert!(matches!(small.audit(), Err(Finding::Entry { index: 512, .. })));
    small.change("tile/0/002", |bytes| bytes.truncate(188 * 32));
    assert!(matches!(small.audit(), Err(Finding::TileLength { .. })));
}

#[test]
fn the_checkpoint_decides() {
    let site = Site::new(700);
    site.change("checkpoint", |note| note[ORIGIN.len() + 2] ^= 1);
    assert!(matches!(site.audit(), Err(Finding::Checkpoint(_))));

    // Signed by the right key, but over another root, and over more entries than there are.
    let site = Site::new(700);
    site.sign(TreeSize::from(700), leaf_hash(b"another"));
    assert!(matches!(site.audit(), Err(Finding::Root { .. })));
    site.sign(TreeSize::from(701), leaf_hash(b"another"));
    assert!(matches!(site.audit(), Err(Finding::Missing { .. })));
}

/// A log's folder as it was when it had a given size: its checkpoints are kept as `checkpoint.<size>`.
struct AtSize(Folder, usize);

impl TileSource for AtSize {
    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let path = if path == "checkpoint" { format!("checkpoint.{}", self.1) } else { path.to_owned() };
        self.0.fetch(&path)
    }
}

#[test]
fn vectors_of_real_logs_pass_at_every_size() {
    for folder in vectors::folders("logs").into_iter().filter(|folder| folder.join("checkpoint").exists()) {
        let meta: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("meta.json")).unwrap()).unwrap();
        let trust = Trust::of_vkeys(meta["vkey"].as_str()).unwrap();
        let entries = meta["entries"].as_array().unwrap().len();
        assert_eq!(
            audit_folder(&folder, &trust),
            Ok(u64::try_from(entries).unwrap()),
            "{}",
            folder.display()
        );
        for size in (0..=entries).filter(|size| folder.join(format!("checkpoint.{size}")).exists()) {
            let audited = audit::site(&AtSize(Folder::new(&folder), size), &trust, |_| ()).unwrap();
            assert_eq!(usize::try_from(audited.entries()), Ok(size), "{}", folder.display());
        }
    }
}

#[path = "support/vectors.rs"]
mod vectors;
