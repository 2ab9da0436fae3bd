//! What goes over the wire: TLS 1.3 or nothing off this machine, and who may show which certificate.

use std::{
    io::{self, Read, Write},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;
use rustls::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::{
    bench::Server,
    calls,
    house::{Authority, House, Identity, OPEN},
    http1::{Connection, dial},
    until,
};

const GATEWAY: &str = "spiffe://example.com/gateway";

#[test]
fn nothing_is_served_in_plaintext_beyond_this_machine() {
    let house = House::new();
    let bench = &house.bench;
    bench.write("plain.toml", "[access]\ncredentials = \"credentials.toml\"\n[ops]\nlisten = \"off\"\n");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = |arguments: &str| {
            let ran = bench.run(&format!("serve --data-dir data --listen {address} {arguments}"));
            ran.refused(2, "");
            assert!(!ran.text().contains("listening"), "{ran}");
        };
        refused("--dev");
        refused("--config plain.toml");
    }
    // TLS does not make up for credentials.
    bench.write("open.toml", OPEN.replace("[access]\ncredentials = \"credentials.toml\"\n", ""));
    bench.run("serve --config open.toml --listen 0.0.0.0:0").refused(2, "");
    bench.run("serve --config open.toml --dev --listen 0.0.0.0:0").refused(2, "");
    // The operators' port tells less, and is not open either.
    let settings = "[access]\ncredentials = \"credentials.toml\"\n[ops]\nlisten = \"0.0.0.0:0\"\n";
    bench.write("ops.toml", settings);
    bench.run("serve --data-dir data --config ops.toml --listen 127.0.0.1:0").refused(2, "");

    // Where TLS is spoken, nothing else is.
    let server = house.serve();
    for greeting in [&b"GET /open/checkpoint HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], crate::h2::PREFACE] {
        let mut wire = dial(server.address());
        wire.write_all(greeting).unwrap();
        let mut said = Vec::new();
        drop(wire.read_to_end(&mut said));
        // At most a TLS alert.
        assert!(said.is_empty() || said[0] == 21, "{}", String::from_utf8_lossy(&said));
        assert!(said.len() < 16);
    }
    // And a client sends no token where it is not encrypted.
    let ran = bench
        .command("append --server http://192.0.2.1:4740 entries")
        .env("GRAVEN_TOKEN", "gvn_secret")
        .output();
    assert_eq!(ran.unwrap().status.code(), Some(2));
}

#[test]
fn tls_below_1_3_is_refused() {
    let house = House::new();
    let server = house.serve();
    let connect =
        |versions: &[&'static SupportedProtocolVersion]| house.connect(&server, house.client(None, versions));
    assert!(connect(&[&TLS13]).is_ok());
    assert!(
        connect(&[&TLS12, &TLS13]).unwrap().conn.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)
    );
    let error = connect(&[&TLS12]).unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}

#[test]
#[ignore = "needs openssl"]
fn openssl_agrees_that_only_tls_1_3_is_spoken() {
    let house = House::new();
    let server = house.serve();
    let shake = |version: &str| {
        let shaken = Command::new("openssl")
            .args(["s_client", "-brief", "-verify_return_error", "-verify_hostname", "localhost", "-CAfile"])
            // Old versions are off by default; asked for, they must fail for want of the server.
            .arg(house.bench.path("ca.pem"))
            .args(["-cipher", "DEFAULT@SECLEVEL=0", version, "-connect", server.address()])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (shaken.status.success(), String::from_utf8_lossy(&shaken.stderr).into_owned())
    };
    let (is_ok, said) = shake("-tls1_3");
    assert!(is_ok && said.contains("TLSv1.3"), "{said}");
    for version in ["-tls1_2", "-tls1_1", "-tls1"] {
        let (is_ok, said) = shake(version);
        assert!(!is_ok && said.contains("alert"), "{version}: {said}");
    }
}

