//! Commands, each held against the leaf that came of it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use graven_event::{Facts, Frame, Ref, Time};
use graven_merkle::{LeafIndex, leaf_hash};
use graven_note::TlogProof;
use graven_proto::{
    convert::leaf_index,
    v1::{self, ErrorReason, Wait},
};
use thiserror::Error;

use super::{ScopeLog, reference, says::says, send::send};
use crate::{
    Acked, AppendError, AppendTarget, Appender, CallError, IdempotencyKey, LogClient, ReadError,
    VerifiedHead,
    append::{Sending, Unproven, log_time, verify_bundle},
    call::call_scopes,
};

/// What is to change, by names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    /// Says what a scope is. `tier`: 0 not said, 1 reads, 2 changes, 3 administers.
    Define {
        scope: String,
        tier: u8,
        is_summed: bool,
        approvers: Vec<String>,
        approvals: u8,
        longest: Option<Duration>,
    },
    /// Asks that an application gets scopes.
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
    RevokeToken {
        issuer: String,
        id: String,
        expires: Option<Time>,
    },
    /// Tokens issued before this are refused; `None`: those issued before the entry.
    Rotate {
        scope: String,
        issued_before: Option<Time>,
    },
    /// With no scopes or client: of all.
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
    /// By another administrator, or by the log's recovery key.
    Appoint {
        administrator: String,
        signed: Option<SignedAppointment>,
    },
    Dismiss {
        administrator: String,
    },
}

/// What the recovery key signed: the answer of [`ScopeLog::prepare_appointment`], and the signature of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SignedAppointment {
    pub statement: Bytes,
    pub signature: Bytes,
}

/// Why a command does not count.
#[derive(Debug, Error)]
pub enum CommandError {
    /// It is in the log, and the rules are against it.
    #[error("refused: {why}{}", at(*.index))]
    Refused {
        /// Why, as one word: `self-approval`, `stale-revision`, …
        why: String,
        /// The entry that says so.
        index: Option<u64>,
        /// The grant's revision as it is now, if it is about one.
        revision: Option<u64>,
    },
    /// It was not sent, not answered, or not as it must be.
    #[error(transparent)]
    Send(#[from] AppendError),
}

fn at(index: Option<u64>) -> String {
    index.map_or_else(String::new, |index| format!("; entry {index} says so"))
}

/// The server's promise that a command counts, from this entry on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commanded {
    /// Where its leaf stands.
    pub index: LeafIndex,
    /// The log's time for it.
    pub log_time: SystemTime,
    /// The grant or review that it made or changed.
    pub id: Option<Ref>,
    /// The grant's revision since then.
    pub revision: u64,
    /// Its leaf, which says what was commanded.
    pub leaf: Bytes,
    /// A repeat of an earlier call: nothing was done.
    pub duplicate: bool,
}

/// A command whose leaf says what was commanded, and was proven to be in a signed tree of the log.
#[derive(Clone, Debug)]
pub struct ProvenCommand {
    commanded: Commanded,
    bundle: TlogProof,
    head: VerifiedHead,
}

impl ProvenCommand {
    /// What the server said beside the proof.
    #[must_use]
    pub fn commanded(&self) -> &Commanded {
        &self.commanded
    }

    /// The proof, to be kept beside the leaf: with the log's keys it verifies offline.
    #[must_use]
    pub fn bundle(&self) -> &TlogProof {
        &self.bundle
    }

    /// The tree head that the bundle leads to.
    #[must_use]
    pub fn head(&self) -> &VerifiedHead {
        &self.head
    }
}

/// A command that waits to be told what to wait for.
#[derive(Debug)]
#[must_use = "nothing is sent before durable() or published() is awaited"]
pub struct Commanding<'a, L> {
    log: &'a L,
    command: Command,
    key: Option<IdempotencyKey>,
    justification: String,
}

impl Command {
    /// Asks that an application gets these scopes, everywhere and for ever.
    pub fn request<S: Into<String>>(client: impl Into<String>, scopes: impl IntoIterator<Item = S>) -> Self {
        Self::Request {
            client: client.into(),
            subject: None,
            scopes: scopes.into_iter().map(Into::into).collect(),
            resource: None,
            not_before: None,
            expires: None,
        }
    }
}

impl<'a, L: AppendTarget> Commanding<'a, L> {
    pub(super) fn new(log: &'a L, command: Command) -> Self {
        Self { log, command, key: None, justification: String::new() }
    }

    /// Sends the command under this key instead of a random one.
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Says why, in one's own words: sealed, and erased with whoever commands. At most 1,024 bytes.
    pub fn because(mut self, justification: impl Into<String>) -> Self {
        self.justification = justification.into();
        self
    }

