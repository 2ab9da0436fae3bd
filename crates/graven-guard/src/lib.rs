//! A tower layer that lets a request reach its handler only once the decision that allows it is in the log.
//!
//! ```no_run
//! use graven_client::{Client, ConnectOptions};
//! use graven_guard::{GuardLayer, Need, Rules, Tokens};
//! # use std::convert::Infallible;
//!
//! # async fn example(validator: graven_auth::Validator) -> Result<(), Box<dyn std::error::Error>> {
//! let mut rules = Rules::default();
//! rules.need("POST /docs.v1.Documents/Read", Need::of(["documents:read"]).action("data.read"))?;
//! rules.need("DELETE /documents/{id}", Need::of(["documents:admin"]).action("data.delete"))?;
//! rules.public("POST /grpc.health.v1.Health/Check")?;
//!
//! let log = Client::connect("https://log.example.com:4740", ConnectOptions::default()).await?;
//! let guard = GuardLayer::new(rules, Tokens::new(validator), log.scopes("who"));
//! // `tonic::transport::Server::builder().layer(guard)`, `axum::Router::layer(guard)`, or any other service over HTTP
//! # let _ = tower::Layer::layer(&guard, tower::service_fn(async |_: http::Request<()>| Ok::<_, Infallible>(http::Response::new(()))));
//! # Ok(())
//! # }
//! ```
//!
//! # The steps of a request
//! ```text
//! which rule? ──▶ room? ──▶ who calls? ──▶ CheckAccess ──▶ held against its own leaf ──▶ handler, with `Allowed`
//!     │none           │none       │nobody         │no answer        │not what was asked
//!     ▼               ▼             ▼           ▼                 ▼
//!   denied      unavailable  unauthenticated  unavailable     unavailable                 the handler is never called
//! ```
//!
//! | what happened | gRPC | HTTP |
//! |---|---|---|
//! | the log says no | `PERMISSION_DENIED` | 403 |
//! | no rule names the request | `PERMISSION_DENIED` | 403 |
//! | nobody is known to call, or by a token that does not count | `UNAUTHENTICATED` | 401 |
//! | anything else: the log does not answer in time, cannot record, or answers something else than was asked | `UNAVAILABLE` | 503 |
//!
//! A refusal says why in [`REASON`], and in [`INDEX`] which entry of the log says so, where one does: both are metadata in gRPC and
//! headers in HTTP.
//!
//! # What is promised
//! - **A handler behind a rule runs only with an [`Allowed`]** in its request's extensions, and nothing but this layer makes one. It
//!   stands for a leaf that is durable in the log and says what was asked: this action, these scopes, allowed.
//! - **Whatever cannot be recorded is not done.** There is no way to go on without the log, no list of exceptions for a broken one, and
//!   no allowed answer is remembered: each request has a decision of its own, so a revocation counts from its leaf on.
//! - **What no rule names is refused**, unless it was declared [public](Rules::public) by name.
//! - **Nothing waits for ever, nor without bound**: see [`GuardOptions`].
//!
//! # What is not
//! - The layer decides about the request's head. What its messages ask for (whose document, which field) the handler decides, with
//!   what [`Allowed`] says of the caller.
//! - A stream is checked when it begins. It should not be longer than a revocation may take to count.
//! - That the log allowed a request does not say that it ran: the answer may have come too late. The other way round cannot be.
//! - A leaf is the log's word until a signed head is over it: its hash, in [`Allowed::leaf_hash`], is what an auditor looks for.

mod allowed;
mod caller;
mod check;
mod guard;
mod options;
mod path;
mod question;
mod refuse;
mod rules;
mod tokens;

pub use allowed::Allowed;
pub use caller::{Caller, Identify, Known, Unknown};
pub use check::{Checker, OverChannel};
pub use guard::{Guard, GuardLayer};
pub use options::{Address, GuardOptions};
pub use refuse::{INDEX, REASON};
pub use rules::{Need, RuleError, Rules};
pub use tokens::Tokens;

#[doc(no_inline)]
pub use graven_client::scopes::{Check, Decided, ShownToken};
