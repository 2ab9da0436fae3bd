//! `Watch`: commands as they come.

use std::sync::Arc;

use graven_audit::{Audit, Book};
use graven_proto::v1::{self, WatchScopesResponse};
use tonic::{Request, Status};

use super::{Names, admit};
use crate::access::Permission;
use crate::audit::{Admitted, Answers, may, refuse};
use crate::core::Core;
use crate::follow::{self, From, Seen, Words, fitting};

const WORDS: Words = Words { open: "graven.scopes.watch.open", close: "graven.scopes.watch.close" };

/// `Watch`.
pub(super) async fn open(
    core: &Arc<Core>,
    request: &Request<v1::WatchScopesRequest>,
) -> Result<Answers<WatchScopesResponse>, Status> {
    let asked = request.get_ref();
    let admitted = admit(core, request, &asked.log, Permission::Query)?;
    let from = From { index: asked.from_index, now: asked.from_now };
    let may_reveal = may(core, request, &admitted.book.log().meta().name, Permission::Reveal);
    let Admitted { audit, book } = &admitted;
    let (audit, book, failing) = (audit.clone(), book.clone(), core.clone());
    let look = Box::new(move |range| {
        let (audit, book, core) = (audit.clone(), book.clone(), failing.clone());
        Box::pin(async move { look(&core, &audit, &book, range, may_reveal).await }) as _
    });
    follow::open(core, request, admitted, from, WORDS, look).await
}

async fn look(
    core: &Core,
    audit: &Arc<Audit>,
    book: &Arc<Book>,
    range: std::ops::Range<u64>,
    may_reveal: bool,
) -> Result<Seen<WatchScopesResponse>, Status> {
    let found = audit.commands(book, range, may_reveal).await;
    let (found, next) = found.map_err(|error| refuse(&error, core))?;
    let names = Names::known(book, may_reveal);
    let found = found.into_iter().map(|step| (step.opened.index, names.step(step)));
    let (steps, next) = fitting(found, next);
    let count = steps.len();
    let message = (count > 0).then_some(WatchScopesResponse { steps, next_index: next });
    Ok(Seen { message, count, next })
}
