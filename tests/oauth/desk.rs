//! A server with credentials on the loopback interface, and whoever shows it tokens.

use std::{
    net::TcpListener,
    time::{SystemTime, UNIX_EPOCH},
};

use graven_proto::{Refusal, v1::ErrorReason};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tonic::{Code, transport::Channel};

use crate::{
    bench::Server,
    calls::{self, Method},
    house::{House, OPEN},
    http1::{Answer, Connection},
    tokens::{SigningKey, encode, sha256},
};

/// What tokens are for.
pub(crate) const AUDIENCE: &str = "https://log.example.com";

/// A server that trusts somebody.
pub(crate) struct Desk {
    pub(crate) house: House,
    pub(crate) server: Server,
    pub(crate) ops: String,
    runtime: Runtime,
    channel: Channel,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    LetIn,
    Invalid,
    Forbidden,
    Unavailable,
}

impl Desk {
    /// Trusts issuers as these entries say.
    pub(crate) fn trusting(entries: &str) -> Self {
        Self::logging(entries, "")
    }

    /// Likewise, with more arguments.
    pub(crate) fn logging(entries: &str, arguments: &str) -> Self {
        let house = House::new();
        house.know(&[], entries);
        let [listen, ops] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [listen, ops] = [listen, ops].map(|it| it.local_addr().unwrap().to_string());
        let (before, after) = (OPEN.split("[tls]").next().unwrap(), OPEN.split("[access]").nth(1).unwrap());
        let before = before.replace("127.0.0.1:0", &listen);
        let after = after.replace("listen = \"off\"", &format!("listen = \"{ops}\""));
        house.bench.write("graven.toml", format!("{before}[access]\nurls = [\"http://{listen}\"]{after}"));
        let server = house.bench.serve_with(&format!("serve --config graven.toml{arguments}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connecting = async { Channel::from_shared(server.url().to_owned()).unwrap().connect().await };
        let channel = runtime.block_on(connecting).unwrap();
        Self { house, server, ops, runtime, channel }
    }

    /// Calls a method on `audit` with these headers.
    pub(crate) fn call(&self, method: &str, headers: &[(&'static str, String)]) -> End {
        let methods = calls::methods();
        let method = methods.iter().find(|it| it.name == method).unwrap();
        let answer = self.runtime.block_on(method.call_with(&self.channel, "audit", headers));
        let Err(status) = answer else { return End::LetIn };
        let reason = Refusal::of(&status).map(|refusal| refusal.reason());
        match reason {
            Some(ErrorReason::CredentialsInvalid) => End::Invalid,
            Some(ErrorReason::PermissionMissing) => End::Forbidden,
            Some(ErrorReason::IssuerUnreachable) => {
                assert_eq!(status.code(), Code::Unavailable);
                End::Unavailable
            }
            // It is let in, and told what is wrong with its empty request.
            Some(_) => End::LetIn,
            None => panic!("no refusal of ours: {status:?}"),
        }
    }

    pub(crate) fn head(&self, token: &str) -> End {
        self.call("GetTreeHead", &bearer(token))
    }

    pub(crate) fn append(&self, token: &str) -> End {
        self.call("Append", &bearer(token))
    }

    /// A proof for a method of the server, at this moment.
    pub(crate) fn proof(&self, key: &SigningKey, token: &str, method: &str) -> String {
        let methods = calls::methods();
        let path = methods.iter().find(|it: &&Method| it.name == method).unwrap().path.clone();
        key.proof(&json!({
            "htm": "POST", "htu": format!("{}{path}", self.server.url()), "iat": now(), "jti": unique(),
            "ath": encode(sha256(token)),
        }))
    }

    /// The checkpoint of the private log over HTTP.
    pub(crate) fn checkpoint(&self, headers: &[&str]) -> Answer {
        Connection::plain(self.server.address()).get("/audit/checkpoint", headers)
    }

    pub(crate) fn metrics(&self) -> String {
        Connection::plain(&self.ops).get("/metrics", &[]).text()
    }

    /// Writes other entries, and has them read.
    pub(crate) fn know(&self, entries: &str) {
        self.house.know(&[], entries);
        self.server.signal(rustix::process::Signal::HUP);
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.house.bench.read("server.log")).into_owned()
    }
}

/// An issuer's entry, with more of its keys.
pub(crate) fn entry(url: &str, more: &str) -> String {
    format!("[[issuer]]\nname = \"corp\"\nurl = \"{url}\"\naudience = [\"{AUDIENCE}\"]\n{more}")
}

pub(crate) fn bearer(token: &str) -> Vec<(&'static str, String)> {
    vec![("authorization", format!("Bearer {token}"))]
}

pub(crate) fn dpop(token: &str, proof: String) -> Vec<(&'static str, String)> {
    vec![("authorization", format!("DPoP {token}")), ("dpop", proof)]
}

pub(crate) fn claims(issuer: &str, scope: &str) -> Value {
    json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "alice@example.com", "client_id": "client-canary", "jti": unique(),
        "iat": now(), "exp": now() + 600, "scope": scope,
    })
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn unique() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).unwrap();
    encode(random)
}
