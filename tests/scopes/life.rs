//! The whole life of a grant, from its request to its end, and what is left of it after a restart.

use graven_proto::v1::{self, GrantStatus};

use crate::desk::{
    approving, asking, checking, decision, in_seconds, log, not_counting, revoking, shown, texts,
};
use crate::rig::House;

#[tokio::test]
async fn a_grant_is_asked_for_approved_used_narrowed_renewed_and_revoked() {
    let house = House::governed().await;
    house.define(&["pay.read", "pay.write"]).await;
    let request = v1::RequestGrantRequest {
        expires: in_seconds(3600),
        options: Some(v1::CommandOptions { justification: "payroll run".to_owned(), ..Default::default() }),
        ..asking("billing", &["pay.read", "pay.write"])
    };
    let asked = house.scopes("rita").request_grant(request).await.unwrap().into_inner();
    assert_eq!((asked.id.len(), asked.duplicate), (32, false));
    let denied = house.check("billing", &["pay.read"]).await;
    assert_eq!((denied.allowed, denied.reason.as_str()), (false, "grant-pending"));
    assert_eq!(denied.missing, ["pay.read"]);

    let approved = house.scopes("root").approve_grant(approving(&asked)).await.unwrap().into_inner();
    assert_eq!((approved.id.as_str(), approved.revision), (asked.id.as_str(), asked.revision + 1));
    let request = v1::CheckAccessRequest {
        wait: v1::Wait::Published.into(),
        action: "data.read".to_owned(),
        ..checking("billing", &["pay.read"])
    };
    let allowed = house.check_as(request).await.unwrap();
    assert_eq!((allowed.allowed, allowed.reason.as_str(), allowed.aggregated), (true, "granted", false));
    assert_eq!(allowed.grants, std::slice::from_ref(&asked.id));
    assert!(!allowed.proof.is_empty() && allowed.state_size <= allowed.index);
    let facts = decision(&allowed.leaf);
    assert_eq!((facts.action.as_str(), facts.reason.as_str()), ("data.read", "granted"));

    let grants = house.grants().await;
    let grant = &grants[0];
    assert_eq!((grants.len(), grant.status()), (1, GrantStatus::Active));
    assert_eq!((grant.client.as_str(), grant.requester.as_str()), ("billing", "user:rita"));
    assert_eq!(grant.approvers, ["user:root"]);
    let used = grant.scopes.iter().find(|one| one.scope == "pay.read").unwrap();
    assert_eq!((used.uses, used.last_used_index), (1, allowed.index));

    let narrowing = v1::NarrowGrantRequest {
        log: log(),
        grant: asked.id.clone(),
        revision: approved.revision,
        scopes: texts(&["pay.read"]),
        ..Default::default()
    };
    let narrowed = house.scopes("root").narrow_grant(narrowing.clone()).await.unwrap().into_inner();
    let (why, _) = not_counting(house.scopes("root").narrow_grant(narrowing).await);
    assert_eq!(why, "stale-revision");
    assert_eq!(house.check("billing", &["pay.write"]).await.reason, "no-grant");
    let renewing = v1::RenewGrantRequest {
        log: log(),
        grant: asked.id.clone(),
        revision: narrowed.revision,
        expires: in_seconds(7200),
        ..Default::default()
    };
    let renewed = house.scopes("ann").renew_grant(renewing).await.unwrap().into_inner();
    assert_eq!(renewed.revision, narrowed.revision + 1);
    assert!(house.check("billing", &["pay.read"]).await.allowed);

    let before = house.leaves("audit").len() as u64;
    let revoked = house.scopes("rita").revoke_grant(revoking(&asked.id)).await.unwrap().into_inner();
    assert_eq!(revoked.index, before);
    assert_eq!(house.check("billing", &["pay.read"]).await.reason, "grant-revoked");
    assert_eq!(house.grants().await[0].status(), GrantStatus::Revoked);

    // It is all there again, and it was as it was.
    let state = house.state().await.scopes;
    let house = house.restart().await;
    assert_eq!(house.state().await.scopes, state);
    assert_eq!(house.grants().await[0].status(), GrantStatus::Revoked);
    assert_eq!(house.check("billing", &["pay.read"]).await.reason, "grant-revoked");
    let request = v1::ListGrantsRequest {
        log: log(),
        at: Some(v1::StatePoint { at: Some(v1::state_point::At::Size(before)) }),
        ..Default::default()
    };
    let then = house.scopes("root").list_grants(request).await.unwrap().into_inner();
    assert_eq!((then.state_size, then.grants[0].status()), (before, GrantStatus::Active));
    house.stop().await;
}

