//! Each word, by the smallest history that leads to it.

use std::collections::BTreeSet;

use super::*;
use crate::scopes::{Attested, Reason, Status};

fn attest(by: Ref, verdict: u8) -> ScopeCommand {
    ScopeCommand {
        review: Some(REVIEW),
        grant: Some(GRANT),
        verdict: Some(verdict),
        ..bare(Command::AttestItem, by)
    }
}

fn review(command: Command, by: Ref) -> ScopeCommand {
    ScopeCommand { review: Some(REVIEW), ..bare(command, by) }
}

fn about(command: Command, by: Ref, subject: Ref) -> ScopeCommand {
    ScopeCommand { subject: Some(subject), ..bare(command, by) }
}

/// With a request for `a`, or its grant.
fn pending() -> Log {
    let mut log = Log::new();
    log.say(1, request(&["a"])).unwrap();
    log
}

fn active() -> Log {
    let mut log = pending();
    log.say(2, approve(ADMIN, 1)).unwrap();
    log
}

fn reviewed() -> Log {
    let mut log = active();
    log.say(3, review(Command::OpenReview, ADMIN)).unwrap();
    log
}

fn with(mut log: Log, at: u64, commands: impl IntoIterator<Item = ScopeCommand>) -> Log {
    commands.into_iter().for_each(|command| log.say(at, command).unwrap());
    log
}

