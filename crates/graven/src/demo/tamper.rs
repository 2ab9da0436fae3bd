//! A copy of a stored log in which one bit is another.

use std::{fs, io, path::Path};

use graven_merkle::tile::{BundlePath, EntryBundle, TILE_WIDTH, new_bundles};
use graven_merkle::{Frontier, Hash, TreeSize, leaf_hash};

use super::stage::{Stage, say};
use crate::{
    exit::{Failure, Outcome},
    output,
};

const SITE: &str = "data/logs/audit/site";

/// Copies the log of `size` entries into a folder and changes one bit in the middle of the entry at `index`.
pub(super) fn copy_and_flip(stage: &Stage, folder: &str, size: u64, index: u64) -> Outcome {
    output::line(format_args!("$ cp -r {SITE} {folder}"))?;
    copy(&stage.path(SITE), &stage.path(folder)).map_err(Failure::trouble)?;
    let bundle = bundle_of(size, index)?;
    let path = stage.path(folder).join(bundle.to_string());
    let mut bytes = fs::read(&path).map_err(|error| Failure::file(&path, &error))?;
    let at = middle_of(&bytes, bundle, index)?;
    let before = bytes[at];
    bytes[at] ^= 1;
    fs::write(&path, &bytes).map_err(|error| Failure::file(&path, &error))?;
    say(&format!(
        "byte {at} of {folder}/{bundle}, in entry {index}: {:?} is now {:?}",
        char::from(before),
        char::from(bytes[at])
    ))
}

/// The root that the entries in a folder have, whatever its tiles and its checkpoint say.
pub(super) fn root_of(stage: &Stage, folder: &str, size: TreeSize) -> Outcome<Hash> {
    let mut tree = Frontier::new();
    for bundle in new_bundles(TreeSize::ZERO, size) {
        let path = stage.path(folder).join(bundle.to_string());
        let bytes = fs::read(&path).map_err(|error| Failure::file(&path, &error))?;
        let entries = EntryBundle::parse(&bytes, bundle.width()).map_err(Failure::check_failed)?;
        tree.append(entries.entries().map(leaf_hash));
    }
    Ok(tree.root())
}

fn bundle_of(size: u64, index: u64) -> Outcome<BundlePath> {
    let (number, width) = (index / u64::from(TILE_WIDTH), u64::from(TILE_WIDTH));
    let in_bundle = size.saturating_sub(number * width).min(width);
    let path = u16::try_from(in_bundle).ok().and_then(|width| BundlePath::new(number, width));
    path.ok_or_else(|| Failure::check_failed(format_args!("a log of {size} entries has no entry {index}")))
}

/// Where in the bundle's bytes the middle of the entry is.
fn middle_of(bytes: &[u8], path: BundlePath, index: u64) -> Outcome<usize> {
    let bundle = EntryBundle::parse(bytes, path.width()).map_err(Failure::check_failed)?;
    let position = usize::try_from(index % u64::from(TILE_WIDTH)).map_err(Failure::trouble)?;
    let before: usize = bundle.entries().take(position).map(|entry| size_of::<u16>() + entry.len()).sum();
    let length = bundle.entries().nth(position).map_or(0, <[u8]>::len);
    Ok(before + size_of::<u16>() + length / 2)
}

/// Copies a folder; the copies can be written, unlike what they are of.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::write(target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
