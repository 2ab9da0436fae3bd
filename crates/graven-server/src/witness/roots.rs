//! Whom to believe that a witness is the one at its URL.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, version::TLS13};

/// Certificates of CAs that sign those of witnesses on `https://`.
#[derive(Clone)]
pub struct WitnessRoots(Arc<ClientConfig>);

/// No certificate that can be used.
#[derive(Debug, thiserror::Error)]
pub enum WitnessRootsError {
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

impl WitnessRoots {
    /// These certificates, in DER.
    ///
    /// # Errors
    /// None of them can be used.
    pub fn new(certificates: impl IntoIterator<Item = Vec<u8>>) -> Result<Self, WitnessRootsError> {
        let mut roots = RootCertStore::empty();
        let (good, _) = roots.add_parsable_certificates(certificates.into_iter().map(CertificateDer::from));
        if good == 0 {
            return Err(WitnessRootsError::Nobody);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// The certificates in a PEM file.
    ///
    /// # Errors
    /// It is none, or none of them can be used.
    pub fn from_pem(pem: &[u8]) -> Result<Self, WitnessRootsError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(WitnessRootsError::Pem)?;
        Self::new(certificates.into_iter().map(|certificate| certificate.to_vec()))
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.0.clone()
    }
}

impl fmt::Debug for WitnessRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WitnessRoots(…)")
    }
}
