//! Going to the logs: a witness that polls, for logs that know nothing of witnesses too.
//!
//! ```text
//!            tlog-tiles, of any log                    gRPC, of a Graven server
//! heads      GET checkpoint, every interval            WatchPending; WatchTreeHeads where the log has no witnesses
//! proof      computed here, from its tiles             GetPendingConsistency; GetConsistencyProof
//! answer     the witness's own GET /HEX/checkpoint     the same, and AddCosignature
//! ```
//!
//! What comes is worth what it would be worth had the log pushed it: it goes through the same checks into the same memory.
//! Tiles and proofs are believed as far as they lead from the cosigned root to the one that the log signed.
//!
//! ```text
//! the head against what was cosigned     what comes of it
//! larger                                 proven, remembered, cosigned
//! the same tree                          cosigned again when it was signed anew, or COSIGN_AGAIN ago
//! smaller, and its beginning             nothing: the source is behind, as caches are and logs that publish with a quorum
//! smaller, and not shown to be that      nothing, and it is reported: rollback
//! neither                                nothing, and it is reported: inconsistent, with evidence where there is any
//! ```

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use graven_client::audit::{PackageReader, SiteError, TileSource};
use graven_client::{CallError, Client, ConnectError, ConnectOptions, HeadError, Offers, WebSite};
use graven_merkle::{ConsistencyProof, TreeSize};
use graven_note::witness::{AddCheckpoint, Refused};
use graven_note::{OpenError, Origin, SignatureLine, SignedNote, VerifyCheckpointError};
use metrics::{counter, gauge};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::home::Poll;
use crate::memory::Remembered;
use crate::witness::Witness;

/// How often the operator's settings are read again, and how long that takes at most as a share of all time: there may be
/// thousands of logs.
const SETTINGS_INTERVAL: Duration = Duration::from_secs(2);
const SETTINGS_SHARE: u32 = 20;
/// Sites that are looked at in one moment: a look blocks a thread, and those are there for logs that push as well.
const MAX_LOOKS: usize = 64;
/// How long one look at a site may take with all its fetches, however many of them are slow.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take until it begins to show heads.
const OFFERS_TIMEOUT: Duration = Duration::from_secs(10);
/// A log signs at least once a minute, as a rule. A server that is silent for longer is asked anew, in case it forgot.
const MAX_SILENCE: Duration = Duration::from_secs(90);
/// What is served over gRPC comes when the server likes: this bounds what it can have signed and synced in a second.
const REST: Duration = Duration::from_millis(10);
/// A head that stays the same is cosigned again after that, so that its readers can tell a stall from silence.
const COSIGN_AGAIN: Duration = Duration::from_secs(30);
/// How often a head is judged anew because another one was pushed meanwhile.
const MAX_RACES: usize = 4;
/// How long a server is left alone after its first failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// How often that time is doubled: up to 6.4 s, as a log that waits for its witnesses should not wait for long.
const SERVER_DOUBLINGS: u32 = 5;
/// A site's first time is the interval, and the longest eight of them.
const SITE_DOUBLINGS: u32 = 3;

/// Where a log is polled, ready to be asked.
pub enum Source {
    /// Its tiles.
    Site(WebSite),
    /// A server, over gRPC.
    Server {
        /// Its address.
        address: String,
        /// The log's name there.
        log: String,
        /// How to reach it.
        options: Box<ConnectOptions>,
    },
}

/// Makes a source of an operator's settings: reads certificates and tokens. Called before the first look and after each
/// failure.
pub type Reach = Arc<dyn Fn(&Poll) -> Result<Source, String> + Send + Sync>;

/// Polls every log whose settings say where, for as long as the future lives. Settings may change meanwhile. Sites are looked at
/// every `interval`; servers show heads by themselves.
pub async fn follow_logs(witness: Arc<Witness>, reach: Reach, interval: Duration) {
    let (looks, mut tasks) = (Arc::new(Semaphore::new(MAX_LOOKS)), JoinSet::new());
    let mut followed: HashMap<Origin, (Poll, AbortHandle)> = HashMap::new();
    let mut complaint = None;
    loop {
        let begun = Instant::now();
        match witness.known_logs().await {
            Ok(logs) => {
                let wanted = logs.into_iter().filter_map(|log| Some((log.origin, log.poll?)));
                let mut wanted: HashMap<_, _> = wanted.collect();
                followed.retain(|origin, (poll, task)| {
                    let stays = wanted.get(origin) == Some(poll) && !task.is_finished();
                    if stays {
                        wanted.remove(origin);
                    } else {
                        tracing::info!(%origin, at = poll.url, "the log is not polled there any more");
                        task.abort();
                    }
                    stays
                });
                for (origin, poll) in wanted {
                    tracing::info!(%origin, at = poll.url, "the log is polled");
                    let follower = Follower {
                        witness: witness.clone(),
                        label: origin.to_string(),
                        origin: origin.clone(),
                        poll: poll.clone(),
                        interval,
                        looks: looks.clone(),
                        last: None,
                        failures: 0,
                        trouble: None,
                    };
                    followed.insert(origin, (poll, tasks.spawn(follower.run(reach.clone()))));
                }
                complaint = None;
            }
            Err(error) => {
                let error = error.to_string();
                if complaint.replace(error.clone()).as_ref() != Some(&error) {
                    tracing::error!(
                        error,
                        "it cannot be read which logs to poll: nothing changes until it can"
                    );
                }
            }
        }
        while tasks.try_join_next().is_some() {}
        sleep(SETTINGS_INTERVAL.max(begun.elapsed() * SETTINGS_SHARE)).await;
    }
}

