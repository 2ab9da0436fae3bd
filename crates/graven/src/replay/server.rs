//! Entries from a server, proven before they are taken.

use super::{
    ReplayArgs,
    bundle::Writer,
    film::Film,
    names,
    run::{Replayed, Replaying},
};
use crate::{
    exit::{Failure, Outcome},
    output,
};

/// Entries that are read and proven at once.
const PAGE_ENTRIES: u64 = 16_384;

pub(super) async fn replay(args: &ReplayArgs) -> Outcome<Replayed> {
    let log = args.log.open_pinned().await?;
    let head = log.tree_head().await?;
    let film = match &args.client {
        None => None,
        Some(client) => {
            let (client, names) = names::told(&log, client).await?;
            Some(Film::new(client, names))
        }
    };
    let mut saving = args.save.as_ref().map(|file| Writer::create(file, head.note())).transpose()?;
    let mut replaying = Replaying::new(args, head.origin().as_str(), film)?;
    let (bar, size) = (output::progress("replaying"), head.size().get());
    bar.set_length(size);
    while replaying.size() < size {
        let first = replaying.size();
        let page = log.entries(first..size.min(first + PAGE_ENTRIES)).await?;
        for (_, leaf) in page.iter() {
            bar.suspend(|| replaying.take(leaf))?;
            saving.as_mut().map_or(Ok(()), |saving| saving.push(leaf))?;
        }
        bar.set_position(replaying.size());
    }
    bar.finish_and_clear();
    if replaying.root() != *head.root() {
        return Err(Failure::check_failed("the entries do not lead to the signed root that was begun with"));
    }
    saving.map_or(Ok(()), Writer::finish)?;
    replaying.finish()
}
