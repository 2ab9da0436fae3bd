//! Who may call what: each permission alone, with every call, on the right log, another one and the access log.

use std::collections::BTreeMap;

use graven_proto::Refusal;
use graven_proto::v1::{self, ErrorReason};
use tonic::Code;

use crate::calls::{self, Method};
use crate::rig::House;

const PERMISSIONS: [&str; 10] =
    ["append", "read", "admin", "witness", "query", "reveal", "erase", "audit", "scope", "check"];

/// Every call, with what it needs.
const NEEDED: [(&str, &str); 22] = [
    ("DefineScope", "scope"),
    ("RequestGrant", "scope"),
    ("ApproveGrant", "scope"),
    ("DenyGrant", "scope"),
    ("NarrowGrant", "scope"),
    ("RenewGrant", "scope"),
    ("RevokeGrant", "scope"),
    ("RevokeToken", "scope"),
    ("RotateScope", "scope"),
    ("AppointAdministrator", "scope"),
    ("DismissAdministrator", "scope"),
    ("CheckAccess", "check"),
    ("ExplainDecision", "query"),
    ("ListScopes", "query"),
    ("ListGrants", "query"),
    ("GrantHistory", "query"),
    ("ListUnused", "query"),
    ("OpenReview", "scope"),
    ("AttestItem", "scope"),
    ("CloseReview", "scope"),
    ("ListReviews", "query"),
    ("Watch", "query"),
];

#[tokio::test]
async fn every_permission_alone_opens_its_own_calls_on_its_own_log() {
    let house = House::governed().await;
    let needed: BTreeMap<_, _> = NEEDED.into();
    let all = calls::methods();
    let methods: Vec<_> = all.iter().filter(|method| method.path.contains(".ScopeService/")).collect();
    assert_eq!(methods.len(), NEEDED.len(), "a method is new or gone: {methods:?}");
    let mut cells = 0;
    for method in methods {
        let needs =
            *needed.get(&method.name[..]).unwrap_or_else(|| panic!("what does {} need?", method.name));
        for permission in PERMISSIONS {
            for granted in ["audit", "other", "access", "*"] {
                for asked in ["audit", "access", "nobody"] {
                    // Who reads who reads needs a permission of its own, and no other.
                    let needs = if (needs, asked) == ("query", "access") { "audit" } else { needs };
                    let is_let_in = permission == needs && (granted == asked || granted == "*");
                    let answer = call(&house, method, asked, &format!("{permission}:{granted}")).await;
                    let at = format!("{} on {asked} with {permission}:{granted}: {answer:?}", method.name);
                    match answer.map_err(|status| (status.code(), Refusal::of(&status))) {
                        Err((Code::PermissionDenied, Some(refusal))) => {
                            assert_eq!(refusal.reason(), ErrorReason::PermissionMissing, "{at}");
                            assert!(!is_let_in, "{at}");
                        }
                        Err((_, Some(_))) | Ok(()) => assert!(is_let_in, "{at}"),
                        Err(_) => panic!("{at}"),
                    }
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 22 * 10 * 4 * 3);
    house.stop().await;
}

async fn call(house: &House, method: &Method, log: &str, grants: &str) -> Result<(), tonic::Status> {
    if method.name != "Watch" {
        return method.call(&house.channel, log, &[format!("Bearer somebody {grants}")]).await;
    }
    // It would wait for the first command.
    let request = v1::WatchScopesRequest { log: log.to_owned(), ..Default::default() };
    house.scopes_with("somebody", grants).watch(request).await.map(drop)
}