fn refusals() -> Vec<(Refused, Log, ScopeCommand)> {
    use Command::*;
    use Refused::*;
    let signed = |revision| ScopeCommand {
        signature: Some(vec![1]),
        revision: Some(revision),
        ..about(AppointAdministrator, MALLORY, MALLORY)
    };
    let two_scopes = || with(Log::new(), 1, [until(request(&["a", "c"]), 500)]);
    let narrow = |revision, scopes: &[&str]| ScopeCommand {
        scopes: words(scopes),
        ..on_grant(NarrowGrant, CAROL, revision)
    };
    let ends = || with(with(Log::new(), 1, [until(request(&["a"]), 100)]), 2, [approve(ADMIN, 1)]);
    let wide = || {
        let both = with(Log::new(), 1, [until(request(&["a", "c"]), 500), approve(ADMIN, 1)]);
        with(both, 2, [approve(SECOND, 2)])
    };
    vec![
        (AdministratorsOnly, Log::new(), ScopeCommand { by: CAROL, ..define("z") }),
        (AdministratorsOnly, Log::new(), about(AppointAdministrator, CAROL, DAVE)),
        (AdministratorsOnly, Log::new(), about(DismissAdministrator, CAROL, ADMIN)),
        (AdministratorsOnly, Log::new(), review(OpenReview, CAROL)),
        (AdministratorsOnly, reviewed(), review(CloseReview, CAROL)),
        (ApproversOnly, pending(), approve(MALLORY, 1)),
        (ApproversOnly, pending(), on_grant(DenyGrant, MALLORY, 1)),
        (ApproversOnly, active(), on_grant(RevokeGrant, MALLORY, 2)),
        (ApproversOnly, with(Log::new(), 1, [request(&["b"])]), approve(ADMIN, 1)),
        (ApproversOnly, Log::new(), ScopeCommand { by: MALLORY, ..rotate("a") }),
        (ApproversOnly, Log::new(), ScopeCommand { by: ADMIN, ..rotate("b") }),
        (ApproversOnly, Log::new(), ScopeCommand { client: Some(APP), ..revoke_token(OTHER_APP) }),
        (ApproversOnly, reviewed(), attest(MALLORY, 1)),
        (SelfGrant, Log::new(), ScopeCommand { by: APP, ..request(&["a"]) }),
        (SelfGrant, Log::new(), ScopeCommand { subject: Some(CAROL), ..request(&["a"]) }),
        (SelfGrant, Log::new(), about(AppointAdministrator, MALLORY, MALLORY)),
        (SelfApproval, with(Log::new(), 1, [request(&["b"])]), approve(CAROL, 1)),
        (SelfApproval, pending(), approve(CAROL, 7)),
        (SelfApproval, ends(), until(on_grant(RenewGrant, CAROL, 2), 200)),
        (SelfApproval, reviewed(), attest(CAROL, 1)),
        (BeneficiaryApproves, pending(), approve(APP, 1)),
        (
            BeneficiaryApproves,
            with(Log::new(), 1, [ScopeCommand { subject: Some(ADMIN), ..request(&["a"]) }]),
            approve(ADMIN, 1),
        ),
        (BeneficiaryApproves, reviewed(), attest(APP, 2)),
        (ApprovedBefore, with(two_scopes(), 2, [approve(ADMIN, 1)]), approve(ADMIN, 2)),
        (StaleRevision, with(two_scopes(), 2, [approve(ADMIN, 1)]), approve(SECOND, 1)),
        (StaleRevision, active(), on_grant(RevokeGrant, ADMIN, 1)),
        (StaleRevision, Log::new(), signed(9)),
        (ScopeUnknown, Log::new(), request(&["z"])),
        (ScopeUnknown, Log::new(), rotate("z")),
        (ScopeUnknown, Log::new(), ScopeCommand { scopes: words(&["z"]), ..review(OpenReview, ADMIN) }),
        (ScopeTwice, Log::new(), request(&["a", "a"])),
        (GrantUnknown, Log::new(), approve(ADMIN, 1)),
        (GrantNotPending, active(), approve(SECOND, 2)),
        (GrantNotPending, with(Log::new(), 1, [until(request(&["a"]), 5)]), approve(ADMIN, 1)),
        (GrantNotPending, with(pending(), 2, [on_grant(DenyGrant, CAROL, 1)]), approve(ADMIN, 2)),
        (GrantNotActive, pending(), on_grant(RevokeGrant, ADMIN, 1)),
        (
            GrantNotActive,
            with(ends(), 3, [on_grant(RevokeGrant, ADMIN, 2)]),
            until(on_grant(RenewGrant, ADMIN, 3), 200),
        ),
        (TooLong, Log::new(), request(&["c"])),
        (TooLong, Log::new(), until(request(&["c"]), 5000)),
        (TooLong, with(pending(), 2, [ScopeCommand { longest: Some(5), ..define("a") }]), approve(ADMIN, 1)),
        (
            TooLong,
            with(ends(), 3, [ScopeCommand { longest: Some(99), ..define("a") }]),
            until(on_grant(RenewGrant, ADMIN, 2), 200),
        ),
        (StaleRevision, wide(), narrow(2, &["a"])),
        (NotNarrower, wide(), narrow(3, &["a", "c"])),
        (NotNarrower, wide(), narrow(3, &["b"])),
        (NotNarrower, ends(), until(narrow(2, &[]), 100)),
        (NotNarrower, ends(), until(narrow(2, &[]), 10)),
        (NotLonger, ends(), until(on_grant(RenewGrant, ADMIN, 2), 100)),
        (NotLonger, active(), until(on_grant(RenewGrant, ADMIN, 2), 100)),
        (NeedsNewRequest, wide(), until(on_grant(RenewGrant, ADMIN, 3), 600)),
        (ReviewUnknown, active(), attest(ADMIN, 1)),
        (ReviewUnknown, with(reviewed(), 4, [review(CloseReview, ADMIN)]), review(CloseReview, ADMIN)),
        (NotInReview, reviewed(), ScopeCommand { grant: Some(Ref([21; 16])), ..attest(ADMIN, 1) }),
        (
            LastAdministrator,
            with(Log::new(), 1, [about(DismissAdministrator, ADMIN, SECOND)]),
            about(DismissAdministrator, ADMIN, ADMIN),
        ),
        (Invalid, Log::new(), ScopeCommand { rules: 2, ..define("z") }),
        (Invalid, Log::new(), ScopeCommand { command: 0, ..define("z") }),
        (Invalid, Log::new(), ScopeCommand { command: 15, ..define("z") }),
        (Invalid, Log::new(), ScopeCommand { token: Some(TOKEN), ..define("z") }),
        (Invalid, Log::new(), ScopeCommand { approvers: vec![CAROL], approvals: Some(2), ..define("z") }),
        (Invalid, pending(), request(&["a"])),
        (Invalid, Log::new(), until(request(&["a"]), 9)),
        (Invalid, Log::new(), ScopeCommand { not_before: Some(second(30).0), ..until(request(&["a"]), 30) }),
        (Invalid, Log::new(), ScopeCommand { issued_before: Some(second(11).0), ..rotate("a") }),
        (Invalid, Log::new(), about(DismissAdministrator, ADMIN, DAVE)),
        (Invalid, Log::new(), about(AppointAdministrator, ADMIN, SECOND)),
        (Invalid, Log::new(), ScopeCommand { revision: None, ..signed(0) }),
        (Invalid, reviewed(), attest(ADMIN, 3)),
    ]
}

fn rotate(scope: &str) -> ScopeCommand {
    ScopeCommand { scopes: words(&[scope]), ..bare(Command::RotateScope, ADMIN) }
}

fn revoke_token(by: Ref) -> ScopeCommand {
    ScopeCommand { token: Some(TOKEN), ..bare(Command::RevokeToken, by) }
}

