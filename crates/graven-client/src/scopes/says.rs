//! Whether a leaf says what was commanded.

use std::collections::BTreeSet;

use graven_event::{
    Party, Ref, Time,
    facts::{Command as Number, ScopeCommand},
};

use super::{Command, same_words};

/// Whether a leaf says what was commanded, as far as it says that in clear: people and applications are references there.
pub(super) fn says(facts: &ScopeCommand, command: &Command) -> bool {
    let is = |number: Number| facts.command == number as u8;
    let scope = |scope: &String| same_words(&facts.scopes, [scope.as_str()]);
    let scopes = |scopes: &[String]| same_words(&facts.scopes, scopes.iter().map(String::as_str));
    let time = |told: Option<u64>, asked: &Option<Time>| told == asked.map(Time::nanoseconds);
    let about = |grant: &Ref, revision: u64| facts.grant == Some(*grant) && facts.revision == Some(revision);
    match command {
        Command::Define { scope: name, tier, is_summed, approvers, approvals, longest } => {
            is(Number::DefineScope)
                && scope(name)
                && facts.tier.unwrap_or_default() == *tier
                && facts.recording.unwrap_or_default() == u8::from(*is_summed)
                && facts.approvals.unwrap_or(1) == (*approvals).max(1)
                && facts.longest == longest.map(|longest| longest.as_secs())
                && facts.approvers.iter().collect::<BTreeSet<_>>().len() == people(approvers)
        }
        Command::Request { subject, scopes: names, resource, not_before, expires, .. } => {
            is(Number::RequestGrant)
                && facts.client.is_some()
                && facts.subject.is_some() == subject.is_some()
                && scopes(names)
                && facts.resource.as_ref().map(|resource| resource.as_str()) == resource.as_deref()
                && time(facts.not_before, not_before)
                && time(facts.expires, expires)
        }
        Command::Approve { grant, revision } => is(Number::ApproveGrant) && about(grant, *revision),
        Command::Deny { grant, revision } => is(Number::DenyGrant) && about(grant, *revision),
        Command::Narrow { grant, revision, scopes: names, expires } => {
            is(Number::NarrowGrant)
                && about(grant, *revision)
                && scopes(names)
                && time(facts.expires, expires)
        }
        Command::Renew { grant, revision, expires } => {
            is(Number::RenewGrant) && about(grant, *revision) && time(facts.expires, &Some(*expires))
        }
        Command::Revoke { grant, revision } => {
            is(Number::RevokeGrant)
                && facts.grant == Some(*grant)
                && revision.is_none_or(|revision| facts.revision == Some(revision))
        }
        Command::RevokeToken { expires, .. } => {
            is(Number::RevokeToken) && facts.token.is_some() && time(facts.expires, expires)
        }
        Command::Rotate { scope: name, issued_before } => {
            is(Number::RotateScope)
                && scope(name)
                && (issued_before.is_none() || time(facts.issued_before, issued_before))
        }
        Command::OpenReview { scopes: names, client, due } => {
            is(Number::OpenReview)
                && scopes(names)
                && facts.client.is_some() == client.is_some()
                && time(facts.expires, due)
        }
        Command::Attest { review, grant, keep } => {
            is(Number::AttestItem)
                && (facts.review, facts.grant) == (Some(*review), Some(*grant))
                && facts.verdict == Some(if *keep { 1 } else { 2 })
        }
        Command::CloseReview { review } => is(Number::CloseReview) && facts.review == Some(*review),
        Command::Appoint { signed, .. } => {
            is(Number::AppointAdministrator)
                && facts.subject.is_some()
                && facts.signature.is_some() == signed.is_some()
        }
        Command::Dismiss { .. } => is(Number::DismissAdministrator) && facts.subject.is_some(),
    }
}

/// How many people are named: `alice` is `user:alice`.
fn people(names: &[String]) -> usize {
    names.iter().map(|name| Party::parse(name).subject()).collect::<BTreeSet<_>>().len()
}