#[test]
fn a_certificate_opens_what_its_name_was_granted_and_no_other_does() {
    let house = House::new();
    let entry = |name: &str, san: &str, grant: &str| {
        format!("[[client]]\nname = \"{name}\"\nsan = \"{san}\"\ngrants = [\"{grant}\"]\n")
    };
    let listed =
        [entry("gateway", GATEWAY, "read:audit"), entry("host", "reader.example.com", "read:open")].concat();
    house.know(&[], &listed);
    let server = house.serve();
    let read = |shown: Option<&Identity>| -> io::Result<u16> {
        let stream = house.connect(&server, house.client(shown, &[&TLS13]))?;
        Ok(Connection::new(stream).try_ask("GET", "/audit/checkpoint", &[])?.status)
    };
    let certify = |names: &[&str], uris: &[&str]| house.clients.certify(names, uris, 2099);
    assert_eq!(read(Some(&certify(&[], &[GATEWAY]))).unwrap(), 200);
    assert_eq!(read(Some(&certify(&["x.example.com"], &["spiffe://example.com/x", GATEWAY]))).unwrap(), 200);
    assert_eq!(read(Some(&certify(&["reader.example.com"], &[]))).unwrap(), 403);
    // Names that are not listed are nobody's, however close.
    for (names, uris) in [
        (&[][..], &["spiffe://example.com/gateway2"][..]),
        (&[], &["spiffe://example.com/gatewa"]),
        (&[], &["spiffe://example.com/Gateway"]),
        (&[], &["spiffe://example.com/gateway/"]),
        (&["gateway"], &[]),
        (&["*.example.com"], &[]),
        (&["reader.example.com.evil.org"], &[]),
    ] {
        assert_eq!(read(Some(&certify(names, uris))).unwrap(), 401, "{names:?} {uris:?}");
    }
    assert_eq!(read(None).unwrap(), 401);

    // Another authority, the one of servers, one's own, or one whose time is over: the handshake fails.
    let stranger = Authority::new("clients");
    for (name, identity) in [
        ("another authority", stranger.certify(&[], &[GATEWAY], 2099)),
        ("the servers' authority", house.authority.certify(&[], &[GATEWAY], 2099)),
        ("an expired certificate", house.clients.certify(&[], &[GATEWAY], 2020)),
    ] {
        assert!(read(Some(&identity)).is_err(), "{name} was let in");
    }
    server.stop();

    // Where certificates are required nobody is heard without one.
    house.bench.write("graven.toml", OPEN.replace("[access]", "client_auth = \"required\"\n[access]"));
    let server = house.serve();
    let read = |shown: Option<&Identity>| -> io::Result<u16> {
        let stream = house.connect(&server, house.client(shown, &[&TLS13]))?;
        Ok(Connection::new(stream).try_ask("GET", "/open/checkpoint", &[])?.status)
    };
    assert!(read(None).is_err());
    assert_eq!(read(Some(&certify(&[], &["spiffe://example.com/unlisted"]))).unwrap(), 200);
}

#[test]
fn a_new_certificate_drops_no_call() {
    let house = Arc::new(House::new());
    let server = house.serve();
    let first = shown(&house, &server);
    let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..4)
        .map(|n| {
            let (url, ca) = (server.url().to_owned(), house.authority.pem.clone());
            let (stop, begun) = (stop.clone(), begun.clone());
            // Two of them keep their connection, two make a new one for each call.
            thread::spawn(move || call_until(&url, &ca, n % 2 == 0, &stop, &begun))
        })
        .collect();
    until(|| begun.load(Ordering::SeqCst));
    let mut seen = vec![first];
    for _ in 0..5 {
        house.certify();
        server.signal(Signal::HUP);
        until(|| !seen.contains(&shown(&house, &server)));
        seen.push(shown(&house, &server));
    }
    // A certificate whose key is another's is not taken; the one before stays.
    let other = house.authority.certify(&["localhost"], &[], 2099);
    house.bench.write("server.pem", &other.certificate);
    server.signal(Signal::HUP);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(shown(&house, &server), seen[5]);
    stop.store(true, Ordering::SeqCst);
    let calls: u64 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
    assert!(calls > 100, "hardly any load: {calls} calls");
}

/// The certificate that the server shows now.
fn shown(house: &House, server: &Server) -> Vec<u8> {
    let stream = house.connect(server, house.client(None, &[&TLS13])).unwrap();
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// Calls until it is told to stop; every call must be answered. Answers how many there were.
fn call_until(url: &str, ca: &str, keeps: bool, stop: &AtomicBool, begun: &AtomicBool) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("localhost");
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap().tls_config(tls).unwrap();
    let methods = calls::methods();
    let head = methods.iter().find(|it| it.name == "GetTreeHead").unwrap();
    let mut calls = 0;
    runtime.block_on(async {
        let mut channel: Option<Channel> = None;
        while !stop.load(Ordering::SeqCst) {
            if !keeps || channel.is_none() {
                channel = Some(endpoint.connect().await.unwrap());
            }
            let refused = head.call(channel.as_ref().unwrap(), "audit", &[]).await.unwrap_err();
            // It was answered: no credentials were shown.
            assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{refused:?}");
            begun.store(true, Ordering::SeqCst);
            calls += 1;
        }
    });
    calls
}

#[test]
fn keys_and_credentials_that_others_can_write_or_read_are_refused() {
    let house = House::new();
    for (name, mode, says) in
        [("server.key", 0o644, "server.key"), ("credentials.toml", 0o666, "credentials.toml")]
    {
        let path = house.bench.path(name);
        let set = |mode| {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, permissions).unwrap();
        };
        set(mode);
        house.bench.run("serve --config graven.toml").refused(2, says);
        set(0o600);
    }
    house.serve().stop();
}
