//! What callers, operators and the engine's own threads do, one step at a time.

use std::time::Duration;

use bytes::Bytes;
use graven_log::{AppendError, Clock, IdempotencyKey, Kind, LogName, Sequenced, Visibility};
use graven_merkle::{LeafIndex, verify_inclusion};
use tokio::sync::oneshot::error::TryRecvError;

use super::super::model::{LogModel, Outcome, Request, entries_of};
use super::{Asked, FIRST_LOG, Waiting, World};
use crate::ledger::{FOLLOW_UP_CLASS, REFUSED, draft};
use crate::outside::SECOND;

impl World {
    pub(super) fn step(&mut self) {
        let pause = 1 + self.seed.below(SECOND / 10);
        self.clock.pass(pause);
        match self.seed.below(100) {
            0..22 => self.append(1, 4),
            22..32 => self.append(60, 1),
            32..37 => self.append(400, 1),
            37..47 => self.repeat(),
            47..50 => self.other_content(),
            50..66 => self.commit(),
            66..80 => self.publish(),
            80..85 => self.seal(),
            85..88 => self.export(),
            88..90 => self.upkeep(),
            90 => self.snapshot(),
            91..93 => self.drop_blobs(),
            93..95 => self.prove(),
            95..97 => self.leap(),
            97 => self.create_log(),
            98 if self.seed.one_in(4) => self.freeze(),
            _ => self.clock.pass(20 * SECOND),
        }
    }

    pub(super) fn append(&mut self, most_entries: u64, most_requests: u64) {
        for _ in 0..=self.seed.below(most_requests) {
            let log = self.any_log();
            let number = self.requests.len();
            let (count, padding) = (1 + self.seed.below(most_entries), self.seed.below(40));
            let entries =
                entries_of(number, usize::try_from(count).unwrap(), usize::try_from(padding).unwrap());
            let entries = match log.meta().kind {
                Kind::Events if self.seed.one_in(12) => vec![Bytes::from_static(REFUSED.0)],
                _ => entries,
            };
            let skew = self.seed.below(20 * SECOND);
            let issued_ns = self.wall_ns() - skew;
            let key = self.seed.one_in(2).then(|| (format!("key-{number}"), issued_ns));
            let (log, outcome) = (log.meta().name.to_string(), Outcome::Unknown);
            self.requests.push(Request { log, entries, key, outcome });
            self.submit(number, Asked::Same);
        }
    }

    /// A caller that lost its answer, or never got one, asks again.
    fn repeat(&mut self) {
        if let Some(number) = self.keyed_request(|_| true) {
            self.tally.repeats += 1;
            self.submit(number, Asked::Same);
        }
    }

    fn other_content(&mut self) {
        let is_acked = |request: &Request| matches!(request.outcome, Outcome::Acked { .. });
        if let Some(number) = self.keyed_request(is_acked) {
            self.submit(number, Asked::OtherContent);
        }
    }

    fn keyed_request(&mut self, is_wanted: impl Fn(&Request) -> bool) -> Option<usize> {
        let keyed: Vec<usize> = (0..self.requests.len())
            .rev()
            .filter(|number| {
                let request = &self.requests[*number];
                request.key.is_some() && request.outcome != Outcome::Refused && is_wanted(request)
            })
            .take(24)
            .collect();
        let at = usize::try_from(self.seed.below(keyed.len().max(1) as u64)).unwrap();
        keyed.get(at).copied()
    }

