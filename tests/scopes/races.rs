//! What happens at once: one approval of two, and no allow after the revocation that forbids it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use graven_proto::v1;

use crate::desk::{approving, log, not_counting, revoking};
use crate::rig::House;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_approvals_at_once_one_counts() {
    let house = House::governed().await;
    house.define(&["pay.read"]).await;
    // Where two are needed, one at once is still one: the second saw another state.
    let request = v1::DefineScopeRequest {
        log: log(),
        scope: "pay.write".to_owned(),
        approvals: 2,
        ..Default::default()
    };
    house.scopes("root").define_scope(request).await.unwrap();
    for (round, scope) in ["pay.read", "pay.write"].into_iter().cycle().take(20).enumerate() {
        let asked = house.ask_for(&format!("client-{round}"), &[scope]).await;
        let (mut root, mut ann) = (house.scopes("root"), house.scopes("ann"));
        let (one, two) =
            tokio::join!(root.approve_grant(approving(&asked)), ann.approve_grant(approving(&asked)));
        assert_ne!(one.is_ok(), two.is_ok(), "round {round}");
        let (why, _) = not_counting(if one.is_ok() { two } else { one });
        assert!(["stale-revision", "grant-not-pending"].contains(&why.as_str()), "{why}");
        let grant = house.grants().await.into_iter().find(|one| one.grant == asked.id).unwrap();
        assert_eq!((grant.approvers.len(), grant.revision), (1, asked.revision + 1));
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_allow_comes_after_the_revocation_that_forbids_it() {
    let house = Arc::new(House::governed().await);
    house.define(&["pay.read"]).await;
    for round in 0..5 {
        let client = format!("client-{round}");
        let granted = house.grant(&client, &["pay.read"]).await;
        let (stop, allowed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let checkers: Vec<_> = (0..8)
            .map(|_| {
                let (house, client) = (house.clone(), client.clone());
                let (stop, allowed) = (stop.clone(), allowed.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let checked = house.check(&client, &["pay.read"]).await;
                        allowed.fetch_add(u64::from(checked.allowed), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        while allowed.load(Ordering::Relaxed) < 20 {
            tokio::task::yield_now().await;
        }
        let revoked = house.scopes("root").revoke_grant(revoking(&granted.id)).await.unwrap().into_inner();
        // Asked after the answer, nobody is let in.
        assert!(!house.check(&client, &["pay.read"]).await.allowed);
        stop.store(true, Ordering::Relaxed);
        for checker in checkers {
            checker.await.unwrap();
        }
        let late = house.decisions().into_iter().filter(|(index, allowed, facts)| {
            *allowed && *index > revoked.index && facts.grants.iter().any(|it| it.to_string() == granted.id)
        });
        assert_eq!(late.count(), 0, "round {round}");
    }
    Arc::into_inner(house).unwrap().stop().await;
}
