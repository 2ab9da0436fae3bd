//! Sealing: published entries move from the journal into write-once bundles and tiles.
//!
//! A round writes the objects of some bundles and the attachments of their entries, makes them durable with one sync,
//! journals how far sealing has come, and only then lets go of what was in memory. A crash before the journal record leaves objects above the watermark,
//! which the next round writes again with the same bytes.

use std::io;
use std::sync::atomic::Ordering;

use graven_merkle::TreeSize;
use graven_merkle::tile::{BundlePath, TILE_WIDTH, TileId, TilePath, levels};
use graven_store::planted;

use crate::log::{Head, Log};
use crate::tail;

/// Bundles of one round: 65,536 entries, one full tile of level 1.
const ROUND_BUNDLES: u64 = 256;
/// The newest sealed bundles, which followers read. Older ones leave the system's cache, or the entries of a busy log
/// would push out the nodes that proofs need.
const CACHED_BUNDLES: u64 = 1024;

/// Room on disk for one round: its entries, attachments, tiles and derived nodes, and what the file system adds for its
/// files.
pub(crate) fn room_for_round(log: &Log) -> u64 {
    const BYTES_PER_BUNDLE: u64 = 64 << 10;
    const BYTES_PER_BLOB_FILE: u64 = 8 << 10;
    let tail_bytes = log.tail.read().bytes() as u64;
    let unsealed = log.head().size().get().saturating_sub(log.sealed.load(Ordering::Acquire));
    let bundles = (unsealed / u64::from(TILE_WIDTH)).min(ROUND_BUNDLES);
    let files_bytes = BYTES_PER_BUNDLE + log.blobs.classes() as u64 * BYTES_PER_BLOB_FILE;
    if bundles == 0 { 0 } else { tail_bytes + bundles * files_bytes }
}

/// Writes the objects of the next bundles within the published size, durably. Returns up to where the log is sealed
/// once that is journalled, if anything was written.
pub(crate) fn round(log: &Log) -> io::Result<Option<u64>> {
    let width = u64::from(TILE_WIDTH);
    let sealed = log.sealed.load(Ordering::Acquire);
    let first = sealed / width;
    // A log that is being restored has a head before it has the entries.
    let there = log.head().size().get().min(log.integrated.load(Ordering::Acquire));
    let last = (there / width).min(first + ROUND_BUNDLES);
    if last <= first {
        return Ok(None);
    }
    let range = first * width..last * width;
    let (bundles, chunks) = {
        // The writer waits for the tail: it is held for no longer than this.
        let tail = log.tail.read();
        (tail.bundles(range.clone()), tail.chunks_in(range.clone()))
    };
    let attachments = tail::attachments(&chunks, range);
    let (mut bundles, mut attachments) = (bundles.ok_or_else(missing_entry)?, &attachments[..]);
    for number in first..last {
        let path = bundle_path(number, TILE_WIDTH)?;
        log.objects.write(&path, &bundles.next(TILE_WIDTH).ok_or_else(missing_entry)?)?;
        write_tiles(log, number)?;
        let end = attachments.partition_point(|(index, _)| *index < (number + 1) * width);
        let (of_bundle, rest) = attachments.split_at(end);
        log.blobs.write(number, of_bundle)?;
        attachments = rest;
    }
    // Before it is journalled that these are sealed: from then on nothing else has them.
    if !planted("blobs-unsynced") {
        log.blobs.sync()?;
    }
    log.objects.sync()?;
    for number in first.saturating_sub(CACHED_BUNDLES)..last.saturating_sub(CACHED_BUNDLES) {
        log.objects.forget(&bundle_path(number, TILE_WIDTH)?);
        log.blobs.forget(number);
    }
    Ok(Some(last * width))
}

fn bundle_path(number: u64, width: u16) -> io::Result<String> {
    let path = BundlePath::new(number, width).ok_or_else(|| io::Error::other("no such bundle"))?;
    Ok(path.to_string())
}

fn missing_entry() -> io::Error {
    io::Error::other("an unsealed entry is missing")
}

fn missing_tile() -> io::Error {
    io::Error::other("an unsealed tile is missing")
}

/// Writes the level-0 tile of a bundle and every tile above that it completes.
fn write_tiles(log: &Log, number: u64) -> io::Result<()> {
    let (mut level, mut index) = (0_u8, number);
    loop {
        let tile = TileId::new(level, index).ok_or_else(|| io::Error::other("no such tile"))?;
        let block = log.tree.hot_block(tile).ok_or_else(missing_tile)?;
        let path = TilePath::new(tile, TILE_WIDTH).ok_or_else(|| io::Error::other("no such tile"))?;
        log.objects.write(&path.to_string(), block.row())?;
        log.tree.write_block(tile, &block)?;
        if (index + 1) % u64::from(TILE_WIDTH) != 0 {
            return Ok(());
        }
        (level, index) = (level + 1, index / u64::from(TILE_WIDTH));
    }
}

/// Completes the static site at a published head: partial tiles, the partial bundle, then `checkpoint`. Everything
/// below the head's last full bundle must be sealed. Partials of the export before are removed.
pub(crate) fn export(log: &Log, head: &Head, before: TreeSize) -> io::Result<()> {
    // Those that the site's checkpoint needs already are durable, and must be there at every moment.
    let needed = partial_names(before);
    for (path, bytes) in partials(log, head.size())?.into_iter().filter(|(path, _)| !needed.contains(path)) {
        log.objects.write(&path, &bytes)?;
    }
    log.objects.sync()?;
    log.objects.replace("checkpoint", &head.note)?;
    let kept = partial_names(head.size());
    for stale in needed.into_iter().filter(|name| !kept.contains(name)) {
        log.objects.remove(&stale)?;
    }
    Ok(())
}

fn partials(log: &Log, size: TreeSize) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for (level, tile) in partial_tiles(size) {
        let row = log.tree.hot_range(tile.tile(), tile.width());
        let row = row.ok_or_else(missing_tile)?;
        files.push((tile.to_string(), row.iter().flat_map(|hash| *hash.as_bytes()).collect()));
        if level == 0 {
            let (number, width) = (tile.tile().index(), tile.width());
            let first = number * u64::from(TILE_WIDTH);
            let bundles = log.tail.read().bundles(first..first + u64::from(width));
            let bundle = bundles.and_then(|mut bundles| bundles.next(width)).ok_or_else(missing_entry)?;
            files.push((bundle_path(number, width)?, bundle.to_vec()));
        }
    }
    Ok(files)
}

fn partial_names(size: TreeSize) -> Vec<String> {
    let bundle =
        |tile: TilePath| BundlePath::new(tile.tile().index(), tile.width()).map(|path| path.to_string());
    partial_tiles(size)
        .flat_map(|(level, tile)| [Some(tile.to_string()), (level == 0).then(|| bundle(tile)).flatten()])
        .flatten()
        .collect()
}

fn partial_tiles(size: TreeSize) -> impl Iterator<Item = (u8, TilePath)> {
    levels(size).filter_map(|level| {
        let tile = TileId::new(level.level, level.full)?;
        Some((level.level, TilePath::new(tile, level.partial)?))
    })
}
