//! Starting again: after a stop, a crash at any step of an erasure, and from a copy that knows too much.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use graven_log::Env;
use graven_proto::v1::{self, EraseSubjectRequest};
use graven_store::RealFs;
use graven_store::fault::{Fate, FaultFs, Phase, Point};

use crate::rig::{House, ask, event, indices, numbered};

fn erase(subject: &str) -> EraseSubjectRequest {
    let (log, authority) = ("audit".to_owned(), "gdpr-17".to_owned());
    EraseSubjectRequest { log, subject: subject.to_owned(), authority }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// What a server tells of its log.
async fn told(house: &House) -> Vec<(String, Vec<u64>)> {
    let mut told = Vec::new();
    for query in ["", "actor:user-1", "kind:gap", "label:n=3", "kind:rejected", "outcome:success since:1h"] {
        told.push((query.to_owned(), indices(&house.find(query).await)));
    }
    told
}

#[tokio::test]
async fn what_was_said_before_a_stop_is_said_after_it() {
    let house = House::new().await;
    for n in 0..300_u64 {
        let mut login = event(&format!("user-{}", n % 5), "auth.login");
        login.labels = [("n".to_owned(), (n % 7).to_string())].into();
        house.root().record(numbered("main", n + 1, login)).await.unwrap();
    }
    let refused = v1::Event { outcome: 0, ..event("alice", "auth.login") };
    assert!(house.root().record(crate::rig::of(refused)).await.is_err());
    let before = told(&house).await;
    let state = house.state().await;
    let house = house.restart().await;
    assert_eq!(told(&house).await, before);
    assert_eq!(house.state().await, state);
    // Without its index it is the same.
    let dir = house.stop().await;
    fs::remove_dir_all(dir.path().join("data/index")).unwrap();
    let house = House::open(dir, Env::system()).await;
    assert_eq!(told(&house).await, before);
    let again = house.root().record(numbered("main", 301, event("user-1", "auth.login"))).await.unwrap();
    assert_eq!(house.find("actor:user-1").await[0].index, again.into_inner().index);
    house.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_found_in_a_copy_that_was_taken_at_once() {
    let house = House::new().await;
    for n in 0..20 {
        house.record(event(&format!("user-{n}"), "auth.login")).await;
    }
    house.quiet("audit").await;
    house.quiet("access").await;
    // As a power cut leaves it: everything that was synced, and no orderly end.
    let dir = tempfile::tempdir().unwrap();
    copy(&house.data(), &dir.path().join("data"));
    let crashed = House::open(dir, Env::system()).await;
    for n in 0..20 {
        assert_eq!(crashed.find(&format!("actor:user-{n}")).await.len(), 1, "user-{n}");
    }
    crashed.stop().await;
    house.stop().await;
}

#[tokio::test]
async fn who_was_erased_stays_erased_when_old_keys_and_an_old_index_come_back() {
    let house = House::new().await;
    let at = house.record(event("alice-canary", "auth.login")).await.index;
    house.record(event("bob", "auth.login")).await;
    house.find("actor:alice-canary").await;
    let house = house.restart().await;
    let backup = tempfile::tempdir().unwrap();
    copy(&house.data().join("vault"), &backup.path().join("vault"));
    copy(&house.data().join("index"), &backup.path().join("index"));
    house.root().erase_subject(erase("alice-canary")).await.unwrap();
    let dir = house.stop().await;
    for part in ["vault", "index"] {
        fs::remove_dir_all(dir.path().join("data").join(part)).unwrap();
        copy(&backup.path().join(part), &dir.path().join("data").join(part));
    }
    let house = House::open(dir, Env::system()).await;
    let hit = house.find("kind:event").await.into_iter().find(|hit| hit.index == at).unwrap();
    assert!(hit.event.unwrap().actor.is_none() && hit.erased.contains(&"actor".to_owned()));
    assert!(house.find("actor:alice-canary").await.is_empty());
    assert_eq!(house.find("actor:bob").await.len(), 1);
    house.stop().await;
}

#[tokio::test]
async fn an_erasure_that_broke_off_is_completed_before_anything_is_served() {
    let fails = Arc::new(AtomicBool::new(false));
    let script = {
        let fails = fails.clone();
        move |point: Point<'_>| {
            let is_vault = point.path.components().any(|part| part.as_os_str() == "vault");
            match point.phase {
                Phase::Before if is_vault && point.op.mutates() && fails.load(Ordering::SeqCst) => {
                    Fate::Fail(std::io::ErrorKind::Other)
                }
                _ => Fate::Continue,
            }
        }
    };
    let env = Env { fs: Arc::new(FaultFs::new(Arc::new(RealFs), Arc::new(script))), ..Env::system() };
    let house = House::with(env).await;
    let at = house.record(event("alice", "auth.login")).await.index;
    house.find("actor:alice").await;
    // Whoever decided something before is known to the key store.
    let define = v1::DefineRetentionRequest { log: "audit".to_owned(), name: "brief".to_owned(), keep: None };
    house.root().define_retention(define).await.unwrap();
    // The entry is there, and the disk fails before the key is gone.
    fails.store(true, Ordering::SeqCst);
    house.root().erase_subject(erase("alice")).await.expect_err("the key store cannot be written");
    assert_eq!(house.kinds("audit"), ["genesis", "event", "retention", "erasure"]);
    house.quiet("audit").await;
    let dir = tempfile::tempdir().unwrap();
    copy(&house.data(), &dir.path().join("data"));
    let house = House::open(dir, Env::system()).await;
    assert!(house.find("actor:alice").await.is_empty());
    let page = house.root().query(ask("kind:event")).await.unwrap().into_inner();
    assert_eq!(
        (page.hits[0].index, page.hits[0].erased.clone()),
        (at, vec!["actor".to_owned(), "context".to_owned()])
    );
    house.stop().await;
}
