//! A log whose heads two of three witnesses have to cosign, with the programs that operators run.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use crate::{polling::cosigned, rig::Place};

const ORIGIN: &str = "example.com/audit";

/// What the commands of a world show, if it is there.
const TOKEN: &str = "mine.token";

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
        if self.path(TOKEN).exists() {
            command.env("GRAVEN_TOKEN_FILE", TOKEN);
        }
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

    /// A token with these grants, in a file.
    fn token(&self, file: &str, grants: &str) -> std::path::PathBuf {
        let grants = grants.replace(' ', " --grant ");
        let token =
            self.ok(&format!("token new --name {file} --grant {grants} --credentials credentials.toml"));
        fs::write(self.path(file), token).unwrap();
        fs::set_permissions(self.path(file), fs::Permissions::from_mode(0o600)).unwrap();
        self.path(file)
    }

    /// Settings and policies: each witness has two keys, which are one voice, and is pushed to if it has a URL.
    fn believe(&self, urls: [&str; 3], listen: &str, settings: &str) {
        let mut witnesses = String::new();
        for (at, (place, url)) in self.witnesses.iter().zip(urls).enumerate() {
            let [one, other] = &place.keys[..] else { panic!("two keys") };
            witnesses += &format!("witness w{at}a {one} {url}\nwitness w{at}b {other} {url}\n");
            witnesses += &format!("group w{at} all w{at}a w{at}b\n");
        }
        witnesses += "group two 2 w0 w1 w2\nquorum two\n";
        let logs = fs::read_to_string(self.path("data/audit.policy")).unwrap();
        let logs: String =
            logs.lines().filter(|line| line.starts_with("log ")).map(|line| format!("{line}\n")).collect();
        fs::write(self.path("policy"), logs + &witnesses).unwrap();
        let settings = format!(
            "data_dir = 'data'\nlisten = '{listen}'\n{settings}[ops]\nlisten = 'off'\n\
             [witnessing.audit]\npolicy = 'policy'\npublish = 'witnessed'\ntimeout_ms = 1000\n"
        );
        fs::write(self.path("graven.toml"), settings).unwrap();
    }

    fn serve(&self) -> Server {
        let dev = if self.path(TOKEN).exists() { "" } else { "--dev" };
        let mut serving = self.command(&format!("serve --config graven.toml {dev} --log-level error"));
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

    /// What is verified of the head: the line before what the server says of its witnesses.
    fn head(&self, server: &Server) -> String {
        let shown = self.ok(&format!("head --server {} --policy policy", server.url));
        shown.lines().next().unwrap().to_owned()
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
    let urls: Vec<_> = running.iter().map(|it| format!("http://{}", it.address)).collect();
    world.believe([&urls[0], &urls[1], &urls[2]], "127.0.0.1:0", "");
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

#[test]
fn witnesses_that_come_to_the_log_are_a_quorum_too() {
    let world = World::new();
    world.token(TOKEN, "append:audit read:audit");
    let (may, may_not) = (world.token("w.token", "witness:audit"), world.token("r.token", "read:audit"));
    // Nobody is pushed to, and the port stays the same.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.believe(["", "", ""], &port.to_string(), "[access]\ncredentials = 'credentials.toml'\n");
    let server = world.serve();
    let come = |at: usize, token: &Path| {
        let (url, token) = (server.url.as_str(), token.to_str().unwrap());
        world.witnesses[at].poll(ORIGIN, &["--poll-server", url, "--log", "audit", "--token-file", token]);
    };
    [(0, &may), (1, &may), (2, &may_not)].into_iter().for_each(|(at, token)| come(at, token));
    let mut running: Vec<_> = world.witnesses.iter().map(Place::serve).collect();
    world.witnessed(&server, "two of three are enough");

    // The third is not let in: one is not enough. Then it is.
    running.remove(0).kill();
    let before = world.head(&server);
    assert!(world.append(&server, "durable", "durable").status.success());
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(world.head(&server), before);
    come(2, &may);
    world.witnessed(&server, "the third has the grant");

    // Killed and started again, and the log as well.
    running.drain(..).for_each(crate::rig::Running::kill);
    running.extend(world.witnesses[..2].iter().map(Place::serve));
    world.witnessed(&server, "they are back");
    drop(server);
    let server = world.serve();
    world.witnessed(&server, "and so is the log");
    assert!(world.head(&server).contains("5 entries"));
}

#[test]
fn a_log_without_witnesses_is_followed_over_grpc_by_whoever_may_read_it() {
    let world = World::new();
    fs::write(
        world.path("graven.toml"),
        "data_dir = 'data'\nlisten = '127.0.0.1:0'\n[ops]\nlisten = 'off'\n",
    )
    .unwrap();
    let server = world.serve();
    let witness = &world.witnesses[0];
    // The server's only log needs no name.
    witness.poll(ORIGIN, &["--poll-server", &server.url]);
    let running = witness.serve();
    for count in 1..4 {
        fs::write(world.path("entry"), format!("entry {count}")).unwrap();
        let policy = "--policy data/audit.policy";
        world.ok(&format!("append --server {} {policy} --wait published entry", server.url));
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let cosigned = || cosigned(&running, witness, ORIGIN).map(|shown| shown.checkpoint().size().get());
        while cosigned() != Some(count) {
            assert!(std::time::Instant::now() < patience, "{:?} instead of {count}", cosigned());
        }
    }
}
