//! Witnesses: those that are pushed to, those that come, and appends that wait for them.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use graven_log::{
    Config, Engine, Env, Kind, LogName, Publish, Status as EngineStatus, Visibility, Witnessing, init,
};
use graven_merkle::{EMPTY_ROOT, TreeSize, leaf_hash, verify_consistency};
use graven_note::{
    Checkpoint, LocalSigner, Policy, SignatureType, Signer as _, TlogProof, VerifierKey, sign_checkpoint,
    sign_line,
};
use graven_proto::v1::admin_service_client::AdminServiceClient;
use graven_proto::v1::witness_service_client::WitnessServiceClient;
use graven_proto::v1::{self, ErrorReason};
use graven_server::ServerOptions;
use tonic::transport::Channel;

use crate::service::{Service, append_request, config, entry, refused, refused_field, until};
use crate::witness::{Witness, now_seconds};

const LOG: &str = "audit";

/// A server with three witnesses that are pushed to, two of which are a quorum, and one that comes by itself but is in none.
struct Watched {
    service: Service,
    witnesses: Vec<Witness>,
    policy: Policy,
    poller: LocalSigner,
}

fn witnessed(policy: &Policy, publish: Publish, round_ms: u64) -> Config {
    let witnessing = Witnessing::new(policy.clone(), publish, Duration::from_millis(round_ms)).unwrap();
    Config { witnessing: [(LogName::new(LOG).unwrap(), witnessing)].into(), ..config() }
}

/// A data directory, the keys of its log, and three witnesses that know it.
async fn prepared() -> (tempfile::TempDir, Vec<VerifierKey>, Vec<Witness>) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let made = init(&Env::system(), &data, "example.com/audit", Kind::Bytes, Visibility::Private, &config())
        .unwrap();
    let mut witnesses = Vec::new();
    for n in 1..=3 {
        let witness = Witness::start(n).await;
        witness.change(|state| state.log = Some((made.meta.origin.clone(), made.meta.keys.clone())));
        witnesses.push(witness);
    }
    (dir, made.meta.keys, witnesses)
}

/// A witness of the policy that comes by itself.
fn poller() -> LocalSigner {
    let name = "w.example/poller".parse().unwrap();
    LocalSigner::generate(name, SignatureType::CosignatureV1, &[9; 32]).unwrap()
}

fn policy_of(keys: &[VerifierKey], witnesses: &[Witness], poller: &LocalSigner) -> Policy {
    let logs: String = keys.iter().map(|key| format!("log {key}\n")).collect();
    let lines: String =
        witnesses.iter().zip(1..).map(|(witness, n)| witness.policy_lines(&format!("w{n}"))).collect();
    let poller = format!("witness poller {}\n", poller.vkey());
    Policy::parse(format!("{logs}{lines}{poller}group g 2 w1 w2 w3\nquorum g\n").as_bytes()).unwrap()
}

impl Watched {
    async fn start(publish: Publish, round_ms: u64) -> Self {
        let (dir, keys, witnesses) = prepared().await;
        let poller = poller();
        let policy = policy_of(&keys, &witnesses, &poller);
        let mut service =
            Service::reopen(dir, witnessed(&policy, publish, round_ms), ServerOptions::default()).await;
        service.run();
        Self { service, witnesses, policy, poller }
    }

    async fn cleared(publish: Publish, round_ms: u64) -> Self {
        let watched = Self::start(publish, round_ms).await;
        let log = watched.service.log.clone();
        until(|| !log.is_awaiting_witnesses()).await;
        watched
    }

    fn client(&self) -> WitnessServiceClient<Channel> {
        WitnessServiceClient::new(self.service.channel.clone())
    }

    async fn append(&self, n: u64, wait: v1::Wait) -> v1::AppendResponse {
        let request = v1::AppendRequest { wait: wait.into(), ..append_request(entry(n)) };
        self.service.client().append(request).await.unwrap().into_inner()
    }

