//! Credentials: tokens of which only the hash is kept, names in client certificates, and issuers of access tokens.
//!
//! ```toml
//! [[token]]                                  # Authorization: Bearer gvn_…
//! name = "ci"                                # stands in answers and logs
//! sha256 = "9f86d081884c7d65…"               # of the whole token, 64 hex digits
//! grants = ["append:audit", "read:*"]
//! expires = 2027-01-01T00:00:00Z             # optional
//!
//! [[client]]                                 # a client certificate (mTLS)
//! name = "gateway"
//! san = "spiffe://example.com/gateway"       # one of its DNS names or URIs
//! grants = ["append:audit"]
//! ```
//!
//! `[[issuer]]`: see `access/issuers.rs`.
//!
//! A token is 32 random bytes, so a plain hash hides it, and looking the hash up says nothing about tokens that are
//! close to it. The file holds no secret; who may write to it decides who may do what.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use graven_auth::{Accepted, Examined, Scheme, Shown, TokenError, Validator};
use serde::Deserialize;

use super::issuers::{self, IssuerEntry};
use super::token;
use super::{Access, Caller, Denied, Grant, GrantError, Identifying, KnownBy, Presented};

/// What answers and logs call somebody.
const MAX_NAME_BYTES: usize = 128;
/// Entries of one file.
const MAX_CREDENTIALS: usize = 10_000;

/// Who may do what, as a file says.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    tokens: HashMap<[u8; 32], Caller>,
    clients: HashMap<String, Caller>,
    issuers: Arc<[IssuerEntry]>,
    /// Without it, no access token is known.
    validator: Option<Validator>,
}

/// Credentials that can be exchanged while calls go on.
#[derive(Debug)]
pub struct Keyring(ArcSwap<Credentials>);

