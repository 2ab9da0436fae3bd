//! Rules: applied, retired, tried on the past.

use std::{collections::VecDeque, ops::Range};

use graven_merkle::LeafIndex;
use graven_proto::{convert::leaf_index, v1};
use sha2::{Digest as _, Sha256};
use tonic::{Request, Streaming};

use super::{Alert, AlertLog, Severity};
use crate::{CallError, ReadError, RetryPolicy, call::call_alerts};

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleText {
    /// Its name: 1 to 63 of `a-z`, `0-9` and `-`.
    pub name: String,
    /// In which language: `cel`, or `builtin`, which is known to every log by its name.
    pub language: String,
    /// How bad it is; `None`: as bad as the built-in one says by itself.
    pub severity: Option<Severity>,
    /// The rule; empty for a built-in one.
    pub source: String,
}

/// A rule of a log, or one that could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedRule {
    /// As it is written; of a built-in one, what it is for.
    pub text: RuleText,
    /// SHA-256 of it.
    pub hash: Vec<u8>,
    /// The index of the entry since which it is applied.
    pub index: u64,
    /// Whether it is applied.
    pub is_active: bool,
}

impl AlertLog {
    /// Applies a rule to what follows; it replaces one of the same name. Answers the index of the entry that says so, and the rule's hash.
    /// Needs the grant `admin`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn define(&self, rule: &RuleText) -> Result<(LeafIndex, [u8; 32]), ReadError> {
        let request = v1::DefineRuleRequest { log: self.name().to_owned(), rule: Some(rule.message()) };
        let answer =
            call_alerts(self.log.pool(), &RetryPolicy::NEVER, &request, |mut alerts, request| async move {
                alerts.define_rule(request).await
            })
            .await?;
        let hash: [u8; 32] =
            answer.hash[..].try_into().map_err(|_| ReadError::WrongAnswer("a rule's hash that is none"))?;
        if rule.language != BUILTIN && hash[..] != Sha256::digest(rule.source.as_bytes())[..] {
            return Err(ReadError::WrongAnswer("the hash of another rule"));
        }
        Ok((leaf_index("index", answer.index)?, hash))
    }

    /// Applies a built-in rule to what follows. Needs the grant `admin`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn enable(&self, name: &str) -> Result<(LeafIndex, [u8; 32]), ReadError> {
        let (name, language) = (name.to_owned(), BUILTIN.to_owned());
        self.define(&RuleText { name, language, severity: None, source: String::new() }).await
    }

    /// No longer applies a rule. Answers the index of the entry that says so. Needs the grant `admin`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn retire(&self, name: &str) -> Result<LeafIndex, ReadError> {
        let request = v1::RetireRuleRequest { log: self.name().to_owned(), name: name.to_owned() };
        let answer =
            call_alerts(self.log.pool(), &RetryPolicy::NEVER, &request, |mut alerts, request| async move {
                alerts.retire_rule(request).await
            });
        Ok(leaf_index("index", answer.await?.index)?)
    }

    /// The rules that are applied, and the built-in ones that could be.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn rules(&self) -> Result<Vec<ReportedRule>, ReadError> {
        let request = v1::ListRulesRequest { log: self.name().to_owned() };
        let pool = self.log.pool();
        let answer = call_alerts(pool, pool.retries(), &request, |mut alerts, request| async move {
            alerts.list_rules(request).await
        });
        Ok(answer.await?.rules.into_iter().map(ReportedRule::of).collect())
    }

    /// What a rule would have raised over a range of the past; an end of 0 is the newest entry's. Nothing is raised. Needs the grants
    /// `query` and `reveal`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn test(&self, rule: &RuleText, range: Range<u64>) -> Result<RuleTest, ReadError> {
        let request = v1::TestRuleRequest {
            log: self.name().to_owned(),
            rule: Some(rule.message()),
            from_index: range.start,
            to_index: range.end,
        };
        let answer = self.log.pool().alert_service().test_rule(Request::new(request)).await;
        let messages = Box::new(answer.map_err(|status| CallError::new(status, 1))?.into_inner());
        Ok(RuleTest {
            messages,
            ready: VecDeque::new(),
            tested: Tested { next_index: range.start, unreadable: 0 },
        })
    }
}

const BUILTIN: &str = "builtin";

/// The alerts that a rule would have raised, as they are found.
#[derive(Debug)]
pub struct RuleTest {
    messages: Box<Streaming<v1::TestRuleResponse>>,
    ready: VecDeque<Alert>,
    tested: Tested,
}

/// How far a rule was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tested {
    /// Every entry of the range below this index was looked at.
    pub next_index: u64,
    /// How many of them the rule could not read, as they are erased or dropped.
    pub unreadable: u64,
}

impl RuleTest {
    /// The next alert; `None` at the end of the range.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<Alert>, ReadError> {
        while self.ready.is_empty() {
            let message = self.messages.message().await.map_err(|status| CallError::new(status, 1))?;
            let Some(message) = message else { return Ok(None) };
            self.take(message.next_index, message.unreadable)?;
            for alert in message.alerts {
                self.ready.push_back(Alert::of(alert)?);
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Of alerts that one message does not hold, only the last one says how far was looked.
    fn take(&mut self, next_index: u64, unreadable: u64) -> Result<(), ReadError> {
        if next_index == 0 {
            return Ok(());
        }
        if next_index < self.tested.next_index {
            return Err(ReadError::WrongAnswer("alerts that go back"));
        }
        let unreadable = self.tested.unreadable.saturating_add(unreadable);
        self.tested = Tested { next_index, unreadable };
        Ok(())
    }

    /// How far the rule was tried.
    #[must_use]
    pub fn tested(&self) -> Tested {
        self.tested
    }
}

impl RuleText {
    fn message(&self) -> v1::Rule {
        v1::Rule {
            name: self.name.clone(),
            language: self.language.clone(),
            severity: self.severity.map_or(0, |severity| severity as i32),
            source: self.source.clone(),
            ..Default::default()
        }
    }
}

impl ReportedRule {
    fn of(message: v1::Rule) -> Self {
        let severity = u8::try_from(message.severity).ok().and_then(Severity::of);
        Self {
            text: RuleText {
                name: message.name,
                language: message.language,
                severity,
                source: message.source,
            },
            hash: message.hash.to_vec(),
            index: message.index,
            is_active: message.active,
        }
    }
}
