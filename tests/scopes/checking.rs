//! Checks: denied by default, as fresh as asked for, summed where a scope says so, and never told before they are recorded.

use std::time::Duration;

use graven_proto::v1::consistency::Wanted;
use graven_proto::v1::{self, CheckAccessRequest, ErrorReason, ScopeRecording};

use crate::desk::{checking, decision, in_seconds, log, revoking};
use crate::rig::House;
use crate::service::refused;

fn at(wanted: Wanted, client: &str) -> CheckAccessRequest {
    let consistency = Some(v1::Consistency { wanted: Some(wanted) });
    CheckAccessRequest { consistency, ..checking(client, &["pay.read"]) }
}

#[tokio::test]
async fn what_nobody_granted_is_denied_and_each_answer_is_a_leaf() {
    let house = House::governed().await;
    assert_eq!(house.check("billing", &[]).await.reason, "no-scope");
    assert_eq!(house.check("billing", &["pay.read"]).await.reason, "scope-unknown");
    house.define(&["pay.read", "pay.write"]).await;
    assert_eq!(house.check("billing", &["pay.read"]).await.reason, "no-grant");
    house.grant("billing", &["pay.read"]).await;
    assert!(house.check("billing", &["pay.read"]).await.allowed);
    let half = house.check("billing", &["pay.read", "pay.write"]).await;
    assert_eq!((half.reason.as_str(), half.missing), ("no-grant", vec!["pay.write".to_owned()]));
    assert_eq!(house.check("other", &["pay.read"]).await.reason, "no-grant");
    let decided = house.decisions();
    assert_eq!(decided.len(), 6);
    assert_eq!(decided.iter().filter(|(_, allowed, _)| *allowed).count(), 1);
    house.stop().await;
}

#[tokio::test]
async fn a_grant_counts_for_its_person_its_resource_and_its_time_alone() {
    let house = House::governed().await;
    house.define(&["pay.read"]).await;
    let request = v1::RequestGrantRequest {
        subject: "alice".to_owned(),
        resource: "https://pay.example.com".to_owned(),
        expires: in_seconds(2),
        ..crate::desk::asking("billing", &["pay.read"])
    };
    let asked = house.scopes("rita").request_grant(request).await.unwrap().into_inner();
    house.scopes("root").approve_grant(crate::desk::approving(&asked)).await.unwrap();
    let of = |subject: &str, resource: &str| CheckAccessRequest {
        subject: subject.to_owned(),
        resource: resource.to_owned(),
        ..checking("billing", &["pay.read"])
    };
    assert!(house.check_as(of("alice", "https://pay.example.com")).await.unwrap().allowed);
    for (subject, resource) in [
        ("", "https://pay.example.com"),
        ("bob", "https://pay.example.com"),
        ("alice", ""),
        ("alice", "https://other.example.com"),
    ] {
        assert_eq!(house.check_as(of(subject, resource)).await.unwrap().reason, "no-grant");
    }
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(house.check_as(of("alice", "https://pay.example.com")).await.unwrap().reason, "grant-expired");
    house.stop().await;
}

#[tokio::test]
async fn a_state_that_is_not_there_yet_allows_nothing() {
    let house = House::governed().await;
    house.define(&["pay.read"]).await;
    let granted = house.grant("billing", &["pay.read"]).await;
    let wanted = Wanted::AtLeastSize(granted.index + 1);
    assert!(house.check_as(at(wanted, "billing")).await.unwrap().allowed);
    let decided = house.decisions().len();
    let beyond = house.check_as(at(Wanted::AtLeastSize(1_000_000), "billing")).await;
    let refusal = refused(beyond.map(tonic::Response::new), ErrorReason::StateBehind);
    assert!(refusal.number("size").unwrap() > granted.index && refusal.retry_after().is_some());
    let beyond = house.check_as(at(Wanted::ExactSize(u64::MAX), "billing")).await;
    refused(beyond.map(tonic::Response::new), ErrorReason::StateBehind);
    assert_eq!(house.decisions().len(), decided, "nothing was decided");
    let old = Wanted::AtMostOld(prost_types::Duration { seconds: 5, nanos: 0 });
    assert!(house.check_as(at(old, "billing")).await.unwrap().allowed);
    let never = Wanted::AtMostOld(prost_types::Duration { seconds: -5, nanos: 0 });
    refused(house.check_as(at(never, "billing")).await.map(tonic::Response::new), ErrorReason::FieldInvalid);
    house.stop().await;
}

