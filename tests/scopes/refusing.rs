//! What may not be: each attempt is refused, and each is in the log.

use graven_proto::v1::{self, ErrorReason};

use crate::desk::{approving, asking, checking, log, not_counting, shown, texts};
use crate::rig::House;
use crate::service::refused;

/// The leaf says it as the answer does.
fn assert_recorded(house: &House, why: &str, index: u64) {
    let (_, command) = house.commands().into_iter().find(|(at, _)| *at == index).unwrap();
    assert_eq!(command.refused.unwrap().as_str(), why);
}

#[tokio::test]
async fn nobody_gets_what_they_ask_for_themselves_and_the_attempt_is_in_the_log() {
    let house = House::governed().await;
    house.define(&["pay.read"]).await;
    // As the application, and under its bare name; as the person.
    for name in ["application:billing", "billing", "service:billing"] {
        let answer = house.scopes(name).request_grant(asking("billing", &["pay.read"])).await;
        let (why, index) = not_counting(answer);
        assert_eq!(why, "self-grant", "{name}");
        assert_recorded(&house, &why, index);
    }
    let for_alice =
        v1::RequestGrantRequest { subject: "alice".to_owned(), ..asking("billing", &["pay.read"]) };
    let (why, index) = not_counting(house.scopes("alice").request_grant(for_alice.clone()).await);
    assert_eq!(why, "self-grant");
    assert_recorded(&house, &why, index);
    assert!(house.grants().await.is_empty());

    // Nor approves what they asked for, or are to get.
    let asked = house.scopes("root").request_grant(for_alice.clone()).await.unwrap().into_inner();
    let (why, index) = not_counting(house.scopes("root").approve_grant(approving(&asked)).await);
    assert_eq!(why, "self-approval");
    assert_recorded(&house, &why, index);
    let appointing = |who: &str| v1::AppointAdministratorRequest {
        log: log(),
        administrator: who.to_owned(),
        ..Default::default()
    };
    house.scopes("root").appoint_administrator(appointing("alice")).await.unwrap();
    let (why, index) = not_counting(house.scopes("alice").approve_grant(approving(&asked)).await);
    assert_eq!(why, "beneficiary-approves");
    assert_recorded(&house, &why, index);
    let (why, _) = not_counting(house.scopes("nobody").approve_grant(approving(&asked)).await);
    assert!(["approvers-only", "administrators-only"].contains(&why.as_str()), "{why}");
    assert!(!house.check("billing", &["pay.read"]).await.allowed);
    house.stop().await;
}

