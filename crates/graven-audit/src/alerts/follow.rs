//! The follower: every durable leaf, once for each rule in CEL.
//!
//! ```text
//! position, in the file NAME.alerts beside the indexes
//!   0   8  "GRVALRT1"
//!   8   8  position, big-endian: every leaf below was looked at, and what it raised is durable
//!  16  32  leaf hash of the leaf before it: it counts only where the log has that leaf there
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use graven_event::alerts::Applied;
use graven_event::facts::{AlertFacts, RuleFacts};
use graven_event::{Facts, Frame, Group, Ref, Time, Unplaced, View, Word};
use graven_log::{AppendError, Draft, LogName, Patience};
use graven_merkle::leaf_hash;
use graven_rules::{Evaluator, Fields};
use graven_store::Fs;
use graven_store::fs::Mode;

use super::{is_cel, rule_of};
use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;
use crate::hook::{bare, refused};
use crate::read::Opened;
use crate::record::random;

/// How often it is looked for new leaves: an alert comes well within a second.
const INTERVAL: Duration = Duration::from_millis(100);
/// Most leaves of one turn: then it is another log's turn.
const TURN_LEAVES: u64 = 1024;
/// Most alerts that are appended at once.
const APPEND_ALERTS: usize = 64;
/// How often the position is kept.
const KEEP_INTERVAL: Duration = Duration::from_secs(10);
/// Most people and applications that an alert names.
const MAX_ABOUT: usize = 16;

const MAGIC: &[u8; 8] = b"GRVALRT1";
const POSITION_BYTES: u64 = 48;
const ALERT_KIND: u8 = 4;

impl Audit {
    /// Raises the alerts of rules in CEL for as long as the server runs, and counts all alerts.
    pub async fn raise_alerts(self: Arc<Self>) {
        let mut followers: BTreeMap<LogName, Follower> = BTreeMap::new();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            loop {
                let mut is_behind = false;
                for book in self.books() {
                    let name = book.log.meta().name.clone();
                    let follower = followers.remove(&name).unwrap_or_else(|| Follower::new(&self, &book));
                    if let Some(follower) = self.turn(follower).await {
                        is_behind |= follower.is_behind;
                        followers.insert(name, follower);
                    }
                }
                if !is_behind {
                    break;
                }
            }
        }
    }

    /// One turn of a follower: some leaves, what they raise, durably. One that broke is not given back: the next begins where it must.
    async fn turn(&self, mut follower: Follower) -> Option<Follower> {
        let book = follower.book.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let looked = follower.look();
            (follower, looked)
        });
        let (mut follower, looked) = looked.await.ok()?;
        let raised = match looked {
            Ok(()) => self.raise(&mut follower).await,
            Err(error) => Err(error),
        };
        if let Err(error) = raised {
            follower.is_behind = false;
            tracing::warn!(log = %book.log.meta().name, %error, "rules are not evaluated any further yet");
        }
        Some(follower)
    }

    /// Appends what was found, and keeps the position.
    async fn raise(&self, follower: &mut Follower) -> Result<(), AuditError> {
        while !follower.found.is_empty() {
            let some = &follower.found[..follower.found.len().min(APPEND_ALERTS)];
            let done = some.len();
            match self.append_alerts(&follower.book, some).await {
                // Of one that is refused the others know nothing.
                Err(error) if is_stale(&error) && some.len() > 1 => {
                    for alert in some {
                        self.append_or_drop(&follower.book, alert).await?;
                    }
                }
                Err(error) if is_stale(&error) => told_before(&follower.book, &some[0]),
                other => other?,
            }
            follower.found.drain(..done);
        }
        let Some(keeping) = follower.keep() else { return Ok(()) };
        tokio::task::spawn_blocking(move || keeping.write()).await.map_err(|_| AuditError::Stopping)?
    }

    async fn append_or_drop(&self, book: &Book, alert: &AlertFacts) -> Result<(), AuditError> {
        match self.append_alerts(book, std::slice::from_ref(alert)).await {
            Err(error) if is_stale(&error) => told_before(book, alert),
            other => return other,
        }
        Ok(())
    }

    async fn append_alerts(&self, book: &Book, alerts: &[AlertFacts]) -> Result<(), AuditError> {
        let draft = |alert: &AlertFacts| -> Result<Draft, AuditError> {
            let frame = bare(Facts::Alert(alert.clone()), random()?);
            let unplaced = Unplaced::new(&frame).map_err(|_| AuditError::Damaged(alert.state_size))?;
            Ok(Draft::new(unplaced.as_bytes().to_vec().into()))
        };
        let drafts = alerts.iter().map(draft).collect::<Result<Vec<_>, _>>()?;
        self.engine.sequence(&book.log, drafts, None, Patience::Wait).await?;
        Ok(())
    }
}

