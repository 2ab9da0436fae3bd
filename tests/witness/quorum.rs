//! A log whose heads two of three witnesses have to cosign, with the programs that operators run.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use crate::rig::{Place, Running};

const ORIGIN: &str = "example.com/audit";

/// A log's folder, with its witnesses.
struct World {
    folder: tempfile::TempDir,
    witnesses: Vec<Place>,
}

/// The log's server, until it is dropped.
struct Server {
    child: Child,
    url: String,
}

impl World {
    fn new() -> Self {
        let witness = |at| Place::named(&format!("example.com/w{at}"), "ed25519,ml-dsa-44");
        let world = Self { folder: tempfile::tempdir().unwrap(), witnesses: (0..3).map(witness).collect() };
        let made = world.ok(&format!("init --data-dir data --origin {ORIGIN}"));
        let keys: Vec<_> = made.lines().map(str::to_owned).collect();
        world.witnesses.iter().for_each(|witness| witness.know(ORIGIN, &keys));
        world
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_graven"));
        command.args(args.split_whitespace()).current_dir(&self.folder);
        command
    }

    fn run(&self, args: &str) -> Output {
        self.command(args).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, args: &str) -> String {
        let ran = self.run(args);
        assert!(ran.status.success(), "{args}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    /// Settings and policies: each witness has two keys, which are one voice.
    fn believe(&self, running: &[Running]) {
        let mut witnesses = String::new();
        for (at, (place, running)) in self.witnesses.iter().zip(running).enumerate() {
            let [one, other] = &place.keys[..] else { panic!("two keys") };
            let url = format!("http://{}", running.address);
            witnesses += &format!("witness w{at}a {one} {url}\nwitness w{at}b {other} {url}\n");
            witnesses += &format!("group w{at} all w{at}a w{at}b\n");
        }
        witnesses += "group two 2 w0 w1 w2\nquorum two\n";
        let logs = fs::read_to_string(self.path("data/audit.policy")).unwrap();
        let logs: String =
            logs.lines().filter(|line| line.starts_with("log ")).map(|line| format!("{line}\n")).collect();
        fs::write(self.path("policy"), logs + &witnesses).unwrap();
        let settings = "data_dir = 'data'\nlisten = '127.0.0.1:0'\n[ops]\nlisten = 'off'\n\
                        [witnessing.audit]\npolicy = 'policy'\npublish = 'witnessed'\ntimeout_ms = 1000\n";
        fs::write(self.path("graven.toml"), settings).unwrap();
    }

    fn serve(&self) -> Server {
        let mut serving = self.command("serve --config graven.toml --dev --log-level error");
        let mut child = serving.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("it listens").to_owned();
        Server { child, url }
    }

    /// Appends, and returns how it ended.
    fn append(&self, server: &Server, entry: &str, wait: &str) -> Output {
        fs::write(self.path("entry"), entry).unwrap();
        let out = if wait == "durable" { "" } else { "--out proof" };
        self.run(&format!("append --server {} --policy policy --wait {wait} {out} entry", server.url))
    }

    #[track_caller]
    fn witnessed(&self, server: &Server, entry: &str) {
        // Right after a start the witnesses have not been heard yet: then it is refused, and nothing was appended.
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let ran = self.append(server, entry, "witnessed");
            if ran.status.success() {
                break;
            }
            assert!(std::time::Instant::now() < patience, "{}", String::from_utf8_lossy(&ran.stderr));
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        self.ok("verify --policy policy --entry entry proof");
    }

    fn head(&self, server: &Server) -> String {
        self.ok(&format!("head --server {} --policy policy", server.url))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn published_with_two_of_three_and_not_without_and_never_back() {
    let world = World::new();
    let mut running: Vec<_> = world.witnesses.iter().map(Place::serve).collect();
    world.believe(&running);
    let server = world.serve();
    world.witnessed(&server, "one");
    drop(running.remove(0));
    world.witnessed(&server, "two of three are enough");

    // One is not: what is durable is acknowledged, readers see what they saw, nothing new is published.
    let address = running.remove(0).stop();
    let before = world.head(&server);
    assert!(before.contains("2 entries"), "{before}");
    assert!(world.append(&server, "durable", "durable").status.success());
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(world.head(&server), before);
    running.push(world.witnesses[1].serve_at(&address));
    world.witnessed(&server, "they are back");
    let after = world.head(&server);
    assert!(after.contains("4 entries"), "{after}");
    drop(server);

    // A whole data directory that went back: only the witnesses can know, and they do.
    copy(&world.path("data"), &world.path("old"));
    let server = world.serve();
    world.witnessed(&server, "and then the machine is restored");
    drop(server);
    fs::remove_dir_all(world.path("data")).unwrap();
    copy(&world.path("old"), &world.path("data"));
    let ended = world.run("serve --config graven.toml --dev");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(4), "{told}");
    assert!(told.contains("has cosigned size 5") && told.contains("ends at size 4"), "{told}");
    assert!(told.contains("graven recover") && told.contains("new origin"), "{told}");
}
