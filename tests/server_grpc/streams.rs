//! `AppendStream`.

use std::time::Duration;

use bytes::Bytes;
use graven_log::{Config, Engine, Env};
use graven_proto::v1::append_stream_request::Message;
use graven_proto::v1::log_service_client::LogServiceClient;
use graven_proto::v1::{
    AppendStreamEntry, AppendStreamOpen, AppendStreamRequest, AppendStreamResponse, ErrorReason,
    FreezeLogRequest, Wait,
};
use graven_server::ServerOptions;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::service::{Service, append_request, config, entry, refused, refused_field, until};

type Sender = mpsc::Sender<AppendStreamRequest>;

fn open(wait: Wait) -> AppendStreamRequest {
    let open = AppendStreamOpen { log: "audit".to_owned(), wait: wait.into() };
    AppendStreamRequest { message: Some(Message::Open(open)) }
}

fn numbered(seq: u64, entry: Bytes) -> AppendStreamRequest {
    keyed(seq, entry, "")
}

fn keyed(seq: u64, entry: Bytes, key: &str) -> AppendStreamRequest {
    let entry =
        AppendStreamEntry { seq, entry, idempotency_key: key.to_owned(), idempotency_issued_at: None };
    AppendStreamRequest { message: Some(Message::Entry(entry)) }
}

/// A stream with everything that is to be sent: the sender closes it when it goes.
async fn start(
    mut client: LogServiceClient<Channel>,
    first: Vec<AppendStreamRequest>,
) -> (Sender, Result<Streaming<AppendStreamResponse>, Status>) {
    let (sender, messages) = mpsc::channel(first.len().max(64));
    for message in first {
        sender.send(message).await.unwrap();
    }
    let answers = client.append_stream(ReceiverStream::new(messages)).await;
    (sender, answers.map(|answers| answers.into_inner()))
}

/// Sends all of it, and returns what was acknowledged with the end of the stream.
async fn run(
    service: &Service,
    messages: Vec<AppendStreamRequest>,
) -> (Vec<AppendStreamResponse>, Result<(), Status>) {
    match service.client().append_stream(tokio_stream::iter(messages)).await {
        Ok(answers) => read(answers.into_inner()).await,
        Err(status) => (Vec::new(), Err(status)),
    }
}

async fn read(
    mut answers: Streaming<AppendStreamResponse>,
) -> (Vec<AppendStreamResponse>, Result<(), Status>) {
    let mut acks = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(ack)) => acks.push(ack),
            Ok(None) => return (acks, Ok(())),
            Err(status) => return (acks, Err(status)),
        }
    }
}

/// How many entries are acknowledged, without a gap from `seq` on.
#[track_caller]
fn acknowledged(acks: &[AppendStreamResponse], seq: u64) -> u64 {
    let mut next = seq;
    for ack in acks {
        assert!(ack.seq == next && ack.count >= 1, "{ack:?} instead of {next}");
        assert!(ack.log_time.is_some());
        next += ack.count;
    }
    next - seq
}

#[tokio::test]
async fn entries_are_acknowledged_in_order_in_few_messages() {
    let service = Service::start().await;
    let mut messages = vec![open(Wait::Unspecified)];
    messages.extend((0..20_000).map(|n| numbered(500 + n, entry(n))));
    let (acks, end) = run(&service, messages).await;
    end.unwrap();
    assert_eq!(acknowledged(&acks, 500), 20_000);
    assert!(acks.len() < 2000, "{} messages", acks.len());
    service.engine.published(&service.log, 20_000).await.unwrap();
    for ack in acks {
        let range = ack.first_index..ack.first_index + ack.count;
        let stored = service.log.entries(range, usize::MAX).unwrap();
        assert!(stored.into_iter().zip(ack.seq - 500..).all(|(stored, n)| stored == entry(n)));
    }
    service.stop().await;
}

#[tokio::test]
async fn a_lone_entry_is_acknowledged_at_once() {
    let service = Service::start().await;
    let (sender, answers) = start(service.client(), vec![open(Wait::Durable)]).await;
    let mut answers = answers.unwrap();
    for n in 0..5 {
        sender.send(numbered(n, entry(n))).await.unwrap();
        let ack = answers.message().await.unwrap().unwrap();
        assert_eq!((ack.seq, ack.count, ack.first_index, ack.head), (n, 1, n, None));
    }
    drop(sender);
    assert!(answers.message().await.unwrap().is_none());
    service.stop().await;
}

