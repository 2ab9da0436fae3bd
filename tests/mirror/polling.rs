//! Copies of a real log, by the real command.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use graven_note::{Checkpoint, SignedNote, VerifierKey};

use crate::bench::{Bench, Server};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bench with a log in `data` that anybody may read, and a mirror in `mirror`.
struct Mirrored {
    bench: Bench,
    log: Server,
    /// The log's place below the mirror.
    place: String,
}

impl Mirrored {
    fn new() -> Self {
        let bench = Bench::new();
        bench.run("init --data-dir data --origin example.com/audit --visibility public").ok();
        let log = bench.serve();
        let mirrored = Self { bench, log, place: String::new() };
        mirrored.bench.run("mirror init --data-dir mirror --name m.example.com/m1").ok();
        let place = mirrored.add(&format!("{}/audit", mirrored.log.url())).trim().to_owned();
        Self { place, ..mirrored }
    }

    fn add(&self, url: &str) -> String {
        let vkeys = self.bench.run("keys show --data-dir data --log audit").ok();
        let vkeys: Vec<_> = vkeys.text().lines().filter_map(|line| line.split(' ').next_back()).collect();
        let keys: String = vkeys.iter().map(|vkey| format!(" --key {vkey}")).collect();
        let add = format!("mirror add-log --data-dir mirror --origin example.com/audit --url {url}{keys}");
        self.bench.run(&add).ok().text().to_owned()
    }

    fn serve(&self) -> Server {
        self.bench.serve_with("mirror serve --data-dir mirror --listen 127.0.0.1:0 --poll-ms 20")
    }

    fn site(&self) -> String {
        format!("mirror/logs/{}/site", self.place)
    }

    fn checkpoint(&self) -> Option<SignedNote> {
        let path = self.bench.path(self.site()).join("checkpoint");
        path.exists().then(|| SignedNote::parse(&fs::read(path).unwrap()).unwrap())
    }

    fn size(&self) -> u64 {
        self.checkpoint().map_or(0, |note| Checkpoint::parse(note.text()).unwrap().size().get())
    }

    fn wait_for(&self, size: u64) {
        let begun = Instant::now();
        while self.size() < size {
            assert!(begun.elapsed() < PATIENCE, "{} entries are mirrored, not {size}", self.size());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn audit(&self, mirror: &Server) {
        self.bench
            .run(&format!("audit --policy data/audit.policy --url {}/{}", mirror.url(), self.place))
            .ok();
    }
}

/// Every full tile and bundle in `copy` is the one in `original`; how many there are.
fn same_files(original: &Path, copy: &Path) -> usize {
    let mut count = 0;
    for file in fs::read_dir(copy).unwrap().map(|entry| entry.unwrap().path()) {
        let original = original.join(file.file_name().unwrap());
        if file.is_dir() {
            let is_partial = file.extension().is_some_and(|extension| extension == "p");
            count += if is_partial { 0 } else { same_files(&original, &file) };
        } else {
            assert_eq!(fs::read(&file).unwrap(), fs::read(&original).unwrap(), "{}", file.display());
            count += 1;
        }
    }
    count
}

#[test]
fn a_log_is_copied_byte_for_byte_cosigned_and_audited() {
    let mirrored = Mirrored::new();
    let Mirrored { bench, log, .. } = &mirrored;
    bench.fill(log, 3_000);
    let mirror = mirrored.serve();
    mirrored.wait_for(3_000);
    mirrored.audit(&mirror);
    bench.fill(log, 77);
    mirrored.wait_for(3_077);
    mirrored.audit(&mirror);
    // Eleven bundles and their tiles, once both have sealed them.
    assert_eq!(
        same_files(&bench.path("data/logs/audit/site/tile"), &bench.path(mirrored.site()).join("tile")),
        24
    );

    let vkeys = String::from_utf8(bench.read("mirror/mirror")).unwrap();
    let vkeys: Vec<_> =
        vkeys.lines().filter_map(|line| VerifierKey::parse(line.strip_prefix("key ")?).ok()).collect();
    let note = mirrored.checkpoint().unwrap().verify(&vkeys).unwrap();
    note.require_keys(&vkeys).unwrap();
    assert!(note.signatures().iter().all(|signature| signature.timestamp().is_some()));
    mirror.stop();
}

#[test]
fn a_mirror_that_is_killed_goes_on_where_it_was() {
    let mirrored = Mirrored::new();
    mirrored.bench.fill(&mirrored.log, 700);
    let mirror = mirrored.serve();
    mirrored.wait_for(700);
    drop(mirror);
    mirrored.bench.fill(&mirrored.log, 700);
    let mirror = mirrored.serve();
    mirrored.wait_for(1_400);
    mirrored.audit(&mirror);
}

#[test]
fn a_copy_that_the_disk_changed_is_not_served() {
    let mirrored = Mirrored::new();
    mirrored.bench.fill(&mirrored.log, 700);
    let mirror = mirrored.serve();
    mirrored.wait_for(700);
    mirrored.bench.flip(format!("{}/tile/entries/001", mirrored.site()), 50);
    let audit = format!("audit --policy data/audit.policy --url {}/{}", mirror.url(), mirrored.place);
    mirrored.bench.run(&audit).refused(2, "500");
    mirror.stop();
    mirrored.bench.flip(format!("{}/tile/1/000.p/2", mirrored.site()), 50);
    let ran = mirrored.bench.run("mirror serve --data-dir mirror --listen 127.0.0.1:0");
    ran.refused(1, "do not hash to the root that was cosigned");
}
