//! A pack of evidence for a control, and what makes it one that can be believed.
//!
//! ```text
//! manifest.json   what it is for, what was read, counts, proofs, and what references are called
//! checkpoint      the signed head, byte for byte (C2SP tlog-checkpoint)
//! leaves.jsonl    one object a line, by rising index: {"index":17,"leaf":"…base64…"}
//! SUMMARY.md      the same for people: it follows from the other files
//!
//! manifest.json
//!   format, origin, control, framework, title
//!   from, to         entries of these log times, both included, were collected
//!   collected_at     when
//!   tree_size, root  of the checkpoint
//!   first_index, end_index   every entry from the first to before the end was read, and was held against the control
//!   leaves           how many of them are in the pack
//!   counts           how many of each kind
//!   proofs           each {indices, hashes}: one RFC 6962 multi-entry proof for up to 1,024 leaves, in their order; the hashes are the siblings that
//!                    are lacking, level by level from the leaves and from left to right, in base64
//!   names            what the server calls the references of the leaves: its word, and nobody else's
//! ```
//!
//! That nothing was left out is the word of whoever collected it: whoever reads the log can collect again and compare.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};
use graven_client::{Trust, VerifiedHead};
use graven_event::{Frame, Time};
use graven_merkle::{Hash, LeafIndex, MAX_MULTI_INDICES, MultiProof, leaf_hash, verify_multi};
use graven_note::Origin;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    VerifyArgs,
    archive::{self, CHECKPOINT, Files, LEAVES, MANIFEST, SUMMARY},
    controls::Control,
    summary,
};
use crate::{
    exit::{self, Failure, Outcome},
    output,
};

pub(super) const FORMAT: &str = "graven-evidence/v1";

/// What a pack says of itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: String,
    pub(super) origin: String,
    pub(super) control: String,
    pub(super) framework: String,
    pub(super) title: String,
    pub(super) from: Time,
    pub(super) to: Time,
    pub(super) collected_at: Time,
    pub(super) tree_size: u64,
    pub(super) root: String,
    pub(super) first_index: u64,
    pub(super) end_index: u64,
    pub(super) leaves: u64,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) proofs: Vec<Proof>,
    pub(super) names: BTreeMap<String, String>,
}

/// A proof of some of the leaves.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proof {
    pub(super) indices: Vec<u64>,
    pub(super) hashes: Vec<String>,
}

/// A leaf of a pack.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    index: u64,
    leaf: String,
}

/// An entry that is evidence.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) index: LeafIndex,
    pub(super) bytes: Vec<u8>,
    pub(super) frame: Frame,
}

/// The files of a pack.
pub(super) fn files(manifest: &Manifest, checkpoint: &str, leaves: &[Leaf]) -> Outcome<Files> {
    let mut lines = String::new();
    for leaf in leaves {
        let line = Line { index: leaf.index.get(), leaf: Base64::encode_string(&leaf.bytes) };
        lines.push_str(&serde_json::to_string(&line).map_err(Failure::trouble)?);
        lines.push('\n');
    }
    let text = serde_json::to_string_pretty(manifest).map_err(Failure::trouble)? + "\n";
    Ok(Files::from([
        (MANIFEST, text.into_bytes()),
        (CHECKPOINT, checkpoint.as_bytes().to_vec()),
        (LEAVES, lines.into_bytes()),
        (SUMMARY, summary::text(manifest, leaves).into_bytes()),
    ]))
}

/// How many leaves of each kind there are.
pub(super) fn counts(leaves: &[Leaf]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for leaf in leaves {
        *counts.entry(summary::kind(&leaf.frame)).or_default() += 1;
    }
    counts
}

/// Checks a pack.
pub(super) fn check(args: &VerifyArgs) -> Outcome {
    let shown = args.file.display();
    let files = archive::read(&args.file)?;
    let bad = |what: &dyn std::fmt::Display| Failure::check_failed(format_args!("{shown}: {what}"));
    let manifest: Manifest = serde_json::from_slice(&files[MANIFEST]).map_err(|error| bad(&error))?;
    let trust = trust(args, &manifest)?;
    let (head, leaves) = verify(&manifest, &files, &trust).map_err(|problem| match problem {
        Problem::Head(failure) => failure.saying(format!("{shown}: the checkpoint does not count")),
        Problem::Other(what) => bad(&what),
    })?;
    report(&manifest, &head, &leaves, args.json)
}

fn trust(args: &VerifyArgs, manifest: &Manifest) -> Outcome<Trust> {
    let pinned = args.trust.demanded()?;
    let named = args.origin.as_deref().unwrap_or(&manifest.origin);
    let is_pinned = |key: &&graven_note::VerifierKey| key.name().as_str() == manifest.origin;
    if named != manifest.origin || !pinned.keys().iter().any(is_pinned) {
        return Err(Failure::check_failed(format_args!(
            "{} is of the log {}, which no pinned key is of",
            args.file.display(),
            output::shown(&manifest.origin)
        )));
    }
    args.trust.trust_in(pinned, Origin::new(manifest.origin.as_str()).map_err(Failure::check_failed)?)
}

/// Why a pack proves nothing.
enum Problem {
    Head(Failure),
    Other(String),
}

impl From<&str> for Problem {
    fn from(what: &str) -> Self {
        Self::Other(what.to_owned())
    }
}

