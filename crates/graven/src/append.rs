//! `graven append`: entries into a log.

use std::{
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use graven_client::{
    Acked, Acks, IdempotencyKey, Proven, StreamAck, StreamClosed, StreamError, StreamSender, VerifiedHead,
};
use serde_json::{Value, json};

use crate::{
    exit::{Failure, Outcome},
    lines::{self, Lines},
    output,
    remote::TrustedLog,
};

const EXAMPLES: &str = "\
Without --lines the whole file is one entry, of 1 to 65,535 bytes. With --lines each line is one, without its \
newline; entries go out as they come, and each is reported as soon as it is acknowledged.

What to wait for:
  durable     the entry is on stable storage under its index, for ever. Nothing is proven yet
  published   it is in a signed tree; the proof is verified, and --out keeps it
  witnessed   the log's witnesses have cosigned that tree

An append can be repeated under its idempotency key: the answer names the first index again. With --lines the key \
of line n is KEY/n, and without --idempotency-key the lines have no keys.

A repeat is safe for as long as the server remembers the key: 10 minutes by its defaults, or less where more \
other keys came since than it keeps. Give --key-issued, the time of the first run: then a repeat that comes too \
late is refused. Without, the time of each run counts as the first, and what the server forgot is appended again.

Examples:
  graven append login.json
  graven append --policy audit.policy --wait published --out login.tlog-proof login.json
  tail -F app.log | graven append --lines --json -
  issued=$(date +%s)    # once; then, run again with it, the next appends only what is missing, or is refused
  graven append --lines --idempotency-key import-7 --key-issued $issued events.jsonl";

/// Append entries to a log
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AppendArgs {
    /// What to wait for
    #[arg(long, value_name = "LEVEL", default_value = "durable")]
    wait: Wait,

    /// Name of this append, 1 to 128 visible ASCII characters, so that it can be repeated for as long as the
    /// server remembers it (10 minutes by its defaults, or less) [default: a random one; with --lines none]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// When the key was first used, in seconds since 1970; a key that may be forgotten already is refused
    /// [default: now, also in a repeat]
    #[arg(long, value_name = "SECONDS", requires = "idempotency_key")]
    key_issued: Option<u64>,

    /// Append each line as an entry of its own
    #[arg(long, conflicts_with = "out")]
    lines: bool,

    /// File to write the proof to (C2SP tlog-proof); takes --wait published or witnessed
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Print one JSON object an entry
    #[arg(long)]
    json: bool,

    /// File with the entry or entries; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    pub(crate) log: TrustedLog,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wait {
    Durable,
    Published,
    Witnessed,
}

pub(crate) async fn run(args: AppendArgs) -> Outcome {
    if args.out.is_some() && args.wait == Wait::Durable {
        return Err(Failure::trouble("--out has no proof to write: add --wait published"));
    }
    if args.lines { stream(&args).await } else { one(&args).await }
}

async fn one(args: &AppendArgs) -> Outcome {
    let entry = lines::whole(&args.file).await?;
    let key = args.idempotency_key.clone().map(|key| args.key(key)).transpose()?;
    if args.wait == Wait::Durable {
        let log = args.log.at.appender().await?;
        let append = log.append(entry);
        let append = if let Some(key) = key { append.idempotency_key(key) } else { append };
        return report(args.json, &append.durable().await?, None);
    }
    let log = args.log.open().await?;
    let append = log.append(entry);
    let append = if let Some(key) = key { append.idempotency_key(key) } else { append };
    let proven = match args.wait {
        Wait::Witnessed => append.witnessed().await?,
        Wait::Published | Wait::Durable => append.published().await?,
    };
    keep(args.out.as_deref(), &proven)?;
    report(args.json, proven.acked(), Some(proven.head()))
}

fn keep(out: Option<&Path>, proven: &Proven) -> Outcome {
    out.map_or(Ok(()), |path| output::write_file(path, proven.bundle().to_string().as_bytes()))
}

async fn stream(args: &AppendArgs) -> Outcome {
    let lines = Lines::open(&args.file).await?;
    let (sender, acks) = match args.wait {
        Wait::Durable => args.log.at.appender().await?.append_stream(),
        Wait::Published => args.log.open().await?.append_stream_published(),
        Wait::Witnessed => {
            return Err(Failure::trouble("a stream waits for durable or published: append single entries"));
        }
    };
    let sending = send(args, lines, sender);
    let acknowledging = acknowledge(args.json, acks);
    tokio::pin!(sending, acknowledging);
    tokio::select! {
        biased;
        sent = &mut sending => {
            let durable = acknowledging.await?;
            sent.map_err(|failure| stopped(&failure, durable))
        }
        // Before the last line was sent: then the server did it, and waiting for more lines is no use.
        over = &mut acknowledging => over.and_then(|_| Err(Failure::trouble("the server ended the stream: append the rest again"))),
    }
}

/// Sends each line as it comes. Where a line is no entry, those before it are still acknowledged.
async fn send(args: &AppendArgs, mut lines: Lines, mut sender: StreamSender) -> Outcome {
    let mut number = 0_u64;
    while let Some(entry) = lines.next().await? {
        number += 1;
        let sent = match &args.idempotency_key {
            Some(key) => sender.send_with_key(entry, args.key(format!("{key}/{number}"))?).await,
            None => sender.send(entry).await,
        };
        match sent {
            Ok(_) => {}
            Err(StreamClosed::Over) => return Ok(()), // its acknowledgements say why
            Err(error) => return Err(Failure::trouble(format_args!("line {number}: {error}"))),
        }
    }
    Ok(())
}

/// Reports each acknowledgement at once, and counts them.
async fn acknowledge(as_json: bool, mut acks: Acks) -> Outcome<u64> {
    let mut count = 0_u64;
    while let Some(ack) = acks.next().await {
        let StreamAck { acked, head, .. } = ack.map_err(|error| broken(count, error))?;
        report(as_json, &acked, head.as_ref())?;
        count += 1;
    }
    Ok(count)
}

/// A line that is no entry, or an input that broke: all that was sent before is in the log.
fn stopped(why: &Failure, durable: u64) -> Failure {
    Failure::trouble(format_args!("{why}; before it, {} acknowledged as durable", output::entries(durable)))
}

/// What is known of a stream that broke: the answer to what to do next.
fn broken(acknowledged: u64, error: StreamError) -> Failure {
    let why = error.problem.call().map_or_else(|| error.problem.to_string(), ToString::to_string);
    let advice = match error.unknown.first() {
        Some(first) if first.key.is_none() => ": look into the log before you send those again",
        Some(_) => {
            ": run the same command again soon, while the server remembers the keys, and none is appended twice"
        }
        None => "",
    };
    let (durable, unknown) = (output::entries(acknowledged), error.unknown.len());
    Failure::from(error).saying(format!(
        "the stream ended early: {why}; {durable} acknowledged, {unknown} sent and not acknowledged{advice}"
    ))
}

fn report(as_json: bool, acked: &Acked, head: Option<&VerifiedHead>) -> Outcome {
    output::either(as_json, || ack_json(acked, head), || describe(acked, head))
}

fn ack_json(acked: &Acked, head: Option<&VerifiedHead>) -> Value {
    json!({
        "index": acked.index.get(),
        "leaf_hash": acked.leaf_hash.to_string(),
        "log_time": output::precise_time(acked.log_time),
        "duplicate": acked.duplicate,
        "proven_in_size": head.map(|head| head.size().get()),
    })
}

fn describe(acked: &Acked, head: Option<&VerifiedHead>) -> String {
    let (index, hash) = (acked.index, output::brief(&acked.leaf_hash));
    let repeat = if acked.duplicate { ", by an earlier call with the same key" } else { "" };
    let Some(head) = head else { return format!("entry {index} is durable{repeat}: leaf hash {hash}") };
    // Without a word about witnesses where the caller trusts none.
    let done = match head.witnesses() {
        [] => "published".to_owned(),
        by => {
            format!("witnessed by {}", by.iter().map(|by| by.name.to_string()).collect::<Vec<_>>().join(", "))
        }
    };
    let size = output::entries(head.size().get());
    format!("entry {index} is {done}{repeat}, proven under the head of {size}: leaf hash {hash}")
}

impl AppendArgs {
    fn key(&self, text: String) -> Outcome<IdempotencyKey> {
        let key = IdempotencyKey::new(text).map_err(Failure::trouble)?;
        let Some(seconds) = self.key_issued else { return Ok(key) };
        let issued = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let issued = issued.ok_or_else(|| Failure::trouble("--key-issued is beyond the end of time"))?;
        Ok(key.first_sent(issued))
    }
}
