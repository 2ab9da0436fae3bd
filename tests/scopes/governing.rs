//! Administrators: the first ones, those that they appoint, and whom the recovery key does.

use graven_log::Env;
use graven_proto::v1::{self, AppointAdministratorRequest};

use crate::desk::{log, not_counting};
use crate::rig::{House, recovery_key};

fn appointing(who: &str) -> AppointAdministratorRequest {
    AppointAdministratorRequest { log: log(), administrator: who.to_owned(), ..Default::default() }
}

async fn administrators(house: &House) -> Vec<String> {
    let request = v1::ListScopesRequest { log: log(), ..Default::default() };
    let mut names = house.scopes("root").list_scopes(request).await.unwrap().into_inner().administrators;
    names.sort();
    names
}

#[tokio::test]
async fn administrators_appoint_and_dismiss_others_and_the_last_one_stays() {
    let house = House::governed().await;
    assert_eq!(administrators(&house).await, ["user:ann", "user:root"]);
    house.scopes("root").appoint_administrator(appointing("application:robot")).await.unwrap();
    assert_eq!(administrators(&house).await, ["application:robot", "user:ann", "user:root"]);
    let dismissing = |who: &str| v1::DismissAdministratorRequest {
        log: log(),
        administrator: who.to_owned(),
        ..Default::default()
    };
    house.scopes("application:robot").dismiss_administrator(dismissing("ann")).await.unwrap();
    house.scopes("root").dismiss_administrator(dismissing("application:robot")).await.unwrap();
    let (why, _) = not_counting(house.scopes("root").dismiss_administrator(dismissing("root")).await);
    assert_eq!(why, "last-administrator");
    let house = house.restart().await;
    assert_eq!(administrators(&house).await, ["user:root"]);
    house.stop().await;
}

#[tokio::test]
async fn the_recovery_key_appoints_once_and_nobody_else_does() {
    // Nobody is an administrator of this one.
    let house = House::with(Env::system()).await;
    assert!(administrators(&house).await.is_empty());
    let (why, _) = not_counting(house.scopes("eve").appoint_administrator(appointing("bob")).await);
    assert_eq!(why, "administrators-only");
    let prepare = AppointAdministratorRequest { prepare: true, ..appointing("bob") };
    let before = house.leaves("audit").len();
    let statement = house.scopes("eve").appoint_administrator(prepare).await.unwrap().into_inner().statement;
    assert!(!statement.is_empty() && house.leaves("audit").len() == before);
    let meta = house.engine.log("audit").unwrap().meta().recovery.clone();
    let signature = recovery_key(&Env::system(), &house.data(), &meta).sign_statement(&statement).unwrap();
    let signed = AppointAdministratorRequest {
        statement: statement.clone(),
        signature: signature.clone().into(),
        ..appointing("bob")
    };
    // For somebody else, or with another signature, it is worth nothing.
    let other = AppointAdministratorRequest { administrator: "mallory".to_owned(), ..signed.clone() };
    assert!(house.scopes("eve").appoint_administrator(other).await.is_err());
    let mut bent = signature;
    bent[10] ^= 1;
    let bent = AppointAdministratorRequest { signature: bent.into(), ..signed.clone() };
    assert!(house.scopes("eve").appoint_administrator(bent).await.is_err());
    assert!(administrators(&house).await.is_empty());
    house.scopes("eve").appoint_administrator(signed.clone()).await.unwrap();
    assert_eq!(administrators(&house).await, ["user:bob"]);
    assert!(house.scopes("eve").appoint_administrator(signed).await.is_err(), "it counts once");
    house.stop().await;
}