/// Why a look at a log came to nothing.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Settings(String),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("the server ended the stream of heads")]
    Ended,
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("there is no checkpoint: is this where the log lies?")]
    NoCheckpoint,
    #[error(
        "rollback: it offers {offered} entries, {known} were cosigned, and nothing shows that it is still the same log"
    )]
    Rollback { offered: TreeSize, known: TreeSize },
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the log does not take the cosignature: {0}")]
    Unwanted(CallError),
}

impl Trouble {
    /// One word for metrics.
    fn kind(&self) -> &'static str {
        match self {
            Self::Rollback { .. } => "rollback",
            // What is no note comes from a portal or a proxy, as often as not.
            Self::Refused(Refused::NotSigned(VerifyCheckpointError::Note(OpenError::Malformed(_)))) => {
                "trouble"
            }
            Self::Refused(Refused::NotSigned(_)) => "unsigned",
            Self::Refused(Refused::Inconsistent(_)) => "inconsistent",
            Self::Refused(_) => "refused",
            Self::Unwanted(_) => "unwanted",
            _ => "trouble",
        }
    }

    /// The log signed, or somebody shows, what no log should: it will not pass by itself.
    fn is_grave(&self) -> bool {
        matches!(self.kind(), "rollback" | "unsigned" | "inconsistent")
    }
}

/// Whoever proves that one tree of a log begins another.
enum Prover<'a> {
    Site(&'a WebSite),
    Server(&'a Offers),
}

impl Prover<'_> {
    async fn proof(&self, from: TreeSize, to: TreeSize) -> Result<ConsistencyProof, Trouble> {
        match self {
            Self::Server(offers) => Ok(offers.consistency(from, to).await?),
            Self::Site(site) => blocking(site, move |site| PackageReader::new(site, to).consistency(from))
                .await?
                .map_err(Trouble::from),
        }
    }
}

/// A site for one look, which ends.
struct Look<'a> {
    site: &'a WebSite,
    until: Instant,
}

impl TileSource for Look<'_> {
    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        if Instant::now() >= self.until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the site is too slow"));
        }
        self.site.fetch(path)
    }
}

/// Fetching blocks, so it has a thread of its own.
async fn blocking<T: Send + 'static>(
    site: &WebSite,
    work: impl FnOnce(&Look<'_>) -> T + Send + 'static,
) -> Result<T, Trouble> {
    let site = site.clone();
    let look = move || work(&Look { site: &site, until: Instant::now() + LOOK_TIMEOUT });
    spawn_blocking(look).await.map_err(|error| Refused::Failed(error.to_string()).into())
}

/// Follows one log.
struct Follower {
    witness: Arc<Witness>,
    origin: Origin,
    /// The origin, as metrics show it.
    label: String,
    poll: Poll,
    interval: Duration,
    looks: Arc<Semaphore>,
    /// What was cosigned last, and when.
    last: Option<(SignedNote, Instant)>,
    /// Since something came of a look.
    failures: u32,
    /// What was reported last, if it lasts.
    trouble: Option<&'static str>,
}

