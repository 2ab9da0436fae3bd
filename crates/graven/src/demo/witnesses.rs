//! `graven demo --witnesses`: a log that most of its witnesses have to have seen.

use std::fmt::Write as _;

use graven_client::{LogClient, VerifiedHead};
use graven_log::{LOG_KEY_TYPES, LogName, Paths};
use graven_merkle::ConsistencyProof;
use graven_note::{Checkpoint, SignatureType, Signer, VerifierKey, sign_checkpoint, witness::AddCheckpoint};
use graven_server::WitnessClient;
use graven_store::{RealFs, key_file};
use graven_witness::KEY_TYPES;
use tokio::time::{Instant, sleep, timeout};

use super::{
    GLANCE, PATIENCE, events, finish, published,
    server::ServerProcess,
    stage::{Stage, say, title},
    tamper, wait_for_site,
};
use crate::{
    exit::{Failure, Outcome},
    output,
};

const SERVE: &str = "serve --config graven.toml --dev --listen 127.0.0.1:0";

const SETTINGS: &str = "\
data_dir = \"data\"
[witnessing.audit]
policy = \"witnesses.policy\"
publish = \"witnessed\"
timeout_ms = 1000
";

/// What is appended while all are there, while some are away, and while too many are.
const ENTRIES: [(&str, &str); 3] = [
    ("first.json", r#"{"user":"alice","action":"login"}"#),
    ("second.json", r#"{"user":"bob","action":"delete","object":"backup-7"}"#),
    ("third.json", r#"{"user":"bob","action":"logout"}"#),
];

/// A witness: its folder has its name.
struct Witness {
    name: String,
    keys: Vec<VerifierKey>,
    url: String,
    process: Option<ServerProcess>,
}

/// Shows it with `count` witnesses.
pub(super) async fn show(stage: &mut Stage, count: usize, keep: bool) -> Outcome {
    let most = count / 2 + 1;
    output::line(format_args!(
        "A log that nobody has to trust: what it shows, {most} of {count} witnesses have seen."
    ))?;

    title(&format!("A log, and {count} witnesses that know it"))?;
    stage.run_into("init --data-dir data --origin demo.example/audit", "audit.vkeys")?;
    let names = (1..=count).map(|number| format!("w{number}"));
    let mut witnesses = names.map(|name| Witness::start(stage, name, keep)).collect::<Outcome<Vec<_>>>()?;
    say("others would run them, on machines of their own")?;

    title(&format!("Whom to believe: {most} of {count}. A witness has two keys and one voice"))?;
    write_policies(stage, &witnesses, most)?;

    title("The log's server: it publishes nothing that does not have its quorum")?;
    stage.write("graven.toml", SETTINGS.as_bytes())?;
    output::line("$ cat graven.toml")?;
    SETTINGS.lines().try_for_each(say)?;
    let server = ServerProcess::start(stage, SERVE, "server.log", keep)?;
    stage.point_at(server.url(), "audit.policy")?;
    let log = stage.connect().await?;
    wait_for_witnesses(&log).await?;

    title("Events, and a proof that the witnesses have seen them")?;
    say(&events::append_all(stage.url(), &events::many()).await?.to_string())?;
    append_witnessed(stage, ENTRIES[0])?;
    stage.expect(0, "head")?;
    say("the proof needs no server, and no witness either: only the policy")?;
    stage.expect(0, "verify --entry first.json first.tlog-proof")?;

    let spare = count - most;
    let stopped = if spare == 1 { "One witness stops".to_owned() } else { format!("{spare} witnesses stop") };
    title(&format!("{stopped}: {most} of {count} are enough"))?;
    stop(&mut witnesses[..spare])?;
    append_witnessed(stage, ENTRIES[1])?;
    stage.expect(0, "head")?;

    title("One more stops: too few are left. What is appended is kept, and not published")?;
    stop(&mut witnesses[spare..=spare])?;
    let before = log.tree_head().await?;
    let (file, entry) = ENTRIES[2];
    stage.write(file, entry.as_bytes())?;
    stage.expect(0, &format!("append {file}"))?;
    say("reads go on:")?;
    stage.expect(0, &format!("get --index {}", before.size().get() - 1))?;
    stage.expect(0, "head")?;
    say(&format!("it waits: the log shows {} entries, as before", unchanged(&log, &before).await?))?;

    title("They come back, and what waited is published")?;
    witnesses[..=spare].iter_mut().try_for_each(|witness| witness.resume(stage, keep))?;
    published(&log, before.size().get() + 1).await?;
    stage.expect(0, "head")?;

    title("Now somebody with the log's keys rewrites an entry, signs that, and shows it to the witnesses")?;
    rewrite(stage, &log, &witnesses).await?;
    say("each keeps what it was shown beside what it had cosigned. That convicts the log before anybody:")?;
    let evidence = evidence_of(stage, &witnesses[0])?;
    stage.expect(0, &format!("evidence verify --policy audit.policy {evidence}"))?;

    let processes = witnesses.into_iter().filter_map(|witness| witness.process);
    finish(stage, [server].into_iter().chain(processes).collect(), keep)
}

impl Witness {
    /// Makes a witness that knows the log, and starts it.
    fn start(stage: &Stage, name: String, keep: bool) -> Outcome<Self> {
        stage.run_into(
            &format!("witness init --data-dir {name} --name {name}.example"),
            &format!("{name}.vkeys"),
        )?;
        let add = format!("witness add-log --data-dir {name} --origin demo.example/audit --keys audit.vkeys");
        stage.expect(0, &add)?;
        let vkeys = stage.read(&format!("{name}.vkeys"))?;
        let keys = vkeys.lines().map(VerifierKey::parse).collect::<Result<_, _>>();
        let keys = keys.map_err(Failure::check_failed)?;
        let mut witness = Self { name, keys, url: "http://127.0.0.1:0".to_owned(), process: None };
        witness.resume(stage, keep)?;
        Ok(witness)
    }

    /// Starts it where it was, at first on a free port.
    fn resume(&mut self, stage: &Stage, keep: bool) -> Outcome {
        let (name, at) = (&self.name, self.url.trim_start_matches("http://"));
        let serve = format!("witness serve --data-dir {name} --listen {at}");
        let process = ServerProcess::start(stage, &serve, &format!("{name}.log"), keep)?;
        process.url().clone_into(&mut self.url);
        self.process = Some(process);
        Ok(())
    }

    /// Its names in a policy, one for each key, with the key.
    fn voices(&self) -> impl Iterator<Item = (String, &VerifierKey)> {
        KEY_TYPES.iter().zip(&self.keys).map(|(kind, key)| (format!("{}.{}", self.name, kind.name), key))
    }
}

fn stop(witnesses: &mut [Witness]) -> Outcome {
    witnesses.iter_mut().filter_map(|witness| witness.process.take()).try_for_each(ServerProcess::stop)
}

/// What the log's server follows, and what readers demand: the same witnesses, beside the log's keys.
fn write_policies(stage: &Stage, witnesses: &[Witness], most: usize) -> Outcome {
    let (mut policy, mut shown) = (String::new(), String::new());
    for witness in witnesses {
        let (name, url) = (&witness.name, &witness.url);
        let mut group = format!("group {name} all");
        for (voice, key) in witness.voices() {
            let text = key.to_string();
            let brief: String = text.chars().take(36).collect();
            let _ = writeln!(policy, "witness {voice} {text} {url}");
            let _ = writeln!(shown, "witness {voice} {brief}… {url}");
            let _ = write!(group, " {voice}");
        }
        let _ = writeln!(policy, "{group}");
        let _ = writeln!(shown, "{group}");
    }
    let names = witnesses.iter().map(|witness| &*witness.name).collect::<Vec<_>>().join(" ");
    let quorum = format!("group most {most} {names}\nquorum most\n");
    (policy, shown) = (policy + &quorum, shown + &quorum);
    stage.write("witnesses.policy", policy.as_bytes())?;
    output::line("$ cat witnesses.policy")?;
    shown.lines().try_for_each(say)?;
    let keys = stage.read("data/audit.policy")?;
    let keys: String = keys
        .lines()
        .filter(|line| line.starts_with("log "))
        .fold(String::new(), |all, line| all + line + "\n");
    output::line("$ (grep '^log ' data/audit.policy; cat witnesses.policy) > audit.policy")?;
    stage.write("audit.policy", (keys + &policy).as_bytes())
}

/// Before enough of them have answered, a log that starts takes no entries: it could be an old copy of itself.
async fn wait_for_witnesses(log: &LogClient) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while log.tree_head().await.is_err() {
        if Instant::now() > deadline {
            return Err(Failure::check_failed("the witnesses did not cosign in time: see server.log"));
        }
        sleep(GLANCE).await;
    }
    Ok(())
}

fn append_witnessed(stage: &Stage, (file, entry): (&str, &str)) -> Outcome {
    stage.write(file, entry.as_bytes())?;
    let proof = file.replace(".json", ".tlog-proof");
    stage.expect(0, &format!("append --wait witnessed --out {proof} {file}")).map(drop)
}

/// Demands that a log shows no newer head for longer than its heads are apart. Answers its size.
async fn unchanged(log: &LogClient, before: &VerifiedHead) -> Outcome<u64> {
    let mut heads = log.watch().await?;
    let newer = async {
        while let Some(head) = heads.next().await {
            if head?.size() > before.size() {
                return Err(Failure::check_failed("the log published a head without its quorum"));
            }
        }
        Ok(before.size().get())
    };
    timeout(GLANCE * 50, newer).await.unwrap_or(Ok(before.size().get()))
}

/// Changes an entry in a copy of the log, signs the tree that it then is, and demands that no witness cosigns it.
async fn rewrite(stage: &Stage, log: &LogClient, witnesses: &[Witness]) -> Outcome {
    let head = log.tree_head().await?;
    let size = head.size();
    wait_for_site(stage, size.get()).await?;
    tamper::copy_and_flip(stage, "rewritten", size.get(), size.get() - 2)?;
    let root = tamper::root_of(stage, "rewritten", size)?;
    let checkpoint = Checkpoint::new(head.origin().clone(), size, root);
    let key = signing_key(stage)?;
    let note = sign_checkpoint(&checkpoint, &[&key], 0).map_err(Failure::check_failed)?;
    let proof = ConsistencyProof::from_hashes(Vec::new()).map_err(Failure::check_failed)?;
    let request = AddCheckpoint::new(size, proof, note).map_err(Failure::check_failed)?;
    for witness in witnesses {
        let client = WitnessClient::new(&witness.url, None);
        let mut client = client.ok_or_else(|| Failure::check_failed("a witness has no URL"))?;
        let answer = client.add_checkpoint(request.to_string()).await.map_err(Failure::check_failed)?;
        let words = String::from_utf8_lossy(&answer.body);
        say(&format!("{} answers {}: {}", witness.name, answer.status.as_u16(), words.trim_end()))?;
        if !answer.status.is_client_error() {
            return Err(Failure::check_failed(format_args!("{} should have refused it", witness.name)));
        }
    }
    Ok(())
}

/// The log's own key, from its data directory.
fn signing_key(stage: &Stage) -> Outcome<impl Signer> {
    let name = LogName::new("audit").map_err(Failure::check_failed)?;
    let kind = SignatureType::Ed25519;
    let file = LOG_KEY_TYPES.iter().find(|(known, _)| *known == kind).map_or("", |(_, file)| file);
    let vkeys = stage.read("audit.vkeys")?;
    let vkeys = vkeys.lines().filter_map(|line| VerifierKey::parse(line).ok());
    let vkey = vkeys.into_iter().find(|vkey| vkey.signature_type() == kind);
    let vkey = vkey.ok_or_else(|| Failure::check_failed("the log has no Ed25519 key"))?;
    let path = Paths::new(&stage.path("data")).log(&name).join("keys").join(file);
    key_file::load(&RealFs, &path, &vkey).map_err(Failure::check_failed)
}

/// The evidence that a witness keeps.
fn evidence_of(stage: &Stage, witness: &Witness) -> Outcome<String> {
    let folder = format!("{}/evidence", witness.name);
    let mut files = std::fs::read_dir(stage.path(&folder)).map_err(Failure::check_failed)?;
    let file = files.next().ok_or_else(|| Failure::check_failed("the witness kept no evidence"))?;
    let name = file.map_err(Failure::check_failed)?.file_name();
    Ok(format!("{folder}/{}", name.display()))
}
