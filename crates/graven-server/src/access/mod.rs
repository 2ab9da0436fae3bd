//! Who calls, and may they do this: the one seam through which every call goes.
//!
//! A caller is identified once, when a request's headers are there and before anything else is read of it. What they may
//! do is asked once for each call, before it is looked whether the log exists. Nobody may do anything that no grant
//! names.

mod credentials;
mod grant;

use std::sync::Arc;

use graven_log::LogName;
use graven_net::Peer;
use graven_proto::Refusal;
use graven_proto::v1::ErrorReason;
use http::HeaderMap;

pub use credentials::{Credentials, CredentialsError, Keyring, MAX_TOKEN_BYTES, Token};
pub use grant::{Grant, GrantError, Permission};

/// What a caller shows for itself.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
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
    /// Who shows this. Somebody who shows nothing is [`Caller::anonymous`]; whoever shows something must be right.
    ///
    /// # Errors
    /// What is shown is not valid.
    fn identify(&self, presented: &Presented<'_>) -> Result<Caller, Denied>;

    /// Whether this caller may do this.
    ///
    /// # Errors
    /// It may not.
    fn permit(&self, caller: &Caller, ask: &Ask<'_>) -> Result<(), Denied> {
        caller.require(ask)
    }
}

/// Everybody may do everything. For a loopback interface on a machine that one trusts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Access for Open {
    fn identify(&self, _: &Presented<'_>) -> Result<Caller, Denied> {
        Ok(Caller::everybody())
    }
}

impl Caller {
    /// Nobody in particular: may do nothing.
    pub fn anonymous() -> Self {
        Self { name: None, grants: Arc::default() }
    }

    /// Anybody, where everybody may do everything.
    pub fn everybody() -> Self {
        Self { name: Some("everybody".into()), grants: Grant::all().into() }
    }

    /// Somebody with these grants.
    pub fn named(name: impl Into<Arc<str>>, grants: impl Into<Arc<[Grant]>>) -> Self {
        Self { name: Some(name.into()), grants: grants.into() }
    }

    /// The name that the operator gave; `None` for [`anonymous`](Self::anonymous).
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
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
            Self::Permission { .. } => "permission",
        }
    }

    /// The refusal, counted.
    pub(crate) fn refusal(&self) -> Refusal {
        metrics::counter!("graven_auth_refusals_total", "reason" => self.label()).increment(1);
        tracing::debug!(reason = self.label(), "refused");
        let reason = match self {
            Self::Missing => ErrorReason::CredentialsMissing,
            Self::Invalid | Self::Expired => ErrorReason::CredentialsInvalid,
            Self::Permission { .. } => ErrorReason::PermissionMissing,
        };
        Refusal::new(reason, self.to_string())
    }
}
