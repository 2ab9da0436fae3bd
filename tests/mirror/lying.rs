//! Sources that lie: nothing of them is kept, cosigned or served, and what was verified before is served on.

use std::{fs, path::PathBuf, sync::Arc};

use graven_client::audit::{Folder, TileSource as _};
use graven_merkle::tile::Resource;
use graven_mirror::{AddLog, Mirror, MirroredLog, UpdateError, Updated, add_log, init};
use graven_note::{Evidence, Origin, SignedNote, VerifierKey, witness::Refused};
use graven_store::{Fs, RealFs};

use crate::site::{ORIGIN, Site};

const NOW: u64 = 1_763_600_000;

struct Copied {
    folder: tempfile::TempDir,
    keys: Vec<VerifierKey>,
}

impl Copied {
    fn of(site: &Site) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = init(&RealFs, folder.path(), "m.example.com/m1").unwrap();
        let copied = Self { folder, keys };
        let (origin, url) = (Origin::new(ORIGIN).unwrap(), "https://log.example.com".to_owned());
        let keys = site.trust().keys().to_vec();
        add_log(&RealFs, copied.folder.path(), AddLog { origin, url, keys, witnesses: vec![] }).unwrap();
        copied
    }

    fn open(&self) -> (Mirror, Arc<MirroredLog>) {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let mirror = Mirror::open(&fs, self.folder.path()).unwrap();
        let log = mirror.log(&Origin::new(ORIGIN).unwrap().sha256_hex()).unwrap().clone();
        (mirror, log)
    }

    fn evidence(&self) -> Evidence {
        let log = self.folder.path().join("logs").join(Origin::new(ORIGIN).unwrap().sha256_hex());
        let files: Vec<_> =
            fs::read_dir(log.join("evidence")).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        Evidence::parse(&fs::read(&files[0]).unwrap()).unwrap()
    }

    fn bundle(&self, name: &str) -> PathBuf {
        let log = self.folder.path().join("logs").join(Origin::new(ORIGIN).unwrap().sha256_hex());
        log.join("site/tile/entries").join(name)
    }
}

fn source(site: &Site) -> Folder {
    Folder::new(site.folder())
}

#[test]
fn of_a_changed_bundle_nothing_is_kept_and_mended_it_is_copied() {
    let site = Site::new(600);
    let copied = Copied::of(&site);
    let (mirror, log) = copied.open();
    let name = "tile/entries/001";
    let good = fs::read(site.path(name)).unwrap();
    for at in [0, 1, 2, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        site.write(name, &bad);
        assert!(matches!(log.update(&source(&site), NOW), Err(UpdateError::Unproven { .. })), "byte {at}");
        assert!(log.checkpoint().is_none());
        assert!(!copied.bundle("001").exists());
        assert_eq!(
            log.resource("tile/entries/000".parse().unwrap()).unwrap(),
            None,
            "not under a cosigned head"
        );
    }
    drop((mirror, log));
    let (_mirror, log) = copied.open();
    site.write(name, &good);
    assert_eq!(log.update(&source(&site), NOW).unwrap(), Updated::To(600_u32.into()));
    assert_eq!(log.update(&source(&site), NOW + 59).unwrap(), Updated::Not);
    assert_eq!(log.update(&source(&site), NOW + 60).unwrap(), Updated::To(600_u32.into()), "cosigned anew");
    for path in [
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/002.p/88",
    ] {
        let resource: Resource = path.parse().unwrap();
        let served = log.resource(resource).unwrap().unwrap();
        assert_eq!(Some(served.to_vec()), source(&site).fetch(path).unwrap(), "{path}");
    }
    let narrower = log.resource("tile/entries/001.p/5".parse().unwrap()).unwrap().unwrap();
    assert!(good.starts_with(&narrower) && narrower.len() < good.len());
    for beyond in
        ["tile/entries/002.p/89", "tile/entries/002", "tile/entries/003.p/1", "tile/1/000", "tile/2/000.p/1"]
    {
        assert_eq!(log.resource(beyond.parse().unwrap()).unwrap(), None, "{beyond}");
    }
}

#[test]
fn a_changed_tile_proves_nothing() {
    let site = Site::new(600);
    let copied = Copied::of(&site);
    let (_mirror, log) = copied.open();
    for name in ["tile/1/000.p/2", "tile/0/002.p/88"] {
        let good = fs::read(site.path(name)).unwrap();
        let mut bad = good.clone();
        bad[3] ^= 1;
        site.write(name, &bad);
        assert!(matches!(log.update(&source(&site), NOW), Err(UpdateError::Unproven { .. })), "{name}");
        assert!(log.checkpoint().is_none());
        site.write(name, &good);
    }
}

