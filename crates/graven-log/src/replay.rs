//! Reading the journal at start: what each log holds beyond its sealed objects.

use std::collections::{BTreeMap, VecDeque};

use graven_merkle::Hash;
use graven_store::journal::{EntriesSection, KeyRow, LogId, Record, Section, Stored};

use crate::tail::Chunk;
use crate::window::{Claim, Window};

/// What the journal says of one log.
#[derive(Default)]
pub(crate) struct Replayed {
    /// Entries in durable objects.
    pub(crate) sealed: u64,
    /// Entries with an index.
    pub(crate) sequenced: u64,
    /// The entries beyond the sealed ones, in order.
    pub(crate) chunks: VecDeque<(Chunk, Vec<Hash>)>,
    /// What does not fit.
    pub(crate) problem: Option<String>,
}

/// What the journal says.
pub(crate) struct Replay {
    pub(crate) logs: BTreeMap<LogId, Replayed>,
    pub(crate) window: Window,
    pub(crate) last_time_ns: u64,
    /// Keys of the newest record, with the index that their entries count from: to be journalled again.
    pub(crate) newest_keys: Vec<(LogId, u64, Vec<KeyRow>)>,
}

impl Replay {
    pub(crate) fn new(window: Window) -> Self {
        Self { logs: BTreeMap::new(), window, last_time_ns: 0, newest_keys: Vec::new() }
    }

    /// Takes in the next record.
    pub(crate) fn visit(&mut self, record: Record, stored: &Stored) {
        self.last_time_ns = self.last_time_ns.max(record.time_ns);
        self.newest_keys.clear();
        for section in record.sections {
            match section {
                Section::State { log, sequenced, sealed } => {
                    let log = self.logs.entry(log).or_default();
                    log.sequenced = log.sequenced.max(sequenced);
                    log.seal(sealed);
                }
                Section::Sealed { log, sealed } => self.logs.entry(log).or_default().seal(sealed),
                Section::KeyFloor { issued_ns } => self.window.raise_floor(issued_ns),
                Section::Entries(section) => self.entries(section, record.time_ns, stored),
            }
        }
    }

    fn entries(&mut self, section: EntriesSection, time_ns: u64, stored: &Stored) {
        let EntriesSection { log, first_index, leaf_hashes, keys, carried, .. } = section;
        for row in &keys {
            let claim = Claim { key: row.key, request: row.request, issued_ns: row.issued_ns };
            let first = first_index + u64::from(row.first);
            self.window.remember(&claim, first, row.count, time_ns, stored.segment);
        }
        if !keys.is_empty() {
            self.newest_keys.push((log, first_index, keys));
        }
        let chunk = Chunk::of(stored, log).find(|chunk| chunk.first == first_index && chunk.count > 0);
        if let Some(chunk) = chunk {
            self.logs.entry(log).or_default().add(chunk, leaf_hashes, carried);
        }
    }
}

impl Replayed {
    fn seal(&mut self, sealed: u64) {
        self.sealed = self.sealed.max(sealed);
        while self.chunks.pop_front_if(|(chunk, _)| chunk.end() <= sealed).is_some() {}
    }

    fn add(&mut self, chunk: Chunk, leaves: Vec<Hash>, carried: bool) {
        if chunk.end() <= self.sealed {
            return;
        }
        if !carried && chunk.first != self.sequenced {
            self.problem
                .get_or_insert(format!("entry {} follows entry count {}", chunk.first, self.sequenced));
        }
        self.sequenced = self.sequenced.max(chunk.end());
        // A carried chunk stands for those that it covers, whose segments may go.
        let at = self.chunks.partition_point(|(known, _)| known.end() <= chunk.first);
        while self.chunks.get(at).is_some_and(|(known, _)| known.first < chunk.end()) {
            if let Some((known, old)) = self.chunks.remove(at) {
                let offset = usize::try_from(known.first.saturating_sub(chunk.first)).unwrap_or(usize::MAX);
                if known.first < chunk.first
                    || leaves.get(offset..offset.saturating_add(old.len())) != Some(&old)
                {
                    self.problem.get_or_insert(format!("entry {} was carried with other bytes", known.first));
                }
            }
        }
        self.chunks.insert(at, (chunk, leaves));
    }

    /// Whether every entry beyond the sealed ones is there.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let mut next = self.sealed;
        for (chunk, _) in &self.chunks {
            if chunk.first > next {
                break;
            }
            next = chunk.end();
        }
        if next < self.sequenced {
            return Err(format!("the journal has lost entry {next} of {}", self.sequenced));
        }
        Ok(())
    }
}
