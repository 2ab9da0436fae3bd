//! What each mapping decides, said once more by hand.

use serde_json::{Value, json};

use super::super::{Format, map};
use crate::model::{Event, Outcome, Party};

fn mapped(format: Format, record: &Value) -> Event {
    map(format, &record.to_string()).unwrap()
}

fn subjects(parties: &[Party]) -> Vec<String> {
    parties.iter().map(Party::subject).collect()
}

fn targets(event: &Event) -> Vec<(&str, &str)> {
    event.targets.iter().map(|target| (target.kind.as_str(), target.id.as_str())).collect()
}

#[test]
fn an_account_is_the_same_subject_as_actor_and_as_target() {
    let by = |name: &str| json!({"type": "IAMUser", "arn": format!("arn:aws:iam::1:user/{name}"), "accountId": "1"});
    let made = mapped(
        Format::CloudTrail,
        &json!({"eventName": "CreateUser", "eventSource": "iam.amazonaws.com", "userIdentity": by("root/bob"),
            "recipientAccountId": "1", "requestParameters": {"userName": "alice", "path": "/staff/"}}),
    );
    let acts =
        mapped(Format::CloudTrail, &json!({"eventName": "GetUser", "userIdentity": by("staff/alice")}));
    assert_eq!(targets(&made), [("user", acts.actor.id.as_str())]);
    assert_eq!(made.actor.subject(), "user:arn:aws:iam::1:user/bob");

    let okta = |actor: &str, target: &str| json!({"eventType": "a", "actor": {"type": "User", "id": actor}, "target": [{"type": "User", "id": target}]});
    let (one, other) =
        (mapped(Format::Okta, &okta("00u1", "00u2")), mapped(Format::Okta, &okta("00u2", "00u1")));
    assert_eq!(targets(&one), [("user", other.actor.id.as_str())]);

    let bound = mapped(
        Format::Kubernetes,
        &json!({"verb": "create", "user": {"username": "alice"}, "objectRef": {"resource": "rolebindings", "name": "r"},
            "requestObject": {"subjects": [{"kind": "User", "name": "bob"}]}}),
    );
    assert_eq!(targets(&bound), [("rolebindings", "r"), ("user", "bob")]);
}

#[test]
fn aws_identities_become_who_acts_and_with_whose_rights() {
    let issuer = json!({"arn": "arn:aws:iam::1:role/x/ops", "userName": "ops"});
    let center = json!({"arn": "arn:aws:iam::1:role/AWSReservedSSO_A_1", "userName": "AWSReservedSSO_A_1"});
    let session = "arn:aws:sts::1:assumed-role/ops/run-7";
    let of_center = "arn:aws:sts::1:assumed-role/AWSReservedSSO_A_1/alice@example.com";
    for (identity, actor, behind) in [
        (
            json!({"type": "AssumedRole", "arn": session, "sessionContext": {"sessionIssuer": issuer}}),
            "role:arn:aws:sts::1:assumed-role/ops/run-7",
            vec!["role:arn:aws:iam::1:role/ops"],
        ),
        (
            json!({"type": "AssumedRole", "arn": session, "sessionContext": {"sourceIdentity": "bob", "sessionIssuer": issuer}}),
            "user:bob",
            vec!["role:arn:aws:sts::1:assumed-role/ops/run-7", "role:arn:aws:iam::1:role/ops"],
        ),
        (
            json!({"type": "AssumedRole", "arn": of_center, "sessionContext": {"sessionIssuer": center}}),
            "user:alice@example.com",
            vec![&*format!("role:{of_center}"), "role:arn:aws:iam::1:role/AWSReservedSSO_A_1"],
        ),
        (json!({"type": "Root", "arn": "arn:aws:iam::1:root"}), "user:arn:aws:iam::1:root", vec![]),
        (
            json!({"type": "AWSService", "invokedBy": "ec2.amazonaws.com"}),
            "service:ec2.amazonaws.com",
            vec![],
        ),
        (json!({"accountId": "1", "invokedBy": "ec2.amazonaws.com"}), "service:ec2.amazonaws.com", vec![]),
        (
            json!({"type": "AWSAccount", "accountId": "2", "principalId": "AIDA2"}),
            "account:AIDA2",
            vec!["account:2"],
        ),
        (json!({"type": "AWSAccount", "accountId": "ANONYMOUS_PRINCIPAL"}), "anonymous:unknown", vec![]),
        (
            json!({"type": "IAMUser", "userName": "HIDDEN_DUE_TO_SECURITY_REASONS", "accountId": "1"}),
            "account:1",
            vec![],
        ),
        (
            json!({"type": "IAMUser", "userName": "eve", "accountId": "1"}),
            "user:arn:aws:iam::1:user/eve",
            vec![],
        ),
        (json!({"type": "IdentityCenterUser", "onBehalfOf": {"userId": "u-1"}}), "user:u-1", vec![]),
        (json!({}), "anonymous:unknown", vec![]),
    ] {
        let event = mapped(Format::CloudTrail, &json!({"eventName": "A", "userIdentity": identity}));
        assert_eq!(
            (event.actor.subject(), subjects(&event.on_behalf_of)),
            (actor.to_owned(), behind.into_iter().map(str::to_owned).collect())
        );
    }
    let by_itself =
        json!({"eventName": "RotateKey", "eventType": "AwsServiceEvent", "eventSource": "kms.amazonaws.com"});
    assert_eq!(mapped(Format::CloudTrail, &by_itself).actor.subject(), "system:kms.amazonaws.com");
}

