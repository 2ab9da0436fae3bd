//! TLS 1.3, and certificates that can be exchanged while connections go on.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, version};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::extensions::GeneralName;

/// Names taken from one client certificate.
const MAX_NAMES: usize = 32;

/// The server's end of TLS. Clones share what [`replace`](Self::replace) exchanges.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ArcSwap<Material>>);

#[derive(Debug)]
struct Material {
    config: Arc<ServerConfig>,
    not_after: SystemTime,
}

/// Certificates or keys that cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or nothing of the kind in it.
    #[error("the {what} cannot be read: {error}")]
    Pem {
        /// Which of them.
        what: &'static str,
        /// Why.
        error: rustls::pki_types::pem::Error,
    },
    /// Not a certificate.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// They do not go together, or are of a kind that TLS 1.3 does not know.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The authorities for client certificates.
    #[error("the client CA cannot be used: {0}")]
    ClientCa(String),
}

/// Who must show a client certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Those who want to be known by it.
    #[default]
    Optional,
    /// Everybody.
    Required,
}

impl Tls {
    /// TLS by a certificate chain with its key, in PEM. Clients may, or must, show a certificate that `client_ca` vouches
    /// for; without it none is asked for.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(cert: &[u8], key: &[u8], client_ca: Option<(&[u8], ClientAuth)>) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(Material::new(cert, key, client_ca)?))))
    }

    /// Puts other material in the place of this: for connections that begin from now on.
    pub fn replace(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    /// When the certificate ends.
    pub fn not_after(&self) -> SystemTime {
        self.0.load().not_after
    }

    /// Shakes hands; with the stream come the names in the client's certificate, and its SHA-256.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Vec<String>, Option<[u8; 32]>)> {
        let acceptor = TlsAcceptor::from(self.0.load().config.clone());
        let stream = acceptor.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let (names, hash) =
            (shown.map(names).unwrap_or_default(), shown.map(|shown| Sha256::digest(shown).into()));
        Ok((stream, names, hash))
    }
}

impl Material {
    fn new(cert: &[u8], key: &[u8], client_ca: Option<(&[u8], ClientAuth)>) -> Result<Self, TlsError> {
        let chain = certificates(cert, "certificate")?;
        let not_after = chain.first().map(not_after).ok_or(TlsError::Pem {
            what: "certificate",
            error: rustls::pki_types::pem::Error::NoItemsFound,
        })??;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem { what: "key", error })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some((pem, auth)) => builder.with_client_cert_verifier(verifier(pem, auth, provider)?),
        };
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), not_after })
    }
}

fn verifier(
    pem: &[u8],
    auth: ClientAuth,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(pem, "client CA")? {
        roots.add(root)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match auth {
        ClientAuth::Optional => builder.allow_unauthenticated(),
        ClientAuth::Required => builder,
    };
    builder.build().map_err(|error| TlsError::ClientCa(error.to_string()))
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| TlsError::Pem { what, error })?;
    if all.is_empty() {
        return Err(TlsError::Pem { what, error: rustls::pki_types::pem::Error::NoItemsFound });
    }
    Ok(all)
}

fn not_after(certificate: &CertificateDer<'_>) -> Result<SystemTime, TlsError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| TlsError::Certificate(error.to_string()))?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The DNS names and URIs of a certificate that was verified. One that cannot be read names nobody.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let Ok(Some(alternatives)) = parsed.subject_alternative_name() else { return Vec::new() };
    let names = alternatives.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.take(MAX_NAMES).collect()
}
