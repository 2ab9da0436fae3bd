//! Scopes, grants and steps, for people and for programs.

use graven_client::scopes::{ReportedGrant, ReportedReview, ReportedScope, Step};
use serde_json::{Map, Value, json};

use super::times::{brief, precise};
use crate::table::Table;

/// So many digits of a number tell it from others, for people. Programs get all.
const BRIEF_DIGITS: usize = 12;

/// The words for how far a scope reaches.
pub(crate) fn tier(tier: u8) -> &'static str {
    ["-", "read", "modify", "admin"].get(usize::from(tier)).copied().unwrap_or("-")
}

pub(super) fn scopes(scopes: &[ReportedScope]) -> Table<8> {
    let mut table =
        Table::new(["SCOPE", "TIER", "APPROVALS", "APPROVERS", "LONGEST", "RECORDING", "ROTATED", "ENTRY"]);
    for scope in scopes {
        table.row([
            scope.scope.clone(),
            tier(scope.tier).to_owned(),
            scope.approvals.to_string(),
            if scope.approvers.is_empty() { "administrators".to_owned() } else { scope.approvers.join(", ") },
            scope.longest.map_or_else(String::new, |longest| humantime::format_duration(longest).to_string()),
            if scope.is_summed { "sums" } else { "each" }.to_owned(),
            brief(scope.issued_before),
            scope.index.to_string(),
        ]);
    }
    table
}

pub(crate) fn scope_json(scope: &ReportedScope) -> Value {
    json!({
        "scope": scope.scope,
        "tier": tier(scope.tier),
        "recording": if scope.is_summed { "sums" } else { "each" },
        "approvers": scope.approvers,
        "approvals": scope.approvals,
        "longest_seconds": scope.longest.map(|longest| longest.as_secs()),
        "issued_before": precise(scope.issued_before),
        "index": scope.index,
    })
}

pub(crate) fn grants(grants: &[ReportedGrant]) -> Table<9> {
    let mut table = Table::new([
        "GRANT",
        "STATUS",
        "CLIENT",
        "SUBJECT",
        "SCOPES (USES)",
        "EXPIRES",
        "ASKED BY",
        "APPROVED BY",
        "LAST USED",
    ]);
    for grant in grants {
        let scopes = grant.scopes.iter().map(|scope| format!("{} ({})", scope.scope, scope.uses));
        let last = grant.scopes.iter().filter_map(|scope| scope.last_used).max();
        let resource =
            if grant.resource.is_empty() { String::new() } else { format!(" at {}", grant.resource) };
        table.row([
            format!("{}@{}", brief_number(&grant.grant), grant.revision),
            grant.status.as_str().to_owned(),
            grant.client.clone(),
            grant.subject.clone(),
            scopes.collect::<Vec<_>>().join(", ") + &resource,
            brief(grant.expires),
            grant.requester.clone(),
            grant.approvers.join(", "),
            brief(last),
        ]);
    }
    table
}

pub(crate) fn grant_json(grant: &ReportedGrant) -> Value {
    let scopes = grant.scopes.iter().map(|scope| {
        json!({
            "scope": scope.scope,
            "uses": scope.uses,
            "last_used": precise(scope.last_used),
            "last_used_index": scope.last_used.map(|_| scope.last_used_index),
        })
    });
    json!({
        "grant": grant.grant.to_string(),
        "revision": grant.revision,
        "status": grant.status.as_str(),
        "client": grant.client,
        "subject": text(&grant.subject),
        "scopes": scopes.collect::<Vec<_>>(),
        "resource": text(&grant.resource),
        "not_before": precise(grant.not_before),
        "expires": precise(grant.expires),
        "requester": grant.requester,
        "approvers": grant.approvers,
        "requested_index": grant.requested_index,
        "changed_index": grant.changed_index,
    })
}

pub(super) fn review_json(review: &ReportedReview) -> Value {
    let numbers = |numbers: &[graven_event::Ref]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "review": review.review.to_string(),
        "index": review.index,
        "due": precise(review.due),
        "closed": review.is_closed,
        "open": numbers(&review.open),
        "kept": numbers(&review.kept),
        "revoked": numbers(&review.revoked),
    })
}

/// What stands above steps that are printed as they come.
pub(super) fn step_header() -> String {
    step_row(["ENTRY", "TIME", "WHAT", "BY", "GRANT", "SCOPES"].map(str::to_owned))
}

/// A step in a line.
pub(super) fn step(step: &Step) -> String {
    let mut scopes = step.scopes().join(", ");
    if let Some(why) = step.refused() {
        scopes.push_str(&format!("  refused: {why}"));
    }
    if !step.justification().is_empty() {
        scopes.push_str(&format!("  \"{}\"", step.justification()));
    }
    let grant = step.grant().map_or_else(|| "-".to_owned(), |grant| brief_number(&grant));
    step_row([
        step.index().to_string(),
        brief(Some(step.log_time())),
        step.what().to_owned(),
        if step.by().is_empty() { "-".to_owned() } else { step.by().to_owned() },
        grant,
        scopes,
    ])
}

fn step_row(cells: [String; 6]) -> String {
    let [index, time, what, by, grant, scopes] = cells.map(|cell| crate::output::shown(&cell).into_owned());
    format!("{index:>9}  {time:<20}  {what:<12}  {by:<24}  {grant:<12}  {scopes}").trim_end().to_owned()
}

/// A step for programs.
pub(super) fn step_json(step: &Step) -> Map<String, Value> {
    Map::from_iter([
        ("index".to_owned(), json!(step.index().get())),
        ("log_time".to_owned(), json!(step.log_time().to_string())),
        ("what".to_owned(), json!(step.what())),
        ("by".to_owned(), json!(text(step.by()))),
        ("grant".to_owned(), json!(step.grant().map(|grant| grant.to_string()))),
        ("scopes".to_owned(), json!(step.scopes())),
        ("refused".to_owned(), json!(step.refused().map(|why| why.as_str()))),
        ("justification".to_owned(), json!(text(step.justification()))),
    ])
}

/// The beginning of a number.
pub(crate) fn brief_number(number: &graven_event::Ref) -> String {
    number.to_string().chars().take(BRIEF_DIGITS).collect()
}

/// A text, where there is one.
pub(crate) fn text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
