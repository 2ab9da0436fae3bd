//! A server whose log has witnesses: its settings, and how it ends where they know more than it does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use graven_note::{LocalSigner, SignatureType, Signer as _};

use crate::bench::Bench;
use crate::certificates::Ca;

const SERVE: &str = "serve --config graven.toml --dev --listen 127.0.0.1:0 --ops-listen off";

/// A witness that has cosigned this size already, whatever it is asked: for as long as the test runs.
fn witness_that_saw(size: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let mut length = 0;
            for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let body = format!("{size}\n");
            let head = "HTTP/1.1 409 Conflict\r\ncontent-type: text/x.tlog.size\r\nconnection: close\r\n";
            let length = body.len();
            drop((&stream).write_all(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes()));
        }
    });
    url
}

/// A folder with settings that give the log `audit` one witness, at this URL.
fn watched(url: &str) -> Bench {
    let bench = Bench::with_log();
    let key = LocalSigner::generate("w.example/1".parse().unwrap(), SignatureType::CosignatureV1, &[7; 32]);
    let policy = format!("witness w1 {} {url}\nquorum w1\n", key.unwrap().vkey());
    bench.write("audit.witness-policy", policy);
    bench.write(
        "graven.toml",
        "data_dir = \"data\"\n[witnessing.audit]\npolicy = \"audit.witness-policy\"\npublish = \"witnessed\"\n",
    );
    bench
}

#[test]
fn a_data_directory_that_a_witness_knows_more_of_ends_with_4_and_says_which_sizes() {
    let bench = watched(&witness_that_saw(3));
    // It is all the witnesses there are, so it is believed without showing anything.
    let ended = bench.run(SERVE);
    ended.refused(4, "`w1` are a quorum of its witnesses");
    ended.refused(4, "has cosigned size 3, and this data directory ends at size 0");
    ended.refused(4, "graven recover --data-dir data --log audit --from URL");
    ended.refused(4, "new origin");
}

#[test]
fn without_answers_reads_are_served_and_appends_told_to_come_back() {
    // Nobody listens there.
    let bench = watched("http://127.0.0.1:1");
    let server = bench.serve_with(SERVE);
    bench.write("entry", "an entry");
    // Whoever looks is told why.
    let head = || bench.at(&server, "head").ok().text().to_owned();
    while !head().contains("w1 is not behind, cosigned nothing yet: unreachable") {}
    assert!(head().contains("the server awaits them since its start"));
    let object = bench.at(&server, "head --json").ok().object();
    assert_eq!(object["server_says"]["witnesses"][0]["error"], "unreachable");
    assert_eq!(object["server_says"]["witnesses_awaited"], true);
    let ran = bench.at(&server, "append entry");
    assert!(ran.code != Some(0) && ran.stderr.contains("witnesses"), "{ran}");
    server.stop();
}

#[test]
fn settings_of_witnesses_are_checked_before_anything_is_served() {
    let bench = watched("http://127.0.0.1:1");
    let check = "config check --config graven.toml";
    let settings = String::from_utf8(bench.read("graven.toml")).unwrap();
    bench.write("credentials.toml", "");
    bench.write("graven.toml", format!("{settings}[access]\ncredentials = \"credentials.toml\"\n"));
    let said = bench.run(check).ok();
    assert!(said.text().contains("audit: 1 witnesses, heads are published with their quorum"), "{said}");
    bench.write("graven.toml", &settings);
    let policy = String::from_utf8(bench.read("audit.witness-policy")).unwrap();
    let other = LocalSigner::generate("w.example/1".parse().unwrap(), SignatureType::MlDsa44, &[8; 32]);
    let more = LocalSigner::generate("w.example/2".parse().unwrap(), SignatureType::CosignatureV1, &[9; 32]);
    let (other, more) = (other.unwrap(), more.unwrap());
    let keys = format!("witness w1b {}\nwitness w2 {}\n", other.vkey(), more.vkey());
    let twice = format!("{keys}group g 2 w1 w1b w2\nquorum g");
    for (policy, says) in [
        (policy.replace("quorum w1", "quorum none"), "without any witness"),
        (policy.replace("http:", "ftp:"), "no URL of http or https"),
        (policy.replace("quorum w1", &twice), "counts the witness w.example/1 more than once"),
        (policy.replace("quorum w1", "quorum w2"), "w2"),
    ] {
        bench.write("audit.witness-policy", policy);
        bench.run(SERVE).refused(2, says);
    }
    bench.write("audit.witness-policy", policy);
    bench.write("graven.toml", settings.replace("witnessing.audit", "witnessing.adit"));
    bench.run(SERVE).refused(2, "no log of that name");
}

#[test]
fn a_witness_on_https_is_believed_by_the_ca_that_the_settings_name() {
    let bench = Bench::with_log();
    let (ca, other) = (Ca::new(), Ca::new());
    let issued = ca.issue("localhost");
    bench.write("w.pem", issued.certificate);
    bench.write_secret("w.key", issued.key);
    bench.write("ca.pem", ca.pem());
    bench.write("other.pem", other.pem());
    bench.write("none.pem", "nothing");
    let keys = bench.run("witness init --data-dir w --name w.example --key-types ed25519").ok();
    let policy = String::from_utf8(bench.read("data/audit.policy")).unwrap();
    let logs = policy.lines().filter_map(|line| line.strip_prefix("log ")).collect::<Vec<_>>().join("\n");
    bench.write("audit.vkeys", logs);
    bench.run("witness add-log --data-dir w --origin example.com/audit --keys audit.vkeys").ok();
    let witness =
        bench.serve_with("witness serve --data-dir w --listen 127.0.0.1:0 --tls-cert w.pem --tls-key w.key");
    let url = witness.url().replace("127.0.0.1", "localhost");
    bench.write("audit.witness-policy", format!("witness w {} {url}\nquorum w\n", keys.text().trim()));
    let believe = |ca: &str| {
        let table = format!("[witnessing.audit]\npolicy = \"audit.witness-policy\"\nca = \"{ca}\"\n");
        bench.write("graven.toml", format!("data_dir = \"data\"\n{table}"));
    };
    bench.write("entry", "an entry");

    believe("none.pem");
    bench.run(SERVE).refused(2, "none.pem");
    believe("other.pem");
    let server = bench.serve_with(SERVE);
    thread::sleep(Duration::from_secs(1));
    assert_ne!(bench.at(&server, "append entry").code, Some(0), "it believed another CA");
    server.stop();
    believe("ca.pem");
    let server = bench.serve_with(SERVE);
    let patience = Instant::now() + Duration::from_secs(20);
    while bench.at(&server, "append entry").code != Some(0) {
        assert!(Instant::now() < patience, "it never believed the right one");
    }
    server.stop();
    witness.stop();
}