    fn down(&self, n: usize) {
        self.witnesses[n - 1].change(|state| {
            state.answer = Some((StatusCode::SERVICE_UNAVAILABLE, "text/plain", "closed".to_owned()));
        });
    }

    fn up(&self, n: usize) {
        self.witnesses[n - 1].change(|state| state.answer = None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witnessed_append_is_answered_with_a_proof_that_holds_the_quorum() {
    for publish in [Publish::Signed, Publish::Witnessed] {
        let watched = Watched::cleared(publish, 5_000).await;
        for n in 0..20 {
            let answer = watched.append(n, v1::Wait::Witnessed).await;
            let proof = TlogProof::parse(&answer.proof).unwrap();
            let included = proof.verify(leaf_hash(&entry(n)), &watched.policy).unwrap();
            assert!(included.checkpoint().witnesses().len() >= 4, "two keys of two witnesses");
            assert!(proof.verify(leaf_hash(b"another"), &watched.policy).is_err());
        }
        let batch = v1::AppendBatchRequest {
            entries: (20..30).map(entry).collect(),
            wait: v1::Wait::Witnessed.into(),
            ..Default::default()
        };
        let answer = watched.service.client().append_batch(batch).await.unwrap().into_inner();
        let head = answer.head.unwrap();
        assert!(watched.policy.verify_checkpoint(&head.checkpoint).is_ok() && head.size >= 30);
        // The third one's cosignatures come late, and are added.
        let keys: Vec<_> = watched.policy.witnesses().map(|witness| witness.key.clone()).collect();
        let log = watched.service.log.clone();
        let lines = || graven_note::open(&log.head().note, &keys).map_or(0, |note| note.signatures().len());
        until(|| lines() == 6).await;
        watched.service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_appends_and_reads_go_on_and_nothing_is_published_until_it_is_back() {
    let watched = Watched::cleared(Publish::Witnessed, 200).await;
    watched.append(0, v1::Wait::Witnessed).await;
    let log = watched.service.log.clone();
    let shown = log.head();
    watched.down(1);
    watched.down(2);
    for n in 1..50 {
        assert_eq!(watched.append(n, v1::Wait::Durable).await.index, n);
    }
    let mut late = tonic::Request::new(v1::AppendRequest {
        wait: v1::Wait::Witnessed.into(),
        ..append_request(entry(50))
    });
    late.set_timeout(Duration::from_millis(1500));
    let late = watched.service.client().append(late).await;
    assert_eq!(refused(late, ErrorReason::WaitTimedOut).number("index"), Some(50));
    let head = watched.service.client().get_tree_head(v1::GetTreeHeadRequest::default()).await.unwrap();
    assert!(head.into_inner().head.unwrap().checkpoint.starts_with(&shown.note), "readers see what they saw");
    assert!(log.watch_pending().unwrap().borrow().head.size() > shown.size());
    watched.up(2);
    until(|| log.head().size().get() == 51).await;
    let policy = &watched.policy;
    assert!(policy.verify_checkpoint(&log.head().note).is_ok());
    watched.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_shows_more_or_other_ends_a_server_that_starts() {
    let key = poller();
    let other = leaf_hash(b"of another life");
    for (size, root) in [(7, other), (3, other)] {
        let (dir, keys, witnesses) = prepared().await;
        let policy = policy_of(&keys, &witnesses, &key);
        let open = |dir: &std::path::Path| {
            let config = witnessed(&policy, Publish::Signed, 5_000);
            Engine::open(Env::system(), &dir.join("data"), config).unwrap()
        };
        {
            // Three entries, before there were witnesses.
            let engine = Engine::open(Env::system(), &dir.path().join("data"), config()).unwrap();
            let log = engine.log(LOG).unwrap();
            let answer = engine.append_later(&log, (0..3).map(entry).collect(), None).unwrap();
            engine.commit_step(Duration::ZERO);
            assert!(engine.publish_step(&log));
            drop(answer);
        }
        drop(open(dir.path()));
        let other = Checkpoint::new("example.com/audit".parse().unwrap(), TreeSize::from(size), root);
        let signed = sign_checkpoint(&other, &[&signer_of(dir.path(), &keys)], 0).unwrap();
        witnesses[1].change(|state| {
            (state.seen, state.shown) = (Some(other), Some(signed.to_string()));
        });
        // The others do not answer, so nothing is cleared before this one has.
        for n in [0, 2] {
            witnesses[n].change(|state| state.log = None);
        }
        let mut service =
            Service::reopen(dir, witnessed(&policy, Publish::Signed, 5_000), ServerOptions::default()).await;
        service.run();
        let EngineStatus::RolledBack(why) = service.ended().await else { panic!("it went on") };
        assert!(why.contains("`w2a`, `w2b`") && why.contains("size 3"), "{why}");
        assert!(why.contains(if size == 7 { "size 7" } else { "another tree" }), "{why}");
    }
}

/// The log's Ed25519 key.
fn signer_of(dir: &std::path::Path, keys: &[VerifierKey]) -> LocalSigner {
    let key = keys.iter().find(|key| key.signature_type() == SignatureType::Ed25519).unwrap();
    let pem = std::fs::read_to_string(dir.join("data/logs/audit/keys/ed25519.pem")).unwrap();
    LocalSigner::from_pkcs8_pem(key.name().clone(), SignatureType::Ed25519, &pem).unwrap()
}

/// A server that starts, whose witnesses in `lying` say what they cannot show, and in `away` nothing.
async fn accused(lying: &[usize], away: &[usize]) -> (Service, Vec<Witness>) {
    let (dir, keys, witnesses) = prepared().await;
    let policy = policy_of(&keys, &witnesses, &poller());
    for (n, witness) in witnesses.iter().enumerate() {
        let more = (StatusCode::CONFLICT, "text/x.tlog.size", "9999\n".to_owned());
        let other =
            Checkpoint::new("example.com/audit".parse().unwrap(), TreeSize::from(9999), leaf_hash(b""));
        // It shows a head of that size, by a key of its own.
        let forged =
            LocalSigner::generate("example.com/audit".parse().unwrap(), SignatureType::Ed25519, &[8; 32]);
        let forged = sign_checkpoint(&other, &[&forged.unwrap()], 0).unwrap();
        witness.change(|state| {
            if lying.contains(&n) {
                (state.answer, state.shown) = (Some(more), Some(forged.to_string()));
            } else if away.contains(&n) {
                state.log = None;
            }
        });
    }
    let mut service =
        Service::reopen(dir, witnessed(&policy, Publish::Witnessed, 5_000), ServerOptions::default()).await;
    service.run();
    (service, witnesses)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_only_says_that_it_knows_more_stops_nothing() {
    let (service, witnesses) = accused(&[1], &[]).await;
    until(|| witnesses[1].state.lock().unwrap().answered.len() > 2).await;
    until(|| !service.log.is_awaiting_witnesses()).await;
    let request = v1::AppendRequest { wait: v1::Wait::Witnessed.into(), ..append_request(entry(0)) };
    service.client().append(request).await.unwrap();
    assert_eq!(service.engine.status(), EngineStatus::Running);
    service.stop().await;
    // It counts as one that has not answered: with another that does not, the rest are a quorum.
    let (service, witnesses) = accused(&[1], &[2]).await;
    until(|| witnesses[1].state.lock().unwrap().answered.len() > 2).await;
    assert_eq!(service.engine.status(), EngineStatus::Running);
    assert!(service.log.is_awaiting_witnesses());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_of_witnesses_is_believed_that_it_knows_more() {
    let (service, _witnesses) = accused(&[0, 1], &[2]).await;
    let EngineStatus::RolledBack(why) = service.ended().await else { panic!("it went on") };
    assert!(why.contains("w1a") && why.contains("w2b") && why.contains("are a quorum"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_frozen_while_its_witnesses_are_away_and_says_what_is_not_published() {
    let watched = Watched::cleared(Publish::Witnessed, 100).await;
    watched.append(0, v1::Wait::Witnessed).await;
    (1..=3).for_each(|n| watched.down(n));
    watched.append(1, v1::Wait::Durable).await;
    let mut admin = AdminServiceClient::new(watched.service.channel.clone());
    let freeze = || {
        let mut freeze = tonic::Request::new(v1::FreezeLogRequest { log: LOG.to_owned() });
        freeze.set_timeout(Duration::from_millis(1500));
        freeze
    };
    let told = refused(admin.freeze_log(freeze()).await, ErrorReason::WaitTimedOut);
    assert_eq!(told.number("size"), Some(2));
    // It is frozen, and is published when they are back.
    assert!(watched.service.log.is_frozen());
    let late = watched.service.client().append(append_request(entry(2))).await;
    refused(late, ErrorReason::LogFrozen);
    (1..=3).for_each(|n| watched.up(n));
    until(|| watched.service.log.head().size().get() == 2).await;
    admin.freeze_log(freeze()).await.unwrap();
    watched.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_witness_is_said_to_be_as_far_behind_as_it_is() {
    let watched = Watched::cleared(Publish::Signed, 100).await;
    watched.append(0, v1::Wait::Witnessed).await;
    let lags = || watched.service.engine.witness_lags(&watched.service.log);
    let behind = |n: usize| lags()[2 * n].entries;
    until(|| (0..3).all(|n| behind(n) == 0)).await;
    watched.down(3);
    for n in 1..4 {
        watched.append(n, v1::Wait::Witnessed).await;
    }
    until(|| [0, 1, 2].map(behind) == [0, 0, 3]).await;
    let lags = lags();
    assert_eq!(lags[4].witness.to_string(), "w3a");
    assert!(lags[4].silent > lags[0].silent, "{lags:?}");
    assert_eq!(lags[6].entries, 4, "the poller never came");
    watched.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_says_no_is_asked_again_and_counts_for_nothing() {
    let watched = Watched::cleared(Publish::Signed, 100).await;
    watched.append(0, v1::Wait::Witnessed).await;
    let answers: [(StatusCode, &str, String); 6] = [
        (StatusCode::NOT_FOUND, "text/plain", String::new()),
        (StatusCode::OK, "text/plain", "no signature lines".to_owned()),
        (StatusCode::OK, "text/plain", "x".repeat(1 << 20)),
        (StatusCode::CONFLICT, "text/plain", "3\n".to_owned()),
        // More than was ever offered: not at a start, so it is nothing but wrong.
        (StatusCode::CONFLICT, "text/x.tlog.size", "9999\n".to_owned()),
        (StatusCode::UNPROCESSABLE_ENTITY, "text/plain", String::new()),
    ];
    let first = &watched.witnesses[0];
    for (n, answer) in (1..).zip(answers) {
        first.change(|state| (state.answer, state.answered) = (Some(answer), Vec::new()));
        watched.append(n, v1::Wait::Witnessed).await;
        until(|| !first.state.lock().unwrap().answered.is_empty()).await;
        assert_eq!(watched.service.engine.status(), EngineStatus::Running);
    }
    watched.up(1);
    let size = watched.append(7, v1::Wait::Witnessed).await.index + 1;
    until(|| first.seen_size() == Some(size)).await;
    // One that was restored from an old copy is believed in that, and goes on from there.
    first.change(|state| state.seen = None);
    let size = watched.append(8, v1::Wait::Witnessed).await.index + 1;
    until(|| first.seen_size() == Some(size)).await;
    watched.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_comes_sees_the_pending_head_proves_it_and_hands_in_its_cosignature() {
    let watched = Watched::cleared(Publish::Witnessed, 60_000).await;
    watched.append(0, v1::Wait::Witnessed).await;
    for n in 1..=3 {
        watched.down(n);
    }
    watched.append(1, v1::Wait::Durable).await;
    let request = || v1::WatchPendingRequest { log: LOG.to_owned() };
    let mut heads = watched.client().watch_pending(request()).await.unwrap().into_inner();
    let shown = loop {
        let shown = heads.message().await.unwrap().unwrap();
        if shown.head.as_ref().unwrap().size == 2 {
            break shown;
        }
    };
    assert!(!shown.witnessed);
    let head = shown.head.unwrap();
    let verified = watched.service.verified(Some(head.clone()));
    assert_eq!(watched.service.log.head().size().get(), 1, "it is ahead of the published one");
    let asked = |first_size, second_size| v1::GetPendingConsistencyRequest {
        log: LOG.to_owned(),
        first_size,
        second_size,
    };
    let proof =
        watched.client().get_pending_consistency(asked(1, 2)).await.unwrap().into_inner().proof.unwrap();
    let (from, root) = (TreeSize::from(1), leaf_hash(&entry(0)));
    let checkpoint = verified.checkpoint();
    verify_consistency(from, &root, checkpoint.size(), checkpoint.root(), &proof.to_merkle().unwrap())
        .unwrap();
    let beyond = watched.client().get_pending_consistency(asked(1, 3)).await;
    assert_eq!(refused(beyond, ErrorReason::SizeBeyondTree).number("size"), Some(2));
    refused(watched.client().get_pending_consistency(asked(2, 1)).await, ErrorReason::SizesReversed);

    let text = checkpoint.to_string();
    let line = |key: &LocalSigner, text: &str| sign_line(text, key, 1_900_000_000).unwrap().to_string();
    let hand_in = |tree_size, lines: String| {
        let mut client = watched.client();
        let signatures = Bytes::from(lines);
        async move {
            client
                .add_cosignature(v1::AddCosignatureRequest { log: LOG.to_owned(), tree_size, signatures })
                .await
        }
    };
    let good = line(&watched.poller, &text);
    let stranger =
        LocalSigner::generate("w.example/x".parse().unwrap(), SignatureType::CosignatureV1, &[8; 32]);
    refused(hand_in(2, line(&stranger.unwrap(), &text)).await, ErrorReason::WitnessUnknown);
    let of_another = line(&watched.poller, &text.replacen("\n2\n", "\n3\n", 1));
    refused_field(hand_in(2, of_another).await, ErrorReason::CosignatureInvalid, "signatures");
    for bad in [String::new(), "no line\n".to_owned(), good.repeat(17)] {
        refused_field(hand_in(2, bad).await, ErrorReason::CosignatureInvalid, "signatures");
    }
    let elsewhere = refused_field(hand_in(3, good.clone()).await, ErrorReason::NotPending, "tree_size");
    assert_eq!(elsewhere.number("size"), Some(2));
    assert!(!hand_in(2, good.clone()).await.unwrap().into_inner().witnessed);
    let shown = heads.message().await.unwrap().unwrap();
    assert!(shown.head.unwrap().checkpoint.ends_with(good.as_bytes()) && !shown.witnessed);
    assert!(!hand_in(2, good).await.unwrap().into_inner().witnessed, "a repeat changes nothing");
    for n in 1..=2 {
        watched.up(n);
    }
    loop {
        if heads.message().await.unwrap().unwrap().witnessed {
            break;
        }
    }
    watched.service.stop().await;
}

#[tokio::test]
async fn a_log_without_witnesses_has_nothing_for_them() {
    let service = Service::start().await;
    let mut client = WitnessServiceClient::new(service.channel.clone());
    refused(
        client.watch_pending(v1::WatchPendingRequest::default()).await,
        ErrorReason::WitnessPolicyMissing,
    );
    let asked = v1::GetPendingConsistencyRequest::default();
    refused(client.get_pending_consistency(asked).await, ErrorReason::WitnessPolicyMissing);
    let handed = v1::AddCosignatureRequest::default();
    refused(client.add_cosignature(handed).await, ErrorReason::WitnessPolicyMissing);
    service.stop().await;
}

/// One witness of three answers, and would have its answers count for all, or for now: the others' lines are public.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_start_a_witness_answers_for_itself_and_for_now() {
    let (dir, keys, witnesses) = prepared().await;
    let policy = policy_of(&keys, &witnesses, &poller());
    for witness in &witnesses[1..] {
        witness.change(|state| state.log = None);
    }
    let first = &witnesses[0];
    let empty = Checkpoint::new("example.com/audit".parse().unwrap(), TreeSize::ZERO, EMPTY_ROOT);
    let text = empty.to_string();
    let answers = |lines: String| {
        first.change(|state| {
            (state.answer, state.answered) = (Some((StatusCode::OK, "text/plain", lines)), Vec::new());
        });
    };
    let is_asked = |times| move || first.state.lock().unwrap().answered.len() >= times;
    // Before there is a server that asks.
    answers(witnesses.iter().map(|witness| witness.lines(&text, now_seconds() - 1)).collect());
    let mut service =
        Service::reopen(dir, witnessed(&policy, Publish::Signed, 5_000), ServerOptions::default()).await;
    let log = service.log.clone();
    service.run();
    until(is_asked(3)).await;
    let pending = || log.watch_pending().unwrap().borrow().clone();
    assert_eq!(pending().cosigned, [], "all of it was said before");
    answers(witnesses.iter().map(|witness| witness.lines(&text, now_seconds() + 2)).collect());
    until(|| !pending().cosigned.is_empty()).await;
    let cosigned: Vec<_> = pending().cosigned.iter().map(ToString::to_string).collect();
    assert_eq!(cosigned, ["w1a", "w1b"]);
    assert!(log.is_awaiting_witnesses());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_enough_witnesses_answer_appends_are_told_to_come_back() {
    let (dir, keys, witnesses) = prepared().await;
    let policy = policy_of(&keys, &witnesses, &poller());
    for witness in &witnesses[1..] {
        witness.change(|state| state.log = None);
    }
    let config = witnessed(&policy, Publish::Signed, 5_000);
    let mut service = Service::reopen(dir, config, ServerOptions::default()).await;
    service.run();
    until(|| witnesses[0].seen_size() == Some(0)).await;
    let early = service.client().append(append_request(entry(0))).await;
    assert!(refused(early, ErrorReason::WitnessesAwaited).retry_after().is_some());
    service.client().get_tree_head(v1::GetTreeHeadRequest::default()).await.unwrap();
    let log = (service.log.meta().origin.clone(), Arc::new(keys).to_vec());
    witnesses[2].change(|state| state.log = Some(log));
    let awaited = service.log.clone();
    until(|| !awaited.is_awaiting_witnesses()).await;
    service.client().append(append_request(entry(0))).await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_was_restored_while_the_log_was_away_does_not_clear_its_start() {
    let (dir, keys, witnesses) = prepared().await;
    let policy = policy_of(&keys, &witnesses, &poller());
    let config = || witnessed(&policy, Publish::Signed, 5_000);
    let mut service = Service::reopen(dir, config(), ServerOptions::default()).await;
    service.run();
    until(|| !service.log.is_awaiting_witnesses()).await;
    for n in 0..4 {
        let request = v1::AppendRequest { wait: v1::Wait::Witnessed.into(), ..append_request(entry(n)) };
        service.client().append(request).await.unwrap();
    }
    until(|| witnesses.iter().all(|witness| witness.seen_size() == Some(4))).await;
    until(|| service.engine.witness_lags(&service.log).iter().filter(|lag| lag.size == 4).count() == 6).await;
    let dir = service.stop().await;
    // The first is restored from an old copy, the third is away: what the second says is not enough.
    witnesses[0].change(|state| state.seen = None);
    witnesses[2].change(|state| {
        state.answer = Some((StatusCode::SERVICE_UNAVAILABLE, "text/plain", "closed".to_owned()));
    });
    let asked = || witnesses[0].state.lock().unwrap().answered.len();
    let before = asked();
    let mut service = Service::reopen(dir, config(), ServerOptions::default()).await;
    service.run();
    until(|| asked() > before + 3).await;
    assert!(service.log.is_awaiting_witnesses(), "it forgot, so that it knows nothing newer says nothing");
    witnesses[2].change(|state| state.answer = None);
    until(|| !service.log.is_awaiting_witnesses()).await;
    service.stop().await;
}
