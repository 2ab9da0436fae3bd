//! `graven evidence collect`: everything that a log says about a control, in a pack that proves it.

use std::path::PathBuf;

use clap::Args;
use graven_client::LogClient;
use graven_event::{Frame, Time};
use graven_merkle::{LeafIndex, MAX_MULTI_INDICES, leaf_hash};
use serde_json::json;

use super::{
    archive,
    controls::{CONTROLS, Control},
    names,
    pack::{self, Leaf, Manifest, Proof},
};
use crate::{
    exit::{Failure, Outcome},
    output,
    remote::TrustedLog,
    scopes::times,
};

/// Entries that are read and proven at once.
const PAGE_ENTRIES: u64 = 16_384;
/// Entries of one pack: what its reader holds in memory.
const MAX_LEAVES: usize = 1_000_000;

const EXAMPLES: &str = "\
Reads every entry of the log from one time to the other, each proven under a signed head, and packs those that are evidence for the control, with \
one proof for each 1,024 of them, the signed head, counts and a summary. `graven evidence verify` checks the pack anywhere, offline, with the \
log's keys alone.

A pack is a folder, or one file where --out ends in .tar. People are in it under the names that the server calls them, unless --no-names is \
given: then as references, which an erasure makes meaningless.

Examples:
  graven evidence collect --control CC6.1 --from 2026-01-01T00:00:00Z --to 2026-04-01T00:00:00Z --out CC6.1-2026-Q1
  graven evidence collect --control 'A.5.18' --from 90days --out access-rights.tar
  graven evidence verify --policy audit.policy CC6.1-2026-Q1";

/// Collect everything that a log says about a control
#[derive(Args, Debug)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", controls()))]
pub(super) struct CollectArgs {
    /// The control, as its framework names it: see below
    #[arg(long, value_name = "CONTROL", value_parser = control)]
    control: &'static Control,

    /// The first log time: a time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = times::ago)]
    from: Time,

    /// The last log time: a time, or how long ago [default: now]
    #[arg(long, value_name = "TIME", value_parser = times::ago)]
    to: Option<Time>,

    /// Where the pack goes: a folder, or a file whose name ends in .tar
    #[arg(long, value_name = "FOLDER|FILE")]
    out: PathBuf,

    /// Leave out what references are called
    #[arg(long)]
    no_names: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    pub(super) log: TrustedLog,
}

fn control(id: &str) -> Result<&'static Control, String> {
    let known: Vec<_> = CONTROLS.iter().map(|control| control.id).collect();
    Control::named(id).ok_or_else(|| format!("no such control: there are {}", known.join(", ")))
}

/// The table of controls, for the manual.
fn controls() -> String {
    let line = |control: &Control| format!("  {:<14} {}: {}", control.id, control.framework, control.title);
    let lines: Vec<_> = CONTROLS.iter().map(line).collect();
    format!("Controls:\n{}", lines.join("\n"))
}

