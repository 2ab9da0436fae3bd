//! The log of the log: who read and did what, as entries of the server's `access` log.
//!
//! An entry is an event like any other. What was asked for stands in it with personal values blinded by a key of the log that was asked:
//! the same question is the same words, and nobody reads a name out of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use graven_event::{Context, Decision, Event, Outcome, Party, Token};
use graven_log::{Patience, Sequenced};

use crate::audit::Audit;
use crate::error::AuditError;
use crate::record::{Call, Request};

/// Who calls, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The name of its credentials.
    pub name: String,
    /// How it was identified: `token`, `certificate`, `oauth`, `open`.
    pub by: String,
    /// The person in whose name, where that is another (`sub`).
    pub subject: Option<String>,
    /// The OAuth client.
    pub client: Option<String>,
    /// A hash of the token's `jti`.
    pub token: Option<String>,
    /// Who issued it.
    pub issuer: Option<String>,
    /// From where.
    pub ip: Option<IpAddr>,
    /// The call's own number.
    pub request_id: Option<String>,
    /// The program that calls.
    pub user_agent: Option<String>,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Deed {
    /// A word of the catalogue: `graven.query`.
    pub action: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Why: where it was refused, or in the words of who did it. It is sealed, and no index knows it.
    pub reason: Option<String>,
    /// To which log.
    pub log: String,
    /// What else: filters, numbers of hits. Nothing personal.
    pub labels: BTreeMap<String, String>,
}

impl Deed {
    /// Something that was done to a log.
    pub fn new(action: &'static str, log: &str) -> Self {
        Self { action, outcome: Outcome::Success, reason: None, log: log.to_owned(), labels: BTreeMap::new() }
    }

    /// With a detail.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.labels.insert(key.to_owned(), value.to_string());
        self
    }

    /// With a detail that one label may not hold, so that nobody hides what they asked behind its length: the rest is in `KEY.2`, `KEY.3`, …
    #[must_use]
    pub fn with_all(mut self, key: &str, text: &str) -> Self {
        let (mut rest, mut part) = (text, 1);
        loop {
            let (this, more) = rest.split_at(rest.floor_char_boundary(graven_event::MAX_TEXT_BYTES));
            let key = if part == 1 { key.to_owned() } else { format!("{key}.{part}") };
            self.labels.insert(key, this.to_owned());
            if more.is_empty() {
                return self;
            }
            (rest, part) = (more, part + 1);
        }
    }

    /// In the words of who did it.
    #[must_use]
    pub fn because(self, reason: &str) -> Self {
        Self { reason: (!reason.is_empty()).then(|| reason.to_owned()), ..self }
    }

    /// That was refused.
    #[must_use]
    pub fn denied(self, reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Denied, reason: Some(reason.into()), ..self }
    }

    fn event(self, who: &Who) -> Event {
        let mut labels = self.labels;
        labels.insert("log".to_owned(), self.log);
        let actor = match &who.subject {
            Some(subject) => Party::new(Party::USER, subject.as_str()),
            None => Party::new("service", if who.name.is_empty() { "nobody" } else { &who.name }),
        };
        let token = Token { id: who.token.clone(), issuer: who.issuer.clone(), ..Token::default() };
        Event {
            time: None,
            action: self.action.to_owned(),
            actor,
            client: who.client.as_ref().map(|client| Party::new("application", client.as_str())),
            on_behalf_of: Vec::new(),
            session: None,
            targets: Vec::new(),
            outcome: self.outcome,
            decision: Decision { reason: self.reason, policy: None },
            token: (token != Token::default()).then_some(token),
            scope: graven_event::Scope::default(),
            context: Context {
                request_id: who.request_id.clone(),
                trace_id: None,
                ip: who.ip.map(|ip| ip.to_string()),
                user_agent: who.user_agent.clone(),
            },
            changes: Vec::new(),
            source: graven_event::Source { service: Some(who.by.clone()), ..Default::default() },
            labels,
            about: Vec::new(),
            raw: None,
        }
    }
}

impl Audit {
    /// Records what somebody did, durably. A server without an access log has none of the logs whose reading is recorded.
    ///
    /// # Errors
    /// It is not recorded: then it must not be told or done.
    pub async fn note(&self, who: &Who, deed: Deed) -> Result<Option<Sequenced>, AuditError> {
        let Some(book) = self.access_book() else {
            return match self.has_books() {
                true => Err(AuditError::Unrecorded(AuditError::Stopping.into())),
                false => Ok(None),
            };
        };
        let mut event = deed.event(who);
        clip(&mut event);
        let request = Request {
            caller: "graven",
            events: vec![event],
            call: Call::default(),
            numbered: None,
            key: None,
            retention: "",
            patience: Patience::Refuse,
            after: None,
        };
        let recorded = self.record(&book, request).await;
        recorded
            .map(|recorded| Some(recorded.sequenced))
            .map_err(|error| AuditError::Unrecorded(error.into()))
    }
}

/// What strangers bring may be too long for an entry, which is no reason not to write one.
fn clip(event: &mut Event) {
    let most = graven_event::MAX_TEXT_BYTES;
    let clip = |text: &mut String| {
        while text.len() > most {
            text.pop();
        }
    };
    event.context.request_id.iter_mut().for_each(clip);
    event.context.user_agent.iter_mut().for_each(clip);
    event.decision.reason.iter_mut().for_each(clip);
    event.labels.values_mut().for_each(clip);
}
