//! What the log says of scopes: histories and grounds under one proof, pages, earlier points; all of it noted, and people named to those
//! alone who may know them.

use graven_proto::v1::{self, ErrorReason, GrantStatus, state_point::At};
use prost::Message as _;

use crate::desk::{asking, checking, log, revoking, texts};
use crate::rig::House;
use crate::service::refused;

#[tokio::test]
async fn a_history_has_every_step_and_one_proof_for_all_of_them() {
    let house = House::governed().await;
    house.define(&["pay.read", "other"]).await;
    let request = v1::RequestGrantRequest {
        options: Some(v1::CommandOptions { justification: "payroll run".to_owned(), ..Default::default() }),
        ..asking("billing", &["pay.read"])
    };
    let asked = house.scopes("rita").request_grant(request).await.unwrap().into_inner();
    house.scopes("root").approve_grant(crate::desk::approving(&asked)).await.unwrap();
    house.grant("somebody", &["other"]).await;
    for _ in 0..3 {
        house.check("billing", &["pay.read"]).await;
    }
    house.scopes("root").revoke_grant(revoking(&asked.id)).await.unwrap();
    let request =
        v1::GrantHistoryRequest { log: log(), client: "billing".to_owned(), scope: "pay.read".to_owned() };
    let history = house.scopes("ann").grant_history(request.clone()).await.unwrap().into_inner();
    let steps: Vec<_> = history.steps.iter().map(|step| step.what.as_str()).collect();
    assert_eq!(steps, ["define", "request", "approve", "first-use", "last-use", "revoke"]);
    let by: Vec<_> = history.steps.iter().map(|step| step.by.as_str()).collect();
    let expected =
        ["user:root", "user:rita", "user:root", "application:billing", "application:billing", "user:root"];
    assert_eq!(by, expected);
    assert_eq!(history.steps[1].justification, "payroll run");
    assert!(history.steps[1..].iter().all(|step| step.grant == asked.id));
    let entries: Vec<_> = history.steps.iter().map(|step| (step.index, &step.leaf[..])).collect();
    house.assert_proven_entries(&entries, history.proof, history.head);
    // Without `reveal` nobody is named.
    let blind = house.scopes_with("blind", "query:*").grant_history(request).await.unwrap().into_inner();
    assert_eq!(blind.steps.len(), 6);
    let bytes = blind.encode_to_vec();
    for hidden in ["rita", "root", "payroll run"] {
        assert!(!String::from_utf8_lossy(&bytes).contains(hidden), "{hidden}");
    }
    let nobody = v1::GrantHistoryRequest { log: log(), client: "nobody".to_owned(), ..Default::default() };
    let none = house.scopes("ann").grant_history(nobody).await.unwrap().into_inner();
    assert!(none.steps.is_empty() && none.proof.is_none());
    house.stop().await;
}

#[tokio::test]
async fn a_decision_is_explained_from_the_leaves_before_it() {
    let house = House::governed().await;
    house.define(&["pay.read"]).await;
    let granted = house.grant("billing", &["pay.read"]).await;
    let with = v1::CheckAccessRequest { subject: "alice".to_owned(), ..checking("billing", &["pay.read"]) };
    let allowed = house.check_as(with).await.unwrap();
    house.scopes("root").revoke_grant(revoking(&granted.id)).await.unwrap();
    let denied = house.check("billing", &["pay.read"]).await;
    let explain = |index| v1::ExplainDecisionRequest { log: log(), index };
    for (checked, reason) in [(allowed, "granted"), (denied, "grant-revoked")] {
        let why = house.scopes("ann").explain_decision(explain(checked.index)).await.unwrap().into_inner();
        assert_eq!((why.reason.as_str(), why.reason_again.as_str()), (reason, reason));
        assert_eq!((why.allowed, why.allowed_again), (checked.allowed, checked.allowed));
        assert_eq!(
            (why.client.as_str(), why.scopes, why.state_size),
            ("billing", texts(&["pay.read"]), checked.state_size)
        );
        assert_eq!(why.subject, if checked.allowed { "alice" } else { "" });
        assert_eq!((why.grants.len(), why.definitions.len()), (1, 1));
        let was = if checked.allowed { GrantStatus::Active } else { GrantStatus::Revoked };
        assert_eq!(why.grants[0].status(), was);
        let entries: Vec<_> = why.leaves.iter().map(|leaf| (leaf.index, &leaf.leaf[..])).collect();
        assert!(entries.contains(&(checked.index, &checked.leaf[..])) && entries.len() >= 4);
        house.assert_proven_entries(&entries, why.proof, why.head);
    }
    refused(house.scopes("ann").explain_decision(explain(0)).await, ErrorReason::NotADecision);
    refused(house.scopes("ann").explain_decision(explain(1_000_000)).await, ErrorReason::IndexBeyondTree);
    house.stop().await;
}

