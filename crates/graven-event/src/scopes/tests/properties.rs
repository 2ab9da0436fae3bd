//! What holds whatever happens.

use proptest::prelude::*;

use super::history::{Step, asked, steps, tell, told};
use super::model::Leaves;
use super::*;
use crate::scopes::Status;

fn config() -> ProptestConfig {
    let cases = std::env::var("GRAVEN_SCOPES_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(512), ..ProptestConfig::default() }
}

/// The state of the leaves alone.
fn replayed(leaves: &[(Time, Facts)]) -> ScopeState {
    let mut state = ScopeState::default();
    leaves.iter().zip(0..).for_each(|((at, facts), index)| state.take(index, *at, facts));
    state
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_replay_judges_and_decides_the_same(steps in steps(60)) {
        let log = told(&steps);
        let mut state = ScopeState::default();
        for (index, (at, facts)) in (0..).zip(&log.leaves) {
            match facts {
                Facts::Scope(command) => {
                    let refused = state.judge(*at, &ScopeCommand { refused: None, ..command.clone() }, true).err();
                    prop_assert_eq!(refused.map(Refused::word), command.refused.clone());
                }
                Facts::Decision(decision) => {
                    let verdict = state.decide(decision);
                    prop_assert_eq!(verdict.reason.word(), decision.reason.clone());
                    prop_assert_eq!(verdict.grants, decision.grants.clone());
                }
                _ => {}
            }
            state.take(index, *at, facts);
        }
        prop_assert_eq!(state, log.state);
    }

    #[test]
    fn a_snapshot_goes_on_as_the_state_does(before in steps(40), after in steps(20)) {
        let mut log = told(&before);
        let bytes = log.state.encode();
        let state = ScopeState::decode(&bytes).unwrap();
        prop_assert_eq!(&state, &log.state);
        let mut other = Log { state, ..log.clone() };
        for (_, step) in after {
            tell(&mut log, second(5000), step.clone());
            tell(&mut other, second(5000), step);
        }
        prop_assert_eq!(other.state, log.state);
    }

    #[test]
    fn a_snapshot_is_read_one_way(
        steps in steps(40), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()
    ) {
        let bytes = told(&steps).state.encode();
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] = byte;
        for other in [&changed[..], &bytes[..cut.index(bytes.len())]] {
            prop_assert!(ScopeState::decode(other).map_or(true, |state| state.encode() == *other));
        }
    }

    /// Whatever is active was asked for by one and approved by another, who had the right to at that leaf and does not benefit.
    #[test]
    fn nobody_gives_to_themselves(steps in steps(80)) {
        let log = told(&steps);
        for (number, grant) in log.state.grants().filter(|(_, grant)| grant.status == Status::Active) {
            let approval = Leaves(&log.leaves).commands().find(|(index, ..)| *index as u64 == grant.activated).unwrap().2;
            prop_assert_eq!((approval.command, approval.grant), (Command::ApproveGrant as u8, Some(number)));
            let then = Leaves(&log.leaves[..usize::try_from(grant.activated).unwrap()]);
            let scopes = then.grant(number).scopes;
            for approver in &grant.approvers {
                prop_assert!(then.may_approve(*approver, &scopes));
                prop_assert!(![Some(grant.requester), Some(grant.client), grant.subject].contains(&Some(*approver)));
            }
            prop_assert!(!grant.approvers.is_empty());
        }
    }

    /// An administrator who asks, with all those who may approve nothing, gets nothing: not even by making others administrators, as long
    /// as those do not act.
    #[test]
    fn who_asks_alone_gets_nothing(steps in steps(80)) {
        let mut log = Log::new();
        for (wait, step) in steps {
            let Step::Command(mut command, revision) = step else { continue };
            let is_request = command.command == Command::RequestGrant as u8;
            command.by = if is_request || command.by != MALLORY { ADMIN } else { MALLORY };
            let appoints_who_acts = command.subject == Some(MALLORY) && command.command >= 13;
            let names_who_acts = command.approvers.contains(&MALLORY);
            if !appoints_who_acts && !names_who_acts {
                tell(&mut log, second(wait / 1_000_000_000), Step::Command(command, revision));
            }
        }
        prop_assert!(log.state.grants().all(|(_, grant)| grant.activated == 0 && grant.status != Status::Active));
    }

    #[test]
    fn an_erasure_changes_nothing(steps in steps(60)) {
        let is_erasure = |step: &Step| matches!(step, Step::Other(facts) if matches!(**facts, Facts::Erasure(_)));
        let mut log = Log::new();
        for (_, step) in &steps {
            let before = log.state.clone();
            tell(&mut log, second(9), step.clone());
            prop_assert!(!is_erasure(step) || log.state == before);
        }
        let other = Facts::Rejected(crate::facts::RejectedFacts { digest: [1; 32], reason: word("x") });
        let mut without = log.leaves.clone();
        without.iter_mut().filter(|(_, facts)| matches!(facts, Facts::Erasure(_))).for_each(|leaf| leaf.1 = other.clone());
        prop_assert_eq!(replayed(&without), log.state);
    }

    #[test]
    fn decisions_are_those_of_the_leaves(steps in steps(60), asked in prop::collection::vec(asked(), 8)) {
        let log = told(&steps);
        let end = log.leaves.last().unwrap().0;
        for asked in asked {
            let asked = DecisionFacts { decided_at: end.0.saturating_sub(asked.decided_at * 100), ..asked };
            let (verdict, (reason, rests)) = (log.state.decide(&asked), Leaves(&log.leaves).decide(&asked));
            let mut grants: Vec<Ref> = rests.into_iter().map(|(_, number)| number).collect();
            grants.sort();
            grants.dedup();
            prop_assert_eq!((verdict.reason, verdict.grants), (reason, grants));
        }
    }

    #[test]
    fn what_did_not_change_is_decided_the_same(steps in steps(40), asked in prop::collection::vec(asked(), 4)) {
        let log = told(&steps);
        let end = log.leaves.last().unwrap().0;
        for size in 0..log.leaves.len() {
            let then = replayed(&log.leaves[..size]);
            for asked in &asked {
                let asked = DecisionFacts { decided_at: end.0.saturating_sub(asked.decided_at), ..asked.clone() };
                if !log.state.changed_since(size as u64, &asked) {
                    prop_assert_eq!(then.decide(&asked), log.state.decide(&asked));
                }
            }
        }
        prop_assert!(asked.iter().all(|asked| !log.state.changed_since(log.leaves.len() as u64, asked)));
    }

    #[test]
    fn unused_are_those_of_the_leaves(steps in steps(60), back in 0..2000_u64, ago in 0..2000_u64) {
        let log = told(&steps);
        let now = Time(log.leaves.last().unwrap().0.0.saturating_sub(second(ago / 10).0));
        let since = Time(now.0.saturating_sub(second(back).0));
        prop_assert_eq!(log.state.unused(now, since), Leaves(&log.leaves).unused(now, since));
    }
}

/// The histories are of some use: everything happens in them.
#[test]
fn histories_are_eventful() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let (mut counted, mut words) = ([0_u32; 15], std::collections::BTreeSet::new());
    for _ in 0..200 {
        let log = told(&steps(60).new_tree(&mut runner).unwrap().current());
        Leaves(&log.leaves).commands().for_each(|(_, _, command)| counted[usize::from(command.command)] += 1);
        words.extend(log.leaves.iter().filter_map(|(_, facts)| match facts {
            Facts::Decision(decision) => Some(decision.reason.as_str().to_owned()),
            Facts::Scope(command) => command.refused.as_ref().map(|word| word.as_str().to_owned()),
            _ => None,
        }));
    }
    assert!(counted[1..].iter().all(|count| *count > 9), "{counted:?}");
    assert!(words.len() > 29, "{} {words:?}", words.len());
}
