//! A folder to run the command in, and a server in it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What in the environment of the one who runs the tests would change what they do.
const VARIABLES: [&str; 7] = [
    "GRAVEN_SERVER",
    "GRAVEN_POLICY",
    "GRAVEN_CA",
    "GRAVEN_TOKEN",
    "GRAVEN_TOKEN_FILE",
    "GRAVEN_CLIENT_CERT",
    "GRAVEN_CLIENT_KEY",
];

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of its own for each test; commands run in it.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// A running server, killed when the test is over.
pub(crate) struct Server {
    child: Child,
    url: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With an initialised data directory in `data`.
    pub(crate) fn with_log() -> Self {
        let bench = Self::new();
        bench.run("init --data-dir data --origin example.com/audit").ok();
        bench
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Writes a file that its owner alone may read.
    pub(crate) fn write_secret(&self, name: &str, bytes: impl AsRef<[u8]>) {
        self.write(name, bytes);
        self.set_mode(name, 0o600);
    }

    pub(crate) fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Changes one bit of a file, which may be read-only.
    pub(crate) fn flip(&self, name: impl AsRef<Path>, at: usize) {
        let path = self.path(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }

    pub(crate) fn copy(&self, from: &str, to: &str) {
        assert!(
            Command::new("cp").arg("-r").arg(self.path(from)).arg(self.path(to)).status().unwrap().success()
        );
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_graven"));
        command.args(arguments.split(' ')).current_dir(self.folder.path()).stdin(Stdio::null());
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command
    }

    /// Runs a command without a server.
    pub(crate) fn run(&self, arguments: &str) -> Ran {
        ended(&mut self.command(arguments))
    }

    /// Runs a command that is to talk to `server` and trust what `init` wrote.
    pub(crate) fn at(&self, server: &Server, arguments: &str) -> Ran {
        ended(&mut self.command_at(server, arguments))
    }

    pub(crate) fn command_at(&self, server: &Server, arguments: &str) -> Command {
        let mut command = self.command(arguments);
        command.env("GRAVEN_SERVER", &server.url).env("GRAVEN_POLICY", "data/audit.policy");
        command
    }

    /// Appends `count` entries, `entry 0` and so on, and waits until they are published.
    pub(crate) fn fill(&self, server: &Server, count: u64) {
        let entries: String = (0..count).map(|n| format!("entry {n}\n")).collect();
        self.write("entries", entries);
        let ran = self.at(server, "append --wait published --lines entries").ok();
        assert_eq!(ran.text().lines().count() as u64, count);
    }

    /// Waits until `size` entries are published.
    pub(crate) fn wait_for(&self, server: &Server, size: u64) {
        let begun = Instant::now();
        while self.at(server, "head --json").ok().object()["size"].as_u64() < Some(size) {
            assert!(begun.elapsed() < PATIENCE, "the entries are not published");
        }
    }

    pub(crate) fn serve(&self) -> Server {
        self.serve_with("serve --data-dir data --dev --listen 127.0.0.1:0")
    }

    pub(crate) fn serve_with(&self, arguments: &str) -> Server {
        let log = fs::File::create(self.path("server.log")).unwrap();
        let mut child = self.command(arguments).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let mut server = Server { child, url: String::new() };
        let url = ready.trim().strip_prefix("listening on ");
        let said = || String::from_utf8_lossy(&self.read("server.log")).into_owned();
        server.url = url.unwrap_or_else(|| panic!("the server did not start: {}", said())).to_owned();
        server
    }

    /// A server that refuses to start: how it ends.
    pub(crate) fn serve_refused(&self) -> Ran {
        self.run("serve --data-dir data --dev --listen 127.0.0.1:0")
    }
}

impl Server {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its address without the scheme.
    pub(crate) fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the server does not end");
    }

    /// Asks it to stop, and demands that it does so well.
    pub(crate) fn stop(self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended().code(), Some(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self}");
        self
    }

    /// The command failed with this exit code, and one line that says this.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, says: &str) {
        assert_eq!(self.code, Some(code), "{self}");
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("graven: ") && last.contains(says), "expected {says:?}: {self}");
    }

    /// The command line is wrong, and its parser says this.
    #[track_caller]
    pub(crate) fn misused(&self, says: &str) {
        assert_eq!(self.code, Some(2), "{self}");
        assert!(self.stderr.contains(says), "expected {says:?}: {self}");
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The JSON objects that it printed, one a line.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The only JSON object that it printed.
    #[track_caller]
    pub(crate) fn object(&self) -> Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "{self}");
        objects.remove(0)
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {:?}\n{}{}", self.code, String::from_utf8_lossy(&self.stdout), self.stderr)
    }
}

/// Runs a command with this on its standard input.
pub(crate) fn fed(command: &mut Command, input: &[u8]) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It answers while it reads: who only writes would in the end wait for it, and it for him.
    thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        finish(child)
    })
}

pub(crate) fn finish(mut child: Child) -> Ran {
    let (mut stdout, mut stderr) = (Vec::new(), String::new());
    child.stdout.take().map(|mut pipe| pipe.read_to_end(&mut stdout).unwrap());
    child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut stderr).unwrap());
    Ran { code: child.wait().unwrap().code(), stdout, stderr }
}

/// Runs a command to its end.
pub(crate) fn ended(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