#[tokio::test]
async fn an_exact_size_counts_until_something_that_matters_came_since() {
    let house = House::governed().await;
    house.define(&["pay.read", "other"]).await;
    let granted = house.grant("billing", &["pay.read"]).await;
    let size = granted.index + 1;
    // What does not matter may come.
    house.grant("somebody", &["other"]).await;
    house.record(crate::rig::event("alice", "auth.login")).await;
    let checked = house.check_as(at(Wanted::ExactSize(size), "billing")).await.unwrap();
    assert_eq!((checked.allowed, checked.state_size), (true, size));
    assert_eq!(decision(&checked.leaf).state_size, size);
    house.scopes("root").revoke_grant(revoking(&granted.id)).await.unwrap();
    let decided = house.decisions().len();
    let answer = house.check_as(at(Wanted::ExactSize(size), "billing")).await;
    refused(answer.map(tonic::Response::new), ErrorReason::StateChanged);
    assert_eq!(house.decisions().len(), decided);
    house.stop().await;
}

#[tokio::test]
async fn sums_are_of_what_was_allowed_and_are_complete_before_anything_changes() {
    let house = House::governed().await;
    let request = v1::DefineScopeRequest {
        log: log(),
        scope: "feed.read".to_owned(),
        recording: ScopeRecording::Sums.into(),
        ..Default::default()
    };
    house.scopes("root").define_scope(request).await.unwrap();
    let granted = house.grant("reader", &["feed.read"]).await;
    for _ in 0..20 {
        let checked = house.check("reader", &["feed.read"]).await;
        assert!(checked.allowed && checked.aggregated && checked.leaf.is_empty());
    }
    // Denied ones are never summed, nor is what says from where it came.
    let denied = house.check("stranger", &["feed.read"]).await;
    assert!(!denied.allowed && !denied.aggregated && !denied.leaf.is_empty());
    let placed = v1::Context { ip: "192.0.2.7".to_owned(), ..Default::default() };
    let told = CheckAccessRequest { context: Some(placed), ..checking("reader", &["feed.read"]) };
    assert!(!house.check_as(told).await.unwrap().aggregated);
    let revoked = house.scopes("root").revoke_grant(revoking(&granted.id)).await.unwrap().into_inner();
    let sums: Vec<_> = house.decisions().into_iter().filter(|(.., facts)| facts.count.is_some()).collect();
    assert_eq!(sums.iter().filter_map(|(.., facts)| facts.count).sum::<u64>(), 20);
    assert!(sums.iter().all(|(index, allowed, _)| *allowed && *index < revoked.index));
    assert_eq!(house.check("reader", &["feed.read"]).await.reason, "grant-revoked");
    // What is counted when the server stops is in the log then.
    let granted = house.grant("reader", &["feed.read"]).await;
    assert!(house.check("reader", &["feed.read"]).await.aggregated);
    let house = house.restart().await;
    let uses = house.grants().await.into_iter().find(|one| one.grant == granted.id).unwrap().scopes[0].uses;
    assert_eq!(uses, 1);
    house.stop().await;
}

#[tokio::test]
async fn the_longest_of_everything_fits_a_leaf() {
    let house = House::governed().await;
    let scopes: Vec<_> = (0..64).map(|n| format!("{n:0>256}")).collect();
    let words: Vec<_> = scopes.iter().map(String::as_str).collect();
    house.define(&words).await;
    let client = "c".repeat(256);
    let resource = format!("https://{}", "r".repeat(248));
    let request = v1::RequestGrantRequest {
        resource: resource.clone(),
        subject: "s".repeat(256),
        options: Some(v1::CommandOptions { justification: "j".repeat(1024), ..Default::default() }),
        ..crate::desk::asking(&client, &words)
    };
    let asked = house.scopes("rita").request_grant(request).await.unwrap().into_inner();
    house.scopes("root").approve_grant(crate::desk::approving(&asked)).await.unwrap();
    let text = || "t".repeat(1024);
    let mut token = crate::desk::shown(&text(), &words[..32], 60);
    token.as_mut().unwrap().issuer = text();
    let request = CheckAccessRequest {
        subject: "s".repeat(256),
        resource,
        token,
        context: Some(v1::Context { request_id: text(), trace_id: text(), ip: text(), user_agent: text() }),
        ..checking(&client, &words)
    };
    let checked = house.check_as(request.clone()).await.unwrap();
    assert_eq!((checked.reason.as_str(), checked.missing.len()), ("scope-not-presented", 32));
    let half = CheckAccessRequest { scopes: scopes[..32].to_vec(), ..request };
    assert!(house.check_as(half).await.unwrap().allowed);
    let explain = v1::ExplainDecisionRequest { log: log(), index: checked.index };
    let why = house.scopes("root").explain_decision(explain).await.unwrap().into_inner();
    assert_eq!((why.reason_again.as_str(), why.definitions.len()), ("scope-not-presented", 64));
    house.stop().await;
}
