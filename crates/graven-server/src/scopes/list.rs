//! What a log says about scopes, now or at an earlier point: scopes, grants, what nobody uses, reviews.

use std::sync::Arc;
use std::time::Duration;

use graven_audit::scopes::Point;
use graven_audit::{Audit, Book, Deed, Who};
use graven_event::scopes::{Grant, Review};
use graven_event::{LogState, Party, Ref, Time};
use graven_proto::Refusal;
use graven_proto::v1::{self, ErrorReason, state_point::At};
use prost::Message;
use tonic::{Request, Status};

use super::{Names, admit, fields, show};
use crate::access::Permission;
use crate::audit::read::ANSWER_BYTES;
use crate::audit::{APPLICATION, Admitted, refuse, who};
use crate::core::Core;

/// Grants and scopes of a page whose size was not said.
const DEFAULT_PAGE: u32 = 100;
/// Most grants of an answer, and most scopes.
const MAX_PAGE: u32 = 1000;
/// How long a closed review is shown.
const CLOSED_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// `ListScopes`.
pub(super) async fn scopes(
    core: &Core,
    request: &Request<v1::ListScopesRequest>,
) -> Result<v1::ListScopesResponse, Status> {
    let reading = Reading::begin(core, request, &request.get_ref().log)?;
    let names = reading.names(core, request);
    let asked = request.get_ref();
    let after = match asked.page_token.as_str() {
        "" => None,
        token => Some(fields::scope(token, "page_token").map_err(|_| bad_page())?),
    };
    let (state, _) = reading.state(core, asked.at.as_ref()).await?;
    let defined =
        state.scopes.scopes().filter(|(scope, _)| after.as_deref().is_none_or(|it| scope.as_str() > it));
    let mut page = Page::of(asked.page_size);
    for (scope, said) in defined {
        if !page.add(names.definition(scope, said)) {
            break;
        }
    }
    let next_page_token = page.next(|last| last.scope.clone());
    let deed = reading.deed("graven.scopes.list").with("size", state.size).with("hits", page.shown.len());
    reading.note(core, deed).await?;
    Ok(v1::ListScopesResponse {
        scopes: page.shown,
        administrators: state.scopes.administrators().map(|(who, _)| names.name(who)).collect(),
        state_size: state.size,
        next_page_token,
    })
}

/// `ListGrants`.
pub(super) async fn grants(
    core: &Core,
    request: &Request<v1::ListGrantsRequest>,
) -> Result<v1::ListGrantsResponse, Status> {
    let reading = Reading::begin(core, request, &request.get_ref().log)?;
    let names = reading.names(core, request);
    let asked = request.get_ref();
    let wanted = Wanted::of(asked, &reading.book)?;
    let after = match asked.page_token.as_str() {
        "" => None,
        token => Some(fields::reference(token, "page_token").map_err(|_| bad_page())?),
    };
    let (state, at) = reading.state(core, asked.at.as_ref()).await?;
    let mut page = Page::of(asked.page_size);
    let found = state.scopes.grants().filter(|(number, _)| after.is_none_or(|after| *number > after));
    for (number, grant) in found.filter(|(_, grant)| wanted.is_met_by(grant, at)) {
        if !page.add(names.grant(number, grant, at)) {
            break;
        }
    }
    let next_page_token = page.next(|last| last.grant.clone());
    let deed = wanted.noted(reading.deed("graven.scopes.grants"));
    let deed = deed.with("size", state.size).with("hits", page.shown.len());
    reading.note(core, deed).await?;
    Ok(v1::ListGrantsResponse { grants: page.shown, next_page_token, state_size: state.size })
}

