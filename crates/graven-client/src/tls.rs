//! TLS 1.3, and what goes wrong with it, in words that say what to do.

use std::{io, sync::Arc};

use rustls::{
    AlertDescription as Alert, CertificateError, ClientConfig, Error as Tls, InvalidMessage,
    PeerIncompatible, RootCertStore, crypto::aws_lc_rs, version::TLS13,
};
use thiserror::Error;

use crate::credentials::{CertificatesError, ClientIdentity};

/// Why the two sides do not come to speak TLS.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TlsProblem {
    /// Nobody trusted signed the server's certificate.
    #[error(
        "the server's certificate is signed by nobody who is trusted here: give the certificate of its CA as trusted, if this is the right server"
    )]
    Untrusted,
    /// The server's certificate is no longer valid.
    #[error(
        "the server's certificate has expired: its operator must renew it (or the clock of this machine is wrong)"
    )]
    Expired,
    /// The server's certificate is not valid yet.
    #[error(
        "the server's certificate is not valid yet: the clock of this machine or of the server's CA is wrong"
    )]
    NotYetValid,
    /// The server's certificate is another server's.
    #[error("the server's certificate is not for this host{}: use a name that is in the certificate", presented(.0))]
    WrongName(Vec<String>),
    /// The server's certificate is unusable for another reason.
    #[error("the server's certificate is not acceptable: {0}")]
    Certificate(CertificateError),
    /// What answers does not speak TLS.
    #[error(
        "what answers there does not speak TLS: use http:// for a server without TLS on this machine, or another port"
    )]
    NotTls,
    /// The server speaks TLS, and was addressed without.
    #[error("the server speaks TLS: use https://")]
    IsTls,
    /// The server has an older version only.
    #[error("the server does not speak TLS 1.3, and nothing older is accepted")]
    TooOld,
    /// The server speaks no protocol that is known here.
    #[error(
        "the server speaks TLS, but not HTTP/2, which gRPC needs: is it a Graven server, or a proxy that speaks HTTP/1.1 only?"
    )]
    NoHttp2,
    /// The server wants to see a certificate.
    #[error("the server demands a client certificate: give one, with its key")]
    CertificateDemanded,
    /// The server does not accept the certificate that it saw.
    #[error(
        "the server refuses the client certificate ({0:?}): it must be valid and signed by a CA that the server trusts"
    )]
    CertificateRefused(Alert),
    /// Anything else.
    #[error("TLS failed: {0}")]
    Other(Tls),
}

/// How many of a certificate's names an error repeats.
const NAMES_SHOWN: usize = 5;

fn presented(names: &[String]) -> String {
    let mut shown: Vec<_> = names.iter().take(NAMES_SHOWN).map(String::as_str).collect();
    if names.len() > NAMES_SHOWN {
        shown.push("…");
    }
    if shown.is_empty() { String::new() } else { format!(", but for {}", shown.join(", ")) }
}

/// A name as a person would write it, of the way in which the verifier prints it.
fn plain(name: &str) -> String {
    let inner = name.strip_prefix("DnsName(\"").and_then(|name| name.strip_suffix("\")"));
    inner.unwrap_or(name).to_owned()
}

impl TlsProblem {
    /// The problem within an error of reading or writing.
    pub(crate) fn within(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Tls>().cloned().map(Self::of)
    }

    fn of(error: Tls) -> Self {
        match error {
            Tls::InvalidCertificate(problem) => Self::of_certificate(problem),
            Tls::AlertReceived(alert) => Self::of_alert(alert),
            Tls::PeerIncompatible(
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::ServerDoesNotSupportTls12Or13,
            ) => Self::TooOld,
            Tls::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge,
            ) => Self::NotTls,
            Tls::NoApplicationProtocol => Self::NoHttp2,
            other => Self::Other(other),
        }
    }

    fn of_certificate(problem: CertificateError) -> Self {
        match problem {
            CertificateError::UnknownIssuer => Self::Untrusted,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName => Self::WrongName(Vec::new()),
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::WrongName(presented.iter().map(|name| plain(name)).collect())
            }
            other => Self::Certificate(other),
        }
    }

    fn of_alert(alert: Alert) -> Self {
        match alert {
            Alert::CertificateRequired => Self::CertificateDemanded,
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied => Self::CertificateRefused(alert),
            Alert::ProtocolVersion => Self::TooOld,
            Alert::NoApplicationProtocol => Self::NoHttp2,
            other => Self::Other(Tls::AlertReceived(other)),
        }
    }
}

/// TLS 1.3 for one of these protocols, the preferred one first.
pub(crate) fn config(
    roots: Arc<RootCertStore>,
    identity: Option<&ClientIdentity>,
    protocols: &[&[u8]],
) -> Result<Arc<ClientConfig>, CertificatesError> {
    // Named here, so that it does not depend on what else the program has installed.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => config
            .with_client_auth_cert(identity.chain(), identity.key())
            .map_err(CertificatesError::Mismatch)?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}
