//! A producer's numbers: what is missing is said within a second, what comes late is said too, and nothing is said of what only overtook.

use std::time::{Duration, Instant};

use graven_event::Facts;
use graven_proto::v1::{ErrorReason, GetProducerRequest, GetProducerResponse, SequenceRange};

use crate::rig::{ALL, House, event, numbered};
use crate::service::{refused_field, until};

async fn send(house: &House, stream: &str, sequence: u64) {
    let request = numbered(stream, sequence, event("alice", "auth.login"));
    assert!(!house.root().record(request).await.unwrap().into_inner().duplicate);
}

async fn producer(house: &House, name: &str, stream: &str) -> GetProducerResponse {
    let request = GetProducerRequest { log: "audit".to_owned(), stream: stream.to_owned() };
    house.events(name, ALL).get_producer(request).await.unwrap().into_inner()
}

/// The gaps that entries of a kind tell of.
fn told(house: &House, kind: &str) -> Vec<(u64, u64)> {
    let leaves = house.leaves("audit");
    let frames = leaves.iter().map(|leaf| &leaf.frame.as_ref().unwrap().facts);
    let gaps = frames.filter(|facts| facts.kind_word() == kind).map(|facts| match facts {
        Facts::Gap(gap) | Facts::Filled(gap) => (gap.first, gap.last),
        other => panic!("{other:?}"),
    });
    gaps.collect()
}

#[tokio::test]
async fn a_missing_number_is_an_entry_within_a_second_and_one_that_comes_late_another() {
    let house = House::new().await;
    for sequence in [1, 2, 5] {
        send(&house, "main", sequence).await;
    }
    let begun = Instant::now();
    until(|| !told(&house, "gap").is_empty()).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(told(&house, "gap"), [(3, 4)]);
    let missing = |first, last| vec![SequenceRange { first, last }];
    assert_eq!(
        producer(&house, "root", "main").await,
        GetProducerResponse { last_sequence: 5, missing: missing(3, 4) }
    );
    send(&house, "main", 3).await;
    assert_eq!(told(&house, "filled"), [(3, 3)]);
    assert_eq!(producer(&house, "root", "main").await.missing, missing(4, 4));
    // What is known is not said again, nor after a restart.
    let house = house.restart().await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(told(&house, "gap"), [(3, 4)]);
    assert_eq!(
        producer(&house, "root", "main").await,
        GetProducerResponse { last_sequence: 5, missing: missing(4, 4) }
    );
    send(&house, "main", 4).await;
    assert_eq!(told(&house, "filled"), [(3, 3), (4, 4)]);
    assert_eq!(producer(&house, "root", "main").await.missing, []);
    house.stop().await;
}

#[tokio::test]
async fn what_overtakes_within_the_grace_is_no_gap() {
    let house = House::new().await;
    for sequence in [3, 1, 2, 6, 4, 5] {
        send(&house, "main", sequence).await;
    }
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!((told(&house, "gap"), told(&house, "filled")), (vec![], vec![]));
    assert_eq!(
        producer(&house, "root", "main").await,
        GetProducerResponse { last_sequence: 6, missing: vec![] }
    );
    house.stop().await;
}

#[tokio::test]
async fn a_gap_that_was_open_at_a_stop_is_told_of_after_it() {
    let house = House::new().await;
    for sequence in [1, 4] {
        send(&house, "main", sequence).await;
    }
    assert_eq!(told(&house, "gap"), []);
    let house = house.restart().await;
    until(|| !told(&house, "gap").is_empty()).await;
    assert_eq!(told(&house, "gap"), [(2, 3)]);
    house.stop().await;
}

#[tokio::test]
async fn a_caller_is_told_of_its_own_streams_only() {
    let house = House::new().await;
    send(&house, "main", 9).await;
    let nothing = GetProducerResponse::default();
    assert_eq!(producer(&house, "root", "main").await.last_sequence, 9);
    assert_eq!(producer(&house, "root", "side").await, nothing);
    // Not by another name, nor by one that is put together from a name and a stream.
    for (name, stream) in [("other", "main"), ("root/main", ""), ("roo", "t.main")] {
        if stream.is_empty() {
            let request = GetProducerRequest { log: "audit".to_owned(), stream: String::new() };
            let answer = house.events(name, ALL).get_producer(request).await;
            refused_field(answer, ErrorReason::FieldRequired, "producer.stream");
        } else {
            assert_eq!(producer(&house, name, stream).await, nothing);
        }
    }
    house.stop().await;
}

/// An event may name anybody: that does not make its parties producers, and erasing them forgets no numbers.
#[tokio::test]
async fn a_party_of_an_event_is_no_producer() {
    let house = House::new().await;
    send(&house, "main", 1).await;
    let mut impostor = event("root/main", "auth.login");
    impostor.actor.as_mut().unwrap().kind = "producer".to_owned();
    house.record(impostor).await;
    let request = graven_proto::v1::EraseSubjectRequest {
        log: "audit".to_owned(),
        subject: "producer:root/main".to_owned(),
        authority: "gdpr-17".to_owned(),
    };
    house.root().erase_subject(request).await.unwrap();
    assert_eq!(producer(&house, "root", "main").await.last_sequence, 1);
    house.stop().await;
}
