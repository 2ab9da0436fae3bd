//! `TestRule`: what a rule would have raised over a range of the past.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use graven_audit::alerts::{Trial, Tried};
use graven_audit::{Book, Deed};
use graven_proto::Refusal;
use graven_proto::v1::{self, ErrorReason, TestRuleResponse};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Status};

use super::{rules, show};
use crate::access::Permission;
use crate::audit::read::ANSWER_BYTES;
use crate::audit::{Admitted, Answers, missing, refuse, who};
use crate::core::{Core, blocking};
use crate::refusal;
use crate::scopes::{Names, admit};

/// `TestRule`. A rule reads what is personal, so whoever tries one may.
pub(super) async fn open(
    core: &Arc<Core>,
    request: Request<v1::TestRuleRequest>,
) -> Result<Answers<TestRuleResponse>, Status> {
    let Admitted { audit, book } = admit(core, &request, &request.get_ref().log, Permission::Query)?;
    core.authorize(&request, Some(&book.log().meta().name), Permission::Reveal)?;
    let (who, asked) = (who(&request), request.into_inner());
    let rule = asked.rule.ok_or_else(|| missing("rule"))?;
    let rule = rules::new(&rule)?;
    let size = book.log().durable_size();
    let to = if asked.to_index == 0 { size } else { asked.to_index };
    check_range(asked.from_index, to, size)?;
    let trial = audit.test_rule(&book, rule, asked.from_index..to).await;
    let trial = trial.map_err(|error| refuse(&error, core))?;
    let deed = Deed::new("graven.rule.test", book.log().meta().name.as_str())
        .with("rule", rule.name)
        // Somebody's name may stand in the rule itself.
        .with("hash", hex(&Sha256::digest(rule.source)))
        .with("from", asked.from_index)
        .with("to", to);
    audit.note(&who, deed).await.map_err(|error| refuse(&error, core))?;
    let trying = Trying { core: core.clone(), book, trial: Some(trial), told: VecDeque::new() };
    let answers = stream::try_unfold(trying, |mut trying| async move {
        Ok(trying.step().await?.map(|answer| (answer, trying)))
    });
    Ok(answers.boxed())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_range(from: u64, to: u64, size: u64) -> Result<(), Refusal> {
    if to > size {
        let text = format!("index {to} is beyond the {size} entries of the log");
        return Err(Refusal::new(ErrorReason::IndexBeyondTree, text)
            .with_field("to_index")
            .with_fact("size", size));
    }
    if from >= to {
        return Err(
            Refusal::new(ErrorReason::RangeEmpty, "the range holds no entries").with_field("from_index")
        );
    }
    Ok(())
}

/// A trial under way.
struct Trying {
    core: Arc<Core>,
    book: Arc<Book>,
    trial: Option<Trial>,
    /// Found, and not told yet.
    told: VecDeque<TestRuleResponse>,
}

impl Trying {
    async fn step(&mut self) -> Result<Option<TestRuleResponse>, Status> {
        loop {
            if let Some(next) = self.told.pop_front() {
                return Ok(Some(next));
            }
            let Some(mut trial) = self.trial.take() else { return Ok(None) };
            if *self.core.draining.borrow() {
                return Err(refusal::shutting_down().into());
            }
            let core = self.core.clone();
            let (trial, tried) = blocking(move || {
                let tried = trial.go_on().map_err(|error| refuse(&error, &core))?;
                Ok((trial, tried))
            })
            .await?;
            if let Some(tried) = tried {
                self.trial = Some(trial);
                // Whoever tries one may `reveal`.
                self.told = messages(Names::known(&self.book, true), &tried);
            }
        }
    }
}

/// What was found, in messages that are not too long. Only the last one says how far it was looked.
fn messages(names: Names<'_>, tried: &Tried) -> VecDeque<TestRuleResponse> {
    let mut messages = VecDeque::new();
    let (mut alerts, mut bytes) = (Vec::new(), 0);
    for alert in &tried.alerts {
        let alert = show::found(names, alert);
        let more = alert.encoded_len();
        if bytes + more > ANSWER_BYTES && !alerts.is_empty() {
            messages
                .push_back(TestRuleResponse { alerts: std::mem::take(&mut alerts), ..Default::default() });
            bytes = 0;
        }
        bytes += more;
        alerts.push(alert);
    }
    messages.push_back(TestRuleResponse { alerts, next_index: tried.next, unreadable: tried.unreadable });
    messages
}