fn is_stale(error: &AuditError) -> bool {
    matches!(error, AuditError::Append(AppendError::Refused(refusal)) if refusal.code == refused::STALE)
}

/// It is in the log, or its rule was retired meanwhile.
fn told_before(book: &Book, alert: &AlertFacts) {
    tracing::info!(log = %book.log.meta().name, rule = %alert.name, state_size = alert.state_size, "an alert is not raised again");
}

/// One log, with what its rules remember.
struct Follower {
    book: Arc<Book>,
    place: Place,
    running: BTreeMap<Word, Running>,
    /// What was found and is not durable yet.
    found: Vec<AlertFacts>,
    /// Every leaf below was looked at; `None`: it has not begun.
    position: Option<u64>,
    /// The leaves that were there when it began: of these, alerts were counted before.
    counted: u64,
    is_behind: bool,
}

/// A rule at work.
struct Running {
    /// Of the leaf that applies it.
    index: u64,
    facts: RuleFacts,
    evaluator: Evaluator,
    /// From here on leaves are news. Those before it, from `recalled` on, are remembered.
    live: u64,
    recalled: u64,
    /// The state sizes of its alerts about those.
    said: BTreeSet<u64>,
}

impl Follower {
    fn new(audit: &Audit, book: &Arc<Book>) -> Self {
        let file = audit.index_dir.join(format!("{}.alerts", book.log.meta().name));
        let place = Place { fs: audit.env.fs.clone(), file, kept: 0, when: Instant::now() };
        Self {
            book: book.clone(),
            place,
            running: BTreeMap::new(),
            found: Vec::new(),
            position: None,
            counted: 0,
            is_behind: false,
        }
    }

    /// Looks at some leaves that are new.
    fn look(&mut self) -> Result<(), AuditError> {
        if !self.found.is_empty() {
            return Ok(());
        }
        // First the size: what is said of rules below it is in the state by then.
        let end = self.book.log.durable_size();
        let position = match self.position {
            Some(position) => position,
            None => self.begin(end)?,
        };
        self.take_rules(position);
        let (from, to) = (position, end.min(position + TURN_LEAVES));
        let mut next = from;
        while next < to {
            next = if self.running.is_empty() { self.pass(next, to)? } else { self.read(next, to)? };
            self.position = Some(next);
        }
        self.position = Some(next);
        self.is_behind = next < end;
        Ok(())
    }

    /// Finds out where to begin: where the first rule has to remember from.
    fn begin(&mut self, end: u64) -> Result<u64, AuditError> {
        self.counted = end;
        self.place.kept = self.place.read(&self.book).unwrap_or(0);
        let rules = self.applied();
        for (name, applied) in rules {
            let Some(evaluator) = rule_of(&name, &applied).map(Evaluator::new) else { continue };
            let live = applied.fired.max(self.place.kept).max(applied.index + 1);
            let recalled = self.book.reached(live, evaluator.rule().reach())?.max(applied.index + 1).min(live);
            let said = BTreeSet::new();
            let running = Running { index: applied.index, facts: applied.facts, evaluator, live, recalled, said };
            self.running.insert(name, running);
        }
        let first = self.running.values().map(|running| running.recalled).min().unwrap_or(end);
        self.note_said(first, end)?;
        Ok(first)
    }

    /// The rules in CEL that are applied.
    fn applied(&self) -> Vec<(Word, Applied)> {
        let state = self.book.state.lock();
        let rules = state.alerts.rules().filter(|(_, applied)| is_cel(applied));
        rules.map(|(name, applied)| (name.clone(), applied.clone())).collect()
    }

