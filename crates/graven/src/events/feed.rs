//! Events into a log: what `record` and `import` have in common.

use std::{cmp::Ordering, path::Path};

use clap::{Args, ValueEnum};
use graven_client::{
    ErrorReason,
    events::{
        EventLog, ProducerState, RecordAcks, RecordClosed, RecordSender, RecordStreamError, StreamOptions,
        WaitFor,
    },
};
use indicatif::ProgressBar;
use serde_json::json;

use super::source::{Form, Item, Source};
use crate::{
    exit::{Failure, Outcome},
    output,
    remote::LogAtServer,
};

/// The most bad lines that are named one by one.
const MAX_NAMED: u64 = 1_000;

/// What the manuals of both say.
pub(super) const RESUMING: &str = "\
With --producer the events are numbered from 1, in the order of the input, and the log takes each number once. Run \
the same command again after a failure, or with a file that has grown: it asks the server which number was the last, \
goes on after it, and nothing is recorded twice. Without, a run that broke off cannot be repeated safely.

What is no event is named by its line and field, and ends the command with exit code 2, after everything before it \
was recorded. With --skip-invalid the rest is recorded as well, and the exit code is 1. Under --producer the number \
of what was skipped stays missing: the log says so by an entry, and a later run with the line put right fills it.";

/// How events go into a log.
#[derive(Args, Debug)]
pub(crate) struct FeedArgs {
    /// Name of this input, 1 to 64 of a-z, 0-9, -, _ and .: its events are numbered, and the command can be run again
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,

    /// Retention class of the events [default: the log's]
    #[arg(long, value_name = "CLASS")]
    retention: Option<String>,

    /// What to wait for; published and witnessed are the server's word: `query --prove` proves it
    #[arg(long, value_name = "LEVEL", default_value = "durable")]
    wait: Level,

