//! Disclosures: chosen groups of an event, verified before they are handed out, for anybody to verify again offline.

use graven_event::{
    Disclosure, Event, Group, Raw,
    disclosure::{Disclosed, DisclosureError},
    map::remap,
};
use graven_merkle::LeafIndex;
use graven_note::{ParseProofError, TlogProof};
use graven_proto::v1;
use thiserror::Error;

use crate::{CallError, Fault, HeadError, LogClient, ProofRefused, Trust, VerifiedHead, call::call_audit};

/// The most disclosures of one call.
pub const MAX_REVEALED: usize = 256;

/// A disclosure that was verified: what it shows is what the leaf committed to, and the leaf is in the log.
#[derive(Clone, Debug)]
pub struct VerifiedDisclosure {
    text: String,
    disclosed: Disclosed,
    index: LeafIndex,
    head: VerifiedHead,
}

impl VerifiedDisclosure {
    /// The disclosure itself, to keep or to hand on: with the log's keys it verifies offline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it shows.
    #[must_use]
    pub fn disclosed(&self) -> &Disclosed {
        &self.disclosed
    }

    /// Where the leaf stands.
    #[must_use]
    pub fn index(&self) -> LeafIndex {
        self.index
    }

    /// The tree head that the leaf was proven to be under.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }
}

/// Why a disclosure is not believed.
#[derive(Debug, Error)]
pub enum DisclosureRefused {
    /// It is none, or does not show what its leaf committed to.
    #[error(transparent)]
    Disclosure(#[from] DisclosureError),
    /// Its proof is none.
    #[error(transparent)]
    Bundle(#[from] ParseProofError),
    /// Its proof does not hold.
    #[error(transparent)]
    Proof(#[from] ProofRefused),
}

/// Why nothing was revealed.
#[derive(Debug, Error)]
pub enum RevealError {
    /// The server refused, or did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A disclosure is not to be believed: the server is at fault.
    #[error("what the server revealed of entry {index} is not to be believed: {refused}")]
    Refused {
        /// The entry.
        index: LeafIndex,
        /// Why.
        refused: DisclosureRefused,
    },
    /// Its head is not acceptable.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The answer is not what was asked for: the server is at fault.
    #[error("the server revealed something else than it was asked for: {0}")]
    WrongAnswer(&'static str),
}

impl DisclosureRefused {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Proof(error) => error.fault(),
            Self::Disclosure(_) | Self::Bundle(_) => Fault::CheckFailed,
        }
    }
}

impl RevealError {
    /// What the error says about the log.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Call(_) => Fault::Trouble,
            Self::Refused { refused, .. } => refused.fault(),
            Self::Head(error) => error.fault(),
            Self::WrongAnswer(_) => Fault::CheckFailed,
        }
    }
}

impl Trust {
    /// Verifies a disclosure, offline.
    ///
    /// # Errors
    /// It is none, it does not show what its leaf committed to, or its leaf is not shown to be in the log.
    pub fn verify_disclosure(&self, text: &str) -> Result<VerifiedDisclosure, DisclosureRefused> {
        let disclosure = Disclosure::parse(text)?;
        let disclosed = disclosure.open(record)?;
        let bundle = TlogProof::parse(disclosure.proof.as_bytes())?;
        let inclusion = self.verify_proof(&bundle, disclosed.leaf_hash)?;
        let head = VerifiedHead::trusted(inclusion.checkpoint().clone());
        Ok(VerifiedDisclosure { text: text.to_owned(), disclosed, index: bundle.index(), head })
    }
}

/// The event that a producer's record says, where its form is known.
fn record(raw: &Raw) -> Option<Event> {
    remap(raw)?.ok()
}

impl LogClient {
    /// Opens chosen groups (none: all) of the entries at `indices`, strictly increasing and at most [`MAX_REVEALED`], each with what
    /// proves it. `purpose` says why, for the log of who read what.
    ///
    /// # Errors
    /// See [`RevealError`].
    pub async fn reveal(
        &self,
        indices: &[LeafIndex],
        groups: &[Group],
        purpose: &str,
    ) -> Result<Vec<VerifiedDisclosure>, RevealError> {
        let request = v1::RevealRequest {
            log: self.name(),
            indices: indices.iter().map(|index| index.get()).collect(),
            groups: groups.iter().map(|group| group.as_str().to_owned()).collect(),
            purpose: purpose.to_owned(),
        };
        let answer =
            call_audit(self.pool(), self.pool().retries(), &request, |mut audit, request| async move {
                audit.reveal(request).await
            })
            .await?;
        if answer.disclosures.len() != indices.len() {
            return Err(RevealError::WrongAnswer("another number of disclosures"));
        }
        self.follower().load_rotations().await?;
        let mut verified = Vec::with_capacity(indices.len());
        for (index, bytes) in indices.iter().zip(&answer.disclosures) {
            verified.push(self.verified(*index, groups, bytes).await?);
        }
        Ok(verified)
    }

    async fn verified(
        &self,
        index: LeafIndex,
        groups: &[Group],
        bytes: &[u8],
    ) -> Result<VerifiedDisclosure, RevealError> {
        let refused = |refused| RevealError::Refused { index, refused };
        let text =
            std::str::from_utf8(bytes).map_err(|_| RevealError::WrongAnswer("bytes that are no text"))?;
        let disclosure = match self.trust().verify_disclosure(text) {
            // New keys may have signed it that are not known yet.
            Err(error) if !self.follower().follow_rotations().await? => return Err(refused(error)),
            Err(_) => self.trust().verify_disclosure(text).map_err(refused)?,
            Ok(disclosure) => disclosure,
        };
        if disclosure.index != index {
            return Err(RevealError::WrongAnswer("another entry"));
        }
        // Whoever hands it on would show more than was meant.
        if !groups.is_empty() && disclosure.disclosed.shown.iter().any(|group| !groups.contains(group)) {
            return Err(RevealError::WrongAnswer("more groups"));
        }
        let head = self.follower().accept(disclosure.head.clone(), None).await?;
        Ok(VerifiedDisclosure { head, ..disclosure })
    }
}
