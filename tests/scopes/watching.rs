//! Following commands: from an index on, refused ones too, until the server stops.

use graven_proto::v1::{self, ErrorReason};

use crate::desk::{asking, log, revoking};
use crate::rig::House;
use crate::service::{refused, until};

#[tokio::test]
async fn commands_come_as_they_are_made_and_the_end_is_noted() {
    let mut house = House::governed().await;
    house.define(&["pay.read"]).await;
    let granted = house.grant("billing", &["pay.read"]).await;
    house.check("billing", &["pay.read"]).await;
    let request = v1::WatchScopesRequest { log: log(), ..Default::default() };
    let mut watch = house.scopes("ann").watch(request).await.unwrap().into_inner();
    let mut steps = Vec::new();
    while steps.len() < 3 {
        steps.extend(watch.message().await.unwrap().unwrap().steps);
    }
    let words: Vec<_> = steps.iter().map(|step| step.what.as_str()).collect();
    assert_eq!(words, ["define", "request", "approve"]);
    house.scopes("root").revoke_grant(revoking(&granted.id)).await.unwrap();
    drop(house.scopes("application:billing").request_grant(asking("billing", &["pay.read"])).await);
    let mut steps = Vec::new();
    let mut next = 0;
    while steps.len() < 2 {
        let message = watch.message().await.unwrap().unwrap();
        assert!(message.next_index > next);
        next = message.next_index;
        steps.extend(message.steps);
    }
    assert_eq!((steps[0].what.as_str(), steps[0].refused.as_str()), ("revoke", ""));
    assert_eq!((steps[1].what.as_str(), steps[1].refused.as_str()), ("request", "self-grant"));
    assert_eq!(steps[1].by, "application:billing");

    let request = v1::WatchScopesRequest { log: log(), from_now: true, ..Default::default() };
    let mut from_now = house.scopes("ann").watch(request).await.unwrap().into_inner();
    let beyond = v1::WatchScopesRequest { log: log(), from_index: 1_000_000, from_now: false };
    refused(house.scopes("ann").watch(beyond).await, ErrorReason::IndexBeyondTree);
    house.define(&["other"]).await;
    assert_eq!(from_now.message().await.unwrap().unwrap().steps[0].what, "define");
    drop(from_now);
    house.traced("graven.scopes.watch.close", 1).await;
    // Who listens does not keep the server from stopping.
    house.begin_stop();
    let end = loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ends with a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(graven_proto::Refusal::of(&end).unwrap().reason(), ErrorReason::ShuttingDown);
    until(|| house.traces().iter().filter(|it| it.action == "graven.scopes.watch.close").count() == 2).await;
    let opened: Vec<_> =
        house.traces().into_iter().filter(|trace| trace.action == "graven.scopes.watch.open").collect();
    assert_eq!((opened.len(), opened[0].actor.as_str()), (2, "ann"));
    house.stop().await;
}
