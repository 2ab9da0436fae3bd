//! Where an issuer's keys and introspection are: OpenID Connect Discovery §4 or else RFC 8414 §3.
//!
//! ```text
//! https://id.example.com/tenant ─▶ https://id.example.com/tenant/.well-known/openid-configuration
//!                               ─▶ https://id.example.com/.well-known/oauth-authorization-server/tenant
//! ```
//!
//! What is found must name this issuer to the letter, or it is somebody else's.

use serde_json::Value;

use crate::fetch::{Address, FetchError, Fetcher};

/// Finds an issuer's addresses.
pub(crate) struct Discovery {
    issuer: String,
    fetcher: Fetcher,
}

/// Why an address is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssuerFault {
    #[error("its {what}: {error}")]
    Fetch { what: &'static str, error: FetchError },
    #[error("its {0} cannot be read")]
    Form(&'static str),
    #[error("its metadata names another issuer: is the url in the settings right, to the last slash?")]
    OtherIssuer,
    #[error("its metadata has no `{0}`, or not one of https://")]
    NoAddress(&'static str),
    #[error("it publishes no key that can be used")]
    NoKeys,
    #[error("too many tokens are being asked about")]
    Busy,
}

impl Discovery {
    pub(crate) fn new(issuer: &str, fetcher: Fetcher) -> Self {
        Self { issuer: issuer.to_owned(), fetcher }
    }

    /// The address that the metadata names so, read anew each time: it is asked for as seldom as keys are fetched.
    pub(crate) async fn address(&self, member: &'static str) -> Result<Address, IssuerFault> {
        let metadata = crate::json::object(&self.metadata().await?).ok_or(IssuerFault::Form("metadata"))?;
        let text = |member: &str| metadata.get(member).and_then(Value::as_str);
        if text("issuer") != Some(&self.issuer) {
            return Err(IssuerFault::OtherIssuer);
        }
        text(member).and_then(Address::parse).ok_or(IssuerFault::NoAddress(member))
    }

    async fn metadata(&self) -> Result<bytes::Bytes, IssuerFault> {
        let [first, second] = places(&self.issuer).map(|url| Address::parse(&url));
        let fetch =
            |at: Option<Address>| async move { self.fetcher.fetch(&at.ok_or(FetchError::Host)?, None).await };
        let found = match fetch(first).await {
            Err(FetchError::Status(status)) if status.is_client_error() => fetch(second).await,
            found => found,
        };
        found.map_err(|error| IssuerFault::Fetch { what: "metadata", error })
    }
}

fn places(issuer: &str) -> [String; 2] {
    let issuer = issuer.trim_end_matches('/');
    let host_begins = issuer.find("://").map_or(0, |at| at + 3);
    let path_begins = issuer[host_begins..].find('/').map_or(issuer.len(), |at| host_begins + at);
    let (origin, path) = issuer.split_at(path_begins);
    [
        format!("{issuer}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_where_the_standards_say() {
        let host = "https://id.example.com";
        for (issuer, path) in
            [(host.to_owned(), ""), (format!("{host}/"), ""), (format!("{host}/a/b"), "/a/b")]
        {
            assert_eq!(
                places(&issuer),
                [
                    format!("{host}{path}/.well-known/openid-configuration"),
                    format!("{host}/.well-known/oauth-authorization-server{path}"),
                ]
            );
        }
    }
}
