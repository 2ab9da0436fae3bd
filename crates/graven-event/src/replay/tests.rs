//! A log as its one writer writes it, then with something changed.

use graven_merkle::leaf_hash;

use super::*;
use crate::alerts::{BUILTIN, Builtin};
use crate::facts::{AlertFacts, Command, RejectedFacts, RuleFacts};
use crate::scopes::RULES;

const ADMIN: Ref = Ref([1; 16]);
const SECOND: Ref = Ref([2; 16]);
const CAROL: Ref = Ref([3; 16]);
const APP: Ref = Ref([7; 16]);
const GRANT: Ref = Ref([20; 16]);
const SIGNATURE: &[u8] = b"by the recovery key";

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

/// One writer.
#[derive(Default)]
struct Writer {
    state: LogState,
    entries: Vec<Vec<u8>>,
}

impl Writer {
    /// A request of these entries, with what follows from them.
    fn write(&mut self, second: u64, producer: Ref, request: Vec<Facts>) {
        let mut due = Vec::new();
        for facts in request {
            due.extend(self.put(second, producer, self.finished(second, facts)));
        }
        for facts in due {
            self.put(second, Ref::default(), facts);
        }
    }

    fn finished(&self, second: u64, facts: Facts) -> Facts {
        let (scopes, log_time) = (&self.state.scopes, Time::from_seconds(second));
        match facts {
            Facts::Scope(command) => {
                let by_recovery = command.signature.as_deref() == Some(SIGNATURE);
                let refused = scopes.judge(log_time, &command, by_recovery).err().map(Refused::word);
                Facts::Scope(ScopeCommand { refused, ..command })
            }
            Facts::Decision(asked) => {
                let verdict = scopes.decide(&asked);
                let (reason, grants) = (verdict.reason.word(), verdict.grants);
                Facts::Decision(DecisionFacts { reason, grants, state_size: self.state.size, ..asked })
            }
            other => other,
        }
    }

    fn put(&mut self, second: u64, producer: Ref, facts: Facts) -> Vec<Facts> {
        let known = self.state.producers.of(producer);
        let frame = Frame {
            outcome: outcome_of(&facts),
            retention: 0,
            log_time: Time::from_seconds(second),
            id: [0; 16],
            producer,
            sequence: 0,
            previous: known.map_or([0; 32], |known| known.previous),
            payload: None,
            facts,
        };
        let entry = frame.encode().unwrap();
        let due = self.state.take(&frame, leaf_hash(&entry));
        self.entries.push(entry);
        due
    }
}

fn command(kind: Command, by: Ref) -> ScopeCommand {
    ScopeCommand::new(kind, by)
}

fn ask(second: u64, scope: &str) -> DecisionFacts {
    DecisionFacts {
        action: word("scope.check"),
        client: APP,
        subject: None,
        token: None,
        issued: None,
        scopes: vec![word(scope)],
        resource: None,
        state_size: 0,
        decided_at: Time::from_seconds(second).0,
        consistency: 1,
        grants: Vec::new(),
        reason: word("granted"),
        place: None,
        count: None,
        since: None,
        bound: None,
        expires: None,
        presented: Vec::new(),
        rules: RULES,
    }
}

fn genesis(signature: &[u8]) -> Facts {
    let (origin, kind, recovery) = (word("log"), word("events"), KeyText::new("log+1+key").unwrap());
    let (administrators, signature) = (vec![ADMIN, SECOND], Some(signature.to_vec()));
    Facts::Genesis(Genesis { origin, kind, recovery, administrators, signature })
}

/// A rule, a grant, an attempt that is refused, a first use that the rule tells of, a denial, an appointment by the recovery key.
fn log() -> Writer {
    let mut log = Writer::default();
    let rule = Builtin::FirstUse;
    let applied = RuleFacts {
        rule: rule.hash(),
        name: rule.word(),
        language: word(BUILTIN),
        severity: 1,
        by: ADMIN,
        source: Some(rule.source().as_bytes().to_vec()),
    };
    let on = |kind, by, revision| ScopeCommand {
        grant: Some(GRANT),
        revision: Some(revision),
        ..command(kind, by)
    };
    let request = ScopeCommand {
        grant: Some(GRANT),
        client: Some(APP),
        scopes: vec![word("a")],
        ..command(Command::RequestGrant, CAROL)
    };
    let (subject, signature) = (Some(CAROL), Some(SIGNATURE.to_vec()));
    let appointed = ScopeCommand {
        subject,
        signature,
        revision: Some(0),
        ..command(Command::AppointAdministrator, CAROL)
    };
    let scopes = vec![word("a")];
    for (second, facts) in [
        (0, genesis(SIGNATURE)),
        (1, Facts::Rule(applied)),
        (2, Facts::Scope(ScopeCommand { scopes, ..command(Command::DefineScope, ADMIN) })),
        (3, Facts::Scope(request)),
        (4, Facts::Scope(on(Command::ApproveGrant, CAROL, 1))),
        (5, Facts::Scope(on(Command::ApproveGrant, ADMIN, 1))),
        (6, Facts::Decision(ask(6, "a"))),
        (7, Facts::Decision(ask(7, "b"))),
        (8, Facts::Scope(appointed)),
    ] {
        log.write(second, Ref([9; 16]), vec![facts]);
    }
    log
}

