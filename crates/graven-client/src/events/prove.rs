//! Hits that are proven to be in the log before anybody sees them.

use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

use graven_event::{Frame, Time, query::ParseError};
use graven_merkle::{LeafIndex, leaf_hash};
use graven_proto::convert::required;

use super::{
    Hit, Query,
    pages::{PageProof, Pager},
    terms::ClearTerms,
};
use crate::{LogClient, ReadError, VerifiedHead, prove::verified_multi};

/// A hit whose leaf was proven to be in the log, and to hold what the query asked for in clear.
///
/// What was sealed, its [view](Hit::view), is the server's word also here.
#[derive(Clone, Debug)]
pub struct ProvenHit {
    hit: Hit,
    head: VerifiedHead,
}

impl ProvenHit {
    /// Where it stands.
    #[must_use]
    pub fn index(&self) -> LeafIndex {
        self.hit.index()
    }

    /// What its leaf says; `None` for a statement of rotated keys.
    #[must_use]
    pub fn frame(&self) -> Option<&Frame> {
        self.hit.frame()
    }

    /// All of it.
    #[must_use]
    pub fn hit(&self) -> &Hit {
        &self.hit
    }

    /// The tree head that vouches for the leaf.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }
}

/// The proven hits of a query, in order; each page is fetched and verified when it is needed.
#[derive(Debug)]
pub struct ProvenHits {
    log: LogClient,
    pager: Pager,
    /// What the leaves are held against; the error of a text that is no query, until it is handed out.
    terms: Result<ClearTerms, Option<ParseError>>,
    ready: VecDeque<ProvenHit>,
}

impl ProvenHits {
    pub(super) fn new(log: LogClient, query: Query) -> Self {
        let (terms, query) = match ClearTerms::of(query.text(), now()) {
            Ok((terms, text)) => (Ok(terms), query.saying(text)),
            Err(error) => (Err(Some(error)), query),
        };
        let pager = Pager::new(log.appender().clone(), query, true);
        Self { log, pager, terms, ready: VecDeque::new() }
    }

    /// The next hit; `None` after the last one.
    ///
    /// # Errors
    /// See [`ReadError`]. A page is handed out as a whole or not at all.
    pub async fn next(&mut self) -> Result<Option<ProvenHit>, ReadError> {
        if let Err(error) = &mut self.terms {
            return error.take().map_or(Ok(None), |error| Err(error.into()));
        }
        while self.ready.is_empty() {
            let known = self.log.follower().kept().await?;
            let Some((page, proof)) = self.pager.next().await? else { return Ok(None) };
            let head = self.log.follower().accept_message(proof.head.clone(), known.as_ref()).await?;
            self.verify(&page, &proof, &head)?;
            self.ready.extend(page.into_iter().map(|hit| ProvenHit { hit, head: head.clone() }));
        }
        Ok(self.ready.pop_front())
    }

    /// For how many leaves the hits so far are complete, as the server says; `None` before the first page.
    #[must_use]
    pub fn complete_to(&self) -> Option<u64> {
        self.pager.complete_to
    }

    fn verify(&self, page: &[Hit], proof: &PageProof, head: &VerifiedHead) -> Result<(), ReadError> {
        if page.is_empty() {
            return Ok(());
        }
        let message = required("proof", proof.proof.as_ref())?;
        let mut leaves: Vec<_> = page.iter().map(|hit| (hit.index(), leaf_hash(hit.leaf()))).collect();
        leaves.sort_by_key(|(index, _)| *index);
        let (indices, hashes): (Vec<_>, Vec<_>) = leaves.into_iter().unzip();
        if !message.indices.iter().copied().eq(indices.iter().map(|index| index.get())) {
            return Err(ReadError::WrongAnswer("a proof of other entries than were found"));
        }
        verified_multi(head.clone(), indices, hashes, message.to_merkle()?)?;
        for hit in page {
            hit.check_leaf()?;
            if !self.terms.as_ref().is_ok_and(|terms| terms.hold(hit.frame())) {
                return Err(ReadError::WrongAnswer("an entry that the query does not find"));
            }
        }
        Ok(())
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