    /// Begins with rules that are new, and ends those that are not applied any more.
    fn take_rules(&mut self, position: u64) {
        let (mut new, mut kept) = (Vec::new(), BTreeSet::new());
        {
            let state = self.book.state.lock();
            for (name, applied) in state.alerts.rules().filter(|(_, applied)| is_cel(applied)) {
                kept.insert(name.clone());
                if self.running.get(name).is_none_or(|running| running.index != applied.index) {
                    new.push((name.clone(), applied.clone()));
                }
            }
        }
        self.running.retain(|name, _| kept.contains(name));
        for (name, applied) in new {
            // One that cannot be run is told of once, when it begins.
            if applied.index < position {
                continue;
            }
            let Some(evaluator) = rule_of(&name, &applied).map(Evaluator::new) else { continue };
            let (index, live) = (applied.index, applied.index + 1);
            let said = BTreeSet::new();
            let running = Running { index, facts: applied.facts, evaluator, live, recalled: live, said };
            self.running.insert(name, running);
        }
    }

    /// Notes what the rules said of leaves that are only remembered.
    fn note_said(&mut self, from: u64, end: u64) -> Result<(), AuditError> {
        if self.running.values().all(|running| running.recalled == running.live) {
            return Ok(());
        }
        let mut next = from;
        while next < end {
            for leaf in self.book.log.durable_entries(next..end)? {
                next += 1;
                let Some(alert) = alert_of(&leaf) else { continue };
                if let Some(running) = self.running.get_mut(&alert.name)
                    && running.facts.rule == alert.rule
                {
                    running.said.insert(alert.state_size);
                }
            }
        }
        Ok(())
    }

    /// Leaves that no rule looks at: alerts among them are counted. Returns the index after them.
    fn pass(&self, from: u64, to: u64) -> Result<u64, AuditError> {
        let leaves = self.book.log.durable_entries(from..to)?;
        for (leaf, index) in leaves.iter().zip(from..) {
            alert_of(leaf).iter().for_each(|alert| self.count(index, alert));
        }
        Ok(from + leaves.len() as u64)
    }

    /// Leaves that rules look at. Returns the index after them.
    fn read(&mut self, from: u64, to: u64) -> Result<u64, AuditError> {
        let reads_raw = self.running.values().any(|running| running.evaluator.rule().reads_raw());
        let groups = Group::ALL.into_iter().filter(|group| reads_raw || *group != Group::Raw);
        let groups: Vec<Group> = groups.collect();
        let leaves = match self.book.open_range(from..to, &groups) {
            // A payload that is not what it was holds up nobody: the leaf itself is there.
            Err(AuditError::Damaged(index)) => {
                tracing::error!(log = %self.book.log.meta().name, index, "rules see of a damaged payload nothing");
                self.closed(from, to)?
            }
            other => other?,
        };
        let next = from + leaves.len() as u64;
        for leaf in leaves {
            let Some(frame) = leaf.frame else { continue };
            match &frame.facts {
                Facts::Alert(alert) => self.count(leaf.index, alert),
                _ => self.step(leaf.index, &frame, leaf.view),
            }
        }
        Ok(next)
    }

    /// Leaves with nothing of their payloads.
    fn closed(&self, from: u64, to: u64) -> Result<Vec<Opened>, AuditError> {
        let leaves = self.book.log.durable_entries(from..to.min(from + 1))?;
        Ok(leaves.into_iter().map(|leaf| Opened::closed(from, leaf)).collect())
    }

    fn step(&mut self, index: u64, frame: &Frame, view: View) {
        let Some(fields) = Fields::of(frame, view) else { return };
        for running in self.running.values_mut() {
            if index >= running.live {
                let fired = running.evaluator.step(index, frame.log_time, &fields);
                self.found.extend(fired.map(|fired| alert(&running.facts, index, fired.leaves, &frame.facts)));
            } else if index >= running.recalled {
                let has_fired = running.said.contains(&(index + 1));
                running.evaluator.recall(index, frame.log_time, &fields, has_fired);
            }
        }
    }

