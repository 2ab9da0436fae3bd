//! What a client shows of itself, and whom it takes a server's word from. None of it prints its secrets.

use std::{fmt, sync::Arc};

use http::HeaderValue;
use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};
use thiserror::Error;

/// The longest token that is sent: servers bound the headers of a call, most of them at 8 KiB.
pub const MAX_TOKEN_BYTES: usize = 4_096;

/// The longest chain of certificates that is shown or trusted from one file of PEM: far more than any system has.
const MAX_CERTIFICATES: usize = 1_024;

/// A bearer token (RFC 6750), which goes with every call. Whoever has it is let in, so it prints as nothing and is
/// never sent unencrypted beyond this machine.
#[derive(Clone)]
pub struct BearerToken(HeaderValue);

/// Why a text is no bearer token. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BearerTokenError {
    /// There is none.
    #[error("the token is empty")]
    Empty,
    /// It is longer than any token.
    #[error("a token has at most {MAX_TOKEN_BYTES} characters, this one has {0}")]
    TooLong(usize),
    /// It has a character that no token has: the text is something else, or was damaged.
    #[error("a token has letters, digits and -._~+/= alone: character {0} of this one is another")]
    Character(usize),
}

impl BearerToken {
    /// Takes `text` for a token, without space around it.
    ///
    /// # Errors
    /// It is none, by RFC 6750 §2.1.
    pub fn new(text: &str) -> Result<Self, BearerTokenError> {
        if text.is_empty() {
            return Err(BearerTokenError::Empty);
        }
        if text.len() > MAX_TOKEN_BYTES {
            return Err(BearerTokenError::TooLong(text.len()));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
        if let Some(position) = text.chars().position(|c| !fits(c)) {
            return Err(BearerTokenError::Character(position + 1));
        }
        let value = HeaderValue::try_from(format!("Bearer {text}"));
        let mut value = value.map_err(|_| BearerTokenError::Character(1))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The value of the `authorization` header, marked as sensitive: not printed, and not compressed by HPACK.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

/// Whose signature under a server's certificate counts.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// What the system trusts, or the files that SSL_CERT_FILE and SSL_CERT_DIR name.
    #[default]
    System,
    /// These certificates and no others.
    Only(RootCertificates),
}

/// Certificates that are trusted to sign others.
#[derive(Clone, Debug)]
pub struct RootCertificates(Arc<RootCertStore>);

/// A client's certificate with its private key, to be shown to servers that ask for one.
#[derive(Clone)]
pub struct ClientIdentity(Arc<Identity>);

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Why certificates or a key cannot be used. It repeats nothing of a key.
#[derive(Debug, Error)]
pub enum CertificatesError {
    /// The text is not PEM.
    #[error("this is not PEM: {0}")]
    Pem(String),
    /// There is no certificate in it.
    #[error("there is no certificate in it: it should have a line -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// There are too many.
    #[error("there are more than {MAX_CERTIFICATES} certificates in it")]
    TooMany,
    /// One of them is not well-formed.
    #[error("its certificate number {number} is damaged: {reason}")]
    Certificate {
        /// Which, counted from one.
        number: usize,
        /// What is wrong.
        reason: rustls::Error,
    },
    /// There is no private key in it.
    #[error("there is no private key in it: it should have a line -----BEGIN PRIVATE KEY----- (PKCS#8)")]
    NoKey,
    /// The system trusts nobody.
    #[error("this system trusts no certificates: give the one that signs the server's{0}")]
    NoneTrusted(String),
    /// The key is of no known kind, or not the certificate's.
    #[error("the client certificate and its key do not go together: {0}")]
    Mismatch(rustls::Error),
}

impl RootCertificates {
    /// All certificates in a text of PEM.
    ///
    /// # Errors
    /// There is none, or one is damaged.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificatesError> {
        let mut store = RootCertStore::empty();
        for (number, certificate) in (1..).zip(certificates(text)?) {
            store.add(certificate).map_err(|reason| CertificatesError::Certificate { number, reason })?;
        }
        Ok(Self(Arc::new(store)))
    }
}

impl Roots {
    pub(crate) fn store(&self) -> Result<Arc<RootCertStore>, CertificatesError> {
        match self {
            Self::Only(RootCertificates(store)) => Ok(Arc::clone(store)),
            Self::System => {
                let found = rustls_native_certs::load_native_certs();
                let mut store = RootCertStore::empty();
                // Old systems carry a few that no longer parse.
                store.add_parsable_certificates(found.certs);
                if store.is_empty() {
                    let why = found.errors.first().map(|error| format!(" ({error})"));
                    return Err(CertificatesError::NoneTrusted(why.unwrap_or_default()));
                }
                Ok(Arc::new(store))
            }
        }
    }
}

impl ClientIdentity {
    /// A chain of certificates, the client's own first, and its private key: both PEM.
    ///
    /// # Errors
    /// Either is not there. That they go together is checked when they are first used.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificatesError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => CertificatesError::NoKey,
            // What was not understood is not repeated: it may be the key.
            _ => CertificatesError::Pem("the private key is damaged".to_owned()),
        })?;
        Ok(Self(Arc::new(Identity { chain, key })))
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.chain.clone()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.0.key.clone_key()
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientIdentity({} certificates, …)", self.0.chain.len())
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).take(MAX_CERTIFICATES + 1).collect();
    let found = found.map_err(|error| CertificatesError::Pem(error.to_string()))?;
    match found.len() {
        0 => Err(CertificatesError::NoCertificate),
        1..=MAX_CERTIFICATES => Ok(found),
        _ => Err(CertificatesError::TooMany),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_prints() {
        let token = BearerToken::new("gvn_s3cret").unwrap();
        let options = crate::ConnectOptions { token: Some(token.clone()), ..Default::default() };
        for shown in [format!("{token:?}"), format!("{options:?}"), format!("{:?}", token.header())] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        assert_eq!(token.header().as_bytes(), b"Bearer gvn_s3cret");
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_repeated() {
        let refused = |text: &str| BearerToken::new(text).unwrap_err();
        assert_eq!(refused(""), BearerTokenError::Empty);
        assert_eq!(refused("gvn_a\nevil: header"), BearerTokenError::Character(6));
        assert_eq!(refused("gvn_ä"), BearerTokenError::Character(5));
        assert_eq!(refused(&"a".repeat(MAX_TOKEN_BYTES + 1)), BearerTokenError::TooLong(MAX_TOKEN_BYTES + 1));
        assert!(BearerToken::new(&"a".repeat(MAX_TOKEN_BYTES)).is_ok());
    }

    #[test]
    fn what_is_no_certificate_or_key_is_refused_and_not_repeated() {
        let pair = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        assert!(matches!(RootCertificates::from_pem(b""), Err(CertificatesError::NoCertificate)));
        assert!(matches!(RootCertificates::from_pem(key.as_bytes()), Err(CertificatesError::NoCertificate)));
        let damaged = certificate.replacen("MI", "AA", 1);
        let error = RootCertificates::from_pem(damaged.as_bytes()).unwrap_err();
        assert!(matches!(error, CertificatesError::Certificate { number: 1, .. }), "{error}");

        let identity = |key: &str| ClientIdentity::from_pem(certificate.as_bytes(), key.as_bytes());
        assert!(matches!(identity(&certificate), Err(CertificatesError::NoKey)));
        let shown = identity(&key.replacen("MI", "..", 1)).unwrap_err().to_string();
        assert_eq!(shown, "this is not PEM: the private key is damaged");
        let secret = key.lines().nth(1).unwrap();
        assert!(!format!("{:?}", identity(&key).unwrap()).contains(&secret[..8]));
    }
}
