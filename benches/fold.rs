//! How fast the state of scopes follows the leaves: `cargo bench -p graven-event --bench fold -- [LEAVES]`, a million unless said
//! otherwise.
//!
//! The log is one of a busy service: nine checks in ten, half of them with a token; commands are definitions, requests, approvals, renewals,
//! revocations of grants and tokens. Leaves are decoded before the clock starts, as they are where they are written.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::unwrap_used)] // figures: a failed run says so and ends
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use graven_event::alerts::{BUILTIN, Builtin};
use graven_event::facts::{Command, DecisionFacts, Genesis, KeyText, RuleFacts, ScopeCommand};
use graven_event::scopes::{RULES, Reason, ScopeState};
use graven_event::{Facts, Frame, LogState, Ref, Time, Word};
use graven_merkle::{Hash, leaf_hash};

const SCOPES: u64 = 50;
const GRANTS: u64 = 100_000;
const ROUNDS: usize = 5;
const CALLS: usize = 50;

fn main() {
    let wanted = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(1_000_000);
    let frames = log(wanted);
    let leaves: Vec<Vec<u8>> = frames.iter().map(|frame| frame.encode().unwrap()).collect();
    let bytes: usize = leaves.iter().map(Vec::len).sum();
    println!("{} leaves of {} B on average", leaves.len(), bytes / leaves.len());
    let (mut folds, mut wholes, mut hashes, mut ratios) = (vec![], vec![], vec![], vec![]);
    let mut watched = vec![];
    for _ in 0..ROUNDS {
        let hashing = rate(leaves.len(), || {
            leaves.iter().map(|leaf| leaf_hash(leaf)).fold(0, |all, hash| all ^ hash.as_bytes()[0])
        });
        let folding = rate(leaves.len(), || fold(&frames));
        wholes.push(rate(leaves.len(), || whole(&frames, &[])));
        watched.push(rate(leaves.len(), || whole(&frames, &Builtin::ALL)));
        ratios.push(folding / hashing);
        folds.push(folding);
        hashes.push(hashing);
    }
    println!(
        "fold: {:.2} million leaves/s, {:.2} of bare leaf hashing ({:.2} million/s)",
        median(&mut folds) / 1e6,
        median(&mut ratios),
        median(&mut hashes) / 1e6
    );
    println!(
        "fold with producers, rules of keeping and alerts: {:.2} million leaves/s",
        median(&mut wholes) / 1e6
    );
    println!("with all built-in rules applied: {:.2} million leaves/s", median(&mut watched) / 1e6);
    let state = whole(&frames, &[]);
    decide(&state.scopes);
    snapshot(&state);
}

/// How many grants there are at the end, so that none of it is left out.
fn fold(frames: &[Frame]) -> usize {
    let mut state = ScopeState::default();
    for (frame, index) in frames.iter().zip(0..) {
        state.take(index, frame.log_time, &frame.facts);
    }
    state.grants().count()
}

/// With some rules applied after the first leaf.
fn whole(frames: &[Frame], rules: &[Builtin]) -> LogState {
    let mut state = LogState::default();
    let (first, others) = frames.split_at(1);
    let rules: Vec<Frame> = rules.iter().map(|rule| frame(0, Facts::Rule(applied(*rule)))).collect();
    for frame in first.iter().chain(&rules).chain(others) {
        black_box(state.take(frame, Hash::from([7; 32])));
    }
    state
}

