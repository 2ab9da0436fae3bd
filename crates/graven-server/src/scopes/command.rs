//! Commands: each is checked for its form, goes to the log, and is answered as the log's fold judged it.

use std::sync::Arc;

use bytes::Bytes;
use graven_audit::scopes::{Command, Commanded, Commanding, Signed};
use graven_audit::{Audit, Book, Who};
use graven_event::{Context, Party, Word};
use graven_proto::Refusal;
use graven_proto::v1::{self, CommandResponse, ErrorReason};
use tokio::time::Instant;
use tonic::{Request, Status};

use super::{admit, fields};
use crate::access::Permission;
use crate::audit::{Admitted, missing, party, principal, refuse, who};
use crate::core::Core;
use crate::log::append::bundle;
use crate::log::claim::{Claim, Level};
use crate::log::wait;
use crate::message::timestamp;
use crate::rpc;

/// A call that commands.
struct Call {
    audit: Arc<Audit>,
    book: Arc<Book>,
    who: Who,
    by: Party,
    deadline: Instant,
}

type Answer = Result<CommandResponse, Status>;

/// `DefineScope`.
pub(super) async fn define(core: &Core, request: Request<v1::DefineScopeRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let tier = v1::ScopeTier::try_from(asked.tier).map_err(|_| fields::unknown("tier"))?;
    let recording = v1::ScopeRecording::try_from(asked.recording);
    let command = Command::Define {
        scope: fields::scope(&asked.scope, "scope")?,
        tier: tier as u8,
        is_summed: recording.map_err(|_| fields::unknown("recording"))? == v1::ScopeRecording::Sums,
        approvers: fields::approvers(&asked.approvers)?,
        approvals: fields::approvals(asked.approvals)?,
        longest: fields::longest(asked.longest)?,
    };
    call.give(core, command, asked.options).await
}

/// `RequestGrant`.
pub(super) async fn request(core: &Core, request: Request<v1::RequestGrantRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let command = Command::Request {
        client: fields::name(&asked.client, "client")?,
        subject: fields::maybe_name(&asked.subject, "subject")?,
        scopes: fields::some_scopes(&asked.scopes, "scopes")?,
        resource: fields::resource(&asked.resource, "resource")?,
        not_before: fields::time(asked.not_before.as_ref(), "not_before")?,
        expires: fields::time(asked.expires.as_ref(), "expires")?,
    };
    call.give(core, command, asked.options).await
}

/// `ApproveGrant`.
pub(super) async fn approve(core: &Core, request: Request<v1::ApproveGrantRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let grant = fields::reference(&asked.grant, "grant")?;
    call.give(core, Command::Approve { grant, revision: asked.revision }, asked.options).await
}

/// `DenyGrant`.
pub(super) async fn deny(core: &Core, request: Request<v1::DenyGrantRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let grant = fields::reference(&asked.grant, "grant")?;
    call.give(core, Command::Deny { grant, revision: asked.revision }, asked.options).await
}

/// `NarrowGrant`.
pub(super) async fn narrow(core: &Core, request: Request<v1::NarrowGrantRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let command = Command::Narrow {
        grant: fields::reference(&asked.grant, "grant")?,
        revision: asked.revision,
        scopes: fields::scopes(&asked.scopes, "scopes")?,
        expires: fields::time(asked.expires.as_ref(), "expires")?,
    };
    call.give(core, command, asked.options).await
}

/// `RenewGrant`.
pub(super) async fn renew(core: &Core, request: Request<v1::RenewGrantRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let command = Command::Renew {
        grant: fields::reference(&asked.grant, "grant")?,
        revision: asked.revision,
        expires: fields::needed_time(asked.expires.as_ref(), "expires")?,
    };
    call.give(core, command, asked.options).await
}

/// `RevokeGrant`.
pub(super) async fn revoke(core: &Core, request: Request<v1::RevokeGrantRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let grant = fields::reference(&asked.grant, "grant")?;
    let revision = (asked.revision != 0).then_some(asked.revision);
    call.give(core, Command::Revoke { grant, revision }, asked.options).await
}

/// `RevokeToken`.
pub(super) async fn revoke_token(core: &Core, request: Request<v1::RevokeTokenRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let token = asked.token.ok_or_else(|| missing("token"))?;
    let command = Command::RevokeToken {
        issuer: fields::token_text(&token.issuer, "token.issuer")?,
        id: fields::token_text(&token.id, "token.id")?,
        expires: fields::time(token.expires.as_ref(), "token.expires")?,
        client: None,
    };
    call.give(core, command, asked.options).await
}

/// `RotateScope`.
pub(super) async fn rotate(core: &Core, request: Request<v1::RotateScopeRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let command = Command::Rotate {
        scope: fields::scope(&asked.scope, "scope")?,
        issued_before: fields::time(asked.issued_before.as_ref(), "issued_before")?,
    };
    call.give(core, command, asked.options).await
}

