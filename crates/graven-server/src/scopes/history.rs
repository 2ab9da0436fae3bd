//! `GrantHistory` and `ExplainDecision`: what was done and why, under one proof.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use graven_audit::AuditError;
use graven_audit::scopes::{History, Point};
use graven_event::facts::DecisionFacts;
use graven_event::scopes::{Definition, Grant, ScopeState};
use graven_event::{Facts, Ref, Word};
use graven_proto::Refusal;
use graven_proto::convert::event::timestamp;
use graven_proto::limits::MAX_PROOF_INDICES;
use graven_proto::v1::{self, ErrorReason};
use prost::Message as _;
use tonic::{Request, Status};

use super::list::Reading;
use super::{Names, fields, show};
use crate::audit::read::{ANSWER_BYTES, covering, prove};
use crate::audit::refuse;
use crate::core::{Core, blocking};
use crate::log::wait;
use crate::message::tree_head;
use crate::rpc;

/// Most grants of an explanation, those first that allowed it.
const MAX_GRANTS: usize = 128;

/// `GrantHistory`.
pub(super) async fn history(
    core: &Arc<Core>,
    request: &Request<v1::GrantHistoryRequest>,
) -> Result<v1::GrantHistoryResponse, Status> {
    let reading = Reading::begin(core, request, &request.get_ref().log)?;
    let names = reading.names(core, request);
    let deadline = wait::deadline(request.metadata());
    let asked = request.get_ref();
    let client = fields::name(&asked.client, "client")?;
    let scope = match asked.scope.as_str() {
        "" => None,
        scope => Some(fields::scope(scope, "scope")?),
    };
    let book = &reading.book;
    let head = covering(core, book, 0, deadline).await?;
    let below = head.size().get();
    let found = reading.audit.history(book, &client, scope.as_deref(), below, names.may_reveal()).await;
    let History { steps, is_truncated } = found.map_err(|error| refuse(&error, core))?;
    let steps: Vec<_> = steps.into_iter().map(|step| names.step(step)).collect();
    let (steps, is_cut) = newest(steps);
    let of = book.named(&application(&client));
    let deed = reading
        .deed("graven.scopes.history")
        .with("client", of.map_or_else(|| "unknown".to_owned(), |it| it.to_string()))
        .with("scope", scope.as_deref().unwrap_or("*"))
        .with("size", below)
        .with("hits", steps.len());
    reading.note(core, deed).await?;
    let indices: Vec<_> = steps.iter().map(|step| step.index).collect();
    let proof = match indices.is_empty() {
        true => None,
        false => Some(prove(book, indices, head.clone()).await?),
    };
    Ok(v1::GrantHistoryResponse {
        steps,
        head: Some(tree_head(&head)),
        proof,
        truncated: is_truncated || is_cut,
    })
}

/// The newest steps that fit an answer, in order, and whether any did not.
fn newest(mut steps: Vec<v1::HistoryStep>) -> (Vec<v1::HistoryStep>, bool) {
    let mut room = ANSWER_BYTES;
    let fitting = steps.iter().rev().take_while(|step| {
        let bytes = step.encoded_len();
        let fits = bytes <= room;
        room = room.saturating_sub(bytes);
        fits
    });
    let cut = steps.len() - fitting.count();
    (steps.split_off(cut), cut > 0)
}

/// `ExplainDecision`.
pub(super) async fn explain(
    core: &Arc<Core>,
    request: &Request<v1::ExplainDecisionRequest>,
) -> Result<v1::ExplainDecisionResponse, Status> {
    let reading = Reading::begin(core, request, &request.get_ref().log)?;
    let names = reading.names(core, request);
    let (deadline, index) = (wait::deadline(request.metadata()), request.get_ref().index);
    rpc::note_index(index);
    let book = &reading.book;
    let size = book.log().durable_size();
    if index >= size {
        let text = format!("index {index} is not below the {size} entries of the log");
        return Err(Refusal::new(ErrorReason::IndexBeyondTree, text).with_fact("size", size).into());
    }
    let decision = decision_at(core, &reading, index).await?;
    let (state, _) =
        reading.audit.state_at(book, Point::Size(index)).await.map_err(|error| refuse(&error, core))?;
    let again = state.scopes.decide(&decision);
    let grounds = Grounds::of(&state.scopes, &decision);
    let head = covering(core, book, index + 1, deadline).await?;
    let leaves = leaves(core, &reading, grounds.indices(index)).await?;
    let deed = reading.deed("graven.scopes.explain").with("index", index);
    reading.note(core, deed).await?;
    let proof = prove(book, leaves.iter().map(|leaf| leaf.index).collect(), head.clone()).await?;
    let (client, subject) = names.asker(decision.client, decision.subject);
    Ok(v1::ExplainDecisionResponse {
        allowed: decision.reason == graven_event::scopes::Reason::Granted.word(),
        reason: decision.reason.to_string(),
        allowed_again: again.is_allowed(),
        reason_again: again.reason.as_str().to_owned(),
        state_size: decision.state_size,
        decided_at: Some(timestamp(graven_event::Time(decision.decided_at))),
        client,
        subject,
        scopes: show::words(&decision.scopes),
        resource: show::text(decision.resource.as_ref()),
        grants: grounds.show_grants(names, &decision),
        definitions: grounds.definitions.iter().map(|(scope, said)| names.definition(scope, said)).collect(),
        proof: Some(proof),
        leaves,
        head: Some(tree_head(&head)),
        truncated: grounds.is_cut,
    })
}

