//! Asking what stands.

use graven_event::Time;
use graven_proto::{
    convert::event::timestamp,
    v1::{self, state_point},
};

use super::{
    At, GrantFilter, GrantStatus, ReportedGrant, ReportedGrants, ReportedReview, ReportedReviews,
    ReportedScope, ReportedScopes, ReportedUnused, ScopeLog,
};
use crate::{ReadError, call::call_scopes};

/// Scopes or grants of one page, and pages at most: more than a log can have.
const PAGE_ITEMS: u32 = 1_000;
const MAX_PAGES: u32 = 1_000;

impl ScopeLog {
    /// The scopes that are defined, and the administrators.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn scopes(&self, at: At) -> Result<ReportedScopes, ReadError> {
        let mut request = v1::ListScopesRequest {
            log: self.name().to_owned(),
            at: point(at),
            page_size: PAGE_ITEMS,
            page_token: String::new(),
        };
        let mut found = ReportedScopes { scopes: Vec::new(), administrators: Vec::new(), state_size: 0 };
        for _ in 0..MAX_PAGES {
            let pool = self.log.pool();
            let answer = call_scopes(pool, pool.retries(), &request, |mut scopes, request| async move {
                scopes.list_scopes(request).await
            })
            .await?;
            for scope in answer.scopes {
                let scope = ReportedScope::of(scope)?;
                if found.scopes.last().is_some_and(|last| last.scope >= scope.scope) {
                    return Err(ReadError::WrongAnswer("scopes out of order"));
                }
                found.scopes.push(scope);
            }
            (found.administrators, found.state_size) = (answer.administrators, answer.state_size);
            if answer.next_page_token.is_empty() {
                return Ok(found);
            }
            request.page_token = answer.next_page_token;
        }
        Err(ReadError::WrongAnswer("pages that do not end"))
    }

    /// The grants that there are, over as many pages as it takes.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn grants(&self, filter: &GrantFilter) -> Result<ReportedGrants, ReadError> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let mut request = v1::ListGrantsRequest {
            log: self.name().to_owned(),
            at: point(filter.at),
            client: text(&filter.client),
            subject: text(&filter.subject),
            scope: text(&filter.scope),
            status: filter.status.map_or(v1::GrantStatus::Unspecified, GrantStatus::message).into(),
            page_size: PAGE_ITEMS,
            page_token: String::new(),
        };
        let mut found = ReportedGrants { grants: Vec::new(), state_size: 0 };
        for _ in 0..MAX_PAGES {
            let pool = self.log.pool();
            let answer = call_scopes(pool, pool.retries(), &request, |mut scopes, request| async move {
                scopes.list_grants(request).await
            })
            .await?;
            for grant in answer.grants {
                let grant = ReportedGrant::of(grant)?;
                if found.grants.last().is_some_and(|last| last.grant >= grant.grant) {
                    return Err(ReadError::WrongAnswer("grants out of order"));
                }
                found.grants.push(grant);
            }
            found.state_size = answer.state_size;
            if answer.next_page_token.is_empty() {
                return Ok(found);
            }
            request.page_token = answer.next_page_token;
        }
        Err(ReadError::WrongAnswer("pages that do not end"))
    }

    /// Grants with scopes that nobody used since a time.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn unused(&self, since: Time) -> Result<ReportedUnused, ReadError> {
        let request = v1::ListUnusedRequest { log: self.name().to_owned(), since: Some(timestamp(since)) };
        let pool = self.log.pool();
        let answer = call_scopes(pool, pool.retries(), &request, |mut scopes, request| async move {
            scopes.list_unused(request).await
        })
        .await?;
        Ok(ReportedUnused {
            grants: answer.grants.into_iter().map(ReportedGrant::of).collect::<Result<_, _>>()?,
            state_size: answer.state_size,
            is_truncated: answer.truncated,
        })
    }

    /// The reviews that are open, and those that were closed not long ago.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn reviews(&self) -> Result<ReportedReviews, ReadError> {
        let request = v1::ListReviewsRequest { log: self.name().to_owned() };
        let pool = self.log.pool();
        let answer = call_scopes(pool, pool.retries(), &request, |mut scopes, request| async move {
            scopes.list_reviews(request).await
        })
        .await?;
        let reviews = answer.reviews.iter().map(ReportedReview::of).collect::<Result<_, _>>()?;
        Ok(ReportedReviews { reviews, is_truncated: answer.truncated })
    }
}

fn point(at: At) -> Option<v1::StatePoint> {
    let at = match at {
        At::Now => return None,
        At::Size(size) => state_point::At::Size(size),
        At::Time(time) => state_point::At::Time(timestamp(time)),
    };
    Some(v1::StatePoint { at: Some(at) })
}
