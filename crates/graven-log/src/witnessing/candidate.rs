//! A signed head on its way to a quorum: the log's own signatures, and the cosignatures that came so far.

use bytes::Bytes;
use graven_note::{
    LogKeys, Origin, Policy, SignatureLine, SignedNote, VerifiedSignature, policy::PolicyWord,
};

use super::CosignError;
use crate::log::Head;
use crate::window::MAX_SKEW;

/// A head, and who cosigned it. Lines keep the place in which they came; a later one of the same key takes it over.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// With the log's own signatures alone.
    own: Head,
    cosigned: Vec<Cosigned>,
    /// Where older cosignatures over its tree may exist: one that is brought now must not be from before this, in seconds since
    /// 1970, nor from the future.
    since_seconds: Option<u64>,
}

/// A verified cosignature of one witness of the policy.
#[derive(Clone, Debug)]
struct Cosigned {
    /// Its place among the policy's witnesses.
    witness: usize,
    line: SignatureLine,
    time_seconds: u64,
    /// Whether it came in this round, and was not taken over from an earlier one of the same tree.
    is_fresh: bool,
}

/// Verified lines that are ready to be taken in.
#[derive(Debug)]
pub(super) struct Checked(Vec<Cosigned>);

impl Checked {
    /// Whose they are: places among the policy's witnesses.
    pub(super) fn witnesses(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|cosigned| cosigned.witness)
    }
}

impl Candidate {
    /// A head that nobody cosigned.
    pub(super) fn new(own: Head) -> Self {
        Self { own, cosigned: Vec::new(), since_seconds: None }
    }

    /// The same, taking only cosignatures from then on.
    pub(super) fn since(self, seconds: u64) -> Self {
        Self { since_seconds: Some(seconds), ..self }
    }

    /// A stored note that was cosigned, as far as its lines verify by the keys of now.
    pub(super) fn of_note(note: &[u8], origin: &Origin, log_keys: &LogKeys, policy: &Policy) -> Option<Self> {
        let verified = log_keys.open(note, origin).ok()?;
        let (signed, text) = (verified.note().note(), verified.note().text());
        let is_own = |line: &&SignatureLine| log_keys.all().iter().any(|key| line.claims(key));
        let own: Vec<_> = signed.signatures().iter().filter(is_own).cloned().collect();
        let own = SignedNote::new(text, &own).ok()?;
        let head = Head {
            checkpoint: verified.checkpoint().clone(),
            time_seconds: verified.time().unwrap_or(0),
            note: Bytes::copy_from_slice(own.as_str().as_bytes()),
        };
        let mut candidate = Self::new(head);
        for line in signed.signatures() {
            // A witness that the policy does not list any more counts for nothing.
            if let Ok(checked) = candidate.check(std::slice::from_ref(line), policy, 0) {
                candidate.take_in(checked);
            }
        }
        candidate.cosigned.iter_mut().for_each(|it| it.is_fresh = false);
        Some(candidate)
    }

    /// The same tree, signed anew: what was cosigned stands, as something old, and is not taken again.
    pub(super) fn renewed(&self, own: Head) -> Option<Self> {
        if own.checkpoint != self.own.checkpoint {
            return None;
        }
        let mut cosigned = self.cosigned.clone();
        cosigned.iter_mut().for_each(|it| it.is_fresh = false);
        let signed_seconds = own.time_seconds;
        Some(Self { own, cosigned, since_seconds: Some(signed_seconds.saturating_sub(MAX_SKEW.as_secs())) })
    }

    pub(super) fn size(&self) -> u64 {
        self.own.size().get()
    }

    pub(super) fn is_of(&self, head: &Head) -> bool {
        self.own.checkpoint == head.checkpoint
    }

    /// The head with all its signature lines.
    pub(super) fn head(&self) -> Head {
        let mut note = self.own.note.to_vec();
        for cosigned in &self.cosigned {
            note.extend(cosigned.line.to_string().as_bytes());
        }
        Head { note: note.into(), ..self.own.clone() }
    }

    /// Verifies lines, all of them or none: those of witnesses of the policy must hold, others are left out.
    pub(super) fn check(
        &self,
        lines: &[SignatureLine],
        policy: &Policy,
        wall_seconds: u64,
    ) -> Result<Checked, CosignError> {
        let text = self.own.checkpoint.to_string();
        let is_of_now = |time| {
            self.since_seconds.is_none_or(|since| (since..=wall_seconds + MAX_SKEW.as_secs()).contains(&time))
        };
        let mut checked = Vec::new();
        for line in lines {
            let Some((witness, by)) =
                policy.witnesses().enumerate().find(|(_, witness)| line.claims(&witness.key))
            else {
                continue;
            };
            let verified = by.key.verify(text.as_bytes(), line.signature()).ok();
            // A witness states when it signed (C2SP tlog-witness): one without a time says nothing about freshness.
            let time_seconds = verified.as_ref().and_then(VerifiedSignature::timestamp);
            let time_seconds =
                time_seconds.filter(|it| *it > 0).ok_or_else(|| CosignError::Invalid(by.name.clone()))?;
            if !is_of_now(time_seconds) {
                return Err(CosignError::NotOfNow {
                    witness: by.name.clone(),
                    seconds: i128::from(time_seconds) - i128::from(wall_seconds),
                });
            }
            checked.push(Cosigned { witness, line: line.clone(), time_seconds, is_fresh: true });
        }
        if checked.is_empty() { Err(CosignError::Unknown) } else { Ok(Checked(checked)) }
    }

    /// Takes in what was verified. `true`: there is something new.
    pub(super) fn take_in(&mut self, checked: Checked) -> bool {
        let mut is_new = false;
        for new in checked.0 {
            match self.cosigned.iter_mut().find(|it| it.witness == new.witness) {
                Some(known) if known.time_seconds < new.time_seconds => {
                    *known = new;
                    is_new = true;
                }
                Some(known) => {
                    is_new |= !known.is_fresh;
                    known.is_fresh = true;
                }
                None => {
                    self.cosigned.push(new);
                    is_new = true;
                }
            }
        }
        is_new
    }

    /// Whether its cosignatures are a quorum, each witness counted once. `fresh`: those of this round alone.
    pub(super) fn has_quorum(&self, policy: &Policy, fresh: bool) -> bool {
        let names = self.witnesses(policy, fresh);
        policy.quorum_is_met(|name| names.contains(name))
    }

    /// The witnesses whose cosignatures it has. `fresh`: those of this round alone.
    pub(super) fn witnesses(&self, policy: &Policy, fresh: bool) -> Vec<PolicyWord> {
        let has = |at: usize| self.cosigned.iter().any(|it| it.witness == at && (it.is_fresh || !fresh));
        let cosigned = policy.witnesses().enumerate().filter(|(at, _)| has(*at));
        cosigned.map(|(_, witness)| witness.name.clone()).collect()
    }
}
