//! `graven init`: a data directory with its first log.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use graven_event::Party;
use graven_log::{Config, Env, Initialized, Kind, LogMeta, Paths, Visibility};
use graven_note::Policy;
use graven_store::fs::Mode;
use graven_vault::Vault;

use crate::{
    exit::{Failure, Outcome},
    keys, output, vault,
};

const EXAMPLES: &str = "\
Prints the log's verifier keys, one a line and nothing else. Hand them, or the policy file, to everybody who is \
to check the log: they must not learn the keys from the server that they check.

Examples:
  graven init --data-dir data --origin example.com/audit > audit.vkeys
  graven init --data-dir data --origin example.com/audit --visibility public
  graven init --data-dir data --origin example.com/who --kind events --administrator alice";

/// Make a data directory with its first log and that log's keys
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InitArgs {
    /// Folder to make; refused where it holds anything
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// Origin of the log: a prefix that is yours, /, and the log's NAME (1 to 63 of a-z, 0-9 and -)
    #[arg(long, value_name = "PREFIX/NAME")]
    origin: String,

    /// What the log holds, for ever: bytes, or events (who did what, sealed, searchable)
    #[arg(long, value_name = "KIND", default_value = "bytes")]
    kind: Kind,

    /// Who may first decide about OAuth scopes in a log of events (repeatable): alice, or service:ci; a token or certificate of the
    /// server's own has the name that it is listed by, an OAuth token its sub
    #[arg(long, value_name = "WHO")]
    administrator: Vec<String>,

    /// Who may read the log's tiles: private or public
    #[arg(long, value_name = "WHO", default_value = "private")]
    visibility: Visibility,
}

pub(crate) fn run(args: &InitArgs) -> Outcome {
    let env = Env::system();
    let (config, _) = vault::hooked(Config::default());
    if args.kind == Kind::Access {
        return Err(Failure::trouble(
            "the log of who read what is made by the server itself: --kind bytes or events",
        ));
    }
    if args.kind != Kind::Events && !args.administrator.is_empty() {
        return Err(Failure::trouble(
            "--administrator: scopes are decided about in logs of events: --kind events",
        ));
    }
    let made = graven_log::init(&env, &args.data_dir, &args.origin, args.kind, args.visibility, &config)?;
    if args.kind == Kind::Events {
        let (vault, key) = vault::create(&env, &args.data_dir)?;
        name_administrators(&env, args, &made, &vault)?;
        output::note(format_args!(
            "master key of the key store: {}: keep a copy elsewhere, and neither it nor the folder vault in backups of the data \
             (with them, who was erased could be read again)",
            key.display()
        ));
    }
    let policy = write_policy(&args.data_dir, &made.meta)?;
    for key in &made.meta.keys {
        output::line(key)?;
    }
    output::note(format_args!("policy file, for everybody who checks the log: {}", policy.display()));
    output::note(format_args!(
        "recovery key: {}: move it offline now (it alone may authorise new keys for this server's logs)",
        made.recovery_key.display()
    ));
    output::note(format_args!(
        "for everybody who checks the log, to follow it to new keys: --recovery {}",
        made.meta.recovery
    ));
    output::note(format_args!("next: graven serve --data-dir {} --dev", args.data_dir.display()));
    Ok(())
}

/// Leaves the first leaf of the log for the server to append, with who is named in it, signed by the recovery key while it is still here.
fn name_administrators(env: &Env, args: &InitArgs, made: &Initialized, vault: &Vault) -> Outcome {
    if args.administrator.is_empty() {
        return Ok(());
    }
    let recovery = keys::load_recovery(&made.recovery_key, made.meta.origin.as_str())?;
    let administrators: Vec<Party> = args.administrator.iter().map(|name| Party::parse(name)).collect();
    let leaf = graven_audit::scopes::first_leaf(vault, &made.meta, &administrators, &recovery);
    let leaf = leaf.map_err(Failure::trouble)?;
    let path = Paths::new(&args.data_dir).first_leaf(&made.meta.name);
    env.fs.create_durable(&path, &leaf, Mode::Shared).map_err(Failure::trouble)
}

/// Writes what others need to check the log.
fn write_policy(data_dir: &Path, meta: &LogMeta) -> Outcome<PathBuf> {
    let policy = Policy::without_witnesses(&meta.keys).map_err(Failure::trouble)?;
    let path = data_dir.join(format!("{}.policy", meta.name));
    output::write_file(&path, &policy.to_bytes())?;
    // Shown as it can be typed from anywhere.
    Ok(fs::canonicalize(&path).unwrap_or(path))
}
