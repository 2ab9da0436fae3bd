//! What a log says about scopes, as messages.

use graven_audit::Book;
use graven_audit::scopes::Step;
use graven_event::facts::ScopeCommand;
use graven_event::scopes::{Definition, Grant, Status as Standing};
use graven_event::{Facts, Party, Ref, Time, Word};
use graven_proto::convert::event::timestamp;
use graven_proto::v1;
use tonic::Request;

use crate::access::Permission;
use crate::audit::{APPLICATION, may};
use crate::core::Core;

/// What references are called, as far as a caller may know: people by those who may `reveal`, applications by everybody.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    book: &'a Book,
    may_reveal: bool,
}

impl<'a> Names<'a> {
    /// As a caller may know them.
    pub(crate) fn of<T>(core: &Core, request: &Request<T>, book: &'a Book) -> Self {
        Self::known(book, may(core, request, &book.log().meta().name, Permission::Reveal))
    }

    pub(crate) fn known(book: &'a Book, may_reveal: bool) -> Self {
        Self { book, may_reveal }
    }

    pub(crate) fn may_reveal(self) -> bool {
        self.may_reveal
    }

    fn party(self, reference: Ref) -> Option<Party> {
        self.book.name_of(reference).filter(|party| self.may_reveal || party.kind == APPLICATION)
    }

    /// `user:alice`, or what stands for her.
    pub(crate) fn name(self, reference: Ref) -> String {
        self.party(reference).map_or_else(|| reference.to_string(), |party| party.subject())
    }

    /// What requests call a client: its OAuth client id.
    fn client(self, reference: Ref) -> String {
        self.party(reference).map_or_else(|| reference.to_string(), |party| party.id)
    }

    /// What requests call a person: `alice` for `user:alice`, where that is understood.
    fn subject(self, reference: Option<Ref>) -> String {
        let Some(reference) = reference else { return String::new() };
        let Some(party) = self.party(reference) else { return reference.to_string() };
        if Party::parse(&party.id) == party { party.id } else { party.subject() }
    }

    fn all(self, references: impl IntoIterator<Item = Ref>) -> Vec<String> {
        references.into_iter().map(|reference| self.name(reference)).collect()
    }

    pub(super) fn definition(self, scope: &Word, said: &Definition) -> v1::ScopeDefinition {
        let recording = if said.is_summed { v1::ScopeRecording::Sums } else { v1::ScopeRecording::Each };
        v1::ScopeDefinition {
            scope: scope.to_string(),
            tier: said.tier.into(),
            recording: recording.into(),
            approvers: self.all(said.approvers.iter().copied()),
            approvals: said.approvals.into(),
            longest: said.longest.map(|seconds| prost_types::Duration {
                seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
                nanos: 0,
            }),
            issued_before: said.issued_before.map(timestamp),
            index: said.index,
        }
    }

    /// A grant as it stands at a time.
    pub(super) fn grant(self, number: Ref, grant: &Grant, at: Time) -> v1::ScopeGrant {
        v1::ScopeGrant {
            grant: number.to_string(),
            revision: grant.revision,
            status: standing(grant, at).into(),
            client: self.client(grant.client),
            subject: self.subject(grant.subject),
            scopes: grant
                .scopes
                .iter()
                .map(|(scope, used)| v1::GrantedScope {
                    scope: scope.to_string(),
                    uses: used.count,
                    last_used: used.last.map(timestamp),
                    last_used_index: used.last_index,
                })
                .collect(),
            resource: text(grant.resource.as_ref()),
            not_before: grant.not_before.map(timestamp),
            expires: grant.expires.map(timestamp),
            requester: self.name(grant.requester),
            approvers: self.all(grant.approvers.iter().copied()),
            requested_index: grant.requested,
            changed_index: grant.changed,
        }
    }

    /// A leaf of a history: a command, or a decision that used a scope.
    pub(super) fn step(self, step: Step) -> v1::HistoryStep {
        let opened = step.opened;
        let mut shown = v1::HistoryStep {
            index: opened.index,
            leaf: opened.leaf,
            what: step.what.to_owned(),
            ..Default::default()
        };
        let Some(frame) = opened.frame else { return shown };
        shown.log_time = Some(timestamp(frame.log_time));
        match frame.facts {
            Facts::Scope(command) => {
                self.command(&mut shown, &command);
                if self.may_reveal {
                    shown.justification = opened.view.decision.reason.unwrap_or_default();
                }
            }
            Facts::Decision(decision) => {
                shown.by = self.name(decision.client);
                shown.grant = decision.grants.first().map(Ref::to_string).unwrap_or_default();
                shown.scopes = words(&decision.scopes);
            }
            _ => {}
        }
        shown
    }

    fn command(self, shown: &mut v1::HistoryStep, command: &ScopeCommand) {
        shown.by = self.name(command.by);
        shown.grant = command.grant.as_ref().map(Ref::to_string).unwrap_or_default();
        shown.scopes = words(&command.scopes);
        shown.refused = text(command.refused.as_ref());
    }

    /// Who asked for a decision, in whose name.
    pub(super) fn asker(self, client: Ref, subject: Option<Ref>) -> (String, String) {
        (self.client(client), self.subject(subject))
    }
}

/// How it stands with a grant at a time.
pub(super) fn standing(grant: &Grant, at: Time) -> v1::GrantStatus {
    match grant.status {
        Standing::Active if grant.expires.is_some_and(|end| end <= at) => v1::GrantStatus::Expired,
        Standing::Active => v1::GrantStatus::Active,
        Standing::Pending => v1::GrantStatus::Pending,
        Standing::Denied => v1::GrantStatus::Denied,
        Standing::Revoked => v1::GrantStatus::Revoked,
    }
}

pub(super) fn words(words: &[Word]) -> Vec<String> {
    words.iter().map(Word::to_string).collect()
}

pub(super) fn text(word: Option<&Word>) -> String {
    word.map(Word::to_string).unwrap_or_default()
}