#[tokio::test]
async fn a_rotated_scopes_old_token_is_refused_and_a_new_one_is_not() {
    let house = House::governed().await;
    house.define(&["pay.read"]).await;
    house.grant("billing", &["pay.read"]).await;
    let with = |age| v1::CheckAccessRequest {
        token: shown("jti-1", &["pay.read"], age),
        ..checking("billing", &["pay.read"])
    };
    assert!(house.check_as(with(60)).await.unwrap().allowed);
    let request = v1::RotateScopeRequest { log: log(), scope: "pay.read".to_owned(), ..Default::default() };
    house.scopes("root").rotate_scope(request).await.unwrap();
    assert_eq!(house.check_as(with(60)).await.unwrap().reason, "token-rotated");
    assert_eq!(house.check_as(with(-2)).await.unwrap().reason, "granted", "issued after it");
    let mut ageless = with(60);
    ageless.token.as_mut().unwrap().issued = None;
    assert_eq!(house.check_as(ageless).await.unwrap().reason, "token-age-unknown");
    house.stop().await;
}

#[tokio::test]
async fn a_revoked_token_is_worth_nothing() {
    let house = House::governed().await;
    house.define(&["pay.read"]).await;
    house.grant("billing", &["pay.read"]).await;
    let with = |id| v1::CheckAccessRequest {
        token: shown(id, &["pay.read"], 60),
        ..checking("billing", &["pay.read"])
    };
    assert!(house.check_as(with("jti-1")).await.unwrap().allowed);
    let token = v1::Token {
        id: "jti-1".to_owned(),
        issuer: "https://id.example.com".to_owned(),
        ..Default::default()
    };
    let request = v1::RevokeTokenRequest { log: log(), token: Some(token), ..Default::default() };
    house.scopes("root").revoke_token(request).await.unwrap();
    assert_eq!(house.check_as(with("jti-1")).await.unwrap().reason, "token-revoked");
    assert!(house.check_as(with("jti-2")).await.unwrap().allowed);
    // What a token does not have it does not open.
    let without = v1::CheckAccessRequest {
        token: shown("jti-2", &["other"], 60),
        ..checking("billing", &["pay.read"])
    };
    assert_eq!(house.check_as(without).await.unwrap().reason, "scope-not-presented");
    house.stop().await;
}

#[tokio::test]
async fn a_review_keeps_what_is_attested_and_ends_the_rest() {
    let house = House::governed().await;
    house.define(&["pay.read"]).await;
    let [kept, dropped, forgotten] = {
        let mut grants = Vec::new();
        for client in ["a", "b", "c"] {
            grants.push(house.grant(client, &["pay.read"]).await.id);
        }
        <[String; 3]>::try_from(grants).unwrap()
    };
    let opening = v1::OpenReviewRequest { log: log(), due: in_seconds(3600), ..Default::default() };
    let review = house.scopes("root").open_review(opening).await.unwrap().into_inner().id;
    let attest = |grant: &str, verdict: v1::Verdict| v1::AttestItemRequest {
        log: log(),
        review: review.clone(),
        grant: grant.to_owned(),
        verdict: verdict.into(),
        ..Default::default()
    };
    // Whoever asked for it does not attest it.
    let (why, _) = not_counting(house.scopes("rita").attest_item(attest(&kept, v1::Verdict::Keep)).await);
    assert!(["approvers-only", "administrators-only", "self-approval"].contains(&why.as_str()), "{why}");
    house.scopes("ann").attest_item(attest(&kept, v1::Verdict::Keep)).await.unwrap();
    house.scopes("ann").attest_item(attest(&dropped, v1::Verdict::Revoke)).await.unwrap();
    assert_eq!(house.check("b", &["pay.read"]).await.reason, "grant-revoked", "at once");
    let list = || v1::ListReviewsRequest { log: log() };
    let shown = house.scopes("root").list_reviews(list()).await.unwrap().into_inner().reviews;
    assert_eq!(shown[0].open, std::slice::from_ref(&forgotten));
    let closing = v1::CloseReviewRequest { log: log(), review: review.clone(), ..Default::default() };
    house.scopes("root").close_review(closing).await.unwrap();
    assert!(house.check("a", &["pay.read"]).await.allowed);
    assert_eq!(house.check("c", &["pay.read"]).await.reason, "grant-revoked");
    let shown = house.scopes("root").list_reviews(list()).await.unwrap().into_inner().reviews;
    assert!(shown[0].closed && shown[0].kept == [kept], "{shown:?}");
    house.stop().await;
}