#[test]
fn outcomes_are_told_apart() {
    use Outcome::{Denied, Failure, Success, Unknown};
    let k8s = |more: Value| {
        let mut record = json!({"verb": "get", "user": {"username": "a"}, "objectRef": {"resource": "pods"}});
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record
    };
    for (format, record, outcome) in [
        (Format::CloudTrail, json!({"eventName": "A"}), Success),
        (Format::CloudTrail, json!({"eventName": "A", "errorCode": "AccessDeniedException"}), Denied),
        (Format::CloudTrail, json!({"eventName": "A", "errorCode": "Client.UnauthorizedOperation"}), Denied),
        (Format::CloudTrail, json!({"eventName": "A", "errorCode": "NotAuthorizedException"}), Denied),
        (Format::CloudTrail, json!({"eventName": "A", "errorCode": "ThrottlingException"}), Failure),
        (
            Format::CloudTrail,
            json!({"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Failure"}}),
            Failure,
        ),
        (
            Format::CloudTrail,
            json!({"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Success"}}),
            Success,
        ),
        (Format::CloudTrail, json!({"eventName": "A", "errorMessage": "Failed authentication"}), Failure),
        (Format::Okta, json!({"eventType": "a", "outcome": {"result": "ALLOW"}}), Success),
        (Format::Okta, json!({"eventType": "a", "outcome": {"result": "CHALLENGE"}}), Success),
        (Format::Okta, json!({"eventType": "a", "outcome": {"result": "FAILURE"}}), Failure),
        (Format::Okta, json!({"eventType": "a", "outcome": {"result": "NEW_WORD"}}), Failure),
        (Format::Okta, json!({"eventType": "a", "outcome": {"result": "DENY"}}), Denied),
        (Format::Kubernetes, k8s(json!({"responseStatus": {"code": 200}})), Success),
        (Format::Kubernetes, k8s(json!({"responseStatus": {"code": 401}})), Denied),
        (Format::Kubernetes, k8s(json!({"responseStatus": {"code": 403}})), Denied),
        (Format::Kubernetes, k8s(json!({"responseStatus": {"code": 404}})), Failure),
        (
            Format::Kubernetes,
            k8s(json!({"annotations": {"authorization.k8s.io/decision": "forbid"}})),
            Denied,
        ),
        (Format::Kubernetes, k8s(json!({"stage": "Panic"})), Failure),
        (Format::Kubernetes, k8s(json!({"stage": "RequestReceived"})), Unknown),
        (Format::Auth0, json!({"type": "s"}), Success),
        (Format::Auth0, json!({"type": "fp"}), Failure),
        (Format::Auth0, json!({"type": "fu"}), Failure),
        (Format::Auth0, json!({"type": "ciba_exchange_failed"}), Failure),
        (Format::Auth0, json!({"type": "limit_wc"}), Denied),
        (Format::Auth0, json!({"type": "sapi", "details": {"response": {"statusCode": 200}}}), Success),
        (Format::Auth0, json!({"type": "fapi", "details": {"response": {"statusCode": 403}}}), Denied),
        (Format::GitHub, json!({"action": "repo.create"}), Success),
        (Format::GitHub, json!({"action": "user.failed_login"}), Failure),
        (Format::GitHub, json!({"action": "protected_branch.rejected_ref_update"}), Denied),
        (Format::Teleport, json!({"event": "user.login", "success": true}), Success),
        (Format::Teleport, json!({"event": "user.login", "success": false}), Failure),
        (Format::Teleport, json!({"event": "auth", "code": "T3007W"}), Failure),
        (Format::Teleport, json!({"event": "session.rejected"}), Denied),
        (Format::Ocsf, json!({"class_uid": 3002, "activity_id": 1, "status_id": 1}), Success),
        (Format::Ocsf, json!({"class_uid": 3002, "activity_id": 1, "status_id": 2}), Failure),
        (Format::Ocsf, json!({"class_uid": 3002, "activity_id": 1, "status_id": 0}), Unknown),
        (
            Format::Ocsf,
            json!({"class_uid": 3002, "activity_id": 1, "status_id": 0, "status_code": "403"}),
            Denied,
        ),
        (Format::Ocsf, json!({"class_uid": 6003, "activity_id": 1, "status_code": "403"}), Denied),
        (Format::Ocsf, json!({"class_uid": 6003, "activity_id": 1, "disposition_id": 2}), Denied),
    ] {
        assert_eq!(mapped(format, &record).outcome, outcome, "{format} {record}");
    }
}

