//! An issuer's keys: fetched when they are needed, again when they age or do not suffice, and never by too many at once.
//!
//! ```text
//! age of the keys    0 ───────────── 5 min ─────────────────── keys_max_age ──────────▶
//! a key is found     used            used; fetched again in    not used: fetched again, and
//!                                    the background            without success UNAVAILABLE
//! no key is found    fetched again, once in 10 s; then the token is not the issuer's
//! ```
//!
//! So a key that the issuer took back ends after 5 minutes while it answers, and after `keys_max_age` if it does not.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use super::Issuer;
use super::metadata::{Discovery, IssuerFault};
use crate::fetch::{Address, Fetcher};
use crate::{KeySet, Outage, TokenError};

/// Older keys are fetched again.
const REFRESH_AFTER_S: u64 = 300;
/// Least time between two attempts, whoever asks for what.
const LEAST_INTERVAL_S: u64 = 10;

/// The keys, as far as they are known.
pub(crate) struct Keys {
    fetcher: Fetcher,
    discovery: Arc<Discovery>,
    url: Option<Address>,
    max_age_s: u64,
    held: ArcSwapOption<Held>,
    /// When it was last tried. Whoever has this fetches; the others wait for that.
    tried: Mutex<Option<u64>>,
}

#[derive(Debug)]
struct Held {
    set: Arc<KeySet>,
    fetched: u64,
    /// Counts the changes.
    generation: u64,
}

impl Keys {
    pub(crate) fn new(
        fetcher: Fetcher,
        discovery: Arc<Discovery>,
        url: Option<Address>,
        max_age: Duration,
    ) -> Self {
        let held = ArcSwapOption::empty();
        Self { fetcher, discovery, url, max_age_s: max_age.as_secs(), held, tried: Mutex::default() }
    }

    /// Which keys those are that count now; `None` where there are none. A token that was found good by others is not good any more.
    pub(crate) fn generation(&self, now: u64) -> Option<u64> {
        self.held.load().as_ref().filter(|held| held.age(now) <= self.max_age_s).map(|held| held.generation)
    }

    /// Has old keys fetched again, behind whoever called.
    pub(crate) fn refresh_if_old(&self, issuer: &Arc<Issuer>, now: u64) {
        let is_old = self.held.load().as_ref().is_some_and(|held| held.age(now) > REFRESH_AFTER_S);
        if is_old && self.tried.try_lock().is_ok_and(|tried| may_try(*tried, now)) {
            let issuer = issuer.clone();
            tokio::spawn(async move { issuer.keys.fetch(&issuer, REFRESH_AFTER_S).await });
        }
    }

    /// Keys among which a token's key is, as `suffice` says, or those that there are; and which generation they are.
    pub(crate) async fn for_token(
        &self,
        issuer: &Arc<Issuer>,
        suffice: impl Fn(&KeySet) -> bool,
    ) -> Result<(Arc<KeySet>, u64), TokenError> {
        let now = issuer.now();
        let usable = |now| self.held.load_full().filter(|held| held.age(now) <= self.max_age_s);
        if let Some(held) = usable(now).filter(|held| suffice(&held.set)) {
            self.refresh_if_old(issuer, now);
            return Ok((held.set.clone(), held.generation));
        }
        // In a task of its own: a caller that goes away must not take everybody's only attempt in ten seconds with it.
        let fetching = issuer.clone();
        let fetched =
            tokio::spawn(async move { fetching.keys.fetch(&fetching, 0).await }).await.unwrap_or(false);
        match usable(issuer.now()) {
            Some(held) if fetched || suffice(&held.set) => Ok((held.set.clone(), held.generation)),
            // It may be a new key that we could not get: that is not its bearer's fault.
            _ => Err(TokenError::Unavailable(Outage::Keys)),
        }
    }

    /// Fetches the keys, unless they are younger than this, or were tried to be fetched just now. Returns whether those that
    /// there are came with the last attempt.
    async fn fetch(&self, issuer: &Issuer, younger_than_s: u64) -> bool {
        let mut tried = self.tried.lock().await;
        let now = issuer.now();
        let is_young = self.held.load().as_ref().is_some_and(|held| held.age(now) < younger_than_s);
        if !is_young && may_try(*tried, now) {
            *tried = Some(now);
            match self.load().await {
                Ok(set) => self.hold(set, now, &issuer.settings.name),
                Err(error) => {
                    let name = issuer.settings.name.clone();
                    tracing::warn!(issuer = name, %error, "an issuer's keys cannot be fetched");
                    metrics::counter!("graven_issuer_failures_total", "issuer" => name, "what" => "keys")
                        .increment(1);
                }
            }
        }
        self.held.load().as_ref().map(|held| held.fetched) == *tried
    }

    async fn load(&self) -> Result<KeySet, IssuerFault> {
        let at = match &self.url {
            Some(url) => url.clone(),
            None => self.discovery.address("jwks_uri").await?,
        };
        let fetched = self.fetcher.fetch(&at, None).await;
        let bytes = fetched.map_err(|error| IssuerFault::Fetch { what: "keys", error })?;
        let set = KeySet::parse(&bytes).ok_or(IssuerFault::Form("keys"))?;
        if set.is_empty() { Err(IssuerFault::NoKeys) } else { Ok(set) }
    }

    fn hold(&self, set: KeySet, fetched: u64, issuer: &str) {
        let before = self.held.load_full();
        let is_same = before.as_ref().is_some_and(|held| *held.set == set);
        let generation = before.map_or(0, |held| held.generation + u64::from(!is_same));
        if !is_same {
            tracing::info!(issuer, "an issuer's keys are new");
        }
        self.held.store(Some(Arc::new(Held { set: Arc::new(set), fetched, generation })));
        #[allow(clippy::cast_precision_loss)] // Exact for 200 million years.
        metrics::gauge!("graven_issuer_keys_timestamp_seconds", "issuer" => issuer.to_owned())
            .set(fetched as f64);
    }
}

impl Held {
    /// A clock that went back knows no age.
    fn age(&self, now: u64) -> u64 {
        now.checked_sub(self.fetched).unwrap_or(u64::MAX)
    }
}

fn may_try(tried: Option<u64>, now: u64) -> bool {
    tried.is_none_or(|tried| now.abs_diff(tried) >= LEAST_INTERVAL_S)
}