#[tokio::test]
async fn who_is_no_administrator_changes_nothing() {
    let house = House::governed().await;
    let before = house.state().await.scopes;
    let mut mallory = house.scopes("mallory");
    let scope = || "pay.read".to_owned();
    let token = Some(v1::Token { id: "x".to_owned(), issuer: "y".to_owned(), ..Default::default() });
    let answers = [
        mallory
            .define_scope(v1::DefineScopeRequest { log: log(), scope: scope(), ..Default::default() })
            .await
            .map(drop),
        mallory
            .rotate_scope(v1::RotateScopeRequest { log: log(), scope: scope(), ..Default::default() })
            .await
            .map(drop),
        mallory
            .revoke_token(v1::RevokeTokenRequest { log: log(), token, ..Default::default() })
            .await
            .map(drop),
        mallory
            .appoint_administrator(v1::AppointAdministratorRequest {
                log: log(),
                administrator: "mallory".to_owned(),
                ..Default::default()
            })
            .await
            .map(drop),
        mallory
            .dismiss_administrator(v1::DismissAdministratorRequest {
                log: log(),
                administrator: "root".to_owned(),
                ..Default::default()
            })
            .await
            .map(drop),
        mallory.open_review(v1::OpenReviewRequest { log: log(), ..Default::default() }).await.map(drop),
    ];
    for (n, answer) in answers.into_iter().enumerate() {
        let (why, index) = not_counting(answer);
        assert!(
            ["administrators-only", "approvers-only", "self-grant", "scope-unknown"].contains(&why.as_str()),
            "{n}: {why}"
        );
        assert_recorded(&house, &why, index);
    }
    assert_eq!(house.state().await.scopes, before);
    house.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_field_and_is_not_in_the_log() {
    let house = House::governed().await;
    house.define(&["pay.read"]).await;
    let before = house.leaves("audit").len();
    let mut root = house.scopes("root");
    let define =
        |scope: &str| v1::DefineScopeRequest { log: log(), scope: scope.to_owned(), ..Default::default() };
    refused(root.define_scope(define("")).await, ErrorReason::FieldRequired);
    refused(root.define_scope(define("two words")).await, ErrorReason::FieldInvalid);
    refused(root.define_scope(define(&"x".repeat(257))).await, ErrorReason::FieldInvalid);
    refused(
        root.define_scope(v1::DefineScopeRequest { approvals: 17, ..define("a") }).await,
        ErrorReason::FieldInvalid,
    );
    refused(
        root.define_scope(v1::DefineScopeRequest { tier: 9, ..define("a") }).await,
        ErrorReason::EnumValueUnknown,
    );
    refused(
        root.define_scope(v1::DefineScopeRequest { recording: -1, ..define("a") }).await,
        ErrorReason::EnumValueUnknown,
    );
    let half = Some(prost_types::Duration { seconds: 1, nanos: 1 });
    refused(
        root.define_scope(v1::DefineScopeRequest { longest: half, ..define("a") }).await,
        ErrorReason::FieldInvalid,
    );
    refused(root.request_grant(asking("", &["pay.read"])).await, ErrorReason::FieldRequired);
    refused(root.request_grant(asking("billing", &[])).await, ErrorReason::FieldRequired);
    refused(
        root.request_grant(v1::RequestGrantRequest { scopes: texts(&["a"; 65]), ..asking("b", &[]) }).await,
        ErrorReason::FieldInvalid,
    );
    refused(
        root.request_grant(v1::RequestGrantRequest { resource: "x#y".to_owned(), ..asking("b", &["a"]) })
            .await,
        ErrorReason::FieldInvalid,
    );
    let long = Some(v1::CommandOptions { justification: "x".repeat(1025), ..Default::default() });
    refused(
        root.request_grant(v1::RequestGrantRequest { options: long, ..asking("b", &["a"]) }).await,
        ErrorReason::FieldInvalid,
    );
    for wrong in ["xyz", "ABCDEFABCDEFABCDEFABCDEFABCDEFAB", "+bcdefabcdefabcdefabcdefabcdefab"] {
        let request = v1::ApproveGrantRequest { log: log(), grant: wrong.to_owned(), ..Default::default() };
        refused(root.approve_grant(request).await, ErrorReason::FieldInvalid);
    }
    let unsaid = v1::AttestItemRequest { log: log(), ..Default::default() };
    refused(root.attest_item(unsaid).await, ErrorReason::FieldRequired);
    refused(house.check_as(checking("", &["a"])).await.map(tonic::Response::new), ErrorReason::FieldRequired);
    let odd = v1::CheckAccessRequest { action: "made.up".to_owned(), ..checking("b", &["a"]) };
    refused(house.check_as(odd).await.map(tonic::Response::new), ErrorReason::FieldInvalid);
    let nameless = v1::CheckAccessRequest { token: shown("", &[], 1), ..checking("b", &["a"]) };
    refused(house.check_as(nameless).await.map(tonic::Response::new), ErrorReason::FieldRequired);
    let many = v1::CheckAccessRequest { token: shown("j", &["a"; 257], 1), ..checking("b", &["a"]) };
    refused(house.check_as(many).await.map(tonic::Response::new), ErrorReason::FieldInvalid);
    assert_eq!(house.leaves("audit").len(), before);
    house.stop().await;
}

#[tokio::test]
async fn a_repeat_of_a_command_is_recognised_and_another_one_under_its_key_is_refused() {
    let house = House::governed().await;
    house.define(&["pay.read"]).await;
    let keyed = |client: &str| {
        let options = v1::CommandOptions { idempotency_key: "one".to_owned(), ..Default::default() };
        v1::RequestGrantRequest { options: Some(options), ..asking(client, &["pay.read"]) }
    };
    let first = house.scopes("rita").request_grant(keyed("billing")).await.unwrap().into_inner();
    let again = house.scopes("rita").request_grant(keyed("billing")).await.unwrap().into_inner();
    assert_eq!((again.index, again.id, again.duplicate), (first.index, first.id, true));
    refused(house.scopes("rita").request_grant(keyed("other")).await, ErrorReason::IdempotencyKeyReused);
    assert_eq!(house.grants().await.len(), 1);
    // A refused one stays refused, and is not there twice.
    let own = || {
        let options = v1::CommandOptions { idempotency_key: "two".to_owned(), ..Default::default() };
        v1::RequestGrantRequest { options: Some(options), ..asking("billing", &["pay.read"]) }
    };
    let one = not_counting(house.scopes("application:billing").request_grant(own()).await);
    let two = not_counting(house.scopes("application:billing").request_grant(own()).await);
    assert_eq!(one, two);
    house.stop().await;
}
