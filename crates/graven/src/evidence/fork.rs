//! Evidence against a log: kept where it is met, and checked by anybody, offline.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use graven_note::{
    Evidence, Origin, VerifiedCheckpoint, VerifiedEvidence, VerifierKey,
    evidence::{MAX_EVIDENCE_BYTES, Shows},
};
use graven_store::{Fs, RealFs, fs::Mode};
use serde_json::json;

use super::VerifyArgs;
use crate::{
    exit::{Failure, Outcome},
    output,
};

/// Checks what a file of evidence proves.
pub(super) fn check(args: &VerifyArgs) -> Outcome {
    let pinned = args.trust.demanded()?;
    let shown = args.file.display();
    let evidence = Evidence::parse(&read(&args.file)?);
    let evidence = evidence.map_err(|error| Failure::check_failed(format_args!("{shown}: {error}")))?;
    let origin = evidence.origin().clone();
    let is_named = |key: &&VerifierKey| match &args.origin {
        Some(named) => named == origin.as_str(),
        None => key.name().as_str() == origin.as_str(),
    };
    let keys: Vec<_> = pinned.keys().into_iter().filter(is_named).cloned().collect();
    if keys.is_empty() {
        return Err(Failure::check_failed(format_args!(
            "{shown} accuses the log {origin}, which no pinned key is of: if yours are, say so with --origin"
        )));
    }
    let verified = evidence.verify(&keys);
    let verified =
        verified.map_err(|error| Failure::check_failed(format_args!("{shown} proves nothing: {error}")))?;
    output::either(args.json, || as_json(&verified), || explain(&verified))
}

/// What is proven, in two lines.
fn explain(evidence: &VerifiedEvidence) -> String {
    let signed: Vec<_> = evidence.heads().iter().map(signed_by).collect();
    let consequence = match evidence.evidence().shows() {
        Shows::FalseEmpty { .. } => "a tree without entries has one root, and this is another",
        _ => {
            "no log that only grows has both: somebody who holds its key shows different people different contents"
        }
    };
    format!("proven: {evidence}\n{}: {consequence}", signed.join("; "))
}

fn signed_by(head: &VerifiedCheckpoint) -> String {
    let keys: Vec<_> = head.note().signatures().iter().map(|it| it.key().key_id().to_string()).collect();
    let time = head.time().and_then(output::time_of).map(output::time);
    let time = time.map_or_else(|| "at no stated time".to_owned(), |time| format!("at {time}"));
    format!("{} signed by {} {time}", head.checkpoint().size(), keys.join(" and "))
}

fn as_json(evidence: &VerifiedEvidence) -> serde_json::Value {
    let heads = evidence.heads().iter().map(|head| {
        json!({
            "size": head.checkpoint().size().get(),
            "root": head.checkpoint().root().to_string(),
            "time": head.time().and_then(output::time_of).map(output::time),
            "checkpoint": head.note().as_str(),
        })
    });
    json!({
        "ok": true,
        "verified": true,
        "origin": evidence.evidence().origin().as_str(),
        "proven": evidence.to_string(),
        "heads": heads.collect::<Vec<_>>(),
    })
}

/// Keeps what proves a failure, and says where. That it cannot be kept must not hide the failure.
pub(crate) fn keep_of(failure: &Failure, folder: &Path) {
    let Some(evidence) = failure.evidence() else { return };
    match keep(evidence, folder) {
        Ok(path) => output::note(format_args!("evidence: {}", path.display())),
        Err(error) => {
            output::note(format_args!("the evidence cannot be kept in {}: {error}", folder.display()));
            output::note(evidence.evidence());
        }
    }
}

/// Writes evidence, durably, and answers where it is. Evidence that is there already is never replaced: the name follows
/// from the contradiction, so that it is the same one. Anything else of that name is no evidence, and an error.
pub(crate) fn keep(evidence: &VerifiedEvidence, folder: &Path) -> io::Result<PathBuf> {
    let kept = write_new(folder, &evidence.file_name(), &evidence.evidence().to_string())?;
    let signatures = evidence.heads().iter().flat_map(|head| head.note().signatures());
    let mut keys: Vec<VerifierKey> = Vec::new();
    for key in signatures.map(|it| it.key()) {
        keys.extend((!keys.contains(key)).then(|| key.clone()));
    }
    let known = read(&kept).ok().and_then(|bytes| Evidence::parse(&bytes).ok()?.verify(&keys).ok());
    if known.is_some_and(|known| known.file_name() == evidence.file_name()) {
        return Ok(kept);
    }
    let why = format!("{} is there and is not this evidence: move it away", kept.display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, why))
}

/// Writes what was signed, durably, unless a file of that name is there, and answers where it is.
pub(crate) fn write_new(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let files: &dyn Fs = &RealFs;
    files.create_dir_all(folder)?;
    let path = folder.join(name);
    match files.create_durable(&path, text.as_bytes(), Mode::ReadOnly) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
        written => written.map(|()| path),
    }
}

/// The first file in the folder that proves something against this log.
pub(crate) fn against(
    origin: &Origin,
    keys: &[VerifierKey],
    folder: &Path,
) -> Option<(PathBuf, VerifiedEvidence)> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> =
        names.filter(|path| path.extension().is_some_and(|it| it == "evidence")).collect();
    paths.sort_unstable();
    paths.into_iter().find_map(|path| {
        let evidence = Evidence::parse(&read(&path).ok()?).ok().filter(|it| it.origin() == origin)?;
        Some((path, evidence.verify(keys).ok()?))
    })
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    let length = fs::metadata(path).map_err(|error| Failure::file(path, &error))?.len();
    if usize::try_from(length).is_ok_and(|length| length <= MAX_EVIDENCE_BYTES) {
        return fs::read(path).map_err(|error| Failure::file(path, &error));
    }
    Err(Failure::check_failed(format_args!("{} is too long to be evidence", path.display())))
}
