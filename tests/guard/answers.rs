//! Whatever the log answers.

use graven_event::{Outcome, Ref, Time, Word};
use graven_guard::GuardOptions;
use graven_proto::v1::CheckAccessResponse;
use tonic::{Code, Status};

use crate::rig::{DECIDED, Desk, Log, alice, allowed, denied, header, leaf, request};

#[tokio::test]
async fn a_handler_runs_once_it_is_recorded_and_knows_what_allows_it() {
    let (log, desk) = {
        let log = Log::allowing();
        (log.clone(), Desk::new(log))
    };
    let answer = desk.http("GET", "/documents/7").await;
    assert_eq!((answer.status().as_u16(), answer.body().as_str()), (200, "done"));
    assert_eq!((desk.runs(), log.asked().len()), (1, 1));

    let seen = desk.seen().remove(0).unwrap();
    assert_eq!((seen.index(), seen.state_size()), (Some(10), 10));
    assert_eq!(seen.grants(), [Ref([7; 16])]);
    assert_eq!(seen.caller(), &alice());
    assert_eq!(seen.decided_at(), Time::from_seconds(DECIDED));
    assert_eq!(seen.leaf_hash(), Some(graven_merkle::leaf_hash(&leaf(&log.asked()[0], 10, |_, _| {}))));

    let asked = &log.asked()[0];
    assert_eq!(
        (asked.log.as_str(), asked.client.as_str(), asked.subject.as_str()),
        ("who", "billing", "alice")
    );
    assert_eq!(
        (asked.action.as_str(), asked.scopes.as_slice()),
        ("data.read", &["documents:read".to_owned()][..])
    );
}

#[tokio::test]
async fn each_request_has_a_decision_of_its_own() {
    let (log, desk) = {
        let log = Log::allowing();
        (log.clone(), Desk::new(log))
    };
    for method in ["GET", "GET", "PUT", "DELETE", "GET"] {
        assert_eq!(desk.http(method, "/documents/7").await.status(), 200);
    }
    let indices: Vec<_> = desk.seen().iter().map(|seen| seen.as_ref().unwrap().index().unwrap()).collect();
    assert_eq!((desk.runs(), log.asked().len(), indices), (5, 5, (10..15).collect()));
}

#[tokio::test]
async fn what_is_denied_does_not_run_and_says_where_that_stands() {
    let desk = Desk::new(Log::answering(|asked, _| Some(Ok(denied(asked, "grant-revoked", 77)))));
    let answer = desk.http("GET", "/documents/7").await;
    assert_eq!(answer.status(), 403);
    assert_eq!((header(&answer, "graven-reason"), header(&answer, "graven-index")), ("grant-revoked", "77"));
    assert_eq!(
        header(&answer, "www-authenticate"),
        "Bearer error=\"insufficient_scope\", scope=\"documents:read\""
    );

    let status = desk.grpc("GET", "/documents/7").await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("grant-revoked"));
    assert_eq!(status.metadata().get("graven-reason").unwrap(), "grant-revoked");
    assert_eq!(status.metadata().get("graven-index").unwrap(), "77");
    assert_eq!(desk.runs(), 0);
}

