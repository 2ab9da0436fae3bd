//! `WatchAlerts`: alerts as they come.

use std::ops::Range;
use std::sync::Arc;

use graven_audit::Book;
use graven_proto::v1::{self, WatchAlertsResponse};
use tonic::{Request, Status};

use super::{rules, show};
use crate::access::Permission;
use crate::audit::{Answers, may, refuse};
use crate::core::{Core, blocking};
use crate::follow::{self, From, Seen, Words, fitting};
use crate::scopes::{Names, admit};

const WORDS: Words = Words { open: "graven.alerts.watch.open", close: "graven.alerts.watch.close" };

/// `WatchAlerts`.
pub(super) async fn open(
    core: &Arc<Core>,
    request: &Request<v1::WatchAlertsRequest>,
) -> Result<Answers<WatchAlertsResponse>, Status> {
    let asked = request.get_ref();
    let admitted = admit(core, request, &asked.log, Permission::Query)?;
    let from = From { index: asked.from_index, now: asked.from_now };
    let at_least = rules::severity(asked.min_severity, "min_severity")?;
    let may_reveal = may(core, request, &admitted.book.log().meta().name, Permission::Reveal);
    let (book, failing) = (admitted.book.clone(), core.clone());
    let look = Box::new(move |range| {
        let (book, core) = (book.clone(), failing.clone());
        Box::pin(blocking(move || look(&core, &book, range, at_least, may_reveal))) as _
    });
    follow::open(core, request, admitted, from, WORDS, look).await
}

fn look(
    core: &Core,
    book: &Book,
    range: Range<u64>,
    at_least: u8,
    may_reveal: bool,
) -> Result<Seen<WatchAlertsResponse>, Status> {
    let names = Names::known(book, may_reveal);
    let opened: Vec<_> = book
        .open_range(range.clone(), &[])
        .and_then(Iterator::collect)
        .map_err(|error| refuse(&error, core))?;
    let next = range.start + opened.len() as u64;
    let found = opened.into_iter().filter_map(|leaf| show::raised(names, leaf, at_least));
    let (alerts, next) = fitting(found.map(|alert| (alert.index, alert)), next);
    let count = alerts.len();
    let message = (count > 0).then_some(WatchAlertsResponse { alerts, next_index: next });
    Ok(Seen { message, count, next })
}
