//! What must hold, beyond what the model sees after each step.

use std::collections::BTreeMap;
use std::sync::Arc;

use graven_log::{Engine, Log, OpenError};
use graven_merkle::{LeafIndex, verify_inclusion};

use super::super::faults::env;
use super::super::model::{Outcome, Request, entries_of};
use super::{Asked, FIRST_LOG, World};
use crate::outside::SECOND;

impl World {
    /// After a failure of storage: no acknowledgement, no signature.
    pub(super) fn check_poisoned(&mut self) {
        self.tally.poisoned += 1;
        let engine = self.engine();
        let heads: Vec<_> = engine.logs().iter().map(|log| log.head()).collect();
        self.append(1, 1);
        self.commit();
        for log in engine.logs() {
            assert!(!engine.publish_step(&log) && !engine.seal_step(&log));
            assert!(engine.export_step(&log).is_none() && !engine.snapshot_step(&log, true));
            assert!(engine.drop_blobs(&log, 1, LeafIndex::new(1000).unwrap()).is_err());
        }
        let after: Vec<_> = engine.logs().iter().map(|log| log.head()).collect();
        assert!(heads == after, "a head was signed after storage had failed");
    }

    /// What a web server would serve is whole and right, in any life and between them.
    pub(super) fn check_sites(&self) {
        let files = self.disk.snapshot();
        for (name, model) in &self.logs {
            let site = self.dir.join(format!("logs/{name}/site"));
            model.check_site(|path| files.get(&site.join(path)).map(Vec::as_slice));
        }
    }

    /// Without faults: everything durable is published, sealed, exported and proven; then the same after a restart.
    pub(super) fn audit(&mut self) {
        for _ in 0..2 {
            self.faults.begin_life(None);
            let outside = env(&self.disk, &self.faults, &self.clock, &self.entropy);
            let opened = Engine::open(outside, &self.dir, self.config.clone());
            self.engine = Some(opened.unwrap_or_else(|error| panic!("the last opening: {error}")));
            self.meet_logs();
            for log in self.engine().logs() {
                self.audit_log(&log);
            }
            self.drop_blobs();
            self.settle();
            self.check_sites();
        }
    }

    fn audit_log(&mut self, log: &Arc<Log>) {
        let engine = self.engine();
        engine.publish_step(log);
        while engine.seal_step(log) {}
        engine.export_step(log).unwrap();
        self.observe();
        let model = &self.logs[log.meta().name.as_str()];
        model.check_complete(log, &self.requests);
        let size = log.head().size();
        for n in (0..size.get()).step_by(97).chain(size.get().checked_sub(1)) {
            let (leaf, root) = model.expected(n, size.get());
            let index = LeafIndex::new(n).unwrap();
            let (found, proof) = log.inclusion(index, size).unwrap();
            assert_eq!(found, leaf);
            verify_inclusion(leaf, index, size, &proof, &root).unwrap();
        }
        for _ in 0..4 {
            model.check_consistency(log, |count| self.seed.below(count));
        }
    }

    /// The journal of an older copy of the disk, under a signer journal that has signed more: it must not open.
    pub(super) fn roll_back(&mut self) {
        let older = self.disk.snapshot();
        let known = self.logs[FIRST_LOG].published();
        self.faults.begin_life(None);
        let outside = env(&self.disk, &self.faults, &self.clock, &self.entropy);
        self.clock.pass(SECOND);
        self.engine = Some(Engine::open(outside.clone(), &self.dir, self.config.clone()).unwrap());
        self.fill(known);
        self.settle();
        let newer = self.disk.snapshot();
        let mixed: BTreeMap<_, _> = newer
            .iter()
            .filter(|(path, _)| path.ends_with("signer"))
            .chain(older.iter().filter(|(path, _)| !path.ends_with("signer")))
            .map(|(path, bytes)| (path.clone(), bytes.clone()))
            .collect();
        self.disk.restore(&mixed);
        self.trace.event(format_args!("rolled back"));
        self.tally.rollbacks += 1;
        match Engine::open(outside, &self.dir, self.config.clone()) {
            Err(OpenError::Behind { .. }) => {}
            Err(error) => panic!("a data directory that went back: {error}"),
            Ok(engine) => {
                self.engine = Some(engine);
                self.fill(known);
                panic!("a data directory that went back was opened, and nothing came of it");
            }
        }
    }

    /// Appends to the first log and publishes, until it has published more than `known` entries.
    fn fill(&mut self, known: u64) {
        let name = FIRST_LOG.to_owned();
        let engine = self.engine();
        let log = engine.log(&name).unwrap();
        // Whatever the clock was made to say, it is right from here on.
        self.clock.pass(3600 * SECOND);
        let number = self.requests.len();
        let (entries, outcome) = (entries_of(number, 3, 0), Outcome::Unknown);
        self.requests.push(Request { log: name.clone(), entries, key: None, outcome });
        self.submit(number, Asked::Same);
        self.commit();
        engine.publish_step(&log);
        self.observe();
        assert!(self.logs[&name].published() > known, "{:?}", self.requests[number].outcome);
    }
}