/// A file that gives no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Not such a file.
    #[error("line {line}: {what}")]
    Toml {
        /// Where, from 1.
        line: usize,
        /// What is wrong, without anything that stands there: that may be a token, put where its hash belongs.
        what: String,
    },
    /// A hash that is none.
    #[error("token `{0}`: sha256 must have 64 hex digits: `graven token new` makes it")]
    Digest(String),
    /// A time that cannot be read.
    #[error("token `{0}`: expires must be a date with time and offset, such as 2027-01-01T00:00:00Z")]
    Expires(String),
    /// A grant that is none.
    #[error("`{name}`: {error}")]
    Grant {
        /// Whose.
        name: String,
        /// What is wrong.
        error: GrantError,
    },
    /// The same name, token or certificate twice.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// An entry without a name, or with one that cannot be shown.
    #[error(
        "every token and client needs a name of 1 to {MAX_NAME_BYTES} visible ASCII bytes: it stands in answers and logs"
    )]
    Nameless,
    /// An issuer that cannot be trusted like this.
    #[error("issuer `{name}`: {what}")]
    Issuer {
        /// Which.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Too many.
    #[error("{0} credentials are too many: at most {MAX_CREDENTIALS}")]
    TooMany(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<TokenEntry>,
    #[serde(default)]
    client: Vec<ClientEntry>,
    #[serde(default)]
    issuer: Vec<IssuerEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: String,
    sha256: String,
    grants: Vec<String>,
    expires: Option<toml::value::Datetime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientEntry {
    name: String,
    san: String,
    grants: Vec<String>,
}

impl Credentials {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// It is no such file; the error names the entry at fault.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        let file: File = toml::from_str(text).map_err(|error| misread(text, &error))?;
        let count = file.token.len() + file.client.len() + file.issuer.len();
        if count > MAX_CREDENTIALS {
            return Err(CredentialsError::TooMany(count));
        }
        let mut names = std::collections::HashSet::new();
        let mut named = |name: &str| {
            if !(1..=MAX_NAME_BYTES).contains(&name.len())
                || !name.bytes().all(|byte| byte.is_ascii_graphic())
            {
                return Err(CredentialsError::Nameless);
            }
            if !names.insert(name.to_owned()) {
                return Err(CredentialsError::Twice(name.to_owned()));
            }
            Ok(())
        };
        for issuer in &file.issuer {
            named(issuer.name())?;
        }
        IssuerEntry::check(&file.issuer)?;
        let mut caller = |name: &str, grants: &[String], by| {
            named(name)?;
            let grants: Result<Vec<Grant>, _> = grants.iter().map(|grant| grant.parse()).collect();
            let grants = grants.map_err(|error| CredentialsError::Grant { name: name.to_owned(), error })?;
            Ok(Caller::known(name, grants, by))
        };
        let mut credentials = Self { issuers: file.issuer.into(), ..Self::default() };
        for TokenEntry { name, sha256, grants, expires } in file.token {
            let caller = caller(&name, &grants, KnownBy::Token)?;
            let digest = unhex(&sha256).ok_or_else(|| CredentialsError::Digest(name.clone()))?;
            let expires = expires.map(|at| time(&at).ok_or_else(|| CredentialsError::Expires(name.clone())));
            let caller = caller.until(expires.transpose()?);
            if credentials.tokens.insert(digest, caller).is_some() {
                return Err(CredentialsError::Twice(sha256));
            }
        }
        for ClientEntry { name, san, grants } in file.client {
            let caller = caller(&name, &grants, KnownBy::Certificate)?;
            if credentials.clients.insert(san.clone(), caller).is_some() {
                return Err(CredentialsError::Twice(san));
            }
        }
        Ok(credentials)
    }

    /// With what checks the tokens of [`issuers`](Self::issuers). Without it none of them counts.
    #[must_use]
    pub fn with_validator(mut self, validator: Validator) -> Self {
        self.validator = Some(validator);
        self
    }

    /// What checks them now.
    pub fn validator(&self) -> Option<&Validator> {
        self.validator.as_ref()
    }

    /// The issuers that the file names.
    pub fn issuers(&self) -> &[IssuerEntry] {
        &self.issuers
    }

    /// How many tokens, clients and issuers there are.
    pub fn len(&self) -> usize {
        self.tokens.len() + self.clients.len() + self.issuers.len()
    }

    /// Whether nobody may do anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a client certificate can be of use.
    pub fn knows_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// The names of the tokens that have expired, or will within this time.
    pub fn expiring_within(&self, time: Duration) -> Vec<&str> {
        let by = SystemTime::now() + time;
        let soon = self.tokens.values().filter(|caller| caller.expires().is_some_and(|at| at <= by));
        soon.filter_map(Caller::name).collect()
    }

    fn identify(&self, presented: &Presented<'_>) -> Identifying {
        let shown = match presented.token() {
            Ok(Some(shown)) => shown,
            Ok(None) => return Identifying::Known(Ok(self.by_certificate(presented))),
            Err(denied) => return Identifying::Known(Err(denied)),
        };
        if let Some(known) = self.tokens.get(&shown.token_hash) {
            return Identifying::Known(shown_by(known, &shown));
        }
        match &self.validator {
            // What begins like ours is ours, and nobody else learns of it.
            Some(validator) if !token::is_ours(&shown.token) => self.by_issuer(validator, shown),
            _ => Identifying::Known(Err(Denied::Invalid)),
        }
    }

    fn by_certificate(&self, presented: &Presented<'_>) -> Caller {
        let names = presented.peer.map(|peer| &peer.names[..]).unwrap_or_default();
        let known = names.iter().find_map(|name| self.clients.get(name));
        known.cloned().unwrap_or_else(Caller::anonymous)
    }

    fn by_issuer(&self, validator: &Validator, shown: Shown<'_>) -> Identifying {
        if let Some(known) = validator.recall(&shown) {
            return Identifying::Known(known.map(|it| of_token(&self.issuers, it)).map_err(Denied::Token));
        }
        let (validator, issuers, shown) = (validator.clone(), self.issuers.clone(), shown.into_owned());
        Identifying::Asking(Box::pin(async move { Ok(of_token(&issuers, validator.accept(&shown).await?)) }))
    }
}

/// Who shows a token of the operator's.
fn shown_by(known: &Caller, shown: &Shown<'_>) -> Result<Caller, Denied> {
    // It is bound to no key, so nothing can prove one.
    if shown.scheme != Scheme::Bearer || shown.proof.is_some() {
        return Err(Denied::Invalid);
    }
    let is_over = known.expires().is_some_and(|at| at <= SystemTime::now());
    if is_over { Err(Denied::Expired) } else { Ok(known.clone()) }
}

/// Whoever has such a token may do what its scopes say, and goes by its issuer's name: its own is nothing for logs.
fn of_token(issuers: &[IssuerEntry], Accepted { token, issuer }: Accepted) -> Caller {
    let name = issuer.settings().name.as_str();
    let entry = issuers.iter().find(|entry| entry.name() == name);
    let grants = entry.map(|entry| issuers::grants(&token.scopes, entry.scope_prefix())).unwrap_or_default();
    let expires = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(token.expires));
    Caller::known(name, grants, KnownBy::OAuth(token)).until(expires)
}

