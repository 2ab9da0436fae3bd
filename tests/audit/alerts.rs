//! Alerts: what rules find becomes an entry, soon and once, whoever looks and however often it starts again.

use std::time::{Duration, Instant};

use graven_audit::AuditError;
use graven_audit::alerts::NewRule;
use graven_event::alerts::Builtin;
use graven_event::facts::AlertFacts;
use graven_event::{Facts, Group};
use graven_proto::v1;

use crate::rig::{House, event};
use crate::service::until;

const GUESSING: &str = r#"
description = "somebody guesses a password"
when = '''event.action == "auth.login" && event.outcome == "denied"'''
by = "event.actor.id"
count = 3
within = "10m"
"#;

fn cel<'a>(name: &'a str, source: &'a str) -> NewRule<'a> {
    NewRule { name, language: "cel", severity: 3, source }
}

fn builtin(rule: Builtin) -> NewRule<'static> {
    NewRule { name: rule.as_str(), language: "builtin", severity: 0, source: "" }
}

async fn define(house: &House, rule: NewRule<'_>) -> u64 {
    let book = house.audit.book("audit").unwrap();
    house.audit.define_rule(&book, "root", rule).await.unwrap().0
}

async fn denied(house: &House, actor: &str) -> u64 {
    let denied = v1::Event { outcome: v1::Outcome::Denied.into(), ..event(actor, "auth.login") };
    house.record(denied).await.index
}

/// The alerts of a log, each with the index of its entry.
fn alerts(house: &House) -> Vec<(u64, AlertFacts)> {
    let leaves = house.leaves("audit").into_iter();
    let alerts = leaves.filter_map(|leaf| match leaf.frame.unwrap().facts {
        Facts::Alert(alert) => Some((leaf.index, alert)),
        _ => None,
    });
    alerts.collect()
}

fn leaves_of(house: &House) -> Vec<Vec<u64>> {
    alerts(house).into_iter().map(|(_, alert)| alert.leaves).collect()
}

/// Long enough for a follower to have looked at everything.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test]
async fn a_rule_in_cel_raises_an_alert_within_a_second() {
    let house = House::new().await;
    let defined = define(&house, cel("guessing", GUESSING)).await;
    let first = denied(&house, "alice").await;
    denied(&house, "bob").await;
    let second = denied(&house, "alice").await;
    let third = denied(&house, "alice").await;
    let began = Instant::now();
    until(|| !alerts(&house).is_empty()).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let (_, alert) = alerts(&house).remove(0);
    assert_eq!(alert.leaves, [first, second, third]);
    assert_eq!((alert.name.as_str(), alert.severity, alert.state_size), ("guessing", 3, third + 1));
    let book = house.audit.book("audit").unwrap();
    assert_eq!(alert.about, [book.named("alice").unwrap()]);
    let rules = house.audit.rules(&book).await.unwrap();
    let rule = rules.iter().find(|rule| rule.name == "guessing").unwrap();
    assert_eq!((rule.hash, rule.since, rule.source.as_str()), (alert.rule, Some(defined), GUESSING));
    assert_eq!(rules.iter().filter(|rule| rule.since.is_none()).count(), Builtin::ALL.len());
    // One burst, one alert; and it is no event that rules look at.
    for _ in 0..5 {
        denied(&house, "alice").await;
    }
    a_while().await;
    assert_eq!(alerts(&house).len(), 1);
    house.stop().await;
}

#[tokio::test]
async fn a_built_in_rule_speaks_in_the_same_commit() {
    let house = House::new().await;
    define(&house, builtin(Builtin::DenialBurst)).await;
    let mut last = 0;
    for _ in 0..10 {
        assert!(alerts(&house).is_empty());
        last = denied(&house, "alice").await;
    }
    let (index, alert) = alerts(&house).remove(0);
    assert_eq!((index, alert.leaves.len(), alert.severity), (last + 1, 10, Builtin::DenialBurst.severity()));
    assert_eq!(alert.rule, Builtin::DenialBurst.hash());
    let house = house.restart().await;
    for _ in 0..10 {
        denied(&house, "alice").await;
    }
    assert_eq!(alerts(&house).len(), 1, "it is still quiet");
    house.stop().await;
}

