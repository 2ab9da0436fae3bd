//! Why a decision came out as it did.

use std::collections::BTreeMap;

use bytes::Bytes;
use graven_event::{Facts, Frame, Outcome, Time, Word, facts::DecisionFacts};
use graven_merkle::{LeafIndex, leaf_hash};
use graven_proto::{
    convert::{event::time_of, leaf_index, required},
    v1,
};

use super::{ReportedGrant, ReportedScope, history::proven, same_words};
use crate::{LogClient, ReadError, VerifiedHead, VerifiedMulti, call::call_scopes};

/// A decision, proven to be in the log, with the entries that made the grants that it could have had.
///
/// What the decision says stands in its leaf. Names, the grants and scopes as they stood, and what deciding again says are the server's
/// word; whoever replays the log needs none of them.
#[derive(Clone, Debug)]
pub struct VerifiedExplanation {
    index: LeafIndex,
    frame: Frame,
    decision: DecisionFacts,
    client: String,
    subject: String,
    allowed_again: bool,
    reason_again: String,
    grants: Vec<ReportedGrant>,
    scopes: Vec<ReportedScope>,
    leaves: BTreeMap<LeafIndex, Bytes>,
    head: VerifiedHead,
    proof: VerifiedMulti,
    is_truncated: bool,
}

impl VerifiedExplanation {
    /// Where the decision stands.
    #[must_use]
    pub fn index(&self) -> LeafIndex {
        self.index
    }

    /// Its leaf, read.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// What it says: its inputs, and how it ended.
    #[must_use]
    pub fn decision(&self) -> &DecisionFacts {
        &self.decision
    }

    /// Whether it was allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.frame.outcome == Some(Outcome::Success)
    }

    /// The application that asked.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The person in whose name; empty: nobody's.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What deciding again from the same state and inputs says, and why.
    #[must_use]
    pub fn again(&self) -> (bool, &str) {
        (self.allowed_again, &self.reason_again)
    }

    /// Whether deciding again says the same.
    #[must_use]
    pub fn is_reproduced(&self) -> bool {
        self.again() == (self.is_allowed(), self.decision.reason.as_str())
    }

    /// The grants of the application at that point that have any of the scopes.
    #[must_use]
    pub fn grants(&self) -> &[ReportedGrant] {
        &self.grants
    }

    /// Whether there were more grants than these: those that allowed it, and the newest.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// What was said of the scopes at that point.
    #[must_use]
    pub fn scopes(&self) -> &[ReportedScope] {
        &self.scopes
    }

    /// The proven entries: the decision, and the commands that made those grants.
    #[must_use]
    pub fn leaves(&self) -> &BTreeMap<LeafIndex, Bytes> {
        &self.leaves
    }

    /// The tree head that vouches for them.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }

    /// The one proof of all of them.
    #[must_use]
    pub fn proof(&self) -> &VerifiedMulti {
        &self.proof
    }
}

impl LogClient {
    /// Why the decision at `index` came out as it did.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn explain(&self, index: LeafIndex) -> Result<VerifiedExplanation, ReadError> {
        let known = self.follower().kept().await?;
        let request = v1::ExplainDecisionRequest { log: self.name(), index: index.get() };
        let answer =
            call_scopes(self.pool(), self.pool().retries(), &request, |mut scopes, request| async move {
                scopes.explain_decision(request).await
            })
            .await?;
        let head = self.follower().accept_message(answer.head.clone(), known.as_ref()).await?;
        let mut leaves = Vec::new();
        for leaf in &answer.leaves {
            leaves.push((leaf_index("leaf.index", leaf.index)?, leaf.leaf.clone()));
        }
        let hashed = leaves.iter().map(|(index, leaf)| (*index, leaf_hash(leaf)));
        let proof = proven(&head, hashed, answer.proof.clone())?;
        let leaves: BTreeMap<_, _> = leaves.into_iter().collect();
        let unproven = ReadError::WrongAnswer("an explanation without the decision");
        let (Some(leaf), Some(proof)) = (leaves.get(&index), proof) else { return Err(unproven) };
        let frame = Frame::decode(leaf)?;
        let Facts::Decision(decision) = frame.facts.clone() else {
            return Err(ReadError::WrongAnswer("an entry that is no decision"));
        };
        if !is_of(&answer, &frame, &decision)? {
            return Err(ReadError::WrongAnswer("a decision that is not what its leaf says"));
        }
        let grants = answer.grants.into_iter().map(ReportedGrant::of).collect::<Result<Vec<_>, _>>()?;
        let scopes = answer.definitions.into_iter().map(ReportedScope::of).collect::<Result<Vec<_>, _>>()?;
        Ok(VerifiedExplanation {
            index,
            frame,
            decision,
            client: answer.client,
            subject: answer.subject,
            allowed_again: answer.allowed_again,
            reason_again: answer.reason_again,
            grants,
            scopes,
            leaves,
            head,
            proof,
            is_truncated: answer.truncated,
        })
    }
}

fn is_of(
    answer: &v1::ExplainDecisionResponse,
    frame: &Frame,
    decision: &DecisionFacts,
) -> Result<bool, ReadError> {
    let decided_at = time_of("decided_at", required("decided_at", answer.decided_at)?)?;
    Ok(answer.allowed == (frame.outcome == Some(Outcome::Success))
        && answer.reason == decision.reason.as_str()
        && answer.state_size == decision.state_size
        && decided_at == Time(decision.decided_at)
        && answer.subject.is_empty() == decision.subject.is_none()
        && answer.resource == decision.resource.as_ref().map_or("", Word::as_str)
        && same_words(&decision.scopes, answer.scopes.iter().map(String::as_str)))
}
