//! Rules and alerts over the wire: defined, listed, tried on the past, followed, retired; and who may.

use graven_proto::v1::alert_service_client::AlertServiceClient;
use graven_proto::v1::{self, ErrorReason, Severity};
use prost::Message as _;
use tonic::transport::Channel;

use crate::calls;
use crate::desk::{asking, log};
use crate::rig::{Client, House, event};
use crate::service::refused;

type Alerts = AlertServiceClient<Client<Channel>>;

const ALL: &str = "admin:*,query:*,reveal:*";
const GUESSING: &str = r#"
when = '''event.action == "auth.login" && event.outcome == "denied"'''
by = "event.actor.id"
count = 3
within = "10m"
"#;

fn alerts(house: &House, grants: &str) -> Alerts {
    AlertServiceClient::with_interceptor(house.channel.clone(), House::badge("ann", grants))
}

fn guessing() -> v1::Rule {
    v1::Rule {
        name: "guessing".to_owned(),
        language: "cel".to_owned(),
        severity: Severity::High.into(),
        source: GUESSING.to_owned(),
        ..Default::default()
    }
}

fn builtin(name: &str) -> v1::Rule {
    v1::Rule { name: name.to_owned(), language: "builtin".to_owned(), ..Default::default() }
}

fn defining(rule: v1::Rule) -> v1::DefineRuleRequest {
    v1::DefineRuleRequest { log: log(), rule: Some(rule) }
}

async fn denied(house: &House, actor: &str) -> u64 {
    let denied = v1::Event { outcome: v1::Outcome::Denied.into(), ..event(actor, "auth.login") };
    house.record(denied).await.index
}

async fn tried(mut client: Alerts, request: v1::TestRuleRequest) -> (Vec<v1::Alert>, u64, u64) {
    let mut stream = client.test_rule(request).await.unwrap().into_inner();
    let (mut alerts, mut next, mut unreadable) = (Vec::new(), 0, 0);
    while let Some(message) = stream.message().await.unwrap() {
        alerts.extend(message.alerts);
        next = message.next_index.max(next);
        unreadable += message.unreadable;
    }
    (alerts, next, unreadable)
}

