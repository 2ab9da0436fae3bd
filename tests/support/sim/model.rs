//! What anybody outside the engine knows of a log, and the complaints they would have.
//!
//! Every entry of the simulation says which request it is from, so that one look at a log tells whether a request is
//! in it, where, and how often.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use graven_log::{Head, Kind, Log};
use graven_merkle::tile::{EntryBundle, TILE_WIDTH, levels};
use graven_merkle::{EMPTY_ROOT, Hash, TreeSize, leaf_hash, node_hash, verify_consistency};
use graven_note::{SignatureType, VerifiedCheckpoint, VerifierKey};

use crate::ledger::{Ledger, attachment_of, is_own};

/// What a caller knows of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Refused: it must never be in the log.
    Refused,
    /// The answer is not there yet, or was lost: it may be in the log.
    Unknown,
    /// Acknowledged: it is in the log, from this index on, at this time.
    Acked { first: u64, time_ns: u64 },
}

/// One request to append, with all its repeats.
pub(crate) struct Request {
    pub(crate) log: String,
    pub(crate) entries: Vec<Bytes>,
    pub(crate) key: Option<(String, u64)>,
    pub(crate) outcome: Outcome,
}

/// The entries of request `number`, `count` of them.
pub(crate) fn entries_of(number: usize, count: usize, padding: usize) -> Vec<Bytes> {
    (0..count).map(|at| Bytes::from(format!("{number}/{at}/{:padding$}", ""))).collect()
}

/// The request that an entry is from, and its position in it.
fn request_of(entry: &[u8]) -> (usize, usize) {
    let text = std::str::from_utf8(entry).expect("an entry that nobody sent");
    let mut parts = text.split('/').map(|part| part.parse().expect("an entry that nobody sent"));
    (parts.next().unwrap(), parts.next().unwrap())
}

/// What is known of one log.
pub(crate) struct LogModel {
    name: String,
    keys: Vec<VerifierKey>,
    /// Every acknowledged entry: request, position in it, time.
    acked: BTreeMap<u64, (usize, usize, u64)>,
    /// Every published entry's leaf hash.
    leaves: Vec<Hash>,
    entries: Vec<Bytes>,
    /// Where the first entry of each published request is.
    places: HashMap<usize, u64>,
    /// Every head that was ever released: size, root.
    heads: BTreeMap<u64, Hash>,
    last: Option<(u64, u64, Bytes)>,
    durable: u64,
    sealed: u64,
    pub(crate) frozen: bool,
    /// What its hook should know, where it has one.
    ledger: Option<Ledger>,
    /// By class: attachments of entries before the first index are gone, of those before the second they may be.
    dropped: BTreeMap<u8, (u64, u64)>,
}

impl LogModel {
    pub(crate) fn new(log: &Log) -> Self {
        let is_ledger = log.meta().kind == Kind::Events;
        let keys = log.meta().keys.iter().filter(|key| key.signature_type() == SignatureType::Ed25519);
        Self {
            name: log.meta().name.to_string(),
            keys: keys.cloned().collect(),
            acked: BTreeMap::new(),
            leaves: Vec::new(),
            entries: Vec::new(),
            places: HashMap::new(),
            heads: BTreeMap::new(),
            last: None,
            durable: 0,
            sealed: 0,
            frozen: false,
            ledger: is_ledger.then(Ledger::default),
            dropped: BTreeMap::new(),
        }
    }

    /// Attachments of a class are dropped; `sure`: and that was answered.
    pub(crate) fn drop_blobs(&mut self, class: u8, before: u64, sure: bool) {
        let (gone, maybe) = self.dropped.entry(class).or_default();
        *maybe = (*maybe).max(before);
        if sure {
            *gone = (*gone).max(before);
        }
    }

    /// What was stored with entries is there, unless it was dropped.
    pub(crate) fn check_attachments(&self, log: &Log, first: u64, entries: &[Bytes]) {
        let mut kept = Vec::new();
        while kept.len() < entries.len() {
            let range = first + kept.len() as u64..first + entries.len() as u64;
            let read = log.attachments(range, 4096);
            kept.append(&mut read.unwrap_or_else(|e| panic!("{}: attachments from {first}: {e}", self.name)));
        }
        for ((entry, kept), index) in entries.iter().zip(kept).zip(first..) {
            let made = attachment_of(entry).filter(|_| self.ledger.is_some());
            let class = made.as_ref().map_or(0, |made| made[0]);
            let (gone, maybe) = self.dropped.get(&class).copied().unwrap_or_default();
            let is_right = if index < gone { kept.is_none() } else { kept == made };
            let may_be_gone = index < maybe && kept.is_none();
            assert!(is_right || may_be_gone, "{}: the attachment of entry {index} is another", self.name);
        }
    }