#[test]
fn every_refusal_has_its_word() {
    let mut seen: BTreeSet<Refused> = BTreeSet::new();
    for (expected, mut log, command) in refusals() {
        let before = log.state.clone();
        assert_eq!(log.say(10, command.clone()), Err(expected), "{command:?}");
        assert_eq!(log.state, before, "what is refused changes nothing");
        seen.insert(expected);
    }
    let unsigned = ScopeCommand { signature: Some(vec![1]), ..define("z") };
    assert_eq!(Log::new().state.judge(second(1), &unsigned, false), Err(Refused::SignatureInvalid));
    assert_eq!(Log::new().state.judge(second(1), &unsigned, true), Err(Refused::Invalid));
    seen.extend([Refused::SignatureInvalid, Refused::Full]); // `Full`: see `limits`.
    assert_eq!(seen, Refused::ALL.iter().copied().collect());
    assert!(Refused::ALL.iter().all(|one| Refused::of(&one.word()) == Some(*one)));
}

#[test]
fn every_reason_has_its_word() {
    let later = |command| ScopeCommand { not_before: Some(second(50).0), ..command };
    let not_yet = with(with(Log::new(), 1, [later(request(&["a"]))]), 2, [approve(ADMIN, 1)]);
    let short = with(with(Log::new(), 1, [until(request(&["a"]), 9)]), 2, [approve(ADMIN, 1)]);
    let rotated = with(active(), 5, [rotate("a")]);
    let a = || ask(&["a"], 10);
    let mut seen = BTreeSet::new();
    for (reason, log, asked) in [
        (Reason::Granted, active(), a()),
        (Reason::Granted, active(), with_token(a(), &["a"], None, Some(11))),
        (Reason::Granted, rotated.clone(), with_token(a(), &["a"], Some(5), None)),
        (Reason::Granted, active(), DecisionFacts { subject: Some(ALICE), resource: Some(word("r")), ..a() }),
        (Reason::NoScope, active(), ask(&[], 10)),
        (Reason::ScopeUnknown, active(), ask(&["a", "z"], 10)),
        (Reason::ScopeNotPresented, active(), with_token(a(), &["b"], None, None)),
        (Reason::ScopeNotPresented, active(), with_token(a(), &[], None, None)),
        (
            Reason::ScopeNotPresented,
            active(),
            DecisionFacts { token: None, ..with_token(a(), &[], Some(1), None) },
        ),
        (
            Reason::TokenRevoked,
            with(active(), 3, [revoke_token(CAROL)]),
            with_token(a(), &["a"], None, Some(1)),
        ),
        (Reason::TokenExpired, active(), with_token(a(), &["a"], None, Some(10))),
        (Reason::TokenRotated, rotated.clone(), with_token(a(), &["a"], Some(4), None)),
        (Reason::TokenAgeUnknown, rotated, with_token(a(), &["a"], None, None)),
        (Reason::NoGrant, active(), ask(&["a", "b"], 10)),
        (Reason::NoGrant, active(), DecisionFacts { client: OTHER_APP, ..a() }),
        (Reason::NoGrant, with(pending(), 2, [on_grant(Command::DenyGrant, ADMIN, 1)]), a()),
        (Reason::GrantPending, pending(), a()),
        (Reason::GrantExpired, short, a()),
        (Reason::GrantRevoked, with(active(), 3, [on_grant(Command::RevokeGrant, APP, 2)]), a()),
        (Reason::GrantNotYet, not_yet, a()),
    ] {
        let verdict = log.state.decide(&asked);
        assert_eq!(verdict.reason, reason, "{asked:?}");
        assert_eq!(verdict.grants.is_empty(), !verdict.is_allowed());
        assert!(verdict.missing.iter().all(|scope| asked.scopes.contains(scope)));
        seen.insert(reason);
    }
    assert_eq!(seen, Reason::ALL.iter().copied().collect());
    assert!(Reason::ALL.iter().all(|one| Reason::of(&one.word()) == Some(*one)));
}

#[test]
fn of_two_approvals_of_the_same_revision_one_counts() {
    let mut log = with(Log::new(), 1, [until(request(&["a", "c"]), 500)]);
    assert_eq!(log.say(2, approve(ADMIN, 1)), Ok(()));
    assert_eq!(log.say(2, approve(SECOND, 1)), Err(Refused::StaleRevision));
    assert_eq!(log.state.grant(GRANT).unwrap().status, Status::Pending);
    log.say(2, approve(SECOND, 2)).unwrap();
    assert_eq!(log.state.grant(GRANT).unwrap().status, Status::Active);
}