fn decide(state: &ScopeState) {
    println!("of {} grants, each time another one:", state.grants().count());
    for (what, make) in [
        ("client alone", (|number| ask(number)) as fn(u64) -> DecisionFacts),
        ("with token", with_token),
        ("with token, person and resource", |number| DecisionFacts {
            subject: Some(reference(3, number)),
            resource: Some(word("https://api.example/v1")),
            ..with_token(number)
        }),
        ("denied", |number| DecisionFacts { scopes: vec![scope(number + 1)], ..with_token(number) }),
    ] {
        let (mut deciding, mut comparing, mut allowed) = (Duration::ZERO, Duration::ZERO, 0);
        for from in (0..GRANTS).step_by(CALLS) {
            // As calls are: just made, each about another grant than those before it.
            let asked: Vec<DecisionFacts> =
                (from..from + CALLS as u64).map(|at| make(mix(at) % GRANTS)).collect();
            let begun = Instant::now();
            let changed = asked.iter().filter(|asked| state.changed_since(u64::MAX, asked)).count();
            comparing += begun.elapsed();
            assert_eq!(changed, 0);
            let begun = Instant::now();
            allowed += asked.iter().filter(|asked| state.decide(asked).is_allowed()).count();
            deciding += begun.elapsed();
        }
        let each = |took: Duration| took.as_nanos() as f64 / GRANTS as f64;
        println!(
            "{what}: changed since {:.0} ns, then decide {:.0} ns, {} % allowed",
            each(comparing),
            each(deciding),
            allowed as u64 * 100 / GRANTS
        );
    }
}

fn snapshot(state: &LogState) {
    let begun = Instant::now();
    let bytes = state.encode();
    let encoded = begun.elapsed();
    let begun = Instant::now();
    let read = LogState::decode(&bytes).unwrap();
    println!(
        "snapshot: {:.1} MB, written in {:.0} ms, read and checked in {:.0} ms",
        bytes.len() as f64 / 1e6,
        encoded.as_secs_f64() * 1e3,
        begun.elapsed().as_secs_f64() * 1e3
    );
    assert_eq!(read, *state);
}

/// First everything is granted, then nine leaves in ten are checks.
fn log(wanted: u64) -> Vec<Frame> {
    let mut frames = vec![frame(0, Facts::Genesis(genesis()))];
    frames.extend((0..SCOPES).map(|number| command(1, define(number))));
    for number in 0..GRANTS {
        frames.push(command(2, request(number)));
        frames.push(command(3, on_grant(Command::ApproveGrant, number, 1)));
    }
    let (mut state, mut number) = (ScopeState::default(), 0);
    for (frame, index) in frames.iter().zip(0..) {
        state.take(index, frame.log_time, &frame.facts);
    }
    assert_eq!(
        state.grants().filter(|(_, grant)| grant.counts(Time::from_seconds(9))).count() as u64,
        GRANTS
    );
    while (frames.len() as u64) < wanted {
        number += 1;
        let (at, random) = (10 + number / 10_000, mix(number));
        let grant = random / 16 % GRANTS;
        let next = match number % 40 {
            0 => command(at, revoke_token(number)),
            10 => command(
                at,
                ScopeCommand { expires: Some(u64::MAX - GRANTS + number % GRANTS), ..renew(&state, grant) },
            ),
            20 => command(at, define(random % SCOPES)),
            30 => command(
                at,
                ScopeCommand {
                    expires: Some(u64::MAX / 2),
                    ..on_grant(Command::NarrowGrant, grant, revision(&state, grant))
                },
            ),
            _ => decision(&state, at, grant, random),
        };
        state.take(frames.len() as u64, next.log_time, &next.facts);
        frames.push(next);
    }
    frames
}

fn decision(state: &ScopeState, at: u64, grant: u64, random: u64) -> Frame {
    let asked = if random.is_multiple_of(2) { ask(grant) } else { with_token(grant) };
    let asked = DecisionFacts { decided_at: Time::from_seconds(at).0, ..asked };
    let verdict = state.decide(&asked);
    let (grants, reason) = (verdict.grants.clone(), verdict.reason.word());
    Frame {
        outcome: Some(verdict.outcome()),
        ..frame(at, Facts::Decision(DecisionFacts { grants, reason, ..asked }))
    }
}

fn frame(second: u64, facts: Facts) -> Frame {
    Frame {
        outcome: None,
        retention: 0,
        log_time: Time::from_seconds(second),
        id: [0; 16],
        producer: reference(7, second % 20),
        sequence: 0,
        previous: [0; 32],
        payload: None,
        facts,
    }
}

fn genesis() -> Genesis {
    let (origin, kind) = (word("log.example"), word("events"));
    let recovery = KeyText::new("log.example+1+key").unwrap();
    let administrators = vec![reference(1, 0), reference(1, 1)];
    Genesis { origin, kind, recovery, administrators, signature: Some(vec![1]) }
}