#[tokio::test]
async fn rules_are_defined_followed_and_retired() {
    let house = House::governed().await;
    let mut client = alerts(&house, ALL);
    let defined = client.define_rule(defining(guessing())).await.unwrap().into_inner();
    client.define_rule(defining(builtin("self-grant"))).await.unwrap();
    let list = || v1::ListRulesRequest { log: log() };
    let rules = client.list_rules(list()).await.unwrap().into_inner().rules;
    let active: Vec<_> = rules.iter().filter(|rule| rule.active).map(|rule| rule.name.as_str()).collect();
    assert_eq!(active, ["guessing", "self-grant"]);
    assert!(rules.len() > 2, "what could be applied is there as well");
    let known = rules.iter().find(|rule| rule.name == "guessing").unwrap();
    assert_eq!((known.index, &known.hash, known.source.as_str()), (defined.index, &defined.hash, GUESSING));

    let watching =
        |min: Severity| v1::WatchAlertsRequest { log: log(), min_severity: min.into(), ..Default::default() };
    let mut watch = client.watch_alerts(watching(Severity::Unspecified)).await.unwrap().into_inner();
    let mut worst = client.watch_alerts(watching(Severity::Critical)).await.unwrap().into_inner();
    let mut leaves = Vec::new();
    for _ in 0..3 {
        leaves.push(denied(&house, "alice").await);
    }
    let message = watch.message().await.unwrap().unwrap();
    let alert = &message.alerts[0];
    assert_eq!((alert.rule.as_str(), &alert.leaves, alert.severity()), ("guessing", &leaves, Severity::High));
    assert_eq!((alert.count, alert.about.clone()), (3, vec!["user:alice".to_owned()]));
    assert!(alert.index > leaves[2] && !alert.leaf.is_empty() && message.next_index > alert.index);
    // Nobody is named to who may not know.
    let mut blind =
        alerts(&house, "query:*").watch_alerts(watching(Severity::Low)).await.unwrap().into_inner();
    let message = blind.message().await.unwrap().unwrap();
    assert_eq!(message.alerts[0].about[0].len(), 32);
    assert!(!String::from_utf8_lossy(&message.encode_to_vec()).contains("alice"));
    // A built-in rule speaks in the same commit.
    let own = house.scopes("application:billing").request_grant(asking("billing", &["pay.read"])).await;
    let (_, index) = crate::desk::not_counting(own);
    let message = watch.message().await.unwrap().unwrap();
    assert_eq!((message.alerts[0].rule.as_str(), message.alerts[0].index), ("self-grant", index + 1));

    let retire = |name: &str| v1::RetireRuleRequest { log: log(), name: name.to_owned() };
    let retired = client.retire_rule(retire("guessing")).await.unwrap().into_inner();
    assert!(retired.index > index);
    refused(client.retire_rule(retire("guessing")).await, ErrorReason::RuleUnknown);
    refused(client.retire_rule(retire("")).await, ErrorReason::FieldRequired);
    let rules = client.list_rules(list()).await.unwrap().into_inner().rules;
    assert!(!rules.iter().any(|rule| rule.name == "guessing"));
    // What is not bad enough was never told.
    let waited = tokio::time::timeout(std::time::Duration::from_millis(200), worst.message()).await;
    assert!(waited.is_err(), "{waited:?}");
    let traces: Vec<_> = house.traces().into_iter().map(|trace| trace.action).collect();
    for word in ["rule.define", "rule.list", "rule.retire", "alerts.watch.open"] {
        assert!(traces.contains(&format!("graven.{word}")), "{word}");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_rule_is_tried_on_the_past_and_changes_nothing() {
    let house = House::governed().await;
    let mut leaves = Vec::new();
    for _ in 0..3 {
        leaves.push(denied(&house, "alice").await);
    }
    let before = house.leaves("audit").len() as u64;
    let request = || v1::TestRuleRequest { log: log(), rule: Some(guessing()), ..Default::default() };
    let (found, next, unreadable) = tried(alerts(&house, ALL), request()).await;
    assert_eq!((found.len(), next, unreadable), (1, before, 0));
    assert_eq!(
        (found[0].index, &found[0].leaves, found[0].about.clone()),
        (0, &leaves, vec!["user:alice".to_owned()])
    );
    let some = v1::TestRuleRequest { from_index: leaves[1], to_index: leaves[2] + 1, ..request() };
    assert_eq!(tried(alerts(&house, ALL), some).await.0.len(), 0, "two of them are no burst");
    assert_eq!(house.leaves("audit").len() as u64, before);
    let trace = house.traces().into_iter().find(|trace| trace.action == "graven.rule.test").unwrap();
    assert_eq!((trace.says("rule"), trace.says("to")), ("guessing", before.to_string().as_str()));
    assert_eq!(trace.says("hash").len(), 64);

    let mut client = alerts(&house, ALL);
    let beyond = v1::TestRuleRequest { to_index: before + 1, ..request() };
    refused(client.test_rule(beyond).await, ErrorReason::IndexBeyondTree);
    let nothing = v1::TestRuleRequest { from_index: before, ..request() };
    refused(client.test_rule(nothing).await, ErrorReason::RangeEmpty);
    let blind = alerts(&house, "query:*,admin:*").test_rule(request()).await;
    refused(blind, ErrorReason::PermissionMissing);
    refused(alerts(&house, "reveal:*").test_rule(request()).await, ErrorReason::PermissionMissing);
    for (wrong, reason) in [
        (v1::Rule { name: String::new(), ..guessing() }, ErrorReason::FieldRequired),
        (v1::Rule { language: String::new(), ..guessing() }, ErrorReason::FieldRequired),
        (v1::Rule { severity: 9, ..guessing() }, ErrorReason::EnumValueUnknown),
        (v1::Rule { severity: -1, ..guessing() }, ErrorReason::EnumValueUnknown),
        (v1::Rule { severity: 0, ..guessing() }, ErrorReason::RuleInvalid),
        (v1::Rule { language: "sql".to_owned(), ..guessing() }, ErrorReason::RuleInvalid),
        (v1::Rule { source: "when = 'event.'".to_owned(), ..guessing() }, ErrorReason::RuleInvalid),
        (v1::Rule { source: "x".repeat(5000), ..guessing() }, ErrorReason::RuleInvalid),
        (v1::Rule { name: "../x".to_owned(), ..guessing() }, ErrorReason::RuleInvalid),
        (builtin("no-such-rule"), ErrorReason::RuleInvalid),
    ] {
        refused(client.define_rule(defining(wrong.clone())).await, reason);
        let request = v1::TestRuleRequest { rule: Some(wrong), ..request() };
        refused(client.test_rule(request).await, reason);
    }
    refused(
        client.define_rule(v1::DefineRuleRequest { log: log(), rule: None }).await,
        ErrorReason::FieldRequired,
    );
    assert_eq!(house.leaves("audit").len() as u64, before);
    house.stop().await;
}

#[tokio::test]
async fn every_permission_alone_opens_its_own_calls() {
    let house = House::governed().await;
    let needed =
        [("DefineRule", "admin"), ("RetireRule", "admin"), ("ListRules", "query"), ("WatchAlerts", "query")];
    let methods = calls::methods();
    let methods: Vec<_> = methods.iter().filter(|method| method.path.contains(".AlertService/")).collect();
    assert_eq!(methods.len(), needed.len() + 1, "a method is new or gone: {methods:?}");
    for permission in
        ["append", "read", "admin", "witness", "query", "reveal", "erase", "audit", "scope", "check"]
    {
        for (name, needs) in needed {
            let grants = format!("{permission}:audit");
            let answer = if name == "WatchAlerts" {
                // It would wait for the first alert.
                let request = v1::WatchAlertsRequest { log: log(), ..Default::default() };
                alerts(&house, &grants).watch_alerts(request).await.map(drop)
            } else {
                let method = methods.iter().find(|method| method.name == name).unwrap();
                method.call(&house.channel, "audit", &[format!("Bearer ann {grants}")]).await
            };
            let is_denied = answer.is_err_and(|status| status.code() == tonic::Code::PermissionDenied);
            assert_eq!(is_denied, permission != needs, "{name} with {grants}");
        }
        let request = v1::TestRuleRequest { log: log(), rule: Some(guessing()), ..Default::default() };
        let answer = alerts(&house, &format!("{permission}:*")).test_rule(request).await;
        refused(answer, ErrorReason::PermissionMissing);
    }
    house.stop().await;
}
