//! The client against a log whose scopes and alerts lie: what it hands out is what its leaves say, and an allowance never what they deny.

#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

#[allow(dead_code)] // shared with other tests, and each needs a part of it
#[path = "support/fake_log.rs"]
mod fake_log;
#[path = "support/fake_scopes.rs"]
mod fake_scopes;

use std::time::Duration;

use fake_log::{FakeLog, Lie};
use fake_scopes::{FakeScopes, START, ScopeLie};
use graven_client::{
    AppendError, Client, ConnectOptions, ErrorReason, Fault, LogClient, ReadError, RetryPolicy, Trust,
    Unproven,
    alerts::{AlertOptions, RuleText, Severity},
    scopes::{
        At, Check, Command, CommandError, Freshness, GrantFilter, GrantStatus, ShownToken, SignedAppointment,
    },
};
use graven_event::{Ref, Time};
use graven_merkle::{LeafIndex, leaf_hash};

async fn connect(log: &FakeScopes) -> LogClient {
    let retries = RetryPolicy { first_delay: Duration::from_millis(5), ..RetryPolicy::default() };
    let options = ConnectOptions { retries, ..ConnectOptions::default() };
    let client = Client::connect(&log.serve().await, options).await.unwrap();
    client.log("audit", Trust::of_vkeys([FakeLog::vkey()]).unwrap())
}

fn define(scope: &str) -> Command {
    Command::Define {
        scope: scope.to_owned(),
        tier: 1,
        is_summed: false,
        approvers: vec!["bob".to_owned()],
        approvals: 1,
        longest: Some(Duration::from_secs(90 * 86_400)),
    }
}

fn soon() -> Option<Time> {
    Some(Time(START + 86_400_000_000_000))
}

fn request(client: &str) -> Command {
    let (client, scopes) = (client.to_owned(), vec!["payroll.read".to_owned()]);
    Command::Request { client, subject: None, scopes, resource: None, not_before: None, expires: soon() }
}

/// A log with a scope and a grant of it, approved.
async fn granted() -> (FakeScopes, LogClient, Ref) {
    let log = FakeScopes::new();
    let client = connect(&log).await;
    client.command(define("payroll.read")).durable().await.unwrap();
    let asked = client.command(request("billing")).durable().await.unwrap();
    let grant = asked.id.unwrap();
    log.by("user:bob");
    client.command(Command::Approve { grant, revision: asked.revision }).durable().await.unwrap();
    log.by("user:alice");
    (log, client, grant)
}

fn check() -> Check {
    Check::new("billing", ["payroll.read"])
}

