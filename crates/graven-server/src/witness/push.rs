//! Pushing pending heads to the witnesses that have a URL in a log's policy: the client of C2SP tlog-witness.
//!
//! One task for each URL: entries of a policy with the same one are keys of one witness. It remembers what the witness
//! cosigned last, proves from there, and learns better from a `409`. What comes back only counts once the engine has
//! verified it, and only where it is by a key of the witness that was asked: lines of others are public, and whoever answers
//! at one URL does not speak for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use graven_log::{CosignError, Engine, Head, Log, LogName, Pending};
use graven_merkle::{ConsistencyProof, TreeSize, verify_consistency};
use graven_note::policy::PolicyWord;
use graven_note::witness::{AddCheckpoint, SIZE_TYPE, parse_size};
use graven_note::{NoteError, SignatureLine, SignedNote};
use http::StatusCode;
use metrics::counter;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::client::{WitnessAnswer, WitnessCallError, WitnessClient};
use super::{WitnessRoots, signature_lines};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a witness is left alone after its first failure; each further one doubles it.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// The longest time that a witness is left alone.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Until a witness was left alone so long, a cosignature of before the start is no failure: its clock counts in seconds.
const EARLY_BACKOFF: Duration = Duration::from_secs(1);
/// How often one head is offered in a row: a `409` says what to prove from, and that may change once more.
const MAX_ATTEMPTS: usize = 3;

/// Pushes to the witnesses of all logs until `draining` turns true.
pub(crate) async fn push_until(
    engine: &Arc<Engine>,
    roots: &BTreeMap<LogName, WitnessRoots>,
    mut draining: watch::Receiver<bool>,
) {
    let mut drivers = JoinSet::new();
    for log in engine.logs() {
        for (url, names) in by_url(&log) {
            let Some(client) = WitnessClient::new(&url, roots.get(&log.meta().name).cloned()) else {
                tracing::error!(log = %log.meta().name, url, "a witness is not pushed to: no URL of http or https");
                continue;
            };
            let known = log.witnessed_head().map_or(TreeSize::ZERO, |head| head.size());
            // Its own line in the stored note says so.
            let lags = engine.witness_lags(&log).into_iter().filter(|lag| names.contains(&lag.witness));
            let confirmed = lags.filter_map(|lag| TreeSize::new(lag.size)).max().unwrap_or(TreeSize::ZERO);
            let driver = Driver {
                engine: engine.clone(),
                log: log.clone(),
                names,
                client,
                known,
                confirmed,
                has_forgotten: false,
            };
            drivers.spawn(driver.run());
        }
    }
    let _ = draining.wait_for(|draining| *draining).await;
    drivers.shutdown().await;
}

/// The policy's witnesses by their URL.
fn by_url(log: &Log) -> BTreeMap<String, Vec<PolicyWord>> {
    let mut found: BTreeMap<String, Vec<PolicyWord>> = BTreeMap::new();
    for witness in log.witness_policy().into_iter().flat_map(|policy| policy.witnesses()) {
        if let Some(url) = &witness.url {
            found.entry(url.to_string()).or_default().push(witness.name.clone());
        }
    }
    found
}

struct Driver {
    engine: Arc<Engine>,
    log: Arc<Log>,
    names: Vec<PolicyWord>,
    client: WitnessClient,
    /// What the witness cosigned last, as far as is known.
    known: TreeSize,
    /// What it has cosigned for us: it must never say less.
    confirmed: TreeSize,
    /// Whether it did: what it knows of nothing newer than the log's storage is worth nothing then.
    has_forgotten: bool,
}

/// Why a head was not cosigned.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error(transparent)]
    Call(#[from] WitnessCallError),
    #[error("no answer within {} s", REQUEST_TIMEOUT.as_secs())]
    TimedOut,
    #[error("it answers {0}: {1}")]
    Refused(StatusCode, &'static str),
    #[error("it has cosigned size {0}, which is more than it is offered")]
    Ahead(u64),
    #[error("its answer is no answer of C2SP tlog-witness")]
    Malformed,
    #[error("its cosignature was not taken: {0}")]
    Cosignature(#[from] CosignError),
    #[error("the log's own proof or note failed")]
    Proof,
    #[error("the tree that it has seen is not the beginning of this one")]
    Inconsistent,
    #[error(
        "it has cosigned more before: that it knows nothing newer says nothing. It should get new keys, and be listed by these"
    )]
    Forgot,
}

impl PushError {
    /// One word for metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Call(_) => "unreachable",
            Self::TimedOut => "timeout",
            Self::Refused(..) => "refused",
            Self::Ahead(_) => "ahead",
            Self::Inconsistent => "inconsistent",
            Self::Malformed => "malformed",
            Self::Cosignature(_) => "cosignature",
            Self::Proof => "proof",
            Self::Forgot => "forgot",
        }
    }
}

