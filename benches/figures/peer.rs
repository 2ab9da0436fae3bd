//! The processes under load.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use graven_merkle::tile::{BundlePath, TILE_WIDTH};
use tonic::metadata::AsciiMetadataValue;

/// What the token of the load is called.
const BENCH: &str = "bench";

/// A process that serves; killed when it is dropped.
pub(crate) struct Peer {
    pub(crate) url: String,
    /// What it wants to be told by who calls.
    pub(crate) token: Option<AsciiMetadataValue>,
    child: Child,
}

/// A data directory with one log, beside it the settings and the credentials of its server.
pub(crate) struct Data {
    home: PathBuf,
    token: String,
    /// Of somebody who asks for what the first one approves.
    asker: Option<String>,
}

impl Data {
    /// Makes one, with settings for the engine, as TOML, beside the defaults.
    pub(crate) fn init(home: PathBuf, engine: &str) -> Self {
        Self::init_kind(home, engine, &["bytes"])
    }

    /// Likewise, of events.
    pub(crate) fn init_events(home: PathBuf, engine: &str) -> Self {
        Self::init_kind(home, engine, &["events"])
    }

    /// Likewise, of events, where whoever has the token decides about scopes.
    pub(crate) fn init_scopes(home: PathBuf, engine: &str) -> Self {
        let mut data = Self::init_kind(home, engine, &["events", "--administrator", BENCH]);
        data.asker = Some(data.know("asker", &["scope:*"]));
        data
    }

    fn init_kind(home: PathBuf, engine: &str, kind: &[&str]) -> Self {
        std::fs::create_dir(&home).expect("the folder is new");
        let settings = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n\n[access]\ncredentials = \"credentials.toml\"\n\n\
             [ops]\nlisten = \"127.0.0.1:0\"\n\n[engine]\n{engine}\n"
        );
        std::fs::write(home.join("graven.toml"), settings).expect("the settings can be written");
        let mut init = graven(["init", "--origin", "bench.example/log", "--kind"]);
        run(init.args(kind).arg("--data-dir").arg(home.join("data")));
        let mut data = Self { home, token: String::new(), asker: None };
        let grants = ["append:*", "read:*", "admin:*", "query:*", "reveal:*", "scope:*", "check:*"];
        data.token = data.know(BENCH, &grants);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(data.token_file());
        file.and_then(|mut file| file.write_all(data.token.as_bytes())).expect("the token can be written");
        data
    }

    /// A new token with these grants: its server knows it from the next start on.
    fn know(&self, name: &str, grants: &[&str]) -> String {
        let mut token = graven(["token", "new", "--name", name]);
        token.args(grants.iter().flat_map(|grant| ["--grant", grant]));
        run(token.arg("--credentials").arg(self.home.join("credentials.toml"))).trim().to_owned()
    }

    /// The token of who asks for what another one approves.
    pub(crate) fn asker(&self) -> &str {
        self.asker.as_deref().expect("this log is one of scopes")
    }

    /// Lets in who has a token of this issuer for this audience: from the next start on.
    pub(crate) fn trust(&self, issuer: &str, audience: &str) {
        let known = OpenOptions::new().append(true).open(self.home.join("credentials.toml"));
        let entry =
            format!("\n[[issuer]]\nname = \"corp\"\nurl = \"{issuer}\"\naudience = [\"{audience}\"]\n");
        known.and_then(|mut file| file.write_all(entry.as_bytes())).expect("the issuer can be written");
    }

    /// Gives the log witnesses: from the next start on.
    pub(crate) fn watch(&self, policy: &str) {
        std::fs::write(self.home.join("witnesses.policy"), policy).expect("the policy can be written");
        let settings = OpenOptions::new().append(true).open(self.home.join("graven.toml"));
        let table = b"\n[witnessing.log]\npolicy = \"witnesses.policy\"\n";
        settings.and_then(|mut file| file.write_all(table)).expect("the settings can be written");
    }

    /// A server on it, with everything on but TLS, which the baseline has not either.
    pub(crate) fn serve(&self) -> Peer {
        let mut serve = graven(["serve", "--log-level", "error", "--config"]);
        serve.arg(self.home.join("graven.toml")).env("TOKIO_WORKER_THREADS", crate::WORKERS.to_string());
        let bearer = format!("Bearer {}", self.token).parse().expect("a token is plain text");
        Peer::start(&mut serve, Some(bearer))
    }

    /// The file of what opens its server.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.home.join("token")
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The log as static files.
    pub(crate) fn site(&self) -> PathBuf {
        self.dir().join("logs/log/site")
    }

    /// The file that says whose signatures count.
    pub(crate) fn policy(&self) -> PathBuf {
        self.dir().join("log.policy")
    }

    /// Of the first `durable` entries, those that are sealed: as many as whole bundles are there, which are written in
    /// order.
    pub(crate) fn sealed(&self, durable: u64) -> u64 {
        let site = self.site();
        let is_there = |number: u64| {
            let path = BundlePath::new(number, TILE_WIDTH).expect("a bundle that can be");
            site.join(path.to_string()).exists()
        };
        let (mut sealed, mut end) = (0, durable / u64::from(TILE_WIDTH));
        while sealed < end {
            let middle = sealed + (end - sealed) / 2;
            if is_there(middle) { sealed = middle + 1 } else { end = middle }
        }
        sealed * u64::from(TILE_WIDTH)
    }

    /// How many entries the log has as static files.
    pub(crate) fn exported(&self) -> u64 {
        let checkpoint = std::fs::read_to_string(self.site().join("checkpoint")).unwrap_or_default();
        checkpoint.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or(0)
    }
}

impl Peer {
    /// The bare echo: this program, as a server.
    pub(crate) fn echo() -> Self {
        Self::start(Command::new(this_program()).arg("--echo-server"), None)
    }

    /// An echo that gives the answer in a file to who asks for a proof, or whether something is allowed.
    pub(crate) fn echo_of(answer: &Path) -> Self {
        Self::start(Command::new(this_program()).arg("--echo-server").arg("--answer").arg(answer), None)
    }

    /// A witness on a data directory of its own.
    pub(crate) fn witness(dir: &Path) -> Self {
        let mut serve =
            graven(["witness", "serve", "--listen", "127.0.0.1:0", "--log-level", "error", "--data-dir"]);
        Self::start(serve.arg(dir).env("TOKIO_WORKER_THREADS", crate::WORKERS.to_string()), None)
    }

    fn start(command: &mut Command, token: Option<AsciiMetadataValue>) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the peer starts");
        let stdout = child.stdout.take().expect("its output is piped");
        let line = BufReader::new(stdout).lines().next().and_then(Result::ok).unwrap_or_default();
        let url = line.rsplit(' ').next().unwrap_or_default().to_owned();
        let peer = Self { url, token, child };
        assert!(peer.url.starts_with("http://"), "the peer said `{line}` instead of where it listens");
        peer
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    /// With SIGKILL.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that was built for this run.
pub(crate) fn graven<const N: usize>(args: [impl AsRef<OsStr>; N]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven"));
    command.args(args);
    command
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let ended = command.output().expect("the command starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{command:?} failed: {said}");
    String::from_utf8(ended.stdout).expect("it prints text")
}

fn this_program() -> PathBuf {
    std::env::current_exe().expect("this program has a path")
}
