//! A hook that counts: each of its follow-ups names the chain of all leaves before it, so that a state that is wrong by one
//! leaf is seen in the log, and each entry says what was attached to it.

use bytes::Bytes;
use graven_log::{Draft, Identity, Kind, Leaf, LogMeta, Refusal, Sequencer, Sequencers};
use graven_merkle::{Hash, LeafIndex, leaf_hash, node_hash};

/// The first leaf of a ledger.
pub(crate) const GENESIS: &[u8] = b"genesis";
/// A draft that a ledger will not have, and the code that it says so with.
pub(crate) const REFUSED: (&[u8], u32) = (b"refuse", 42);
/// A draft for which a ledger breaks its contract.
pub(crate) const BREAKS: &[u8] = b"break";
/// The class of what follow-ups have attached.
pub(crate) const FOLLOW_UP_CLASS: u8 = 9;
const FOLLOW_UP: &str = "ledger/";

/// Serves logs of bytes, and ledgers for logs of events.
#[derive(Debug)]
pub(crate) struct Ledgers;

impl Sequencers for Ledgers {
    fn serves(&self, kind: Kind) -> bool {
        kind != Kind::Access
    }

    fn of(&self, meta: &LogMeta) -> Option<Box<dyn Sequencer>> {
        match meta.kind {
            Kind::Bytes => Some(Box::new(Identity)),
            Kind::Events => Some(Box::new(Ledger::default())),
            Kind::Access => None,
        }
    }
}

/// The chain of all leaves so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    count: u64,
    chain: Hash,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { count: 0, chain: leaf_hash(b"") }
    }
}

impl Ledger {
    /// Takes in a leaf, which must be right if it is one of its own.
    pub(crate) fn check(&mut self, leaf: &[u8]) {
        if leaf.starts_with(FOLLOW_UP.as_bytes()) {
            assert!(*leaf == *self.follow_up(), "the state was another one at leaf {}", self.count);
        }
        assert!((self.count == 0) == (leaf == GENESIS), "leaf {}", self.count);
        self.take(leaf);
    }

    fn take(&mut self, leaf: &[u8]) {
        (self.count, self.chain) = (self.count + 1, node_hash(&self.chain, &leaf_hash(leaf)));
    }

    fn follow_up(&self) -> Bytes {
        Bytes::from(format!("{FOLLOW_UP}{}/{}", self.count, self.chain))
    }
}

/// Whether a leaf is one that nobody sent.
pub(crate) fn is_own(leaf: &[u8]) -> bool {
    leaf == GENESIS || leaf.starts_with(FOLLOW_UP.as_bytes())
}

/// What goes with an entry: nothing, or something of class 1, 2 or of follow-ups.
pub(crate) fn attachment_of(entry: &[u8]) -> Option<Bytes> {
    let hash = leaf_hash(entry);
    let bytes = hash.as_bytes();
    let class = match bytes[0] % 3 {
        _ if entry == GENESIS => return None,
        _ if is_own(entry) => FOLLOW_UP_CLASS,
        0 => return None,
        class => class,
    };
    let rest = bytes.iter().cycle().take(usize::from(bytes[1]));
    Some([class].iter().chain(rest).copied().collect())
}

/// A draft with what goes with it.
pub(crate) fn draft(entry: Bytes) -> Draft {
    let attachment = attachment_of(&entry);
    let draft = Draft::new(entry);
    match attachment {
        Some(attachment) => draft.with_attachment(attachment),
        None => draft,
    }
}

impl Sequencer for Ledger {
    fn genesis(&self, meta: &LogMeta) -> Option<Draft> {
        assert_eq!(meta.kind, Kind::Events);
        Some(Draft::new(Bytes::from_static(GENESIS)))
    }

    fn sequence(
        &mut self,
        first: LeafIndex,
        _time_ns: u64,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Leaf>, Refusal> {
        assert_eq!(first.get(), self.count, "leaves come in order");
        if drafts.iter().any(|draft| draft.bytes == REFUSED.0) {
            return Err(Refusal::new(REFUSED.1, "it was asked to"));
        }
        let mut leaves = Vec::new();
        for draft in drafts {
            if draft.bytes == BREAKS {
                return Ok(Vec::new());
            }
            self.take(&draft.bytes);
            leaves.push(Leaf::new(draft.bytes, draft.attachment));
        }
        if leaves.iter().any(|leaf| leaf.hash.as_bytes()[2].is_multiple_of(4)) {
            let follow_up = self.follow_up();
            self.take(&follow_up);
            let attachment = attachment_of(&follow_up);
            leaves.push(Leaf::new(follow_up, attachment));
        }
        Ok(leaves)
    }

    fn replay(&mut self, index: LeafIndex, leaf: &[u8]) -> Result<(), Refusal> {
        assert_eq!(index.get(), self.count, "leaves come in order");
        self.take(leaf);
        Ok(())
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some([&[1][..], &self.count.to_be_bytes(), self.chain.as_bytes()].concat())
    }

    fn restore(&mut self, state: &[u8]) -> bool {
        let Some((1, state)) = state.split_first().map(|(version, state)| (*version, state)) else {
            return false;
        };
        let (count, chain) = state.split_at(8);
        *self = Self {
            count: u64::from_be_bytes(count.try_into().unwrap()),
            chain: Hash::try_from(chain).unwrap(),
        };
        true
    }
}
