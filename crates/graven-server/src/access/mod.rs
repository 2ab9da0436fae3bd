//! Who calls, and may they do this: the one seam through which every call goes.
//!
//! A caller is identified once, when a request's headers are there and before anything else is read of it. What they may
//! do is asked once for each call, before it is looked whether the log exists. Nobody may do anything that no grant
//! names.

mod credentials;
mod grant;
mod issuers;
mod presented;
mod token;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use graven_auth::{AccessToken, Binding, Examined, TokenError};
use graven_log::LogName;
use graven_net::Peer;
use graven_proto::Refusal;
use graven_proto::v1::ErrorReason;
use http::{HeaderMap, HeaderValue, Method};

pub use credentials::{Credentials, CredentialsError, Keyring};
pub use grant::{Grant, GrantError, Permission};
pub use issuers::IssuerEntry;
pub use token::Token;

/// When to try again where an issuer is out of reach: it is asked no sooner.
const ISSUER_AGAIN: Duration = Duration::from_secs(10);

/// What a caller shows for itself.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The request's path, without its query.
    pub path: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The other end of its connection; `None` where that is not known.
    pub peer: Option<&'a Peer>,
}

/// Somebody who was identified, or nobody in particular.
#[derive(Clone, Debug)]
pub struct Caller {
    name: Option<Arc<str>>,
    grants: Arc<[Grant]>,
    by: KnownBy,
    /// When its credentials are over.
    until: Option<SystemTime>,
}

/// How a caller is known.
#[derive(Clone, Debug)]
pub enum KnownBy {
    /// Not at all: nobody asks here, or nothing was shown.
    Nothing,
    /// A token of the operator's.
    Token,
    /// A client certificate.
    Certificate,
    /// An access token of an issuer: on whose behalf, which client, for what. None of it may stand in a log or a metric.
    OAuth(Arc<AccessToken>),
}

/// The answer to who somebody is: at once, or after somebody else was asked.
pub enum Identifying {
    /// At once.
    Known(Result<Caller, Denied>),
    /// Later.
    Asking(BoxFuture<'static, Result<Caller, Denied>>),
}

/// One call's wish.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The log; `None` where the call is about all of them.
    pub log: Option<&'a LogName>,
    /// What it wants.
    pub permission: Permission,
}

/// Why a call does not go on. Never says whether a log exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing that could be checked was shown.
    #[error(
        "no credentials: send `authorization: Bearer TOKEN`, or use a client certificate that this server lists"
    )]
    Missing,
    /// What was shown is not known here.
    #[error("these credentials are not valid here: ask the operator for a token (`graven token new`)")]
    Invalid,
    /// What was shown is too old.
    #[error("this token has expired: ask the operator for a new one (`graven token new`)")]
    Expired,
    /// An access token that does not count.
    #[error("{0}")]
    Token(#[from] TokenError),
    /// The caller is known and may not do this.
    #[error("{caller} may not do this: it needs the grant `{needed}`")]
    Permission {
        /// The name that the operator gave the credentials.
        caller: String,
        /// The grant that is missing.
        needed: Grant,
    },
}

/// Says who callers are and what they may do.
pub trait Access: Send + Sync + 'static {
    /// Who shows this. Somebody who shows nothing is [`Caller::anonymous`]; whoever shows something must be right, or is
    /// denied.
    fn identify(&self, presented: &Presented<'_>) -> Identifying;

    /// Whether this caller may do this.
    ///
    /// # Errors
    /// It may not.
    fn permit(&self, caller: &Caller, ask: &Ask<'_>) -> Result<(), Denied> {
        caller.require(ask)
    }

    /// What an access token says that a caller was shown and asks about, if it is of an issuer that is known here. It lets nobody in.
    fn examine(&self, token: &str) -> BoxFuture<'static, Result<Examined, TokenError>> {
        let _ = token;
        Box::pin(std::future::ready(Err(TokenError::Issuer)))
    }
}

/// Everybody may do everything. For a loopback interface on a machine that one trusts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Access for Open {
    fn identify(&self, _: &Presented<'_>) -> Identifying {
        Identifying::Known(Ok(Caller::everybody()))
    }
}

