//! The layer, and the service that it makes.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tonic::server::NamedService;
use tower::{Layer, Service};

use crate::question::question;
use crate::refuse::{Refused, is_grpc};
use crate::rules::Rule;
use crate::{Allowed, Checker, GuardOptions, Identify, Need, Rules};

/// Puts a guard before services. Its clones, and the guards that they make, share one count of what is in flight.
pub struct GuardLayer<I, C>(Arc<Post<I, C>>);

/// A service that is reached only by requests that the log allowed, and by those that are public.
pub struct Guard<S, I, C> {
    inner: S,
    post: Arc<Post<I, C>>,
}

/// What the guards of a layer share.
struct Post<I, C> {
    rules: Rules,
    identify: I,
    checker: C,
    options: GuardOptions,
    room: Semaphore,
}

impl<I: Identify, C: Checker> GuardLayer<I, C> {
    /// Guards by these rules. Callers are known as `identify` says, and the log is asked by `checker`.
    pub fn new(rules: Rules, identify: I, checker: C) -> Self {
        Self::with(rules, identify, checker, GuardOptions::default())
    }

    /// The same with other options.
    pub fn with(rules: Rules, identify: I, checker: C, options: GuardOptions) -> Self {
        let room = Semaphore::new(options.in_flight.min(Semaphore::MAX_PERMITS));
        Self(Arc::new(Post { rules, identify, checker, options, room }))
    }
}

impl<S, I, C> Layer<S> for GuardLayer<I, C> {
    type Service = Guard<S, I, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Guard { inner, post: self.0.clone() }
    }
}

impl<S, I, C, B, R> Service<Request<B>> for Guard<S, I, C>
where
    S: Service<Request<B>, Response = Response<R>, Future: Send> + Clone + Send + 'static,
    I: Identify,
    C: Checker,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was polled to be ready is the one that is called; its clone may not be.
        let next = self.inner.clone();
        let (mut inner, post) = (mem::replace(&mut self.inner, next), self.post.clone());
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            match post.admit(&mut head).await {
                Ok(()) => inner.call(Request::from_parts(head, body)).await,
                Err(refused) => Ok(refused.answer(is_grpc(&head))),
            }
        })
    }
}

impl<I: Identify, C: Checker> Post<I, C> {
    /// Lets a request pass, with what allows it.
    async fn admit(&self, head: &mut Parts) -> Result<(), Refused> {
        // An outer guard's word is about what it asked, and counts for nothing here.
        head.extensions.remove::<Allowed>();
        let need = match self.rules.of(&head.method, head.uri.path()).ok_or(Refused::NoRule)? {
            Rule::Public => return Ok(()),
            Rule::Needs(need) => need,
        };
        let _room = self.room.try_acquire().map_err(|_| Refused::Busy)?;
        let deadline = Instant::now() + self.options.patience;
        let decided = timeout_at(deadline, self.decide(head, need, deadline)).await;
        let allowed = decided.unwrap_or_else(|_| {
            tracing::warn!(patience = ?self.options.patience, "a request was refused: it was not decided in time");
            Err(Refused::Unavailable)
        })?;
        head.extensions.insert(allowed);
        Ok(())
    }

    async fn decide(&self, head: &Parts, need: &Need, deadline: Instant) -> Result<Allowed, Refused> {
        let caller = self.identify.identify(head).await.map_err(Refused::Caller)?;
        let from = self.options.address.as_ref().and_then(|address| address(head));
        let asked = question(need, &caller, head, from);
        let patience = deadline.saturating_duration_since(Instant::now());
        let decided = self.checker.check(&asked, patience).await.map_err(|error| {
            // The words of the log are for whoever runs this service, never for whoever calls it.
            tracing::warn!(error = %error, "a request was refused: it cannot be recorded");
            Refused::Unavailable
        })?;
        let (reason, index) = (decided.reason().to_owned(), decided.index());
        let allowed = Allowed::by(decided, caller).ok_or_else(|| Refused::denied(reason, index, need))?;
        if index.is_none() && !self.options.takes_sums {
            tracing::warn!(
                "a request was refused: its decision is recorded later, in a sum, and sums are not taken here"
            );
            return Err(Refused::Unavailable);
        }
        Ok(allowed)
    }
}

impl<S: NamedService, I, C> NamedService for Guard<S, I, C> {
    const NAME: &'static str = S::NAME;
}

impl<I, C> Clone for GuardLayer<I, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Clone, I, C> Clone for Guard<S, I, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), post: self.post.clone() }
    }
}

impl<I, C> fmt::Debug for GuardLayer<I, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardLayer").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, I, C> fmt::Debug for Guard<S, I, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("inner", &self.inner).finish_non_exhaustive()
    }
}