#[tokio::test]
async fn acknowledgements_may_wait_for_the_checkpoint() {
    let service = Service::start().await;
    let mut messages = vec![open(Wait::Published)];
    messages.extend((0..6000).map(|n| numbered(n, entry(n))));
    let (acks, end) = run(&service, messages).await;
    end.unwrap();
    assert_eq!(acknowledged(&acks, 0), 6000);
    for ack in acks {
        let head = service.verified(ack.head);
        assert!(head.checkpoint().size().get() >= ack.first_index + ack.count);
    }
    service.stop().await;
}

#[tokio::test]
async fn a_refused_entry_ends_the_stream_behind_those_before_it() {
    let service = Service::start().await;
    let too_large = vec![7; 65_536].into();
    let cases = [
        (numbered(105, Bytes::new()), ErrorReason::EntryEmpty, Some("entry.entry")),
        (numbered(105, too_large), ErrorReason::EntryTooLarge, Some("entry.entry")),
        (keyed(105, entry(0), "bad key"), ErrorReason::IdempotencyKeyInvalid, Some("idempotency_key")),
        (numbered(107, entry(0)), ErrorReason::StreamOutOfOrder, Some("entry.seq")),
        (numbered(104, entry(0)), ErrorReason::StreamOutOfOrder, Some("entry.seq")),
        (open(Wait::Durable), ErrorReason::StreamOutOfOrder, None),
        (AppendStreamRequest { message: None }, ErrorReason::FieldRequired, Some("message")),
    ];
    let mut size = 0;
    for (bad, reason, field) in cases {
        let seq = match &bad.message {
            Some(Message::Entry(entry)) => entry.seq,
            _ => 105,
        };
        let mut messages = vec![open(Wait::Durable)];
        messages.extend((100..105).map(|n| numbered(n, entry(n))));
        messages.extend([bad, numbered(106, entry(6))]);
        let (acks, end) = run(&service, messages).await;
        assert_eq!(acknowledged(&acks, 100), 5);
        let refusal = refused(end, reason);
        assert_eq!((refusal.number("seq"), refusal.field()), (Some(seq), field));
        size += 5;
        service.assert_size(size).await;
    }
    service.stop().await;
}

#[tokio::test]
async fn the_first_message_opens_the_stream() {
    let service = Service::start().await;
    let (_, end) = run(&service, vec![numbered(3, entry(0))]).await;
    assert_eq!(refused(end, ErrorReason::StreamOutOfOrder).number("seq"), Some(3));
    let (_, end) = run(&service, vec![]).await;
    refused_field(end, ErrorReason::FieldRequired, "open");
    let (_, end) = run(&service, vec![open(Wait::Witnessed)]).await;
    refused_field(end, ErrorReason::WitnessPolicyMissing, "wait");
    let elsewhere = AppendStreamOpen { log: "nope".to_owned(), wait: 0 };
    let (_, end) = run(&service, vec![AppendStreamRequest { message: Some(Message::Open(elsewhere)) }]).await;
    refused_field(end, ErrorReason::LogNotFound, "log");
    service.stop().await;
}

#[tokio::test]
async fn each_entry_may_have_a_key_and_nothing_follows_a_refused_one() {
    let service = Service::start().await;
    let all = |last: &'static str| {
        let mut messages = vec![open(Wait::Durable), numbered(0, entry(0))];
        messages.extend((1..4).map(|n| keyed(n, entry(n), &format!("k{n}"))));
        messages.extend([keyed(4, entry(4), last), numbered(5, entry(5))]);
        messages
    };
    let (acks, end) = run(&service, all("k4")).await;
    end.unwrap();
    assert_eq!(acknowledged(&acks, 0), 6);

    // Again: what has a key is not appended twice, and says so.
    let (acks, end) = run(&service, all("k4")).await;
    end.unwrap();
    assert_eq!(acknowledged(&acks, 0), 6);
    for ack in &acks {
        let is_repeat = (1..5).contains(&ack.seq);
        assert_eq!(ack.duplicate, is_repeat);
        assert!(!is_repeat || ack.first_index == ack.seq);
    }
    service.assert_size(8).await;

    let (acks, end) = run(&service, all("k3")).await;
    assert_eq!(acknowledged(&acks, 0), 4);
    let refusal = refused_field(end, ErrorReason::IdempotencyKeyReused, "idempotency_key");
    assert_eq!(refusal.number("seq"), Some(4));
    service.assert_size(9).await;
    service.stop().await;
}