const REFUSED: usize = 4;
const ALLOWED: usize = 6;
const ALERT: usize = 7;
const DENIED: usize = 8;

fn replay(entries: &[Vec<u8>]) -> Vec<Mismatch> {
    let mut replay =
        Replay::new(word("log"), Box::new(|key, _, signature| key == "log+1+key" && signature == SIGNATURE));
    let stepped = (0..).zip(entries).flat_map(|(index, entry)| replay.step(index, entry)).collect::<Vec<_>>();
    [stepped, replay.finish()].concat()
}

/// What is found after a leaf was changed, but for the chain of its producer, which tells of every change.
fn changed(log: &Writer, at: usize, change: impl FnOnce(&mut Frame)) -> Vec<(u64, What)> {
    let mut entries = log.entries.clone();
    let mut frame = Frame::decode(&entries[at]).unwrap();
    change(&mut frame);
    entries[at] = frame.encode().unwrap();
    let found = replay(&entries);
    let is_told = found.iter().any(|one| one.what == What::NotTheOneBefore);
    assert!(is_told || frame.producer == Ref::default());
    found
        .into_iter()
        .filter(|one| one.what != What::NotTheOneBefore)
        .map(|one| (one.index, one.what))
        .collect()
}

fn decision(frame: &mut Frame) -> &mut DecisionFacts {
    let Facts::Decision(decision) = &mut frame.facts else { unreachable!() };
    decision
}

fn scope(frame: &mut Frame) -> &mut ScopeCommand {
    let Facts::Scope(command) = &mut frame.facts else { unreachable!() };
    command
}

#[test]
fn what_the_writer_wrote_follows() {
    let log = log();
    assert_eq!(replay(&log.entries), []);
    let mut again = Replay::new(word("log"), Box::new(|_, _, signature| signature == SIGNATURE));
    (0..).zip(&log.entries).for_each(|(index, entry)| drop(again.step(index, entry)));
    assert_eq!(*again.state(), log.state);
    assert_eq!(again.counts(), Counts { commands: 5, decisions: 2, alerts: 1 });
}

#[test]
fn a_decision_that_was_turned_around_is_named() {
    let found = changed(&log(), DENIED, |frame| {
        frame.outcome = Some(Outcome::Success);
        decision(frame).reason = word("granted");
    });
    let said = What::Decision(word("granted"), word("scope-unknown"));
    assert_eq!(found, [(8, said), (8, What::Outcome(Some(Outcome::Success), Outcome::Denied))]);
    let found = changed(&log(), ALLOWED, |frame| frame.outcome = Some(Outcome::Denied));
    assert_eq!(found, [(6, What::Outcome(Some(Outcome::Denied), Outcome::Success))]);
    let found = changed(&log(), ALLOWED, |frame| decision(frame).grants = vec![Ref([21; 16])]);
    assert_eq!(found, [(6, What::Grants)]);
}

#[test]
fn a_decision_is_of_its_state_and_time() {
    for state_size in [5, 7] {
        let found = changed(&log(), ALLOWED, |frame| decision(frame).state_size = state_size);
        assert_eq!(found, [(6, What::StateSize)]);
    }
    let found = changed(&log(), DENIED, |frame| decision(frame).decided_at += 1);
    assert_eq!(found, [(8, What::DecidedAt)]);
    let found = changed(&log(), ALLOWED, |frame| decision(frame).count = Some(2));
    assert_eq!(found, [(6, What::NoSum)]);
}

#[test]
fn a_refusal_that_was_taken_out_is_named_and_changes_nothing() {
    let found = changed(&log(), REFUSED, |frame| {
        frame.outcome = Some(Outcome::Success);
        scope(frame).refused = None;
    });
    let said = What::Command(None, Some(word("self-approval")));
    assert_eq!(found, [(4, said), (4, What::Outcome(Some(Outcome::Success), Outcome::Denied))]);
}

#[test]
fn a_signature_that_is_none_is_named() {
    let last = log().entries.len() - 1;
    let mut entries = log().entries;
    let mut frame = Frame::decode(&entries[last]).unwrap();
    scope(&mut frame).signature = Some(b"by somebody".to_vec());
    entries[last] = frame.encode().unwrap();
    let what = What::Command(None, Some(word("signature-invalid")));
    assert_eq!(replay(&entries)[0], Mismatch { index: last as u64, what });
    let mut unsigned = Writer::default();
    unsigned.write(0, Ref::default(), vec![genesis(b"by somebody")]);
    assert_eq!(replay(&unsigned.entries)[0].what, What::Unauthorised);
}

