//! One issuer: what its tokens must be like, its keys, and what it says of tokens when asked.

mod introspection;
mod keys;
mod metadata;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use self::introspection::Introspection;
use self::keys::Keys;
use self::metadata::Discovery;
use crate::fetch::{Address, Fetcher};
use crate::json::Object;
use crate::jws::Jws;
use crate::{AccessToken, Examined, Outage, Roots, Rules, TokenError};

/// The longest that keys may be in use without having been fetched again.
pub const MAX_KEYS_AGE: Duration = Duration::from_secs(24 * 3600);
/// The longest that an issuer's word about a token counts: how long a revoked one may live on.
pub const MAX_INTROSPECTION_AGE: Duration = Duration::from_secs(300);

/// What time it is. Tests have their own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// An issuer, as an operator describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct IssuerSettings {
    /// What logs and metrics call it.
    pub name: String,
    /// What its tokens must be like.
    pub rules: Rules,
    /// Where its keys are, instead of where its metadata says.
    pub keys_url: Option<String>,
    /// How old keys may be before its tokens cannot be checked any more. At most [`MAX_KEYS_AGE`].
    pub keys_max_age: Duration,
    /// Whether proofs are taken, or demanded.
    pub proofs: Proofs,
    /// How to ask about tokens; `None`: it is never asked, and opaque tokens are not known.
    pub introspection: Option<IntrospectionSettings>,
    /// Whom to believe that it is the one at its address.
    pub roots: Roots,
}

/// Whether tokens may, or must, be bound to a key (RFC 9449).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proofs {
    /// Bound tokens are refused: nobody said at which address proofs are for us.
    #[default]
    Never,
    /// Those that are bound need a proof.
    Optional,
    /// All need one; those that are bound to a client certificate are fine as well.
    Required,
}

/// How to ask an issuer about a token (RFC 7662).
#[derive(Clone, PartialEq)]
pub struct IntrospectionSettings {
    /// Where, instead of where its metadata says.
    pub url: Option<String>,
    /// As whom.
    pub client_id: String,
    /// And how that is shown.
    pub client_secret: Zeroizing<String>,
    /// Whether opaque tokens are asked about here.
    pub opaque: bool,
    /// Whether signed ones are asked about as well, so that a revoked one ends before it expires.
    pub signed: bool,
    /// How long an answer counts. At most [`MAX_INTROSPECTION_AGE`].
    pub max_age: Duration,
}