#[tokio::test]
async fn a_log_that_fails_in_whatever_way_lets_nothing_pass() {
    for code in (1..=16).map(Code::from_i32) {
        let desk = Desk::new(Log::answering(move |_, _| Some(Err(Status::new(code, "secret-canary")))));
        let answer = desk.http("GET", "/documents/7").await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "graven-reason")),
            (503, "unavailable"),
            "{code:?}"
        );
        assert_eq!(header(&answer, "retry-after"), "1");
        let status = desk.grpc("GET", "/documents/7").await;
        assert_eq!(status.code(), Code::Unavailable, "{code:?}");
        assert!(!format!("{answer:?}{status:?}").contains("secret-canary"));
        assert_eq!(desk.runs(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_hangs_lets_nothing_pass() {
    let desk = Desk::new(Log::answering(|_, _| None));
    let begun = tokio::time::Instant::now();
    assert_eq!(desk.grpc("GET", "/documents/7").await.code(), Code::Unavailable);
    assert_eq!(begun.elapsed(), GuardOptions::default().patience);
    assert_eq!(desk.http("GET", "/documents/7").await.status(), 503);
    assert_eq!(desk.runs(), 0);
}

#[tokio::test]
async fn what_will_be_recorded_later_passes_only_where_that_is_wanted() {
    let later = || {
        Log::answering(|asked, index| {
            let aggregated = CheckAccessResponse {
                aggregated: true,
                leaf: Default::default(),
                index: 0,
                ..allowed(asked, index)
            };
            Some(Ok(aggregated))
        })
    };
    let desk = Desk::new(later());
    assert_eq!(desk.http("GET", "/documents/7").await.status(), 503);
    assert_eq!(desk.runs(), 0);

    let desk = Desk::with(later(), GuardOptions { takes_sums: true, ..GuardOptions::default() });
    assert_eq!(desk.http("GET", "/documents/7").await.status(), 200);
    let seen = desk.seen().remove(0).unwrap();
    assert_eq!((desk.runs(), seen.index(), seen.leaf_hash()), (1, None, None));
}

#[tokio::test]
async fn an_answer_that_its_own_leaf_does_not_bear_out_counts_for_nothing() {
    type Lie = fn(&graven_proto::v1::CheckAccessRequest, u64) -> CheckAccessResponse;
    let lies: [(&str, Lie); 19] = [
        ("no leaf", |asked, index| CheckAccessResponse { leaf: Default::default(), ..allowed(asked, index) }),
        ("no frame", |asked, index| CheckAccessResponse {
            leaf: vec![0; 200].into(),
            ..allowed(asked, index)
        }),
        ("no decision", |asked, index| lying(asked, index, |frame, _| frame.outcome = None)),
        ("denied", |asked, index| lying(asked, index, |frame, _| frame.outcome = Some(Outcome::Denied))),
        ("reason", |asked, index| lying(asked, index, |_, it| it.reason = Word::new("no-grant").unwrap())),
        ("scopes", |asked, index| {
            lying(asked, index, |_, it| it.scopes = vec![Word::new("documents:list").unwrap()])
        }),
        ("no scopes", |asked, index| lying(asked, index, |_, it| it.scopes.clear())),
        ("action", |asked, index| lying(asked, index, |_, it| it.action = Word::new("data.update").unwrap())),
        ("resource", |asked, index| {
            lying(asked, index, |_, it| it.resource = Some(Word::new("https://other.example").unwrap()))
        }),
        ("nobody", |asked, index| lying(asked, index, |_, it| it.subject = None)),
        ("no token", |asked, index| lying(asked, index, |_, it| it.token = None)),
        ("issued", |asked, index| lying(asked, index, |_, it| it.issued = None)),
        ("expires", |asked, index| lying(asked, index, |_, it| it.expires = it.expires.map(|time| time + 1))),
        ("presented", |asked, index| lying(asked, index, |_, it| it.presented.clear())),
        ("grants", |asked, index| lying(asked, index, |_, it| it.grants = vec![Ref([8; 16])])),
        ("size", |asked, index| lying(asked, index, |_, it| it.state_size -= 1)),
        ("time", |asked, index| lying(asked, index, |_, it| it.decided_at -= 1)),
        ("count", |asked, index| lying(asked, index, |_, it| it.count = Some(2))),
        ("index", |asked, index| CheckAccessResponse { index: index - 1, ..allowed(asked, index) }),
    ];
    for (what, lie) in lies {
        let desk = Desk::new(Log::answering(move |asked, index| Some(Ok(lie(asked, index)))));
        assert_eq!(desk.http("GET", "/documents/7").await.status(), 503, "{what}");
        assert_eq!(desk.grpc("GET", "/documents/7").await.code(), Code::Unavailable, "{what}");
        assert_eq!(desk.runs(), 0, "{what}");
    }
    let without_grants = |asked: &_, index| {
        let leaf = leaf(asked, index, |_, it| it.grants.clear()).into();
        CheckAccessResponse { grants: Vec::new(), leaf, ..allowed(asked, index) }
    };
    let desk = Desk::new(Log::answering(move |asked, index| Some(Ok(without_grants(asked, index)))));
    assert_eq!((desk.http("GET", "/documents/7").await.status().as_u16(), desk.runs()), (503, 0));
}

fn lying(
    asked: &graven_proto::v1::CheckAccessRequest,
    index: u64,
    lie: impl FnOnce(&mut graven_event::Frame, &mut graven_event::facts::DecisionFacts),
) -> CheckAccessResponse {
    CheckAccessResponse { leaf: leaf(asked, index, lie).into(), ..allowed(asked, index) }
}

#[tokio::test]
async fn what_no_rule_names_is_refused_without_asking() {
    let (log, desk) = {
        let log = Log::allowing();
        (log.clone(), Desk::new(log))
    };
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/documents"),
        ("GET", "/documents/7/"),
        ("POST", "/documents/7"),
        ("HEAD", "/documents/7"),
        ("GET", "/documents/%37"),
        ("GET", "//documents/7"),
        ("GET", "/documents/../healthz"),
        ("GET", "/healthz/"),
        ("POST", "/healthz"),
        ("OPTIONS", "*"),
    ] {
        let answer = desk.http(method, path).await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "graven-reason")),
            (403, "no-rule"),
            "{method} {path}"
        );
        assert_eq!(desk.grpc(method, path).await.code(), Code::PermissionDenied);
    }
    assert_eq!((desk.runs(), log.asked().len()), (0, 0));
}

#[tokio::test]
async fn what_is_public_runs_without_asking_and_without_a_word_of_anybody() {
    let (log, desk) = {
        let log = Log::allowing();
        (log.clone(), Desk::new(log))
    };
    assert_eq!(desk.http("GET", "/documents/7").await.status(), 200);
    let mut forged = request("GET", "/healthz");
    forged.extensions_mut().insert(desk.seen().remove(0).unwrap());
    assert_eq!(desk.send(forged).await.status(), 200);
    assert!(desk.seen()[1].is_none(), "a word about another request");
    assert_eq!((desk.runs(), log.asked().len()), (2, 1));

    let mut forged = request("DELETE", "/documents/7");
    forged.extensions_mut().insert(desk.seen().remove(0).unwrap());
    let denying = Desk::new(Log::answering(|asked, _| Some(Ok(denied(asked, "no-grant", 1)))));
    assert_eq!((denying.send(forged).await.status().as_u16(), denying.runs()), (403, 0));
}
