//! Commands as requests.

use std::time::Duration;

use graven_event::Time;
use graven_proto::{
    convert::{event::timestamp, required},
    v1,
};

use super::Command;
use crate::{Appender, CallError, append::Sending, call::call_scopes};

/// Sends a command until it is answered, as its key allows.
pub(super) async fn send(
    log: &Appender,
    sending: &Sending<'_>,
    command: &Command,
    options: Option<v1::CommandOptions>,
) -> Result<v1::CommandResponse, CallError> {
    let (name, text) = (log.name().to_owned(), |text: &Option<String>| text.clone().unwrap_or_default());
    let time = |time: &Option<Time>| time.map(timestamp);
    macro_rules! request {
        ($method:ident, $request:ident { $($field:ident: $value:expr),* $(,)? }) => {{
            let request = v1::$request { log: name, options, $($field: $value),* };
            call_scopes(log.pool(), sending.retries(), &request, |mut scopes, request| async move {
                scopes.$method(request).await
            })
            .await
        }};
    }
    match command {
        Command::Define { scope, tier, is_summed, approvers, approvals, longest } => {
            request!(
                define_scope,
                DefineScopeRequest {
                    scope: scope.clone(),
                    tier: i32::from(*tier),
                    recording: if *is_summed { v1::ScopeRecording::Sums } else { v1::ScopeRecording::Each }
                        .into(),
                    approvers: approvers.clone(),
                    approvals: u32::from(*approvals),
                    longest: longest.map(duration),
                }
            )
        }
        Command::Request { client, subject, scopes, resource, not_before, expires } => {
            request!(
                request_grant,
                RequestGrantRequest {
                    client: client.clone(),
                    subject: text(subject),
                    scopes: scopes.clone(),
                    resource: text(resource),
                    not_before: time(not_before),
                    expires: time(expires),
                }
            )
        }
        Command::Approve { grant, revision } => {
            request!(approve_grant, ApproveGrantRequest { grant: grant.to_string(), revision: *revision })
        }
        Command::Deny { grant, revision } => {
            request!(deny_grant, DenyGrantRequest { grant: grant.to_string(), revision: *revision })
        }
        Command::Narrow { grant, revision, scopes, expires } => {
            request!(
                narrow_grant,
                NarrowGrantRequest {
                    grant: grant.to_string(),
                    revision: *revision,
                    scopes: scopes.clone(),
                    expires: time(expires),
                }
            )
        }
        Command::Renew { grant, revision, expires } => {
            request!(
                renew_grant,
                RenewGrantRequest {
                    grant: grant.to_string(),
                    revision: *revision,
                    expires: Some(timestamp(*expires)),
                }
            )
        }
        Command::Revoke { grant, revision } => {
            request!(
                revoke_grant,
                RevokeGrantRequest { grant: grant.to_string(), revision: revision.unwrap_or_default() }
            )
        }
        Command::RevokeToken { issuer, id, expires } => {
            request!(
                revoke_token,
                RevokeTokenRequest {
                    token: Some(v1::Token {
                        id: id.clone(),
                        issuer: issuer.clone(),
                        expires: time(expires),
                        ..Default::default()
                    }),
                }
            )
        }
        Command::Rotate { scope, issued_before } => {
            request!(
                rotate_scope,
                RotateScopeRequest { scope: scope.clone(), issued_before: time(issued_before) }
            )
        }
        Command::OpenReview { scopes, client, due } => {
            request!(
                open_review,
                OpenReviewRequest { scopes: scopes.clone(), client: text(client), due: time(due) }
            )
        }
        Command::Attest { review, grant, keep } => {
            request!(
                attest_item,
                AttestItemRequest {
                    review: review.to_string(),
                    grant: grant.to_string(),
                    verdict: if *keep { v1::Verdict::Keep } else { v1::Verdict::Revoke }.into(),
                }
            )
        }
        Command::CloseReview { review } => {
            request!(close_review, CloseReviewRequest { review: review.to_string() })
        }
        Command::Appoint { administrator, signed } => {
            let signed = signed.clone();
            let (statement, signature) = signed.map(|it| (it.statement, it.signature)).unwrap_or_default();
            let answer = request!(
                appoint_administrator,
                AppointAdministratorRequest {
                    administrator: administrator.clone(),
                    prepare: false,
                    statement: statement,
                    signature: signature,
                }
            );
            // Without it there is no leaf, which is said by whoever looks at that.
            answer.map(|answer| required("command", answer.command).unwrap_or_default())
        }
        Command::Dismiss { administrator } => {
            request!(
                dismiss_administrator,
                DismissAdministratorRequest { administrator: administrator.clone() }
            )
        }
    }
}

pub(super) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}
