//! `EraseSubject`: nothing of the person is read or found again, everything of the others is, and every proof stays valid.

use graven_event::map::remap;
use graven_event::{Disclosure, Group, disclosure::Disclosed};
use graven_note::{Policy, TlogProof};
use graven_proto::v1::{self, EraseSubjectRequest, ErrorReason, QueryRequest, RevealRequest};

use crate::rig::{ALL, House, ask, event, indices, of};
use crate::service::{refused, refused_field};

fn erase(subject: &str) -> EraseSubjectRequest {
    EraseSubjectRequest {
        log: "audit".to_owned(),
        subject: subject.to_owned(),
        authority: "gdpr-17".to_owned(),
    }
}

/// Alice does something to Bob.
fn of_two() -> v1::Event {
    v1::Event {
        targets: vec![v1::Target {
            kind: "user".to_owned(),
            id: "bob".to_owned(),
            name: "Bob B.".to_owned(),
        }],
        reason: "about both".to_owned(),
        context: Some(v1::Context { ip: "192.0.2.7".to_owned(), ..Default::default() }),
        labels: [("tier".to_owned(), "gold".to_owned())].into(),
        ..event("alice", "admin.role.assign")
    }
}

/// Checks a disclosure as anybody would, offline.
fn verified(house: &House, text: &[u8]) -> Disclosed {
    let text = std::str::from_utf8(text).unwrap();
    let disclosure = Disclosure::parse(text).unwrap();
    let opened = disclosure.open(|raw| remap(raw).and_then(Result::ok)).unwrap();
    let log = house.engine.log("audit").unwrap();
    let policy =
        log.meta().keys.iter().map(|key| format!("log {key}\n")).collect::<String>() + "quorum none\n";
    let proof = TlogProof::parse(disclosure.proof.as_bytes()).unwrap();
    proof.verify(opened.leaf_hash, &Policy::parse(policy.as_bytes()).unwrap()).unwrap();
    opened
}

async fn reveal(house: &House, index: u64) -> bytes::Bytes {
    let request = RevealRequest { log: "audit".to_owned(), indices: vec![index], ..Default::default() };
    house.root().reveal(request).await.unwrap().into_inner().disclosures.remove(0)
}

#[tokio::test]
async fn of_two_people_in_one_event_the_other_stays_readable() {
    let house = House::new().await;
    let at = house.record(of_two()).await.index;
    let alone = house.record(event("alice", "auth.login")).await.index;
    let before = reveal(&house, at).await;
    let shown = verified(&house, &before);
    assert_eq!(shown.view.actor.as_ref().unwrap().id, "alice");
    let proven = QueryRequest { prove: true, ..ask("kind:event") };
    let old_page = house.root().query(proven.clone()).await.unwrap().into_inner();

    let erased = house.root().erase_subject(erase("alice")).await.unwrap().into_inner();
    assert_eq!((erased.index, erased.reference.len()), (3, 16));
    assert_eq!(house.kinds("audit")[3], "erasure");

    let hit = house.find("target:bob").await.remove(0);
    assert_eq!(hit.index, at);
    let left = hit.event.clone().unwrap();
    assert_eq!(left.targets, of_two().targets);
    assert_eq!(left.labels, of_two().labels);
    assert_eq!((left.actor, left.reason.as_str(), left.context), (None, "", None));
    let mut gone = hit.erased.clone();
    gone.sort();
    assert_eq!(gone, ["actor", "context", "decision"]);
    // What the index finds nothing of is nowhere: not by name, address, or a negation that would tell.
    for query in ["actor:alice", "actor:user:alice", "ip:192.0.2.7", "client:alice"] {
        assert!(house.find(query).await.is_empty(), "{query}");
    }
    assert_eq!(indices(&house.find("kind:event -actor:alice").await), [alone, at]);
    let answers = house.find("").await;
    assert!(
        !answers
            .iter()
            .any(|hit| String::from_utf8_lossy(&prost::Message::encode_to_vec(hit)).contains("alice"))
    );

    // Old disclosures and proofs hold, new ones show what is left.
    assert_eq!(verified(&house, &before).view.actor.unwrap().id, "alice");
    house.assert_proven(&old_page);
    house.assert_proven(&house.root().query(proven).await.unwrap().into_inner());
    let after = verified(&house, &reveal(&house, at).await);
    assert_eq!((after.shown, after.view.actor), (vec![Group::Targets, Group::Origin], None));

    // Whoever has the name afterwards is somebody else.
    refused(house.root().erase_subject(erase("alice")).await, ErrorReason::SubjectUnknown);
    let again = house.record(event("alice", "auth.login")).await.index;
    assert_eq!(indices(&house.find("actor:alice").await), [again]);
    let second = house.root().erase_subject(erase("user:alice")).await.unwrap().into_inner();
    assert_ne!(second.reference, erased.reference);
    assert!(house.find("actor:alice").await.is_empty());
    house.stop().await;
}