    pub(super) fn submit(&mut self, number: usize, asked: Asked) {
        let engine = self.engine();
        let request = &self.requests[number];
        let Some(log) = engine.log(&request.log) else { return };
        let entries = match asked {
            Asked::Same => request.entries.clone(),
            Asked::OtherContent => entries_of(number, request.entries.len(), 41),
        };
        let key = request.key.as_ref().map(|(key, issued_ns)| IdempotencyKey { key, issued_ns: *issued_ns });
        let count = entries.len();
        let submitted = if log.meta().kind == Kind::Bytes {
            engine.append_later(&log, entries, key)
        } else {
            let parts: Vec<&[u8]> = entries.iter().map(|entry| &entry[..]).collect();
            let drafts = entries.iter().cloned().map(draft).collect();
            engine.sequence_later(&log, drafts, key.map(|key| (key, &parts[..])))
        };
        let note = submitted.as_ref().map(drop);
        self.trace.event(format_args!("{asked:?} {number} to {}, {count} entries: {note:?}", request.log));
        match submitted {
            Ok(answer) => self.waiting.push(Waiting { number, asked, answer }),
            Err(error) => self.refused(number, asked, &error),
        }
    }

    fn refused(&mut self, number: usize, asked: Asked, error: &AppendError) {
        let is_first_try = self.waiting.iter().all(|waiting| waiting.number != number);
        let request = &mut self.requests[number];
        let is_final = !matches!(error, AppendError::Poisoned | AppendError::Stopping);
        // A repeat that is refused says nothing about the first time.
        if asked == Asked::Same && is_final && is_first_try && request.key.is_none() {
            request.outcome = Outcome::Refused;
        }
        self.tally.too_old += u64::from(*error == AppendError::KeyTooOld);
        self.tally.refusals += u64::from(matches!(error, AppendError::Refused(it) if it.code == REFUSED.1));
        if let AppendError::KeyReused { index } = error {
            let acked = matches!(request.outcome, Outcome::Acked { first, .. } if first == *index);
            assert!(asked == Asked::OtherContent && acked, "request {number}: {error}");
        }
    }

    pub(super) fn commit(&mut self) {
        let goes_on = self.engine().commit_step(Duration::ZERO);
        self.trace.event(format_args!("commit: {goes_on}"));
        self.collect();
    }

