//! Checkpoints of whole logs, and inclusion proofs that come with theirs.

use std::fs;
use std::path::Path;

use graven_merkle::{Hash, InclusionProof, LeafIndex, TreeSize, verify_inclusion};
use graven_note::{Checkpoint, VerifiedCheckpoint, open};
use serde_json::Value;

use crate::vectors::{name, number, text};
use crate::{
    assert_count, check_error_class, for_each_case, hash, hashes, judge, key, keys, origin, vectors,
};

/// All three of proof, note and their agreement must hold.
#[test]
fn vectors_merkle_checkpoints() {
    let fields = ["checkpoint", "leaf_hash", "root"];
    let count = for_each_case("merkle", &fields, |subject, file, case| {
        let included = is_included(case).is_some();
        let opened = open(text(case, "checkpoint").as_bytes(), &keys(file, "vkeys"));
        let matches = opened.as_ref().ok().map(|note| matches_case(case, note.text()));
        let why = (included, matches, opened.as_ref().err());
        judge(subject, case, included && matches == Some(true), &why);
        if vectors::is_default() {
            assert_eq!(included, text(case, "inclusion") == "ok", "{}", name(case));
            assert_eq!(matches, case["checkpoint_matches"].as_bool(), "{}", name(case));
        }
        if let Err(error) = opened {
            check_error_class(case, "checkpoint_note", &error);
        }
    });
    assert_count("Merkle checkpoints", count, 23);
}

fn is_included(case: &Value) -> Option<()> {
    let index = LeafIndex::new(case["index"].as_u64()?)?;
    let size = TreeSize::new(case["size"].as_u64()?)?;
    let proof = InclusionProof::from_hashes(hashes(case, "proof")?).ok()?;
    let (leaf, root) = (hash(text(case, "leaf_hash"))?, hash(text(case, "root"))?);
    verify_inclusion(leaf, index, size, &proof, &root).ok()
}

fn matches_case(case: &Value, note_text: &str) -> bool {
    Checkpoint::parse(note_text).is_ok_and(|checkpoint| {
        Some(checkpoint.size().get()) == case["size"].as_u64()
            && Some(*checkpoint.root()) == hash(text(case, "root"))
    })
}

#[test]
fn vectors_log_checkpoints() {
    let mut count = 0;
    for folder in vectors::folders("logs") {
        let Some(meta) = vectors::json_file(&folder.join("meta.json")) else { continue };
        let (log, keys) = (origin(text(&meta, "origin")), [key(text(&meta, "vkey")).unwrap()]);
        for found in notes_in(&folder) {
            let head = VerifiedCheckpoint::open(found.note.as_bytes(), &log, &keys)
                .unwrap_or_else(|error| panic!("{} {}: {error}", folder.display(), found.place));
            assert_eq!(head.note().as_str(), found.note);
            let checkpoint = head.checkpoint();
            assert!(found.size.is_none_or(|size| size == checkpoint.size().get()), "{}", found.place);
            assert!(found.root.is_none_or(|root| root == *checkpoint.root()), "{}", found.place);
            count += 1;
        }
    }
    assert_count("log checkpoints", count, 2_998 + 17);
}

/// A log's checkpoint, and what is known of it.
struct FoundNote {
    place: String,
    note: String,
    size: Option<u64>,
    root: Option<Hash>,
}

/// The checkpoints in a log's folder: one a line in `checkpoints.jsonl`, one a file in `checkpoint[.N]`.
fn notes_in(folder: &Path) -> Vec<FoundNote> {
    let lines = fs::read_to_string(folder.join("checkpoints.jsonl")).unwrap_or_default();
    let mut notes: Vec<_> = lines.lines().map(note_on_line).collect();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let place = path.file_name().unwrap().to_string_lossy().into_owned();
        let size = place.strip_prefix("checkpoint.").and_then(|size| size.parse().ok());
        if place == "checkpoint" || size.is_some() {
            notes.push(FoundNote { note: fs::read_to_string(&path).unwrap(), place, size, root: None });
        }
    }
    notes
}

fn note_on_line(line: &str) -> FoundNote {
    let line: Value = serde_json::from_str(line).unwrap();
    FoundNote {
        place: "checkpoints.jsonl".to_owned(),
        note: text(&line, "note").to_owned(),
        size: Some(number(&line, "size")),
        root: hash(text(&line, "root")),
    }
}