    /// The size of the newest released head.
    pub(crate) fn published(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.0)
    }

    /// An answer to a request arrived.
    pub(crate) fn ack(&mut self, number: usize, count: usize, first: u64, time_ns: u64) {
        let at = |index| format!("{}: entry {index}", self.name);
        for position in 0..count {
            let index = first + position as u64;
            let known = self.acked.insert(index, (number, position, time_ns));
            assert!(known.is_none(), "{} was given out twice: {known:?}, request {number}", at(index));
            if let Some(published) = self.entries.get(usize::try_from(index).unwrap()) {
                assert_eq!(request_of(published), (number, position), "{} is another", at(index));
            }
        }
        let earlier = self.acked.range(..first).next_back().map_or(0, |(_, known)| known.2);
        let later = self.acked.range(first + count as u64..).next().map_or(u64::MAX, |(_, known)| known.2);
        assert!(earlier <= time_ns && time_ns <= later, "{}: log time went back", at(first));
        self.durable = self.durable.max(first + count as u64);
    }

    /// Looks at the log as it is now: nothing that was ever seen may be gone.
    pub(crate) fn observe(&mut self, log: &Log, requests: &[Request]) {
        let name = &self.name;
        assert!(log.durable_size() >= self.durable, "{name}: {} of {}", log.durable_size(), self.durable);
        assert!(log.sealed_size() >= self.sealed, "{name}: sealed {}", log.sealed_size());
        assert!(log.is_frozen() || !self.frozen, "{name} thawed");
        (self.durable, self.sealed) = (log.durable_size(), log.sealed_size());
        let head = log.head();
        let seen = (head.size().get(), head.time_seconds, head.note.clone());
        if self.last.as_ref() == Some(&seen) {
            return;
        }
        self.accept(&head, log);
        self.read(log, head.size(), requests);
        self.last = Some(seen);
    }

    /// A head was released that was not known.
    fn accept(&mut self, head: &Head, log: &Log) {
        let (name, size) = (&self.name, head.size().get());
        let opened = VerifiedCheckpoint::open(&head.note, &log.meta().origin, &self.keys);
        let opened = opened.unwrap_or_else(|e| panic!("{name}: head {size}: {e}"));
        assert_eq!(*opened.checkpoint(), head.checkpoint, "{name}");
        if let Some((last_size, last_time, last_note)) = &self.last {
            assert!(size >= *last_size, "{name}: head {size} after {last_size}");
            assert!(head.time_seconds >= *last_time, "{name}: the time of heads went back");
            let is_same = (size, head.time_seconds) == (*last_size, *last_time);
            // A key that was turned off since may be missing; nothing may be new.
            let is_again = lines(&head.note).all(|line| lines(last_note).any(|known| known == line));
            assert!(!is_same || is_again, "{name}: a head was signed anew, not released again");
        }
        let known = *self.heads.entry(size).or_insert(*head.checkpoint.root());
        assert_eq!(known, *head.checkpoint.root(), "{name}: two roots of size {size}");
    }

    /// Reads what a head published, and recomputes its root from nothing but that.
    fn read(&mut self, log: &Log, size: TreeSize, requests: &[Request]) {
        while (self.entries.len() as u64) < size.get() {
            let start = self.entries.len() as u64;
            let read = log.entries(start..size.get(), usize::MAX);
            let read = read.unwrap_or_else(|e| panic!("{}: entry {start}: {e}", self.name));
            assert!(!read.is_empty());
            self.check_attachments(log, start, &read);
            for entry in read {
                self.place(&entry, requests);
                self.leaves.push(leaf_hash(&entry));
                self.entries.push(entry);
            }
        }
        let root = naive_root(&self.leaves[..usize::try_from(size.get()).unwrap()]);
        assert_eq!(root, self.heads[&size.get()], "{}: the root of {size} is another", self.name);
    }

    /// An entry was published: somebody must have asked for it, once, and here.
    fn place(&mut self, entry: &Bytes, requests: &[Request]) {
        let index = self.entries.len() as u64;
        if let Some(ledger) = &mut self.ledger {
            ledger.check(entry);
            if is_own(entry) {
                assert!(!self.acked.contains_key(&index), "{}: entry {index} was acknowledged", self.name);
                return;
            }
        }
        let (number, position) = request_of(entry);
        let at = format!("{}: entry {index} of request {number}", self.name);
        let request = &requests[number];
        assert!(request.log == self.name && request.entries[position] == entry, "{at} is not what was sent");
        assert_ne!(request.outcome, Outcome::Refused, "{at} was refused");
        if let Some(acked) = self.acked.get(&index) {
            assert_eq!((acked.0, acked.1), (number, position), "{at} took the place of an acknowledged one");
        }
        let first = index.checked_sub(position as u64).unwrap_or_else(|| panic!("{at} is out of place"));
        let place = *self.places.entry(number).or_insert(first);
        assert_eq!(place, first, "{at} was appended twice");
        if let Outcome::Acked { first: acked, .. } = request.outcome {
            assert_eq!(acked, first, "{at} is not where it was acknowledged");
        }
    }

    /// Once everything durable is published: nothing acknowledged is missing, and requests are all or nothing.
    pub(crate) fn check_complete(&self, log: &Log, requests: &[Request]) {
        self.check_attachments(log, 0, &self.entries);
        let size = self.entries.len() as u64;
        assert_eq!(size, self.durable, "{}: not everything was published", self.name);
        for (number, first) in &self.places {
            let end = first + requests[*number].entries.len() as u64;
            assert!(end <= size, "{}: request {number} was cut in two", self.name);
        }
    }

    /// Proves that the newest head continues an older one.
    pub(crate) fn check_consistency(&self, log: &Log, choose: impl FnOnce(u64) -> u64) {
        let at = usize::try_from(choose(self.heads.len() as u64)).unwrap();
        let (Some((from, from_root)), Some((to, to_root))) =
            (self.heads.iter().nth(at), self.heads.last_key_value())
        else {
            return;
        };
        let (from, to) = (TreeSize::new(*from).unwrap(), TreeSize::new(*to).unwrap());
        let proof =
            log.consistency(from, to).unwrap_or_else(|e| panic!("{}: {from} to {to}: {e}", self.name));
        verify_consistency(from, from_root, to, to_root, &proof).unwrap();
    }

    /// The leaf hash and root that a proof of `index` in the tree of `size` must lead to.
    pub(crate) fn expected(&self, index: u64, size: u64) -> (Hash, Hash) {
        let at = |n: u64| usize::try_from(n).unwrap();
        (self.leaves[at(index)], naive_root(&self.leaves[..at(size)]))
    }

    /// Checks the site of this log, given what it holds: whatever `checkpoint` covers, and whatever was sealed.
    pub(crate) fn check_site<'a>(&self, file: impl Fn(&str) -> Option<&'a [u8]>) {
        let exported = file("checkpoint").map_or(0, |note| {
            let text = std::str::from_utf8(note).unwrap();
            text.lines().nth(1).and_then(|size| size.parse().ok()).expect("a checkpoint has a size")
        });
        assert!(exported <= self.published(), "{}: the site is ahead of what was released", self.name);
        for (path, bytes) in self.site(self.sealed, exported) {
            assert_eq!(file(&path), Some(&bytes[..]), "{}: {path}", self.name);
        }
    }

    /// The files that a static site of this log must have: full ones up to `sealed`, all of them for `size`.
    fn site(&self, sealed: u64, size: u64) -> Vec<(String, Vec<u8>)> {
        let mut files = self.full_files(sealed.max(size / 256 * 256));
        for level in levels(TreeSize::new(size).unwrap()).filter(|level| level.partial > 0) {
            let index = level.full;
            let first = usize::try_from(index * 256).unwrap();
            let row = self.row(level.level, first..first + usize::from(level.partial));
            files.push((format!("tile/{}/{index:03}.p/{}", level.level, level.partial), row));
            if level.level == 0 {
                let entries = &self.entries[first..first + usize::from(level.partial)];
                let path = format!("tile/entries/{index:03}.p/{}", level.partial);
                files.push((path, EntryBundle::encode(entries).unwrap()));
            }
        }
        files
    }

    fn full_files(&self, size: u64) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        let width = usize::from(TILE_WIDTH);
        for (index, entries) in self.entries[..usize::try_from(size).unwrap()].chunks_exact(width).enumerate()
        {
            let first = index * width;
            files.push((format!("tile/0/{index:03}"), self.row(0, first..first + width)));
            files.push((format!("tile/entries/{index:03}"), EntryBundle::encode(entries).unwrap()));
        }
        files
    }

    /// The hashes of a tile, computed from the leaves.
    fn row(&self, level: u8, hashes: std::ops::Range<usize>) -> Vec<u8> {
        let span = 256_usize.pow(u32::from(level));
        let hash = |at: usize| naive_root(&self.leaves[at * span..(at + 1) * span]);
        hashes.flat_map(|at| *hash(at).as_bytes()).collect()
    }
}

fn lines(note: &[u8]) -> impl Iterator<Item = &[u8]> {
    note.split(|byte| *byte == b'\n')
}

/// RFC 6962 §2.1, word for word.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}