impl Follower {
    async fn run(mut self, reach: Reach) {
        loop {
            let (reach, poll) = (reach.clone(), self.poll.clone());
            let reached = spawn_blocking(move || reach(&poll)).await;
            let ended = match reached.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(Source::Site(site)) => self.follow_site(&site).await,
                Ok(Source::Server { address, log, options }) => {
                    self.follow_server(&address, log, *options).await
                }
                Err(why) => Err(Trouble::Settings(why)),
            };
            if let Err(trouble) = ended {
                self.report(&trouble);
            }
            sleep(jittered(self.backoff())).await;
        }
    }

    async fn follow_site(&mut self, site: &WebSite) -> Result<(), Trouble> {
        loop {
            let looks = self.looks.clone();
            let look = looks.acquire().await;
            let note = blocking(site, |site| site.fetch("checkpoint")).await?;
            let note = note.map_err(|source| SiteError::Io { path: "checkpoint".to_owned(), source })?;
            self.take(note.ok_or(Trouble::NoCheckpoint)?.into(), &Prover::Site(site)).await?;
            drop(look);
            self.succeeded();
            sleep(jittered(self.interval)).await;
        }
    }

    async fn follow_server(
        &mut self,
        address: &str,
        log: String,
        options: ConnectOptions,
    ) -> Result<(), Trouble> {
        let client = Client::connect(address, options).await?;
        let opening = timeout(OFFERS_TIMEOUT, client.appender(log).offers()).await;
        let mut offers = opening.map_err(|_| Trouble::TimedOut(OFFERS_TIMEOUT))??;
        // A server that was started anew asks again for what it was given before.
        self.last = None;
        loop {
            let Ok(note) = timeout(MAX_SILENCE, offers.next()).await else { return Ok(()) };
            let note = note.ok_or(Trouble::Ended)??;
            if let Some((size, lines)) = self.take(note, &Prover::Server(&offers)).await? {
                offers.bring(size, &lines).await.map_err(Trouble::Unwanted)?;
            }
            self.succeeded();
            sleep(REST).await;
        }
    }

    /// Judges a head, and has it cosigned where there is something to say about it.
    async fn take(
        &mut self,
        note: Bytes,
        prover: &Prover<'_>,
    ) -> Result<Option<(TreeSize, Vec<SignatureLine>)>, Trouble> {
        let (checkpoint, own) = self.witness.signed(&self.origin, note).await?;
        let asked = format!("{}: the newest head of the log", self.poll.url);
        for _ in 0..MAX_RACES {
            let known = self.witness.remembered(&self.origin);
            let old_size = known.as_ref().map_or(TreeSize::ZERO, |known| known.checkpoint.size());
            self.measure(checkpoint.size(), old_size);
            if let Some(known) = known.filter(|_| checkpoint.size() < old_size) {
                return self
                    .hold_to_later(own, checkpoint.size(), known, prover, &asked)
                    .await
                    .map(|()| None);
            }
            if !self.is_due(&own) {
                return Ok(None);
            }
            let proof = prover.proof(old_size, checkpoint.size()).await?;
            let request = AddCheckpoint::new(old_size, proof, own.clone()).map_err(Refused::from)?;
            match self.witness.add(request, &asked).await {
                // Another head was pushed while this one was proven.
                Err(Refused::Conflict(_)) => {}
                answer => {
                    let lines = answer?;
                    self.measure(checkpoint.size(), checkpoint.size());
                    self.last = Some((own, Instant::now()));
                    return Ok(Some((checkpoint.size(), lines)));
                }
            }
        }
        Err(Refused::Overloaded.into())
    }

    /// A smaller head is fine where it begins the tree that is known, and this source shows it.
    async fn hold_to_later(
        &self,
        note: SignedNote,
        offered: TreeSize,
        known: Remembered,
        prover: &Prover<'_>,
        asked: &str,
    ) -> Result<(), Trouble> {
        let known_size = known.checkpoint.size();
        let rollback = || Trouble::Rollback { offered, known: known_size };
        // What has no entries begins every log.
        let proof = if offered.is_empty() { None } else { prover.proof(offered, known_size).await.ok() };
        let begins = self.witness.begins(note, known, proof.ok_or_else(rollback)?, asked).await;
        begins.map_err(|refused| match refused {
            Refused::Inconsistent(_) => rollback(),
            refused => refused.into(),
        })
    }

    fn is_due(&self, own: &SignedNote) -> bool {
        self.last.as_ref().is_none_or(|(last, at)| last != own || at.elapsed() >= COSIGN_AGAIN)
    }

    #[allow(clippy::cast_precision_loss)] // exact up to 2^53
    fn measure(&self, seen: TreeSize, cosigned: TreeSize) {
        let lag = seen.get().saturating_sub(cosigned.get());
        gauge!("graven_witness_poll_lag_entries", "log" => self.label.clone()).set(lag as f64);
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        if self.trouble.take().is_some() {
            tracing::info!(log = self.label, at = self.poll.url, "the log is followed again");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!("graven_witness_poll_success_timestamp_seconds", "log" => self.label.clone())
            .set(now.as_secs_f64());
    }

    fn report(&mut self, trouble: &Trouble) {
        let (log, at, kind) = (&self.label, &self.poll.url, trouble.kind());
        self.failures = self.failures.saturating_add(1);
        counter!("graven_witness_poll_errors_total", "log" => log.clone(), "kind" => kind).increment(1);
        if self.trouble.replace(kind) == Some(kind) {
            return;
        }
        if trouble.is_grave() {
            tracing::error!(log, at, kind, "nothing was cosigned: {trouble}");
        } else {
            tracing::warn!(log, at, kind, "the log cannot be followed: {trouble}");
        }
    }

    fn backoff(&self) -> Duration {
        let (first, doublings) = match self.poll.log {
            Some(_) => (FIRST_BACKOFF, SERVER_DOUBLINGS),
            None => (self.interval, SITE_DOUBLINGS),
        };
        first.saturating_mul(1 << self.failures.saturating_sub(1).min(doublings))
    }
}

/// A quarter more or less, so that witnesses do not fall into step.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [128];
    // Without randomness it is as long as it was meant to be.
    let _ = getrandom::fill(&mut byte);
    wait.saturating_mul(3 * 128 + u32::from(byte[0])) / (4 * 128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_quarter() {
        let waits: Vec<_> = (0..1000).map(|_| jittered(Duration::from_secs(4))).collect();
        assert!(waits.iter().all(|wait| (3.0..=5.0).contains(&wait.as_secs_f64())));
        assert_ne!(waits.iter().min(), waits.iter().max());
    }
}