fn refused(error: CommandError) -> (String, Option<u64>, Option<u64>) {
    match error {
        CommandError::Refused { why, index, revision } => (why, index, revision),
        CommandError::Send(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_command_is_acknowledged_or_proven_to_say_what_was_commanded() {
    let log = FakeScopes::new();
    let client = connect(&log).await;
    let defined = client.scopes().command(define("payroll.read")).durable().await.unwrap();
    assert_eq!((defined.index.get(), defined.id, defined.revision), (1, None, 0));
    let asked = client.command(request("billing")).because("month end").published().await.unwrap();
    assert_eq!((asked.commanded().index.get(), asked.commanded().revision), (2, 1));
    client.trust().verify_proof(asked.bundle(), leaf_hash(&asked.commanded().leaf)).unwrap();
    assert_eq!(asked.head().size().get(), 3);

    client.command(define("other.scope")).durable().await.unwrap();
    log.lie(ScopeLie::OtherScope);
    let error = client.command(request("billing")).durable().await.unwrap_err();
    assert!(matches!(error, CommandError::Send(AppendError::WrongAnswer(_))), "{error}");
    log.lie(ScopeLie::Nothing);
    log.log.lie(Lie::Fork);
    let error = client.command(request("billing")).published().await.unwrap_err();
    let CommandError::Send(error) = error else { panic!("{error}") };
    assert!(matches!(error, AppendError::Unproven { problem: Unproven::Refused(_), .. }), "{error}");
    assert_eq!(error.fault(), Fault::CheckFailed);
}

#[tokio::test]
async fn every_command_is_held_against_its_leaf() {
    let (log, client, grant) = granted().await;
    let scopes = client.scopes();
    let give = |command| scopes.command(command).durable();
    let later = Time(START + 2 * 86_400_000_000_000);
    log.by("user:bob");
    assert_eq!(give(Command::Renew { grant, revision: 2, expires: later }).await.unwrap().revision, 3);
    let narrowed =
        Command::Narrow { grant, revision: 3, scopes: vec!["payroll.read".to_owned()], expires: soon() };
    assert_eq!(give(narrowed).await.unwrap().revision, 4);
    log.by("user:alice");
    let token = Command::RevokeToken { issuer: "https://id".to_owned(), id: "7".to_owned(), expires: soon() };
    assert_eq!(give(token).await.unwrap().id, None);
    log.by("user:bob");
    let rotated = Command::Rotate { scope: "payroll.read".to_owned(), issued_before: None };
    give(rotated).await.unwrap();
    log.by("user:alice");
    let opened = Command::OpenReview { scopes: Vec::new(), client: Some("billing".to_owned()), due: soon() };
    let review = give(opened).await.unwrap().id.unwrap();
    assert_eq!(scopes.reviews().await.unwrap().reviews[0].open, [grant]);
    log.by("user:bob");
    give(Command::Attest { review, grant, keep: true }).await.unwrap();
    log.by("user:alice");
    give(Command::CloseReview { review }).await.unwrap();
    assert_eq!(give(Command::Revoke { grant, revision: None }).await.unwrap().revision, 5);
    let other = give(request("console")).await.unwrap();
    give(Command::Deny { grant: other.id.unwrap(), revision: 1 }).await.unwrap();
    let appointed = Command::Appoint { administrator: "user:carol".to_owned(), signed: None };
    give(appointed).await.unwrap();
    give(Command::Dismiss { administrator: "user:carol".to_owned() }).await.unwrap();
    // Everything that was done is one history, and nothing is lacking.
    let history = client.history("billing", "").await.unwrap();
    assert_eq!(history.steps().len() as u64 + 1, log.size());
}

#[tokio::test]
async fn what_does_not_count_is_refused_with_its_entry() {
    let (log, client, grant) = granted().await;
    let error = client.command(Command::Approve { grant, revision: 1 }).durable().await.unwrap_err();
    assert_eq!(refused(error), ("self-approval".to_owned(), Some(4), Some(2)));
    log.by("user:bob");
    let error = client.command(Command::Revoke { grant, revision: Some(1) }).durable().await.unwrap_err();
    assert_eq!(refused(error), ("stale-revision".to_owned(), Some(5), Some(2)));
    log.by("application:billing");
    let error = client.command(request("billing")).durable().await.unwrap_err();
    assert_eq!(refused(error).0, "self-grant");
    assert_eq!(log.size(), 7, "the losers are entries too");

    log.lie(ScopeLie::HidesRefusal);
    let error = client.command(request("billing")).durable().await.unwrap_err();
    assert!(matches!(error, CommandError::Send(AppendError::WrongAnswer(_))), "{error}");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_nothing_is_commanded_twice() {
    let log = FakeScopes::new();
    let client = connect(&log).await;
    log.lie(ScopeLie::Lose(2));
    let defined = client.command(define("payroll.read")).durable().await.unwrap();
    assert!(defined.duplicate);
    assert_eq!(log.size(), 2);
}

#[tokio::test]
async fn an_allowance_is_what_its_leaf_says_or_none() {
    let (log, client, grant) = granted().await;
    let scopes = client.scopes();
    let allowed = scopes.check(&check()).await.unwrap();
    assert_eq!((allowed.is_allowed(), allowed.reason(), allowed.grants()), (true, "granted", &[grant][..]));
    assert_eq!((allowed.index().unwrap().get(), allowed.state_size()), (4, 4));
    let proven = client.check(&check()).await.unwrap();
    assert_eq!(proven.proof().head().size().get(), 6);
    assert_eq!(proven.proof().leaf_hash(), leaf_hash(proven.decided().leaf().unwrap()));

    let token = ShownToken {
        issuer: "https://id".to_owned(),
        id: "7".to_owned(),
        issued: Some(Time(START)),
        expires: soon(),
        scopes: vec!["metrics".to_owned()],
    };
    let shown = Check { token: Some(token), freshness: Freshness::AtLeast(3), ..check() };
    let denied = scopes.check(&shown).await.unwrap();
    assert_eq!((denied.is_allowed(), denied.reason()), (false, "scope-not-presented"));
    let stranger = scopes.check(&Check::new("stranger", ["payroll.read"])).await.unwrap();
    assert_eq!((stranger.reason(), stranger.missing()), ("no-grant", &["payroll.read".to_owned()][..]));

    log.lie(ScopeLie::AllowsDenied);
    let error = scopes.check(&Check::new("stranger", ["payroll.read"])).await.unwrap_err();
    assert!(matches!(error, ReadError::WrongAnswer(_)), "{error}");
    assert_eq!(error.fault(), Fault::CheckFailed);
    log.lie(ScopeLie::OldState);
    for freshness in [Freshness::AtLeast(4), Freshness::Exactly(5)] {
        let error = scopes.check(&Check { freshness, ..check() }).await.unwrap_err();
        assert!(matches!(error, ReadError::WrongAnswer("a decision from another state")), "{error}");
    }
    log.lie(ScopeLie::Nothing);
    log.log.lie(Lie::Fork);
    assert!(client.check(&check()).await.is_err(), "what is not in the signed tree is not allowed");
}

#[tokio::test]
async fn a_history_is_proven_and_each_step_is_what_its_leaf_says() {
    let (log, client, grant) = granted().await;
    for _ in 0..3 {
        client.scopes().check(&check()).await.unwrap();
    }
    client.command(Command::Revoke { grant, revision: Some(2) }).durable().await.unwrap();
    let history = client.history("billing", "payroll.read").await.unwrap();
    let told: Vec<_> =
        history.steps().iter().map(|step| (step.index().get(), step.what(), step.by())).collect();
    let expected = [
        (1, "define", "user:alice"),
        (2, "request", "user:alice"),
        (3, "approve", "user:bob"),
        (4, "first-use", "application:billing"),
        (6, "last-use", "application:billing"),
        (7, "revoke", "user:alice"),
    ];
    assert_eq!(told, expected);
    assert_eq!(history.steps()[1].grant(), Some(grant));
    assert_eq!((history.head().size().get(), history.proof().unwrap().indices().len()), (8, 6));

    for (lie, says) in [
        (ScopeLie::OtherProof, "a proof of other entries"),
        (ScopeLie::SwappedLeaf, "a step that is not what its leaf says"),
        (ScopeLie::OtherWord, "a step that is not what its leaf says"),
        (ScopeLie::MissingStep, "the revisions of a grant do not follow each other"),
    ] {
        log.lie(lie.clone());
        let error = client.history("billing", "payroll.read").await.unwrap_err();
        assert!(error.to_string().contains(says), "{lie:?}: {error}");
        assert_eq!(error.fault(), Fault::CheckFailed);
    }
    // That the newest step is left out, no proof shows: whoever replays the log sees it.
    log.lie(ScopeLie::MissingLast);
    assert_eq!(client.history("billing", "payroll.read").await.unwrap().steps().len(), 5);
    log.lie(ScopeLie::Nothing);
    log.log.lie(Lie::OtherKey);
    assert!(matches!(client.history("billing", "").await.unwrap_err(), ReadError::Head(_)));
    log.log.lie(Lie::Shrink(7));
    assert!(client.history("billing", "").await.is_err(), "a head that goes back is refused");
}

#[tokio::test]
async fn a_decision_is_explained_by_its_leaf_and_proven() {
    let (log, client, grant) = granted().await;
    let index = client.scopes().check(&check()).await.unwrap().index().unwrap();
    let explained = client.explain(index).await.unwrap();
    assert!(explained.is_allowed() && explained.is_reproduced());
    assert_eq!((explained.client(), explained.grants()[0].grant), ("billing", grant));
    assert_eq!(explained.decision().reason.as_str(), "granted");
    assert!(explained.leaves().contains_key(&index) && explained.head().size().get() == 5);

    for lie in [ScopeLie::OtherReason, ScopeLie::SwappedLeaf, ScopeLie::MissingLast, ScopeLie::OtherProof] {
        log.lie(lie.clone());
        let error = client.explain(index).await.unwrap_err();
        assert_eq!(error.fault(), Fault::CheckFailed, "{lie:?}: {error}");
    }
    log.lie(ScopeLie::Nothing);
    let error = client.explain(LeafIndex::from(2_u32)).await.unwrap_err();
    let ReadError::Call(call) = error else { panic!("{error}") };
    assert_eq!(call.reason(), Some(ErrorReason::NotADecision));
}

#[tokio::test]
async fn what_stands_is_listed_over_as_many_pages_as_it_takes() {
    let (_log, client, grant) = granted().await;
    let scopes = client.scopes();
    scopes.command(define("users.read")).durable().await.unwrap();
    scopes.command(request("console")).durable().await.unwrap();
    let listed = scopes.scopes(At::Now).await.unwrap();
    let names: Vec<_> = listed.scopes.iter().map(|scope| scope.scope.as_str()).collect();
    assert_eq!(
        (names, listed.administrators),
        (vec!["payroll.read", "users.read"], vec!["user:alice".to_owned()])
    );
    assert_eq!(scopes.grants(&GrantFilter::default()).await.unwrap().grants.len(), 2);
    let filter = GrantFilter { client: Some("billing".to_owned()), ..GrantFilter::default() };
    let found = scopes.grants(&filter).await.unwrap().grants;
    assert_eq!((found.len(), found[0].grant, found[0].status), (1, grant, GrantStatus::Active));
    assert_eq!(found[0].approvers, ["user:bob"]);
    assert_eq!(scopes.unused(Time(START)).await.unwrap().grants.len(), 2);
}

#[tokio::test]
async fn a_watch_goes_on_after_broken_connections_without_gap_or_repeat() {
    let (log, client, _) = granted().await;
    log.lie(ScopeLie::Lose(2));
    let mut watch = client.scopes().watch(Some(0));
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(watch.next().await.unwrap().unwrap().index().get());
    }
    assert_eq!((seen, watch.position()), (vec![1, 2, 3], Some(4)));
}

#[tokio::test]
async fn only_what_is_a_statement_is_handed_to_the_recovery_key() {
    let log = FakeScopes::new();
    let client = connect(&log).await;
    let statement = client.scopes().prepare_appointment("user:carol").await.unwrap();
    assert!(statement.starts_with(b"graven command v1\nexample.com/audit\n"));
    let signed = Some(SignedAppointment { statement, signature: vec![2; 64].into() });
    let appointed = Command::Appoint { administrator: "user:carol".to_owned(), signed };
    client.command(appointed).durable().await.unwrap();
    log.lie(ScopeLie::OtherStatement);
    let error = client.scopes().prepare_appointment("user:carol").await.unwrap_err();
    assert!(error.to_string().contains("no statement"), "{error}");
}

#[tokio::test]
async fn alerts_are_what_their_leaves_say_and_proven() {
    let (log, client, _) = granted().await;
    let (low, high) = (log.alert(1), log.alert(3));
    let alerts = client.alerts();
    log.lie(ScopeLie::Lose(1));
    let mut watch = alerts.watch(AlertOptions { from: Some(0), min_severity: None });
    let first = watch.next().await.unwrap().unwrap();
    assert_eq!(
        (first.index().unwrap().get(), first.severity(), first.rule()),
        (low, Severity::Low, "denial-burst")
    );
    assert_eq!(first.leaves(), [low - 1]);
    assert_eq!(watch.next().await.unwrap().unwrap().index().unwrap().get(), high);
    assert_eq!(client.prove_alert(&first).await.unwrap().leaf_hash(), leaf_hash(first.leaf()));
    let worst = AlertOptions { from: Some(0), min_severity: Some(Severity::High) };
    let only = alerts.watch(worst).next().await.unwrap().unwrap();
    assert_eq!(only.index().unwrap().get(), high);

    log.lie(ScopeLie::Worse);
    let error = alerts.watch(worst).next().await.unwrap_err();
    assert!(matches!(error, ReadError::WrongAnswer(_)), "{error}");
    log.lie(ScopeLie::Nothing);
    log.log.lie(Lie::Fork);
    assert!(client.prove_alert(&first).await.is_err());
}

#[tokio::test]
async fn a_rule_is_the_one_that_was_sent() {
    let alerts = connect(&FakeScopes::new()).await.alerts();
    let cel = RuleText {
        name: "night".to_owned(),
        language: "cel".to_owned(),
        severity: Some(Severity::High),
        source: "true".to_owned(),
    };
    // The fake server hashes in its own way.
    let error = alerts.define(&cel).await.unwrap_err();
    assert!(matches!(error, ReadError::WrongAnswer("the hash of another rule")), "{error}");
    assert_eq!(alerts.enable("denial-burst").await.unwrap().0.get(), 1);
    assert_eq!(alerts.retire("denial-burst").await.unwrap().get(), 1);
    let ReadError::Call(call) = alerts.retire("unknown").await.unwrap_err() else { panic!() };
    assert_eq!(call.reason(), Some(ErrorReason::RuleUnknown));
    let rules = alerts.rules().await.unwrap();
    assert_eq!((rules[0].text.severity, rules[0].is_active), (Some(Severity::High), true));

    let mut test = alerts.test(&cel, 3..9).await.unwrap();
    let alert = test.next().await.unwrap().unwrap();
    assert_eq!((alert.index(), alert.leaves()), (None, &[3][..]));
    assert!(test.next().await.unwrap().is_none());
    assert_eq!((test.tested().next_index, test.tested().unreadable), (9, 2));
}
