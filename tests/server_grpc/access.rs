//! Every call asks for exactly the permission that it needs, before it does anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use graven_log::Config;
use graven_proto::v1::alert_service_client::AlertServiceClient;
use graven_proto::v1::append_stream_request::Message;
use graven_proto::v1::audit_service_client::AuditServiceClient;
use graven_proto::v1::record_stream_request;
use graven_proto::v1::scope_service_client::ScopeServiceClient;
use graven_proto::v1::witness_service_client::WitnessServiceClient;
use graven_proto::v1::{self, LogKind};
use graven_server::{
    Access, Ask, Caller, Denied, Identifying, KnownBy, Permission, Presented, ServerOptions,
};
use prost::Message as _;
use tonic::Code;

use crate::service::{Service, append_request, entry};

type Asked = Vec<(Option<String>, Permission)>;

/// Refuses everybody everything, and keeps what was asked.
#[derive(Default)]
struct Closed(Mutex<Asked>);

impl Access for Closed {
    fn identify(&self, _: &Presented<'_>) -> Identifying {
        Identifying::Known(Ok(Caller::known("somebody", [], KnownBy::Nothing)))
    }

    fn permit(&self, _: &Caller, ask: &Ask<'_>) -> Result<(), Denied> {
        self.0.lock().unwrap().push((ask.log.map(ToString::to_string), ask.permission));
        Err(Denied::Permission { caller: "somebody".to_owned(), needed: "read:*".parse().unwrap() })
    }
}

#[tokio::test]
async fn each_call_asks_for_its_permission_and_stops_at_a_no() {
    let closed = Arc::new(Closed::default());
    let options = ServerOptions { access: closed.clone(), ..ServerOptions::default() };
    let service = Service::start_with(Config { reserve_bytes: 0, ..Config::default() }, options).await;
    let (mut client, mut admin) = (service.client(), service.admin());
    let log = || "audit".to_owned();
    let mut found = BTreeMap::new();
    // The call must be refused after asking once.
    macro_rules! call {
        ($name:literal, $call:expr) => {
            let status = $call.await.expect_err($name);
            assert_eq!(status.code(), Code::PermissionDenied, "{}", $name);
            found.insert($name.to_owned(), closed.0.lock().unwrap().drain(..).collect::<Asked>());
        };
    }
    call!("Append", client.append(append_request(entry(0))));
    let entries = vec![entry(0)];
    call!(
        "AppendBatch",
        client.append_batch(v1::AppendBatchRequest { log: log(), entries, ..Default::default() })
    );
    let open = Message::Open(v1::AppendStreamOpen { log: log(), wait: 0 });
    let open = tokio_stream::once(v1::AppendStreamRequest { message: Some(open) });
    call!("AppendStream", client.append_stream(open));
    call!("GetTreeHead", client.get_tree_head(v1::GetTreeHeadRequest { log: log() }));
    call!("WatchTreeHeads", client.watch_tree_heads(v1::WatchTreeHeadsRequest { log: log() }));
    call!("GetInclusionProof", client.get_inclusion_proof(v1::GetInclusionProofRequest::default()));
    call!(
        "GetMultiInclusionProof",
        client.get_multi_inclusion_proof(v1::GetMultiInclusionProofRequest::default())
    );
    call!("GetConsistencyProof", client.get_consistency_proof(v1::GetConsistencyProofRequest::default()));
    call!("GetEntries", client.get_entries(v1::GetEntriesRequest::default()));
    call!("GetEntryAndProof", client.get_entry_and_proof(v1::GetEntryAndProofRequest::default()));
    let new = v1::CreateLogRequest { name: "new".to_owned(), kind: LogKind::Bytes.into(), visibility: 0 };
    call!("CreateLog", admin.create_log(new));
    call!("ListLogs", admin.list_logs(v1::ListLogsRequest::default()));
    call!("GetLog", admin.get_log(v1::GetLogRequest { log: log() }));
    call!("FreezeLog", admin.freeze_log(v1::FreezeLogRequest { log: log() }));
    call!("RotateKeys", admin.rotate_keys(v1::RotateKeysRequest { log: log(), ..Default::default() }));
    call!("ListKeyRotations", client.list_key_rotations(v1::ListKeyRotationsRequest::default()));
    let mut witness = WitnessServiceClient::new(service.channel.clone());
    call!("WatchPending", witness.watch_pending(v1::WatchPendingRequest::default()));
    call!(
        "GetPendingConsistency",
        witness.get_pending_consistency(v1::GetPendingConsistencyRequest::default())
    );
    call!("AddCosignature", witness.add_cosignature(v1::AddCosignatureRequest::default()));

    let mut events = AuditServiceClient::new(service.channel.clone());
    call!("Record", events.record(v1::RecordRequest::default()));
    call!("RecordBatch", events.record_batch(v1::RecordBatchRequest::default()));
    let open = record_stream_request::Message::Open(v1::RecordStreamOpen::default());
    let open = tokio_stream::once(v1::RecordStreamRequest { message: Some(open) });
    call!("RecordStream", events.record_stream(open));
    call!("GetProducer", events.get_producer(v1::GetProducerRequest::default()));
    call!("Query", events.query(v1::QueryRequest::default()));
    call!("Tail", events.tail(v1::TailRequest::default()));
    call!("Reveal", events.reveal(v1::RevealRequest::default()));
    call!("EraseSubject", events.erase_subject(v1::EraseSubjectRequest::default()));
    call!("DefineRetention", events.define_retention(v1::DefineRetentionRequest::default()));
    call!("PlaceHold", events.place_hold(v1::PlaceHoldRequest::default()));
    call!("ReleaseHold", events.release_hold(v1::ReleaseHoldRequest::default()));
    call!("ListRetention", events.list_retention(v1::ListRetentionRequest::default()));

    let mut scopes = ScopeServiceClient::new(service.channel.clone());
    call!("DefineScope", scopes.define_scope(v1::DefineScopeRequest::default()));
    call!("RequestGrant", scopes.request_grant(v1::RequestGrantRequest::default()));
    call!("ApproveGrant", scopes.approve_grant(v1::ApproveGrantRequest::default()));
    call!("DenyGrant", scopes.deny_grant(v1::DenyGrantRequest::default()));
    call!("NarrowGrant", scopes.narrow_grant(v1::NarrowGrantRequest::default()));
    call!("RenewGrant", scopes.renew_grant(v1::RenewGrantRequest::default()));
    call!("RevokeGrant", scopes.revoke_grant(v1::RevokeGrantRequest::default()));
    call!("RevokeToken", scopes.revoke_token(v1::RevokeTokenRequest::default()));
    call!("RotateScope", scopes.rotate_scope(v1::RotateScopeRequest::default()));
    call!("AppointAdministrator", scopes.appoint_administrator(v1::AppointAdministratorRequest::default()));
    call!("DismissAdministrator", scopes.dismiss_administrator(v1::DismissAdministratorRequest::default()));
    call!("CheckAccess", scopes.check_access(v1::CheckAccessRequest::default()));
    call!("ExplainDecision", scopes.explain_decision(v1::ExplainDecisionRequest::default()));
    call!("ListScopes", scopes.list_scopes(v1::ListScopesRequest::default()));
    call!("ListGrants", scopes.list_grants(v1::ListGrantsRequest::default()));
    call!("GrantHistory", scopes.grant_history(v1::GrantHistoryRequest::default()));
    call!("ListUnused", scopes.list_unused(v1::ListUnusedRequest::default()));
    call!("OpenReview", scopes.open_review(v1::OpenReviewRequest::default()));
    call!("AttestItem", scopes.attest_item(v1::AttestItemRequest::default()));
    call!("CloseReview", scopes.close_review(v1::CloseReviewRequest::default()));
    call!("ListReviews", scopes.list_reviews(v1::ListReviewsRequest::default()));
    call!("Watch", scopes.watch(v1::WatchScopesRequest::default()));

    let mut alerts = AlertServiceClient::new(service.channel.clone());
    call!("DefineRule", alerts.define_rule(v1::DefineRuleRequest::default()));
    call!("RetireRule", alerts.retire_rule(v1::RetireRuleRequest::default()));
    call!("ListRules", alerts.list_rules(v1::ListRulesRequest::default()));
    call!("TestRule", alerts.test_rule(v1::TestRuleRequest::default()));
    call!("WatchAlerts", alerts.watch_alerts(v1::WatchAlertsRequest::default()));

    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), all_methods(), "a call is missing here");
    for (name, asked) in found {
        let log = match name.as_str() {
            "CreateLog" => Some("new".to_owned()),
            "ListLogs" => None,
            _ => Some(log()),
        };
        assert_eq!(asked, [(log, permission(&name))], "{name}");
    }
    assert!(service.engine.log("new").is_none() && !service.log.is_frozen());
    service.assert_size(0).await;
    service.stop().await;
}

