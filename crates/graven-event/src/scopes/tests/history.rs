//! Random histories in the small world, made of a few bytes each step so that failures shrink.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::facts::{ErasureFacts, RejectedFacts};

pub(super) const PARTIES: [Ref; 8] = [ADMIN, SECOND, CAROL, DAVE, MALLORY, ALICE, APP, OTHER_APP];
pub(super) const SCOPES: [&str; 4] = ["a", "b", "c", "undefined"];

/// What happens next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// With times after its own less ten seconds, and the revision that the grant has, or another where one is given.
    Command(Box<ScopeCommand>, Option<u64>),
    Check(Box<DecisionFacts>),
    /// Somebody is erased, or something else that is no concern of this state.
    Other(Box<Facts>),
}

/// Steps, each with the nanoseconds since the one before.
pub(super) fn steps(most: usize) -> impl Strategy<Value = Vec<(u64, Step)>> {
    vec(any::<[u8; 32]>().prop_map(|bytes| step(&mut Dice(&bytes))), most / 2..most)
}

/// A log of them all, that begins with two grants that count, a request and a review.
pub(super) fn told(steps: &[(u64, Step)]) -> Log {
    let mut log = Log::new();
    let of = |number: u8, command: ScopeCommand| ScopeCommand { grant: Some(Ref([number; 16])), ..command };
    log.say(0, of(20, until(request(&["a"]), 900))).unwrap();
    log.say(0, of(20, approve(ADMIN, 1))).unwrap();
    log.say(0, of(21, ScopeCommand { subject: Some(ALICE), ..request(&["b"]) })).unwrap();
    log.say(0, of(21, approve(DAVE, 1))).unwrap();
    log.say(0, of(22, until(request(&["a", "c"]), 700))).unwrap();
    log.say(0, ScopeCommand { review: Some(REVIEW), ..bare(Command::OpenReview, ADMIN) }).unwrap();
    let mut now = second(0);
    for (wait, step) in steps {
        now = Time(now.0 + wait);
        tell(&mut log, now, step.clone());
    }
    log
}

pub(super) fn tell(log: &mut Log, now: Time, step: Step) {
    match step {
        Step::Command(mut command, revision) => {
            let grant = command.grant.and_then(|number| log.state.grant(number));
            let takes_one = (3..=7).contains(&command.command);
            command.revision = takes_one.then(|| revision.unwrap_or(grant.map_or(1, |grant| grant.revision)));
            for time in [&mut command.not_before, &mut command.expires, &mut command.issued_before] {
                *time = time.map(|after| (now.0 + after).saturating_sub(second(10).0));
            }
            let _ = log.say_at(now, *command);
        }
        Step::Check(asked) => {
            drop(log.check(DecisionFacts { decided_at: now.0.saturating_sub(asked.decided_at), ..*asked }));
        }
        Step::Other(facts) => log.put(now, *facts),
    }
}

/// Bytes that are used up.
struct Dice<'a>(&'a [u8]);

impl Dice<'_> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    fn below(&mut self, of: u8) -> u8 {
        self.byte() % of
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    fn maybe<T>(&mut self, one_in: u8, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(one_in) == 1).then(|| make(self))
    }

    /// A scope that is defined at first.
    fn scope(&mut self) -> Word {
        word(SCOPES[usize::from(self.below(3))])
    }

    /// One scope or two, defined ones as a rule.
    fn scopes(&mut self) -> Vec<Word> {
        let some = [self.below(13) % 5 % 4, self.below(13) % 5 % 4];
        let count = usize::from(1 + self.below(2));
        some.iter().take(count).map(|at| word(SCOPES[usize::from(*at)])).collect()
    }

    /// Fewer seconds than this.
    fn seconds(&mut self, than: u8) -> u64 {
        second(u64::from(self.below(than))).0
    }

    /// A second on the scale of a history.
    fn second(&mut self) -> u64 {
        second(u64::from(self.byte()) * 8).0
    }
}

fn step(dice: &mut Dice<'_>) -> (u64, Step) {
    let wait = dice.seconds(40);
    let step = match dice.below(16) {
        0 => Step::Other(Box::new(Facts::Erasure(ErasureFacts {
            erased: vec![dice.one(&PARTIES)],
            by: ADMIN,
            authority: word("gdpr-17"),
        }))),
        1 => Step::Other(Box::new(Facts::Rejected(RejectedFacts { digest: [0; 32], reason: word("x") }))),
        2..6 => Step::Check(Box::new(checked(dice))),
        _ => {
            let (command, stale) = (commanded(dice), dice.maybe(8, |dice| u64::from(dice.below(4))));
            Step::Command(Box::new(command), stale)
        }
    };
    (wait, step)
}

