//! How many checkpoints a witness cosigns in a second, over many logs and on a real disk.

use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use graven_note::{LocalSigner, sign_line};
use graven_store::RealFs;
use graven_witness::{KEY_TYPES, KeyType, Witness, add_log, init};

use crate::log::Log;

const LOGS: u8 = 128;
const STEPS: u32 = 60;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a quiet machine: it measures"]
async fn cosigned_in_a_second() {
    for types in [&KEY_TYPES[..1], &KEY_TYPES[..]] {
        let rate = measure(types).await;
        let names: Vec<_> = types.iter().map(|kind| kind.name).collect();
        let allowed = signatures_allow(types);
        println!("{}: {rate:.0}/s; signing alone would allow {allowed:.0}/s", names.join(" + "));
    }
}

/// Every log asks for one cosignature after the other.
async fn measure(types: &[KeyType]) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("w");
    init(&RealFs, &dir, "example.com/w", types).unwrap();
    let logs: Vec<_> = (0..LOGS).map(|number| Log::new(number, STEPS)).collect();
    for log in &logs {
        add_log(&RealFs, &dir, log.origin().as_str(), &[log.key()]).unwrap();
    }
    let bodies = |log: &Log| -> Vec<_> { (0..STEPS as usize).map(|at| log.request(at, at + 1)).collect() };
    let bodies: Vec<_> = logs.iter().map(bodies).collect();
    let (witness, writer) = open(&dir);
    let began = Instant::now();
    let asker = |bodies: Vec<Vec<u8>>| {
        let witness = witness.clone();
        tokio::spawn(async move {
            for body in bodies {
                witness.add_checkpoint(&body).await.unwrap();
            }
        })
    };
    let askers: Vec<_> = bodies.into_iter().map(asker).collect();
    for asker in askers {
        asker.await.unwrap();
    }
    let took = began.elapsed().as_secs_f64();
    witness.close();
    writer.join().unwrap().unwrap();
    f64::from(LOGS) * f64::from(STEPS) / took
}

fn open(dir: &Path) -> (Arc<Witness>, std::thread::JoinHandle<std::io::Result<()>>) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Witness::open(Arc::new(RealFs), dir, now).unwrap()
}

/// What all processors could sign if they did nothing else.
fn signatures_allow(types: &[KeyType]) -> f64 {
    const ROUNDS: u32 = 500;
    let signer = |kind: &KeyType| -> LocalSigner {
        LocalSigner::generate("example.com/w".parse().unwrap(), kind.signature_type, &[1; 32]).unwrap()
    };
    let signers: Vec<_> = types.iter().map(signer).collect();
    let text = "example.com/log-1\n5\nN41DVhbpBTMyvqMw2KQAO4vcy0rCaKgdHF1A3O/TGiA=\n";
    let began = Instant::now();
    for time in 0..ROUNDS {
        for signer in &signers {
            sign_line(text, signer, u64::from(time)).unwrap();
        }
    }
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    f64::from(ROUNDS) / began.elapsed().as_secs_f64() * processors as f64
}