async fn decision_at(core: &Arc<Core>, reading: &Reading, index: u64) -> Result<DecisionFacts, Status> {
    let (book, failing) = (reading.book.clone(), core.clone());
    blocking(move || {
        let opened = book.open_one(index, &[]).map_err(|error| refuse(&error, &failing))?;
        match opened.frame.map(|frame| frame.facts) {
            Some(Facts::Decision(decision)) => Ok(decision),
            _ => Err(refuse(&AuditError::NotADecision(index), &failing).into()),
        }
    })
    .await
}

async fn leaves(
    core: &Arc<Core>,
    reading: &Reading,
    indices: BTreeSet<u64>,
) -> Result<Vec<v1::ProvenLeaf>, Status> {
    let (book, failing) = (reading.book.clone(), core.clone());
    blocking(move || {
        let read = |index| -> Result<v1::ProvenLeaf, Status> {
            let leaf: Bytes = book.open_one(index, &[]).map_err(|error| refuse(&error, &failing))?.leaf;
            Ok(v1::ProvenLeaf { index, leaf })
        };
        indices.into_iter().map(read).collect()
    })
    .await
}

/// What a decision went by: the client's grants with any of its scopes, and what was said of these.
struct Grounds<'a> {
    grants: BTreeMap<Ref, &'a Grant>,
    definitions: BTreeMap<&'a Word, &'a Definition>,
    is_cut: bool,
}

impl<'a> Grounds<'a> {
    fn of(state: &'a ScopeState, decision: &DecisionFacts) -> Self {
        let about = |grant: &Grant| {
            grant.client == decision.client && decision.scopes.iter().any(|it| grant.scopes.contains_key(it))
        };
        let mut grants: Vec<_> = state.grants().filter(|(_, grant)| about(grant)).collect();
        // Those that allowed it, then the newest.
        grants.sort_by_key(|(number, grant)| {
            (!decision.grants.contains(number), std::cmp::Reverse(grant.changed))
        });
        let is_cut = grants.len() > MAX_GRANTS;
        grants.truncate(MAX_GRANTS);
        Self {
            grants: grants.into_iter().collect(),
            definitions: state.scopes().filter(|(scope, _)| decision.scopes.contains(scope)).collect(),
            is_cut,
        }
    }

    /// The entries that all of it follows from, with the decision's own.
    fn indices(&self, decision: u64) -> BTreeSet<u64> {
        let grants = self.grants.values().flat_map(|grant| {
            let activated = Some(grant.activated).filter(|index| *index > 0);
            [Some(grant.requested), activated, Some(grant.changed)].into_iter().flatten()
        });
        let definitions = self.definitions.values().flat_map(|said| [said.index, said.changed]);
        grants.chain(definitions).chain([decision]).collect()
    }

    fn show_grants(&self, names: Names<'_>, decision: &DecisionFacts) -> Vec<v1::ScopeGrant> {
        let at = graven_event::Time(decision.decided_at);
        self.grants.iter().map(|(number, grant)| names.grant(*number, grant, at)).collect()
    }
}

fn application(client: &str) -> String {
    graven_event::Party::new(crate::audit::APPLICATION, client).subject()
}

/// All entries that an explanation can have fit one proof: three of each grant, two of each scope, and the decision.
const _: () = assert!(3 * MAX_GRANTS + 2 * 64 < MAX_PROOF_INDICES);
