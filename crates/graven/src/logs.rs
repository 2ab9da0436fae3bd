//! `graven log`: making, listing and freezing the logs of a server.

use clap::{Args, Subcommand, ValueEnum};
use graven_client::{LogKind, LogState, ReportedLog, Visibility};
use serde_json::{Value, json};

use crate::{exit::Outcome, output, remote::ServerArgs};

const CREATE_EXAMPLES: &str = "\
Prints the new log's verifier keys, one a line and nothing else. They come from the server: compare them with \
`graven keys show` beside its data directory before you hand them on.

Examples:
  graven log create payments
  graven log create who --kind events
  graven log create payments --visibility public --json";

/// Make, list or freeze the logs of a server
#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    Create(CreateArgs),
    List(ListArgs),
    Freeze(FreezeArgs),
}

/// Make an empty log with keys of its own
#[derive(Args, Debug)]
#[command(after_help = CREATE_EXAMPLES)]
struct CreateArgs {
    /// Name of the new log: 1 to 63 of a-z, 0-9 and -
    #[arg(value_name = "NAME")]
    name: String,

    /// What the log holds, for ever: bytes, as they are appended, or audit events (`graven record`)
    #[arg(long, default_value = "bytes")]
    kind: KindWord,

    /// Who may read the log's tiles
    #[arg(long, value_name = "WHO", default_value = "private")]
    visibility: VisibilityWord,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// List the logs of a server, as the server describes them
#[derive(Args, Debug)]
struct ListArgs {
    /// Print one JSON object a log
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// End a log: it takes no more entries, for ever
#[derive(Args, Debug)]
struct FreezeArgs {
    /// Name of the log, in full: this cannot be undone
    #[arg(value_name = "NAME")]
    name: String,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindWord {
    Bytes,
    Events,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VisibilityWord {
    Private,
    Public,
}

pub(crate) async fn run(args: LogArgs) -> Outcome {
    match args.command {
        LogCommand::Create(args) => create(args).await,
        LogCommand::List(args) => list(args).await,
        LogCommand::Freeze(args) => freeze(args).await,
    }
}

async fn create(args: CreateArgs) -> Outcome {
    let kind = match args.kind {
        KindWord::Bytes => LogKind::Bytes,
        KindWord::Events => LogKind::Events,
    };
    let visibility = match args.visibility {
        VisibilityWord::Private => Visibility::Private,
        VisibilityWord::Public => Visibility::Public,
    };
    let log = args.server.connect().await?.admin().create_log(&args.name, kind, visibility).await?;
    if args.json {
        return output::line(as_json(&log));
    }
    output::note(format_args!("made {}", log.origin));
    log.vkeys.iter().try_for_each(output::line)
}

async fn list(args: ListArgs) -> Outcome {
    let logs = args.server.connect().await?.admin().list().await?;
    logs.iter().try_for_each(|log| output::either(args.json, || as_json(log), || describe(log)))
}

async fn freeze(args: FreezeArgs) -> Outcome {
    let log = args.server.connect().await?.admin().freeze(&args.name).await?;
    output::either(args.json, || as_json(&log), || describe(&log))
}

fn describe(log: &ReportedLog) -> String {
    let published = log.head.as_ref().map_or(0, |head| head.size);
    format!(
        "{}  {}  {} {}, {}, {} durable, {published} published",
        log.name,
        log.origin,
        state(log.state),
        kind(log.kind),
        visibility(log.visibility),
        output::entries(log.durable_size)
    )
}

fn as_json(log: &ReportedLog) -> Value {
    json!({
        "name": log.name,
        "origin": log.origin,
        "kind": kind(log.kind),
        "visibility": visibility(log.visibility),
        "state": state(log.state),
        "vkeys": log.vkeys,
        "created": log.created.map(output::time),
        "durable_size": log.durable_size,
        "published_size": log.head.as_ref().map(|head| head.size),
    })
}

fn kind(kind: LogKind) -> &'static str {
    match kind {
        LogKind::Bytes => "bytes",
        LogKind::Events => "events",
        LogKind::Access => "access",
        LogKind::Unspecified => "unknown",
    }
}

fn visibility(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Public => "public",
        Visibility::Private | Visibility::Unspecified => "private",
    }
}

fn state(state: LogState) -> &'static str {
    match state {
        LogState::Active => "active",
        LogState::Frozen => "frozen",
        LogState::Unspecified => "unknown",
    }
}