#[tokio::test]
async fn whoever_is_unknown_held_or_unnamed_is_not_erased() {
    let house = House::new().await;
    for name in ["alice", "bob"] {
        house.record(event(name, "auth.login")).await;
    }
    refused(house.root().erase_subject(erase("nobody")).await, ErrorReason::SubjectUnknown);
    refused(house.root().erase_subject(erase("service:alice")).await, ErrorReason::SubjectUnknown);
    refused_field(house.root().erase_subject(erase("")).await, ErrorReason::FieldRequired, "subject");
    for authority in ["", "x\n", "\u{202e}x", &*"x".repeat(257)] {
        let request = EraseSubjectRequest { authority: authority.to_owned(), ..erase("alice") };
        let status = house.root().erase_subject(request).await.expect_err("no authority");
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{authority:?}: {status:?}");
    }
    let hold = |subjects: &[&str]| v1::PlaceHoldRequest {
        log: "audit".to_owned(),
        subjects: subjects.iter().map(|it| (*it).to_owned()).collect(),
        authority: "case-1".to_owned(),
        ..Default::default()
    };
    refused(house.root().place_hold(hold(&["nobody"])).await, ErrorReason::SubjectUnknown);
    let held = house.root().place_hold(hold(&["alice"])).await.unwrap().into_inner();
    refused(house.root().erase_subject(erase("alice")).await, ErrorReason::HoldForbids);
    house.root().erase_subject(erase("bob")).await.unwrap();
    let everybody = house.root().place_hold(hold(&[])).await.unwrap().into_inner();
    let release = |hold: &str| v1::ReleaseHoldRequest {
        log: "audit".to_owned(),
        hold: hold.to_owned(),
        authority: "case-1".to_owned(),
    };
    house.root().release_hold(release(&held.hold)).await.unwrap();
    refused(house.root().release_hold(release(&held.hold)).await, ErrorReason::HoldUnknown);
    refused(house.root().release_hold(release("+f")).await, ErrorReason::HoldUnknown);
    refused(house.root().release_hold(release(&"+f".repeat(16))).await, ErrorReason::HoldUnknown);
    // Holds outlive the server.
    let house = house.restart().await;
    refused(house.root().erase_subject(erase("alice")).await, ErrorReason::HoldForbids);
    house.root().release_hold(release(&everybody.hold)).await.unwrap();
    assert_eq!(house.find("actor:alice").await.len(), 1);
    house.root().erase_subject(erase("alice")).await.unwrap();
    assert!(house.find("actor:alice").await.is_empty());
    house.stop().await;
}

#[tokio::test]
async fn nobody_takes_a_trace_out_of_the_log_of_who_read() {
    let house = House::new().await;
    house.record(event("alice", "auth.login")).await;
    house.find("actor:alice").await;
    let log = || "access".to_owned();
    let keep = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let request = v1::DefineRetentionRequest { log: log(), name: "default".to_owned(), keep };
    refused(house.root().define_retention(request).await, ErrorReason::LogKindMismatch);
    let request = EraseSubjectRequest { log: log(), ..erase("service:root") };
    refused(house.root().erase_subject(request).await, ErrorReason::LogKindMismatch);
    // Nor ends it: everything that is read from then on would be read by nobody.
    let request = v1::FreezeLogRequest { log: log() };
    refused(house.admin("root", ALL).freeze_log(request).await, ErrorReason::LogKindMismatch);
    assert_eq!(house.find("actor:alice").await.len(), 1);
    assert!(house.traces().iter().any(|trace| trace.actor == "root"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_erased_while_they_are_recorded_is_new_or_gone() {
    let house = House::new().await;
    house.record(event("alice", "auth.login")).await;
    let recorders = (0..6).map(|_| {
        let mut client = house.root();
        tokio::spawn(async move {
            let mut last = 0;
            for _ in 0..15 {
                last = client.record(of(of_two())).await.unwrap().into_inner().index;
            }
            last
        })
    });
    let recorders: Vec<_> = recorders.collect();
    let mut erasures = Vec::new();
    for _ in 0..5 {
        if let Ok(erased) = house.root().erase_subject(erase("alice")).await {
            erasures.push(erased.into_inner());
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for recorder in recorders {
        recorder.await.unwrap();
    }
    assert!(!erasures.is_empty());
    // No event after an erasure is sealed for the one who was erased, and all of Bob's can be read.
    for leaf in house.leaves("audit") {
        let graven_event::Facts::Event(facts) = &leaf.frame.as_ref().unwrap().facts else { continue };
        let gone = erasures.iter().find(|erased| erased.reference[..] == facts.actor.0);
        assert!(gone.is_none_or(|erased| leaf.index < erased.index), "{} after its erasure", leaf.index);
        assert_eq!(leaf.erased.contains(&Group::Actor), gone.is_some());
    }
    assert_eq!(house.find("target:bob").await.len(), 90);
    house.stop().await;
}