fn applied(rule: Builtin) -> RuleFacts {
    RuleFacts {
        rule: rule.hash(),
        name: rule.word(),
        language: word(BUILTIN),
        severity: rule.severity(),
        by: reference(1, 0),
        source: Some(rule.source().as_bytes().to_vec()),
    }
}

fn command(at: u64, command: ScopeCommand) -> Frame {
    frame(at, Facts::Scope(command))
}

fn bare(command: Command) -> ScopeCommand {
    ScopeCommand {
        command: command as u8,
        grant: None,
        revision: None,
        by: reference(1, 0),
        client: None,
        subject: None,
        scopes: Vec::new(),
        resource: None,
        tier: None,
        recording: None,
        not_before: None,
        expires: None,
        token: None,
        review: None,
        verdict: None,
        refused: None,
        issued_before: None,
        approvers: Vec::new(),
        approvals: None,
        longest: None,
        rules: RULES,
        signature: None,
    }
}

fn define(number: u64) -> ScopeCommand {
    ScopeCommand { scopes: vec![scope(number)], tier: Some(1), ..bare(Command::DefineScope) }
}

/// Four grants to a client, each of three scopes.
fn request(number: u64) -> ScopeCommand {
    let (by, client) = (reference(1, 2), Some(reference(2, number / 4)));
    let scopes = [0, 7, 19].map(|step| scope(number + step)).to_vec();
    let expires = Some(u64::MAX / 2 + number);
    ScopeCommand { by, client, scopes, expires, ..on_grant_of(Command::RequestGrant, number) }
}

fn on_grant_of(kind: Command, number: u64) -> ScopeCommand {
    ScopeCommand { grant: Some(reference(9, number)), ..bare(kind) }
}

fn on_grant(kind: Command, number: u64, revision: u64) -> ScopeCommand {
    ScopeCommand { revision: Some(revision), ..on_grant_of(kind, number) }
}

fn revision(state: &ScopeState, number: u64) -> u64 {
    state.grant(reference(9, number)).unwrap().revision
}

fn renew(state: &ScopeState, number: u64) -> ScopeCommand {
    on_grant(Command::RenewGrant, number, revision(state, number))
}

fn revoke_token(number: u64) -> ScopeCommand {
    ScopeCommand { token: Some(reference(5, number)), expires: Some(u64::MAX), ..bare(Command::RevokeToken) }
}

fn ask(number: u64) -> DecisionFacts {
    DecisionFacts {
        action: word("scope.check"),
        client: reference(2, number / 4),
        subject: None,
        token: None,
        issued: None,
        scopes: vec![scope(number)],
        resource: None,
        state_size: 0,
        decided_at: Time::from_seconds(9).0,
        consistency: 1,
        grants: Vec::new(),
        reason: Reason::Granted.word(),
        place: None,
        count: None,
        since: None,
        bound: None,
        expires: None,
        presented: Vec::new(),
        rules: RULES,
    }
}

fn with_token(number: u64) -> DecisionFacts {
    let presented = [0, 1, 7, 19].map(|step| scope(number + step)).to_vec();
    let (issued, expires) = (Some(Time::from_seconds(8).0), Some(u64::MAX));
    DecisionFacts { token: Some(reference(6, number)), issued, expires, presented, ..ask(number) }
}

fn scope(number: u64) -> Word {
    word(&format!("service{}.records.read", number % SCOPES))
}

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

/// Random as references are, the same each time.
fn reference(kind: u64, number: u64) -> Ref {
    let (high, low) = (mix(kind << 40 | number), mix(number << 8 | kind));
    Ref((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}

/// SplitMix64.
fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn rate<T>(count: usize, run: impl FnOnce() -> T) -> f64 {
    let begun = Instant::now();
    black_box(run());
    count as f64 / begun.elapsed().as_secs_f64()
}

fn median(some: &mut [f64]) -> f64 {
    some.sort_by(f64::total_cmp);
    some[some.len() / 2]
}