impl Caller {
    /// Nobody in particular: may do nothing.
    pub fn anonymous() -> Self {
        Self { name: None, grants: Arc::default(), by: KnownBy::Nothing, until: None }
    }

    /// Anybody, where everybody may do everything.
    pub fn everybody() -> Self {
        Self::known("everybody", Grant::all(), KnownBy::Nothing)
    }

    /// Somebody with these grants and no others.
    pub fn known(name: impl Into<Arc<str>>, grants: impl Into<Arc<[Grant]>>, by: KnownBy) -> Self {
        Self { name: Some(name.into()), grants: grants.into(), by, until: None }
    }

    /// The same, by credentials that are over then: nothing that it begins goes on for longer.
    #[must_use]
    pub fn until(self, time: Option<SystemTime>) -> Self {
        Self { until: time, ..self }
    }

    /// The name that the operator gave: of the credentials, or of the issuer. `None` for [`anonymous`](Self::anonymous).
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// When its credentials are over; `None`: they do not say.
    pub fn expires(&self) -> Option<SystemTime> {
        self.until
    }

    /// What it is told then.
    pub(crate) fn expired(&self) -> Denied {
        match self.by {
            KnownBy::OAuth(_) => Denied::Token(TokenError::Expired),
            KnownBy::Nothing | KnownBy::Token | KnownBy::Certificate => Denied::Expired,
        }
    }

    /// How the caller is known.
    pub fn known_by(&self) -> &KnownBy {
        &self.by
    }

    fn require(&self, ask: &Ask<'_>) -> Result<(), Denied> {
        let Some(name) = &self.name else { return Err(Denied::Missing) };
        if self.grants.iter().any(|grant| grant.covers(ask)) {
            return Ok(());
        }
        Err(Denied::Permission { caller: name.to_string(), needed: Grant::for_ask(ask) })
    }
}

impl Denied {
    /// One word for metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Token(error) => error.label(),
            Self::Permission { .. } => "permission",
        }
    }

    /// The refusal, counted.
    pub(crate) fn refusal(&self) -> Refusal {
        metrics::counter!("graven_auth_refusals_total", "reason" => self.label()).increment(1);
        tracing::debug!(reason = self.label(), "refused");
        let reason = match self {
            Self::Missing => ErrorReason::CredentialsMissing,
            Self::Token(error) if error.is_outage() => ErrorReason::IssuerUnreachable,
            Self::Invalid | Self::Expired | Self::Token(_) => ErrorReason::CredentialsInvalid,
            Self::Permission { .. } => ErrorReason::PermissionMissing,
        };
        let refusal = Refusal::new(reason, self.to_string());
        if reason == ErrorReason::IssuerUnreachable {
            refusal.with_retry_after(ISSUER_AGAIN)
        } else {
            refusal
        }
    }

    /// What HTTP says of it (RFC 6750 §3, RFC 9449 §7.1); `None` where the caller is not at fault.
    pub(crate) fn challenge(&self) -> Option<HeaderValue> {
        Some(HeaderValue::from_static(match self {
            // Whoever shows nothing is told no error (RFC 6750 §3.1).
            Self::Missing => "Bearer realm=\"graven\"",
            Self::Token(error) if error.is_outage() => return None,
            Self::Token(TokenError::Proof(_)) => {
                "DPoP realm=\"graven\", algs=\"ES256 EdDSA RS256 PS256\", error=\"invalid_dpop_proof\""
            }
            Self::Token(TokenError::Binding(
                Binding::ProofMissing | Binding::OtherKey | Binding::Demanded,
            )) => "DPoP realm=\"graven\", algs=\"ES256 EdDSA RS256 PS256\", error=\"invalid_token\"",
            Self::Invalid | Self::Expired | Self::Token(_) => {
                "Bearer realm=\"graven\", error=\"invalid_token\""
            }
            Self::Permission { .. } => "Bearer realm=\"graven\", error=\"insufficient_scope\"",
        }))
    }
}

impl Identifying {
    /// The answer, once it is there.
    ///
    /// # Errors
    /// What is shown is not valid, or whether it is cannot be told now.
    pub async fn answer(self) -> Result<Caller, Denied> {
        match self {
            Self::Known(known) => known,
            Self::Asking(asking) => asking.await,
        }
    }
}
