//! Sources and logs that would bring a mirror down: they are refused, and it goes on with them and with all others.

use std::{fs, sync::Arc};

use graven_client::audit::Folder;
use graven_merkle::leaf_hash;
use graven_mirror::{AddLog, Mirror, MirrorError, MirroredLog, UpdateError, Updated, add_log, init};
use graven_note::{
    Checkpoint, KeyName, LocalSigner, MAX_NOTE_BYTES, MAX_SIGNATURES, Origin, SignatureType, SignedNote,
    Signer as _, VerifierKey, sign_checkpoint, sign_line, witness::Refused,
};
use graven_store::{Fs, RealFs};

use crate::site::{ORIGIN, Site};

const NOW: u64 = 1_763_600_000;

/// A mirror of the log that `site.rs` makes, with that log's witness.
struct Copied {
    folder: tempfile::TempDir,
    witness: LocalSigner,
}

fn signer(name: &str, kind: SignatureType) -> LocalSigner {
    LocalSigner::generate(KeyName::new(name).unwrap(), kind, &[7; 32]).unwrap()
}

/// Who signs for the log that `site.rs` makes.
fn log_signer() -> LocalSigner {
    signer(ORIGIN, SignatureType::Ed25519)
}

impl Copied {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        init(&RealFs, folder.path(), "m.example.com/m1").unwrap();
        let copied = Self { folder, witness: signer("w.example.com/w1", SignatureType::CosignatureV1) };
        copied.add(ORIGIN, vec![log_signer().vkey().clone()]).unwrap();
        copied
    }

    fn add(&self, origin: &str, keys: Vec<VerifierKey>) -> Result<String, MirrorError> {
        let (origin, url) = (Origin::new(origin).unwrap(), "https://log.example.com".to_owned());
        let witnesses = vec![self.witness.vkey().clone(); 2];
        add_log(&RealFs, self.folder.path(), AddLog { origin, url, keys, witnesses })
    }

    fn open(&self) -> Mirror {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        Mirror::open(&fs, self.folder.path()).unwrap()
    }
}

fn log(mirror: &Mirror, origin: &str) -> Arc<MirroredLog> {
    mirror.log(&Origin::new(origin).unwrap().sha256_hex()).unwrap().clone()
}

fn source(site: &Site) -> Folder {
    Folder::new(site.folder())
}

fn note_of(site: &Site) -> SignedNote {
    SignedNote::parse(&fs::read(site.path("checkpoint")).unwrap()).unwrap()
}

fn to(size: u32) -> Updated {
    Updated::To(size.into())
}

#[test]
fn a_line_that_is_repeated_as_often_as_a_note_may_have_lines_counts_once() {
    let (site, copied) = (Site::new(3), Copied::new());
    let line = note_of(&site).signatures()[0].to_string();
    let lines = line.repeat(MAX_SIGNATURES - 1);
    site.write("checkpoint", (note_of(&site).as_str().to_owned() + &lines).as_bytes());
    let mirror = copied.open();
    assert_eq!(log(&mirror, ORIGIN).update(&source(&site), NOW).unwrap(), to(3));
    let note = SignedNote::parse(&log(&mirror, ORIGIN).checkpoint().unwrap()).unwrap();
    assert_eq!(note.signatures().len(), 1 + 2);
}

#[test]
fn a_checkpoint_that_leaves_no_room_for_the_mirrors_lines_is_refused_and_nothing_ends() {
    let (site, copied) = (Site::new(3), Copied::new());
    let mirror = copied.open();
    let honest = note_of(&site);
    let signed = |length: usize| {
        let text = format!("{}{}\n", honest.text(), "x".repeat(length));
        SignedNote::new(&text, &[sign_line(&text, &log_signer(), 0).unwrap()]).unwrap()
    };
    let room = MAX_NOTE_BYTES - signed(1).as_str().len() + 1;
    for spare in [0, 1, 4_000] {
        let note = signed(room - spare);
        assert_eq!(note.as_str().len(), MAX_NOTE_BYTES - spare);
        site.write("checkpoint", note.as_str().as_bytes());
        let refused = log(&mirror, ORIGIN).update(&source(&site), NOW);
        assert!(matches!(refused, Err(UpdateError::Refused(Refused::Malformed(_)))), "{spare}: {refused:?}");
    }
    // The longest that is taken: it, and it with the mirror's lines, fit into the state, again and again.
    site.write("checkpoint", signed(room - 8_192).as_str().as_bytes());
    for round in 0..4 {
        assert_eq!(log(&mirror, ORIGIN).update(&source(&site), NOW + 60 * round).unwrap(), to(3), "{round}");
    }
    drop(mirror);
    let mirror = copied.open();
    site.write("checkpoint", honest.as_str().as_bytes());
    assert_eq!(log(&mirror, ORIGIN).update(&source(&site), NOW + 600).unwrap(), to(3));
    assert_eq!(log(&mirror, ORIGIN).update(&source(&Site::new(4)), NOW + 600).unwrap(), to(4));
}

