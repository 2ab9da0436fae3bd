//! The `graven` command: see [`cli`] for what it can be told, [`exit`] for how it ends.

mod alerts;
mod append;
mod audit;
mod check;
mod cli;
mod config;
mod consistency;
mod credentials;
mod demo;
mod events;
mod evidence;
mod exit;
mod explain;
mod fsck;
mod get;
mod head;
mod health;
mod indices;
mod init;
mod keys;
mod lines;
mod logs;
mod lookup;
mod mirror;
mod monitor;
mod output;
mod prove;
mod recover;
mod remote;
mod replay;
mod rules;
mod scopes;
mod serve;
mod settings;
mod table;
mod telemetry;
mod token;
mod trust;
mod vault;
mod verify;
mod watch;
mod witness;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use exit::{Failure, Outcome};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    match start(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

fn start(command: Command) -> Outcome {
    let runtime = Runtime::new()
        .map_err(|error| Failure::trouble(format_args!("no threads can be started: {error}")))?;
    let evidence_folder = command.evidence_folder();
    let outcome = runtime.block_on(run(command));
    if let (Err(failure), Some(folder)) = (&outcome, evidence_folder) {
        evidence::keep_of(failure, &folder);
    }
    // A thread may still wait for standard input: nobody needs what it reads.
    runtime.shutdown_background();
    outcome
}

async fn run(command: Command) -> Outcome {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Init(args) => init::run(&args),
        Command::Serve(args) => serve::run(args).await,
        Command::Append(args) => append::run(args).await,
        Command::Head(args) => head::run(args).await,
        Command::Get(args) => get::run(args).await,
        Command::Prove(args) => prove::run(args).await,
        Command::Consistency(args) => consistency::run(args).await,
        Command::Watch(args) => watch::run(args).await,
        Command::Verify(args) => verify::run(&args),
        Command::Audit(args) => audit::run(args).await,
        Command::Fsck(args) => fsck::run(&args),
        Command::Mirror(args) => mirror::run(args).await,
        Command::Recover(args) => recover::run(args).await,
        Command::Keys(args) => keys::run(args).await,
        Command::Token(args) => token::run(&args),
        Command::Witness(args) => witness::run(args).await,
        Command::Config(args) => config::run(args),
        Command::Health(args) => health::run(args).await,
        Command::Log(args) => logs::run(args).await,
        Command::Evidence(args) => evidence::run(args).await,
        Command::Monitor(args) => monitor::run(args).await,
        Command::Record(args) => events::record::run(args).await,
        Command::Import(args) => events::import::run(args).await,
        Command::Query(args) => events::query::run(args).await,
        Command::Tail(args) => events::tail::run(args).await,
        Command::Reveal(args) => events::reveal::run(args).await,
        Command::Erase(args) => events::erase::run(args).await,
        Command::Retention(args) => events::retention::run(args).await,
        Command::Hold(args) => events::hold::run(args).await,
        Command::Scopes(args) => scopes::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Explain(args) => explain::run(args).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Rules(args) => rules::run(args).await,
        Command::Alerts(args) => alerts::run(args).await,
    }
}