    /// Waits until the command is on stable storage, and counts.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn durable(self) -> Result<Commanded, CommandError> {
        let (log, command) = (self.log.appender(), self.command.clone());
        Ok(self.send(log, &command, Wait::Durable).await?.0)
    }

    async fn send(
        &self,
        log: &Appender,
        command: &Command,
        wait: Wait,
    ) -> Result<(Commanded, Bytes), CommandError> {
        let sending = Sending::new(log.pool().retries(), self.key.clone()).map_err(AppendError::from)?;
        let options = v1::CommandOptions {
            idempotency_key: sending.key_text(),
            idempotency_issued_at: sending.issued(),
            wait: wait.into(),
            justification: self.justification.clone(),
        };
        let answer = send(log, &sending, command, Some(options)).await;
        let answer =
            answer.map_err(|error| refused(&error).unwrap_or_else(|| sending.failed(error).into()))?;
        let commanded = checked(command, &answer)?;
        Ok((commanded, answer.proof))
    }
}

impl Commanding<'_, LogClient> {
    /// Waits until the command is in a published tree, and verifies the proof of it.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn published(self) -> Result<ProvenCommand, CommandError> {
        self.proven(Wait::Published).await
    }

    /// Waits until the log's witnesses cosigned a tree with it, and verifies the proof of it.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn witnessed(self) -> Result<ProvenCommand, CommandError> {
        self.proven(Wait::Witnessed).await
    }

    async fn proven(self, wait: Wait) -> Result<ProvenCommand, CommandError> {
        let (commanded, proof) = self.send(self.log.appender(), &self.command, wait).await?;
        let unproven = |problem| AppendError::Unproven { first: commanded.index, problem };
        let acked = Acked {
            index: commanded.index,
            leaf_hash: leaf_hash(&commanded.leaf),
            log_time: commanded.log_time,
            duplicate: commanded.duplicate,
        };
        let (bundle, inclusion) = verify_bundle(self.log, &acked, &proof).await.map_err(unproven)?;
        // The bundle of a repeat may be older than the head kept by now.
        let head = VerifiedHead::trusted(inclusion.checkpoint().clone());
        let accepted = self.log.follower().accept(head, None).await;
        let head = accepted.map_err(|error| unproven(Unproven::Head(error)))?;
        Ok(ProvenCommand { commanded, bundle, head })
    }
}

impl ScopeLog {
    /// What the log's recovery key has to sign to make somebody an administrator whom nobody in the log could appoint.
    ///
    /// # Errors
    /// The server refuses, does not answer, or answers nothing to sign.
    pub async fn prepare_appointment(&self, administrator: &str) -> Result<Bytes, ReadError> {
        let request = v1::AppointAdministratorRequest {
            log: self.name().to_owned(),
            administrator: administrator.to_owned(),
            prepare: true,
            ..Default::default()
        };
        let pool = self.log.pool();
        let answer = call_scopes(pool, pool.retries(), &request, |mut scopes, request| async move {
            scopes.appoint_administrator(request).await
        });
        let statement = answer.await?.statement;
        if statement.starts_with(STATEMENT) {
            return Ok(statement);
        }
        // A key that signs whatever it is given would sign anything.
        Err(ReadError::WrongAnswer("what is to be signed is no statement of a command"))
    }
}

/// What every statement begins with (see [`statement`](graven_event::facts::ScopeCommand::statement)).
const STATEMENT: &[u8] = b"graven command v1\n";

/// The refusal of a command that is in the log.
fn refused(error: &CallError) -> Option<CommandError> {
    let refusal = error.refusal().filter(|refusal| refusal.reason() == ErrorReason::CommandRefused)?;
    let number = |name| refusal.fact(name).and_then(|fact| fact.parse().ok());
    let why = refusal.fact("why").unwrap_or("no reason given").to_owned();
    Some(CommandError::Refused { why, index: number("index"), revision: number("revision") })
}

/// The answer, where its leaf says what was commanded and counts.
fn checked(command: &Command, answer: &v1::CommandResponse) -> Result<Commanded, AppendError> {
    let other = AppendError::WrongAnswer;
    let frame = Frame::decode(&answer.leaf).map_err(|_| other("its leaf is none of a log of events"))?;
    let Facts::Scope(facts) = &frame.facts else { return Err(other("its leaf is no command")) };
    if facts.refused.is_some() {
        return Err(other("its leaf says that it was refused"));
    }
    if !says(facts, command) {
        return Err(other("its leaf says something else"));
    }
    let id = match answer.id.as_str() {
        "" => None,
        text => Some(reference(text).ok_or(other("a number of a grant or review that is none"))?),
    };
    let told = [facts.grant, facts.review];
    if told.iter().any(Option::is_some) && !told.contains(&id) {
        return Err(other("its leaf is about another grant or review"));
    }
    Ok(Commanded {
        index: leaf_index("index", answer.index)?,
        log_time: log_time(answer.log_time)?,
        id,
        revision: answer.revision,
        leaf: answer.leaf.clone(),
        duplicate: answer.duplicate,
    })
}