#[tokio::test]
async fn grants_and_scopes_come_in_pages_and_as_they_were() {
    let house = House::governed().await;
    house.define(&["a", "b", "c"]).await;
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(house.grant(&format!("client-{}", n % 2), &[["a", "b"][n % 2]]).await.id);
    }
    let size = house.leaves("audit").len() as u64;
    let then = house.engine.log("audit").unwrap();
    assert!(then.durable_size() >= size);
    ids.sort();
    let mut root = house.scopes("root");
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListGrantsRequest { log: log(), page_size: 3, page_token, ..Default::default() };
        let page = root.list_grants(request).await.unwrap().into_inner();
        found.extend(page.grants.into_iter().map(|grant| grant.grant));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        assert_eq!(found.len() % 3, 0);
    }
    assert_eq!(found, ids);
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListScopesRequest { log: log(), page_size: 2, page_token, ..Default::default() };
        let page = root.list_scopes(request).await.unwrap().into_inner();
        found.extend(page.scopes.into_iter().map(|scope| scope.scope));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["a", "b", "c"]);
    let list = || v1::ListGrantsRequest { log: log(), ..Default::default() };
    let count = |request: v1::ListGrantsRequest| {
        let mut root = house.scopes("root");
        async move { root.list_grants(request).await.unwrap().into_inner().grants.len() }
    };
    assert_eq!(count(v1::ListGrantsRequest { client: "client-1".to_owned(), ..list() }).await, 3);
    assert_eq!(count(v1::ListGrantsRequest { client: "nobody".to_owned(), ..list() }).await, 0);
    assert_eq!(count(v1::ListGrantsRequest { subject: "nobody".to_owned(), ..list() }).await, 0);
    assert_eq!(count(v1::ListGrantsRequest { scope: "a".to_owned(), ..list() }).await, 4);
    assert_eq!(count(v1::ListGrantsRequest { scope: "c".to_owned(), ..list() }).await, 0);
    assert_eq!(count(v1::ListGrantsRequest { status: GrantStatus::Pending.into(), ..list() }).await, 0);
    for token in ["x", "0", &"g".repeat(32)] {
        let request = v1::ListGrantsRequest { page_token: token.to_owned(), ..list() };
        refused(root.list_grants(request).await, ErrorReason::PageTokenInvalid);
    }
    // As it was at a size, and at a time.
    let first = house.leaves("audit").into_iter().find(|leaf| leaf.index == size - 1).unwrap();
    let time = first.frame.unwrap().log_time;
    let revoked = root.revoke_grant(revoking(&ids[0])).await.unwrap().into_inner();
    for at in
        [At::Size(size), At::Time(graven_proto::convert::event::timestamp(time)), At::Size(revoked.index)]
    {
        let request = v1::ListGrantsRequest { at: Some(v1::StatePoint { at: Some(at) }), ..list() };
        let then = root.list_grants(request).await.unwrap().into_inner();
        assert!(then.grants.iter().all(|grant| grant.status() == GrantStatus::Active), "{at:?}");
        assert_eq!(then.grants.len(), 7);
    }
    assert_eq!(count(v1::ListGrantsRequest { status: GrantStatus::Revoked.into(), ..list() }).await, 1);
    let beyond = Some(v1::StatePoint { at: Some(At::Size(u64::MAX)) });
    refused(
        root.list_grants(v1::ListGrantsRequest { at: beyond, ..list() }).await,
        ErrorReason::SizeBeyondTree,
    );
    house.stop().await;
}

#[tokio::test]
async fn what_nobody_uses_is_found() {
    let house = House::governed().await;
    house.define(&["a", "b"]).await;
    let granted = house.grant("billing", &["a", "b"]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let since = crate::desk::in_seconds(0);
    house.check("billing", &["a"]).await;
    let request = v1::ListUnusedRequest { log: log(), since };
    let unused = house.scopes("root").list_unused(request).await.unwrap().into_inner();
    assert_eq!((unused.grants.len(), unused.truncated), (1, false));
    assert_eq!(unused.grants[0].grant, granted.id);
    let scopes: Vec<_> = unused.grants[0].scopes.iter().map(|one| one.scope.as_str()).collect();
    assert_eq!(scopes, ["b"]);
    let request = v1::ListUnusedRequest { log: log(), since: None };
    refused(house.scopes("root").list_unused(request).await, ErrorReason::FieldRequired);
    house.stop().await;
}

#[tokio::test]
async fn every_reading_is_in_the_access_log_and_names_nobody() {
    let house = House::governed().await;
    house.define(&["pay.read"]).await;
    let request = v1::RequestGrantRequest { subject: "alice".to_owned(), ..asking("billing", &["pay.read"]) };
    house.scopes("rita").request_grant(request).await.unwrap();
    let checked = house.check("billing", &["pay.read"]).await;
    let before = house.traces().len();
    let mut ann = house.scopes("ann");
    ann.list_scopes(v1::ListScopesRequest { log: log(), ..Default::default() }).await.unwrap();
    let (client, subject) = ("billing".to_owned(), "alice".to_owned());
    let request = v1::ListGrantsRequest { log: log(), client: client.clone(), subject, ..Default::default() };
    ann.list_grants(request).await.unwrap();
    let request = v1::GrantHistoryRequest { log: log(), client, ..Default::default() };
    ann.grant_history(request).await.unwrap();
    ann.list_unused(v1::ListUnusedRequest { log: log(), since: crate::desk::in_seconds(0) }).await.unwrap();
    ann.list_reviews(v1::ListReviewsRequest { log: log() }).await.unwrap();
    ann.explain_decision(v1::ExplainDecisionRequest { log: log(), index: checked.index }).await.unwrap();
    let traces = house.traces_since(before);
    let words: Vec<_> = traces.iter().map(|trace| trace.action.as_str()).collect();
    let expected = ["list", "grants", "history", "unused", "reviews", "explain"];
    assert_eq!(words, expected.map(|word| format!("graven.scopes.{word}")));
    assert!(traces.iter().all(|trace| trace.actor == "ann" && trace.says("log") == "audit"));
    let labels: Vec<_> = traces.iter().flat_map(|trace| trace.labels.values()).collect();
    assert!(!labels.iter().any(|label| label.contains("alice") || label.contains("billing")), "{labels:?}");
    assert_eq!(traces[1].says("subject").len(), 32);
    house.stop().await;
}
