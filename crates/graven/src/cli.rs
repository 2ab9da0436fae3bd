//! The command line as a whole; each command's own arguments stand beside its code.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{
    alerts::AlertsArgs,
    append::AppendArgs,
    audit::AuditArgs,
    check::CheckArgs,
    config::ConfigArgs,
    consistency::ConsistencyArgs,
    demo::DemoArgs,
    events::{
        erase::EraseArgs, hold::HoldArgs, import::ImportArgs, query::QueryArgs, record::RecordArgs,
        retention::RetentionArgs, reveal::RevealArgs, tail::TailArgs,
    },
    evidence::EvidenceArgs,
    exit,
    explain::ExplainArgs,
    fsck::FsckArgs,
    get::GetArgs,
    head::HeadArgs,
    health::HealthArgs,
    init::InitArgs,
    keys::KeysArgs,
    logs::LogArgs,
    mirror::MirrorArgs,
    monitor::MonitorArgs,
    prove::ProveArgs,
    recover::RecoverArgs,
    replay::ReplayArgs,
    rules::RulesArgs,
    scopes::ScopesArgs,
    serve::ServeArgs,
    token::TokenArgs,
    verify::VerifyArgs,
    watch::WatchArgs,
    witness::WitnessArgs,
};

const ABOUT: &str = "\
An immutable audit log: whatever is appended is signed into a Merkle tree, and anybody can check that nothing \
was changed, removed or inserted since.

Start with `graven demo`: it shows the main job on real audit events, and the commands to do it yourself.";

const EXAMPLES: &str = "\
Examples:
  graven init --data-dir data --origin example.com/audit > audit.vkeys
  graven serve --data-dir data --dev &
  export GRAVEN_POLICY=data/audit.policy
  echo 'alice logged in' | graven append --wait published --out login.tlog-proof -
  graven audit

  graven log create access-log --kind events               # a log of audit events
  graven import cloudtrail --log access-log trail.json.gz
  graven query --log access-log 'outcome:denied since:24h'
  graven check --log access-log --client billing --scope payroll.read

Words:
  origin   the name of a log, unique in the world: example.com/audit. Its last part is NAME
  vkey     a verifier key: what a log's signatures are checked by. `graven init` prints them
  policy   a file that says which keys (and witnesses) are trusted (C2SP tlog-policy)
  head     the signed statement of a log's size and of the root hash over all its entries
  bundle   an offline proof that an entry is in a log (C2SP tlog-proof)";

/// An immutable audit log that anybody can check.
#[derive(Debug, Parser)]
#[command(name = "graven", version, long_about = ABOUT, after_help = exit::TABLE)]
#[command(after_long_help = format!("{EXAMPLES}\n\n{}", exit::TABLE), max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the command does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Init(InitArgs),
    Serve(ServeArgs),
    Append(AppendArgs),
    Head(HeadArgs),
    Get(GetArgs),
    Prove(ProveArgs),
    Consistency(ConsistencyArgs),
    Watch(WatchArgs),
    Verify(VerifyArgs),
    Audit(AuditArgs),
    Fsck(FsckArgs),
    Mirror(MirrorArgs),
    Recover(RecoverArgs),
    Keys(KeysArgs),
    Token(TokenArgs),
    Config(ConfigArgs),
    Health(HealthArgs),
    Log(LogArgs),
    Witness(WitnessArgs),
    Evidence(EvidenceArgs),
    Monitor(MonitorArgs),
    Record(RecordArgs),
    Import(ImportArgs),
    Query(QueryArgs),
    Tail(TailArgs),
    Reveal(RevealArgs),
    Erase(EraseArgs),
    Retention(RetentionArgs),
    Hold(HoldArgs),
    Scopes(ScopesArgs),
    Check(CheckArgs),
    Explain(ExplainArgs),
    Replay(ReplayArgs),
    Rules(RulesArgs),
    Alerts(AlertsArgs),
}

impl Command {
    /// Where evidence goes that is met on the way; `None` where a command meets none, or sees to it by itself.
    pub(crate) fn evidence_folder(&self) -> Option<PathBuf> {
        let log = match self {
            Self::Append(args) => &args.log,
            Self::Head(args) => &args.log,
            Self::Get(args) => &args.log,
            Self::Prove(args) => &args.log,
            Self::Consistency(args) => &args.log,
            Self::Watch(args) => &args.log,
            Self::Audit(args) => &args.log,
            Self::Query(args) => &args.log,
            Self::Reveal(args) => &args.log,
            Self::Scopes(args) => args.log()?,
            Self::Check(args) => &args.log,
            Self::Explain(args) => &args.log,
            Self::Replay(args) => &args.log,
            Self::Evidence(args) => args.log()?,
            Self::Alerts(args) => &args.log,
            _ => return None,
        };
        Some(log.evidence_folder())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_is_explained() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} says nothing of itself", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{}: {}", command.get_name(), argument.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
