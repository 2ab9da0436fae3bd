//! What a witness cosigned is what it remembers, whenever the power is cut and whichever step of storage fails.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;

use graven_store::fault::{Fate, FaultFs, Phase, Point};
use graven_store::fs::Fs;
use graven_store::sim::{Seed, SimFs};
use graven_witness::{KEY_TYPES, Refused, Witness, add_log, init};

use crate::log::Log;

const DIR: &str = "/w";
const LOGS: u8 = 3;
const LEAVES: u32 = 40;

/// A new witness that knows all logs, with an Ed25519 key alone: what is tried here does not depend on the key.
fn disk(logs: &[Log]) -> SimFs {
    let disk = SimFs::new();
    init(&disk, Path::new(DIR), "example.com/w", &KEY_TYPES[..1]).unwrap();
    for log in logs {
        add_log(&disk, Path::new(DIR), log.origin().as_str(), &[log.key()]).unwrap();
    }
    disk
}

fn open(fs: impl Fs + 'static) -> (Arc<Witness>, JoinHandle<io::Result<()>>) {
    Witness::open(Arc::new(fs), Path::new(DIR), || 1_800_000_000).unwrap()
}

fn remembered(witness: &Witness, log: &Log) -> usize {
    let known = witness.remembered(&log.origin());
    known.map_or(0, |known| usize::try_from(known.checkpoint.size().get()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_moment_forgets_nothing_that_was_cosigned() {
    let logs: Vec<_> = (0..LOGS).map(|number| Log::new(number, LEAVES)).collect();
    let (mut cosigned_total, mut cut_short) = (0, 0);
    for seed in 0..40 {
        let mut seed = Seed(seed);
        let disk = disk(&logs);
        let mut cosigned = vec![0; logs.len()];
        for _life in 0..4 {
            let (witness, writer) = open(disk.clone());
            let mut askers = Vec::new();
            for (number, log) in logs.iter().enumerate() {
                let from = remembered(&witness, log);
                assert!(from >= cosigned[number], "{from} is less than the cosigned {}", cosigned[number]);
                if from > 0 {
                    let answer = witness.add_checkpoint(&log.rewritten().request(from, from)).await;
                    assert!(matches!(answer, Err(Refused::Inconsistent(_))), "{answer:?}");
                }
                let to = LEAVES as usize;
                let bodies: Vec<_> = (from..to).map(|at| (at + 1, log.request(at, at + 1))).collect();
                let witness = witness.clone();
                askers.push(tokio::spawn(async move {
                    let mut last = None;
                    for (size, body) in bodies {
                        match witness.add_checkpoint(&body).await {
                            Ok(_) => last = Some(size),
                            Err(_) => return (last, true),
                        }
                    }
                    (last, false)
                }));
            }
            tokio::time::sleep(std::time::Duration::from_micros(seed.below(3_000))).await;
            disk.crash(&mut seed);
            for (number, asker) in askers.into_iter().enumerate() {
                let (last, was_cut) = asker.await.unwrap();
                cosigned[number] = cosigned[number].max(last.unwrap_or(0));
                cosigned_total += usize::from(last.is_some());
                cut_short += usize::from(was_cut);
            }
            witness.close();
            let _ = writer.join().unwrap();
        }
    }
    assert!(cosigned_total > 40 && cut_short > 40, "{cosigned_total} and {cut_short}: nothing was tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_step_fails_nothing_is_cosigned_and_nothing_afterwards() {
    let logs = [Log::new(0, LEAVES)];
    let steps = (0..).flat_map(|step| [(step, false), (step, true)]);
    for (failed, (step, happened)) in steps.enumerate() {
        let disk = disk(&logs);
        // Armed only once the witness is open.
        let countdown = Arc::new(AtomicI64::new(i64::MAX));
        let script = {
            let countdown = countdown.clone();
            let failing = if happened { Phase::After } else { Phase::Before };
            move |point: Point<'_>| {
                let is_counted = point.op.mutates() && point.phase == failing;
                match is_counted && countdown.fetch_sub(1, Ordering::SeqCst) == 0 {
                    true => Fate::Fail(io::ErrorKind::Other),
                    false => Fate::Continue,
                }
            }
        };
        let (witness, writer) = open(FaultFs::new(Arc::new(disk.clone()), Arc::new(script)));
        witness.add_checkpoint(&logs[0].request(0, 5)).await.unwrap();
        countdown.store(step, Ordering::SeqCst);
        let answer = witness.add_checkpoint(&logs[0].request(5, 9)).await;
        if answer.is_ok() {
            assert!(failed >= 4, "a write and a sync, on both sides: {failed}");
            return;
        }
        assert!(matches!(answer, Err(Refused::Failed(_))), "{answer:?}");
        assert_eq!(remembered(&witness, &logs[0]), 5, "what is not known to be durable is not known");
        // The disk would take it now; the witness does not ask it again.
        let answer = witness.add_checkpoint(&logs[0].request(5, 9)).await;
        assert!(matches!(answer, Err(Refused::Failed(_))), "{answer:?}");
        assert!(writer.join().unwrap().is_err(), "the process is to end");

        disk.crash(&mut Seed(step.unsigned_abs()));
        let (witness, _writer) = open(disk);
        let size = remembered(&witness, &logs[0]);
        assert!(size == 5 || size == 9, "{size}");
        witness.add_checkpoint(&logs[0].request(size, 12)).await.unwrap();
    }
}