    fn count(&self, index: u64, alert: &AlertFacts) {
        if index < self.counted {
            return;
        }
        let log = self.book.log.meta().name.to_string();
        let labels = [("log", log), ("rule", alert.name.to_string()), ("severity", alert.severity.to_string())];
        metrics::counter!("graven_alerts_total", &labels).increment(1);
        tracing::warn!(
            log = %self.book.log.meta().name, index, rule = %alert.name, severity = alert.severity,
            state_size = alert.state_size, "a rule fired"
        );
    }

    /// What is to be kept of the position now, if it is time.
    fn keep(&mut self) -> Option<Keeping> {
        let position = self.position.filter(|position| *position > self.place.kept)?;
        if self.place.when.elapsed() < KEEP_INTERVAL || self.running.is_empty() {
            return None;
        }
        (self.place.kept, self.place.when) = (position, Instant::now());
        let (book, fs, file) = (self.book.clone(), self.place.fs.clone(), self.place.file.clone());
        Some(Keeping { book, fs, file, position })
    }
}

/// Where the position is kept.
struct Place {
    fs: Arc<dyn Fs>,
    file: PathBuf,
    kept: u64,
    when: Instant,
}

/// A position, about to be written.
struct Keeping {
    book: Arc<Book>,
    fs: Arc<dyn Fs>,
    file: PathBuf,
    position: u64,
}

impl Place {
    /// The position that was kept, if it is of this log.
    fn read(&self, book: &Book) -> Option<u64> {
        let bytes = self.fs.read(&self.file, POSITION_BYTES).ok()?;
        let (position, hash) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let position = u64::from_be_bytes(*position);
        let before = position.checked_sub(1)?;
        (before < book.log.durable_size() && book.hash_at(before).ok()? == hash).then_some(position)
    }
}

impl Keeping {
    fn write(&self) -> Result<(), AuditError> {
        let Some(before) = self.position.checked_sub(1) else { return Ok(()) };
        let hash = self.book.hash_at(before)?;
        let bytes = [&MAGIC[..], &self.position.to_be_bytes(), &hash].concat();
        Ok(self.fs.replace_durable(&self.file, &bytes, Mode::Shared)?)
    }
}

impl Book {
    fn hash_at(&self, index: u64) -> Result<[u8; 32], AuditError> {
        let leaf = self.log.durable_entries(index..index + 1)?.pop().ok_or(AuditError::Damaged(index))?;
        Ok(*leaf_hash(&leaf).as_bytes())
    }

    /// The first leaf that is at most so old as the last one before an index.
    fn reached(&self, before: u64, reach: Duration) -> Result<u64, AuditError> {
        if reach.is_zero() {
            return Ok(before);
        }
        for index in (0..before.min(self.log.durable_size())).rev() {
            // A statement has no time.
            if let Some(frame) = self.open_one(index, &[])?.frame {
                let reach = u64::try_from(reach.as_nanos()).unwrap_or(u64::MAX);
                return self.first_since(Time(frame.log_time.0.saturating_sub(reach)), 0);
            }
        }
        Ok(before)
    }
}

/// What an alert of a rule says, that the leaf at an index raised.
pub(super) fn alert(rule: &RuleFacts, index: u64, leaves: Vec<u64>, facts: &Facts) -> AlertFacts {
    let mut about = about(facts);
    about.truncate(MAX_ABOUT);
    AlertFacts {
        rule: rule.rule,
        name: rule.name.clone(),
        severity: rule.severity,
        leaves,
        count: None,
        about,
        state_size: index + 1,
    }
}

/// Whom a leaf is about: who did it, through what, to whom.
fn about(facts: &Facts) -> Vec<Ref> {
    let mut about: Vec<Ref> = match facts {
        Facts::Event(event) => event.people().collect(),
        Facts::Decision(decision) => [decision.client].into_iter().chain(decision.subject).collect(),
        Facts::Scope(it) => [it.by].into_iter().chain(it.client).chain(it.subject).collect(),
        _ => Vec::new(),
    };
    let mut seen = BTreeSet::new();
    about.retain(|one| seen.insert(*one));
    about
}

/// The alert that a leaf is, told apart by its first bytes.
fn alert_of(leaf: &[u8]) -> Option<AlertFacts> {
    if leaf.get(5) != Some(&ALERT_KIND) {
        return None;
    }
    match Frame::decode(leaf).ok()?.facts {
        Facts::Alert(alert) => Some(alert),
        _ => None,
    }
}
