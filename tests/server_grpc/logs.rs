//! `AdminService`, names of logs, health and reflection.

use std::time::Duration;

use graven_proto::v1::{
    CreateLogRequest, ErrorReason, FreezeLogRequest, GetLogRequest, GetTreeHeadRequest, ListLogsRequest,
    LogInfo, LogKind, LogState, Visibility,
};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::{v1, v1alpha};

use crate::service::{Service, append_request, entry, refused, refused_field};

fn create(name: &str, kind: LogKind) -> CreateLogRequest {
    CreateLogRequest { name: name.to_owned(), kind: kind.into(), visibility: Visibility::Public.into() }
}

fn named(name: &str) -> GetTreeHeadRequest {
    GetTreeHeadRequest { log: name.to_owned() }
}

async fn info(service: &Service, log: &str) -> LogInfo {
    let answer = service.admin().get_log(GetLogRequest { log: log.to_owned() }).await.unwrap();
    answer.into_inner().log.unwrap()
}

#[tokio::test]
async fn a_log_is_made_listed_described_and_frozen() {
    let service = Service::start().await;
    let made =
        service.admin().create_log(create("orders", LogKind::Bytes)).await.unwrap().into_inner().log.unwrap();
    assert_eq!((made.name.as_str(), made.origin.as_str()), ("orders", "example.com/orders"));
    assert_eq!(
        (made.kind(), made.visibility(), made.state()),
        (LogKind::Bytes, Visibility::Public, LogState::Active)
    );
    assert_eq!((made.durable_size, made.head.as_ref().unwrap().size, made.vkeys.len()), (0, 0, 3));
    assert!(made.created.is_some());
    assert_eq!(info(&service, "orders").await, made);

    let mut request = append_request(entry(0));
    request.log = "orders".to_owned();
    service.client().append(request.clone()).await.unwrap();
    for _ in 0..2 {
        let frozen = FreezeLogRequest { log: "orders".to_owned() };
        let frozen = service.admin().freeze_log(frozen).await.unwrap().into_inner().log.unwrap();
        assert_eq!(
            (frozen.state(), frozen.durable_size, frozen.head.unwrap().size),
            (LogState::Frozen, 1, 1)
        );
    }
    refused(service.client().append(request).await, ErrorReason::LogFrozen);
    assert_eq!(info(&service, "audit").await.state(), LogState::Active);
    service.stop().await;
}

#[tokio::test]
async fn what_cannot_be_made_is_refused() {
    let service = Service::start().await;
    let mut admin = service.admin();
    for (name, reason) in [
        ("", ErrorReason::LogNameRequired),
        ("-a", ErrorReason::LogNameInvalid),
        ("Audit", ErrorReason::LogNameInvalid),
        ("../etc", ErrorReason::LogNameInvalid),
        ("metrics", ErrorReason::LogNameInvalid),
        ("audit", ErrorReason::LogExists),
    ] {
        refused_field(admin.create_log(create(name, LogKind::Bytes)).await, reason, "name");
    }
    for (kind, reason) in [
        (LogKind::Unspecified.into(), ErrorReason::FieldRequired),
        (LogKind::Access.into(), ErrorReason::LogKindReserved),
        (LogKind::Events.into(), ErrorReason::LogKindUnsupported),
        (99, ErrorReason::EnumValueUnknown),
    ] {
        let request = CreateLogRequest { kind, ..create("new", LogKind::Bytes) };
        refused_field(admin.create_log(request).await, reason, "kind");
    }
    let request = CreateLogRequest { visibility: 99, ..create("new", LogKind::Bytes) };
    refused_field(admin.create_log(request).await, ErrorReason::EnumValueUnknown, "visibility");
    assert_eq!(service.engine.logs().len(), 1);
    service.stop().await;
}

#[tokio::test]
async fn logs_are_listed_in_pages_by_name() {
    let service = Service::start().await;
    let mut admin = service.admin();
    for name in ["b", "c", "a"] {
        admin.create_log(create(name, LogKind::Bytes)).await.unwrap();
    }
    let (mut names, mut page_token) = (Vec::new(), String::new());
    for pages_left in [1, 0] {
        let request = ListLogsRequest { page_size: 2, page_token };
        let page = admin.list_logs(request).await.unwrap().into_inner();
        names.extend(page.logs.into_iter().map(|log| log.name));
        page_token = page.next_page_token;
        assert_eq!(page_token.is_empty(), pages_left == 0);
    }
    assert_eq!(names, ["a", "audit", "b", "c"]);
    let all = admin.list_logs(ListLogsRequest::default()).await.unwrap().into_inner();
    assert_eq!((all.logs.len(), all.next_page_token.as_str()), (4, ""));
    let request = ListLogsRequest { page_size: 2, page_token: "no such token".to_owned() };
    refused_field(admin.list_logs(request).await, ErrorReason::PageTokenInvalid, "page_token");
    service.stop().await;
}

#[tokio::test]
async fn a_log_may_go_unnamed_only_where_it_is_the_only_one() {
    let service = Service::start().await;
    let mut client = service.client();
    for name in ["", "audit"] {
        client.get_tree_head(named(name)).await.unwrap();
    }
    refused_field(client.get_tree_head(named("nope")).await, ErrorReason::LogNotFound, "log");
    refused_field(client.get_tree_head(named("No pe")).await, ErrorReason::LogNameInvalid, "log");
    refused_field(
        service.admin().freeze_log(FreezeLogRequest::default()).await,
        ErrorReason::LogNameRequired,
        "log",
    );
    service.admin().create_log(create("other", LogKind::Bytes)).await.unwrap();
    refused_field(client.get_tree_head(named("")).await, ErrorReason::LogNameRequired, "log");
    client.get_tree_head(named("audit")).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn health_turns_when_the_server_stops() {
    let mut service = Service::start().await;
    let mut health = HealthClient::new(service.channel.clone());
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for name in ["", "graven.v1.LogService", "graven.v1.AdminService"] {
        let answer = health.check(of(name)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{name:?}");
    }
    let mut watch = health.watch(of("graven.v1.LogService")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    service.begin_stop();
    let next = tokio::time::timeout(Duration::from_secs(5), watch.message()).await.unwrap();
    assert_eq!(next.unwrap().unwrap().status(), ServingStatus::NotServing);
    drop((health, watch));
    service.stop().await;
}

#[tokio::test]
async fn both_versions_of_reflection_list_the_services() {
    let service = Service::start().await;
    let wanted = ["graven.v1.AdminService", "graven.v1.LogService", "grpc.health.v1.Health"];

    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(service.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(wanted.iter().all(|wanted| names.iter().any(|name| name == wanted)), "{names:?}");

    let symbol = "graven.v1.LogService".to_owned();
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            symbol,
        )),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(service.channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let found = v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse;
    assert!(
        matches!(answer, Some(answer) if std::mem::discriminant(&answer) == std::mem::discriminant(&found(Default::default())))
    );
    service.stop().await;
}
