//! A log with administrators, people who ask and approve, and applications that are checked.

use std::sync::Arc;
use std::time::SystemTime;

use graven_event::facts::{DecisionFacts, ScopeCommand};
use graven_event::{Facts, Frame};
use graven_log::Env;
use graven_merkle::{LeafIndex, leaf_hash, verify_multi};
use graven_proto::Refusal;
use graven_proto::v1::scope_service_client::ScopeServiceClient;
use graven_proto::v1::{self, CheckAccessRequest, ErrorReason};
use graven_server::Access;
use prost_types::Timestamp;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::rig::{Badges, Client, House};

pub(crate) type Scopes = ScopeServiceClient<Client<Channel>>;

/// Everything that there is to do to scopes.
pub(crate) const ALL: &str = "scope:*,query:*,reveal:*,check:*,read:*";

pub(crate) fn log() -> String {
    "audit".to_owned()
}

pub(crate) fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// So many seconds from now; before now, where it is less than nothing.
pub(crate) fn in_seconds(seconds: i64) -> Option<Timestamp> {
    let now = Timestamp::from(SystemTime::now());
    Some(Timestamp { seconds: now.seconds + seconds, nanos: now.nanos })
}

impl House {
    /// A log whose administrators are `root` and `ann`.
    pub(crate) async fn governed() -> Self {
        Self::governed_by(Arc::new(Badges)).await
    }

    pub(crate) async fn governed_by(access: Arc<dyn Access>) -> Self {
        Self::administered(Env::system(), &["root", "ann"], access).await
    }

    /// `ScopeService` as somebody who may do all of it sees it.
    pub(crate) fn scopes(&self, name: &str) -> Scopes {
        self.scopes_with(name, ALL)
    }

    pub(crate) fn scopes_with(&self, name: &str, grants: &str) -> Scopes {
        ScopeServiceClient::with_interceptor(self.channel.clone(), Self::badge(name, grants))
    }

    /// Defines scopes in the plainest way.
    pub(crate) async fn define(&self, scopes: &[&str]) {
        for scope in scopes {
            let request =
                v1::DefineScopeRequest { log: log(), scope: (*scope).to_owned(), ..Default::default() };
            self.scopes("root").define_scope(request).await.unwrap();
        }
    }

    /// Asks for a grant as `rita`.
    pub(crate) async fn ask_for(&self, client: &str, scopes: &[&str]) -> v1::CommandResponse {
        self.scopes("rita").request_grant(asking(client, scopes)).await.unwrap().into_inner()
    }

    /// A grant that counts: asked for by `rita`, approved by `root`.
    pub(crate) async fn grant(&self, client: &str, scopes: &[&str]) -> v1::CommandResponse {
        let asked = self.ask_for(client, scopes).await;
        self.scopes("root").approve_grant(approving(&asked)).await.unwrap().into_inner()
    }

    pub(crate) async fn check(&self, client: &str, scopes: &[&str]) -> v1::CheckAccessResponse {
        self.check_as(checking(client, scopes)).await.unwrap()
    }

    pub(crate) async fn check_as(
        &self,
        request: CheckAccessRequest,
    ) -> Result<v1::CheckAccessResponse, Status> {
        self.scopes("gate").check_access(request).await.map(Response::into_inner)
    }

    /// All grants, as they stand now.
    pub(crate) async fn grants(&self) -> Vec<v1::ScopeGrant> {
        let request = v1::ListGrantsRequest { log: log(), page_size: 1000, ..Default::default() };
        self.scopes("root").list_grants(request).await.unwrap().into_inner().grants
    }

    /// Every decision that is in the log, with its index and whether it was allowed.
    pub(crate) fn decisions(&self) -> Vec<(u64, bool, DecisionFacts)> {
        let decided = self.leaves("audit").into_iter().filter_map(|leaf| match leaf.frame?.facts {
            Facts::Decision(facts) => Some((leaf.index, facts.reason.as_str() == "granted", facts)),
            _ => None,
        });
        decided.collect()
    }

    /// Every command that is in the log.
    pub(crate) fn commands(&self) -> Vec<(u64, ScopeCommand)> {
        let commands = self.leaves("audit").into_iter().filter_map(|leaf| match leaf.frame?.facts {
            Facts::Scope(command) => Some((leaf.index, command)),
            _ => None,
        });
        commands.collect()
    }

    /// Checks that entries are proven under a head.
    pub(crate) fn assert_proven_entries(
        &self,
        entries: &[(u64, &[u8])],
        proof: Option<v1::MultiInclusionProof>,
        head: Option<v1::TreeHead>,
    ) {
        let checkpoint = self.verified(head);
        let checkpoint = checkpoint.checkpoint();
        let indices: Vec<_> = entries.iter().map(|(index, _)| LeafIndex::new(*index).unwrap()).collect();
        let leaves: Vec<_> = entries.iter().map(|(_, leaf)| leaf_hash(leaf)).collect();
        let proof = proof.unwrap().to_merkle().unwrap();
        verify_multi(&indices, &leaves, checkpoint.size(), &proof, checkpoint.root()).unwrap();
    }
}

pub(crate) fn asking(client: &str, scopes: &[&str]) -> v1::RequestGrantRequest {
    v1::RequestGrantRequest {
        log: log(),
        client: client.to_owned(),
        scopes: texts(scopes),
        ..Default::default()
    }
}

pub(crate) fn approving(asked: &v1::CommandResponse) -> v1::ApproveGrantRequest {
    v1::ApproveGrantRequest {
        log: log(),
        grant: asked.id.clone(),
        revision: asked.revision,
        ..Default::default()
    }
}

pub(crate) fn revoking(grant: &str) -> v1::RevokeGrantRequest {
    v1::RevokeGrantRequest { log: log(), grant: grant.to_owned(), ..Default::default() }
}

pub(crate) fn checking(client: &str, scopes: &[&str]) -> CheckAccessRequest {
    CheckAccessRequest { log: log(), client: client.to_owned(), scopes: texts(scopes), ..Default::default() }
}

/// A token of these scopes, issued so many seconds ago.
pub(crate) fn shown(id: &str, scopes: &[&str], age: i64) -> Option<v1::CheckedToken> {
    Some(v1::CheckedToken {
        id: id.to_owned(),
        issuer: "https://id.example.com".to_owned(),
        issued: in_seconds(-age),
        expires: in_seconds(3600),
        scopes: texts(scopes),
    })
}

/// The word of a command that is in the log and does not count.
#[track_caller]
pub(crate) fn not_counting<T: std::fmt::Debug>(answer: Result<T, Status>) -> (String, u64) {
    let refusal = Refusal::of(&answer.unwrap_err()).unwrap();
    assert_eq!(refusal.reason(), ErrorReason::CommandRefused, "{refusal:?}");
    (refusal.fact("why").unwrap().to_owned(), refusal.number("index").unwrap())
}

/// The leaf's own words on a decision.
pub(crate) fn decision(leaf: &[u8]) -> DecisionFacts {
    match Frame::decode(leaf).unwrap().facts {
        Facts::Decision(facts) => facts,
        other => panic!("no decision: {other:?}"),
    }
}