    /// Go on after what is no event, and end with exit code 1
    #[arg(long)]
    skip_invalid: bool,

    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    log: LogAtServer,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Level {
    Durable,
    Published,
    Witnessed,
}

/// What came of sending.
#[derive(Debug, Default)]
struct Sent {
    /// Recorded by an earlier run.
    before: u64,
    /// What is no event.
    invalid: u64,
    /// Recorded without the record, for the secret in it.
    bare: u64,
}

/// What was acknowledged.
#[derive(Debug, Default)]
struct Tally {
    recorded: u64,
    duplicates: u64,
    first: Option<u64>,
    last: Option<u64>,
}

/// Records all events of a file.
pub(super) async fn run(args: &FeedArgs, path: &Path, form: Form) -> Outcome {
    let source = Source::open(path, form)?;
    let log = args.log.events().await?;
    let state = resume(&log, args.producer.as_deref()).await?;
    let options = StreamOptions {
        producer: args.producer.clone(),
        retention: args.retention.clone().unwrap_or_default(),
        wait: args.wait.into(),
    };
    let (sender, acks) = log.record_stream(options);
    let bar = output::counting("recording");
    let (mut sent, mut tally) = (Sent::default(), Tally::default());
    let ended = {
        let sending = send(args, path, source, state.as_ref(), sender, &mut sent);
        let acknowledging = acknowledge(acks, &bar, &mut tally);
        tokio::pin!(sending, acknowledging);
        tokio::select! {
            biased;
            over = &mut sending => match acknowledging.await {
                Ok(()) => over,
                failed => failed,
            },
            // Before the last event was sent: then the server did it, and waiting for more is no use.
            over = &mut acknowledging => over.and(Err(Failure::trouble("the server ended the stream"))),
        }
    };
    bar.finish_and_clear();
    report(args, &sent, &tally)?;
    ended?;
    match sent.invalid {
        0 => Ok(()),
        count => {
            Err(Failure::check_failed(format_args!("{count} of the input are no events, and were skipped")))
        }
    }
}

/// Where an earlier run has come to.
async fn resume(log: &EventLog, producer: Option<&str>) -> Outcome<Option<ProducerState>> {
    let Some(producer) = producer else { return Ok(None) };
    let state = log.producer(producer).await?;
    if state.last > 0 {
        output::note(format_args!(
            "{producer} was recorded up to number {}: going on from there",
            state.last
        ));
    }
    Ok(Some(state))
}

/// Sends each event as it comes. Where one is none, those before it are still acknowledged.
async fn send(
    args: &FeedArgs,
    path: &Path,
    mut source: Source,
    state: Option<&ProducerState>,
    mut sender: RecordSender,
    sent: &mut Sent,
) -> Outcome {
    while let Some(Item { number, line, event, secret }) = source.next().await? {
        if state.is_some_and(|state| state.has(number)) {
            sent.before += 1;
            continue;
        }
        let event = match event {
            Ok(event) => event,
            Err(what) => {
                sent.invalid += 1;
                refuse(args, format_args!("{} line {line}: {what}", path.display()), sent.invalid)?;
                continue;
            }
        };
        sent.bare += u64::from(secret.is_some());
        let outcome = match state {
            Some(_) => sender.send_as(number, *event).await,
            None => sender.send(*event).await,
        };
        match outcome {
            Ok(_) => {}
            // What was acknowledged says why.
            Err(RecordClosed::Over) => return Ok(()),
            Err(error) => {
                sent.invalid += 1;
                refuse(args, format_args!("{} line {line}: {error}", path.display()), sent.invalid)?;
            }
        }
    }
    Ok(())
}

/// What is no event ends the command, or is named and left out.
fn refuse(args: &FeedArgs, what: std::fmt::Arguments<'_>, count: u64) -> Outcome {
    if !args.skip_invalid {
        return Err(Failure::trouble(format_args!("{what}; everything before it is recorded")));
    }
    match count.cmp(&MAX_NAMED) {
        Ordering::Less => output::note(format_args!("skipped: {what}")),
        Ordering::Equal => output::note(format_args!("skipped: {what}; further ones are counted only")),
        Ordering::Greater => {}
    }
    Ok(())
}

async fn acknowledge(mut acks: RecordAcks, bar: &ProgressBar, tally: &mut Tally) -> Outcome {
    while let Some(run) = acks.next().await {
        let run = run.map_err(broken)?;
        bar.inc(run.count);
        if run.duplicate {
            tally.duplicates += run.count;
            continue;
        }
        tally.recorded += run.count;
        let Some(first) = run.first_index.map(|index| index.get()) else { continue };
        let last = first + run.count - 1;
        tally.first = Some(tally.first.map_or(first, |known| known.min(first)));
        tally.last = Some(tally.last.map_or(last, |known| known.max(last)));
    }
    Ok(())
}

/// What is known of a stream that broke: the answer to what to do next.
fn broken(error: RecordStreamError) -> Failure {
    let call = error.problem.call();
    let refused = call.filter(|call| call.reason() == Some(ErrorReason::EventInvalid));
    let which = refused.and_then(|call| call.refusal()?.number("seq"));
    let message = match which {
        Some(number) => format!("event {number} of the input: {}", error.problem),
        None => format!(
            "the stream ended early: {}; {} sent and not acknowledged",
            error.problem,
            error.unknown.len()
        ),
    };
    Failure::from(error.problem).saying(message)
}

fn report(args: &FeedArgs, sent: &Sent, tally: &Tally) -> Outcome {
    if sent.bare > 0 {
        output::note(format_args!(
            "{} recorded without the record that they were made from, as it holds a secret",
            events(sent.bare)
        ));
    }
    output::either(
        args.json,
        || {
            json!({
                "recorded": tally.recorded,
                "first_index": tally.first,
                "last_index": tally.last,
                "duplicates": tally.duplicates,
                "recorded_before": sent.before,
                "invalid": sent.invalid,
                "without_raw": sent.bare,
            })
        },
        || describe(sent, tally),
    )
}

fn describe(sent: &Sent, tally: &Tally) -> String {
    let mut said = match (tally.first, tally.last) {
        (Some(first), Some(last)) if last - first + 1 == tally.recorded => {
            format!("{} recorded, at indices {first} to {last}", events(tally.recorded))
        }
        (Some(first), Some(last)) => {
            format!("{} recorded, between indices {first} and {last}", events(tally.recorded))
        }
        _ => "nothing new recorded".to_owned(),
    };
    let known = tally.duplicates + sent.before;
    if known > 0 {
        said.push_str(&format!("; {} had been recorded before", events(known)));
    }
    said
}

fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

impl From<Level> for WaitFor {
    fn from(level: Level) -> Self {
        match level {
            Level::Durable => Self::Durable,
            Level::Published => Self::Published,
            Level::Witnessed => Self::Witnessed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_run_is_not_repeated_and_its_gaps_are_filled() {
        let state = ProducerState { last: 9, missing: vec![3..=4, 7..=7] };
        let open: Vec<_> = (1..=11).filter(|number| !state.has(*number)).collect();
        assert_eq!(open, [3, 4, 7, 10, 11]);
        assert!(!ProducerState::default().has(1));
    }

    #[test]
    fn what_was_done_is_said_in_a_line() {
        let tally = Tally { recorded: 3, duplicates: 1, first: Some(5), last: Some(7) };
        let sent = Sent { before: 1, ..Sent::default() };
        assert_eq!(
            describe(&sent, &tally),
            "3 events recorded, at indices 5 to 7; 2 events had been recorded before"
        );
        let apart = Tally { recorded: 2, last: Some(9), ..tally };
        assert!(describe(&Sent::default(), &apart).contains("between indices 5 and 9"));
        assert_eq!(describe(&Sent::default(), &Tally::default()), "nothing new recorded");
    }
}