#[tokio::test]
async fn a_log_that_is_frozen_midway_ends_the_stream() {
    let service = Service::start().await;
    let (sender, answers) = start(service.client(), vec![open(Wait::Durable), numbered(0, entry(0))]).await;
    let mut answers = answers.unwrap();
    answers.message().await.unwrap().unwrap();
    service.admin().freeze_log(FreezeLogRequest { log: "audit".to_owned() }).await.unwrap();
    sender.send(numbered(1, entry(1))).await.unwrap();
    let refusal = refused(answers.message().await, ErrorReason::LogFrozen);
    assert_eq!(refusal.number("seq"), Some(1));
    service.stop().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_loses_nothing_that_was_acknowledged() {
    let service = Service::start().await;
    let mut messages = vec![open(Wait::Durable)];
    messages.extend((0..5000).map(|n| numbered(n, entry(n))));
    let (sender, answers) = start(service.client(), messages).await;
    let mut answers = answers.unwrap();
    let mut acks = Vec::new();
    while acknowledged(&acks, 0) < 1000 {
        acks.push(answers.message().await.unwrap().unwrap());
    }
    drop((sender, answers));
    let dir = service.stop().await;
    let engine = Engine::open(Env::system(), &dir.path().join("data"), config()).unwrap();
    let log = engine.log("audit").unwrap();
    for ack in acks {
        let stored = log.entries(ack.first_index..ack.first_index + ack.count, usize::MAX).unwrap();
        assert!(stored.into_iter().zip(ack.seq..).all(|(stored, n)| stored == entry(n)));
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from_either() {
    const ENTRY_BYTES: usize = 16 << 10;
    let service = Service::start().await;
    let url = service.url.clone();
    // A small window for answers, so that it fills up soon.
    let channel =
        Channel::from_shared(url).unwrap().initial_stream_window_size(2048).connect().await.unwrap();
    let (sender, answers) = start(LogServiceClient::new(channel), vec![open(Wait::Durable)]).await;
    let mut sent = 0;
    while let Ok(Ok(())) =
        tokio::time::timeout(Duration::from_secs(1), sender.send(numbered(sent, vec![7; ENTRY_BYTES].into())))
            .await
    {
        sent += 1;
        assert!(sent < 16_384, "256 MiB were taken in from a client that reads nothing");
    }
    let taken_in = service.log.durable_size();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(service.log.durable_size(), taken_in, "it stands still");
    service.client().append(append_request(entry(0))).await.unwrap();

    // Once it reads, everything goes on.
    drop(sender);
    let (acks, end) = read(answers.unwrap()).await;
    end.unwrap();
    assert_eq!(acknowledged(&acks, 0), sent);
    service.stop().await;
}

#[tokio::test]
async fn a_stream_waits_for_room_where_a_call_is_refused() {
    let mut service = Service::start_halted(Config { max_pending_bytes: 64 << 10, ..config() }).await;
    let mut messages = vec![open(Wait::Durable)];
    messages.extend((0..40).map(|n| numbered(n, vec![7; 8 << 10].into())));
    let streaming = tokio::spawn({
        let (client, first) = (service.client(), messages);
        async move {
            let (sender, answers) = start(client, first).await;
            drop(sender);
            read(answers.unwrap()).await
        }
    });
    // The engine does not run: the stream has taken all the room, or waits for it.
    let mut client = service.client();
    let refusal = loop {
        let call = client.append(append_request(vec![7; 32 << 10]));
        match tokio::time::timeout(Duration::from_millis(50), call).await {
            Ok(answer) => break refused(answer, ErrorReason::Overloaded),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert!(refusal.retry_after().is_some());
    service.run();
    let (acks, end) = streaming.await.unwrap();
    end.unwrap();
    assert_eq!(acknowledged(&acks, 0), 40);
    service.stop().await;
}

#[tokio::test]
async fn a_stopping_server_says_where_to_go_on() {
    let mut service = Service::start_with(config(), ServerOptions::default()).await;
    let mut messages = vec![open(Wait::Durable)];
    messages.extend((10..20).map(|n| numbered(n, entry(n))));
    let (sender, answers) = start(service.client(), messages).await;
    let answers = answers.unwrap();
    let log = service.log.clone();
    until(|| log.durable_size() == 10).await;
    service.begin_stop();
    let (acks, end) = read(answers).await;
    assert_eq!(acknowledged(&acks, 10), 10);
    assert_eq!(refused(end, ErrorReason::ShuttingDown).number("seq"), Some(20));
    drop(sender);
    service.stop().await;
}
