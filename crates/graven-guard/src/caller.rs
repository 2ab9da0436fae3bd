//! Who calls, and how that is found out.

use std::fmt;
use std::time::SystemTime;

use http::request::Parts;

/// Who calls.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The application: its OAuth client id.
    pub client: String,
    /// The person in whose name, where there is one.
    pub subject: Option<String>,
    /// The token that was shown, where one was. Without it the decision is about client and subject alone.
    pub token: Option<ShownToken>,
}

/// What is known of a token that was found good. The token itself is not among it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ShownToken {
    /// Its `jti`: by this it is revoked. Some issuers let an opaque token be its own, so it is to be kept as secret as that.
    pub id: String,
    /// Its `iss`.
    pub issuer: String,
    /// Its `iat`. A token whose age is not known is refused for scopes that were ever rotated.
    pub issued: Option<SystemTime>,
    /// Its `exp`.
    pub expires: Option<SystemTime>,
    /// Its `scope`. None: it is good for nothing.
    pub scopes: Vec<String>,
}

/// Without a person: what can be printed is printed, some day, to a log.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, token, .. } = self;
        f.debug_struct("Caller").field("client", client).field("token", token).finish_non_exhaustive()
    }
}

/// Likewise, without its identifier.
impl fmt::Debug for ShownToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShownToken").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Why it is not known who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Nobody said so.
    Missing,
    /// What was shown does not count.
    Invalid,
    /// It cannot be told now.
    Unavailable,
}

/// Finds out who calls, from the head of a request. It is asked before anything else is done for the request, and has
/// [`GuardOptions::patience`](crate::GuardOptions::patience) at most.
///
/// Any function from the head to a [`Caller`] is one.
pub trait Identify: Send + Sync + 'static {
    /// Who calls.
    ///
    /// # Errors
    /// It is not known: the request is refused.
    fn identify(&self, request: &Parts) -> impl Future<Output = Result<Caller, Unknown>> + Send;
}

/// Takes the [`Caller`] that a layer before this one put into the request's extensions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known;

impl Identify for Known {
    async fn identify(&self, request: &Parts) -> Result<Caller, Unknown> {
        request.extensions.get().cloned().ok_or(Unknown::Missing)
    }
}

impl<F> Identify for F
where
    F: Fn(&Parts) -> Result<Caller, Unknown> + Send + Sync + 'static,
{
    async fn identify(&self, request: &Parts) -> Result<Caller, Unknown> {
        self(request)
    }
}
