//! `graven demo`: the main job in one go, as a transcript that a reader can repeat.
//!
//! Every `$ graven …` line of it was run as printed, by this same program, and what follows is what it said. Where an
//! expectation is not met the demo fails with exit code 1.

mod events;
mod server;
mod stage;
mod tamper;
mod witnesses;

use std::{fs, path::PathBuf, time::Duration};

use clap::Args;
use graven_client::LogClient;
use graven_merkle::LeafIndex;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    exit::{Failure, Outcome},
    output,
};
use server::ServerProcess;
use stage::{Stage, say, title};

const EXAMPLES: &str = "\
Starts a server on a free port of this machine, appends 300 real AWS CloudTrail events from 8 clients, proves and \
audits them, then changes one byte in a copy of the log and shows that the audit names the entry. Takes a few \
seconds and touches nothing but its own folder.

With --witnesses it shows instead how a log is watched: most of them must have seen what is published, some of them may \
be away, and none of them takes a history that was rewritten.

Examples:
  graven demo
  graven demo --witnesses 3
  graven demo --dir demo --keep    # look around in ./demo, with the server still running";

const CLIENTS: usize = 8;

/// The log's server, when nobody watches the log.
const SERVE: &str = "serve --data-dir data --dev --listen 127.0.0.1:0";

/// Entries that one compact proof covers.
const SCATTERED: usize = 50;

/// How long anything may take that the server does by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a file is looked at that the server is to write.
const GLANCE: Duration = Duration::from_millis(20);

/// Show the main job on real audit events, from the first command to catching a changed byte
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Folder to work in, empty or new; it is kept [default: a temporary one, removed at the end]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,

    /// Give the log this many witnesses, 3 to 9, of which most have to cosign what it publishes
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(3..=9))]
    witnesses: Option<u8>,

    /// Leave the servers running and the folder in place, and say what to try next
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn run(args: DemoArgs) -> Outcome {
    let (folder, temporary) = working_folder(args.dir)?;
    let mut stage = Stage::open(folder)?;
    let shown = match args.witnesses {
        Some(count) => witnesses::show(&mut stage, count.into(), args.keep).await,
        None => show(&mut stage, args.keep).await,
    };
    shown?;
    if args.keep {
        temporary.map(tempfile::TempDir::keep);
    }
    Ok(())
}

async fn show(stage: &mut Stage, keep: bool) -> Outcome {
    output::line("An audit log that anybody can check, from the first command to a changed byte.")?;

    title("A log with keys of its own, and its server")?;
    stage.run_into("init --data-dir data --origin demo.example/audit", "audit.vkeys")?;
    let server = ServerProcess::start(stage, SERVE, "server.log", keep)?;
    stage.point_at(server.url(), "data/audit.policy")?;
    let log = stage.connect().await?;

    title(&format!("{} real audit events, from {CLIENTS} clients at once", events::many().len()))?;
    let smaller = append(stage, &log).await?;

    title("One more, with a proof to keep: somebody deletes the cloud's own audit trail")?;
    stage.write("event.json", events::trail_deleted())?;
    stage.expect(0, "append --wait published --out event.tlog-proof event.json")?;
    let deleted = log.tree_head().await?.size().get() - 1;
    say("the proof needs no server, only the log's keys:")?;
    stage.expect(0, "verify --entry event.json event.tlog-proof")?;

    title("The log only ever grew")?;
    stage.expect(0, &format!("consistency --from {smaller} --to {}", deleted + 1))?;

    title(&format!("One compact proof for {SCATTERED} scattered entries"))?;
    stage.expect(0, &format!("prove --indices {}", scattered(deleted)))?;

    title("Anybody can audit all of it: over gRPC, or from the plain files, offline")?;
    stage.expect(0, "audit")?;
    wait_for_site(stage, deleted + 1).await?;
    stage.expect(0, "audit --dir data/logs/audit/site")?;

    title("Now change one byte of one entry, in a copy of the stored log")?;
    tamper::copy_and_flip(stage, "tampered", deleted + 1, deleted)?;
    let said = stage.expect(1, "audit --dir tampered")?;
    if !said.contains(&format!("entry {deleted}:")) {
        return Err(Failure::check_failed(format_args!("the audit should have named entry {deleted}")));
    }
    finish(stage, vec![server], keep)
}

