//! What is forgotten when there is no room, and what is refused.

use super::*;
use crate::scopes::book::{Grants, Revoked, Tokens};
use crate::scopes::{
    Grant, MAX_ADMINISTRATORS, MAX_GRANTS, MAX_HELD, MAX_REVIEWS, MAX_REVOKED_TOKENS, MAX_SCOPES, Reason,
    Status, Use,
};

fn numbered(kind: u8, number: u64) -> Ref {
    Ref(((u128::from(kind) << 120) | u128::from(number)).to_be_bytes())
}

fn another(number: u64, end: Option<u64>) -> ScopeCommand {
    let command = ScopeCommand { grant: Some(numbered(9, number)), ..request(&["a"]) };
    end.map_or(command.clone(), |end| until(command, end))
}

#[test]
fn a_holder_with_as_many_grants_as_fit_loses_the_oldest_that_is_over() {
    let mut log = Log::new();
    log.say(1, another(0, None)).unwrap();
    for number in 1..MAX_HELD as u64 {
        log.say(1, another(number, Some(1000 - number))).unwrap();
    }
    assert_eq!(log.say(2, another(5000, None)), Err(Refused::Full));
    let elsewhere = ScopeCommand { resource: Some(word("r")), ..another(5000, None) };
    assert_eq!(log.say(2, elsewhere), Ok(()), "the limit is each holder's own");
    let (asked, size) = (ask(&["a"], 2), log.leaves.len() as u64);
    assert!(!log.state.changed_since(size, &asked));
    let first_over = 1000 - (MAX_HELD as u64 - 1);
    assert_eq!(log.say(first_over, another(5001, None)), Ok(()));
    assert_eq!(log.state.grant(numbered(9, MAX_HELD as u64 - 1)), None);
    assert!(log.state.grant(numbered(9, MAX_HELD as u64 - 2)).is_some());
    assert!(
        log.state.changed_since(size, &DecisionFacts { client: OTHER_APP, ..asked.clone() }),
        "somebody's was forgotten"
    );
    assert!(!log.state.changed_since(size + 1, &DecisionFacts { client: OTHER_APP, ..asked }));
    assert_eq!(log.say(first_over, another(5002, None)), Err(Refused::Full));
    assert_eq!(ScopeState::decode(&log.state.encode()), Ok(log.state));
}

fn grant(client: Ref, end: u64) -> Grant {
    Grant {
        revision: 1,
        status: Status::Pending,
        client,
        subject: None,
        scopes: [(word("a"), Use::default())].into(),
        resource: None,
        not_before: None,
        expires: Some(second(end)),
        requester: CAROL,
        approvers: [].into(),
        requested: 7,
        activated: 0,
        active_since: Time(0),
        ended: None,
        changed: 7,
    }
}

#[test]
fn a_log_with_as_many_grants_as_fit_loses_the_oldest_that_is_over() {
    let mut grants = Grants::default();
    for number in 0..MAX_GRANTS as u64 {
        grants.add(second(1), numbered(9, number), grant(numbered(1, number), 10 + number));
    }
    assert!(!grants.has_room(second(9), APP, None, None));
    assert!(grants.has_room(second(10), APP, None, None));
    grants
        .change(8, numbered(9, 50), |grant| (grant.status, grant.ended) = (Status::Denied, Some(second(3))));
    assert!(grants.has_room(second(9), APP, None, None), "what was denied is over");
    grants.add(second(9), numbered(10, 0), grant(APP, 99));
    assert_eq!((grants.len(), grants.get(numbered(9, 50))), (MAX_GRANTS, None));
    assert_eq!(grants.forgotten, 8);
}

#[test]
fn a_log_with_as_many_revoked_tokens_as_fit_forgets_those_that_ended() {
    let mut tokens = Tokens::default();
    let revoked = |index, end: Option<u64>| Revoked { index, expires: end.map(second) };
    for number in 0..MAX_REVOKED_TOKENS as u64 {
        tokens.put(numbered(1, number), revoked(1, (number % 2 == 0).then_some(10 + number)));
    }
    assert!(!tokens.has_room(second(9), TOKEN));
    assert!(tokens.has_room(second(9), numbered(1, 3)), "it is there");
    assert!(tokens.has_room(second(10), TOKEN));
    tokens.add(TOKEN, revoked(5, None));
    assert_eq!((tokens.len(), tokens.get(numbered(1, 0)), tokens.forgotten), (MAX_REVOKED_TOKENS, None, 6));
    tokens.add(numbered(1, 2), revoked(6, Some(4)));
    assert_eq!(tokens.get(numbered(1, 2)), Some(&revoked(1, Some(12))), "for as long as either says");
    tokens.add(numbered(1, 2), revoked(7, None));
    assert_eq!(tokens.get(numbered(1, 2)), Some(&revoked(1, None)));
    let state = ScopeState { tokens, ..ScopeState::default() };
    let with = |token| DecisionFacts { token: Some(token), ..ask(&["a"], 1) };
    assert_eq!(state.decide(&with(numbered(1, 1))).reason, Reason::TokenRevoked);
    assert!(state.changed_since(5, &with(numbered(1, 0))));
    assert!(!state.changed_since(6, &with(numbered(1, 0))));
    assert!(!state.changed_since(5, &ask(&["a"], 1)), "no token, no matter");
}

#[test]
fn there_are_as_many_scopes_and_administrators_as_fit() {
    let mut log = Log::new();
    for number in 3..MAX_SCOPES {
        log.say(1, define(&format!("scope{number}"))).unwrap();
    }
    assert_eq!(log.say(1, define("one more")), Err(Refused::Full));
    assert_eq!(log.say(1, define("a")), Ok(()));
    let appoint = |number| ScopeCommand {
        subject: Some(numbered(3, number)),
        ..bare(Command::AppointAdministrator, ADMIN)
    };
    for number in 2..MAX_ADMINISTRATORS as u64 {
        log.say(1, appoint(number)).unwrap();
    }
    assert_eq!(log.say(1, appoint(100)), Err(Refused::Full));
}

#[test]
fn closed_reviews_make_room_for_new_ones() {
    let mut log = Log::new();
    let review = |command, number| ScopeCommand { review: Some(numbered(4, number)), ..bare(command, ADMIN) };
    for number in 0..MAX_REVIEWS as u64 {
        log.say(1, review(Command::OpenReview, number)).unwrap();
    }
    assert_eq!(log.say(1, review(Command::OpenReview, 100)), Err(Refused::Full));
    log.say(2, review(Command::CloseReview, 5)).unwrap();
    log.say(3, review(Command::CloseReview, 3)).unwrap();
    log.say(4, review(Command::OpenReview, 100)).unwrap();
    let remembered = |number| log.state.reviews().any(|(one, _)| one == numbered(4, number));
    assert_eq!((log.state.reviews().count(), remembered(5), remembered(3)), (MAX_REVIEWS, false, true));
}
