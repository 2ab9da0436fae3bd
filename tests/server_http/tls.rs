//! TLS: 1.3 alone, client certificates, and certificates that change.

use std::sync::Arc;

use graven_server::{ClientAuth, Credentials, Keyring, ServerOptions, Tls};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::raw::{self, Answer};
use crate::service::{Service, config};

/// An authority.
struct Ca {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
struct Identity {
    pem: String,
    key_pem: String,
    der: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { pem, der, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, names: &[SanType]) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key: key.serialize_der(),
        }
    }

    fn server(&self) -> Identity {
        self.issue(&[SanType::DnsName("localhost".try_into().unwrap())])
    }

    fn client(&self, uri: &str) -> Identity {
        self.issue(&[SanType::URI(uri.try_into().unwrap())])
    }
}

const GATEWAY: &str = "spiffe://example.com/gateway";

async fn serving(tls: &Tls) -> Service {
    let file = format!("[[client]]\nname = \"gateway\"\nsan = \"{GATEWAY}\"\ngrants = [\"read:*\"]\n");
    let access = Arc::new(Keyring::new(Credentials::parse(&file).unwrap()));
    let options = ServerOptions { tls: Some(tls.clone()), access, ..ServerOptions::default() };
    Service::start_with(config(), options).await
}

/// Gets the private log's checkpoint.
async fn checkpoint(service: &Service, ca: &Ca, identity: Option<&Identity>) -> std::io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { der, key, .. }) => builder
            .with_client_auth_cert(vec![der.clone()], PrivateKeyDer::try_from(key.clone()).unwrap())
            .unwrap(),
    };
    let stream = TcpStream::connect(service.address()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    // TLS 1.3 tells a client that it is refused when it reads.
    tokio::io::AsyncWriteExt::flush(&mut stream).await?;
    let asked =
        tokio::spawn(async move { raw::exchange(stream, "GET", "/audit/checkpoint", &[], b"").await });
    asked.await.map_err(std::io::Error::other)
}

#[tokio::test]
async fn a_client_certificate_says_who_calls() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = ca.server();
    let client_ca = Some((ca.pem.as_bytes(), ClientAuth::Optional));
    let tls = Tls::new(server.pem.as_bytes(), server.key_pem.as_bytes(), client_ca).unwrap();
    let service = serving(&tls).await;
    assert_eq!(checkpoint(&service, &ca, Some(&ca.client(GATEWAY))).await.unwrap().status, 200);
    assert_eq!(
        checkpoint(&service, &ca, Some(&ca.client("spiffe://example.com/x"))).await.unwrap().status,
        401
    );
    assert_eq!(checkpoint(&service, &ca, None).await.unwrap().status, 401);
    assert!(checkpoint(&service, &ca, Some(&other.client(GATEWAY))).await.is_err(), "another authority's");
    assert!(checkpoint(&service, &other, None).await.is_err(), "a server that is not the one");
    service.stop().await;
}

#[tokio::test]
async fn without_a_required_certificate_there_is_no_connection() {
    let ca = Ca::new();
    let server = ca.server();
    let client_ca = Some((ca.pem.as_bytes(), ClientAuth::Required));
    let tls = Tls::new(server.pem.as_bytes(), server.key_pem.as_bytes(), client_ca).unwrap();
    let service = serving(&tls).await;
    assert!(checkpoint(&service, &ca, None).await.is_err());
    assert_eq!(checkpoint(&service, &ca, Some(&ca.client(GATEWAY))).await.unwrap().status, 200);
    service.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections() {
    let (old, new) = (Ca::new(), Ca::new());
    let tls = |ca: &Ca| {
        let server = ca.server();
        Tls::new(server.pem.as_bytes(), server.key_pem.as_bytes(), None).unwrap()
    };
    let serving_with = tls(&old);
    let service = serving(&serving_with).await;
    assert_eq!(checkpoint(&service, &old, None).await.unwrap().status, 401);
    serving_with.replace(&tls(&new));
    assert_eq!(checkpoint(&service, &new, None).await.unwrap().status, 401);
    assert!(checkpoint(&service, &old, None).await.is_err());
    service.stop().await;
}

#[test]
fn what_cannot_be_served_with_is_refused_with_its_reason() {
    let ca = Ca::new();
    let (one, two) = (ca.server(), ca.server());
    let refused =
        |cert: &str, key: &str| Tls::new(cert.as_bytes(), key.as_bytes(), None).unwrap_err().to_string();
    assert!(refused("", &one.key_pem).contains("the certificate cannot be read"));
    assert!(refused(&one.pem, "").contains("the key cannot be read"));
    assert!(refused(&one.pem, &two.key_pem).contains("cannot be used"));
    let no_authority = Some((&b"x"[..], ClientAuth::Optional));
    let error = Tls::new(one.pem.as_bytes(), one.key_pem.as_bytes(), no_authority).unwrap_err();
    assert!(error.to_string().contains("client CA"));
}
