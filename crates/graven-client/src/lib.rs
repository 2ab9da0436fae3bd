//! Typed client that hands out verified values only.
//!
//! ```no_run
//! use graven_client::{Client, ConnectOptions, Trust};
//!
//! # async fn example(vkey: &str, entry: &'static [u8]) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:4740", ConnectOptions::default()).await?;
//! let log = client.log("audit", Trust::of_vkeys([vkey])?); // the keys come from the log's operator
//!
//! let proven = log.append(entry).published().await?; // in a signed tree, and checked to be
//! std::fs::write("entry.tlog-proof", proven.bundle().to_string())?; // verifies offline
//!
//! let read = log.entry(proven.index()).await?; // fetched with its proof
//! assert_eq!(read.bytes(), entry);
//! println!("{} entries, root {}", read.head().size(), read.head().root());
//! # Ok(())
//! # }
//! ```
//!
//! # What is checked
//! A [`Trust`] says whose signatures count. From it follow
//!
//! - [`VerifiedHead`]: a tree head with good signatures, consistent with the last one that the
//!   [`HeadStore`] kept. A head that goes back, or contradicts it, is an error ([`HeadError`]).
//! - entries, inclusion and consistency proofs, one by one or many at once: each leads to a verified head.
//! - [`Proven`]: an append with its proof bundle, verified.
//!
//! An append that waits for durability only is answered before there is a signed tree to check it against.
//! [`Acked`] is the server's promise, and is named so; the leaf hash in it was computed here. What a server
//! tells about its logs has no proof either: those types are called [`ReportedLog`] and the like.
//!
//! [`audit`] checks whole logs. It knows no network, so that a folder of tiles is audited without one; [`WebSite`]
//! brings it the tiles of a log that is on the web.
//!
//! [`events`] has what only logs of events have: recording, queries, disclosures, erasure. [`scopes`] has who may do what, [`alerts`] what
//! rules find.
//!
//! [`monitor`] watches a log over years, across restarts. A witness that comes to a log follows its [`Offers`].
//!
//! # Connections
//! `https://` is TLS 1.3 and nothing older. The server's certificate has to be signed by whom the system trusts, or
//! by the [`Roots`] that are given; a [`ClientIdentity`] or a [`BearerToken`] shows who calls. `http://` goes to the
//! loopback interface only, unless [`ConnectOptions::plaintext_anywhere`] says otherwise, and a token never goes
//! further by it.
//!
//! # Limits
//! Proxies named by the environment are not used. Without a [`FileHeadStore`] the last head is
//! forgotten when the program ends, and with it whether the log went back meanwhile.

mod address;
mod admin;
pub mod alerts;
mod append;
pub mod audit;
mod batch;
mod call;
mod connect;
mod credentials;
mod dial;
mod entries;
pub mod events;
mod fault;
mod follow;
mod head;
mod head_store;
mod key;
mod log;
pub mod monitor;
mod offers;
mod prove;
mod range;
mod retry;
mod rotate;
pub mod scopes;
mod stream;
mod tls;
mod trust;
mod watch;
mod web;
mod webhook;

pub use admin::{AdminClient, ReportedHead, ReportedLog};
pub use append::{Acked, Append, AppendError, AppendTarget, Proven, Unproven};
pub use batch::{AckedBatch, AppendBatch, ProvenBatch};
pub use call::CallError;
pub use connect::{Client, ConnectError, ConnectOptions};
pub use credentials::{
    BearerToken, BearerTokenError, CertificatesError, ClientIdentity, MAX_TOKEN_BYTES, RootCertificates,
    Roots,
};
pub use dial::DialError;
pub use entries::{VerifiedEntries, VerifiedEntry};
pub use fault::Fault;
pub use follow::HeadError;
pub use head::VerifiedHead;
pub use head_store::{FileHeadStore, HeadStore, MemoryHeadStore};
pub use key::{IdempotencyKey, IdempotencyKeyError};
pub use log::{Appender, LogClient};
pub use offers::Offers;
pub use prove::{ReadError, VerifiedConsistency, VerifiedMulti, VerifiedProof};
pub use retry::RetryPolicy;
pub use stream::{Acks, StreamAck, StreamClosed, StreamError, StreamSender, UnknownEntry};
pub use tls::TlsProblem;
pub use trust::{ProofRefused, StaleHead, Trust, TrustError, UntrustedHead};
pub use watch::Watch;
pub use web::{WebError, WebOptions, WebSite};
pub use webhook::{Webhook, WebhookSecret};

#[doc(no_inline)]
pub use tonic::Code;

#[doc(no_inline)]
pub use graven_proto::v1::{ErrorReason, LogKind, LogState, Visibility, WitnessLag, WitnessState};