/// Where to work: the folder that was given, or a temporary one that goes when the value does.
fn working_folder(given: Option<PathBuf>) -> Outcome<(PathBuf, Option<tempfile::TempDir>)> {
    let Some(folder) = given else {
        let temporary =
            tempfile::Builder::new().prefix("graven-demo-").tempdir().map_err(Failure::trouble)?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    fs::create_dir_all(&folder).map_err(|error| Failure::file(&folder, &error))?;
    let mut inside = fs::read_dir(&folder).map_err(|error| Failure::file(&folder, &error))?;
    if inside.next().is_some() {
        let folder = folder.display();
        return Err(Failure::trouble(format_args!("{folder} is not empty: give an empty or a new folder")));
    }
    let folder = fs::canonicalize(&folder).map_err(|error| Failure::file(&folder, &error))?;
    Ok((folder, None))
}

/// Appends the events in two halves and answers the size of the head that was signed between them.
async fn append(stage: &Stage, log: &LogClient) -> Outcome<u64> {
    stage.write("cloudtrail.jsonl", events::SAMPLE.as_bytes())?;
    let events = events::many();
    let (first, second) = events.split_at(events.len() / 2);
    let mut tally = events::append_all(stage.url(), first).await?;
    let smaller = published(log, tally.entries).await?;
    tally.add(&events::append_all(stage.url(), second).await?);
    published(log, tally.entries).await?;
    say(&tally.to_string())?;
    say("by hand, over one connection: graven append --lines cloudtrail.jsonl")?;
    stage.expect(0, "head")?;
    Ok(smaller)
}

/// Waits for a verified head that covers `size` entries, and answers its size.
async fn published(log: &LogClient, size: u64) -> Outcome<u64> {
    let wait = async {
        let mut watch = log.watch().await?;
        while let Some(head) = watch.next().await {
            let head = head?;
            if head.size().get() >= size {
                return Ok(head.size().get());
            }
        }
        Err(Failure::check_failed("the server ended the stream of heads"))
    };
    timeout(PATIENCE, wait)
        .await
        .map_err(|_| Failure::check_failed("the entries were not published in time"))?
}

/// Indices all over a log whose last one is `last`, in steps that grow and shrink.
fn scattered(last: u64) -> String {
    let count = u64::try_from(SCATTERED).unwrap_or(1);
    let indices = (0..count).map(|n| (n * last / count + n * n % 5).min(last));
    let texts: Vec<_> = indices.filter_map(LeafIndex::new).map(|index| index.to_string()).collect();
    texts.join(",")
}

/// Waits until the plain files are complete up to `size`: once the log is quiet.
async fn wait_for_site(stage: &Stage, size: u64) -> Outcome {
    let (checkpoint, deadline) = (stage.path("data/logs/audit/site/checkpoint"), Instant::now() + PATIENCE);
    let size = size.to_string();
    while Instant::now() < deadline {
        let note = fs::read_to_string(&checkpoint).unwrap_or_default();
        if note.lines().nth(1) == Some(&size) {
            return Ok(());
        }
        sleep(GLANCE).await;
    }
    Err(Failure::check_failed("the server did not complete the log's plain files in time"))
}

/// Stops the servers, the log's first, or leaves them.
fn finish(stage: &Stage, servers: Vec<ServerProcess>, keep: bool) -> Outcome {
    if keep {
        title("Everything goes on running. Try next")?;
        let ids: Vec<_> = servers.into_iter().map(ServerProcess::leave).collect();
        return output::line(stage.advice(&ids));
    }
    title("Stop the log's server: it finishes what it has. Then its operator checks the data directory")?;
    servers.into_iter().try_for_each(ServerProcess::stop)?;
    stage.expect(0, "fsck --data-dir data")?;
    output::line("\nEverything went as it should.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_indices_increase_and_stay_below() {
        for last in [299, 2_899, 70_000] {
            let crate::indices::Indices(indices) = crate::indices::list(&scattered(last)).unwrap();
            assert_eq!(indices.len(), SCATTERED);
            assert!(indices.iter().all(|index| index.get() <= last));
        }
    }
}
