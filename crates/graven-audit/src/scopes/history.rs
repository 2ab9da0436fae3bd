//! What was done about an application and a scope, from the leaves.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use graven_event::facts::{Command, Ref, ScopeCommand};
use graven_event::query::Query;
use graven_event::{Facts, Frame, Group, Time, Word};

use super::application;
use crate::audit::Audit;
use crate::book::Book;
use crate::error::AuditError;
use crate::read::{Opened, Page};
use crate::record::word;

/// Most steps of a history.
pub const MAX_STEPS: usize = 1024;
/// Groups that say who did something and why.
const TOLD: [Group; 4] = [Group::Actor, Group::Targets, Group::Token, Group::Decision];

/// What was done, in the order of the log.
#[derive(Clone, Debug)]
pub struct History {
    /// The steps.
    pub steps: Vec<Step>,
    /// There were more than [`MAX_STEPS`]: these are the newest.
    pub is_truncated: bool,
}

/// One leaf of a history.
#[derive(Clone, Debug)]
pub struct Step {
    /// The leaf, with what can be read of it.
    pub opened: Opened,
    /// `request`, `approve`, `deny`, `narrow`, `renew`, `revoke`, `revoke-token`, `rotate`, `define`, `open-review`, `attest`,
    /// `close-review`, `appoint`, `dismiss`, `first-use`, `last-use`.
    pub what: &'static str,
}

impl Step {
    /// The command, where it is one and no use.
    pub fn command(&self) -> Option<&ScopeCommand> {
        command(&self.opened)
    }
}

fn command(opened: &Opened) -> Option<&ScopeCommand> {
    match &opened.frame {
        Some(Frame { facts: Facts::Scope(command), .. }) => Some(command),
        _ => None,
    }
}

impl Audit {
    /// Everything about an application and a scope (`None`: all scopes), below a size.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn history(
        self: &Arc<Self>,
        book: &Arc<Book>,
        client: &str,
        scope: Option<&str>,
        below: u64,
        may_reveal: bool,
    ) -> Result<History, AuditError> {
        let client = book.named(&application(client).subject());
        let scope = scope.map(|scope| word("scope", scope)).transpose()?;
        let book = book.clone();
        let find = move || book.history(client, scope.as_ref(), below, may_reveal);
        tokio::task::spawn_blocking(find).await.map_err(|_| AuditError::Stopping)?
    }

    /// The commands among the leaves of a range, in order, with the index after the last leaf that was looked at.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn commands(
        self: &Arc<Self>,
        book: &Arc<Book>,
        range: Range<u64>,
        may_reveal: bool,
    ) -> Result<(Vec<Step>, u64), AuditError> {
        let book = book.clone();
        let read = move || {
            let (mut steps, mut next) = (Vec::new(), range.start);
            for opened in book.open_range(range, told(may_reveal))? {
                steps.extend(step(opened?));
                next += 1;
            }
            Ok((steps, next))
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| AuditError::Stopping)?
    }
}

impl Book {
    fn history(
        &self,
        client: Option<Ref>,
        scope: Option<&Word>,
        below: u64,
        may_reveal: bool,
    ) -> Result<History, AuditError> {
        let Some(client) = client else { return Ok(History { steps: Vec::new(), is_truncated: false }) };
        let mut about = About { client, scope, grants: BTreeSet::new() };
        let (mut indices, mut uses) = (Vec::new(), BTreeSet::new());
        self.each_command(below, |opened, command| {
            if about.concerns(command) {
                indices.push(opened.index);
            }
        })?;
        for (_, grant) in self.state.lock().scopes.grants().filter(|(_, grant)| grant.client == client) {
            let used = grant
                .scopes
                .iter()
                .filter(|(name, used)| used.count > 0 && scope.is_none_or(|scope| scope == *name));
            for (_, used) in used {
                uses.extend([(used.first_index, "first-use"), (used.last_index, "last-use")]);
            }
        }
        let mut steps = Vec::new();
        for index in indices {
            steps.extend(step(self.open_one(index, told(may_reveal))?));
        }
        let mut seen = BTreeSet::new();
        for (index, what) in uses {
            // A scope that was used once was first and last used then.
            if index < below && seen.insert(index) {
                steps.push(Step { opened: self.open_one(index, told(may_reveal))?, what });
            }
        }
        steps.sort_by_key(|step| step.opened.index);
        let is_truncated = steps.len() > MAX_STEPS;
        Ok(History { steps: steps.split_off(steps.len().saturating_sub(MAX_STEPS)), is_truncated })
    }

    /// Looks at every command below a size, oldest first.
    fn each_command(
        &self,
        below: u64,
        mut look: impl FnMut(&Opened, &ScopeCommand),
    ) -> Result<(), AuditError> {
        let query = Query::parse("kind:scope", Time::default())?;
        let mut page = Page { size: 1000, ascending: true, below: Some(below), ..Page::default() };
        loop {
            let found = self.find(&query, &page, &[])?;
            for hit in &found.hits {
                if let Some(command) = command(hit) {
                    look(hit, command);
                }
            }
            let Some(next) = found.next else { return Ok(()) };
            page.token = next.to_vec().into();
        }
    }
}

/// What a history is about.
struct About<'a> {
    client: Ref,
    scope: Option<&'a Word>,
    /// The grants of the client with the scope, as they were asked for.
    grants: BTreeSet<Ref>,
}

impl About<'_> {
    fn concerns(&mut self, command: &ScopeCommand) -> bool {
        let has_scope =
            || command.scopes.is_empty() || self.scope.is_none_or(|scope| command.scopes.contains(scope));
        let kind = command.command;
        if kind == Command::RequestGrant as u8 {
            let is_theirs = command.client == Some(self.client) && has_scope();
            self.grants.extend(command.grant.filter(|_| is_theirs));
            return is_theirs;
        }
        if kind == Command::DefineScope as u8 || kind == Command::RotateScope as u8 {
            return self.scope.is_some() && has_scope();
        }
        command.grant.is_some_and(|grant| self.grants.contains(&grant))
            || (command.client == Some(self.client) && has_scope())
    }
}

fn told(may_reveal: bool) -> &'static [Group] {
    if may_reveal { &TOLD } else { &[] }
}

fn step(opened: Opened) -> Option<Step> {
    let what = what(command(&opened)?.command);
    Some(Step { opened, what })
}

fn what(command: u8) -> &'static str {
    const WORDS: [&str; 14] = [
        "define",
        "request",
        "approve",
        "deny",
        "narrow",
        "renew",
        "revoke",
        "revoke-token",
        "rotate",
        "open-review",
        "attest",
        "close-review",
        "appoint",
        "dismiss",
    ];
    let at = usize::from(command).checked_sub(1);
    at.and_then(|at| WORDS.get(at)).copied().unwrap_or("unknown")
}
