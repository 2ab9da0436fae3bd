//! Addresses of servers, and which of them may be reached without encryption.

use std::net::IpAddr;

use http::{Uri, uri::Scheme};

use crate::ConnectError;

/// Where a server is: a scheme, `http` or `https`, a host and perhaps a port and a path.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    uri: Uri,
    encrypted: bool,
}

impl Address {
    /// The address of a server, as somebody types it: without a query.
    pub(crate) fn parse(text: &str) -> Result<Self, ConnectError> {
        Self::parse_url(text).and_then(|address| match address.uri.query() {
            Some(_) => Err(bad(text)),
            None => Ok(address),
        })
    }

    /// Any address that can be dialled.
    pub(crate) fn parse_url(text: &str) -> Result<Self, ConnectError> {
        let uri: Uri = text.parse().map_err(|_| bad(text))?;
        let (scheme, host) = (uri.scheme_str().ok_or_else(|| bad(text))?, uri.host().unwrap_or_default());
        // What stands before an @ is a password, as often as not.
        let with_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        if host.is_empty() || with_user {
            return Err(bad(text));
        }
        match scheme {
            "http" => Ok(Self { uri, encrypted: false }),
            "https" => Ok(Self { uri, encrypted: true }),
            other => Err(ConnectError::Scheme(other.to_owned())),
        }
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The same address with the scheme `http`.
    pub(crate) fn without_tls(&self) -> Uri {
        let mut parts = self.uri.clone().into_parts();
        parts.scheme = Some(Scheme::HTTP);
        Uri::from_parts(parts).unwrap_or_else(|_| self.uri.clone())
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    pub(crate) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// Where something lies below this address, which is taken for a folder.
    pub(crate) fn join(&self, path: &str) -> Result<Self, ConnectError> {
        Self::parse_url(&format!("{}/{path}", self.uri.to_string().trim_end_matches('/')))
    }

    /// What a reference found at this address refers to (RFC 3986 §5; what `..` means is left to the server).
    pub(crate) fn resolve(&self, reference: &str) -> Result<Self, ConnectError> {
        let (scheme, authority) = (self.uri.scheme_str().unwrap_or_default(), self.uri.authority());
        let site = format!("{scheme}://{}", authority.map_or("", |authority| authority.as_str()));
        let folder = self.uri.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        Self::parse_url(&match reference {
            _ if reference.starts_with("//") => format!("{scheme}:{reference}"),
            _ if reference.starts_with('/') => format!("{site}{reference}"),
            _ if reference.split('/').next().is_some_and(|first| first.contains(':')) => reference.to_owned(),
            _ => format!("{site}{folder}/{reference}"),
        })
    }

    /// The host is this machine, by its name or number.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.host();
        let number = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost") || number.is_ok_and(|ip| ip.is_loopback())
    }

    /// The two have scheme, host and port in common: what may be told to one may be told to the other.
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        let port =
            |address: &Self| address.uri.port_u16().unwrap_or(if address.encrypted { 443 } else { 80 });
        self.encrypted == other.encrypted
            && self.host().eq_ignore_ascii_case(other.host())
            && port(self) == port(other)
    }

    /// Refuses what would go unencrypted beyond this machine.
    pub(crate) fn check(&self, with_token: bool, plaintext_anywhere: bool) -> Result<(), ConnectError> {
        if self.encrypted || self.is_loopback() {
            return Ok(());
        }
        let host = self.host().to_owned();
        match (with_token, plaintext_anywhere) {
            (true, _) => Err(ConnectError::TokenInPlaintext(host)),
            (false, false) => Err(ConnectError::Plaintext(host)),
            (false, true) => Ok(()),
        }
    }
}

/// A text that is no address is repeated without what may be a password.
fn bad(text: &str) -> ConnectError {
    let shown = match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    };
    ConnectError::Address(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, with_token: bool, plaintext_anywhere: bool) -> Result<(), ConnectError> {
        Address::parse(text)?.check(with_token, plaintext_anywhere)
    }

    #[test]
    fn plaintext_stays_on_this_machine_unless_told() {
        for local in ["http://127.0.0.1:4740", "http://[::1]:4740", "http://localhost:4740"] {
            assert!(check(local, false, false).is_ok() && check(local, true, false).is_ok(), "{local}");
        }
        for far in ["http://192.0.2.1:4740", "http://127.0.0.1.example.com", "http://localhost.example.com"] {
            assert!(matches!(check(far, false, false), Err(ConnectError::Plaintext(_))), "{far}");
            assert!(check(far, false, true).is_ok(), "{far}");
            // No permission covers a token.
            assert!(matches!(check(far, true, true), Err(ConnectError::TokenInPlaintext(_))), "{far}");
            assert!(check(&far.replace("http:", "https:"), true, false).is_ok(), "{far}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_hides_a_password() {
        for text in ["127.0.0.1:4740", "", "https://", "https:///log", "https://example.com/?log=a", "a b"] {
            assert!(matches!(Address::parse(text), Err(ConnectError::Address(_))), "{text}");
        }
        assert!(matches!(Address::parse("ftp://example.com"), Err(ConnectError::Scheme(_))));
        let error = Address::parse("https://me:hunter2@example.com").unwrap_err().to_string();
        assert!(error.contains("example.com") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn references_resolve_as_a_browser_would() {
        let at = Address::parse_url("https://example.com:444/log/tile/0/000?a=b").unwrap();
        for (reference, url) in [
            ("https://cdn.example.com/x?signature=1", "https://cdn.example.com/x?signature=1"),
            ("//cdn.example.com/x", "https://cdn.example.com/x"),
            ("/x", "https://example.com:444/x"),
            ("001", "https://example.com:444/log/tile/0/001"),
            ("?b=c", "https://example.com:444/log/tile/0/?b=c"),
        ] {
            assert_eq!(at.resolve(reference).unwrap().uri.to_string(), url, "{reference}");
        }
        for reference in ["file:///etc/passwd", "http:", "https://"] {
            assert!(at.resolve(reference).is_err(), "{reference}");
        }
        let folder = Address::parse("https://example.com/log/").unwrap();
        assert_eq!(folder.join("tile/0/000").unwrap().uri.to_string(), "https://example.com/log/tile/0/000");
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let same = |one: &str, other: &str| {
            Address::parse(one).unwrap().is_same_origin(&Address::parse(other).unwrap())
        };
        assert!(same("https://example.com/a", "https://EXAMPLE.com:443/b"));
        for other in ["http://example.com", "https://example.com:444", "https://www.example.com"] {
            assert!(!same("https://example.com", other), "{other}");
        }
    }
}
