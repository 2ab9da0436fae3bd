//! `CheckAccess`: decided and recorded in one step.

use bytes::Bytes;
use graven_audit::scopes::{Asked, Checked, Freshness, ShownToken};
use graven_event::{Context, catalogue};
use graven_proto::Refusal;
use graven_proto::convert::event::timestamp;
use graven_proto::v1::{self, consistency::Wanted};
use tonic::{Request, Status};

use super::{admit, fields};
use crate::access::Permission;
use crate::audit::{Admitted, principal, refuse, who};
use crate::core::Core;
use crate::log::append::bundle;
use crate::log::claim::Level;
use crate::log::wait;
use crate::rpc;

/// What is to be done where nobody says.
const ACTION: &str = "scope.check";

/// `CheckAccess`.
pub(super) async fn check(
    core: &Core,
    request: Request<v1::CheckAccessRequest>,
) -> Result<v1::CheckAccessResponse, Status> {
    let Admitted { audit, book } = admit(core, &request, &request.get_ref().log, Permission::Check)?;
    let (deadline, caller) = (wait::deadline(request.metadata()), principal(&who(&request)));
    let wanted = request.into_inner();
    let level = Level::new(wanted.wait, book.log())?;
    let checked = audit.check(&book, asked(wanted, &caller)?).await;
    let Checked { reason, grants, missing, state_size, decided_at, recorded } =
        checked.map_err(|error| refuse(&error, core))?;
    let mut response = v1::CheckAccessResponse {
        allowed: reason == graven_event::scopes::Reason::Granted,
        reason: reason.as_str().to_owned(),
        grants: grants.iter().map(ToString::to_string).collect(),
        missing,
        state_size,
        decided_at: Some(timestamp(decided_at)),
        aggregated: recorded.is_none(),
        ..Default::default()
    };
    if let Some((sequenced, leaf)) = recorded {
        rpc::note_index(sequenced.first);
        response.proof = match wait::covering(core, book.log(), level, &sequenced, deadline).await? {
            None => Bytes::new(),
            Some(head) => bundle(book.log(), &sequenced, &head)?,
        };
        response.index = sequenced.first;
        response.leaf = leaf;
    }
    Ok(response)
}

fn asked(wanted: v1::CheckAccessRequest, caller: &str) -> Result<Asked<'_>, Refusal> {
    let action = if wanted.action.is_empty() { ACTION.to_owned() } else { wanted.action };
    if !catalogue::knows(&action) {
        let text = "not in the catalogue: put `x.` before a word of your own";
        return Err(fields::invalid("action", text));
    }
    Ok(Asked {
        caller,
        client: fields::name(&wanted.client, "client")?,
        subject: fields::maybe_name(&wanted.subject, "subject")?,
        action: fields::line(&action, "action")?,
        scopes: fields::scopes(&wanted.scopes, "scopes")?,
        resource: fields::resource(&wanted.resource, "resource")?,
        token: wanted.token.as_ref().map(shown).transpose()?,
        context: wanted.context.map(context).transpose()?.unwrap_or_default(),
        freshness: freshness(wanted.consistency)?,
    })
}

fn shown(token: &v1::CheckedToken) -> Result<ShownToken, Refusal> {
    Ok(ShownToken {
        issuer: fields::token_text(&token.issuer, "token.issuer")?,
        id: fields::token_text(&token.id, "token.id")?,
        issued: fields::time(token.issued.as_ref(), "token.issued")?,
        expires: fields::time(token.expires.as_ref(), "token.expires")?,
        scopes: fields::presented(&token.scopes, "token.scopes")?,
    })
}

fn context(context: v1::Context) -> Result<Context, Refusal> {
    let context = Context::from(context);
    let texts = [&context.request_id, &context.trace_id, &context.ip, &context.user_agent];
    if texts.into_iter().flatten().any(|text| text.len() > graven_event::MAX_TEXT_BYTES) {
        let limit = graven_event::MAX_TEXT_BYTES;
        let text = format!("each of its texts has at most {limit} bytes");
        return Err(fields::invalid("context", text).with_fact("limit", limit));
    }
    Ok(context)
}

fn freshness(consistency: Option<v1::Consistency>) -> Result<Freshness, Refusal> {
    Ok(match consistency.and_then(|consistency| consistency.wanted) {
        None | Some(Wanted::Latest(_)) => Freshness::Latest,
        Some(Wanted::AtLeastSize(size)) => Freshness::AtLeast(size),
        Some(Wanted::ExactSize(size)) => Freshness::Exactly(size),
        Some(Wanted::AtMostOld(span)) => {
            Freshness::AtMostOld(fields::duration(span, "consistency.at_most_old")?)
        }
    })
}