    /// Takes the answers that have come.
    pub(super) fn collect(&mut self) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.answer.try_recv() {
                Err(TryRecvError::Empty) => self.waiting.push(waiting),
                Err(TryRecvError::Closed) => {}
                Ok(answer) => self.answered(waiting.number, waiting.asked, answer),
            }
        }
    }

    fn answered(&mut self, number: usize, asked: Asked, answer: Result<Sequenced, AppendError>) {
        self.trace.event(format_args!("  request {number}: {answer:?}"));
        let sequenced = match answer {
            Ok(sequenced) => sequenced,
            Err(error) => return self.refused(number, asked, &error),
        };
        assert_eq!(asked, Asked::Same, "request {number} was taken with other content under its key");
        assert!(!self.is_poisoned(), "request {number} was acknowledged although storage failed");
        let request = &mut self.requests[number];
        let Sequenced { first, count, time_ns, duplicate } = sequenced;
        assert_eq!(count as usize, request.entries.len());
        if let Outcome::Acked { first: known, time_ns: time } = request.outcome {
            assert!(
                duplicate && (known, time) == (first, time_ns),
                "request {number} was {known}, is {first}"
            );
            return;
        }
        self.tally.acked_requests += 1;
        request.outcome = Outcome::Acked { first, time_ns };
        let model = self.logs.get_mut(&request.log).unwrap();
        model.ack(number, request.entries.len(), first, time_ns);
        if let Some(log) = self.engine.as_ref().and_then(|engine| engine.log(&request.log))
            && !self.faults.is_dead()
        {
            self.faults.quietly(|| model.check_attachments(&log, first, &request.entries));
        }
    }

    fn publish(&mut self) {
        let log = self.any_log();
        let released = self.engine().publish_step(&log);
        self.tally.heads += u64::from(released);
        self.trace.event(format_args!("publish {}: {released}, {}", log.meta().name, log.head().size()));
    }

    fn seal(&mut self) {
        let log = self.any_log();
        let before = log.sealed_size();
        self.engine().seal_step(&log);
        self.tally.sealed_bundles += (log.sealed_size() - before) / 256;
        self.trace.event(format_args!("seal {}: {}", log.meta().name, log.sealed_size()));
    }

    fn snapshot(&mut self) {
        let log = self.any_log();
        let is_written = self.engine().snapshot_step(&log, true);
        self.tally.snapshots += u64::from(is_written);
        self.trace.event(format_args!("snapshot {}: {is_written}", log.meta().name));
    }

    pub(super) fn drop_blobs(&mut self) {
        let log = self.any_log();
        let class = [1, 2, FOLLOW_UP_CLASS][usize::try_from(self.seed.below(3)).unwrap()];
        let before = self.seed.below(2 * log.durable_size() + 1);
        let bundles = before.min(log.sealed_size()) / 256;
        let dropped = self.engine().drop_blobs(&log, class, LeafIndex::new(before).unwrap());
        let name = log.meta().name.to_string();
        self.trace
            .event(format_args!("drop class {class} of {name} before {before}: {:?}", dropped.as_ref().ok()));
        self.tally.dropped_blobs += dropped.as_ref().map_or(0, |files| *files);
        self.logs.get_mut(&name).unwrap().drop_blobs(class, bundles * 256, dropped.is_ok());
    }

    fn export(&mut self) {
        let log = self.any_log();
        let exported = self.engine().export_step(&log).is_some();
        self.tally.exports += u64::from(exported);
        self.trace.event(format_args!("export {}: {exported}", log.meta().name));
    }

    fn upkeep(&mut self) {
        self.engine().upkeep_step();
        let rests = self.seed.one_in(3);
        if rests {
            self.engine().rest_step();
        }
        self.trace.event(format_args!("upkeep, rests: {rests}"));
    }

    /// A proof that is given out verifies, whatever storage answers.
    fn prove(&mut self) {
        let log = self.any_log();
        let size = log.head().size();
        if size.get() == 0 {
            return;
        }
        let index = LeafIndex::new(self.seed.below(size.get())).unwrap();
        let model = &self.logs[log.meta().name.as_str()];
        let (leaf, root) = model.expected(index.get(), size.get());
        match log.inclusion(index, size) {
            Ok((found, proof)) => {
                assert_eq!(found, leaf);
                verify_inclusion(leaf, index, size, &proof, &root).unwrap();
                self.tally.proofs += 1;
            }
            Err(error) => assert!(self.faults.fired().is_some(), "{}: {error}", log.meta().name),
        }
    }

    /// The wall clock is set, by somebody or something, and the next time set right again.
    fn leap(&mut self) {
        let by = self.seed.below(1200 * SECOND);
        let wall_ns = self.clock.wall_ns();
        self.clock.set_wall(if self.seed.one_in(2) { wall_ns + by } else { wall_ns - by.min(240 * SECOND) });
        self.trace.event(format_args!("the clock leaps from {wall_ns} to {}", self.clock.wall_ns()));
    }

    fn wall_ns(&self) -> u64 {
        self.clock.wall_ns()
    }

    fn create_log(&mut self) {
        if self.logs.len() >= 4 {
            return;
        }
        let name = format!("log-{}", self.seed.below(4));
        let kind = if self.seed.one_in(2) { Kind::Events } else { Kind::Bytes };
        let made = self.engine().create_log(&LogName::new(&name).unwrap(), kind, Visibility::Public);
        self.trace.event(format_args!("create {name}: {}", made.is_ok()));
        if let Ok(log) = made {
            self.tally.logs_made += 1;
            let known = self.logs.insert(name.clone(), LogModel::new(&log));
            assert!(known.is_none(), "log {name} was made twice");
        }
    }

    fn freeze(&mut self) {
        let log = self.any_log();
        let name = log.meta().name.to_string();
        // The first log goes on, so that something happens to the end.
        if name == FIRST_LOG {
            return;
        }
        let frozen = self.engine().freeze(&log).is_ok();
        self.trace.event(format_args!("freeze {name}: {frozen}"));
        self.tally.logs_frozen += u64::from(frozen);
        self.logs.get_mut(&name).unwrap().frozen |= frozen;
    }
}