#[test]
fn kubernetes_actions_are_resources_and_verbs() {
    let user = json!({"username": "system:anonymous"});
    for (object, verb, action, target) in [
        (
            json!({"resource": "pods", "namespace": "a", "name": "b"}),
            json!("get"),
            "pods.get",
            ("pods", "a/b"),
        ),
        (
            json!({"resource": "pods", "subresource": "exec", "namespace": "a", "name": "b"}),
            json!("create"),
            "pods/exec.create",
            ("pods", "a/b"),
        ),
        (json!({"resource": "secrets", "namespace": "a"}), json!("list"), "secrets.list", ("secrets", "a")),
        (json!({"resource": "nodes"}), json!("list"), "nodes.list", ("nodes", "*")),
        (
            json!({"resource": "users", "name": "carol"}),
            json!("impersonate"),
            "users.impersonate",
            ("user", "carol"),
        ),
        (json!({"resource": "pods"}), Value::Null, "pods.unknown", ("pods", "*")),
        (Value::Null, json!("get"), "nonresource.get", ("path", "/healthz")),
    ] {
        let record =
            json!({"objectRef": object, "verb": verb, "user": user, "requestURI": "/healthz?secret=1"});
        let event = mapped(Format::Kubernetes, &record);
        assert_eq!((event.action.as_str(), targets(&event)), (action, vec![target]));
        assert_eq!(event.actor.kind, "anonymous");
    }
}

#[test]
fn github_times_are_milliseconds_and_tokens_are_hashes() {
    let event = mapped(
        Format::GitHub,
        &json!({"action": "org.add_member", "created_at": 1_621_305_118_553_u64, "actor": "a", "user": "b",
            "hashed_token": "h=", "org": "acme"}),
    );
    assert_eq!(event.time.unwrap().to_string(), "2021-05-18T02:31:58.553Z");
    assert_eq!(event.token.as_ref().and_then(|token| token.id.as_deref()), Some("h="));
    assert_eq!(targets(&event), [("user", "b"), ("organization", "acme")]);
}

#[test]
fn what_is_too_much_is_cut_at_the_limits() {
    let people: Vec<_> = (0..100).map(|n| json!({"type": "User", "id": format!("u{n}")})).collect();
    let event = mapped(
        Format::Okta,
        &json!({"eventType": "a", "actor": {"id": "é".repeat(2_000)}, "target": people}),
    );
    assert_eq!(event.targets.len(), 24);
    assert!(event.actor.id.len() <= 1_024 && event.actor.id.ends_with('…'));
}