impl Keyring {
    /// A ring with these.
    pub fn new(credentials: Credentials) -> Self {
        Self(ArcSwap::from_pointee(credentials))
    }

    /// Those in use.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.0.load_full()
    }

    /// Puts others in their place: they count from the next call on.
    pub fn replace(&self, credentials: Credentials) {
        self.0.store(Arc::new(credentials));
    }
}

impl Access for Keyring {
    fn identify(&self, presented: &Presented<'_>) -> Identifying {
        self.0.load().identify(presented)
    }

    fn examine(&self, token: &str) -> BoxFuture<'static, Result<Examined, TokenError>> {
        let validator = self.0.load().validator.clone();
        // What begins like ours is ours, and nobody else learns of it.
        match validator.filter(|_| !token::is_ours(token)) {
            Some(validator) => {
                let token = token.to_owned();
                Box::pin(async move { validator.examine(&token).await })
            }
            None => Box::pin(std::future::ready(Err(TokenError::Issuer))),
        }
    }
}

/// Where a file is wrong. Only what cannot hold a secret is repeated: names of keys that we know.
fn misread(text: &str, error: &toml::de::Error) -> CredentialsError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let what = match error.message() {
        known if known.starts_with("missing field") => known,
        _ => {
            "not understood: a [[token]] has name, sha256, grants and perhaps expires, a [[client]] name, san and grants, an \
             [[issuer]] name, url, audience and more"
        }
    };
    CredentialsError::Toml { line: 1 + before.matches('\n').count(), what: what.to_owned() }
}

