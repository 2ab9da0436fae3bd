//! `RecordStream`: events as they come, acknowledged in order; and `Tail`, events as they are published.

use graven_proto::Refusal;
use graven_proto::v1::record_stream_request::Message;
use graven_proto::v1::{
    self, ErrorReason, RecordStreamEvent, RecordStreamOpen, RecordStreamRequest, RecordStreamResponse,
    TailRequest,
};
use tonic::{Status, Streaming};

use crate::rig::{House, event, numbered};
use crate::service::refused;

fn open(producer_stream: &str) -> RecordStreamRequest {
    let (log, producer_stream) = ("audit".to_owned(), producer_stream.to_owned());
    let open = RecordStreamOpen { log, producer_stream, ..Default::default() };
    RecordStreamRequest { message: Some(Message::Open(open)) }
}

fn next(seq: u64, event: v1::Event) -> RecordStreamRequest {
    RecordStreamRequest { message: Some(Message::Event(RecordStreamEvent { seq, event: Some(event) })) }
}

fn login(n: u64) -> v1::Event {
    event(&format!("user-{n}"), "auth.login")
}

async fn call(
    house: &House,
    messages: Vec<RecordStreamRequest>,
) -> Result<Streaming<RecordStreamResponse>, Status> {
    let stream = tokio_stream::iter(messages);
    house.root().record_stream(stream).await.map(tonic::Response::into_inner)
}

/// All acknowledgements, and how it ended.
async fn acks(mut stream: Streaming<RecordStreamResponse>) -> (Vec<RecordStreamResponse>, Option<Status>) {
    let mut acks = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(ack)) => acks.push(ack),
            Ok(None) => return (acks, None),
            Err(status) => return (acks, Some(status)),
        }
    }
}

#[tokio::test]
async fn a_stream_is_acknowledged_in_order_without_a_hole() {
    let house = House::new().await;
    let events = (1..=3000).map(|n| next(n, login(n)));
    let stream = call(&house, [open("main")].into_iter().chain(events).collect()).await.unwrap();
    let (acks, ended) = acks(stream).await;
    assert!(ended.is_none(), "{ended:?}");
    let (mut expected, leaves) = (1, house.leaves("audit"));
    for ack in &acks {
        assert_eq!((ack.seq, ack.duplicate), (expected, false));
        expected += ack.count;
        let frame = leaves[usize::try_from(ack.first_index).unwrap()].frame.as_ref().unwrap();
        assert_eq!(frame.sequence, ack.seq);
    }
    assert_eq!(expected, 3001);
    assert_eq!(leaves.len(), 3001);
    house.stop().await;
}

#[tokio::test]
async fn an_error_names_its_event_and_everything_before_it_is_acknowledged() {
    let house = House::new().await;
    let mut messages: Vec<_> =
        [open("main")].into_iter().chain((1..=600).map(|n| next(n, login(n)))).collect();
    messages.push(next(601, v1::Event { outcome: 0, ..login(601) }));
    messages.push(next(602, login(602)));
    let (acked, ended) = acks(call(&house, messages).await.unwrap()).await;
    assert_eq!(acked.iter().map(|ack| ack.count).sum::<u64>(), 600);
    let refusal = Refusal::of(&ended.unwrap()).unwrap();
    assert_eq!((refusal.reason(), refusal.fact("seq")), (ErrorReason::EventInvalid, Some("601")));
    let kinds = house.kinds("audit");
    assert_eq!(kinds.iter().filter(|kind| **kind == "event").count(), 600);
    assert_eq!(kinds.iter().filter(|kind| **kind == "rejected").count(), 1);

    for (messages, seq) in [
        (vec![open(""), next(5, login(5)), next(7, login(7))], Some("7")),
        (vec![open(""), next(5, login(5)), next(5, login(5))], Some("5")),
        (vec![open(""), next(5, login(5)), open("")], None),
    ] {
        let (acked, ended) = acks(call(&house, messages).await.unwrap()).await;
        assert_eq!(acked.iter().map(|ack| (ack.seq, ack.count)).collect::<Vec<_>>(), [(5, 1)]);
        let refusal = Refusal::of(&ended.unwrap()).unwrap();
        assert_eq!((refusal.reason(), refusal.fact("seq")), (ErrorReason::StreamOutOfOrder, seq));
    }
    refused(call(&house, vec![next(1, login(1))]).await, ErrorReason::StreamOutOfOrder);
    refused(call(&house, Vec::new()).await, ErrorReason::FieldRequired);
    refused(call(&house, vec![open("NO")]).await, ErrorReason::FieldRequired);
    house.stop().await;
}

#[tokio::test]
async fn a_tail_tells_what_is_there_and_then_what_comes() {
    let house = House::new().await;
    for n in 0..5 {
        house.record(login(n)).await;
    }
    let tail = |from_index, query: &str| TailRequest {
        log: "audit".to_owned(),
        from_index,
        query: query.to_owned(),
        ..Default::default()
    };
    let mut stream = house.root().tail(tail(0, "action:auth.login")).await.unwrap().into_inner();
    let mut told = Vec::new();
    while told.len() < 5 {
        told.extend(stream.message().await.unwrap().unwrap().hits);
    }
    let later = house.record(event("new", "auth.logout")).await.index;
    house.root().record(numbered("t", 1, login(9))).await.unwrap();
    while told.len() < 6 {
        let message = stream.message().await.unwrap().unwrap();
        told.extend(message.hits);
    }
    assert!(told.is_sorted_by(|one, next| one.index < next.index));
    assert_eq!(told[5].event.as_ref().unwrap().actor.as_ref().unwrap().id, "user-9");
    assert!(told.iter().all(|hit| hit.index != later));
    let until = TailRequest { until_now: true, ..tail(later, "") };
    let mut ends = house.root().tail(until).await.unwrap().into_inner();
    let mut rest = 0;
    while let Some(message) = ends.message().await.unwrap() {
        rest += message.hits.len();
    }
    assert_eq!(rest, 2);
    refused(house.root().tail(tail(1 << 40, "")).await, ErrorReason::IndexBeyondTree);
    refused(house.root().tail(tail(0, "nothing:x")).await, ErrorReason::QueryInvalid);
    drop(stream);
    house.stop().await;
}
