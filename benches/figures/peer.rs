//! The processes under load.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub(crate) struct Peer {
    pub(crate) url: String,
    child: Child,
}

impl Peer {
    /// The bare echo: this program, as a server.
    pub(crate) fn echo() -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        Self::start(Command::new(program).arg("--echo-server"))
    }

    /// The real thing, with a new log.
    pub(crate) fn graven(data_dir: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_graven");
        let mut init = Command::new(program);
        init.arg("init").arg("--data-dir").arg(data_dir).args(["--origin", "bench.example/log"]);
        let made = init.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(made.is_ok_and(|status| status.success()), "graven init failed");
        let mut serve = Command::new(program);
        serve.arg("serve").arg("--data-dir").arg(data_dir).args(["--dev", "--listen", "127.0.0.1:0"]);
        Self::start(serve.args(["--log-level", "warn"]))
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the peer starts");
        let stdout = child.stdout.take().expect("its output is piped");
        let line = BufReader::new(stdout).lines().next().and_then(Result::ok).unwrap_or_default();
        let url = line.rsplit(' ').next().unwrap_or_default().to_owned();
        assert!(url.starts_with("http://"), "the peer said `{line}` instead of where it listens");
        Self { url, child }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