pub(super) async fn run(args: CollectArgs) -> Outcome {
    let to = args.to.unwrap_or_else(times::now);
    if to < args.from {
        return Err(Failure::trouble("--to is before --from"));
    }
    if args.out.exists() {
        return Err(Failure::trouble(format_args!(
            "{} is there already: name another --out",
            args.out.display()
        )));
    }
    let log = args.log.open_pinned().await?;
    let size = log.tree_head().await?.size().get();
    let first = first_from(&log, size, |time| time >= args.from).await?;
    let end = first_from(&log, size, |time| time > to).await?;
    let leaves = read(&log, args.control, first, end, args.from..=to).await?;
    // Only now, so that all is under it.
    let head = log.tree_head().await?;
    let mut proofs = Vec::new();
    for part in leaves.chunks(MAX_MULTI_INDICES) {
        let (indices, hashes) = part.iter().map(|leaf| (leaf.index, leaf_hash(&leaf.bytes))).unzip();
        let proven = log.prove_leaves(&head, indices, hashes).await?;
        proofs.push(Proof {
            indices: proven.indices().iter().map(|index| index.get()).collect(),
            hashes: proven.proof().hashes().iter().map(output::base64).collect(),
        });
    }
    let names = match args.no_names {
        true => Ok(Default::default()),
        false => names::told(&log.scopes(), &leaves, end).await,
    };
    let names = names.unwrap_or_else(|failure: Failure| {
        output::note(format_args!("without names, which the server does not tell: {failure}"));
        Default::default()
    });
    let manifest = Manifest {
        format: pack::FORMAT.to_owned(),
        origin: head.origin().to_string(),
        control: args.control.id.to_owned(),
        framework: args.control.framework.to_owned(),
        title: args.control.title.to_owned(),
        from: args.from,
        to,
        collected_at: times::now(),
        tree_size: head.size().get(),
        root: head.root().to_string(),
        first_index: first,
        end_index: end,
        leaves: u64::try_from(leaves.len()).unwrap_or(u64::MAX),
        counts: pack::counts(&leaves),
        proofs,
        names,
    };
    archive::write(&args.out, &pack::files(&manifest, head.note(), &leaves)?)?;
    output::either(
        args.json,
        || {
            json!({
                "out": args.out,
                "control": manifest.control,
                "first_index": first,
                "end_index": end,
                "leaves": manifest.leaves,
                "counts": manifest.counts,
                "tree_size": manifest.tree_size,
                "root": manifest.root,
            })
        },
        || {
            format!(
                "{}: {} for {} {}, of {} that were read",
                args.out.display(),
                output::entries(manifest.leaves),
                manifest.framework,
                manifest.control,
                end - first
            )
        },
    )
}

/// The entries from one index to another that are evidence, each proven.
async fn read(
    log: &LogClient,
    control: &Control,
    first: u64,
    end: u64,
    times: std::ops::RangeInclusive<Time>,
) -> Outcome<Vec<Leaf>> {
    let bar = output::progress("collecting");
    bar.set_length(end - first);
    let (mut leaves, mut next) = (Vec::new(), first);
    while next < end {
        let page = log.entries(next..end.min(next + PAGE_ENTRIES)).await?;
        for (index, bytes) in page.iter() {
            // A statement of rotated keys says nothing of this.
            let Ok(frame) = Frame::decode(bytes) else { continue };
            if control.collects(&frame.facts) && times.contains(&frame.log_time) {
                leaves.push(Leaf { index, bytes: bytes.to_vec(), frame });
            }
        }
        if leaves.len() > MAX_LEAVES {
            return Err(Failure::trouble(format_args!(
                "there is more evidence than a pack holds, {MAX_LEAVES} entries: collect it by shorter times"
            )));
        }
        next = end.min(next + PAGE_ENTRIES);
        bar.set_position(next - first);
    }
    bar.finish_and_clear();
    Ok(leaves)
}

/// The first entry whose log time is so; it never goes back from one entry to the next.
async fn first_from(log: &LogClient, size: u64, is_so: impl Fn(Time) -> bool) -> Outcome<u64> {
    let (mut low, mut high) = (0, size);
    while low < high {
        let middle = low + (high - low) / 2;
        match time_at_or_before(log, middle, low).await? {
            Some(time) if is_so(time) => high = middle,
            _ => low = middle + 1,
        }
    }
    Ok(low)
}

/// The log time of an entry, or of the nearest before it that has one, from `least` on.
async fn time_at_or_before(log: &LogClient, index: u64, least: u64) -> Outcome<Option<Time>> {
    for index in (least..=index).rev() {
        let Some(index) = LeafIndex::new(index) else { continue };
        if let Ok(frame) = Frame::decode(log.entry(index).await?.bytes()) {
            return Ok(Some(frame.log_time));
        }
    }
    Ok(None)
}