pub(super) fn asked() -> impl Strategy<Value = DecisionFacts> {
    any::<[u8; 32]>().prop_map(|bytes| checked(&mut Dice(&bytes)))
}

/// `decided_at` is how long before its leaf.
fn checked(dice: &mut Dice<'_>) -> DecisionFacts {
    let client = dice.one(&[APP, APP, APP, OTHER_APP]);
    let scopes = if dice.below(20) == 1 { Vec::new() } else { dice.scopes() };
    let asked = DecisionFacts {
        client,
        subject: dice.maybe(2, |dice| dice.one(&[ALICE, CAROL])),
        resource: dice.maybe(3, |_| word("here")),
        decided_at: dice.seconds(11),
        count: dice.maybe(6, |dice| u64::from(dice.below(9))),
        ..ask(&[], 0)
    };
    let presented = dice.maybe(5, |dice| dice.scopes()).unwrap_or_else(|| scopes.clone());
    let with_token = dice.maybe(2, |dice| DecisionFacts {
        token: dice.maybe(2, |dice| token(dice)),
        issued: dice.maybe(2, Dice::second),
        expires: dice.maybe(3, Dice::second),
        presented,
        ..asked.clone()
    });
    DecisionFacts { scopes, ..with_token.unwrap_or(asked) }
}

fn token(dice: &mut Dice<'_>) -> Ref {
    Ref([40 + dice.below(3); 16])
}

/// Plausible on the whole; `revision` is filled in where it is told.
fn commanded(dice: &mut Dice<'_>) -> ScopeCommand {
    use Command::*;
    let kinds = [
        DefineScope,
        RequestGrant,
        RequestGrant,
        RequestGrant,
        ApproveGrant,
        ApproveGrant,
        ApproveGrant,
        ApproveGrant,
        ApproveGrant,
        ApproveGrant,
        DenyGrant,
        NarrowGrant,
        RenewGrant,
        RenewGrant,
        RevokeGrant,
        RevokeToken,
        RotateScope,
        OpenReview,
        AttestItem,
        CloseReview,
        AppointAdministrator,
        DismissAdministrator,
    ];
    let by = [ADMIN, SECOND, ADMIN, SECOND, ADMIN, SECOND, CAROL, DAVE, CAROL, MALLORY, ALICE, APP];
    let (kind, by) = (dice.one(&kinds), dice.one(&by));
    let grant = Some(Ref([20 + dice.below(5); 16]));
    let review = Some(Ref([30 + dice.below(2); 16]));
    let bare = bare(kind, by);
    match kind {
        DefineScope => ScopeCommand {
            scopes: vec![dice.scope()],
            recording: Some(dice.below(2)),
            approvers: dice.maybe(2, |dice| vec![dice.one(&PARTIES), ADMIN]).unwrap_or_default(),
            approvals: dice.maybe(3, |_| 2),
            longest: dice.maybe(3, |dice| 300 + 8 * u64::from(dice.below(200))),
            ..bare
        },
        RequestGrant => ScopeCommand {
            grant,
            client: Some(dice.one(&[APP, APP, OTHER_APP])),
            subject: dice.maybe(3, |dice| dice.one(&[ALICE, CAROL])),
            scopes: dice.scopes(),
            resource: dice.maybe(3, |_| word("here")),
            not_before: dice.maybe(4, |dice| dice.second() / 16),
            expires: dice.maybe(2, |dice| dice.second() / 2),
            by: dice.one(&PARTIES),
            ..bare
        },
        ApproveGrant | DenyGrant | RevokeGrant => ScopeCommand { grant, ..bare },
        NarrowGrant => {
            let scopes = dice.maybe(2, |dice| dice.scopes()).unwrap_or_default();
            ScopeCommand { grant, scopes, expires: dice.maybe(2, Dice::second), ..bare }
        }
        RenewGrant => ScopeCommand { grant, expires: Some(dice.second() + second(200).0), ..bare },
        RevokeToken => ScopeCommand {
            token: Some(token(dice)),
            expires: dice.maybe(2, Dice::second),
            client: dice.maybe(2, |_| by),
            ..bare
        },
        RotateScope => ScopeCommand {
            scopes: vec![dice.scope()],
            issued_before: dice.maybe(2, |dice| dice.seconds(12)),
            ..bare
        },
        OpenReview => ScopeCommand {
            review,
            scopes: dice.maybe(2, |dice| dice.scopes()).unwrap_or_default(),
            client: dice.maybe(3, |_| APP),
            ..bare
        },
        AttestItem => ScopeCommand { review, grant, verdict: Some(1 + dice.below(2)), ..bare },
        CloseReview => ScopeCommand { review, ..bare },
        AppointAdministrator | DismissAdministrator => {
            ScopeCommand { subject: Some(dice.one(&PARTIES)), ..bare }
        }
    }
}