#[test]
fn a_log_that_goes_back_or_shows_another_history_is_not_followed() {
    let site = Site::new(300);
    let copied = Copied::of(&site);
    let (_mirror, log) = copied.open();
    log.update(&source(&site), NOW).unwrap();
    let cosigned = log.checkpoint().unwrap();

    let earlier = Site::new(299);
    assert!(matches!(
        log.update(&source(&earlier), NOW + 100),
        Err(UpdateError::WentBack { found: 299, pending: 300 })
    ));
    assert!(!log.is_split(), "it is the beginning of what is mirrored");
    // A larger tree that does not begin with this one, as its source shows it: that is no proof, whatever it is.
    let root = graven_merkle::leaf_hash(b"another history");
    let larger = Site::new(700);
    larger.sign(700_u32.into(), root);
    let refused = log.update(&source(&larger), NOW + 100);
    assert!(matches!(refused, Err(UpdateError::Refused(Refused::Inconsistent(_)))), "{refused:?}");
    assert_eq!(log.update(&source(&Site::new(400)), NOW + 100).unwrap(), Updated::To(400_u32.into()));
    let cosigned_later = log.checkpoint().unwrap();
    assert_ne!(cosigned, cosigned_later);

    for (size, other) in [(400_u32, "the same size"), (300, "an earlier tree")] {
        let copied = Copied::of(&site);
        let (mirror, log) = copied.open();
        log.update(&source(&Site::new(400)), NOW).unwrap();
        let cosigned = log.checkpoint().unwrap();
        site.sign(size.into(), root);
        let refused = log.update(&source(&site), NOW + 100);
        assert!(matches!(refused, Err(UpdateError::Refused(Refused::SplitView))), "{other}: {refused:?}");
        let evidence = copied.evidence().verify(site.trust().keys()).unwrap();
        assert!(evidence.heads().iter().any(|head| *head.checkpoint().root() == root), "{other}");
        drop((mirror, log));
        // It remembers, and cosigns neither history.
        let (_mirror, log) = copied.open();
        assert!(log.is_split());
        let refused = log.update(&source(&Site::new(700)), NOW + 100);
        assert!(matches!(refused, Err(UpdateError::Refused(Refused::SplitView))), "{other}: {refused:?}");
        assert_eq!(log.checkpoint().unwrap(), cosigned);
    }
}

#[test]
fn the_time_of_cosignatures_does_not_go_back_with_the_clock() {
    let copied = Copied::of(&Site::new(3));
    let time = |log: &MirroredLog| log.status().time_seconds;
    let (mirror, log) = copied.open();
    log.update(&source(&Site::new(3)), NOW).unwrap();
    log.update(&source(&Site::new(4)), NOW - 1_000).unwrap();
    assert_eq!(time(&log), NOW);
    drop((mirror, log));
    let (_mirror, log) = copied.open();
    log.update(&source(&Site::new(5)), NOW - 1_000).unwrap();
    assert_eq!(time(&log), NOW);
    let note = String::from_utf8(log.checkpoint().unwrap().to_vec()).unwrap();
    let note = SignedNote::parse(note.as_bytes()).unwrap().verify(&copied.keys).unwrap();
    assert!(note.signatures().iter().all(|signature| signature.timestamp() == Some(NOW)));
    log.update(&source(&Site::new(6)), NOW + 5).unwrap();
    assert_eq!(time(&log), NOW + 5);
}

#[test]
fn forged_lines_under_the_mirrors_own_name_do_it_no_harm() {
    let site = Site::new(3);
    let copied = Copied::of(&site);
    let (_mirror, log) = copied.open();
    log.update(&source(&site), NOW).unwrap();
    // Its own cosignature with one character changed, in the source's checkpoint.
    let cosigned = String::from_utf8(log.checkpoint().unwrap().to_vec()).unwrap();
    let own = cosigned.lines().rfind(|line| line.contains("m.example.com")).unwrap();
    let (end, changed) = (own.len() - 8, if own.as_bytes()[own.len() - 8] == b'A' { "B" } else { "A" });
    let forged = format!("{}{changed}{}\n", &own[..end], &own[end + 1..]);
    let note = fs::read_to_string(site.path("checkpoint")).unwrap();
    site.write("checkpoint", (note + &forged).as_bytes());
    assert_eq!(log.update(&source(&site), NOW + 60).unwrap(), Updated::To(3_u32.into()));
    assert!(!String::from_utf8(log.checkpoint().unwrap().to_vec()).unwrap().contains(forged.trim()));
}

#[test]
fn a_mirror_has_a_name_of_its_own() {
    let site = Site::new(1);
    let folder = tempfile::tempdir().unwrap();
    init(&RealFs, folder.path(), ORIGIN).unwrap();
    let log = AddLog {
        origin: Origin::new(ORIGIN).unwrap(),
        url: "https://log.example.com".to_owned(),
        keys: site.trust().keys().to_vec(),
        witnesses: vec![],
    };
    assert!(add_log(&RealFs, folder.path(), log).unwrap_err().to_string().contains("its own"));
    assert!(init(&RealFs, folder.path(), "m.example.com/m1").is_err(), "nothing that exists is changed");
}
