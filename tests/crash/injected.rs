//! A server under `strace`, which lets one system call of each thread fail, or kills the server at it.
//!
//! ```text
//! -D                             the server is our child, strace is not: signals and exit codes are the server's
//! -e inject=CALL:error=EIO       the call is not made and fails
//!               :signal=KILL     the server is killed as it makes the call, which is made
//!               :error…:signal…  the server is killed before the call is made
//!               :when=N          this happens to the Nth call of each thread
//! ```

use std::{
    fmt, fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    load::Load,
    rig::{Rig, SERVE},
    seed::Seed,
};

/// Every call that changes the disk, the frequent ones more often; `openat` for descriptors that run out.
const CALLS: [&str; 16] = [
    "pwrite64",
    "pwrite64",
    "pwrite64",
    "pwrite64",
    "fdatasync",
    "fdatasync",
    "fdatasync",
    "fdatasync",
    "fsync",
    "fsync",
    "syncfs",
    "rename",
    "ftruncate",
    "mkdir",
    "openat",
    "openat",
];
const FAULTS: [&str; 6] =
    ["error=EIO", "error=EIO", "error=ENOSPC", "error=ENOSPC", "signal=KILL", "error=EIO:signal=KILL"];
/// How a server ends that made too few calls for the fault.
pub(crate) const NOT_MET: &str = "not met";

/// Before it reaches our code a program opens about this many files.
const LOADER_OPENS: u64 = 12;

const PATIENCE: Duration = Duration::from_secs(30);

/// One fault of one call.
pub(crate) struct Injection {
    call: &'static str,
    fault: &'static str,
    when: u64,
}

struct Traced(Child);

impl Injection {
    pub(crate) fn choose(seed: &mut Seed) -> Self {
        let (call, fault) = (seed.one_of(&CALLS), seed.one_of(&FAULTS));
        let most = if seed.one_in(3) { 20 } else { 7 };
        let first = if call == "openat" { LOADER_OPENS } else { 1 };
        Self { call, fault, when: first + seed.below(most) }
    }

    /// Serves a load until the fault ends the server, or for a moment, and answers how it ended. What clients were
    /// told is recorded, and what they do not know is repeated at a server that nothing happens to.
    pub(crate) fn run(&self, rig: &mut Rig, seed: &mut Seed) -> &'static str {
        let mut traced = self.serve(rig);
        let url = traced.ready();
        let load = url.as_ref().and_then(|url| Load::start(rig, url, Seed(seed.next())));
        if url.is_some() {
            traced.wait(Duration::from_millis(100 + seed.below(150)));
            traced.terminate();
        }
        let status = traced.ended();
        let unary = load.map(|load| load.end(rig));
        let end = self.judge(rig, status, url.is_some());
        if let Some(unary) = unary {
            let server = rig.serve();
            unary.repeat(rig, &server);
        }
        end
    }

    fn serve(&self, rig: &Rig) -> Traced {
        let (graven, mut command) = (env!("CARGO_BIN_EXE_graven"), Command::new("strace"));
        command.args(["-D", "-f", "-qq", "-y", "-o", "strace.log", "-e", &format!("trace={}", self.call)]);
        command.args(["-e", &format!("inject={self}"), "--", graven]).args(SERVE.split(' '));
        command.current_dir(rig.bench.path("")).stdin(Stdio::null()).stdout(Stdio::piped());
        let log = fs::File::create(rig.bench.path("server.log")).unwrap();
        Traced(command.stderr(log).spawn().unwrap())
    }

    /// How it ended, which has to be one of the ways that it may.
    fn judge(&self, rig: &Rig, status: ExitStatus, started: bool) -> &'static str {
        let said = String::from_utf8(rig.bench.read("server.log")).unwrap();
        // Calls that were under way may be logged after it.
        let last = said.lines().rfind(|line| line.starts_with("graven: ")).unwrap_or_default();
        let hit = self.hit(rig);
        let context = || format!("{self}: {status}, hit {hit:?}, said {said}");
        assert!(!said.contains("panicked"), "{}", context());
        match (status.code(), status.signal()) {
            (None, Some(9)) if self.fault.contains("KILL") => "killed",
            (Some(74), _) if last.starts_with("graven: storage failed: ") => "poisoned",
            (Some(2), _) if !started && !last.is_empty() => "refused to start",
            (Some(0), _) if hit.is_empty() => NOT_MET,
            // A segment of the journal that cannot be prepared is a full disk: nothing of it was used, and appends are refused.
            (Some(0), _) if self.fault.contains("ENOSPC") && said.contains("disk nearly full") => "disk full",
            // The index is made again where it is lost, and a file that does not open may be asked for again.
            (Some(0), _) if self.call == "openat" || hit.iter().all(|line| line.contains("/index")) => {
                "went on"
            }
            _ => panic!("{}", context()),
        }
    }

    /// The calls that failed.
    fn hit(&self, rig: &Rig) -> Vec<String> {
        let trace = String::from_utf8_lossy(&rig.bench.read("strace.log")).into_owned();
        trace.lines().filter(|line| line.contains("(INJECTED)")).map(str::to_owned).collect()
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:when={}", self.call, self.fault, self.when)
    }
}

impl Traced {
    /// Its address; `None` where it ends before it has one.
    fn ready(&mut self) -> Option<String> {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line.trim().strip_prefix("listening on ").map(str::to_owned)
    }

    /// Waits until it has ended, at most for so long.
    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            let ended = self.0.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > patience {
                return ended;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn terminate(&self) {
        // A child that ended is there until it is waited for, or gone: both are well.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
    }

    fn ended(mut self) -> ExitStatus {
        self.wait(PATIENCE).expect("the server does not end")
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Without it nothing would be tested.
pub(crate) fn demand_strace() {
    let traced = Command::new("strace").args(["-D", "-qq", "-e", "trace=none", "true"]).status();
    let works = traced.is_ok_and(|status| status.success());
    assert!(works, "strace is not installed, or may not trace here");
}