#[test]
fn a_false_empty_tree_is_evidence_against_its_log_and_stops_no_other() {
    const EVIL: &str = "example.com/evil";
    let (site, copied) = (Site::new(3), Copied::new());
    let evil = signer(EVIL, SignatureType::Ed25519);
    copied.add(EVIL, vec![evil.vkey().clone()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (origin, root) = (Origin::new(EVIL).unwrap(), leaf_hash(b"not empty"));
    let note = sign_checkpoint(&Checkpoint::new(origin, 0_u32.into(), root), &[&evil], NOW).unwrap();
    fs::write(folder.path().join("checkpoint"), note.as_str()).unwrap();
    for life in 0..2 {
        let mirror = copied.open();
        let refused = log(&mirror, EVIL).update(&Folder::new(folder.path()), NOW);
        assert!(matches!(refused, Err(UpdateError::Refused(Refused::SplitView))), "{life}: {refused:?}");
        assert!(log(&mirror, EVIL).is_split() && log(&mirror, EVIL).checkpoint().is_none());
        assert_eq!(log(&mirror, ORIGIN).update(&source(&site), NOW + 60 * life).unwrap(), to(3));
    }
}

#[test]
fn a_key_that_is_given_twice_is_one_key() {
    let (site, copied) = (Site::new(3), Copied::new());
    // A witness that is a key of the log as well is no witness.
    let key = log_signer().vkey().clone();
    let keys = vec![key.clone(), copied.witness.vkey().clone(), key];
    copied.add(ORIGIN, keys).unwrap();
    for life in 0..2 {
        let mirror = copied.open();
        for poll in 0..2 {
            let now = NOW + 600 * life + 60 * poll;
            assert_eq!(log(&mirror, ORIGIN).update(&source(&site), now).unwrap(), to(3), "{life}, {poll}");
        }
    }
}

#[test]
fn keys_are_added_to_a_log_that_is_mirrored_and_none_taken_away() {
    let (site, copied) = (Site::new(3), Copied::new());
    let mirror = copied.open();
    log(&mirror, ORIGIN).update(&source(&site), NOW).unwrap();
    drop(mirror);
    let (old, new) = (log_signer().vkey().clone(), signer(ORIGIN, SignatureType::MlDsa44));
    let refused = copied.add(ORIGIN, vec![new.vkey().clone()]).unwrap_err();
    assert!(matches!(refused, MirrorError::Exists(_)), "{refused}");
    copied.add(ORIGIN, vec![old, new.vkey().clone()]).unwrap();
    let note = note_of(&site);
    let line = sign_line(note.text(), &new, NOW).unwrap();
    site.write("checkpoint", note.with_signature(&line).unwrap().as_str().as_bytes());
    let mirror = copied.open();
    assert_eq!(log(&mirror, ORIGIN).update(&source(&site), NOW + 1).unwrap(), to(3));
    let kept = SignedNote::parse(&log(&mirror, ORIGIN).checkpoint().unwrap()).unwrap();
    assert!(kept.signatures().contains(&line));
}

#[test]
fn more_keys_than_a_note_has_lines_are_refused_before_anything_is_written() {
    let copied = Copied::new();
    let key = |name: usize| signer(&format!("k{name}"), SignatureType::Ed25519).vkey().clone();
    let refused = copied.add("example.com/other", (0..98).map(key).collect()).unwrap_err();
    assert!(matches!(refused, MirrorError::Refused(_)), "{refused}");
    let key = |name: usize| signer(&format!("k{name}"), SignatureType::MlDsa44).vkey().clone();
    let refused = copied.add("example.com/other", (0..40).map(key).collect()).unwrap_err();
    assert!(matches!(refused, MirrorError::Refused(_)), "{refused}");
    assert_eq!(copied.open().logs().count(), 1);
}

#[test]
fn what_a_witness_adds_to_the_same_head_is_taken_at_once() {
    let (site, copied) = (Site::new(3), Copied::new());
    let mirror = copied.open();
    let log = log(&mirror, ORIGIN);
    assert_eq!(log.update(&source(&site), NOW).unwrap(), to(3));
    let note = note_of(&site);
    let with = |signer: &LocalSigner| {
        let line = sign_line(note.text(), signer, NOW).unwrap();
        site.write("checkpoint", note.with_signature(&line).unwrap().as_str().as_bytes());
        line
    };
    with(&signer("stranger.example.com/s", SignatureType::CosignatureV1));
    assert_eq!(log.update(&source(&site), NOW + 1).unwrap(), Updated::Not, "nobody asked for that line");
    let line = with(&copied.witness);
    assert_eq!(log.update(&source(&site), NOW + 2).unwrap(), to(3));
    let kept = SignedNote::parse(&log.checkpoint().unwrap()).unwrap();
    assert!(kept.signatures().contains(&line));
    assert_eq!(log.update(&source(&site), NOW + 3).unwrap(), Updated::Not, "once");
    // A source that does not show it any more takes nothing away.
    site.write("checkpoint", note.as_str().as_bytes());
    assert_eq!(log.update(&source(&site), NOW + 70).unwrap(), to(3));
    let kept = SignedNote::parse(&log.checkpoint().unwrap()).unwrap();
    assert!(kept.signatures().contains(&line));
}
