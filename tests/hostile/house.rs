//! A server with a private log and a public one, with TLS and credentials, as it would stand in the open.

use std::{
    fmt::Write as _,
    fs,
    net::TcpStream,
    os::unix::fs::OpenOptionsExt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use graven_server::Token;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

use crate::{
    bench::{Bench, Server},
    http1::{Connection, dial},
};

/// Entries of each log: one full bundle, and a part of one.
pub(crate) const ENTRIES: u64 = 300;

/// The settings of a server in the open.
pub(crate) const OPEN: &str = "\
listen = \"127.0.0.1:0\"
data_dir = \"data\"
[tls]
cert = \"server.pem\"
key = \"server.key\"
client_ca = \"clients.pem\"
[access]
credentials = \"credentials.toml\"
[ops]
listen = \"off\"
[engine]
segment_mib = 1
reserve_mib = 0
";

/// The folder of a server, with its authorities.
pub(crate) struct House {
    pub(crate) bench: Bench,
    pub(crate) authority: Authority,
    pub(crate) clients: Authority,
}

/// Who signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate with its key, in PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A caller's token, and what it was granted.
pub(crate) struct Credential {
    pub(crate) token: String,
    entry: String,
}

impl House {
    /// `audit` is private, `open` is public; both have [`ENTRIES`] entries. Nobody serves them yet.
    pub(crate) fn new() -> Self {
        let bench = Bench::with_log();
        bench.write("fill.toml", "[ops]\nlisten = \"off\"\n[engine]\nsegment_mib = 1\nreserve_mib = 0\n");
        let server = bench.serve_with("serve --config fill.toml --data-dir data --dev --listen 127.0.0.1:0");
        bench.at(&server, "log create open --visibility public").ok();
        bench.fill(&server, ENTRIES);
        // A whole bundle first: what is in one commit with unsealed entries is read from the journal.
        let entries = String::from_utf8(bench.read("entries")).unwrap();
        let lines: Vec<_> = entries.lines().collect();
        for part in lines.chunks(256) {
            bench.write("part", part.join("\n"));
            bench.run(&format!("append --lines --log open --server {} part", server.url())).ok();
        }
        server.stop();
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let house = Self { bench, authority, clients };
        house.certify();
        house.bench.write("ca.pem", &house.authority.pem);
        house.bench.write("clients.pem", &house.clients.pem);
        house.bench.write("graven.toml", OPEN);
        house.know(&[], "");
        house
    }

    /// Gives the server a new certificate.
    pub(crate) fn certify(&self) {
        let identity = self.authority.certify(&["localhost"], &[], 2099);
        self.bench.write("server.pem", &identity.certificate);
        self.secret("server.key", &identity.key);
    }

    /// Writes the file of credentials. `more` is added to it.
    pub(crate) fn know(&self, credentials: &[&Credential], more: &str) {
        let entries: String = credentials.iter().map(|it| it.entry.as_str()).collect();
        self.secret("credentials.toml", &format!("{entries}{more}"));
    }

    /// Writes a file that its owner alone may read, in one step.
    pub(crate) fn secret(&self, name: &str, text: &str) {
        let staged = self.bench.path(format!("{name}.new"));
        drop(fs::remove_file(&staged));
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&staged).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        fs::rename(staged, self.bench.path(name)).unwrap();
    }

    pub(crate) fn serve(&self) -> Server {
        self.bench.serve_with("serve --config graven.toml")
    }

    /// Trusts the server's authority, and shows a certificate if there is one.
    pub(crate) fn client(
        &self,
        shown: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        match shown {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }

    /// A TLS connection, after its handshake.
    pub(crate) fn connect(
        &self,
        server: &Server,
        config: ClientConfig,
    ) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(connection, dial(server.address()));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// HTTP/1.1 over TLS 1.3, without a client certificate.
    pub(crate) fn browse(&self, server: &Server) -> Connection {
        let config = self.client(None, &[&rustls::version::TLS13]);
        Connection::new(self.connect(server, config).unwrap())
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for DNS names and URIs, valid until the end of a year.
    pub(crate) fn certify(&self, names: &[&str], uris: &[&str], until_year: i32) -> Identity {
        let mut params =
            CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|&uri| SanType::URI(uri.try_into().unwrap())));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

impl Credential {
    /// A new token under this name.
    pub(crate) fn new(name: &str, grants: &[&str]) -> Self {
        Self::until(name, grants, None)
    }

    /// One that expires, perhaps in the past.
    pub(crate) fn until(name: &str, grants: &[&str], expires: Option<SystemTime>) -> Self {
        let mut random = [0; 32];
        getrandom::fill(&mut random).unwrap();
        let token = Token::new(&random);
        let mut entry =
            format!("[[token]]\nname = \"{name}\"\nsha256 = \"{}\"\ngrants = {grants:?}\n", token.digest());
        if let Some(expires) = expires {
            writeln!(entry, "expires = {}", humantime::format_rfc3339_seconds(expires)).unwrap();
        }
        Self { token: token.expose().to_owned(), entry }
    }

    /// One that was valid until a minute ago.
    pub(crate) fn expired(name: &str, grants: &[&str]) -> Self {
        Self::until(name, grants, Some(SystemTime::now() - Duration::from_secs(60)))
    }

    /// The header line that shows it.
    pub(crate) fn line(&self) -> String {
        format!("authorization: Bearer {}", self.token)
    }
}
