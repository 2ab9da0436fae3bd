//! Witnesses: what a log waits for them, and what one of them can do.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use graven_merkle::{ConsistencyProof, Hash, leaf_hash};
use graven_note::{
    Checkpoint, LocalSigner, SignatureType, Signer as _, VerifierKey, sign_checkpoint, sign_line,
    witness::AddCheckpoint,
};
use graven_proto::v1::Wait;
use graven_server::WitnessClient;
use graven_store::RealFs;
use graven_witness::{KEY_TYPES, KeyType, Witness, add_log, init};
use tokio::task::spawn_blocking;

use crate::load::{Call as _, Load, all};
use crate::peer::{Data, Peer};
use crate::report::{Table, Target};
use crate::rounds::Pairs;
use crate::trees::{mth, size, subproof};
use crate::world::World;
use crate::{ENTRY_BYTES, WORKERS, calls};

const WITNESSES: usize = 3;
const QUORUM: usize = 2;
/// Logs that ask one witness at the same time, each for one cosignature after the other.
const LOGS: usize = 128;

/// What an append waits for its witnesses, beyond what it waits to be published.
pub(crate) async fn witnessed_append(world: &World, table: &mut Table) {
    let data = Data::init(world.home("witnessed"), "");
    let keys = std::fs::read_to_string(data.policy()).expect("init writes the policy");
    let keys: Vec<_> = keys.lines().filter_map(|line| line.strip_prefix("log ")).map(vkey).collect();
    let (mut policy, mut peers, mut names) = (String::new(), Vec::new(), String::new());
    for at in 0..WITNESSES {
        let dir = world.home(&format!("witnessed-by-{at}"));
        let made = init(&RealFs, &dir, &format!("w{at}.example"), &KEY_TYPES).expect("a witness is made");
        add_log(&RealFs, &dir, "bench.example/log", &keys).expect("the log is made known");
        let peer = Peer::witness(&dir);
        for (key, voice) in made.keys.iter().zip(["a", "b"]) {
            policy += &format!("witness w{at}{voice} {key} {}\n", peer.url);
        }
        policy += &format!("group w{at} all w{at}a w{at}b\n");
        names += &format!(" w{at}");
        peers.push(peer);
    }
    data.watch(&format!("{policy}group most {QUORUM}{names}\nquorum most\n"));
    let peer = data.serve();
    let load = Load::connect(&peer).await;
    load.until_appended(ENTRY_BYTES).await;
    let p50 = async |time, wait| p50_ms(&load, time, wait).await;
    let found = world
        .rounds()
        .compare(async |time| p50(time, Wait::Published).await, async |time| p50(time, Wait::Witnessed).await)
        .await;
    table.add("append p50, published, concurrency 1", "ms", found.baseline.series(|p50| *p50));
    table.add("append p50, witnessed", "ms", found.figure.series(|p50| *p50));
    let name = format!("witnessed ({QUORUM} of {WITNESSES}) − published append p50");
    table.judge(name, "ms", Target::AtMost(15.0), found.difference(|p50| *p50));
}

/// The median of appends that each begin when a head was just published: otherwise one that waits longer for its head would
/// wait less for the next one, and the difference would not show.
async fn p50_ms(load: &Load, time: Duration, wait: Wait) -> f64 {
    let (end, mut times) = (Instant::now() + time, Vec::new());
    let (before, call) =
        (calls::append_waiting(ENTRY_BYTES, Wait::Published), calls::append_waiting(ENTRY_BYTES, wait));
    while Instant::now() < end {
        before.make(load.link(0).clone()).await.expect("it is appended");
        let begun = Instant::now();
        call.make(load.link(0).clone()).await.expect("it is appended");
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// How many checkpoints one witness cosigns, which remembers each of them durably.
pub(crate) async fn cosigning(world: &World, table: &mut Table) {
    for types in [&KEY_TYPES[..1], &KEY_TYPES[..]] {
        let names = types.iter().map(|kind| kind.name).collect::<Vec<_>>().join(" + ");
        for over in [Over::Nothing, Over::Http] {
            let found = rates(world, types, over).await;
            let name = format!("add-checkpoint, {names}, {}", over.name());
            let ratio = format!("{name} ÷ signing alone");
            if types.len() == 1 {
                table.judge(name, "1/s", Target::AtLeast(2000.0), found.figure.series(|rate| *rate));
                table.add(ratio, "ratio", found.ratio(|rate| *rate));
            } else {
                table.add(name, "1/s", found.figure.series(|rate| *rate));
                table.judge(ratio, "ratio", Target::AtLeast(0.6), found.ratio(|rate| *rate));
            }
        }
    }
}

/// How requests come to the witness.
#[derive(Clone, Copy, PartialEq)]
enum Over {
    /// It is in this process.
    Nothing,
    /// It is another process, each log has a connection.
    Http,
}

impl Over {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "in process",
            Self::Http => "over HTTP",
        }
    }
}

