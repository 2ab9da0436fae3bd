//! `graven verify`: one proof or disclosure, offline.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use clap::Args;
use graven_client::{Trust, events::VerifiedDisclosure};
use graven_event::{Disclosure, disclosure::MAX_DISCLOSURE_BYTES};
use graven_merkle::leaf_hash;
use graven_note::{MAX_TLOG_PROOF_BYTES, Origin, TlogProof, VerifiedInclusion};
use serde_json::json;

use crate::{
    events::reveal,
    exit::{self, Failure, Outcome},
    output,
    trust::{Pinned, TrustArgs},
};

const EXAMPLES: &str = "\
Needs no server and no network: the entry, the bundle and the log's keys are all it takes. Ends with exit code 1 \
where the entry, the proof or a signature is not genuine, and with 3 where the head is older than --fresh-within.

A disclosure (`graven reveal`) holds its entry. What it shows is printed once it was verified to be what the entry \
committed to; with the producer's own record among it, also that this says the same.

Examples:
  graven verify --policy audit.policy --entry login login.tlog-proof
  graven verify --key VKEY --key VKEY --entry login login.tlog-proof
  graven verify --policy audit.policy 17.graven-disclosure";

/// Check, offline, that a bundle proves an entry, or a disclosure what it shows
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// File with the entry, byte for byte as it was appended; a disclosure holds its own
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,

    /// The bundle (C2SP tlog-proof), as `append --out` and `prove --out` write it, or a disclosure, as `reveal` does
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,

    /// Print one JSON object, also where the bundle does not verify
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    trust: TrustArgs,
}

pub(crate) fn run(args: &VerifyArgs) -> Outcome {
    match verify(args) {
        Ok(Verified::Entry(inclusion)) => report(&inclusion, args.json),
        Ok(Verified::Disclosure(disclosure)) if args.json => output::object(reveal::object(&disclosure)),
        Ok(Verified::Disclosure(disclosure)) => {
            output::line(reveal::describe(&disclosure))?;
            reveal::lines(&disclosure).iter().try_for_each(output::line)
        }
        Err(failure) => Err(refused(failure, args.json)),
    }
}

/// What was verified.
enum Verified {
    Entry(Box<VerifiedInclusion>),
    Disclosure(Box<VerifiedDisclosure>),
}

fn verify(args: &VerifyArgs) -> Outcome<Verified> {
    let pinned = args.trust.demanded()?;
    let bytes = read_bundle(&args.bundle)?;
    let not =
        |error: &dyn fmt::Display| Failure::check_failed(format_args!("{}: {error}", args.bundle.display()));
    if let Some(text) = disclosure(&bytes) {
        if args.entry.is_some() {
            return Err(Failure::trouble("a disclosure holds its entry: leave --entry out"));
        }
        let proof = Disclosure::parse(text).map_err(|error| not(&error))?.proof;
        let bundle = TlogProof::parse(proof.as_bytes()).map_err(|error| not(&error))?;
        let verified = trust_for(&args.trust, pinned, &bundle)?.verify_disclosure(text);
        return verified.map(|verified| Verified::Disclosure(Box::new(verified))).map_err(|error| {
            let message = format_args!("{} is not genuine: {error}", args.bundle.display());
            Failure::new(exit::exit_of(error.fault()), message)
        });
    }
    let bundle = TlogProof::parse(&bytes).map_err(|error| not(&error))?;
    let Some(path) = &args.entry else {
        return Err(Failure::trouble("say what the bundle is to prove: --entry FILE"));
    };
    let entry = read(path)?;
    let trust = trust_for(&args.trust, pinned, &bundle)?;
    let verified = trust.verify_proof(&bundle, leaf_hash(&entry)).map_err(|error| {
        let (bundle, entry) = (args.bundle.display(), path.display());
        let message = format_args!("{bundle} does not prove {entry}: {error}");
        Failure::new(exit::exit_of(error.fault()), message)
    })?;
    Ok(Verified::Entry(Box::new(verified)))
}

/// The text of a disclosure, where it is one.
fn disclosure(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.starts_with("graven-disclosure/"))
}

/// Programs are told on stdout, everybody on stderr.
fn refused(failure: Failure, as_json: bool) -> Failure {
    let object = json!({ "ok": false, "verified": false, "error": failure.to_string() });
    as_json.then(|| output::line(object)).and_then(Result::err).unwrap_or(failure)
}

/// The trust in the log that the bundle claims to be of, which the pinned keys have to name.
fn trust_for(args: &TrustArgs, pinned: Pinned, bundle: &TlogProof) -> Outcome<Trust> {
    let origin = bundle.checkpoint().lines().next().unwrap_or_default();
    if !pinned.keys().iter().any(|key| key.name().as_str() == origin) {
        return Err(Failure::check_failed(format_args!(
            "the bundle is of the log {origin:?}, which no pinned key is of"
        )));
    }
    args.trust_in(pinned, Origin::new(origin).map_err(Failure::check_failed)?)
}

fn report(inclusion: &VerifiedInclusion, as_json: bool) -> Outcome {
    let verified = inclusion.checkpoint().verified();
    let checkpoint = verified.checkpoint();
    let time = verified.time().and_then(output::time_of).map(output::time);
    output::either(
        as_json,
        || {
            json!({
                "ok": true,
                "verified": true,
                "origin": checkpoint.origin().as_str(),
                "index": inclusion.index().get(),
                "leaf_hash": inclusion.leaf_hash().to_string(),
                "tree_size": checkpoint.size().get(),
                "root": checkpoint.root().to_string(),
                "time": time,
            })
        },
        || {
            let time = time.as_deref().unwrap_or("at no stated time");
            let (index, size, origin) = (inclusion.index(), checkpoint.size(), checkpoint.origin());
            format!(
                "verified: this is entry {index} of {origin}, under the head of {size} entries signed {time}"
            )
        },
    )
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|error| Failure::file(path, &error))
}

fn read_bundle(path: &Path) -> Outcome<Vec<u8>> {
    let length = fs::metadata(path).map_err(|error| Failure::file(path, &error))?.len();
    let most = MAX_TLOG_PROOF_BYTES.max(MAX_DISCLOSURE_BYTES);
    if usize::try_from(length).is_ok_and(|length| length <= most) {
        return read(path);
    }
    Err(Failure::check_failed(format_args!("{} is too long to be a bundle", path.display())))
}
