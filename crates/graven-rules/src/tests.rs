//! What a rule may be, what it sees, when it fires, and that it goes on after a start as if there had been none.

use std::time::Instant;

use graven_event::{Event, Time};
use proptest::prelude::*;

use crate::*;

fn event(json: &str) -> Fields {
    Fields::of_event(&serde_json::from_str::<Event>(json).unwrap())
}

fn login(actor: &str, outcome: &str) -> Fields {
    event(&format!(r#"{{"action": "auth.login", "actor": "{actor}", "outcome": "{outcome}"}}"#))
}

fn with_raw(raw: &str) -> Fields {
    let raw = serde_json::to_string(raw).unwrap();
    event(&format!(
        r#"{{"action": "x.test", "actor": "alice", "outcome": "success", "raw": {{"format": "test/v1", "text": {raw}}}}}"#
    ))
}

fn rule(when: &str) -> Rule {
    Rule::parse(&format!("when = '''{when}'''")).unwrap_or_else(|error| panic!("{when}: {error}"))
}

fn is_hit(when: &str, fields: &Fields) -> bool {
    rule(when).hit(fields).is_some()
}

fn refusal(when: &str) -> String {
    Rule::parse(&format!("when = '''{when}'''")).expect_err(when).to_string()
}

#[test]
fn an_expression_sees_an_event() {
    let fields = event(
        r#"{"action": "data.read", "actor": {"kind": "service", "id": "ci"}, "client": "application:console",
            "outcome": "denied", "time": "2026-03-01T09:30:00Z", "targets": [{"kind": "document", "id": "7"}],
            "scope": {"requested": ["a", "b"], "granted": ["a"]}, "token": {"issuer": "https://as.example", "amr": ["pwd"]},
            "context": {"ip": "192.0.2.7"}, "labels": {"env": "test"}, "source": {"service": "api"},
            "decision": {"reason": "no role"}}"#,
    );
    for when in [
        "event.kind == 'event' && event.action == 'data.read' && event.outcome == 'denied'",
        "event.actor.kind == 'service' && event.actor.id == 'ci' && !has(event.actor.name)",
        "event.client.id == 'console'",
        "event.time == '2026-03-01T09:30:00Z'",
        "event.targets.exists(target, target.kind == 'document' && target.id == '7')",
        "event.scope.requested.exists(scope, !(scope in event.scope.granted))",
        "event.token.issuer.startsWith('https://') && 'pwd' in event.token.amr",
        "event.context.ip.matches(r'^192\\.0\\.2\\.') && !event.context.ip.matches('^10')",
        "event.labels.env == 'test' && event.labels['env'] == 'test'",
        "event.service == 'api' && event.decision.reason.contains('role')",
        "size(event.targets) == 1 && !event.truncated && !has(event.raw)",
        "event.missing.deeper == 1 || true",
    ] {
        assert!(is_hit(when, &fields), "{when}");
    }
}

#[test]
fn whatever_fails_is_false() {
    let fields = with_raw(
        r#"{"n": 3, "list": [1, "two", null], "text": "x", "big": 18446744073709551615, "half": 0.5}"#,
    );
    assert!(is_hit("event.raw.n == 3 && event.raw.half < 1.0 && event.raw.big > 1u", &fields));
    assert!(is_hit("event.raw.list.exists(item, item == 'two')", &fields));
    for when in [
        "event.raw.gone == 1",
        "!(event.raw.gone == 1)",
        "event.raw.n.deeper == 1",
        "event.raw.n + event.raw.text == 'x'",
        "event.raw.list[9] == 1",
        "event.raw.list[event.raw.text] == 1",
        "event.raw.n / 0 == 1",
        "event.raw.n",
        "event.raw.text.matches('(')  || false",
        "event.raw.n.exists(x, true)",
        "-9223372036854775808 - event.raw.n < 0",
        "int(event.raw.text) == 1",
    ] {
        assert!(
            Rule::parse(&format!("when = '''{when}'''")).map_or(true, |rule| rule.hit(&fields).is_none()),
            "{when}"
        );
    }
}

#[test]
fn a_rule_that_is_none_is_refused_with_the_reason() {
    for (source, why) in [
        ("", "missing field `when`"),
        ("when = 'true'\nwenn = 1", "unknown field `wenn`"),
        ("when = 'true'\ncount = 0", "`count` must be 1 to 256"),
        ("when = 'true'\ncount = 257\nwithin = '1m'", "`count` must be 1 to 256"),
        ("when = 'true'\ncount = 2", "above 1 it needs `within`"),
        ("when = 'true'\nwithin = '10'", "`within` must be a time"),
        ("when = 'true'\nwithin = '8d'", "up to 7d"),
        ("when = 'true'\nquiet = '-1m'", "`quiet` must be a time"),
        ("when = 'true'\nquiet = 'é'", "`quiet` must be a time"),
        ("when = 'true'\nby = 'actor'", "`by`: there is no `actor`"),
    ] {
        let error = Rule::parse(source).expect_err(source).to_string();
        assert!(error.contains(why), "{source}: {error}");
    }
    assert_eq!(Rule::parse(&"#".repeat(MAX_SOURCE_BYTES + 1)).unwrap_err(), RuleError::TooLong);
    for (when, why) in [
        ("event.action ==", "`when`"),
        ("action == 'x'", "there is no `action`"),
        ("now() > 1", "there is no `now()`"),
        ("event.action.lower() == 'x'", "there is no `lower()`"),
        ("event.action.matches(event.actor.id)", "must stand in the rule itself"),
        ("event.action.matches('(a')", "not a pattern"),
        (r"event.action.matches(r'(\w{50}){50}')", "not a pattern"),
        ("Message{a: 1} == 1", "there are no messages"),
        ("event.a.all(x, event.b.all(y, event.c.all(z, x == y)))", "steps"),
        ("(event.a + event.a + event.a + event.a).all(x, (event.b + event.b).all(y, x == y))", "steps"),
    ] {
        let error = refusal(when);
        assert!(error.contains(why), "{when}: {error}");
    }
}

/// As long or as deep as a text can make it.
#[test]
fn a_hostile_text_is_refused_soon() {
    let shapes: [fn(usize) -> String; 10] = [
        |n| "(".repeat(n),
        |n| format!("{}1{}", "(".repeat(n / 2), ")".repeat(n / 2)),
        |n| "[".repeat(n),
        |n| "!".repeat(n) + "true",
        |n| "-".repeat(n) + "1",
        |n| format!("event{}", ".a".repeat(n / 2)),
        |n| format!("event{}", "[0]".repeat(n / 3)),
        |n| "true?".repeat(n / 5),
        |n| "true || ".repeat(n / 8) + "true",
        |n| "1 + ".repeat(n / 4) + "1",
    ];
    for (at, shape) in shapes.into_iter().enumerate() {
        for n in [100, 1000, 3900] {
            let began = Instant::now();
            let parsed = Rule::parse(&format!("when = '''{}'''", shape(n)));
            if let Ok(rule) = parsed {
                rule.hit(&login("alice", "denied"));
            }
            assert!(began.elapsed().as_secs() < 10, "shape {at} of {n}: {:?}", began.elapsed());
        }
    }
}

/// The most that a rule may do, on the largest leaf.
#[test]
fn the_longest_run_is_short() {
    let items = vec!["1"; 1000].join(",");
    let fields = with_raw(&format!(r#"{{"a": [{items}], "b": [{items}]}}"#));
    let rule = rule("event.raw.a.all(x, event.raw.b.all(y, x == y && x != 2 && y != 3))");
    let began = Instant::now();
    assert!(rule.hit(&fields).is_some());
    println!("{} pairs in {:?}", MAX_ITEMS * MAX_ITEMS, began.elapsed());
    assert!(began.elapsed().as_secs() < 5);
}

#[test]
fn more_than_can_be_seen_is_said() {
    let many = with_raw(&format!(r#"{{"a": [{}]}}"#, vec!["1"; 300].join(",")));
    assert!(is_hit("size(event.raw.a) == 256 && event.truncated", &many));
    let deep = with_raw(&format!("{}{}", r#"{"a":"#.repeat(60), "1".to_owned() + &"}".repeat(60)));
    assert!(is_hit("has(event.raw.a.a.a) && event.truncated", &deep));
    let wide = vec![format!("[{}]", vec!["1"; 200].join(",")); 200].join(",");
    assert!(is_hit(
        "size(event.raw.a) < 200 && event.truncated",
        &with_raw(&format!(r#"{{"a": [{wide}]}}"#))
    ));
    assert!(is_hit("!has(event.raw)", &with_raw("no JSON")));
}

#[test]
fn it_is_known_whether_a_rule_reads_the_record() {
    assert!(!rule("event.action == 'raw' && event.context.ip == 'x'").reads_raw());
    for reads in ["event.raw.a == 1", "has(event.raw)", "event['raw'].a == 1", "event == {}"] {
        assert!(rule(reads).reads_raw(), "{reads}");
    }
}

const GUESSING: &str =
    "when = '''event.outcome == 'denied' '''\nby = 'event.actor.id'\ncount = 3\nwithin = '10m'";

#[test]
fn it_fires_when_there_are_enough_in_time() {
    let mut evaluator = Evaluator::new(Rule::parse(GUESSING).unwrap());
    let mut step = |index, minutes: u64, actor, outcome| {
        let time = Time::from_seconds(minutes * 60);
        evaluator.step(index, time, &login(actor, outcome)).map(|fired| (fired.leaves, fired.group))
    };
    let alice = Some("alice".to_owned());
    assert_eq!(step(1, 0, "alice", "denied"), None);
    assert_eq!(step(2, 1, "bob", "denied"), None);
    assert_eq!(step(3, 2, "alice", "success"), None);
    assert_eq!(step(4, 9, "alice", "denied"), None);
    assert_eq!(step(5, 11, "alice", "denied"), None, "the first is too long ago");
    assert_eq!(step(6, 12, "alice", "denied"), Some((vec![4, 5, 6], alice.clone())));
    for index in 7..20 {
        assert_eq!(step(index, 13, "alice", "denied"), None, "one burst, one alert");
    }
    assert_eq!(step(20, 22, "alice", "denied"), None);
    assert_eq!(step(21, 22, "alice", "denied"), None);
    assert_eq!(step(22, 22, "alice", "denied"), Some((vec![20, 21, 22], alice)));
}

#[test]
fn without_a_window_each_leaf_fires() {
    let mut evaluator = Evaluator::new(rule("event.outcome == 'denied'"));
    for index in 0..3 {
        let fired = evaluator.step(index, Time(0), &login("alice", "denied")).unwrap();
        assert_eq!(fired, Fired { leaves: vec![index], count: 1, group: None });
    }
    let mut quiet = Evaluator::new(Rule::parse("when = 'true'\nquiet = '1m'").unwrap());
    let fired = |evaluator: &mut Evaluator, at| {
        evaluator.step(at, Time::from_seconds(at), &login("a", "denied")).is_some()
    };
    assert_eq!([0, 30, 59, 60].map(|at| fired(&mut quiet, at)), [true, false, false, true]);
}

#[test]
fn memory_is_bounded() {
    let mut evaluator = Evaluator::new(Rule::parse(&GUESSING.replace("count = 3", "count = 200")).unwrap());
    for index in 0..MAX_GROUPS as u64 + 100 {
        assert_eq!(evaluator.step(index, Time(1), &login(&format!("u{index}"), "denied")), None);
    }
    let groups = evaluator.sizes();
    assert_eq!(groups, (MAX_GROUPS, MAX_GROUPS, MAX_GROUPS));
}

proptest! {
    /// A start anywhere: reading again as far back as the rule reaches gives the same alerts as if there had been no stop.
    #[test]
    fn it_goes_on_as_if_it_had_not_stopped(
        leaves in prop::collection::vec((0..400_u64, 0..3_usize, any::<bool>()), 1..150),
        stop in 0..150_usize,
        quiet in prop::sample::select(vec!["1m", "10m", "30m"]),
    ) {
        let source = format!("{GUESSING}\nquiet = '{quiet}'");
        let actors = ["alice", "bob", "carol"];
        let mut seconds = 0;
        let leaves: Vec<_> = leaves.into_iter().enumerate().map(|(index, (pause, actor, is_denied))| {
            seconds += pause;
            let outcome = if is_denied { "denied" } else { "success" };
            (index as u64, Time::from_seconds(seconds), login(actors[actor], outcome))
        }).collect();
        let mut evaluator = Evaluator::new(Rule::parse(&source).unwrap());
        let fired: Vec<_> = leaves.iter().map(|(index, time, fields)| evaluator.step(*index, *time, fields)).collect();

        let stop = stop.min(leaves.len() - 1);
        let mut again = Evaluator::new(Rule::parse(&source).unwrap());
        let reach = again.rule().reach().as_secs();
        for (at, (index, time, fields)) in leaves.iter().enumerate() {
            if at >= stop {
                prop_assert_eq!(&again.step(*index, *time, fields), &fired[at]);
            } else if time.seconds() + reach >= leaves[stop].1.seconds() {
                again.recall(*index, *time, fields, fired[at].is_some());
            }
        }
    }

    #[test]
    fn no_text_stops_it(text in "[a-z.()\\[\\]!&|=<>+*/?:'\",0-9 -]{0,80}") {
        if let Ok(rule) = Rule::parse(&format!("when = '''{text}'''")) {
            rule.hit(&login("alice", "denied"));
        }
    }
}
