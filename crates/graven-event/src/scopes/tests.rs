//! A small world: eight parties, three scopes, a log that judges what it is told.

mod history;
mod limits;
mod model;
mod properties;
mod words;

use crate::facts::{Command, DecisionFacts, Facts, Genesis, KeyText, Ref, ScopeCommand, Word};
use crate::scopes::{RULES, Refused, ScopeState, Verdict};
use crate::time::Time;

const ADMIN: Ref = Ref([1; 16]);
const SECOND: Ref = Ref([2; 16]);
const CAROL: Ref = Ref([3; 16]);
const DAVE: Ref = Ref([4; 16]);
const MALLORY: Ref = Ref([5; 16]);
const ALICE: Ref = Ref([6; 16]);
const APP: Ref = Ref([7; 16]);
const OTHER_APP: Ref = Ref([8; 16]);
const GRANT: Ref = Ref([20; 16]);
const REVIEW: Ref = Ref([30; 16]);
const TOKEN: Ref = Ref([40; 16]);

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

fn words(some: &[&str]) -> Vec<Word> {
    some.iter().map(|text| word(text)).collect()
}

fn second(second: u64) -> Time {
    Time::from_seconds(second)
}

/// A command that says nothing yet.
fn bare(command: Command, by: Ref) -> ScopeCommand {
    ScopeCommand::new(command, by)
}

fn define(scope: &str) -> ScopeCommand {
    ScopeCommand { scopes: words(&[scope]), ..bare(Command::DefineScope, ADMIN) }
}

/// Carol asks for the application.
fn request(scopes: &[&str]) -> ScopeCommand {
    ScopeCommand {
        grant: Some(GRANT),
        client: Some(APP),
        scopes: words(scopes),
        ..bare(Command::RequestGrant, CAROL)
    }
}

fn on_grant(command: Command, by: Ref, revision: u64) -> ScopeCommand {
    ScopeCommand { grant: Some(GRANT), revision: Some(revision), ..bare(command, by) }
}

fn approve(by: Ref, revision: u64) -> ScopeCommand {
    on_grant(Command::ApproveGrant, by, revision)
}

fn until(command: ScopeCommand, end: u64) -> ScopeCommand {
    ScopeCommand { expires: Some(second(end).0), ..command }
}

/// What is asked at a second, without a token.
fn ask(scopes: &[&str], at: u64) -> DecisionFacts {
    DecisionFacts {
        action: word("scope.check"),
        client: APP,
        subject: None,
        token: None,
        issued: None,
        scopes: words(scopes),
        resource: None,
        state_size: 0,
        decided_at: second(at).0,
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

/// The same with a token of these scopes.
fn with_token(
    asked: DecisionFacts,
    presented: &[&str],
    issued: Option<u64>,
    end: Option<u64>,
) -> DecisionFacts {
    let [issued, expires] = [issued, end].map(|at| at.map(|at| second(at).0));
    DecisionFacts { token: Some(TOKEN), presented: words(presented), issued, expires, ..asked }
}

/// A log of leaves that were judged and decided as its one writer does.
#[derive(Clone, Default)]
struct Log {
    state: ScopeState,
    leaves: Vec<(Time, Facts)>,
}

impl Log {
    /// Two administrators and three scopes: `a`; `b`, which Carol or Dave approve; `c`, which takes both administrators and ends in time.
    fn new() -> Self {
        let mut log = Self::default();
        log.put(second(0), genesis(vec![ADMIN, SECOND]));
        log.say(0, define("a")).unwrap();
        log.say(0, ScopeCommand { approvers: vec![CAROL, DAVE], ..define("b") }).unwrap();
        log.say(
            0,
            ScopeCommand { approvals: Some(2), longest: Some(1000), recording: Some(1), ..define("c") },
        )
        .unwrap();
        log
    }

    fn put(&mut self, at: Time, facts: Facts) {
        self.state.take(self.leaves.len() as u64, at, &facts);
        self.leaves.push((at, facts));
    }

    fn say(&mut self, at: u64, command: ScopeCommand) -> Result<(), Refused> {
        self.say_at(second(at), command)
    }

    fn say_at(&mut self, at: Time, command: ScopeCommand) -> Result<(), Refused> {
        let judged = self.state.judge(at, &command, command.signature.is_some());
        let refused = judged.err().map(Refused::word);
        self.put(at, Facts::Scope(ScopeCommand { refused, ..command }));
        judged
    }

    fn check(&mut self, asked: DecisionFacts) -> Verdict {
        let verdict = self.state.decide(&asked);
        let (grants, reason) = (verdict.grants.clone(), verdict.reason.word());
        let at = self.leaves.last().map_or(Time(0), |(at, _)| *at).max(Time(asked.decided_at));
        let state_size = self.leaves.len() as u64;
        self.put(at, Facts::Decision(DecisionFacts { grants, reason, state_size, ..asked }));
        verdict
    }
}

fn genesis(administrators: Vec<Ref>) -> Facts {
    let recovery = KeyText::new("log+1+key").unwrap();
    Facts::Genesis(Genesis {
        origin: word("log"),
        kind: word("events"),
        recovery,
        administrators,
        signature: Some(vec![1]),
    })
}
