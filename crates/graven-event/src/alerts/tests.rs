//! What each rule finds and what not, that one burst is told of once, and that a snapshot is as good as the leaves.

use proptest::prelude::*;

use super::builtin::*;
use super::*;
use crate::facts::{Command, DecisionFacts, EventFacts, GapFacts, Ref, RejectedFacts, ScopeCommand};
use crate::model::Outcome;
use crate::scopes::Refused;
use crate::time::Time;

const ALICE: Ref = Ref([1; 16]);
const BILLING: Ref = Ref([2; 16]);
const TOKEN: Ref = Ref([3; 16]);
const HOME: Ref = Ref([4; 16]);
const AWAY: Ref = Ref([5; 16]);

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

/// A log of one watcher, a second a leaf.
#[derive(Default)]
struct Log {
    watcher: Watcher,
    size: u64,
    seconds: u64,
}

impl Log {
    fn with(rules: &[Builtin]) -> Self {
        let mut log = Self::default();
        rules.iter().for_each(|rule| log.apply(*rule, rule.severity()));
        log
    }

    fn apply(&mut self, rule: Builtin, severity: u8) {
        assert_eq!(self.add(Facts::Rule(applied(rule, severity)), None), []);
    }

    fn add(&mut self, facts: Facts, outcome: Option<Outcome>) -> Vec<AlertFacts> {
        self.seconds += 1;
        let frame = frame(facts, outcome, self.seconds);
        let alerts = self.watcher.step(self.size, &frame, |scope| scope.as_str() == "admin.all");
        self.size += 1;
        assert!(alerts.iter().all(|alert| alert.state_size == self.size));
        assert!(alerts.iter().all(|alert| alert.leaves.last() == Some(&(self.size - 1))));
        alerts
    }

    /// The names of the rules that an event fires.
    fn event(&mut self, outcome: Outcome, change: impl FnOnce(&mut EventFacts)) -> Vec<String> {
        let mut facts = event();
        change(&mut facts);
        names(&self.add(Facts::Event(facts), Some(outcome)))
    }

    fn decision(&mut self, outcome: Outcome, change: impl FnOnce(&mut DecisionFacts)) -> Vec<String> {
        let mut facts = decision();
        facts.decided_at = Time::from_seconds(self.seconds + 1).0;
        change(&mut facts);
        names(&self.add(Facts::Decision(facts), Some(outcome)))
    }

    fn refused(&mut self, why: &str) -> Vec<String> {
        let facts = ScopeCommand { refused: Some(word(why)), ..command(Command::ApproveGrant) };
        names(&self.add(Facts::Scope(facts), None))
    }
}

fn names(alerts: &[AlertFacts]) -> Vec<String> {
    alerts.iter().map(|alert| alert.name.to_string()).collect()
}

fn frame(facts: Facts, outcome: Option<Outcome>, seconds: u64) -> Frame {
    Frame {
        outcome,
        retention: 0,
        log_time: Time::from_seconds(seconds),
        id: [0; 16],
        producer: Ref([9; 16]),
        sequence: 0,
        previous: [0; 32],
        payload: None,
        facts,
    }
}

fn applied(rule: Builtin, severity: u8) -> RuleFacts {
    RuleFacts {
        rule: rule.hash(),
        name: rule.word(),
        language: word(BUILTIN),
        severity,
        by: ALICE,
        source: (severity > 0).then(|| rule.source().as_bytes().to_vec()),
    }
}

fn event() -> EventFacts {
    EventFacts {
        action: word("data.read"),
        product: None,
        event_time: None,
        actor: ALICE,
        client: Some(BILLING),
        targets: vec![],
        requested: vec![],
        granted: vec![],
        used: vec![],
        token: None,
        place: None,
        on_behalf_of: vec![],
        about: vec![],
    }
}

