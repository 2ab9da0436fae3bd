//! A small service behind a guard: documents that some may read, some may modify and some may administer.
//!
//! ```console
//! $ cargo run -p graven-guard --example documents -- http://127.0.0.1:4740 who token.txt https://id.example.com https://docs.example.com
//! ```
//!
//! The arguments: a Graven server, its log of events, the file of a token with the grant `check` there, the issuer of callers' access
//! tokens, and what it calls this service (their audience, and the resource that grants may be for).
//!
//! The three tiers are three scopes, which an administrator of the log has to define, and somebody to grant, before anybody gets in:
//!
//! | scope | tier | request |
//! |---|---|---|
//! | `documents:read` | reads | `GET /documents/{id}` |
//! | `documents:modify` | changes | `PUT /documents/{id}` |
//! | `documents:admin` | administers | `DELETE /documents/{id}` |

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use graven_auth::{Algorithm, IssuerSettings, Proofs, Roots, ServerUrl, Validator};
use graven_client::{BearerToken, Client, ConnectOptions};
use graven_guard::{Allowed, GuardLayer, Need, RuleError, Rules, Tokens};
use http::StatusCode;
use tokio::net::TcpListener;

type Documents = Arc<Mutex<BTreeMap<String, String>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, log, token, issuer, audience] = arguments.as_slice() else {
        return Err("it takes SERVER LOG TOKEN-FILE ISSUER AUDIENCE".into());
    };
    let token = BearerToken::new(std::fs::read_to_string(token)?.trim())?;
    let client =
        Client::connect(server, ConnectOptions { token: Some(token), ..ConnectOptions::default() }).await?;
    let guard =
        GuardLayer::new(rules(audience)?, Tokens::new(validator(issuer, audience)?), client.scopes(log));

    let listener = TcpListener::bind("127.0.0.1:4780").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let service = Router::new()
        .route("/documents/{id}", documents())
        .route("/healthz", get(async || "ok"))
        .with_state(Documents::default())
        .layer(guard);
    axum::serve(listener, service).await?;
    Ok(())
}

/// What each request takes. A route that is added and forgotten here is refused.
fn rules(audience: &str) -> Result<Rules, RuleError> {
    let need = |scope, action| Need::of([scope]).action(action).resource(audience);
    let mut rules = Rules::default();
    rules.need("GET /documents/{id}", need("documents:read", "data.read"))?;
    rules.need("PUT /documents/{id}", need("documents:modify", "data.update"))?;
    rules.need("DELETE /documents/{id}", need("documents:admin", "data.delete"))?;
    rules.public("GET /healthz")?;
    Ok(rules)
}

/// Whose access tokens count.
fn validator(issuer: &str, audience: &str) -> Result<Validator, Box<dyn Error>> {
    let trusted = rustls_native_certs::load_native_certs();
    let settings = IssuerSettings {
        name: "issuer".to_owned(),
        rules: graven_auth::Rules {
            issuer: issuer.to_owned(),
            audiences: vec![audience.to_owned()],
            algorithms: Algorithm::ALL.to_vec(),
            legacy_type: false,
            leeway: Duration::from_secs(30),
        },
        keys_url: None,
        keys_max_age: Duration::from_secs(3600),
        proofs: Proofs::Optional,
        introspection: None,
        roots: Roots::new(trusted.certs.iter().map(|certificate| certificate.to_vec()))?,
    };
    let here = ServerUrl::parse(audience).ok_or("the audience is no address of a server")?;
    Ok(Validator::new(vec![settings], vec![here], Arc::new(SystemTime::now)).map_err(|(_, error)| error)?)
}

/// Handlers take [`Allowed`], so none of them answers a request that has no guard before it.
fn documents() -> MethodRouter<Documents> {
    let read = async |State(documents): State<Documents>, Path(id): Path<String>, _: Extension<Allowed>| {
        let documents = documents.lock().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        documents.get(&id).cloned().ok_or(StatusCode::NOT_FOUND)
    };
    let modify = async |State(documents): State<Documents>,
                        Path(id): Path<String>,
                        Extension(allowed): Extension<Allowed>,
                        text: String| {
        documents.lock().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?.insert(id, text);
        let who = allowed.caller();
        Ok::<_, StatusCode>(format!("by {}, which entry {:?} allows\n", who.client, allowed.index()))
    };
    let delete = async |State(documents): State<Documents>, Path(id): Path<String>, _: Extension<Allowed>| {
        let gone = documents.lock().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?.remove(&id);
        gone.map(|_| StatusCode::NO_CONTENT).ok_or(StatusCode::NOT_FOUND)
    };
    get(read).put(modify).delete(delete)
}
