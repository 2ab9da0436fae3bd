//! A log of its own for each test, its server, and the folder that all programs run in.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// More than 10,000 entries, and a partial tile at the right edge of each level.
pub(crate) const MANY: u64 = 10_500;

/// A folder with a data directory, keys, certificates and a token: what an operator hands out and what not.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// A running server, stopped when the test is over.
pub(crate) struct Server {
    child: Child,
    url: String,
    token: Option<String>,
}

/// What a program said, and how it ended.
pub(crate) struct Ran {
    code: Option<i32>,
    said: String,
    complained: String,
}

impl Place {
    /// With a log named `audit`: its tiles are public or private.
    pub(crate) fn new(visibility: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let init = "init --data-dir data --origin example.com/audit --visibility";
        let keys = place.run(graven(init).arg(visibility)).ok();
        place.write("audit.vkeys", keys.said);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Plaintext on loopback, open to everybody.
    pub(crate) fn serve_openly(&self) -> Server {
        self.serve("serve --dev --data-dir data --listen 127.0.0.1:0", None)
    }

    /// TLS, and nothing without a token. `settings` are more of the settings file.
    pub(crate) fn serve_securely(&self, settings: &str) -> Server {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        self.write("server.pem", certified.cert.pem());
        self.write("server.key", certified.signing_key.serialize_pem());
        let new = "token new --name stranger --grant append:audit --grant read:audit --credentials credentials.toml";
        let token = self.run(&mut graven(new)).ok().said.trim().to_owned();
        let settings = format!(
            "data_dir = 'data'\nlisten = '127.0.0.1:0'\n\
             [tls]\ncert = 'server.pem'\nkey = 'server.key'\n\
             [access]\ncredentials = 'credentials.toml'\n\
             [ops]\nlisten = 'off'\n{settings}"
        );
        self.write("graven.toml", settings);
        restrict(&[self.path("server.key"), self.path("credentials.toml")]);
        self.serve("serve --config graven.toml", Some(token))
    }

    /// The same server once more, after it was stopped.
    pub(crate) fn serve_again(&self, server: Server) -> Server {
        let token = server.token.clone();
        server.stop();
        self.serve("serve --config graven.toml", token)
    }

    /// A witness with keys of both types, in `w.vkeys`, that knows one log.
    pub(crate) fn serve_witness(&self, origin: &str, log_keys: &str) -> Server {
        let keys = self.run(&mut graven("witness init --data-dir w --name example.com/w")).ok();
        self.write("w.vkeys", keys.said);
        let know = "witness add-log --data-dir w --origin";
        self.run(graven(know).arg(origin).args(["--keys", log_keys])).ok();
        self.serve("witness serve --data-dir w --listen 127.0.0.1:0", None)
    }

    fn serve(&self, arguments: &str, token: Option<String>) -> Server {
        let log = self.path(arguments.split(' ').next().unwrap()).with_extension("log");
        let said = || fs::read_to_string(&log).unwrap();
        let mut command = graven(arguments);
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let mut child = command.current_dir(&self.folder).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let url = ready.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{}", said()));
        // The certificate names no address.
        let url = url.replace("127.0.0.1", "localhost");
        Server { child, url, token }
    }

    /// Runs a program here.
    pub(crate) fn run(&self, command: &mut Command) -> Ran {
        let output = command.current_dir(&self.folder).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Ran {
            code: output.status.code(),
            said: String::from_utf8(output.stdout).unwrap(),
            complained: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a program that is to know how to reach `server`.
    pub(crate) fn run_at(&self, server: &Server, command: &mut Command) -> Ran {
        command.env("GRAVEN_SERVER", &server.url);
        if let Some(token) = &server.token {
            command.env("GRAVEN_CA", self.path("server.pem")).env("GRAVEN_TOKEN", token);
        }
        self.run(command)
    }

    /// Waits until the server has heard from enough of the log's witnesses to take entries.
    pub(crate) fn wait_for_witnesses(&self, server: &Server) {
        let head =
            || self.run_at(server, &mut graven("head --log audit --policy data/audit.policy --json")).ok();
        while !head().said().replace(' ', "").contains("\"witnesses_awaited\":false") {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Appends `count` entries and waits until they are published.
    pub(crate) fn fill(&self, server: &Server, count: u64) {
        let lines: String = (0..count).map(|n| format!("{{\"actor\":\"alice\",\"n\":{n}}}\n")).collect();
        self.write("lines", lines);
        self.run_at(
            server,
            &mut graven("append --log audit --wait published --policy data/audit.policy --lines lines"),
        )
        .ok();
    }
}

/// The command itself, with nothing from our environment.
pub(crate) fn graven(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven"));
    command.args(arguments.split(' '));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GRAVEN_")) {
        command.env_remove(name);
    }
    command
}

fn restrict(files: &[PathBuf]) {
    use std::os::unix::fs::PermissionsExt;
    for file in files {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

impl Server {
    /// Where the log's checkpoint lies.
    pub(crate) fn site(&self) -> String {
        format!("{}/audit", self.url)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The same server to somebody with another token.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Stops it, which completes the static site.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
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

    /// It succeeded, and this is among what it printed.
    #[track_caller]
    pub(crate) fn says(&self, expected: &str) -> &Self {
        assert!(self.code == Some(0) && self.said.contains(expected), "expected {expected:?}: {self}");
        self
    }

    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// It failed, and complained of this.
    #[track_caller]
    pub(crate) fn refuses(&self, expected: &str) {
        assert!(self.code == Some(1) && self.complained.contains(expected), "expected {expected:?}: {self}");
    }

    /// Before it succeeded, it complained of this.
    #[track_caller]
    pub(crate) fn complains(&self, expected: &str) {
        assert!(self.complained.contains(expected), "expected {expected:?}: {self}");
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {:?}\n{}{}", self.code, self.said, self.complained)
    }
}

/// Changes one bit of a file, which may be read-only.
pub(crate) fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1;
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}
