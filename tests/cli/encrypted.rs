//! A server with TLS and credentials: who is let in by which command, and what the others are told.

use crate::{
    bench::{Bench, Ran, Server, ended},
    certificates::Ca,
};

/// A log behind TLS, and credentials that each may do one thing.
struct House {
    bench: Bench,
    clients: Ca,
}

impl House {
    fn new(client_auth: &str) -> Self {
        let (bench, ca, clients) = (Bench::with_log(), Ca::new(), Ca::new());
        let server = ca.issue("localhost");
        bench.write("server.pem", server.certificate);
        bench.write_secret("server.key", server.key);
        bench.write("ca.pem", ca.pem());
        bench.write("other.pem", Ca::new().pem());
        bench.write("clients.pem", clients.pem());
        for (name, grants) in [
            ("writer", "--grant append:audit"),
            ("reader", "--grant read:*"),
            ("both", "--grant append:audit --grant read:audit"),
        ] {
            let made = bench.run(&format!("token new --name {name} {grants} --credentials credentials.toml"));
            bench.write_secret(name, made.ok().stdout);
        }
        let mut credentials = String::from_utf8(bench.read("credentials.toml")).unwrap();
        credentials += "\n[[client]]\nname = \"gateway\"\nsan = \"gateway\"\ngrants = [\"append:audit\"]\n";
        bench.write("credentials.toml", credentials);
        let settings = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n\
             [tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n\
             client_ca = \"clients.pem\"\nclient_auth = \"{client_auth}\"\n\
             [access]\ncredentials = \"credentials.toml\"\n[ops]\nlisten = \"off\"\n"
        );
        bench.write("graven.toml", settings);
        Self { bench, clients }
    }

    fn serve(&self) -> Server {
        self.bench.serve_with("serve --config graven.toml")
    }

    /// Runs a command that believes the right CA.
    fn at(&self, server: &Server, arguments: &str) -> Ran {
        ended(self.bench.command(arguments).envs([
            ("GRAVEN_SERVER", url(server).as_str()),
            ("GRAVEN_CA", "ca.pem"),
            ("GRAVEN_POLICY", "data/audit.policy"),
        ]))
    }

    /// Keeps a client certificate for a name in files of that name.
    fn issue(&self, ca: &Ca, name: &str) -> String {
        let issued = ca.issue(name);
        self.bench.write(&format!("{name}.pem"), issued.certificate);
        self.bench.write_secret(&format!("{name}.key"), issued.key);
        format!("--client-cert {name}.pem --client-key {name}.key")
    }
}

/// The server by the name that is in its certificate.
fn url(server: &Server) -> String {
    format!("https://localhost:{}", server.address().rsplit_once(':').unwrap().1)
}

#[test]
fn tokens_let_in_as_far_as_they_go() {
    let house = House::new("optional");
    let server = house.serve();
    let entries: String = (0..300).map(|n| format!("entry {n}\n")).collect();
    house.bench.write("entries", entries);
    house.at(&server, "append --lines --token-file writer entries").ok();
    house.at(&server, "append --wait published --token-file both entries").ok();
    house.at(&server, "head --token-file reader").ok();
    house.at(&server, "watch --count 1 --token-file reader").ok();
    assert_eq!(house.at(&server, "get --index 17 --token-file reader").ok().stdout, b"entry 17");
    house.at(&server, "audit --token-file reader").ok();

    let missing = house.at(&server, "head");
    missing.refused(2, "CREDENTIALS_MISSING");
    missing.refused(2, "--token-file FILE");
    house.at(&server, "append entries").refused(2, "--token-file FILE");
    house.at(&server, "append --lines entries").refused(2, "--token-file FILE");
    house.bench.write_secret("unknown", "gvn_of_another_server");
    let unknown = house.at(&server, "head --token-file unknown");
    unknown.refused(2, "CREDENTIALS_INVALID");
    assert!(!unknown.stderr.contains("gvn_"), "{unknown}");
    let denied = house.at(&server, "get --index 17 --token-file writer");
    denied.refused(2, "PERMISSION_MISSING");
    denied.refused(2, "grant");
    house.at(&server, "log create other --token-file reader").refused(2, "PERMISSION_MISSING");

    let token = String::from_utf8(house.bench.read("reader")).unwrap();
    let mut head = house.bench.command("head --policy data/audit.policy");
    let environment =
        [("GRAVEN_SERVER", url(&server)), ("GRAVEN_CA", "ca.pem".into()), ("GRAVEN_TOKEN", token)];
    ended(head.envs(environment)).ok();
}

#[test]
fn a_private_log_is_audited_by_its_tiles_with_a_token() {
    let house = House::new("optional");
    let server = house.serve();
    let entries: String = (0..700).map(|n| format!("entry {n}\n")).collect();
    house.bench.write("entries", entries);
    house.at(&server, "append --wait published --lines --token-file both entries").ok();

    let audit = format!("audit --json --ca ca.pem --url {}/audit", url(&server));
    let audited = house.at(&server, &format!("{audit} --token-file reader")).ok();
    assert_eq!(audited.object()["entries"], 700);
    house.at(&server, &audit).refused(2, "401 Unauthorized: give a token");
    house.at(&server, &format!("{audit} --token-file writer")).refused(2, "403 Forbidden");
    let plain = audit.replace("https:", "http:");
    house.at(&server, &format!("{plain} --token-file reader")).refused(2, "checkpoint cannot be read");
}

#[test]
fn a_server_is_believed_by_its_certificate_alone() {
    let house = House::new("optional");
    let server = house.serve();
    let head = |rest: &str| house.bench.run(&format!("head --token-file reader {rest}"));
    let stranger = head(&format!("--server {} --ca other.pem", url(&server)));
    stranger.refused(2, "signed by nobody who is trusted here");
    stranger.refused(2, "(--ca FILE)");
    let other_name = url(&server).replace("localhost", "127.0.0.1");
    head(&format!("--server {other_name} --ca ca.pem")).refused(2, "not for this host, but for localhost");
    let plain = url(&server).replace("https:", "http:");
    let ran = head(&format!("--server {plain}"));
    assert_eq!(ran.code, Some(2), "{ran}");
}

#[test]
fn a_server_may_demand_a_client_certificate() {
    let house = House::new("required");
    let server = house.serve();
    house.bench.write("entry", "through the gateway");
    let gateway = house.issue(&house.clients, "gateway");
    let impostor = house.issue(&Ca::new(), "impostor");
    house.at(&server, &format!("append {gateway} entry")).ok();
    house.at(&server, &format!("append {gateway} --lines entry")).ok();
    house.at(&server, &format!("get --index 0 {gateway}")).refused(2, "PERMISSION_MISSING");
    let none = house.at(&server, "append entry");
    assert!(none.code == Some(2) && none.stderr.contains("demands a client certificate"), "{none}");
    let refused = house.at(&server, &format!("append {impostor} entry"));
    assert!(
        refused.code == Some(2) && refused.stderr.contains("refuses the client certificate"),
        "{refused}"
    );
    // Of its own CA, but nobody it knows.
    let nobody = house.issue(&house.clients, "nobody");
    house.at(&server, &format!("append {nobody} entry")).refused(2, "CREDENTIALS_MISSING");
}
