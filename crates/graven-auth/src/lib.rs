//! OAuth 2.0 access tokens: who issued them, to whom, for what, and whether they are shown by whom they were made for.
//!
//! ```
//! use graven_auth::{KeySet, Rules, TokenError};
//!
//! # fn example(token: &str, keys: &[u8], now: u64) -> Result<(), TokenError> {
//! let rules = Rules {
//!     issuer: "https://id.example.com".to_owned(),
//!     audiences: vec!["https://log.example.com".to_owned()],
//!     algorithms: vec![graven_auth::Algorithm::Es256],
//!     legacy_type: false,
//!     leeway: std::time::Duration::from_secs(30),
//! };
//! let keys = KeySet::parse(keys).ok_or(TokenError::UnknownKey)?;
//! let token = rules.verify(token, &keys, now)?;
//! assert!(token.expires > now && token.scopes.iter().any(|scope| scope == "graven:read:audit"));
//! # Ok(())
//! # }
//! ```
//!
//! # The pure half
//! [`Rules::verify`], [`verify_proof`] and [`KeySet::parse`] know no clock, socket or file: keys and time are arguments.
//!
//! # The other half
//! A [`Validator`] fetches the keys of its issuers, asks them about tokens where it has to, remembers what it found out, and
//! refuses when it cannot know.
//!
//! ```text
//! Authorization ─▶ remembered? ─▶ signed? ─▶ keys (discovery, JWKS) ─▶ Rules ─┬▶ bound to? ─▶ proof, certificate
//!                                    └▶ opaque ─▶ introspection (RFC 7662) ───┘
//! ```
//!
//! # What must be absent
//! - No key, address or algorithm comes from a token: its issuer must be one of those in the settings, and `kid` only picks among the
//!   keys that this one publishes. `jku`, `x5u`, `x5c` and `jwk` are not read.
//! - No shared secret verifies anything.
//! - No token is taken beyond its `exp`, remembered or not, nor by keys that are older than their limit.
//! - No error, log line or metric has a byte of a token, a claim, a proof or a secret.
//! - Scopes are handed on as they are: what they permit is decided elsewhere.

mod access_token;
mod error;
mod fetch;
mod issuer;
mod json;
mod jws;
mod key;
mod memory;
mod proof;
mod roots;
mod validator;

pub use access_token::{AccessToken, BoundTo, Examined, MAX_LEEWAY, MAX_TOKEN_BYTES, Rules};
pub use error::{Binding, Outage, Proof, TokenError};
pub use issuer::{
    Clock, IntrospectionSettings, Issuer, IssuerSettings, MAX_INTROSPECTION_AGE, MAX_KEYS_AGE, Proofs,
    SettingsError,
};
pub use key::{Algorithm, KeySet, PublicKey};
pub use memory::{MAX_PROOFS, Replays};
pub use proof::{Call, MAX_PROOF_BYTES, PROOF_WINDOW_S, Proven, ServerUrl, verify_proof};
pub use roots::{Roots, RootsError};
pub use validator::{Accepted, Scheme, Shown, Validator};
