//! Whom to believe that a server is the one at its address.

use std::fmt;
use std::sync::Arc;

use ::aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, version::TLS13};

/// Certificates of CAs that sign those of servers on `https://`. Equal where the certificates are.
#[derive(Clone)]
pub struct Roots {
    config: Arc<ClientConfig>,
    hash: [u8; 32],
}

/// No certificate that can be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// None at all.
    #[error("no CA certificate was found")]
    Nobody,
    /// Not certificates in PEM.
    #[error("no certificates in PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// The TLS library has its own reason.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl Roots {
    /// These certificates, in DER.
    ///
    /// # Errors
    /// None of them can be used.
    pub fn new(certificates: impl IntoIterator<Item = Vec<u8>>) -> Result<Self, RootsError> {
        let mut hash = Context::new(&SHA256);
        let certificates = certificates.into_iter().inspect(|certificate| hash.update(certificate));
        let mut roots = RootCertStore::empty();
        let (good, _) = roots.add_parsable_certificates(certificates.map(CertificateDer::from));
        if good == 0 {
            return Err(RootsError::Nobody);
        }
        let mut all = [0; 32];
        all.copy_from_slice(hash.finish().as_ref());
        Ok(Self { config: config(roots)?, hash: all })
    }

    /// The certificates in a PEM file.
    ///
    /// # Errors
    /// It is none, or none of them can be used.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RootsError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(RootsError::Pem)?;
        Self::new(certificates.into_iter().map(|certificate| certificate.to_vec()))
    }

    /// Nobody: for those who are asked on this machine only.
    ///
    /// # Errors
    /// The TLS library has its own reason.
    pub fn nobody() -> Result<Self, RootsError> {
        Ok(Self { config: config(RootCertStore::empty())?, hash: [0; 32] })
    }

    /// TLS 1.3, by these roots, without a certificate of our own.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roots(…)")
    }
}
