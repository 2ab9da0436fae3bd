//! What was done about an application and a scope, under one proof.

use std::collections::BTreeMap;

use graven_event::{Facts, Ref};
use graven_merkle::{Hash, LeafIndex, leaf_hash};
use graven_proto::{convert::required, v1};

use super::Step;
use crate::{LogClient, ReadError, VerifiedHead, VerifiedMulti, call::call_scopes, prove::verified_multi};

/// Everything that a server tells of an application and a scope, each step proven to be in the log before anybody sees it.
///
/// Each step counts as its leaf says, and is about a grant that an earlier step asked for, at the revision that the steps before left it
/// at: so what changed a grant cannot be left out before another change of it. That the newest changes, requests or uses were left out, this does
/// not show.
#[derive(Clone, Debug)]
pub struct VerifiedHistory {
    steps: Vec<Step>,
    head: VerifiedHead,
    proof: Option<VerifiedMulti>,
    is_truncated: bool,
}

impl VerifiedHistory {
    /// What was done, in the order of the log. A decision that is a grant's first use and its last is two steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The tree head that vouches for the steps.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }

    /// The one proof of all of them; `None`: there are none.
    #[must_use]
    pub fn proof(&self) -> Option<&VerifiedMulti> {
        self.proof.as_ref()
    }

    /// Whether there were more, of which these are the newest.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }
}

impl LogClient {
    /// What was done about an application and a scope (empty: all of its scopes).
    ///
    /// # Errors
    /// See [`ReadError`]. It is handed out as a whole or not at all.
    pub async fn history(&self, client: &str, scope: &str) -> Result<VerifiedHistory, ReadError> {
        let known = self.follower().kept().await?;
        let request =
            v1::GrantHistoryRequest { log: self.name(), client: client.to_owned(), scope: scope.to_owned() };
        let answer =
            call_scopes(self.pool(), self.pool().retries(), &request, |mut scopes, request| async move {
                scopes.grant_history(request).await
            })
            .await?;
        let head = self.follower().accept_message(answer.head, known.as_ref()).await?;
        let steps = answer.steps.into_iter().map(Step::of).collect::<Result<Vec<_>, _>>()?;
        let proof =
            proven(&head, steps.iter().map(|step| (step.index(), leaf_hash(step.leaf()))), answer.proof)?;
        if !answer.truncated {
            belong_together(&steps).map_err(ReadError::WrongAnswer)?;
        }
        Ok(VerifiedHistory { steps, head, proof, is_truncated: answer.truncated })
    }
}

/// The one proof of leaves that come in order, each once or several times.
pub(super) fn proven(
    head: &VerifiedHead,
    leaves: impl Iterator<Item = (LeafIndex, Hash)>,
    message: Option<v1::MultiInclusionProof>,
) -> Result<Option<VerifiedMulti>, ReadError> {
    let (mut indices, mut hashes): (Vec<LeafIndex>, Vec<Hash>) = (Vec::new(), Vec::new());
    for (index, hash) in leaves {
        if indices.last() == Some(&index) && hashes.last() == Some(&hash) {
            continue;
        }
        if indices.last().is_some_and(|last| *last >= index) {
            return Err(ReadError::WrongAnswer("entries out of order"));
        }
        indices.push(index);
        hashes.push(hash);
    }
    if indices.is_empty() {
        return Ok(None);
    }
    let message = required("proof", message)?;
    if !message.indices.iter().copied().eq(indices.iter().map(|index| index.get())) {
        return Err(ReadError::WrongAnswer("a proof of other entries"));
    }
    verified_multi(head.clone(), indices, hashes, message.to_merkle()?).map(Some)
}

/// What a reviewer says who changes nothing.
const KEPT: u8 = 1;

/// Whether each step about a grant follows the one that asked for it, and was made for the state that the steps before left.
fn belong_together(steps: &[Step]) -> Result<(), &'static str> {
    let mut revisions = BTreeMap::<Ref, u64>::new();
    for step in steps {
        match &step.frame().facts {
            // A command that does not count may name a grant that never was.
            Facts::Scope(command) if command.refused.is_some() => {}
            Facts::Scope(command) => {
                let Some(grant) = command.grant else { continue };
                if step.what() == "request" {
                    revisions.insert(grant, 1);
                    continue;
                }
                let revision =
                    revisions.get_mut(&grant).ok_or("a step about a grant that nobody asked for")?;
                if step.what() != "attest" && command.revision.is_some_and(|meant| meant != *revision) {
                    return Err(
                        "a history that lacks a step: the revisions of a grant do not follow each other",
                    );
                }
                let keeps = step.what() == "attest" && command.verdict == Some(KEPT);
                *revision += u64::from(!keeps);
            }
            Facts::Decision(decision)
                if decision.grants.iter().any(|grant| revisions.contains_key(grant)) => {}
            _ => return Err("the use of a grant that nobody asked for"),
        }
    }
    Ok(())
}
