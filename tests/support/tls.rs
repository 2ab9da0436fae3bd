//! Servers that speak HTTP, with or without TLS.

use std::{net::SocketAddr, sync::Arc};

use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tower::{BoxError, Service, ServiceExt as _};

use crate::certificates::{Ca, Issued};

/// Whether the one who sent a request has shown a certificate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ShownCertificate(pub(crate) bool);

impl Ca {
    fn store(&self) -> Arc<RootCertStore> {
        let mut store = RootCertStore::empty();
        store.add(self.0.der().clone()).unwrap();
        Arc::new(store)
    }
}

/// Whether a server asks its clients for a certificate of a CA, and whether it insists.
#[derive(Clone, Copy)]
pub(crate) enum Asks<'a> {
    No,
    For(&'a Ca),
    Insists(&'a Ca),
}

impl Issued {
    /// A server that shows this certificate and speaks these protocols.
    pub(crate) fn server(&self, asks: Asks<'_>, protocols: &[&str]) -> Arc<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            |ca: &Ca| WebPkiClientVerifier::builder_with_provider(ca.store(), Arc::clone(&provider));
        let clients = match asks {
            Asks::No => WebPkiClientVerifier::no_client_auth(),
            Asks::For(ca) => verifier(ca).allow_unauthenticated().build().unwrap(),
            Asks::Insists(ca) => verifier(ca).build().unwrap(),
        };
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let config = config.with_protocol_versions(&[&TLS13]).unwrap().with_client_cert_verifier(clients);
        let mut config = config.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// Serves on a free port of this machine, for as long as the test runs.
pub(crate) async fn serve<S, B>(service: S, tls: Option<Arc<ServerConfig>>) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (service, tls) = (service.clone(), tls.clone());
            tokio::spawn(async move {
                let Some(tls) = tls else { return answer(stream, service, false).await };
                if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                    let shown = stream.get_ref().1.peer_certificates().is_some();
                    answer(stream, service, shown).await;
                }
            });
        }
    });
    address
}

async fn answer<S, B>(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: S, shown: bool)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ShownCertificate(shown));
        service.clone().oneshot(request)
    });
    // A connection that a test breaks is none of the server's worries.
    drop(auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
}