/// `ListUnused`.
pub(super) async fn unused(
    core: &Core,
    request: &Request<v1::ListUnusedRequest>,
) -> Result<v1::ListUnusedResponse, Status> {
    let reading = Reading::begin(core, request, &request.get_ref().log)?;
    let names = reading.names(core, request);
    let since = fields::needed_time(request.get_ref().since.as_ref(), "since")?;
    let (state, now) = reading.state(core, None).await?;
    let mut page = Page::of(MAX_PAGE);
    for (number, scopes) in state.scopes.unused(now, since) {
        let Some(grant) = state.scopes.grant(number) else { continue };
        let mut shown = names.grant(number, grant, now);
        shown.scopes.retain(|one| scopes.iter().any(|scope| scope.as_str() == one.scope));
        if !page.add(shown) {
            break;
        }
    }
    let deed = reading
        .deed("graven.scopes.unused")
        .with("since", since)
        .with("size", state.size)
        .with("hits", page.shown.len());
    reading.note(core, deed).await?;
    Ok(v1::ListUnusedResponse { grants: page.shown, state_size: state.size, truncated: page.is_cut })
}

/// `ListReviews`.
pub(super) async fn reviews(
    core: &Core,
    request: &Request<v1::ListReviewsRequest>,
) -> Result<v1::ListReviewsResponse, Status> {
    let reading = Reading::begin(core, request, &request.get_ref().log)?;
    let (state, now) = reading.state(core, None).await?;
    let closed_for = u64::try_from(CLOSED_FOR.as_nanos()).unwrap_or(u64::MAX);
    let is_shown =
        |review: &Review| review.closed.is_none_or(|closed| now.0.saturating_sub(closed.0) <= closed_for);
    let mut shown: Vec<_> = state.scopes.reviews().filter(|(_, review)| is_shown(review)).collect();
    // The newest ones, where there are more than an answer holds.
    shown.sort_by_key(|(_, review)| std::cmp::Reverse(review.index));
    let mut page = Page::of(MAX_PAGE);
    for (number, review) in shown {
        if !page.add(of_review(number, review)) {
            break;
        }
    }
    let deed = reading.deed("graven.scopes.reviews").with("size", state.size).with("hits", page.shown.len());
    reading.note(core, deed).await?;
    Ok(v1::ListReviewsResponse { reviews: page.shown, truncated: page.is_cut })
}

/// A call that reads what the log says of scopes.
pub(super) struct Reading {
    pub(super) audit: Arc<Audit>,
    pub(super) book: Arc<Book>,
    who: Who,
}

impl Reading {
    pub(super) fn begin<T>(core: &Core, request: &Request<T>, log: &str) -> Result<Self, Status> {
        let Admitted { audit, book } = admit(core, request, log, Permission::Query)?;
        Ok(Self { audit, book, who: who(request) })
    }

    pub(super) fn names<T>(&self, core: &Core, request: &Request<T>) -> Names<'_> {
        Names::of(core, request, &self.book)
    }

    pub(super) fn deed(&self, action: &'static str) -> Deed {
        Deed::new(action, self.book.log().meta().name.as_str())
    }

    /// Writes down what is about to be told.
    pub(super) async fn note(&self, core: &Core, deed: Deed) -> Result<(), Status> {
        let noted = self.audit.note(&self.who, deed).await;
        noted.map(drop).map_err(|error| refuse(&error, core).into())
    }

    async fn state(&self, core: &Core, at: Option<&v1::StatePoint>) -> Result<(LogState, Time), Status> {
        let point = match at.and_then(|at| at.at) {
            None => Point::Now,
            Some(At::Size(size)) => {
                check_size(&self.book, size)?;
                Point::Size(size)
            }
            Some(At::Time(time)) => {
                let invalid = || fields::invalid("at.time", "no time of the years 1 to 9999");
                Point::Time(fields::time(Some(&time), "at.time")?.ok_or_else(invalid)?)
            }
        };
        let state = self.audit.state_at(&self.book, point).await;
        state.map_err(|error| refuse(&error, core).into())
    }
}

fn check_size(book: &Book, wanted: u64) -> Result<(), Refusal> {
    let size = book.log().durable_size();
    if wanted <= size {
        return Ok(());
    }
    let text = format!("size {wanted} is beyond the {size} entries of the log");
    Err(Refusal::new(ErrorReason::SizeBeyondTree, text).with_field("at.size").with_fact("size", size))
}

