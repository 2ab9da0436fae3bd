//! A pack for people: it follows from the manifest and the entries, word for word.

use graven_client::{alerts::Severity, scopes::command_word};
use graven_event::{Facts, Frame, Outcome as Ended, Ref, Word};

use super::pack::{Leaf, Manifest};
use crate::{
    output::shown,
    scopes::{show::brief_number, times::brief},
};

/// Rows that people read; programs read all of them.
const MAX_ROWS: usize = 1_000;

/// The kind of an entry, as it is counted.
pub(super) fn kind(frame: &Frame) -> String {
    match &frame.facts {
        Facts::Scope(command) => {
            let word = command_word(command.command).unwrap_or("command");
            if command.refused.is_some() { format!("{word}, refused") } else { word.to_owned() }
        }
        Facts::Decision(_) if frame.outcome == Some(Ended::Success) => "decision, allowed".to_owned(),
        Facts::Decision(_) => "decision, denied".to_owned(),
        Facts::Alert(alert) => {
            format!("alert, {}", Severity::of(alert.severity).map_or("-", Severity::as_str))
        }
        Facts::Event(_) => match frame.outcome {
            Some(outcome) => format!("event, {}", outcome.as_str()),
            None => "event".to_owned(),
        },
        other => other.kind_word().to_owned(),
    }
}

/// The summary.
pub(super) fn text(manifest: &Manifest, leaves: &[Leaf]) -> String {
    let mut lines = vec![
        format!("# Evidence for {} {}: {}", manifest.framework, manifest.control, manifest.title),
        String::new(),
        format!("- Log: `{}`", cell(&manifest.origin)),
        format!("- Time: {} to {}, by the log's clock", manifest.from, manifest.to),
        format!(
            "- Read: entries {} to {}, each proven under a signed head; {} of them are evidence for this control",
            manifest.first_index,
            manifest.end_index.saturating_sub(1),
            manifest.leaves
        ),
        format!("- Signed head: {} entries, root `{}`", manifest.tree_size, cell(&manifest.root)),
        format!("- Collected: {}", manifest.collected_at),
        String::new(),
        "Verify it, offline, with the log's keys: `graven evidence verify --policy FILE PACK`. Names are what the server called the references in \
         the entries; all else stands in the entries themselves."
            .to_owned(),
        String::new(),
        "| Number | Kind |".to_owned(),
        "|---:|---|".to_owned(),
    ];
    lines.extend(manifest.counts.iter().map(|(kind, count)| format!("| {count} | {} |", cell(kind))));
    lines.push(String::new());
    if !leaves.is_empty() {
        lines.push("| Entry | Time | What | Who | About |".to_owned());
        lines.push("|---:|---|---|---|---|".to_owned());
    }
    lines.extend(leaves.iter().take(MAX_ROWS).map(|leaf| row(manifest, leaf)));
    if leaves.len() > MAX_ROWS {
        lines.push(String::new());
        lines.push(format!("And {} more, in `leaves.jsonl`.", leaves.len() - MAX_ROWS));
    }
    lines.join("\n") + "\n"
}

fn row(manifest: &Manifest, leaf: &Leaf) -> String {
    let name = |reference: Ref| {
        let known = manifest.names.get(&reference.to_string());
        known.map_or_else(|| format!("`{}`", brief_number(&reference)), |name| cell(name))
    };
    let (who, about) = told(&leaf.frame.facts, &name);
    format!(
        "| {} | {} | {} | {} | {} |",
        leaf.index,
        brief(Some(leaf.frame.log_time)),
        cell(&kind(&leaf.frame)),
        who.map_or_else(|| "-".to_owned(), name),
        about
    )
}

/// Who did it, and what it is about.
fn told(facts: &Facts, name: &dyn Fn(Ref) -> String) -> (Option<Ref>, String) {
    let words = |words: &[Word]| words.iter().map(|word| cell(word.as_str())).collect::<Vec<_>>().join(", ");
    let why = |why: Option<&Word>| why.map_or_else(String::new, |why| format!("{}; ", cell(why.as_str())));
    match facts {
        Facts::Genesis(genesis) => {
            let first: Vec<_> = genesis.administrators.iter().map(|who| name(*who)).collect();
            (None, if first.is_empty() { "no administrators yet".to_owned() } else { first.join(", ") })
        }
        Facts::Scope(command) => {
            let grant = command.grant.map(|grant| format!("grant `{}`", brief_number(&grant)));
            let whom = [command.client, command.subject].into_iter().flatten().map(name);
            let parts: Vec<_> = grant
                .into_iter()
                .chain(whom)
                .chain([words(&command.scopes)])
                .filter(|it| !it.is_empty())
                .collect();
            (Some(command.by), why(command.refused.as_ref()) + &parts.join(", "))
        }
        Facts::Decision(decision) => {
            let subject =
                decision.subject.map(|subject| format!("for {}, ", name(subject))).unwrap_or_default();
            let count = decision.count.filter(|count| *count > 1).map(|count| format!("{count} times, "));
            let about = format!("{subject}{}{}", count.unwrap_or_default(), words(&decision.scopes));
            (Some(decision.client), why(Some(&decision.reason)) + &about)
        }
        Facts::Alert(alert) => {
            let about: Vec<_> = alert.about.iter().map(|who| name(*who)).collect();
            let fired =
                alert.leaves.first().map_or_else(String::new, |first| format!("; first entry {first}"));
            (None, format!("{}: {}{fired}", cell(alert.name.as_str()), about.join(", ")))
        }
        Facts::Rule(rule) => (Some(rule.by), cell(rule.name.as_str())),
        Facts::Event(event) => (Some(event.actor), cell(event.action.as_str())),
        Facts::Gap(gap) | Facts::Filled(gap) => {
            (Some(gap.producer), format!("numbers {} to {}", gap.first, gap.last))
        }
        Facts::Erasure(erasure) => (
            Some(erasure.by),
            format!("{} people, by {}", erasure.erased.len(), cell(erasure.authority.as_str())),
        ),
        Facts::Retention(class) => (Some(class.by), cell(class.name.as_str())),
        Facts::Hold(hold) => (Some(hold.by), cell(hold.authority.as_str())),
        Facts::Release(release) => (Some(release.by), cell(release.authority.as_str())),
        Facts::Expiry(expiry) => (None, format!("entries before {}", expiry.before)),
        Facts::Rejected(rejected) => (None, cell(rejected.reason.as_str())),
    }
}

/// A text of strangers in a cell of a table.
fn cell(text: &str) -> String {
    let mut safe = String::new();
    for c in shown(text).chars() {
        if matches!(c, '|' | '`' | '<' | '[' | ']' | '*' | '_' | '\\') {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}