/// `OpenReview`.
pub(super) async fn open_review(core: &Core, request: Request<v1::OpenReviewRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let command = Command::OpenReview {
        scopes: fields::scopes(&asked.scopes, "scopes")?,
        client: fields::maybe_name(&asked.client, "client")?,
        due: fields::time(asked.due.as_ref(), "due")?,
    };
    call.give(core, command, asked.options).await
}

/// `AttestItem`.
pub(super) async fn attest(core: &Core, request: Request<v1::AttestItemRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let keep = match v1::Verdict::try_from(asked.verdict) {
        Ok(v1::Verdict::Keep) => true,
        Ok(v1::Verdict::Revoke) => false,
        Ok(v1::Verdict::Unspecified) => return Err(missing("verdict").into()),
        Err(_) => return Err(fields::unknown("verdict").into()),
    };
    let review = fields::reference(&asked.review, "review")?;
    let grant = fields::reference(&asked.grant, "grant")?;
    call.give(core, Command::Attest { review, grant, keep }, asked.options).await
}

/// `CloseReview`.
pub(super) async fn close_review(core: &Core, request: Request<v1::CloseReviewRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let review = fields::reference(&asked.review, "review")?;
    call.give(core, Command::CloseReview { review }, asked.options).await
}

/// `DismissAdministrator`.
pub(super) async fn dismiss(core: &Core, request: Request<v1::DismissAdministratorRequest>) -> Answer {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let administrator = fields::party(&asked.administrator, "administrator")?;
    call.give(core, Command::Dismiss { administrator }, asked.options).await
}

/// `AppointAdministrator`.
pub(super) async fn appoint(
    core: &Core,
    request: Request<v1::AppointAdministratorRequest>,
) -> Result<v1::AppointAdministratorResponse, Status> {
    let (call, asked) = begin(core, request, |asked| &asked.log)?;
    let administrator = fields::party(&asked.administrator, "administrator")?;
    if asked.prepare {
        let statement = call.audit.prepare_appointment(&call.book, &call.by, &administrator).await;
        let statement = Bytes::from(statement.map_err(|error| refuse(&error, core))?);
        return Ok(v1::AppointAdministratorResponse { command: None, statement });
    }
    let signed = match (asked.statement.is_empty(), asked.signature.is_empty()) {
        (true, true) => None,
        (false, false) => Some(Signed { statement: asked.statement, signature: asked.signature }),
        (true, false) => return Err(missing("statement").into()),
        (false, true) => return Err(missing("signature").into()),
    };
    let command = call.give(core, Command::Appoint { administrator, signed }, asked.options).await?;
    Ok(v1::AppointAdministratorResponse { command: Some(command), statement: Bytes::new() })
}

fn begin<T>(core: &Core, request: Request<T>, log: impl Fn(&T) -> &str) -> Result<(Call, T), Status> {
    let Admitted { audit, book } = admit(core, &request, log(request.get_ref()), Permission::Scope)?;
    let (who, deadline) = (who(&request), wait::deadline(request.metadata()));
    Ok((Call { audit, book, by: party(&who), who, deadline }, request.into_inner()))
}

impl Call {
    async fn give(self, core: &Core, command: Command, options: Option<v1::CommandOptions>) -> Answer {
        let options = options.unwrap_or_default();
        let level = Level::new(options.wait, self.book.log())
            .map_err(|refusal| refusal.with_field("options.wait"))?;
        let claim = Claim::new(options.idempotency_key, options.idempotency_issued_at.as_ref())?;
        let commanding = Commanding {
            caller: &principal(&self.who),
            by: self.by,
            command,
            justification: fields::justification(options.justification)?,
            context: context(&self.who),
            key: claim.as_ref().map(Claim::key),
        };
        let commanded = self.audit.command(&self.book, commanding).await;
        let Commanded { sequenced, leaf, id, revision, refused } =
            commanded.map_err(|error| refuse(&error, core))?;
        rpc::note_index(sequenced.first);
        if let Some(why) = refused {
            return Err(not_counting(&why, sequenced.first, revision).into());
        }
        let proof = match wait::covering(core, self.book.log(), level, &sequenced, self.deadline).await? {
            None => Bytes::new(),
            Some(head) => bundle(self.book.log(), &sequenced, &head)?,
        };
        Ok(CommandResponse {
            index: sequenced.first,
            log_time: Some(timestamp(sequenced.time_ns)),
            id: id.map(|id| id.to_string()).unwrap_or_default(),
            revision,
            leaf,
            proof,
            duplicate: sequenced.duplicate,
        })
    }
}

/// From where a call came, as its entry has it.
pub(crate) fn context(who: &Who) -> Context {
    Context {
        request_id: who.request_id.clone(),
        trace_id: None,
        ip: who.ip.map(|ip| ip.to_string()),
        user_agent: who.user_agent.clone(),
    }
}

/// A command that is in the log and does not count. The first revision of a grant is 1.
fn not_counting(why: &Word, index: u64, revision: u64) -> Refusal {
    let text = format!("the log refuses this command: {why}; entry {index} says so");
    let refusal =
        Refusal::new(ErrorReason::CommandRefused, text).with_fact("why", why).with_fact("index", index);
    if revision > 0 { refusal.with_fact("revision", revision) } else { refusal }
}