/// Which grants are asked for. Somebody whom the log does not know has none.
struct Wanted {
    client: Option<Option<Ref>>,
    subject: Option<Option<Ref>>,
    scope: Option<String>,
    status: v1::GrantStatus,
}

impl Wanted {
    fn of(asked: &v1::ListGrantsRequest, book: &Book) -> Result<Self, Refusal> {
        let client = fields::maybe_name(&asked.client, "client")?;
        let subject = fields::maybe_name(&asked.subject, "subject")?;
        Ok(Self {
            client: client.map(|id| book.named(&Party::new(APPLICATION, id).subject())),
            subject: subject.map(|name| book.named(&Party::parse(&name).subject())),
            scope: match asked.scope.as_str() {
                "" => None,
                scope => Some(fields::scope(scope, "scope")?),
            },
            status: v1::GrantStatus::try_from(asked.status).map_err(|_| fields::unknown("status"))?,
        })
    }

    fn is_met_by(&self, grant: &Grant, at: Time) -> bool {
        self.client.is_none_or(|client| client == Some(grant.client))
            && self.subject.is_none_or(|subject| subject.is_some() && subject == grant.subject)
            && self.scope.as_ref().is_none_or(|scope| grant.scopes.keys().any(|one| one.as_str() == scope))
            && (self.status == v1::GrantStatus::Unspecified || self.status == show::standing(grant, at))
    }

    /// With what was asked for: people by what stands for them.
    fn noted(&self, mut deed: Deed) -> Deed {
        for (key, asked) in [("client", self.client), ("subject", self.subject)] {
            if let Some(reference) = asked {
                deed = deed.with(key, reference.map_or_else(|| "unknown".to_owned(), |it| it.to_string()));
            }
        }
        if let Some(scope) = &self.scope {
            deed = deed.with("scope", scope);
        }
        match self.status {
            v1::GrantStatus::Unspecified => deed,
            status => deed.with("status", status.as_str_name()),
        }
    }
}

/// What fits an answer.
struct Page<T> {
    shown: Vec<T>,
    room: usize,
    most: usize,
    is_cut: bool,
}

impl<T: Message> Page<T> {
    fn of(size: u32) -> Self {
        let most = if size == 0 { DEFAULT_PAGE } else { size.min(MAX_PAGE) };
        let most = usize::try_from(most).unwrap_or(1);
        Self { shown: Vec::new(), room: ANSWER_BYTES, most, is_cut: false }
    }

    /// Whether it went in. The first one always does.
    fn add(&mut self, one: T) -> bool {
        let bytes = one.encoded_len();
        if self.shown.len() == self.most || (bytes > self.room && !self.shown.is_empty()) {
            self.is_cut = true;
            return false;
        }
        self.room = self.room.saturating_sub(bytes);
        self.shown.push(one);
        true
    }

    /// What the next page goes on after.
    fn next(&self, name: impl Fn(&T) -> String) -> String {
        self.shown.last().filter(|_| self.is_cut).map(name).unwrap_or_default()
    }
}

fn of_review(number: Ref, review: &Review) -> v1::Review {
    use graven_event::scopes::Attested;
    let those = |said: Option<Attested>| {
        let found = review.items.iter().filter(|(_, it)| **it == said);
        found.map(|(grant, _)| grant.to_string()).collect()
    };
    v1::Review {
        review: number.to_string(),
        index: review.index,
        due: review.due.map(graven_proto::convert::event::timestamp),
        closed: review.closed.is_some(),
        open: those(None),
        kept: those(Some(Attested::Kept)),
        revoked: those(Some(Attested::Revoked)),
    }
}

fn bad_page() -> Refusal {
    Refusal::new(ErrorReason::PageTokenInvalid, "not a page token of this method").with_field("page_token")
}