fn permission(method: &str) -> Permission {
    match method {
        "Append" | "AppendBatch" | "AppendStream" => Permission::Append,
        "Record" | "RecordBatch" | "RecordStream" | "GetProducer" => Permission::Append,
        "Query" | "Tail" | "ListRetention" => Permission::Query,
        "DefineScope"
        | "RequestGrant"
        | "ApproveGrant"
        | "DenyGrant"
        | "NarrowGrant"
        | "RenewGrant"
        | "RevokeGrant"
        | "RevokeToken"
        | "RotateScope"
        | "AppointAdministrator"
        | "DismissAdministrator"
        | "OpenReview"
        | "AttestItem"
        | "CloseReview" => Permission::Scope,
        "CheckAccess" => Permission::Check,
        "ExplainDecision" | "ListScopes" | "ListGrants" | "GrantHistory" | "ListUnused" | "ListReviews"
        | "Watch" => Permission::Query,
        "DefineRule" | "RetireRule" => Permission::Admin,
        "ListRules" | "TestRule" | "WatchAlerts" => Permission::Query,
        "Reveal" => Permission::Reveal,
        "EraseSubject" => Permission::Erase,
        "DefineRetention" | "PlaceHold" | "ReleaseHold" => Permission::Admin,
        "CreateLog" | "ListLogs" | "GetLog" | "FreezeLog" | "RotateKeys" => Permission::Admin,
        "WatchPending" | "GetPendingConsistency" | "AddCosignature" => Permission::Witness,
        _ => Permission::Read,
    }
}

/// What the interface defines, by name.
fn all_methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(graven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.into_iter().flat_map(|file| file.service);
    let mut names: Vec<_> =
        services.flat_map(|service| service.method).map(|method| method.name().to_owned()).collect();
    names.sort();
    names
}
