//! What operators write and watch: settings, credentials, metrics.

use std::{collections::BTreeSet, fs, net::TcpListener, path::Path};

use graven_note::{LocalSigner, SignatureType, Signer as _};

use crate::{
    facts::{FOLDER, Facts, keep},
    house::{House, OPEN},
    http1::Connection,
};

/// Settings that name everything there is, and credentials of each kind.
#[test]
fn settings_and_credentials_are_still_understood() {
    let house = House::new();
    house.secret("id.secret", "secret");
    for name in ["graven.toml", "credentials.toml"] {
        house.secret(name, &fs::read_to_string(Path::new(FOLDER).join(name)).unwrap());
    }
    house.bench.run("config check --config graven.toml").ok();
    // Mistakes are still found.
    house.secret("credentials.toml", "[[token]]\nname = \"x\"\n");
    house.bench.run("config check --config graven.toml").refused(2, "credentials.toml");
}

/// Alerts and dashboards go by names and labels.
#[test]
fn metrics_keep_their_names_and_labels() {
    let house = House::new();
    let ops = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = OPEN.replace("listen = \"off\"", &format!("listen = \"{ops}\""));
    let key = LocalSigner::generate("w.example".parse().unwrap(), SignatureType::CosignatureV1, &[1; 32]);
    house.bench.write("witnesses.policy", format!("witness w {}\nquorum w\n", key.unwrap().vkey()));
    house.bench.write("graven.toml", settings + "[witnessing.open]\npolicy = \"witnesses.policy\"\n");
    let server = house.serve();
    house.browse(&server).get("/open/checkpoint", &[]).served("no-cache");
    // What is counted by kind is there once there is one of a kind.
    let rpc = ["content-type: application/grpc-web+proto", "content-length: 0"];
    house.browse(&server).ask("POST", "/graven.v1.LogService/GetTreeHead", &rpc);
    house.browse(&server).get("/audit/checkpoint", &[]).refused(401);
    house.connect(&server, house.client(None, &[&rustls::version::TLS12])).unwrap_err();
    let page = Connection::plain(&ops.to_string()).get("/metrics", &[]).text();
    let mut facts: Facts =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
    let samples: BTreeSet<_> = page.lines().filter(|line| line.contains('{')).map(labels).collect();
    facts.extend(samples);
    facts.sort();
    keep("metrics.txt", &facts);
}

/// The name of a sample, and the names of its labels.
fn labels(sample: &str) -> String {
    let (name, labels) = sample.split_once('{').unwrap();
    let mut names: Vec<_> = labels.split("=\"").map(|part| part.rsplit(['"', ',']).next().unwrap()).collect();
    names.pop();
    names.sort_unstable();
    format!("{name} by {}", names.join(", "))
}
