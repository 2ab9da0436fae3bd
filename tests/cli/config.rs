//! What a server refuses to start with, before it touches a socket or a data directory.

use crate::bench::Bench;

const SERVER: &str = "data_dir = \"data\"\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"off\"\n";

/// A folder with a certificate, its key and a token's hash, each as it should be.
fn prepared() -> Bench {
    let bench = Bench::with_log();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    bench.write("server.pem", made.cert.pem());
    bench.write_secret("server.key", made.signing_key.serialize_pem());
    bench.run("token new --name ci --grant append:audit --credentials credentials.toml").ok();
    bench
}

const TLS: &str = "[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\n";
const ACCESS: &str = "[access]\ncredentials = \"credentials.toml\"\n";

#[track_caller]
fn refused(bench: &Bench, settings: &str, says: &str) {
    bench.write("graven.toml", settings);
    bench.run("config check --config graven.toml").refused(2, says);
    // The server says the same.
    bench.run("serve --config graven.toml").refused(2, says);
}

#[test]
fn what_is_in_order_is_summed_up() {
    let bench = prepared();
    bench.write("graven.toml", format!("{SERVER}{TLS}{ACCESS}").replace("127.0.0.1:0", "0.0.0.0:4740"));
    let said = bench.run("config check --config graven.toml").ok();
    for part in ["https://0.0.0.0:4740", "1 credentials", "good until", "off", "all is well"] {
        assert!(said.text().contains(part), "{part}: {}", said.text());
    }
}

#[test]
fn nobody_serves_to_the_world_by_mistake() {
    let bench = prepared();
    refused(&bench, SERVER, "no credentials are configured");
    let world = SERVER.replace("127.0.0.1:0", "0.0.0.0:0");
    refused(&bench, &format!("{world}{ACCESS}"), "without TLS");
    let metrics = SERVER.replace("\"off\"", "\"192.0.2.1:4741\"");
    refused(&bench, &format!("{metrics}{ACCESS}"), "ops.listen = 192.0.2.1:4741");
    bench.write("graven.toml", format!("{SERVER}{ACCESS}"));
    bench.run("serve --config graven.toml --dev").refused(2, "leave out one of them");
    bench.run("serve --data-dir data --dev --listen 0.0.0.0:0").refused(2, "loopback interface");
}

#[test]
fn a_secret_that_others_can_read_is_none() {
    let bench = prepared();
    let settings = format!("{SERVER}{TLS}{ACCESS}");
    for (file, mode) in [("server.key", 0o644), ("server.key", 0o620), ("credentials.toml", 0o664)] {
        bench.set_mode(file, mode);
        refused(&bench, &settings, &format!("{file} has mode {mode:03o}"));
        bench.set_mode(file, 0o600);
    }
    // As an orchestrator hands it over.
    bench.set_mode("server.key", 0o440);
    bench.write("graven.toml", settings);
    bench.run("config check --config graven.toml").ok();
}

#[test]
fn what_does_not_go_together_is_named() {
    let bench = prepared();
    let with = |more: &str| format!("{SERVER}{TLS}{more}{ACCESS}");
    refused(&bench, &with("client_auth = \"required\"\n"), "tls.client_ca");
    refused(&bench, &with("client_ca = \"nowhere.pem\"\n"), "nowhere.pem");
    refused(&bench, &with("cipher = \"rot13\"\n"), "cipher");
    for origin in ["*", "nonsense", "https://a.example/x", "https://a b", "https://a.example/"] {
        refused(&bench, &format!("{SERVER}{ACCESS}[web]\norigins = [\"{origin}\"]\n"), "web.origins");
    }
    for limit in
        ["max_connections = 0", "max_connections = 9223372036854775807", "idle_s = 0", "request_s = 99999999"]
    {
        refused(&bench, &format!("{SERVER}{ACCESS}[limits]\n{limit}\n"), limit.split(' ').next().unwrap());
    }
    for traces in [
        "otlp_endpoint = \"nonsense here\"",
        "otlp_endpoint = \"https://a:4317\"",
        "otlp_endpoint = \"http://a:4317\"\nsample_ratio = 7.5",
    ] {
        refused(&bench, &format!("{SERVER}{ACCESS}[traces]\n{traces}\n"), "traces.");
    }
    refused(&bench, &format!("{SERVER}[engine]\nmax_unsealed_mib = 8\n{ACCESS}"), "max_unsealed_mib");
    let other = rcgen::KeyPair::generate().unwrap();
    bench.write_secret("server.key", other.serialize_pem());
    refused(&bench, &with(""), "server.key");
    bench.write_secret("credentials.toml", "[[token]]\nname = \"x\"\n");
    refused(&bench, &format!("{SERVER}{ACCESS}"), "credentials.toml");
}

#[test]
fn a_token_is_shown_once_and_kept_as_a_hash() {
    let bench = prepared();
    let made =
        bench.run("token new --name two --grant read:* --expires 90d --credentials credentials.toml").ok();
    let token = made.text().trim().to_owned();
    assert!(token.starts_with("gvn_"));
    let file = String::from_utf8(bench.read("credentials.toml")).unwrap();
    assert!(!file.contains(&token) && file.contains("name = \"two\"") && file.contains("expires = "));
    let again = "token new --name two --grant read:* --credentials credentials.toml";
    bench.run(again).refused(2, "`two` is there twice");
    assert_eq!(bench.read("credentials.toml"), file.as_bytes(), "what is refused changes nothing");
    bench
        .run("token new --name three --grant write:audit --credentials credentials.toml")
        .misused("write:audit");
}

#[test]
fn tokens_that_are_made_at_once_are_all_kept() {
    let bench = prepared();
    let new = |n: u32| format!("token new --name n{n} --grant read:* --credentials credentials.toml");
    let all: Vec<_> = (0..8).map(|n| bench.command(&new(n)).spawn().unwrap()).collect();
    all.into_iter().for_each(|mut one| assert!(one.wait().unwrap().success()));
    let file = String::from_utf8(bench.read("credentials.toml")).unwrap();
    assert_eq!(file.matches("[[token]]").count(), 9);
    assert!(!bench.path("credentials.toml.new").exists());
    let late = new(9).replace("--grant", "--expires 9999999y --grant");
    bench.run(&late).misused("century");
}

#[test]
fn a_token_in_the_wrong_place_is_in_no_log() {
    let bench = prepared();
    bench.write("graven.toml", format!("{SERVER}{ACCESS}"));
    let server = bench.serve_with("serve --config graven.toml");
    bench.write_secret("credentials.toml", "[[token]]\nname = \"x\"\ntoken = \"gvn_canary\"\n");
    server.signal(rustix::process::Signal::HUP);
    let log = || String::from_utf8(bench.read("server.log")).unwrap();
    for _ in 0..200 {
        if log().contains("what is in use stays") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(log().contains("what is in use stays") && !log().contains("canary"), "{}", log());
    server.stop();
}

#[test]
fn a_probe_tells_whether_a_server_is_ready() {
    let bench = Bench::with_log();
    let server = bench.serve();
    let ready = format!("health --url {}/readyz", server.url());
    assert_eq!(bench.run(&ready).ok().text(), "ok\n");
    bench.run(&format!("health --url {}/nothing", server.url())).refused(2, "no probe");
    server.stop();
    bench.run(&ready).refused(2, "readyz");
}
