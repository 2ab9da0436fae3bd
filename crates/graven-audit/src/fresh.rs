//! What was just recorded, by what it will be found: whoever records an event has read it, so the index need not open its payload again.
//!
//! It is memory and nothing else. What is not here any more, or never was, is opened; what somebody was erased from meanwhile the index
//! leaves out itself, as the terms name the groups and those whom they are about.

use std::collections::HashMap;

use graven_event::query::Term;
use parking_lot::Mutex;

/// Most bytes that wait for the index, in one log: some ten thousand events, a second's worth.
const MAX_BYTES: usize = 32 << 20;
/// What a term takes beside its bytes.
const TERM_BYTES: usize = 48;

/// Terms of leaves that the index has not taken in.
#[derive(Default)]
pub(crate) struct Fresh(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    terms: HashMap<[u8; 16], Vec<Term>>,
    bytes: usize,
}

/// Terms of leaves that may not come to be: they are gone with this.
pub(crate) struct Offered<'a> {
    fresh: &'a Fresh,
    ids: Vec<[u8; 16]>,
}

impl Fresh {
    /// Takes in the terms of leaves by their ids, until it is full.
    pub(crate) fn offer(&self, all: Vec<([u8; 16], Vec<Term>)>) -> Offered<'_> {
        let ids = all.iter().map(|(id, _)| *id).collect();
        let mut waiting = self.0.lock();
        for (id, terms) in all {
            let bytes = size(&terms);
            if waiting.bytes + bytes <= MAX_BYTES {
                waiting.bytes += bytes;
                waiting.terms.insert(id, terms);
            }
        }
        Offered { fresh: self, ids }
    }

    /// The terms of a leaf, once.
    pub(crate) fn take(&self, id: &[u8; 16]) -> Option<Vec<Term>> {
        let mut waiting = self.0.lock();
        let terms = waiting.terms.remove(id)?;
        waiting.bytes -= size(&terms);
        Some(terms)
    }
}

impl Offered<'_> {
    /// The leaves came to be.
    pub(crate) fn keep(mut self) {
        self.ids.clear();
    }
}

impl Drop for Offered<'_> {
    fn drop(&mut self) {
        self.ids.iter().for_each(|id| drop(self.fresh.take(id)));
    }
}

fn size(terms: &[Term]) -> usize {
    terms.iter().map(|term| TERM_BYTES + term.as_bytes().len()).sum()
}

#[cfg(test)]
mod tests {
    use graven_event::{Group, Ref};

    use super::*;

    fn terms(count: usize) -> Vec<Term> {
        (0..count).map(|_| Term::owner(Group::Actor, Ref([7; 16]))).collect()
    }

    #[test]
    fn what_came_to_be_is_there_once_and_what_did_not_is_gone() {
        let fresh = Fresh::default();
        drop(fresh.offer(vec![([1; 16], terms(3))]));
        assert_eq!(fresh.take(&[1; 16]), None);
        fresh.offer(vec![([2; 16], terms(3)), ([3; 16], terms(1))]).keep();
        assert_eq!(fresh.take(&[3; 16]), Some(terms(1)));
        assert_eq!(fresh.take(&[2; 16]), Some(terms(3)));
        assert_eq!(fresh.take(&[2; 16]), None);
        assert_eq!(fresh.0.lock().bytes, 0);
    }

    #[test]
    fn what_waits_is_bounded() {
        let fresh = Fresh::default();
        let each = size(&terms(1000));
        for n in 0..1000_u16 {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&n.to_be_bytes());
            fresh.offer(vec![(id, terms(1000))]).keep();
        }
        let waiting = fresh.0.lock();
        assert_eq!(waiting.terms.len(), MAX_BYTES / each);
        assert!(waiting.bytes <= MAX_BYTES);
    }
}
