//! Witnesses that others wrote, each with keys and a database of its own.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    rig::Place,
    tools::{foreign, python},
};

/// How long a program may take until it is there.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running witness, stopped when the test is over.
pub(crate) struct Witness {
    /// What `/add-checkpoint` is appended to.
    pub(crate) url: String,
    /// Name of the file of its verifier keys.
    pub(crate) vkeys: String,
    _programs: Vec<Program>,
}

struct Program {
    child: Child,
    log: PathBuf,
}

/// torchwood's: one Ed25519 key, which stays in an ssh-agent. The log's key must be of that type as well.
pub(crate) fn litewitness(place: &Place, origin: &str, log_key: &str) -> Witness {
    place.run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", "lite.key"])).ok();
    let agent = Program::start(place, "agent", Command::new("ssh-agent").args(["-D", "-a", "lite.sock"]));
    agent.until(|| place.path("lite.sock").exists());
    place.run(Command::new("ssh-add").args(["-q", "lite.key"]).env("SSH_AUTH_SOCK", "lite.sock")).ok();
    let listed = place.run(Command::new("ssh-keygen").args(["-l", "-f", "lite.key"])).ok();
    let fingerprint = listed.said().split(' ').nth(1).unwrap();

    let address = free_address();
    let mut command = foreign("litewitness");
    command.args(["-name", "example.com/lite", "-db", "lite.db", "-ssh-agent", "lite.sock"]);
    command.args(["-key", fingerprint, "-listen", &address]);
    let witness = Program::start(place, "lite", &mut command);
    witness.until_reachable(&address);
    let said = witness.said();
    let vkey = said.split_once("vkey=").and_then(|(_, rest)| rest.lines().next());
    let vkey = vkey.unwrap_or_else(|| panic!("no verifier key: {said}")).trim_matches('"');
    place.write("lite.vkeys", format!("{vkey}\n"));
    place.run(python("litewitness_log.py").args(["lite.db", origin, log_key])).ok();
    Witness::new(&address, "lite.vkeys", vec![witness, agent])
}

/// transparency-dev's, as `example.com/NAME`: a key of each type. It knows one key of a log, of any type.
pub(crate) fn omniwitness(place: &Place, name: &str, origin: &str, log_key: &str) -> Witness {
    let file = |what: &str| format!("{name}.{what}");
    let (ed25519, mldsa, logs, database, vkeys) =
        (file("ed25519"), file("mldsa"), file("yaml"), file("db"), file("vkeys"));
    let mut public = String::new();
    for (key, more) in [(&ed25519, None), (&mldsa, Some("-mldsa"))] {
        let its_public = format!("{key}.public");
        let mut make = foreign("generate_keys");
        make.args(["-origin", &format!("example.com/{name}"), "-out_priv", key, "-out_pub", &its_public]);
        place.run(make.args(more)).ok();
        public += &format!("{}\n", fs::read_to_string(place.path(&its_public)).unwrap().trim());
    }
    place.write(&vkeys, public);
    // The URL is for those that poll.
    let log = format!("{{Origin: \"{origin}\", PublicKey: \"{log_key}\", URL: \"http://localhost/\"}}");
    place.write(&logs, format!("Logs:\n- {log}\n"));

    let address = free_address();
    let mut command = foreign("omniwitness");
    command.args(["-private_key_path", &ed25519, "-private_key_path", &mldsa]);
    command.args(["-additional_logs", &logs, "-db_file", &database]);
    command.args(["-listen", &address, "-metrics_listen", ""]);
    let witness = Program::start(place, name, &mut command);
    witness.until_reachable(&address);
    Witness::new(&address, &vkeys, vec![witness])
}

/// One that nobody listens at now. Neither witness tells which port it took where it may choose.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Witness {
    fn new(address: &str, vkeys: &str, programs: Vec<Program>) -> Self {
        Self { url: format!("http://{address}"), vkeys: vkeys.to_owned(), _programs: programs }
    }
}

impl Program {
    /// What it says goes to a file.
    fn start(place: &Place, name: &str, command: &mut Command) -> Self {
        let log = place.path(&format!("{name}.log"));
        let file = fs::File::create(&log).unwrap();
        command.current_dir(place.path("")).stdin(Stdio::null());
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn until_reachable(&self, address: &str) {
        self.until(|| TcpStream::connect(address).is_ok());
    }

    #[track_caller]
    fn until(&self, ready: impl Fn() -> bool) {
        let start = Instant::now();
        while !ready() {
            assert!(start.elapsed() < PATIENCE, "not ready after {PATIENCE:?}: {}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