impl Driver {
    async fn run(mut self) {
        let Some(mut pending) = self.log.watch_pending() else { return };
        let mut backoff = FIRST_BACKOFF;
        // Which failure was told.
        let mut told: Option<&'static str> = None;
        loop {
            let offered = pending.borrow_and_update().clone();
            if self.has_cosigned(&offered) {
                if pending.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let names = self.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let name = self.log.meta().name.clone();
            match self.offer(&offered.head).await {
                Ok(()) => {
                    self.engine.witnesses_erred(&self.log, &self.names, None);
                    if told.take().is_some() {
                        tracing::info!(log = %name, witness = names, "the witness cosigns again");
                    }
                    backoff = FIRST_BACKOFF;
                    // It has said what it has to say of this head.
                    if !self.has_cosigned(&pending.borrow()) && pending.changed().await.is_err() {
                        return;
                    }
                }
                Err(PushError::Cosignature(CosignError::NotOfNow { .. })) if backoff < EARLY_BACKOFF => {
                    sleep(backoff).await;
                    backoff *= 2;
                }
                Err(error) => {
                    self.count(&error);
                    self.engine.witnesses_erred(&self.log, &self.names, Some(error.label()));
                    if told.replace(error.label()) != Some(error.label()) {
                        match error {
                            PushError::Ahead(_) | PushError::Inconsistent | PushError::Forgot => {
                                tracing::error!(log = %name, witness = names, %error, "the witness disagrees");
                            }
                            _ => {
                                tracing::warn!(log = %name, witness = names, %error, "the witness does not cosign");
                            }
                        }
                    }
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    fn has_cosigned(&self, pending: &Pending) -> bool {
        self.names.iter().all(|name| pending.cosigned.contains(name))
    }

    fn count(&self, error: &PushError) {
        for name in &self.names {
            let (log, witness) = (self.log.meta().name.to_string(), name.to_string());
            let labels = [("log", log), ("witness", witness), ("kind", error.label().to_owned())];
            counter!("graven_witness_errors_total", &labels).increment(1);
        }
    }

    /// Has one head cosigned.
    async fn offer(&mut self, head: &Head) -> Result<(), PushError> {
        for _ in 0..MAX_ATTEMPTS {
            if self.known > head.size() {
                return Err(self.ahead(head, self.known).await);
            }
            let note = self.own(head).map_err(|_| PushError::Proof)?;
            let request = AddCheckpoint::new(self.known, self.proof(head.size()).await?, note);
            let body = request.map_err(|_| PushError::Proof)?.to_string();
            let answered = timeout(REQUEST_TIMEOUT, self.client.add_checkpoint(body)).await;
            let answer = answered.map_err(|_| PushError::TimedOut)??;
            match answer.status {
                StatusCode::OK => return self.take_in(head, &answer).await,
                StatusCode::CONFLICT => self.conflict(told_size(&answer).ok_or(PushError::Malformed)?),
                StatusCode::UNPROCESSABLE_ENTITY => {
                    let told = format!("has cosigned another tree at size {}", self.known);
                    self.dispute(head, &told).await;
                    return Err(PushError::Inconsistent);
                }
                status => return Err(PushError::Refused(status, refusal(status))),
            }
        }
        Err(PushError::Malformed)
    }

    /// The note with the log's own signatures. What others cosigned helps no witness, and litewitness takes no request of more
    /// than 10 KiB: two cosignatures with ML-DSA-44 would be too many.
    fn own(&self, head: &Head) -> Result<SignedNote, NoteError> {
        let (keys, note) = (self.log.keys(), SignedNote::parse(&head.note)?);
        let is_own = |line: &&SignatureLine| keys.all().iter().any(|key| line.claims(key));
        let lines: Vec<_> = note.signatures().iter().filter(is_own).cloned().collect();
        SignedNote::new(note.text(), &lines)
    }

    /// The witness says what it has cosigned last.
    fn conflict(&mut self, told: TreeSize) {
        self.known = told;
        if told < self.confirmed {
            let (log, names) = (&self.log.meta().name, &self.names);
            tracing::error!(%log, witness = ?names, told = told.get(), cosigned = self.confirmed.get(),
                "the witness forgot what it had cosigned: was it restored from an old copy?");
            self.confirmed = told;
            self.has_forgotten = true;
            self.count(&PushError::Forgot);
        }
    }

    /// A witness that has seen more than is offered. Others may have shown it what was published meanwhile; but after a
    /// start the newest stored head is offered, and nothing can be newer.
    async fn ahead(&mut self, head: &Head, size: TreeSize) -> PushError {
        self.dispute(head, &format!("has cosigned size {size}")).await;
        // It is asked anew, as it may have erred.
        self.known = self.confirmed;
        PushError::Ahead(size.get())
    }

    /// After a start, a witness says that it has seen what this data directory does not hold. Any witness can say so; what the
    /// log itself signed proves it, and the witness has that. Where it does not show it, that is its opinion, and counts as
    /// far as the policy lets it.
    async fn dispute(&mut self, head: &Head, told: &str) {
        if !self.log.is_awaiting_witnesses() {
            return;
        }
        let what = format!("{told}, and this data directory ends at size {}", head.size());
        if self.is_proven(head).await {
            return self.engine.refuse_behind(&self.log, &self.names, &what);
        }
        if !self.engine.dispute(&self.log, &self.names, &what) {
            tracing::warn!(log = %self.log.meta().name, witness = %self.names[0], what,
                "the witness does not show what the log signed: it counts as one that has not answered");
        }
    }

    /// Whether the witness shows a head that the log signed and that this data directory does not lead to.
    async fn is_proven(&mut self, head: &Head) -> bool {
        let meta = self.log.meta();
        let answer = timeout(REQUEST_TIMEOUT, self.client.checkpoint(&meta.origin)).await;
        let Ok(Ok(answer)) = answer else { return false };
        let Ok(shown) = self.log.keys().open(&answer.body, &meta.origin) else { return false };
        let (shown, own) = (shown.checkpoint().clone(), head.checkpoint.clone());
        if shown.size() > own.size() {
            return true;
        }
        let log = self.log.clone();
        let differs = move || {
            let proof = log.pending_consistency(shown.size(), own.size()).ok()?;
            Some(verify_consistency(shown.size(), shown.root(), own.size(), own.root(), &proof).is_err())
        };
        spawn_blocking(differs).await.is_ok_and(|differs| differs == Some(true))
    }

    /// Whether a line claims to be by a key of this witness.
    fn is_by_it(&self, line: &SignatureLine) -> bool {
        let mut witnesses = self.log.witness_policy().into_iter().flat_map(|policy| policy.witnesses());
        witnesses.any(|witness| self.names.contains(&witness.name) && line.claims(&witness.key))
    }

    async fn proof(&self, to: TreeSize) -> Result<ConsistencyProof, PushError> {
        let (log, from) = (self.log.clone(), self.known);
        let proven = spawn_blocking(move || log.pending_consistency(from, to)).await;
        proven.ok().and_then(Result::ok).ok_or(PushError::Proof)
    }

    async fn take_in(&mut self, head: &Head, answer: &WitnessAnswer) -> Result<(), PushError> {
        if self.has_forgotten && self.log.is_awaiting_witnesses() {
            return Err(PushError::Forgot);
        }
        let mut lines = signature_lines(&answer.body).ok_or(PushError::Malformed)?;
        lines.retain(|line| self.is_by_it(line));
        let (engine, log, size) = (self.engine.clone(), self.log.clone(), head.size());
        let taken = spawn_blocking(move || engine.cosign(&log, size.get(), &lines)).await;
        match taken.unwrap_or(Err(CosignError::Poisoned)) {
            // Its round was over: no fault of the witness.
            Ok(_) | Err(CosignError::NotPending { .. }) => {
                (self.known, self.confirmed) = (size, size);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What a `409` says was cosigned last.
fn told_size(answer: &WitnessAnswer) -> Option<TreeSize> {
    let is_size = answer.content_type.split(';').next().is_some_and(|it| it.trim() == SIZE_TYPE);
    is_size.then(|| parse_size(&answer.body).ok()).flatten()
}

/// What an operator can do about a status.
fn refusal(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "it does not know the log: its operator must add the log's origin and keys",
        StatusCode::FORBIDDEN => "it trusts none of the log's keys: its operator must add them",
        StatusCode::BAD_REQUEST => "it does not understand the request",
        _ => "try again later",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(content_type: &str, body: &'static str) -> WitnessAnswer {
        WitnessAnswer {
            status: StatusCode::CONFLICT,
            content_type: content_type.to_owned(),
            body: body.into(),
        }
    }

    #[test]
    fn a_size_is_read_as_it_must_be_written() {
        let told = |content_type, body| told_size(&answer(content_type, body)).map(TreeSize::get);
        assert_eq!(told("text/x.tlog.size", "20852014\n"), Some(20_852_014));
        assert_eq!(told("text/x.tlog.size; charset=utf-8", "0\n"), Some(0));
        for bad in ["", "\n", "7", "07\n", "+7\n", "7\n\n", " 7\n", "9223372036854775808\n"] {
            assert_eq!(told("text/x.tlog.size", bad), None, "{bad:?}");
        }
        assert_eq!(told("text/plain", "7\n"), None);
    }
}