#[test]
fn an_approval_does_not_outlast_the_office() {
    let mut log = with(Log::new(), 1, [until(request(&["a", "c"]), 500), approve(SECOND, 1)]);
    log.say(2, about(Command::AppointAdministrator, ADMIN, DAVE)).unwrap();
    log.say(2, about(Command::DismissAdministrator, ADMIN, SECOND)).unwrap();
    log.say(3, approve(DAVE, 2)).unwrap();
    assert_eq!(log.state.grant(GRANT).unwrap().status, Status::Pending, "the dismissed one's does not count");
    log.say(4, approve(ADMIN, 3)).unwrap();
    assert_eq!(log.state.grant(GRANT).unwrap().approvers, [ADMIN, DAVE].into());
}

#[test]
fn a_review_ends_what_nobody_attested() {
    let second_grant = Ref([21; 16]);
    let other = ScopeCommand { grant: Some(second_grant), ..request(&["a"]) };
    let mut log =
        with(active(), 3, [other, ScopeCommand { grant: Some(second_grant), ..approve(SECOND, 1) }]);
    log.say(4, review(Command::OpenReview, ADMIN)).unwrap();
    log.say(5, attest(SECOND, 1)).unwrap();
    log.say(6, review(Command::CloseReview, ADMIN)).unwrap();
    let statuses = [GRANT, second_grant].map(|grant| log.state.grant(grant).unwrap().status);
    assert_eq!(statuses, [Status::Active, Status::Revoked]);
    let (_, closed) = log.state.reviews().next().unwrap();
    assert_eq!(closed.items, [(GRANT, Some(Attested::Kept)), (second_grant, Some(Attested::Revoked))].into());
}

#[test]
fn the_recovery_key_appoints_whom_nobody_could() {
    let recovered = ScopeCommand {
        signature: Some(vec![1]),
        revision: Some(0),
        ..about(Command::AppointAdministrator, CAROL, CAROL)
    };
    let mut log = Log::new();
    log.say(1, recovered.clone()).unwrap();
    assert!(log.state.administrators().any(|(who, _)| who == CAROL));
    log.say(2, about(Command::DismissAdministrator, CAROL, ADMIN)).unwrap();
    log.say(3, about(Command::DismissAdministrator, SECOND, CAROL)).unwrap();
    assert_eq!(log.say(4, recovered), Err(Refused::StaleRevision), "what was signed counts once");
}

#[test]
fn what_was_rotated_stays_so() {
    let rotated_at = |log: &Log| log.state.scope(&word("a")).unwrap().issued_before;
    let mut log = with(active(), 9, [rotate("a")]);
    log.say(10, ScopeCommand { issued_before: Some(second(4).0), ..rotate("a") }).unwrap();
    log.say(11, define("a")).unwrap();
    assert_eq!(rotated_at(&log), Some(second(9)));
}

#[test]
fn a_genesis_counts_once_and_signed() {
    let mut state = ScopeState::default();
    state.take(1, second(0), &genesis(vec![ADMIN]));
    assert_eq!(state, ScopeState::default());
    let Facts::Genesis(unsigned) = genesis(vec![ADMIN]) else { unreachable!() };
    state.take(0, second(0), &Facts::Genesis(Genesis { signature: None, ..unsigned }));
    assert_eq!(state, ScopeState::default());
}

/// A decision rests on one grant for each scope: the one that ends last.
#[test]
fn uses_are_counted_where_they_rest() {
    let longer = Ref([19; 16]);
    let mut log = with(Log::new(), 1, [until(request(&["a"]), 100)]);
    log.say(2, approve(ADMIN, 1)).unwrap();
    log.say(3, until(ScopeCommand { grant: Some(longer), ..request(&["a"]) }, 200)).unwrap();
    log.say(4, ScopeCommand { grant: Some(longer), ..approve(ADMIN, 1) }).unwrap();
    assert_eq!(log.check(ask(&["a", "a"], 5)).grants, [longer]);
    assert_eq!(log.check(DecisionFacts { count: Some(7), ..ask(&["a"], 6) }).grants, [longer]);
    assert!(!log.check(ask(&["a", "b"], 7)).is_allowed());
    let used = log.state.grant(longer).unwrap().scopes[&word("a")];
    assert_eq!((used.count, used.last, used.last_index - used.first_index), (8, Some(second(6)), 1));
    assert_eq!(log.state.unused(second(50), second(40)).len(), 2);
    assert_eq!(log.state.unused(second(50), second(6)), [(GRANT, words(&["a"]))]);
    assert_eq!(
        log.state.unused(second(50), second(3)),
        [(GRANT, words(&["a"]))],
        "the other one began since"
    );
}