#[test]
fn an_alert_that_was_dropped_is_named() {
    let log = log();
    let mut entries = log.entries.clone();
    let alert = Frame::decode(&entries.remove(ALERT)).unwrap().facts;
    let found = replay(&entries);
    assert_eq!(found[0], Mismatch { index: 6, what: What::Missing(Box::new(alert.clone())) });
    assert!(found[0].to_string().starts_with("entry 6: an alert of the rule first-use"), "{}", found[0]);
    let cut = replay(&log.entries[..ALERT]);
    assert_eq!(cut, [Mismatch { index: 6, what: What::Missing(Box::new(alert)) }]);
}

#[test]
fn an_alert_that_nothing_leads_to_is_named() {
    let mut log = log();
    let rule = Builtin::FirstUse;
    let alert = AlertFacts {
        rule: rule.hash(),
        name: rule.word(),
        severity: 1,
        leaves: vec![6],
        count: None,
        about: vec![APP],
        state_size: 7,
    };
    log.write(9, Ref::default(), vec![Facts::Alert(alert)]);
    assert_eq!(replay(&log.entries), [Mismatch { index: 10, what: What::Unfounded }]);
}

#[test]
fn what_follows_a_request_comes_after_all_of_it() {
    let event = |scope: &str| {
        Facts::Event(crate::facts::EventFacts {
            action: word("x.used"),
            product: None,
            event_time: None,
            actor: CAROL,
            client: Some(APP),
            targets: Vec::new(),
            requested: Vec::new(),
            granted: Vec::new(),
            used: vec![word(scope)],
            token: None,
            place: None,
            on_behalf_of: Vec::new(),
            about: Vec::new(),
        })
    };
    let mut log = log();
    let before = log.entries.len();
    // Events end well here.
    let put = |log: &mut Writer, scope: &str| {
        let known = log.state.producers.of(Ref([9; 16])).map_or([0; 32], |known| known.previous);
        let frame = Frame {
            outcome: Some(Outcome::Success),
            previous: known,
            facts: event(scope),
            ..Frame::decode(&log.entries[before - 1]).unwrap()
        };
        let entry = frame.encode().unwrap();
        let due = log.state.take(&frame, leaf_hash(&entry));
        log.entries.push(entry);
        due
    };
    let due: Vec<Facts> = ["u", "v"].iter().flat_map(|scope| put(&mut log, scope)).collect();
    assert_eq!(due.len(), 2);
    due.into_iter().for_each(|facts| drop(log.put(8, Ref::default(), facts)));
    assert_eq!(replay(&log.entries), []);
    log.entries.swap(before + 2, before + 3);
    let found = replay(&log.entries);
    assert!(
        matches!(
            found[..],
            [Mismatch { what: What::Missing(_), .. }, Mismatch { what: What::Unfounded, .. }]
        ),
        "{found:?}"
    );
    log.entries.swap(before + 2, before + 3);
    log.entries.swap(before + 1, before + 2);
    assert!(
        !replay(&log.entries).is_empty(),
        "what follows the first comes before the second, and names another number of leaves"
    );
}

#[test]
fn a_log_begins_once_and_goes_forward() {
    let mut log = log();
    log.write(7, Ref::default(), vec![genesis(SIGNATURE)]);
    let size = log.entries.len() as u64 - 1;
    let found: Vec<What> = replay(&log.entries).into_iter().map(|one| one.what).collect();
    assert_eq!(found, [What::TimeWentBack, What::NotTheBeginning]);
    let mut replay = Replay::new(word("another log"), Box::new(|_, _, _| true));
    assert_eq!(replay.step(0, &log.entries[0])[0].what, What::NotTheBeginning);
    assert_eq!(replay.step(size, &log.entries[1])[0].what, What::NotNext(1));
    assert!(matches!(replay.step(2, b"GRVE noise")[0].what, What::Unreadable(_)));
    assert!(
        matches!(replay.step(3, b"graven-rotation/v1\nlog\n")[0].what, What::Unreadable(_)),
        "of another log"
    );
    assert_eq!(replay.step(4, b"graven-rotation/v1\nanother log\n"), []);
    let rejected = Facts::Rejected(RejectedFacts { digest: [0; 32], reason: word("x") });
    let mut first = Writer::default();
    first.write(0, Ref::default(), vec![rejected]);
    let mut replay = Replay::new(word("log"), Box::new(|_, _, _| true));
    assert_eq!(replay.step(0, &first.entries[0])[0].what, What::NotTheBeginning);
}