/// Settings that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not an address.
    #[error("{0} is no https:// address (http:// is for 127.0.0.1, [::1] and localhost)")]
    Url(&'static str),
    /// An issuer's identifier has neither query nor fragment (RFC 8414 §2).
    #[error("url must have neither `?` nor `#`")]
    Identifier,
    /// Not within its bounds.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// Nothing to choose from.
    #[error("{0} is empty")]
    Empty(&'static str),
}

/// An issuer, with what is known of it now.
pub struct Issuer {
    settings: IssuerSettings,
    keys: Keys,
    introspection: Option<Introspection>,
    clock: Clock,
}

impl Issuer {
    /// Nothing is fetched yet.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn new(settings: IssuerSettings, clock: Clock) -> Result<Self, SettingsError> {
        settings.check()?;
        let fetcher = Fetcher::new(settings.roots.config());
        let discovery = Arc::new(Discovery::new(&settings.rules.issuer, fetcher.clone()));
        let address = |url: &Option<String>, what| {
            url.as_ref().map(|url| Address::parse(url).ok_or(SettingsError::Url(what))).transpose()
        };
        let keys_url = address(&settings.keys_url, "keys_url")?;
        let keys = Keys::new(fetcher.clone(), discovery.clone(), keys_url, settings.keys_max_age);
        let introspection = settings.introspection.as_ref().map(|asked| {
            let url = address(&asked.url, "introspection.url")?;
            Ok(Introspection::new(fetcher, discovery, url, asked))
        });
        Ok(Self { introspection: introspection.transpose()?, keys, settings, clock })
    }

    /// What the operator said of it.
    pub fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn now(&self) -> u64 {
        seconds((self.clock)())
    }

    /// How long an answer of the issuer counts where it is asked about such a token; `None` where it is not.
    pub(crate) fn asked_about(&self, is_signed: bool) -> Option<Duration> {
        let asked = self.settings.introspection.as_ref();
        asked.filter(|it| if is_signed { it.signed } else { it.opaque }).map(|it| it.max_age)
    }

    /// A token that is signed, as it says by this issuer; and by which generation of its keys.
    pub(crate) async fn verify(
        self: &Arc<Self>,
        token: &str,
    ) -> Result<(AccessToken, Option<u64>), TokenError> {
        let (claims, generation) = self.verified(token).await?;
        let known = self.settings.rules.claims(&claims, self.now(), true)?;
        self.confirm(token).await?;
        Ok((known, Some(generation)))
    }

    /// A token that only its issuer understands.
    pub(crate) async fn ask(&self, token: &str) -> Result<AccessToken, TokenError> {
        let answer = self.answer(token).await?;
        self.settings.rules.claims(&answer, self.now(), false)
    }

    /// A token of either kind that is shown to somebody else.
    pub(crate) async fn examine(
        self: &Arc<Self>,
        token: &str,
        is_signed: bool,
    ) -> Result<Examined, TokenError> {
        let rules = &self.settings.rules;
        if !is_signed {
            return rules.examined(&self.answer(token).await?, self.now(), false);
        }
        let (claims, _) = self.verified(token).await?;
        let examined = rules.examined(&claims, self.now(), true)?;
        self.confirm(token).await?;
        Ok(examined)
    }

    async fn verified(self: &Arc<Self>, token: &str) -> Result<(Object, u64), TokenError> {
        let admitted = self.settings.rules.admit(Jws::parse(token)?)?;
        let (keys, generation) = self.keys.for_token(self, |keys| admitted.key(keys).is_some()).await?;
        Ok((admitted.verify(&keys)?, generation))
    }

    /// Whether a signed token still counts for its issuer, if it is to be asked.
    async fn confirm(&self, token: &str) -> Result<(), TokenError> {
        if self.asked_about(true).is_none() {
            return Ok(());
        }
        let is_active = self.introspect(token).await?.get("active") == Some(&serde_json::Value::Bool(true));
        is_active.then_some(()).ok_or(TokenError::Inactive)
    }

    async fn answer(&self, token: &str) -> Result<Object, TokenError> {
        let answer = self.introspect(token).await?;
        self.settings.rules.answered(&answer)?;
        Ok(answer)
    }

    async fn introspect(&self, token: &str) -> Result<Object, TokenError> {
        let introspection = self.introspection.as_ref().ok_or(TokenError::Opaque)?;
        introspection.ask(token).await.map_err(|error| {
            metrics::counter!("graven_issuer_failures_total", "issuer" => self.settings.name.clone(), "what" => "introspection")
                .increment(1);
            tracing::warn!(issuer = self.settings.name, %error, "an issuer does not answer about a token");
            TokenError::Unavailable(Outage::Introspection)
        })
    }
}

impl IssuerSettings {
    fn check(&self) -> Result<(), SettingsError> {
        let identifier = &self.rules.issuer;
        Address::parse(identifier).ok_or(SettingsError::Url("url"))?;
        if identifier.contains(['?', '#']) {
            return Err(SettingsError::Identifier);
        }
        let within = |what, it: Duration, least: u64, most: Duration| {
            (it >= Duration::from_secs(least) && it <= most).then_some(()).ok_or(SettingsError::Range(what))
        };
        within("leeway_s", self.rules.leeway, 0, crate::MAX_LEEWAY)?;
        within("keys_max_age_s", self.keys_max_age, 60, MAX_KEYS_AGE)?;
        if let Some(asked) = &self.introspection {
            within("introspection.max_age_s", asked.max_age, 1, MAX_INTROSPECTION_AGE)?;
            let is_empty = |it: &str| it.is_empty();
            if is_empty(&asked.client_id) || is_empty(&asked.client_secret) {
                return Err(SettingsError::Empty("introspection.client_id or its secret"));
            }
        }
        if self.rules.audiences.is_empty() || self.rules.audiences.iter().any(String::is_empty) {
            return Err(SettingsError::Empty("audience"));
        }
        if self.rules.algorithms.is_empty() { Err(SettingsError::Empty("algorithms")) } else { Ok(()) }
    }
}

/// Without the secret.
impl fmt::Debug for IntrospectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionSettings")
            .field("url", &self.url)
            .field("client_id", &self.client_id)
            .field("opaque", &self.opaque)
            .field("signed", &self.signed)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
