//! logs/*/: real logs, re-made from their entries or leaf hashes. Signatures are for the notes' tests.

use crate::{
    assert_count, hash, hashes,
    trees::{MemoryTree, index, size},
    vectors::{b64, bytes, cases, folders, json_file, number, text},
};
use graven_merkle::{
    Hash, NodeId, TreeSize, leaf_hash, prove_consistency, prove_inclusion, root,
    tile::{EntryBundle, Resource, TILE_WIDTH},
    verify_consistency, verify_inclusion,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn log_vectors_of_leaf_hashes_and_checkpoints() {
    let (mut checkpoints, mut proofs) = (0, 0);
    for folder in folders("logs").iter().filter(|folder| folder.join("leaf-hashes.bin").exists()) {
        let leaves = bytes(&folder.join("leaf-hashes.bin")).expect("leaf hashes");
        let tree = MemoryTree::of(leaves.chunks(32).map(|leaf| Hash::try_from(leaf).expect("32 bytes")));
        for line in bytes(&folder.join("checkpoints.jsonl")).unwrap_or_default().split(|&byte| byte == b'\n')
        {
            if line.is_empty() {
                continue;
            }
            let case: Value = serde_json::from_slice(line).expect("a JSON line");
            let (of, noted) = head(text(&case, "note"));
            assert_eq!((of.get(), Some(noted)), (number(&case, "size"), hash(text(&case, "root"))));
            assert_eq!(root(&tree, of), Ok(noted), "{} at {of}", folder.display());
            checkpoints += 1;
        }
        if let Some(expected) = json_file(&folder.join("expected-proofs.json")) {
            proofs += expected_proofs(&tree, &expected);
        }
    }
    assert_count("checkpoints of logs of leaf hashes", checkpoints, 2_998);
    assert_count("exact proofs", proofs, 50 + 8);
}

#[test]
fn log_vectors_of_tile_sites_are_byte_exact() {
    let (mut resources, mut checkpoints) = (0, 0);
    for site in folders("logs").iter().filter(|folder| folder.join("tile").is_dir()) {
        let entries = entries(site);
        if let Some(meta) = json_file(&site.join("meta.json")) {
            let named = cases(&meta, "entries").iter().filter_map(Value::as_str);
            named.zip(&entries).for_each(|(named, entry)| assert_eq!(named.as_bytes(), entry));
        }
        let tree = MemoryTree::of(entries.iter().map(|entry| leaf_hash(entry)));
        for file in files(&site.join("tile")) {
            resource(site, &file, &entries, &tree);
            resources += 1;
        }
        for (name, note) in checkpoint_notes(site) {
            let (of, noted) = head(&note);
            assert_eq!(root(&tree, of), Ok(noted), "{} {name}", site.display());
            checkpoints += 1;
        }
    }
    assert_count("tiles and bundles", resources, 15 + 15);
    assert_count("checkpoints of sites", checkpoints, 17);
}

/// Size and root: the second and third line of a checkpoint.
fn head(note: &str) -> (TreeSize, Hash) {
    let mut lines = note.lines().skip(1);
    let of = lines.next().expect("a size line").parse().expect("a size");
    let root = b64(lines.next().expect("a root line"));
    (size(of), Hash::try_from(root.as_slice()).expect("32 bytes"))
}

fn expected_proofs(tree: &MemoryTree, expected: &Value) -> usize {
    for case in cases(expected, "cases") {
        let (from, to) = (size(number(case, "size1")), size(number(case, "size2")));
        let (from_root, to_root) =
            (hash(text(case, "root1")).expect("a hash"), hash(text(case, "root2")).expect("a hash"));
        let proof = prove_consistency(tree, from, to).expect("a proof");
        assert_eq!(Some(proof.hashes()), hashes(&case["proof"]).as_deref(), "{from} -> {to}");
        assert_eq!(verify_consistency(from, &from_root, to, &to_root, &proof), Ok(()), "{from} -> {to}");
    }
    for case in cases(expected, "inclusion") {
        let (at, of) = (index(number(case, "index")), size(number(case, "size")));
        let (leaf, root) =
            (hash(text(case, "leaf_hash")).expect("a hash"), hash(text(case, "root")).expect("a hash"));
        let proof = prove_inclusion(tree, at, of).expect("a proof");
        assert_eq!(Some(proof.hashes()), hashes(&case["proof"]).as_deref(), "{at} in {of}");
        assert_eq!(verify_inclusion(leaf, at, of, &proof, &root), Ok(()), "{at} in {of}");
    }
    cases(expected, "cases").len() + cases(expected, "inclusion").len()
}

/// The entries of a site: from each bundle, the widest that is there.
fn entries(site: &Path) -> Vec<Vec<u8>> {
    let mut widest = std::collections::BTreeMap::new();
    for file in files(&site.join("tile/entries")) {
        let Resource::Entries(bundle) = parse(site, &file) else {
            panic!("{}: not a bundle", file.display())
        };
        let kept = widest.entry(bundle.index()).or_insert((bundle.width(), file.clone()));
        if kept.0 < bundle.width() {
            *kept = (bundle.width(), file);
        }
    }
    let mut entries = Vec::new();
    for (at, (width, file)) in widest {
        assert_eq!(
            at * u64::from(TILE_WIDTH),
            entries.len() as u64,
            "a bundle is missing before {}",
            file.display()
        );
        let bytes = fs::read(&file).expect("a bundle");
        let bundle =
            EntryBundle::parse(&bytes, width).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        entries.extend(bundle.entries().map(<[u8]>::to_vec));
    }
    entries
}

fn resource(site: &Path, file: &Path, entries: &[Vec<u8>], tree: &MemoryTree) {
    let made: Vec<u8> = match parse(site, file) {
        Resource::Tile(tile) => {
            let hash =
                |id: NodeId| tree.node(id).unwrap_or_else(|| panic!("{}: no node {id}", file.display()));
            tile.node_ids().flat_map(|id| *hash(id).as_bytes()).collect()
        }
        Resource::Entries(bundle) => {
            let first = usize::try_from(bundle.index()).expect("a small index") * usize::from(TILE_WIDTH);
            let entries = &entries[first..first + usize::from(bundle.width())];
            EntryBundle::encode(entries).expect("short entries")
        }
    };
    assert_eq!(fs::read(file).expect("a file"), made, "{}", file.display());
}

fn parse(site: &Path, file: &Path) -> Resource {
    let path = file.strip_prefix(site).expect("a path in the site").to_str().expect("an ASCII path");
    path.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn checkpoint_notes(site: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(site).expect("a folder").map(|entry| entry.expect("a file").path());
    files
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            let note = fs::read_to_string(&path).ok()?;
            name.starts_with("checkpoint").then_some((name, note))
        })
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .map(|entry| entry.expect("a folder entry").path())
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}