#[tokio::test]
async fn a_start_loses_nothing_and_repeats_nothing() {
    let house = House::new().await;
    define(&house, cel("guessing", GUESSING)).await;
    define(&house, cel("each", "when = '''event.action == \"data.export\"'''")).await;
    let before = [denied(&house, "alice").await, denied(&house, "alice").await];
    let mut exports = vec![house.record(event("bob", "data.export")).await.index];
    until(|| leaves_of(&house).len() == 1).await;
    // Nobody says where it stood: it is found out from the log.
    let house = house.restart().await;
    let third = denied(&house, "alice").await;
    until(|| leaves_of(&house).len() == 2).await;
    assert_eq!(leaves_of(&house), [exports.clone(), vec![before[0], before[1], third]]);
    // Where it stands is kept, and it goes on from there.
    let place = house.data().join("index/events/audit.alerts");
    until(|| place.exists()).await;
    let house = house.restart().await;
    for _ in 0..5 {
        denied(&house, "alice").await;
    }
    exports.push(house.record(event("bob", "data.export")).await.index);
    until(|| leaves_of(&house).len() == 3).await;
    a_while().await;
    assert_eq!(leaves_of(&house).last().unwrap(), &exports[1..], "and guessing is quiet, as it was");
    // What lies there is believed only if it is of this log.
    let house = {
        let dir = house.stop().await;
        std::fs::write(dir.path().join("data/index/events/audit.alerts"), [7; 48]).unwrap();
        House::open(dir, graven_log::Env::system()).await
    };
    a_while().await;
    assert_eq!(leaves_of(&house).len(), 3);
    house.stop().await;
}

#[tokio::test]
async fn two_followers_say_a_thing_once() {
    let house = House::new().await;
    let second = tokio::spawn(house.audit.clone().raise_alerts());
    define(&house, cel("each", "when = '''event.action == \"data.export\"'''")).await;
    let mut exports = Vec::new();
    for _ in 0..20 {
        exports.push(vec![house.record(event("bob", "data.export")).await.index]);
    }
    until(|| leaves_of(&house).len() >= exports.len()).await;
    a_while().await;
    assert_eq!(leaves_of(&house), exports);
    second.abort();
    house.stop().await;
}

#[tokio::test]
async fn a_trial_finds_what_was_raised_and_says_what_it_cannot_read() {
    let house = House::new().await;
    let book = house.audit.book("audit").unwrap();
    define(&house, cel("guessing", GUESSING)).await;
    define(&house, builtin(Builtin::DenialBurst)).await;
    for n in 0..24 {
        denied(&house, if n % 2 == 0 { "alice" } else { "bob" }).await;
    }
    until(|| alerts(&house).len() == 4).await;
    let raised = alerts(&house);
    let size = book.log().durable_size();
    for rule in [cel("guessing", GUESSING), builtin(Builtin::DenialBurst)] {
        let mut trial = house.audit.test_rule(&book, rule, 0..size).await.unwrap();
        let (mut found, mut next) = (Vec::new(), 0);
        while let Some(part) = trial.go_on().unwrap() {
            assert!(part.next > next && part.unreadable == 0);
            next = part.next;
            found.extend(part.alerts);
        }
        let of_it: Vec<_> = raised.iter().filter(|(_, it)| it.name.as_str() == rule.name).collect();
        assert_eq!(next, size);
        assert_eq!(found, of_it.into_iter().map(|(_, it)| it.clone()).collect::<Vec<_>>(), "{}", rule.name);
    }
    house.audit.erase(&book, "root", "alice", "gdpr-17").await.unwrap();
    let mut trial = house.audit.test_rule(&book, cel("guessing", GUESSING), 0..size).await.unwrap();
    let part = trial.go_on().unwrap().unwrap();
    assert_eq!((part.alerts.len(), part.unreadable), (1, 12), "of bob alone");
    let beyond = house.audit.test_rule(&book, cel("guessing", GUESSING), 0..size + 99).await;
    assert!(matches!(beyond, Err(AuditError::StateBehind { .. })));
    assert_eq!(alerts(&house).len(), 4, "a trial records nothing");
    house.stop().await;
}

#[tokio::test]
async fn what_is_retired_is_silent_and_what_is_no_rule_is_refused() {
    let house = House::new().await;
    let book = house.audit.book("audit").unwrap();
    let export = "when = '''event.action == \"data.export\"'''";
    let defined = define(&house, cel("each", export)).await;
    assert_eq!(define(&house, cel("each", export)).await, defined, "the very same changes nothing");
    house.audit.retire_rule(&book, "root", "each").await.unwrap();
    house.record(event("bob", "data.export")).await;
    a_while().await;
    assert!(alerts(&house).is_empty());
    assert!(matches!(house.audit.retire_rule(&book, "root", "each").await, Err(AuditError::NoRule)));
    for (rule, why) in [
        (cel("Each", export), "a rule's name"),
        (cel("self-grant", export), "the name of a built-in rule"),
        (cel("each", "when = 'now()'"), "there is no `now()`"),
        (NewRule { severity: 0, ..cel("each", export) }, "a severity is 1 to 4"),
        (NewRule { severity: 5, ..cel("each", export) }, "a severity is 1 to 4"),
        (NewRule { language: "sql", ..cel("each", export) }, "cel or builtin"),
        (NewRule { language: "builtin", ..cel("each", "") }, "no built-in rule of that name"),
        (NewRule { source: "mine", ..builtin(Builtin::SelfGrant) }, "cannot be changed"),
    ] {
        let error = house.audit.define_rule(&book, "root", rule).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(book.open_one(defined, &Group::ALL).unwrap().frame.unwrap().facts.kind_word(), "rule");
    house.stop().await;
}
