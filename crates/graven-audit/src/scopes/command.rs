//! Commands: each becomes a leaf, also where it is refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_event::facts::{Command as Kind, ScopeCommand};
use graven_event::group::parties;
use graven_event::payload::Subject;
use graven_event::scopes::Refused;
use graven_event::{Context, Decision, Event, Facts, Frame, Outcome, Party, Ref, Scope, Target, Time, Word};
use graven_log::{AppendError, IdempotencyKey, Patience, Sequenced};

use super::application;
use crate::audit::Audit;
use crate::book::{Book, producer_name};
use crate::error::AuditError;
use crate::hook::{bare, refused};
use crate::record::{ERASURE_PAUSE, ERASURE_TRIES, random, sealed, word, words};

/// What somebody wants to change, by names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    Define {
        scope: String,
        tier: u8,
        is_summed: bool,
        approvers: Vec<Party>,
        approvals: u8,
        longest: Option<Duration>,
    },
    Request {
        client: String,
        subject: Option<String>,
        scopes: Vec<String>,
        resource: Option<String>,
        not_before: Option<Time>,
        expires: Option<Time>,
    },
    Approve {
        grant: Ref,
        revision: u64,
    },
    Deny {
        grant: Ref,
        revision: u64,
    },
    Narrow {
        grant: Ref,
        revision: u64,
        scopes: Vec<String>,
        expires: Option<Time>,
    },
    Renew {
        grant: Ref,
        revision: u64,
        expires: Time,
    },
    /// With no revision: whatever it is.
    Revoke {
        grant: Ref,
        revision: Option<u64>,
    },
    /// With a client: by that client itself, of its own.
    RevokeToken {
        issuer: String,
        id: String,
        expires: Option<Time>,
        client: Option<String>,
    },
    Rotate {
        scope: String,
        issued_before: Option<Time>,
    },
    OpenReview {
        scopes: Vec<String>,
        client: Option<String>,
        due: Option<Time>,
    },
    Attest {
        review: Ref,
        grant: Ref,
        keep: bool,
    },
    CloseReview {
        review: Ref,
    },
    Appoint {
        administrator: Party,
        signed: Option<Signed>,
    },
    Dismiss {
        administrator: Party,
    },
}

/// What the recovery key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The statement, as [`Audit::prepare_appointment`] gave it.
    pub statement: Bytes,
    /// The signature.
    pub signature: Bytes,
}

/// A command, with who makes it.
#[derive(Debug)]
pub struct Commanding<'a> {
    /// What its credentials are called: the producer of the leaf.
    pub caller: &'a str,
    /// Who commands: what the fold compares with requesters, approvers and beneficiaries.
    pub by: Party,
    /// What.
    pub command: Command,
    /// Why, in their words.
    pub justification: Option<String>,
    /// From where.
    pub context: Context,
    /// Names the call, so that a repeat is recognised.
    pub key: Option<IdempotencyKey<'a>>,
}

/// A command that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commanded {
    /// Where.
    pub sequenced: Sequenced,
    /// Its leaf.
    pub leaf: Bytes,
    /// The grant or review that it is about.
    pub id: Option<Ref>,
    /// The grant's revision since then.
    pub revision: u64,
    /// Why it does not count: the word.
    pub refused: Option<Word>,
}