fn verify(manifest: &Manifest, files: &Files, trust: &Trust) -> Result<(VerifiedHead, Vec<Leaf>), Problem> {
    if manifest.format != FORMAT {
        return Err("it is of a format that this version does not know".into());
    }
    let control = Control::named(&manifest.control).filter(|control| {
        (control.id, control.framework, control.title)
            == (manifest.control.as_str(), manifest.framework.as_str(), manifest.title.as_str())
    });
    let control = control.ok_or("it is for a control that this version does not know")?;
    let head = trust
        .verify_head(&files[CHECKPOINT])
        .map_err(|error| Problem::Head(Failure::new(exit::exit_of(error.fault()), error)))?;
    if (manifest.tree_size, manifest.root.as_str()) != (head.size().get(), head.root().to_string().as_str()) {
        return Err("its manifest speaks of another tree than its checkpoint".into());
    }
    let leaves = leaves(&files[LEAVES])?;
    prove(manifest, &head, &leaves)?;
    belong(manifest, control, &leaves)?;
    if manifest.counts != counts(&leaves) || u64::try_from(leaves.len()) != Ok(manifest.leaves) {
        return Err("its manifest counts other entries than it has".into());
    }
    if files[SUMMARY] != summary::text(manifest, &leaves).into_bytes() {
        return Err("its summary does not say what its entries say".into());
    }
    Ok((head, leaves))
}

fn leaves(lines: &[u8]) -> Result<Vec<Leaf>, Problem> {
    let text = std::str::from_utf8(lines).map_err(|_| "its entries are no text")?;
    let leaf = |line: &str| {
        let line: Line = serde_json::from_str(line).ok()?;
        let bytes = Base64::decode_vec(&line.leaf).ok()?;
        Some(Leaf { index: LeafIndex::new(line.index)?, frame: Frame::decode(&bytes).ok()?, bytes })
    };
    let leaves: Option<Vec<_>> = text.lines().map(leaf).collect();
    leaves.ok_or_else(|| "an entry of it cannot be read".into())
}

/// Whether every leaf is in the log that was signed.
fn prove(manifest: &Manifest, head: &VerifiedHead, leaves: &[Leaf]) -> Result<(), Problem> {
    let parts: Vec<_> = leaves.chunks(MAX_MULTI_INDICES).collect();
    if parts.len() != manifest.proofs.len() {
        return Err("it does not have one proof for each 1,024 entries".into());
    }
    for (part, proof) in parts.into_iter().zip(&manifest.proofs) {
        let (indices, hashes): (Vec<_>, Vec<_>) =
            part.iter().map(|leaf| (leaf.index, leaf_hash(&leaf.bytes))).unzip();
        let hash = |text: &String| {
            let bytes: [u8; 32] = Base64::decode_vec(text).ok()?.try_into().ok()?;
            Some(Hash::from(bytes))
        };
        let siblings = proof.hashes.iter().map(hash).collect::<Option<Vec<_>>>();
        let siblings = siblings.and_then(|hashes| MultiProof::from_hashes(hashes).ok());
        let siblings = siblings.ok_or("a proof of it is none")?;
        if !proof.indices.iter().copied().eq(indices.iter().map(|index| index.get())) {
            return Err("a proof of it is of other entries".into());
        }
        verify_multi(&indices, &hashes, head.size(), &siblings, head.root()).map_err(|error| {
            Problem::Other(format!("its entries are not in the log that was signed: {error}"))
        })?;
    }
    Ok(())
}

/// Whether each leaf is what was asked for.
fn belong(manifest: &Manifest, control: &Control, leaves: &[Leaf]) -> Result<(), Problem> {
    let range = manifest.first_index..manifest.end_index;
    if !leaves.is_sorted_by(|one, next| one.index < next.index) || range.end > manifest.tree_size {
        return Err("its entries are out of order".into());
    }
    let is_its = |leaf: &Leaf| {
        let time = leaf.frame.log_time;
        control.collects(&leaf.frame.facts)
            && range.contains(&leaf.index.get())
            && (manifest.from..=manifest.to).contains(&time)
    };
    match leaves.iter().find(|leaf| !is_its(leaf)) {
        None => Ok(()),
        Some(other) => Err(Problem::Other(format!("entry {} is no evidence for this", other.index))),
    }
}

/// Says what a pack holds.
pub(super) fn report(manifest: &Manifest, head: &VerifiedHead, leaves: &[Leaf], as_json: bool) -> Outcome {
    output::either(
        as_json,
        || {
            let mut object = output::head_json(head);
            object["ok"] = true.into();
            object["verified"] = true.into();
            object["control"] = json!(manifest.control);
            object["framework"] = json!(manifest.framework);
            object["from"] = json!(manifest.from);
            object["to"] = json!(manifest.to);
            object["first_index"] = json!(manifest.first_index);
            object["end_index"] = json!(manifest.end_index);
            object["leaves"] = json!(manifest.leaves);
            object["counts"] = json!(manifest.counts);
            object
        },
        || {
            let hashes: usize = manifest.proofs.iter().map(|proof| proof.hashes.len()).sum();
            let mut lines = vec![format!(
                "verified: {} for {} {} ({}) from {} to {}, of {}: proven by {hashes} hashes under the head of {} signed {}",
                output::entries(u64::try_from(leaves.len()).unwrap_or(u64::MAX)),
                manifest.framework,
                manifest.control,
                manifest.title,
                manifest.from,
                manifest.to,
                manifest.origin,
                output::entries(head.size().get()),
                output::signed_at(head)
            )];
            lines.extend(manifest.counts.iter().map(|(kind, count)| format!("{count:>9}  {kind}")));
            lines.join("\n")
        },
    )
}
