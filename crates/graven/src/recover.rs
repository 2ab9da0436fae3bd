//! `graven recover`: entries that a data directory has lost, from a copy of the log.

use std::{io, path::PathBuf};

use clap::Args;
use graven_client::{
    Trust, VerifiedHead, WebOptions, WebSite,
    audit::{Folder, PackageReader, TileSource},
};
use graven_log::{Config, Env, LogCopy, LogName, Missing, Restored, log_keys};
use graven_merkle::{ConsistencyProof, TreeSize, tile::BundlePath};

use crate::{
    credentials::{CredentialArgs, Credentials},
    exit::{Failure, Outcome},
    output,
    trust::TrustArgs,
    vault,
};

const EXAMPLES: &str = "\
For a log that `graven serve` refuses with exit code 4, as its data directory went back in time. No server may run on \
the directory. Nothing is signed, and nothing of the copy is believed: its checkpoint must be signed by every key of the \
log and be no older than anything that the directory knows of, the entries that are still here must be its beginning, and each \
entry is proven under it before it is kept. With --key or --policy the copy's checkpoint has to satisfy these as well, \
witnesses and quorum included. What was interrupted is repeated.

A copy is a mirror, or any other tlog-tiles prefix or folder that has the log. Take the one with the newest checkpoint: a \
log that goes on from an older one than it ever signed is a fork, and witnesses will refuse it.

--promote is for a log whose primary is gone for good. The data directory needs its small files back, from a backup: \
`server`, `logs/NAME/log`, `logs/NAME/keys/` and, where the keys were rotated, `logs/NAME/rotations`. What else is missing is \
made anew, and the copy's checkpoint counts as the last that was signed. One that failed leaves nothing that signs: repeat it.

A mirror has what --policy demands only if `graven mirror add-log` was given all keys of the log, and its witnesses. The newest \
checkpoint may have been copied before its quorum: then the copy is whole, and the policy without its quorum accepts it.

Examples:
  graven recover --data-dir data --log audit --from https://mirror.example.com/5f…c2
  graven recover --data-dir data --log audit --from-dir /backup/logs/audit/site
  graven recover --data-dir data --log audit --from https://mirror.example.com/5f…c2 --promote --policy audit.policy";

/// Get lost entries of a log back from a mirror, or another copy
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RecoverArgs {
    /// The server's data directory
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,

    /// Name of the log
    #[arg(long, value_name = "NAME")]
    log: String,

    /// Address of the copy: `checkpoint` and `tile` lie below it
    #[arg(long, value_name = "PREFIX", required_unless_present = "from_dir")]
    from: Option<String>,

    /// Folder of the copy instead: the one that holds `checkpoint` and `tile`
    #[arg(long, value_name = "SITE", conflicts_with = "from")]
    from_dir: Option<PathBuf>,

    /// Make missing journals anew: the copy's checkpoint is the last that was ever signed
    #[arg(long)]
    promote: bool,

    #[command(flatten)]
    trust: TrustArgs,

    #[command(flatten)]
    credentials: CredentialArgs,
}

pub(crate) async fn run(args: RecoverArgs) -> Outcome {
    let source: Box<dyn TileSource + Send> = match (&args.from, &args.from_dir) {
        (Some(url), _) => {
            let Credentials { roots, identity, token } = args.credentials.as_given()?;
            Box::new(WebSite::new(url, WebOptions { roots, identity, token, ..WebOptions::default() })?)
        }
        (None, Some(folder)) => Box::new(Folder::new(folder)),
        (None, None) => return Err(Failure::trouble("from where? give --from PREFIX or --from-dir SITE")),
    };
    let Restored { before, checkpoint } =
        tokio::task::spawn_blocking(move || restore(&args, &*source)).await.map_err(Failure::trouble)??;
    let size = checkpoint.size().get();
    output::line(format_args!(
        "{} has {} again, {} of them from the copy, root {}: as was signed",
        checkpoint.origin(),
        output::entries(size),
        size - before,
        output::brief(checkpoint.root())
    ))
}

fn restore(args: &RecoverArgs, source: &dyn TileSource) -> Outcome<Restored> {
    let name = LogName::new(&args.log).map_err(Failure::trouble)?;
    let env = Env::system();
    let head = head(args, &env, &name, source)?;
    let mut copy = Site { packages: PackageReader::new(source, head.size()), head };
    let missing = if args.promote { Missing::Anew } else { Missing::Refused };
    let bar = output::progress("recovering");
    let (config, _) = vault::hooked(Config::default());
    let restored = graven_log::restore(&env, &args.data_dir, &name, &config, &mut copy, missing, |at, of| {
        bar.set_length(of);
        bar.set_position(at);
    });
    bar.finish_and_clear();
    Ok(restored?)
}

/// The copy's head, as far as the keys in the data directory and what is pinned can tell.
fn head(args: &RecoverArgs, env: &Env, name: &LogName, source: &dyn TileSource) -> Outcome<VerifiedHead> {
    let note = source.fetch("checkpoint").map_err(Failure::trouble)?;
    let note =
        note.ok_or_else(|| Failure::trouble("there is no checkpoint at that place: is it a copy of a log?"))?;
    let keys = log_keys(env, &args.data_dir)?.into_iter().find(|(log, ..)| log == name);
    let (_, keys, _) =
        keys.ok_or_else(|| Failure::trouble(format_args!("there is no log {name} in that directory")))?;
    let refused =
        |error| Failure::check_failed(format_args!("the copy's checkpoint is not to be trusted: {error}"));
    let own = Trust::of_keys(keys.due_for(&note).to_vec())?.requiring_all();
    let head = own.verify_head(&note).map_err(refused)?;
    if let Some(pinned) = args.trust.pinned()? {
        args.trust.trust_in(pinned, head.origin().clone())?.verify_head(&note).map_err(refused)?;
    }
    Ok(head)
}

struct Site<'a> {
    head: VerifiedHead,
    packages: PackageReader<'a>,
}

impl LogCopy for Site<'_> {
    fn checkpoint(&self) -> &[u8] {
        self.head.note().as_bytes()
    }

    fn consistency(&mut self, from: TreeSize) -> io::Result<ConsistencyProof> {
        self.packages.consistency(from).map_err(io::Error::other)
    }

    fn bundles(&mut self, first: u64) -> io::Result<Vec<(BundlePath, Vec<u8>, ConsistencyProof)>> {
        let packages = self.packages.packages(first..first.saturating_add(self.packages.at_a_time()));
        let packages = packages.map_err(io::Error::other)?.into_iter();
        Ok(packages.map(|package| (package.path, package.bytes, package.proof)).collect())
    }
}