fn time(at: &toml::value::Datetime) -> Option<SystemTime> {
    humantime::parse_rfc3339(&at.to_string()).ok()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Ask, Permission, Token};
    use graven_auth::MAX_TOKEN_BYTES;
    use graven_log::LogName;
    use graven_net::Peer;
    use http::HeaderMap;
    use http::header::AUTHORIZATION;

    fn file(token: &Token, extra: &str) -> String {
        format!(
            "[[token]]\nname = \"ci\"\nsha256 = \"{}\"\ngrants = [\"append:audit\"]\n{extra}",
            token.digest()
        )
    }

    fn with(authorization: &[&str], names: &[&str], credentials: &Credentials) -> Result<Caller, Denied> {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let peer = Peer { address: "127.0.0.1:1".parse().unwrap(), names, certificate: None };
        let (method, path) = (&http::Method::GET, "/");
        match credentials.identify(&Presented { method, path, headers: &headers, peer: Some(&peer) }) {
            Identifying::Known(known) => known,
            Identifying::Asking(_) => panic!("nobody else is asked about such credentials"),
        }
    }

    #[test]
    fn a_token_opens_what_it_was_granted() {
        let token = Token::new(&[7; 32]);
        let credentials = Credentials::parse(&file(&token, "")).unwrap();
        let caller = with(&[&format!("Bearer {}", token.expose())], &[], &credentials).unwrap();
        assert_eq!(caller.name(), Some("ci"));
        let (audit, other) = (LogName::new("audit").unwrap(), LogName::new("other").unwrap());
        let may = |permission, log| {
            Keyring::new(credentials.clone()).permit(&caller, &Ask { log: Some(log), permission })
        };
        assert_eq!(may(Permission::Append, &audit), Ok(()));
        assert_eq!(
            may(Permission::Append, &other).unwrap_err().to_string(),
            "ci may not do this: it needs the grant `append:other`"
        );
        assert!(may(Permission::Read, &audit).is_err());
    }

    #[test]
    fn whoever_shows_something_must_be_right() {
        let token = Token::new(&[7; 32]);
        let credentials = Credentials::parse(&file(&token, "")).unwrap();
        let good = format!("Bearer {}", token.expose());
        for wrong in [
            vec!["Bearer gvn_x"],
            vec!["Bearer "],
            vec!["Bearer"],
            vec!["Basic Y2k6Y2k="],
            vec![&good[..], &good[..]],
            vec![&good[..good.len() - 1]],
        ] {
            assert_eq!(with(&wrong, &[], &credentials).unwrap_err(), Denied::Invalid, "{wrong:?}");
        }
        let long = format!("Bearer {}", "x".repeat(MAX_TOKEN_BYTES + 1));
        assert_eq!(with(&[&long], &[], &credentials).unwrap_err(), Denied::Invalid);
        assert!(with(&[], &[], &credentials).unwrap().name().is_none());
    }

    #[test]
    fn a_token_ends_when_it_says() {
        let token = Token::new(&[7; 32]);
        let bearer = format!("bearer {}", token.expose());
        let past = Credentials::parse(&file(&token, "expires = 2020-01-01T00:00:00Z")).unwrap();
        assert_eq!(with(&[&bearer], &[], &past).unwrap_err(), Denied::Expired);
        assert_eq!(past.expiring_within(Duration::ZERO), ["ci"]);
        let future = Credentials::parse(&file(&token, "expires = 2920-01-01T00:00:00Z")).unwrap();
        assert!(with(&[&bearer], &[], &future).is_ok());
    }

    #[test]
    fn a_certificate_is_known_by_its_names() {
        let text =
            "[[client]]\nname = \"gateway\"\nsan = \"spiffe://example.com/gateway\"\ngrants = [\"read:*\"]";
        let credentials = Credentials::parse(text).unwrap();
        let caller =
            with(&[], &["gateway.example.com", "spiffe://example.com/gateway"], &credentials).unwrap();
        assert_eq!(caller.name(), Some("gateway"));
        assert!(with(&[], &["example.com"], &credentials).unwrap().name().is_none());
        // A token that is wrong is not made good by a certificate.
        assert!(with(&["Bearer x"], &["spiffe://example.com/gateway"], &credentials).is_err());
    }

    #[test]
    fn a_file_with_a_mistake_gives_nobody_anything() {
        let token = Token::new(&[7; 32]);
        let twice = format!("{}{}", file(&token, ""), file(&token, "").replace("ci", "cd"));
        for (text, says) in [
            (file(&token, "expires = 2027-01-01"), "offset"),
            (file(&token, "").replace("append:audit", "write:audit"), "write:audit"),
            (file(&token, "").replace("name = \"ci\"", "name = \"\""), "name"),
            (file(&token, "scope = \"x\""), "line 5: not understood"),
            ("[[token]]\nname = \"ci\"".to_owned(), "missing field"),
            (file(&token, "").replace("\"ci\"", "\"a\\nb\""), "visible"),
            (file(&token, "").replace("sha256 = \"", "sha256 = \"x"), "64 hex"),
            (twice, "twice"),
            ("[[tokens]]".to_owned(), "line 1"),
        ] {
            let error = Credentials::parse(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_token_in_the_wrong_place_is_not_repeated() {
        for slip in [
            "token = \"gvn_secret\"",
            "gvn_secret",
            "gvn_secret = 1",
            "[[token]]\nname = gvn_secret",
            "[[token]]\nname = \"x\"\ngrants = \"gvn_secret\"",
            "[gvn_secret]",
        ] {
            let said = Credentials::parse(slip).unwrap_err().to_string();
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