fn decision() -> DecisionFacts {
    DecisionFacts {
        action: word("data.read"),
        client: BILLING,
        subject: Some(ALICE),
        token: None,
        issued: None,
        scopes: vec![word("reports.read")],
        resource: None,
        state_size: 1,
        decided_at: 0,
        consistency: 1,
        grants: vec![],
        reason: word("no-grant"),
        place: None,
        count: None,
        since: None,
        bound: None,
        expires: None,
        presented: vec![],
        rules: 1,
    }
}

fn command(command: Command) -> ScopeCommand {
    ScopeCommand {
        command: command as u8,
        grant: None,
        revision: None,
        by: ALICE,
        client: None,
        subject: None,
        scopes: vec![],
        resource: None,
        tier: None,
        recording: None,
        not_before: None,
        expires: None,
        token: None,
        review: None,
        verdict: None,
        refused: None,
        issued_before: None,
        approvers: vec![],
        approvals: None,
        longest: None,
        rules: 1,
        signature: None,
    }
}

/// Hashes of the texts stand in leaves: none of them may ever change.
#[test]
fn the_texts_are_fixed_and_say_what_the_code_does() {
    let hex = |rule: Builtin| rule.hash()[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(Builtin::ALL.map(hex).join(" "), PINNED);
    let minutes = |time: Time| match time.seconds() {
        seconds if seconds >= 3600 => format!("\"{}h\"", seconds / 3600),
        seconds if seconds >= 60 => format!("\"{}m\"", seconds / 60),
        seconds => format!("\"{seconds}s\""),
    };
    for (rule, key, value) in [
        (Builtin::FirstUse, "remembered", MAX_USES.to_string()),
        (Builtin::DenialBurst, "count", DENIALS.to_string()),
        (Builtin::DenialBurst, "within", minutes(DENIALS_WITHIN)),
        (Builtin::DenialBurst, "quiet", minutes(BURST_QUIET)),
        (Builtin::DenialBurst, "remembered", MAX_SUSPECTS.to_string()),
        (Builtin::EscalationBurst, "count", ESCALATIONS.to_string()),
        (Builtin::EscalationBurst, "within", minutes(ESCALATIONS_WITHIN)),
        (Builtin::EscalationBurst, "quiet", minutes(BURST_QUIET)),
        (Builtin::EscalationBurst, "remembered", MAX_SUSPECTS.to_string()),
        (Builtin::RevokedToken, "remembered", MAX_TOKENS.to_string()),
        (Builtin::RevokedToken, "quiet", minutes(QUIET)),
        (Builtin::SelfGrant, "quiet", minutes(QUIET)),
        (Builtin::NewPlace, "baseline", BASELINE.to_string()),
        (Builtin::NewPlace, "actors", MAX_ACTORS.to_string()),
        (Builtin::NewPlace, "places", MAX_PLACES.to_string()),
        (Builtin::NewPlace, "quiet", minutes(QUIET)),
        (Builtin::ProducerGap, "quiet", minutes(QUIET)),
        (Builtin::StaleAllow, "after", minutes(STALE_AFTER)),
        (Builtin::StaleAllow, "remembered", MAX_TOKENS.to_string()),
        (Builtin::StaleAllow, "quiet", minutes(QUIET)),
    ] {
        let line = format!("{key} = {value}");
        assert!(rule.source().lines().any(|found| found == line), "{line} in:\n{}", rule.source());
    }
    for rule in Builtin::ALL {
        assert_eq!(Builtin::named(rule.as_str()), Some(rule));
        assert_eq!(Builtin::ALL[rule.number()], rule);
        assert!(rule.source().len() <= 4096 && (1..=MAX_SEVERITY).contains(&rule.severity()));
    }
}

const PINNED: &str = "07cb719c b696aceb e8729e1c d9a00777 a55b8653 83d8173f 22ef0697 5cd537b4";

#[test]
fn the_words_are_those_of_the_fold() {
    let words =
        [Refused::SelfGrant, Refused::SelfApproval, Refused::BeneficiaryApproves].map(Refused::as_str);
    assert_eq!(memory::FOR_ONESELF, words);
    assert_eq!(memory::TOKEN_REVOKED, crate::scopes::Reason::TokenRevoked.as_str());
}

#[test]
fn a_rule_finds_nothing_before_it_is_applied_nor_after() {
    let mut log = Log::default();
    assert_eq!(log.refused("self-grant"), [""; 0]);
    log.apply(Builtin::SelfGrant, 3);
    assert_eq!(log.refused("self-grant"), ["self-grant"]);
    log.apply(Builtin::SelfGrant, 0);
    assert_eq!(log.refused("self-grant"), [""; 0]);
    let forged = RuleFacts { source: Some(b"another text".to_vec()), ..applied(Builtin::SelfGrant, 3) };
    log.add(Facts::Rule(forged), None);
    assert_eq!(log.watcher.rules().count(), 0, "a text that is not what it is called by");
    log.apply(Builtin::SelfGrant, 4);
    assert_eq!(log.refused("self-grant"), ["self-grant"], "anew, so it is not quiet");
}

#[test]
fn a_scope_is_new_to_a_client_once() {
    let mut log = Log::with(&[Builtin::FirstUse]);
    let used = |scope: &str| {
        let scope = word(scope);
        move |event: &mut EventFacts| event.used = vec![scope]
    };
    assert_eq!(log.event(Outcome::Success, used("a")), ["first-use"]);
    assert_eq!(log.event(Outcome::Success, used("a")), [""; 0]);
    assert_eq!(log.event(Outcome::Denied, used("b")), [""; 0], "it was not used");
    assert_eq!(log.decision(Outcome::Success, |it| it.scopes = vec![word("a"), word("b")]), ["first-use"]);
    assert_eq!(log.event(Outcome::Success, used("b")), [""; 0]);
    let alone = |event: &mut EventFacts| (event.client, event.used) = (None, vec![word("b")]);
    assert_eq!(log.event(Outcome::Success, alone), ["first-use"], "by its actor, where no client is named");
}

#[test]
fn a_burst_of_denials_is_told_of_once() {
    let mut log = Log::with(&[Builtin::DenialBurst]);
    let mut told = Vec::new();
    for n in 0..100 {
        let facts = EventFacts { actor: if n % 2 == 0 { ALICE } else { AWAY }, ..event() };
        told.extend(log.add(Facts::Event(facts), Some(Outcome::Denied)));
    }
    assert_eq!(
        told.iter().map(|alert| alert.about.clone()).collect::<Vec<_>>(),
        [[BILLING], [ALICE], [AWAY]]
    );
    assert_eq!(told[0].leaves, (1..=10).collect::<Vec<_>>());
    assert_eq!(told[1].leaves, (1..=19).step_by(2).collect::<Vec<_>>());
    log.seconds += BURST_QUIET.seconds();
    let again: Vec<_> = (0..10).map(|_| log.event(Outcome::Denied, |_| {})).collect();
    assert_eq!(again.concat(), ["denial-burst"], "about both, in one alert");
}

#[test]
fn denials_that_are_far_apart_are_no_burst() {
    let mut log = Log::with(&[Builtin::DenialBurst]);
    for _ in 0..100 {
        log.seconds += DENIALS_WITHIN.seconds() / 9;
        assert_eq!(log.decision(Outcome::Denied, |_| {}), [""; 0]);
    }
}

#[test]
fn attempts_to_get_more_are_counted_together() {
    let mut log = Log::with(&[Builtin::EscalationBurst]);
    assert_eq!(log.refused("self-grant"), [""; 0]);
    assert_eq!(log.refused("stale-revision"), [""; 0]);
    let asks = |event: &mut EventFacts| {
        (event.requested, event.granted) = (vec![word("a"), word("b")], vec![word("a")]);
    };
    assert_eq!(log.event(Outcome::Denied, asks), [""; 0]);
    assert_eq!(
        log.event(Outcome::Denied, |it| (it.requested, it.granted) = (vec![word("a")], vec![word("a")])),
        [""; 0]
    );
    assert_eq!(log.event(Outcome::Success, asks), [""; 0]);
    assert_eq!(log.decision(Outcome::Denied, |_| {}), [""; 0]);
    for _ in 0..2 {
        assert_eq!(log.decision(Outcome::Denied, |it| it.scopes = vec![word("admin.all")]), [""; 0]);
    }
    assert_eq!(log.refused("beneficiary-approves"), ["escalation-burst"]);
}

#[test]
fn a_revoked_token_is_found_wherever_it_is_shown() {
    let mut log = Log::with(&[Builtin::RevokedToken, Builtin::StaleAllow]);
    let shows = |event: &mut EventFacts| event.token = Some(TOKEN);
    assert_eq!(log.event(Outcome::Success, shows), [""; 0]);
    let revoke = ScopeCommand { token: Some(TOKEN), ..command(Command::RevokeToken) };
    let refused = ScopeCommand { refused: Some(word("administrators-only")), ..revoke.clone() };
    log.add(Facts::Scope(refused), None);
    assert_eq!(log.event(Outcome::Success, shows), [""; 0], "the command did not count");
    log.add(Facts::Scope(revoke), None);
    let before = Some(Time::from_seconds(log.seconds - 1).0);
    let late = |event: &mut EventFacts| (event.token, event.event_time) = (Some(TOKEN), before);
    assert_eq!(log.event(Outcome::Success, late), [""; 0], "it happened before, and was told of later");
    assert_eq!(log.event(Outcome::Denied, shows), ["revoked-token"]);
    assert_eq!(log.event(Outcome::Success, shows), ["stale-allow"], "the other one is quiet");
    let reason = |it: &mut DecisionFacts| (it.token, it.reason) = (Some(AWAY), word("token-revoked"));
    assert_eq!(log.decision(Outcome::Denied, reason), ["revoked-token"]);
    assert_eq!(log.decision(Outcome::Denied, reason), [""; 0]);
}

#[test]
fn an_event_revokes_a_token_too() {
    let mut log = Log::with(&[Builtin::RevokedToken]);
    let revokes = |event: &mut EventFacts| {
        (event.action, event.token) = (word("oauth.token.revoke"), Some(TOKEN));
    };
    assert_eq!(log.event(Outcome::Denied, revokes), [""; 0]);
    assert_eq!(log.event(Outcome::Success, |it| it.token = Some(TOKEN)), [""; 0]);
    assert_eq!(log.event(Outcome::Success, revokes), [""; 0]);
    assert_eq!(log.event(Outcome::Success, revokes), [""; 0], "revoking again uses nothing");
    assert_eq!(log.event(Outcome::Failure, |it| it.token = Some(TOKEN)), ["revoked-token"]);
}

#[test]
fn a_place_is_new_to_somebody_whose_places_are_known() {
    let mut log = Log::with(&[Builtin::NewPlace]);
    let from = |place: Ref| move |event: &mut EventFacts| event.place = Some(place);
    assert_eq!(log.event(Outcome::Success, from(AWAY)), [""; 0]);
    for _ in 1..BASELINE {
        assert_eq!(log.event(Outcome::Success, from(HOME)), [""; 0]);
    }
    assert_eq!(log.event(Outcome::Denied, from(TOKEN)), [""; 0], "whoever is denied teaches nothing");
    assert_eq!(log.event(Outcome::Success, from(AWAY)), [""; 0]);
    assert_eq!(log.event(Outcome::Success, from(TOKEN)), ["new-place"]);
    assert_eq!(log.event(Outcome::Success, from(TOKEN)), [""; 0]);
    assert_eq!(log.event(Outcome::Success, from(BILLING)), [""; 0], "quiet, and not learnt");
    log.seconds += QUIET.seconds();
    assert_eq!(log.event(Outcome::Success, from(BILLING)), ["new-place"]);
    assert_eq!(
        log.decision(Outcome::Success, |it| it.place = Some(HOME)),
        [""; 0],
        "the subject is the actor"
    );
}

#[test]
fn a_gap_is_told_of_and_an_allow_that_came_late() {
    let mut log = Log::with(&[Builtin::ProducerGap, Builtin::StaleAllow]);
    let gap = |producer| Facts::Gap(GapFacts { producer, first: 1, last: 2 });
    let told = log.add(gap(AWAY), None);
    assert_eq!((names(&told), told[0].about.clone()), (vec!["producer-gap".to_owned()], vec![AWAY]));
    assert_eq!(log.add(gap(AWAY), None), []);
    assert_eq!(names(&log.add(gap(HOME), None)), ["producer-gap"]);
    let late = |by: u64| move |it: &mut DecisionFacts| it.decided_at -= by * 1_000_000_000;
    assert_eq!(log.decision(Outcome::Success, late(2)), [""; 0]);
    assert_eq!(log.decision(Outcome::Denied, late(6)), [""; 0]);
    assert_eq!(log.decision(Outcome::Success, late(6)), ["stale-allow"]);
}

#[test]
fn the_worst_two_follow_a_leaf() {
    let mut log = Log::with(&Builtin::ALL);
    log.apply(Builtin::FirstUse, 4);
    let revoke = ScopeCommand { token: Some(TOKEN), ..command(Command::RevokeToken) };
    log.add(Facts::Scope(revoke), None);
    let all = |it: &mut EventFacts| (it.token, it.used) = (Some(TOKEN), vec![word("a")]);
    assert_eq!(log.event(Outcome::Success, all), ["first-use", "stale-allow"], "not revoked-token as well");
}

#[test]
fn only_the_newest_are_remembered() {
    let mut recent = recent::Recent::<u64, (), 4>::default();
    for key in 0..6 {
        assert!(!recent.touch(key * 2000, key).1);
        assert!(recent.touch(key * 2000 + 1500, 0).1 || key == 0, "touched again and again, it stays");
    }
    assert_eq!(recent.rows().map(|(key, ..)| *key).collect::<Vec<_>>(), [0, 3, 4, 5]);
}

#[test]
fn an_alert_of_another_language_comes_once() {
    let mut log = Log::default();
    let source = b"when = \"true\"".to_vec();
    let hash = Sha256::digest(&source).into();
    let name = word("mine");
    let rule = RuleFacts {
        rule: hash,
        name: name.clone(),
        language: word("cel"),
        severity: 2,
        by: ALICE,
        source: Some(source),
    };
    log.add(Facts::Rule(rule.clone()), None);
    let alert = |state_size| AlertFacts {
        rule: hash,
        name: name.clone(),
        severity: 2,
        leaves: vec![],
        count: None,
        about: vec![],
        state_size,
    };
    assert!(!log.watcher.admits(9, &alert(1)), "the leaf that applies it");
    assert!(log.watcher.admits(9, &alert(5)) && log.watcher.admits(9, &alert(9)));
    assert!(!log.watcher.admits(9, &alert(10)), "a leaf that is not there");
    log.add(Facts::Alert(alert(5)), None);
    assert!(!log.watcher.admits(9, &alert(5)) && log.watcher.admits(9, &alert(6)));
    assert!(!log.watcher.admits(9, &AlertFacts { severity: 3, ..alert(6) }));
    log.add(Facts::Rule(RuleFacts { severity: 0, source: None, ..rule }), None);
    assert!(!log.watcher.admits(9, &alert(6)), "it is no longer applied");
    log.apply(Builtin::SelfGrant, 3);
    let own = AlertFacts {
        rule: Builtin::SelfGrant.hash(),
        name: Builtin::SelfGrant.word(),
        severity: 3,
        ..alert(9)
    };
    assert!(!log.watcher.admits(9, &own), "what is built in follows by itself");
}

fn facts() -> impl Strategy<Value = (Facts, Option<Outcome>, u64)> {
    let small = || (0..4_u8).prop_map(|n| Ref([n; 16]));
    let scopes =
        || prop::collection::vec(prop::sample::select(vec!["a", "b", "admin.all"]).prop_map(word), 0..3);
    let outcome = || prop::sample::select(Outcome::ALL.to_vec());
    let event = (
        small(),
        small(),
        scopes(),
        scopes(),
        prop::option::of(small()),
        prop::option::of(small()),
        outcome(),
        any::<bool>(),
    )
        .prop_map(|(actor, client, used, requested, token, place, outcome, revokes)| {
            let action = word(if revokes { "oauth.token.revoke" } else { "data.read" });
            let facts =
                EventFacts { action, actor, client: Some(client), used, requested, token, place, ..event() };
            (Facts::Event(facts), Some(outcome))
        });
    let decided = (small(), scopes(), outcome(), small()).prop_map(|(client, scopes, outcome, place)| {
        (Facts::Decision(DecisionFacts { client, scopes, place: Some(place), ..decision() }), Some(outcome))
    });
    let commanded = (small(), prop::sample::select(memory::FOR_ONESELF.to_vec())).prop_map(|(by, why)| {
        (Facts::Scope(ScopeCommand { by, refused: Some(word(why)), ..command(Command::RequestGrant) }), None)
    });
    let gap = small().prop_map(|producer| (Facts::Gap(GapFacts { producer, first: 1, last: 1 }), None));
    let rule = (0..8_usize, 0..3_u8)
        .prop_map(|(rule, severity)| (Facts::Rule(applied(Builtin::ALL[rule], severity)), None));
    let other = Just((Facts::Rejected(RejectedFacts { digest: [0; 32], reason: word("x") }), None));
    let any = prop_oneof![8 => event, 8 => decided, 4 => commanded, 1 => gap, 1 => rule, 1 => other];
    (any, prop::sample::select(vec![0_u64, 1, 200, 4000]))
        .prop_map(|((facts, outcome), pause)| (facts, outcome, pause))
}

proptest! {
    #[test]
    fn a_snapshot_goes_on_as_the_leaves_do(leaves in prop::collection::vec(facts(), 1..120), at in 0..120_usize) {
        let mut log = Log::with(&Builtin::ALL);
        let mut other = None;
        for (n, (facts, outcome, pause)) in leaves.into_iter().enumerate() {
            if n == at {
                let bytes = log.watcher.encode();
                let watcher = Watcher::decode(&bytes).unwrap();
                prop_assert_eq!(&watcher, &log.watcher);
                other = Some(Log { watcher, size: log.size, seconds: log.seconds });
            }
            log.seconds += pause;
            let alerts = log.add(facts.clone(), outcome);
            prop_assert!(alerts.len() <= MAX_PER_LEAF);
            if let Some(other) = &mut other {
                other.seconds += pause;
                prop_assert_eq!(other.add(facts, outcome), alerts);
            }
        }
        if let Some(other) = other {
            prop_assert_eq!(other.watcher.encode(), log.watcher.encode());
        }
    }

    /// Whatever is read was written: a changed, cut or longer snapshot is another state's, or none's.
    #[test]
    fn a_snapshot_has_one_encoding(leaves in prop::collection::vec(facts(), 1..60), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut log = Log::with(&Builtin::ALL);
        for (facts, outcome, _) in leaves {
            log.add(facts, outcome);
        }
        let bytes = log.watcher.encode();
        let at = at.index(bytes.len());
        prop_assert!(Watcher::decode(&bytes[..at]).is_err());
        prop_assert!(Watcher::decode(&[&bytes[..], &[0]].concat()).is_err());
        let mut changed = bytes;
        changed[at] ^= 1 << bit;
        if let Ok(other) = Watcher::decode(&changed) {
            prop_assert_eq!(other.encode(), changed);
        }
    }
}
