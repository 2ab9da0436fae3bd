//! Retention: payloads of a class go when their time is over, by an entry that says so, and nothing else goes.

use std::time::Duration;

use graven_proto::v1::{self, ErrorReason, QueryRequest, RecordBatchRequest};

use crate::rig::{House, ask, event};
use crate::service::{refused, until};

fn define(name: &str, keep: Option<(i64, i32)>) -> v1::DefineRetentionRequest {
    let keep = keep.map(|(seconds, nanos)| prost_types::Duration { seconds, nanos });
    v1::DefineRetentionRequest { log: "audit".to_owned(), name: name.to_owned(), keep }
}

async fn fill(house: &House, retention: &str, count: usize) {
    for part in vec![event(&format!("{retention}-person"), "auth.login"); count].chunks(250) {
        let request = RecordBatchRequest {
            log: "audit".to_owned(),
            events: part.to_vec(),
            retention: retention.to_owned(),
            ..Default::default()
        };
        house.root().record_batch(request).await.unwrap();
    }
}

#[tokio::test]
async fn payloads_whose_time_is_over_are_dropped_and_said_to_be() {
    let house = House::new().await;
    house.root().define_retention(define("brief", Some((1, 0)))).await.unwrap();
    fill(&house, "brief", 300).await;
    fill(&house, "", 300).await;
    let hold = v1::PlaceHoldRequest {
        log: "audit".to_owned(),
        classes: vec!["brief".to_owned()],
        authority: "case-1".to_owned(),
        ..Default::default()
    };
    let hold = house.root().place_hold(hold).await.unwrap().into_inner().hold;
    let book = house.audit.book("audit").unwrap();
    until(|| book.log().sealed_size() >= 512).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    house.audit.expire(&book).await.unwrap();
    assert!(!house.kinds("audit").contains(&"expiry"), "a hold blocks it");
    let release = v1::ReleaseHoldRequest { log: "audit".to_owned(), hold, authority: "case-1".to_owned() };
    house.root().release_hold(release).await.unwrap();
    house.audit.expire(&book).await.unwrap();
    house.audit.expire(&book).await.unwrap();
    assert_eq!(house.kinds("audit").iter().filter(|kind| **kind == "expiry").count(), 1);

    let listed = v1::ListRetentionRequest { log: "audit".to_owned() };
    let listed = house.root().list_retention(listed).await.unwrap().into_inner();
    let brief = listed.classes.iter().find(|class| class.name == "brief").unwrap();
    let before = brief.dropped_before;
    assert!(before >= 256 && listed.holds.is_empty(), "{listed:?}");
    assert_eq!(brief.keep.as_ref().unwrap().seconds, 1);

    // The journal may still have them; a server that starts anew has what is on its disk.
    let house = house.restart().await;
    let request = QueryRequest { prove: true, page_size: 1000, ascending: true, ..ask("kind:event") };
    let page = house.root().query(request).await.unwrap().into_inner();
    house.assert_proven(&page);
    assert_eq!(page.hits.len(), 600);
    let (mut dropped, mut kept) = (0, 0);
    for hit in &page.hits {
        let actor = hit.event.as_ref().unwrap().actor.clone();
        let class = u64::from(hit.index > 301);
        match hit.dropped {
            true => {
                assert!(actor.is_none() && hit.index < before && class == 0, "{hit:?}");
                assert!(hit.erased.is_empty() && hit.hidden.is_empty());
                assert_eq!(hit.event.as_ref().unwrap().action, "auth.login");
                dropped += 1;
            }
            false => {
                assert!(actor.is_some(), "{hit:?}");
                kept += 1;
            }
        }
    }
    assert!(dropped > 0 && kept >= 300, "{dropped} dropped, {kept} kept");
    house.stop().await;
}

#[tokio::test]
async fn what_cannot_be_kept_so_is_refused() {
    let house = House::new().await;
    for (name, keep) in [
        ("", None),
        ("UPPER", None),
        ("with space", None),
        (&*"x".repeat(64), None),
        ("short", Some((0, 0))),
        ("short", Some((-1, 0))),
        ("short", Some((1, 500_000_000))),
        ("short", Some((0, 500_000_000))),
    ] {
        refused(house.root().define_retention(define(name, keep)).await, ErrorReason::RetentionInvalid);
    }
    for keep in [Some((i64::MAX, 0)), None, Some((1, 0))] {
        house.root().define_retention(define("short", keep)).await.unwrap();
    }
    let listed = v1::ListRetentionRequest { log: "audit".to_owned() };
    let listed = house.root().list_retention(listed).await.unwrap().into_inner();
    assert_eq!(listed.classes.len(), 1);
    let hold = v1::PlaceHoldRequest {
        log: "audit".to_owned(),
        classes: vec!["nothing".to_owned()],
        authority: "case-1".to_owned(),
        ..Default::default()
    };
    refused(house.root().place_hold(hold).await, ErrorReason::RetentionUnknown);
    // A class is kept for ever unless it is said not to be.
    fill(&house, "", 300).await;
    let book = house.audit.book("audit").unwrap();
    until(|| book.log().sealed_size() >= 256).await;
    house.audit.expire(&book).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    house.audit.expire(&book).await.unwrap();
    let old = house.find("kind:event").await;
    assert!(old.iter().all(|hit| !hit.dropped && hit.event.as_ref().unwrap().actor.is_some()));
    house.stop().await;
}

#[tokio::test]
async fn classes_that_are_made_at_the_same_time_are_classes_of_their_own() {
    let house = House::new().await;
    let names: Vec<String> = (0..16).map(|n| format!("class-{n}")).collect();
    let making = names.iter().map(|name| {
        let mut root = house.root();
        async move { root.define_retention(define(name, Some((3600, 0)))).await.unwrap() }
    });
    futures_util::future::join_all(making).await;
    let reading = house.traces().len();
    let listed = v1::ListRetentionRequest { log: "audit".to_owned() };
    let listed = house.root().list_retention(listed).await.unwrap().into_inner();
    let mut found: Vec<_> = listed.classes.into_iter().map(|class| class.name).collect();
    let mut names = names;
    found.sort();
    names.sort();
    assert_eq!(found, names);
    let traces = house.traces_since(reading);
    assert_eq!(traces.len(), 1, "what is kept is told to nobody unseen: {traces:?}");
    assert_eq!(traces[0].action, "graven.retention.list");
    for name in &names {
        fill(&house, name, 1).await;
    }
    house.stop().await;
}