impl Audit {
    /// Puts a command into the log, and returns once that is durable and the fold has judged it.
    ///
    /// # Errors
    /// It is not in the log. A command that does not count is no error: see [`Commanded::refused`].
    pub async fn command(
        self: &Arc<Self>,
        book: &Arc<Book>,
        commanding: Commanding<'_>,
    ) -> Result<Commanded, AuditError> {
        // What was allowed before it and is not in the log yet comes first.
        let _closed = self.close_sums(book).await?;
        let mut tries = 0;
        loop {
            let commanded = self.command_once(book, &commanding).await;
            tries += 1;
            match commanded {
                // Somebody was erased while this was being sealed. They are new, once their key is gone.
                Err(AuditError::Append(AppendError::Refused(refusal)))
                    if refusal.code == refused::STALE && tries < ERASURE_TRIES =>
                {
                    tokio::time::sleep(ERASURE_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    async fn command_once(
        &self,
        book: &Arc<Book>,
        commanding: &Commanding<'_>,
    ) -> Result<Commanded, AuditError> {
        let event = told(book, commanding);
        let producer = producer_name(commanding.caller, "");
        let mut names: Vec<String> = parties(&event).iter().map(Party::subject).collect();
        names.extend(named(&commanding.command).iter().map(Party::subject));
        names.push(producer.clone());
        let people = self.named(book, names).await?;
        let facts = facts(book, commanding, &people)?;
        let content = [
            facts.statement(&word("origin", book.log.meta().origin.as_str())?),
            commanding.justification.clone().unwrap_or_default().into_bytes(),
        ];
        let parts: Vec<&[u8]> = content.iter().map(Vec::as_slice).collect();
        let claim = commanding.key.map(|key| (key, &parts[..]));
        // A number of its own comes last: it is not of the content, so that a repeat is the same.
        let facts = match &commanding.command {
            Command::Request { .. } => ScopeCommand { grant: Some(Ref(random()?)), ..facts },
            Command::OpenReview { .. } => ScopeCommand { review: Some(Ref(random()?)), ..facts },
            _ => facts,
        };
        let frame = Frame { producer: people[&producer].reference, ..bare(Facts::Scope(facts), random()?) };
        let draft = sealed(book, &event, frame, &people)?.draft;
        let sequenced = self.engine.sequence(&book.log, vec![draft], claim, Patience::Refuse).await?;
        commanded(book, sequenced)
    }

    /// What the recovery key has to sign to make somebody an administrator.
    ///
    /// # Errors
    /// The key store cannot be written.
    pub async fn prepare_appointment(
        &self,
        book: &Arc<Book>,
        by: &Party,
        administrator: &Party,
    ) -> Result<Vec<u8>, AuditError> {
        let people = self.named(book, vec![by.subject(), administrator.subject()]).await?;
        let commanding = Commanding {
            caller: "",
            by: by.clone(),
            command: Command::Appoint {
                administrator: administrator.clone(),
                signed: Some(Signed { statement: Bytes::new(), signature: Bytes::new() }),
            },
            justification: None,
            context: Context::default(),
            key: None,
        };
        let facts = facts(book, &commanding, &people)?;
        Ok(facts.statement(&word("origin", book.log.meta().origin.as_str())?))
    }
}

/// What became of a command, from its leaf.
fn commanded(book: &Book, sequenced: Sequenced) -> Result<Commanded, AuditError> {
    let first = sequenced.first;
    let leaf = book.log.durable_entries(first..first + 1)?.pop().ok_or(AuditError::Damaged(first))?;
    let frame = Frame::decode(&leaf).map_err(|_| AuditError::Damaged(first))?;
    let Facts::Scope(command) = frame.facts else { return Err(AuditError::Damaged(first)) };
    let known = command.grant.and_then(|grant| book.state.lock().scopes.grant(grant).map(|it| it.revision));
    let revision = match (&command.refused, command.revision) {
        // One more than it was made for: what came after it is not this command's.
        (None, Some(revision)) if command.grant.is_some() => revision + 1,
        (None, None) if command.command == Kind::RequestGrant as u8 => 1,
        _ => known.unwrap_or(0),
    };
    let id = command.grant.filter(|_| command.review.is_none()).or(command.review);
    Ok(Commanded { sequenced, leaf, id, revision, refused: command.refused })
}

/// The people that a command names, beside who commands.
fn named(command: &Command) -> Vec<Party> {
    match command {
        Command::Define { approvers, .. } => approvers.clone(),
        Command::Request { client, subject, .. } => {
            [application(client)].into_iter().chain(subject.as_deref().map(Party::parse)).collect()
        }
        Command::OpenReview { client, .. } | Command::RevokeToken { client, .. } => {
            client.as_deref().map(application).into_iter().collect()
        }
        Command::Appoint { administrator, .. } | Command::Dismiss { administrator } => {
            vec![administrator.clone()]
        }
        _ => Vec::new(),
    }
}

/// What a command says of people, to be sealed with its leaf: who commands and why, and whose scopes it is about.
fn told(book: &Book, commanding: &Commanding<'_>) -> Event {
    let (client, subject) = concerned(book, &commanding.command);
    let target = |party: Party| Target { kind: party.kind, id: party.id, name: None };
    Event {
        time: None,
        action: "scope".to_owned(),
        actor: commanding.by.clone(),
        client,
        on_behalf_of: Vec::new(),
        session: None,
        targets: subject.map(target).into_iter().collect(),
        outcome: Outcome::Success,
        decision: Decision { reason: commanding.justification.clone(), policy: None },
        token: None,
        scope: Scope::default(),
        context: commanding.context.clone(),
        changes: Vec::new(),
        source: graven_event::Source::default(),
        labels: std::collections::BTreeMap::new(),
        about: Vec::new(),
        raw: None,
    }
}

/// The application and the person whose scopes a command is about.
fn concerned(book: &Book, command: &Command) -> (Option<Party>, Option<Party>) {
    match command {
        Command::Request { client, subject, .. } => {
            (Some(application(client)), subject.as_deref().map(Party::parse))
        }
        Command::Approve { grant, .. }
        | Command::Deny { grant, .. }
        | Command::Narrow { grant, .. }
        | Command::Renew { grant, .. }
        | Command::Revoke { grant, .. }
        | Command::Attest { grant, .. } => {
            let found = book.state.lock().scopes.grant(*grant).map(|grant| (grant.client, grant.subject));
            let (client, subject) = found.unzip();
            let name = |reference| book.name_of(reference);
            (client.and_then(name), subject.flatten().and_then(name))
        }
        Command::OpenReview { client, .. } | Command::RevokeToken { client, .. } => {
            (client.as_deref().map(application), None)
        }
        Command::Appoint { administrator, .. } | Command::Dismiss { administrator } => {
            (None, Some(administrator.clone()))
        }
        Command::Define { .. } | Command::Rotate { .. } | Command::CloseReview { .. } => (None, None),
    }
}

fn facts(
    book: &Book,
    commanding: &Commanding<'_>,
    people: &HashMap<String, Subject>,
) -> Result<ScopeCommand, AuditError> {
    let of =
        |party: &Party| people.get(&party.subject()).map(|found| found.reference).ok_or(AuditError::Stopping);
    let all = |parties: &[Party]| parties.iter().map(of).collect::<Result<Vec<_>, _>>();
    let by = beneficiary(book, commanding).map_or_else(|| of(&commanding.by), |party| of(&party))?;
    let plain = |command: Kind| ScopeCommand::new(command, by);
    let nanoseconds = |time: &Option<Time>| time.map(Time::nanoseconds);
    Ok(match &commanding.command {
        Command::Define { scope, tier, is_summed, approvers, approvals, longest } => ScopeCommand {
            scopes: vec![word("scope", scope)?],
            tier: Some(*tier),
            recording: Some(u8::from(*is_summed)),
            approvers: all(approvers)?,
            approvals: Some(*approvals),
            longest: longest.map(|longest| longest.as_secs()),
            ..plain(Kind::DefineScope)
        },
        Command::Request { client, subject, scopes, resource, not_before, expires } => ScopeCommand {
            client: Some(of(&application(client))?),
            subject: subject.as_deref().map(|subject| of(&Party::parse(subject))).transpose()?,
            scopes: words(scopes)?,
            resource: resource.as_ref().map(|resource| word("resource", resource)).transpose()?,
            not_before: nanoseconds(not_before),
            expires: nanoseconds(expires),
            ..plain(Kind::RequestGrant)
        },
        Command::Approve { grant, revision } => on(*grant, Some(*revision), plain(Kind::ApproveGrant)),
        Command::Deny { grant, revision } => on(*grant, Some(*revision), plain(Kind::DenyGrant)),
        Command::Narrow { grant, revision, scopes, expires } => ScopeCommand {
            scopes: words(scopes)?,
            expires: nanoseconds(expires),
            ..on(*grant, Some(*revision), plain(Kind::NarrowGrant))
        },
        Command::Renew { grant, revision, expires } => ScopeCommand {
            expires: Some(expires.nanoseconds()),
            ..on(*grant, Some(*revision), plain(Kind::RenewGrant))
        },
        Command::Revoke { grant, revision } => on(*grant, *revision, plain(Kind::RevokeGrant)),
        Command::RevokeToken { issuer, id, expires, client } => ScopeCommand {
            token: Some(book.token(issuer, id)),
            expires: nanoseconds(expires),
            client: client.as_deref().map(|client| of(&application(client))).transpose()?,
            ..plain(Kind::RevokeToken)
        },
        Command::Rotate { scope, issued_before } => ScopeCommand {
            scopes: vec![word("scope", scope)?],
            issued_before: nanoseconds(issued_before),
            ..plain(Kind::RotateScope)
        },
        Command::OpenReview { scopes, client, due } => ScopeCommand {
            scopes: words(scopes)?,
            client: client.as_deref().map(|client| of(&application(client))).transpose()?,
            expires: nanoseconds(due),
            ..plain(Kind::OpenReview)
        },
        Command::Attest { review, grant, keep } => ScopeCommand {
            review: Some(*review),
            verdict: Some(if *keep { 1 } else { 2 }),
            ..on(*grant, None, plain(Kind::AttestItem))
        },
        Command::CloseReview { review } => ScopeCommand { review: Some(*review), ..plain(Kind::CloseReview) },
        Command::Appoint { administrator, signed } => ScopeCommand {
            subject: Some(of(administrator)?),
            revision: signed.is_some().then(|| book.state.lock().scopes.appointments()),
            signature: signed.as_ref().map(|signed| signed.signature.to_vec()),
            ..plain(Kind::AppointAdministrator)
        },
        Command::Dismiss { administrator } => {
            ScopeCommand { subject: Some(of(administrator)?), ..plain(Kind::DismissAdministrator) }
        }
    })
}

/// Who is to benefit, where the caller is called the same: another kind of credentials makes nobody somebody else.
fn beneficiary(book: &Book, commanding: &Commanding<'_>) -> Option<Party> {
    let (client, subject) = concerned(book, &commanding.command);
    let mut concerned = client.into_iter().chain(subject);
    concerned.find(|party| party.id == commanding.by.id)
}

fn on(grant: Ref, revision: Option<u64>, command: ScopeCommand) -> ScopeCommand {
    ScopeCommand { grant: Some(grant), revision, ..command }
}

impl Commanded {
    /// Whether it counts.
    ///
    /// # Errors
    /// It does not: the word.
    pub fn counts(&self) -> Result<(), &Word> {
        self.refused.as_ref().map_or(Ok(()), Err)
    }

    /// Whether it was refused for this.
    pub fn is_refused_for(&self, refused: Refused) -> bool {
        self.refused.as_ref() == Some(&refused.word())
    }
}
