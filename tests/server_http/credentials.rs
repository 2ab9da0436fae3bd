//! Who may do what, over gRPC and HTTP alike.

use std::sync::Arc;

use graven_proto::v1::{self, ErrorReason};
use graven_server::{Credentials, Keyring, ServerOptions, Token};
use tonic::{Code, Request};

use crate::raw::get;
use crate::service::{Service, append_request, config, entry, refused};

/// A server that knows three tokens, by what they may do.
async fn guarded() -> (Service, Arc<Keyring>, [Token; 3]) {
    let tokens = [1, 2, 3].map(|n| Token::new(&[n; 32]));
    let mut file = String::new();
    for (token, grant) in tokens.iter().zip(["append:audit", "read:audit", "read:other"]) {
        let (name, digest) = (grant.replace(':', "-"), token.digest());
        file += &format!("[[token]]\nname = \"{name}\"\nsha256 = \"{digest}\"\ngrants = [\"{grant}\"]\n");
    }
    let keyring = Arc::new(Keyring::new(Credentials::parse(&file).unwrap()));
    let options = ServerOptions { access: keyring.clone(), ..ServerOptions::default() };
    (Service::start_with(config(), options).await, keyring, tokens)
}

fn with<T>(token: &Token, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {}", token.expose()).parse().unwrap());
    request
}

fn bearer(token: &Token) -> String {
    format!("Authorization: Bearer {}", token.expose())
}

#[tokio::test]
async fn a_call_needs_the_grant_that_it_is_about() {
    let (service, _, [append, read, other]) = guarded().await;
    let mut client = service.client();
    client.append(with(&append, append_request(entry(0)))).await.unwrap();
    refused(client.append(append_request(entry(0))).await, ErrorReason::CredentialsMissing);
    let said =
        refused(client.append(with(&read, append_request(entry(0)))).await, ErrorReason::PermissionMissing);
    assert_eq!(said.message(), "read-audit may not do this: it needs the grant `append:audit`");
    let unknown = Token::new(&[9; 32]);
    refused(client.append(with(&unknown, append_request(entry(0)))).await, ErrorReason::CredentialsInvalid);

    let head = || v1::GetTreeHeadRequest { log: "audit".to_owned() };
    client.get_tree_head(with(&read, head())).await.unwrap();
    refused(client.get_tree_head(with(&append, head())).await, ErrorReason::PermissionMissing);
    // Whether a log exists is not said to those who may not read it.
    let nothing = || v1::GetTreeHeadRequest { log: "nothing".to_owned() };
    let said = [head(), nothing()].map(|request| with(&other, request));
    for request in said {
        refused(client.get_tree_head(request).await, ErrorReason::PermissionMissing);
    }
    service.assert_size(1).await;
    service.stop().await;
}

#[tokio::test]
async fn a_private_log_over_http_needs_them_too() {
    let (service, _, [append, read, _]) = guarded().await;
    let at = service.address();
    let asked = get(at, "/audit/checkpoint", &[]).await;
    assert_eq!(
        (asked.status, asked.header("www-authenticate").unwrap()),
        (401, "Bearer realm=\"graven\"".to_owned())
    );
    assert_eq!(asked.header("cache-control").unwrap(), "no-store");
    assert_eq!(get(at, "/audit/checkpoint", &[&bearer(&read)]).await.status, 200);
    assert_eq!(get(at, "/audit/checkpoint", &[&bearer(&append)]).await.status, 403);
    assert_eq!(get(at, "/audit/checkpoint", &["Authorization: Basic eDp5"]).await.status, 401);
    // A token in the address is none: addresses are logged.
    let in_query = format!("/audit/checkpoint?access_token={}", read.expose());
    assert_eq!(get(at, &in_query, &[]).await.status, 401);
    // The same answer, whether there is such a log or not.
    let nothing = get(at, "/nothing/checkpoint", &[]).await;
    assert_eq!((nothing.status, nothing.body), (asked.status, asked.body));
    assert_eq!(get(at, "/healthz", &[]).await.status, 200);
    service.stop().await;
}

#[tokio::test]
async fn what_was_exchanged_counts_from_the_next_call_on() {
    let (service, keyring, [append, ..]) = guarded().await;
    let mut client = service.client();
    client.append(with(&append, append_request(entry(0)))).await.unwrap();
    keyring.replace(Credentials::default());
    refused(client.append(with(&append, append_request(entry(1)))).await, ErrorReason::CredentialsInvalid);
    service.assert_size(1).await;
    service.stop().await;
}

#[tokio::test]
async fn health_is_told_to_anybody_and_the_interface_to_callers() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

    let (service, _, [append, ..]) = guarded().await;
    let mut health = HealthClient::new(service.channel.clone());
    health.check(HealthCheckRequest::default()).await.unwrap();

    let list = || {
        tokio_stream::once(ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        })
    };
    let mut reflection = ServerReflectionClient::new(service.channel.clone());
    let closed = reflection.server_reflection_info(list()).await.unwrap_err();
    assert_eq!(closed.code(), Code::Unauthenticated);
    let mut open = reflection.server_reflection_info(with(&append, list())).await.unwrap().into_inner();
    assert!(open.message().await.unwrap().is_some());
    service.stop().await;
}

/// Sends a request that is no message, over the real transport.
async fn send_garbage(service: &Service, token: &Token, body: Vec<u8>) -> tonic::Status {
    use tonic::codegen::http::uri::PathAndQuery;
    let mut grpc = tonic::client::Grpc::new(service.channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/graven.v1.LogService/Append");
    // A message of another kind: its bytes are not those of an append.
    let codec = tonic_prost::ProstCodec::<v1::InclusionProof, v1::AppendResponse>::default();
    let proof = v1::InclusionProof { index: 1, tree_size: 2, hashes: vec![body.into()] };
    grpc.unary(with(token, proof), path, codec).await.unwrap_err()
}

#[tokio::test]
async fn what_is_no_request_is_its_callers_fault() {
    let (service, _, [append, ..]) = guarded().await;
    let status = send_garbage(&service, &append, vec![1; 32]).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    service.stop().await;
}
