//! Issuers of OAuth 2.0 access tokens, as the file of credentials names them.
//!
//! ```toml
//! [[issuer]]                                 # Authorization: Bearer or DPoP, with a token of theirs
//! name = "corp"                              # stands in answers and logs, for everybody with such a token
//! url = "https://id.example.com/tenant"      # `iss`, to the letter; its metadata is found from here
//! audience = ["https://log.example.com"]     # one of these must be in `aud`
//! algorithms = ["ES256", "EdDSA", "PS256", "RS256"]
//! typ = "at+jwt"                             # or "legacy": `JWT`, or none, is taken as well
//! scope_prefix = "graven:"                   # scope `graven:append:audit` is the grant `append:audit`
//! leeway_s = 30                              # for `nbf` and `iat`; none for `exp`
//! keys_url = "https://id.example.com/jwks"   # optional: instead of where the metadata says
//! keys_max_age_s = 3600                      # keys that could not be fetched for so long do not count
//! dpop = "optional"                          # or "required"; without it bound tokens are refused
//! ca = "id-ca.pem"                           # instead of the system's CAs
//!
//! [issuer.introspection]                     # without it the issuer is never asked
//! url = "https://id.example.com/introspect"  # optional: instead of where the metadata says
//! client_id = "graven"
//! client_secret_file = "id.secret"           # nobody else may read it
//! opaque = true                              # ask about tokens that are not signed: one issuer at most
//! signed = false                             # ask about signed ones as well: then revocation counts
//! max_age_s = 30                             # and this long at most after it
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use graven_auth::{Algorithm, IntrospectionSettings, IssuerSettings, Proofs, Roots, Rules};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{CredentialsError, Grant};

/// Issuers of one file: each may be asked, by whoever makes up tokens.
const MAX_ISSUERS: usize = 16;

/// One issuer's entry. What it names and does not hold is read by others: see [`settings`](Self::settings).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerEntry {
    name: String,
    url: String,
    audience: Vec<String>,
    #[serde(default = "all_algorithms")]
    algorithms: Vec<String>,
    #[serde(default)]
    typ: Typ,
    #[serde(default = "default_prefix")]
    scope_prefix: String,
    #[serde(default = "default_leeway")]
    leeway_s: u64,
    keys_url: Option<String>,
    #[serde(default = "default_keys_max_age")]
    keys_max_age_s: u64,
    dpop: Option<Dpop>,
    ca: Option<PathBuf>,
    introspection: Option<IntrospectionEntry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntrospectionEntry {
    url: Option<String>,
    client_id: String,
    client_secret_file: PathBuf,
    #[serde(default = "yes")]
    opaque: bool,
    #[serde(default)]
    signed: bool,
    #[serde(default = "default_max_age")]
    max_age_s: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum Typ {
    #[default]
    #[serde(rename = "at+jwt")]
    AccessToken,
    #[serde(rename = "legacy")]
    Legacy,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Dpop {
    Optional,
    Required,
}

impl IssuerEntry {
    /// What the operator calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file with the secret that it is asked by, relative to that of the credentials.
    pub fn secret_file(&self) -> Option<&Path> {
        self.introspection.as_ref().map(|asked| asked.client_secret_file.as_path())
    }

    /// The file with its CAs, likewise; `None`: the system's.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Whether it has to be known at which address proofs are for this server.
    pub fn takes_proofs(&self) -> bool {
        self.dpop.is_some()
    }

    /// What an issuer's scopes begin with where they are grants.
    pub(super) fn scope_prefix(&self) -> &str {
        &self.scope_prefix
    }

    /// The whole of it, with the secret that is in its file.
    pub fn settings(&self, secret: Option<Zeroizing<String>>, roots: Roots) -> IssuerSettings {
        let introspection = self.introspection.clone().map(|asked| IntrospectionSettings {
            url: asked.url,
            client_id: asked.client_id,
            client_secret: secret.unwrap_or_default(),
            opaque: asked.opaque,
            signed: asked.signed,
            max_age: Duration::from_secs(asked.max_age_s),
        });
        IssuerSettings {
            name: self.name.clone(),
            rules: Rules {
                issuer: self.url.clone(),
                audiences: self.audience.clone(),
                algorithms: self.algorithms.iter().filter_map(|name| Algorithm::named(name)).collect(),
                legacy_type: matches!(self.typ, Typ::Legacy),
                leeway: Duration::from_secs(self.leeway_s),
            },
            keys_url: self.keys_url.clone(),
            keys_max_age: Duration::from_secs(self.keys_max_age_s),
            proofs: match self.dpop {
                None => Proofs::Never,
                Some(Dpop::Optional) => Proofs::Optional,
                Some(Dpop::Required) => Proofs::Required,
            },
            introspection,
            roots,
        }
    }

    /// What can be wrong with all of them, and is not seen when they are used.
    pub(super) fn check(all: &[Self]) -> Result<(), CredentialsError> {
        let wrong = |entry: &Self, what| Err(CredentialsError::Issuer { name: entry.name.clone(), what });
        let asked = |entry: &&Self| entry.introspection.as_ref().is_some_and(|it| it.opaque);
        if let Some(second) = all.iter().filter(asked).nth(1) {
            return wrong(
                second,
                "another issuer is asked about opaque tokens already: set introspection.opaque = false",
            );
        }
        for (at, entry) in all.iter().enumerate() {
            if at >= MAX_ISSUERS {
                return wrong(entry, "it is one too many: there may be 16");
            }
            if all[..at].iter().any(|before| before.url == entry.url) {
                return wrong(entry, "another one has its url");
            }
            if entry.algorithms.iter().any(|name| Algorithm::named(name).is_none()) {
                return wrong(entry, "algorithms: write ES256, EdDSA, PS256 or RS256");
            }
            // Without one, every scope of an issuer that happens to look like a grant would be one.
            if entry.scope_prefix.is_empty()
                || !entry.scope_prefix.bytes().all(|byte| byte.is_ascii_graphic())
            {
                return wrong(entry, "scope_prefix must be visible ASCII, and not nothing");
            }
        }
        Ok(())
    }
}

/// The grants among scopes. Others are somebody else's, and none is no grant.
pub(super) fn grants(scopes: &[String], prefix: &str) -> Vec<Grant> {
    scopes.iter().filter_map(|scope| scope.strip_prefix(prefix)?.parse().ok()).collect()
}

fn all_algorithms() -> Vec<String> {
    Algorithm::ALL.map(|algorithm| algorithm.name().to_owned()).to_vec()
}

fn default_prefix() -> String {
    "graven:".to_owned()
}

fn default_leeway() -> u64 {
    30
}

fn default_keys_max_age() -> u64 {
    3600
}

fn default_max_age() -> u64 {
    30
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_grants_where_they_are_spelled_so() {
        let words = |texts: &[&str]| {
            let scopes: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
            grants(&scopes, "graven:").iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            words(&["openid", "graven:append:audit", "graven:read:*", "graven:query:acme-*", "email"]),
            ["append:audit", "read:*", "query:acme-*"]
        );
        for none in [
            "append:audit",
            "graven:",
            "graven:append",
            "graven:append:",
            "graven:write:audit",
            "Graven:append:audit",
            "graven:append:Audit",
            "graven:append:audit:read",
            "graven:append:audit,read:audit",
            "graven:append:acme*",
            "x:graven:append:audit",
            "graven:graven:append:audit",
            "graven:*:*",
            "graven:*",
        ] {
            assert!(words(&[none]).is_empty(), "{none}");
        }
        assert!(words(&[]).is_empty());
    }
}
