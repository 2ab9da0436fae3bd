//! What a query finds, page by page.

use std::collections::VecDeque;

use graven_merkle::LeafIndex;
use graven_proto::v1;

use super::Hit;
use crate::{Appender, ReadError, call::call_audit};

/// Pages without a hit in a row, so that a server cannot keep a client busy for ever.
const MAX_EMPTY_PAGES: u32 = 1_000;

/// What to find.
#[derive(Clone, Debug, Default)]
pub struct Query {
    text: String,
    ascending: bool,
    min_size: u64,
    page_size: u32,
    without_raw: bool,
}

impl Query {
    /// What this finds, newest first: `actor:alice outcome:denied since:24h`; an empty text finds everything. At most 4 KiB.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Oldest first.
    #[must_use]
    pub fn ascending(mut self) -> Self {
        self.ascending = true;
        self
    }

    /// The answer must be complete for at least this many leaves.
    #[must_use]
    pub fn min_size(mut self, leaves: u64) -> Self {
        self.min_size = leaves;
        self
    }

    /// Hits of one page: at most 1,000; 0: as the server likes.
    #[must_use]
    pub fn page_size(mut self, hits: u32) -> Self {
        self.page_size = hits;
        self
    }

    /// Leaves out the records that events were made from.
    #[must_use]
    pub fn without_raw(mut self) -> Self {
        self.without_raw = true;
        self
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The same query in other words.
    pub(super) fn saying(self, text: String) -> Self {
        Self { text, ..self }
    }
}

/// The hits of a query, in order; each page is fetched when it is needed.
#[derive(Debug)]
pub struct Hits {
    pager: Pager,
    ready: VecDeque<Hit>,
}

impl Hits {
    pub(super) fn new(log: Appender, query: Query) -> Self {
        Self { pager: Pager::new(log, query, false), ready: VecDeque::new() }
    }

    /// The next hit; `None` after the last one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<Hit>, ReadError> {
        while self.ready.is_empty() {
            let Some((page, _)) = self.pager.next().await? else { return Ok(None) };
            self.ready.extend(page);
        }
        Ok(self.ready.pop_front())
    }

    /// For how many leaves the hits so far are complete, as the server says; `None` before the first page.
    #[must_use]
    pub fn complete_to(&self) -> Option<u64> {
        self.pager.complete_to
    }
}

/// Fetches pages, and holds each against those before.
#[derive(Debug)]
pub(super) struct Pager {
    log: Appender,
    query: Query,
    prove: bool,
    page_token: String,
    over: bool,
    empty: u32,
    last: Option<LeafIndex>,
    pub(super) complete_to: Option<u64>,
}

/// What proves a page.
#[derive(Debug)]
pub(super) struct PageProof {
    pub(super) head: Option<v1::TreeHead>,
    pub(super) proof: Option<v1::MultiInclusionProof>,
}

impl Pager {
    pub(super) fn new(log: Appender, query: Query, prove: bool) -> Self {
        let (page_token, over, empty) = (String::new(), false, 0);
        Self { log, query, prove, page_token, over, empty, last: None, complete_to: None }
    }

    /// The next page; `None` after the last one. After an error there is no other.
    pub(super) async fn next(&mut self) -> Result<Option<(Vec<Hit>, PageProof)>, ReadError> {
        if std::mem::replace(&mut self.over, true) {
            return Ok(None);
        }
        let answer = self.fetch().await?;
        let complete_to = self.complete_to.map_or(answer.complete_to, |known| known.min(answer.complete_to));
        if complete_to < self.query.min_size {
            return Err(ReadError::WrongAnswer("an answer that is complete for fewer leaves"));
        }
        self.complete_to = Some(complete_to);
        let hits = answer.hits.into_iter().map(Hit::of).collect::<Result<Vec<_>, _>>()?;
        self.in_order(&hits)?;
        self.empty = if hits.is_empty() { self.empty + 1 } else { 0 };
        if self.empty > MAX_EMPTY_PAGES {
            return Err(ReadError::WrongAnswer("pages that do not end, with nothing in them"));
        }
        self.over = answer.next_page_token.is_empty();
        self.page_token = answer.next_page_token;
        Ok(Some((hits, PageProof { head: answer.head, proof: answer.proof })))
    }

    async fn fetch(&self) -> Result<v1::QueryResponse, ReadError> {
        let request = v1::QueryRequest {
            log: self.log.name().to_owned(),
            query: self.query.text.clone(),
            page_size: self.query.page_size,
            page_token: self.page_token.clone(),
            min_size: self.query.min_size,
            ascending: self.query.ascending,
            prove: self.prove,
            without_raw: self.query.without_raw,
        };
        let pool = self.log.pool();
        let answer = call_audit(pool, pool.retries(), &request, |mut audit, request| async move {
            audit.query(request).await
        });
        Ok(answer.await?)
    }

    /// Each hit is further on than the one before, so none comes twice.
    fn in_order(&mut self, hits: &[Hit]) -> Result<(), ReadError> {
        for hit in hits {
            let index = hit.index();
            let further = |last: LeafIndex| if self.query.ascending { last < index } else { index < last };
            if !self.last.is_none_or(further) {
                return Err(ReadError::WrongAnswer("hits out of order"));
            }
            self.last = Some(index);
        }
        Ok(())
    }
}
