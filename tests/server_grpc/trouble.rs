//! Overload, a failing disk, messages over the limit, and stopping under load.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use graven_log::{Config, Engine, Env, Status as EngineStatus};
use graven_proto::v1::{AppendBatchRequest, ErrorReason, GetTreeHeadRequest};
use graven_server::ServerOptions;
use graven_store::RealFs;
use graven_store::fault::{Fate, FaultFs, Op, Point};
use tokio::task::JoinSet;
use tonic::Code;

use crate::service::{Service, append_request, config, entry, published_request, refused, until};

#[tokio::test]
async fn overload_is_refused_before_any_work_and_says_when_to_retry() {
    let mut service = Service::start_halted(Config { max_pending_bytes: 64 << 10, ..config() }).await;
    let mut calls = JoinSet::new();
    for n in 0..40_u8 {
        let mut client = service.client();
        calls.spawn(async move { client.append(append_request(vec![n; 4096])).await });
    }
    let mut turned_away = 0;
    // Those that are let in wait, as the engine does not run: 64 KiB hold fewer than 16 of them.
    while turned_away < 40 - 15 {
        let answer = calls.join_next().await.unwrap().unwrap();
        assert!(refused(answer, ErrorReason::Overloaded).retry_after().is_some());
        turned_away += 1;
    }
    service.run();
    let mut appended = 0;
    while let Some(answer) = calls.join_next().await {
        match answer.unwrap() {
            Ok(_) => appended += 1,
            refused_late => {
                refused(refused_late, ErrorReason::Overloaded);
                turned_away += 1;
            }
        }
    }
    assert_eq!(appended + turned_away, 40);
    assert!(appended > 0);
    service.assert_size(appended).await;
    service.stop().await;
}

#[tokio::test]
async fn a_message_over_four_mebibytes_is_not_read() {
    let service = Service::start().await;
    let entries = vec![Bytes::from(vec![7; 65_000]); 70];
    let request = AppendBatchRequest { entries, ..Default::default() };
    let status = service.client().append_batch(request).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    service.assert_size(0).await;
    service.client().append(append_request(entry(0))).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_failed_sync_ends_acknowledgements_and_the_server() {
    let fails = Arc::new(AtomicBool::new(false));
    let script = {
        let fails = fails.clone();
        move |point: Point<'_>| match point.op {
            Op::SyncData if fails.load(Ordering::SeqCst) => Fate::Fail(io::ErrorKind::Other),
            _ => Fate::Continue,
        }
    };
    let env = Env { fs: Arc::new(FaultFs::new(Arc::new(RealFs), Arc::new(script))), ..Env::system() };
    let service = Service::start_in(env, config(), ServerOptions::default()).await;
    service.fill(5).await;
    fails.store(true, Ordering::SeqCst);
    let refusal =
        refused(service.client().append(append_request(entry(5))).await, ErrorReason::StoragePoisoned);
    assert!(refusal.retry_after().is_some());
    let engine = service.engine.clone();
    until(|| matches!(engine.status(), EngineStatus::Poisoned(_))).await;
    // It stops by itself, without being told to.
    let status = service.ended().await;
    assert!(matches!(status, EngineStatus::Poisoned(_)));
}

#[tokio::test]
async fn a_full_disk_refuses_appends_and_goes_on_reading() {
    let service =
        Service::start_with(Config { reserve_bytes: u64::MAX, ..config() }, ServerOptions::default()).await;
    let engine = service.engine.clone();
    until(|| engine.is_disk_full()).await;
    refused(service.client().append(append_request(entry(0))).await, ErrorReason::DiskFull);
    service.client().get_tree_head(GetTreeHeadRequest::default()).await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_under_load_loses_nothing_that_was_acknowledged() {
    let mut service = Service::start().await;
    let mut writers = JoinSet::new();
    for writer in 0..8_u64 {
        let mut client = service.client();
        writers.spawn(async move {
            let mut acked = BTreeMap::new();
            for n in 0.. {
                let number = writer * 1_000_000 + n;
                let wait =
                    if n % 4 == 0 { published_request(entry(number)) } else { append_request(entry(number)) };
                match client.append(wait).await {
                    Ok(answer) => acked.insert(answer.into_inner().index, number),
                    Err(_) => break,
                };
            }
            acked
        });
    }
    let log = service.log.clone();
    until(|| log.durable_size() > 500).await;
    service.begin_stop();
    let acked: BTreeMap<_, _> = tokio::time::timeout(Duration::from_secs(20), writers.join_all())
        .await
        .unwrap()
        .into_iter()
        .flatten()
        .collect();
    let dir = service.stop().await;

    let engine = Engine::open(Env::system(), &dir.path().join("data"), config()).unwrap();
    let log = engine.log("audit").unwrap();
    assert!(acked.len() > 400 && log.head().size().get() == log.durable_size());
    for (index, number) in acked {
        assert_eq!(log.entries(index..index + 1, 1).unwrap(), [entry(number)]);
    }
}
