//! Who calls, and how that is found out.

use std::fmt;

use graven_client::scopes::ShownToken;
use http::request::Parts;

/// Who calls.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The application: its OAuth client id.
    pub client: String,
    /// The person in whose name, where there is one: `alice`, or `user:` and whatever the issuer calls them.
    pub subject: Option<String>,
    /// What is known of the token that was shown, where one was: it was found good, and it is not among what is known. Without it the decision is about client and subject alone.
    pub token: Option<ShownToken>,
}

/// Without a person or a token: what can be printed is printed, some day, to a log.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("client", &self.client).finish_non_exhaustive()
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