async fn rates(world: &World, types: &[KeyType], over: Over) -> Pairs<f64> {
    // As many as signing allows in a round; the requests are made before the time begins.
    let allowed = signing(types, Duration::from_millis(300));
    let steps = (allowed * world.rounds().time.as_secs_f64() * 0.5 / LOGS as f64).ceil() as usize;
    let mut round = 0;
    let signing = async |time| signing(types, time);
    let cosigning = async |_| {
        round += 1;
        let dir = world.home(&format!("witness-{}-{}-{round}", types.len(), over.name()));
        init(&RealFs, &dir, "w.example", types).expect("a witness is made");
        let bodies = requests(&dir, steps.max(2));
        match over {
            Over::Nothing => in_process(&dir, bodies).await,
            Over::Http => over_http(&dir, bodies).await,
        }
    };
    world.rounds().compare(signing, cosigning).await
}

/// Signatures by all keys over one text, in a second, with all workers.
fn signing(types: &[KeyType], time: Duration) -> f64 {
    let name: graven_note::KeyName = "w.example".parse().expect("a name");
    let signer = |kind: &KeyType| LocalSigner::generate(name.clone(), kind.signature_type, &[1; 32]);
    let signers: Vec<_> = types.iter().map(|kind| signer(kind).expect("a key")).collect();
    let text =
        Checkpoint::new("example.com/log".parse().expect("an origin"), size(5), leaf_hash(b"")).to_string();
    let started = Instant::now();
    let sign = || {
        let mut count = 0_u64;
        while started.elapsed() < time {
            for signer in &signers {
                sign_line(&text, signer, count + 1).expect("it signs");
            }
            count += 1;
        }
        count
    };
    let count: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS).map(|_| scope.spawn(sign)).collect();
        threads.into_iter().map(|thread| thread.join().expect("signing ends")).sum()
    });
    count as f64 / started.elapsed().as_secs_f64()
}

/// What each log asks for: one entry more each time. The logs have the same entries, and keys of their own.
fn requests(dir: &Path, steps: usize) -> Vec<Vec<String>> {
    let leaves: Vec<Hash> = (0..steps as u64).map(|n| leaf_hash(&n.to_be_bytes())).collect();
    let trees: Vec<_> = (1..=steps).map(|to| (mth(&leaves[..to]), proof(&leaves[..to]))).collect();
    let log = |number: usize| {
        let name = format!("example.com/log-{number}");
        let key = LocalSigner::generate(name.parse().unwrap(), SignatureType::Ed25519, &[number as u8; 32])
            .unwrap();
        add_log(&RealFs, dir, &name, &[key.vkey().clone()]).expect("the log is made known");
        let request = |(from, (root, proof)): (u64, &(Hash, ConsistencyProof))| {
            let head = Checkpoint::new(name.parse().unwrap(), size(from + 1), *root);
            let note = sign_checkpoint(&head, &[&key], 0).expect("it signs");
            AddCheckpoint::new(size(from), proof.clone(), note).expect("a request").to_string()
        };
        (0..).zip(&trees).map(request).collect()
    };
    (0..LOGS).map(log).collect()
}

/// That a tree begins with all of its leaves but the last.
fn proof(leaves: &[Hash]) -> ConsistencyProof {
    let from = leaves.len() - 1;
    let hashes = if from == 0 { Vec::new() } else { subproof(from, leaves, true) };
    ConsistencyProof::from_hashes(hashes).expect("a short proof")
}

async fn in_process(dir: &Path, bodies: Vec<Vec<String>>) -> f64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (witness, writer) = Witness::open(Arc::new(RealFs), dir, now).expect("the witness opens");
    let ask = |bodies: Vec<String>| {
        let witness = witness.clone();
        async move {
            for body in bodies {
                witness.add_checkpoint(body.as_bytes()).await.expect("it cosigns");
            }
        }
    };
    let rate = rate(bodies, ask).await;
    witness.close();
    spawn_blocking(|| writer.join()).await.unwrap().unwrap().expect("its storage is sound");
    rate
}

async fn over_http(dir: &Path, bodies: Vec<Vec<String>>) -> f64 {
    let peer = Peer::witness(dir);
    let ask = |bodies: Vec<String>| {
        let mut client = WitnessClient::new(&peer.url, None).expect("a URL");
        async move {
            for body in bodies {
                let answer = client.add_checkpoint(body).await.expect("it answers");
                assert!(answer.status.is_success(), "it answers {}", answer.status);
            }
        }
    };
    rate(bodies, ask).await
}

/// Requests a second, with each log asking by itself.
async fn rate<A: Future<Output = ()> + Send + 'static>(
    bodies: Vec<Vec<String>>,
    ask: impl Fn(Vec<String>) -> A,
) -> f64 {
    let count: usize = bodies.iter().map(Vec::len).sum();
    let started = Instant::now();
    all(bodies.into_iter().map(|bodies| tokio::spawn(ask(bodies))).collect()).await;
    count as f64 / started.elapsed().as_secs_f64()
}

fn vkey(text: &str) -> VerifierKey {
    VerifierKey::parse(text).expect("a verifier key")
}
