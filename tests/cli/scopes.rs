//! Who may do what: defined, asked for, approved, checked, reviewed, taken away, looked back on, replayed and handed to an auditor.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use graven_event::{
    Facts, Frame, Ref, Time, Word,
    facts::{Command as Number, Genesis, KeyText, ScopeCommand},
    scopes::RULES,
};
use graven_merkle::{Frontier, leaf_hash};
use graven_note::{Checkpoint, KeyName, LocalSigner, Origin, SignatureType, Signer as _, sign_checkpoint};
use serde_json::Value;

use crate::bench::{Bench, Ran, Server, ended};

const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "gate"];

const SETTINGS: &str = "data_dir = \"data\"\naccess = { credentials = \"credentials.toml\" }\n";

/// A log whose administrator is alice, and a server that knows everybody.
fn with_scopes(more_settings: &str) -> (Bench, Server) {
    let bench = Bench::new();
    bench.write_secret("hook-secret", "a secret of the hook\n");
    bench.run("init --data-dir data --origin example.com/audit --kind events --administrator alice").ok();
    for name in PEOPLE {
        let grants: String = ["append", "read", "query", "reveal", "scope", "check", "admin"]
            .iter()
            .map(|permission| format!(" --grant {permission}:*"))
            .collect();
        let made = bench.run(&format!("token new --name {name}{grants} --credentials credentials.toml")).ok();
        bench.write_secret(&format!("{name}.token"), made.text());
    }
    bench.write("graven.toml", format!("{SETTINGS}{more_settings}"));
    let server = serve(&bench);
    (bench, server)
}

fn serve(bench: &Bench) -> Server {
    bench.serve_with("serve --config graven.toml --listen 127.0.0.1:0 --ops-listen off")
}

fn by(bench: &Bench, server: &Server, who: &str, arguments: &str) -> Ran {
    let mut command = bench.command_at(server, arguments);
    ended(command.args(["--token-file", &format!("{who}.token"), "--log", "audit"]))
}

/// With a scope that bob approves, and a grant of it for billing, asked for by carol. Answers its number.
fn granted(bench: &Bench, server: &Server) -> String {
    by(bench, server, "alice", "scopes define payroll.read --tier read --approver bob --longest 90days").ok();
    let asked =
        by(bench, server, "carol", "scopes request billing --scope payroll.read --expires 30days").ok();
    let grant = asked.text().trim().to_owned();
    assert!(grant.ends_with("@1") && grant.len() == 34, "{asked}");
    by(bench, server, "bob", &format!("scopes approve {grant}")).ok();
    grant[..32].to_owned()
}

#[test]
fn a_grant_lives_and_its_history_is_proven() {
    let (bench, server) = with_scopes("");
    by(&bench, &server, "bob", "scopes define payroll.read").refused(2, "administrators-only");
    by(&bench, &server, "carol", "scopes request billing --scope payroll.read").refused(2, "scope-unknown");
    by(&bench, &server, "alice", "scopes define payroll.read --tier read --approver bob").ok();
    let asked =
        by(&bench, &server, "carol", "scopes request billing --scope payroll.read --because audit").ok();
    let grant = asked.text().trim().to_owned();
    by(&bench, &server, "carol", &format!("scopes approve {grant}")).refused(2, "self-approval");
    let check = "check --client billing --scope payroll.read";
    by(&bench, &server, "gate", check).refused(1, "denied: grant-pending for payroll.read: entry ");
    // The beginning of a number is enough.
    by(&bench, &server, "bob", &format!("scopes approve {} --wait published", &grant[..8])).ok();
    let allowed = by(&bench, &server, "gate", &format!("{check} --json")).ok().object();
    assert_eq!((&allowed["allowed"], &allowed["reason"]), (&true.into(), &"granted".into()));
    let proven = by(&bench, &server, "gate", &format!("{check} --wait published")).ok();
    assert!(proven.text().contains("proven under the head of "), "{proven}");
    let denied = by(&bench, &server, "gate", "check --client other --scope payroll.read --json");
    denied.refused(1, "denied: no-grant");
    assert_eq!(denied.object()["missing"][0], "payroll.read");

    let index = allowed["index"].as_u64().unwrap();
    let explained = by(&bench, &server, "alice", &format!("explain {index} --json")).ok().object();
    assert_eq!((&explained["reproduced"], &explained["client"]), (&true.into(), &"billing".into()));
    by(&bench, &server, "alice", "explain 1").refused(2, "NOT_A_DECISION");

    let revoked =
        by(&bench, &server, "alice", &format!("scopes revoke {} --json", &grant[..32])).ok().object();
    assert_eq!(revoked["revision"], 3);
    by(&bench, &server, "gate", check).refused(1, "denied: grant-revoked");

    let history = by(&bench, &server, "alice", "scopes history billing payroll.read --json").ok().objects();
    let (head, steps) = history.split_last().unwrap();
    let told: Vec<_> = steps.iter().map(|step| (text(&step["what"]), text(&step["by"]))).collect();
    let expected = [
        ("request", "user:carol"),
        ("define", "user:alice"),
        ("request", "user:carol"),
        ("approve", "user:carol"),
        ("approve", "user:bob"),
        ("first-use", "application:billing"),
        ("last-use", "application:billing"),
        ("revoke", "user:alice"),
    ];
    let tells = |one: &(&str, &str)| told.contains(one);
    assert!(expected.iter().all(tells), "{told:?}");
    assert_eq!(
        steps.iter().find(|step| step["what"] == "request" && step["refused"].is_null()).unwrap()["justification"],
        "audit"
    );
    let steps_at =
        |what: &str| steps.iter().find(|step| step["what"] == what).unwrap()["index"].as_u64().unwrap();
    assert!(steps_at("first-use") < steps_at("last-use") && steps_at("last-use") < steps_at("revoke"));
    assert!(!head["proof"]["hashes"].as_array().unwrap().is_empty());
    let table = by(&bench, &server, "alice", "scopes history billing").ok();
    assert!(table.stderr.contains("proven by one proof of "), "{table}");
    assert!(table.text().contains("self-approval"), "{table}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn what_stands_is_listed_now_and_at_any_earlier_point() {
    let (bench, server) = with_scopes("");
    let grant = granted(&bench, &server);
    let list = by(&bench, &server, "alice", "scopes list --json").ok().object();
    assert_eq!(list["administrators"][0], "user:alice");
    assert_eq!(
        (&list["scopes"][0]["scope"], &list["scopes"][0]["approvers"][0]),
        (&"payroll.read".into(), &"user:bob".into())
    );
    assert!(by(&bench, &server, "alice", "scopes list").ok().text().contains("payroll.read  read"));
    by(&bench, &server, "gate", "check --client billing --scope payroll.read").ok();
    let grants = by(&bench, &server, "alice", "scopes grants --client billing --json").ok().object();
    let found = &grants["grants"][0];
    assert_eq!((text(&found["grant"]), &found["status"]), (&grant[..], &"active".into()));
    assert_eq!((&found["scopes"][0]["uses"], &found["requester"]), (&1.into(), &"user:carol".into()));
    let before = found["changed_index"].as_u64().unwrap();
    let earlier = by(&bench, &server, "alice", &format!("scopes at --size {before} --json")).ok().object();
    assert_eq!(
        (&earlier["grants"][0]["status"], &earlier["state_size"]),
        (&"pending".into(), &before.into())
    );
    let long_ago = by(&bench, &server, "alice", "scopes at --time 2020-01-01T00:00:00Z --json").ok().object();
    assert_eq!(long_ago["grants"].as_array().unwrap().len(), 0);
    by(&bench, &server, "alice", "scopes at").misused("--size");
    let unused = by(&bench, &server, "alice", "scopes unused --since 90days --json").ok().object();
    assert_eq!(unused["grants"].as_array().unwrap().len(), 0, "it began since");
}

#[test]
fn reviews_keep_and_take_away() {
    let (bench, server) = with_scopes("");
    let grant = granted(&bench, &server);
    let opened = by(&bench, &server, "alice", "scopes review open --scope payroll.read --due 14days").ok();
    let review = opened.text().trim().to_owned();
    let listed = by(&bench, &server, "alice", "scopes review list --json").ok().object();
    assert_eq!((text(&listed["review"]), text(&listed["open"][0])), (&review[..], &grant[..]));
    let attest = format!("scopes review attest {} {} keep", &review[..8], &grant[..8]);
    by(&bench, &server, "carol", &attest).refused(2, "self-approval");
    by(&bench, &server, "bob", &attest).ok();
    by(&bench, &server, "alice", &format!("scopes review close {review}")).ok();
    by(&bench, &server, "gate", "check --client billing --scope payroll.read").ok();
    let table = by(&bench, &server, "alice", "scopes review list").ok();
    assert!(table.text().contains("closed"), "{table}");
    // What nobody attests is gone.
    let again = by(&bench, &server, "alice", "scopes review open --json").ok().object();
    by(&bench, &server, "alice", &format!("scopes review close {}", text(&again["id"]))).ok();
    by(&bench, &server, "gate", "check --client billing --scope payroll.read").refused(1, "grant-revoked");
}

#[test]
fn tokens_are_rotated_and_revoked() {
    let (bench, server) = with_scopes("");
    granted(&bench, &server);
    let check = |jti: &str, issued: &str| {
        let token =
            format!("--jti {jti} --issuer https://id.example.com --issued {issued} --presented payroll.read");
        by(&bench, &server, "gate", &format!("check --client billing --scope payroll.read {token}"))
    };
    check("t1", "1h").ok();
    by(&bench, &server, "alice", "scopes revoke-token t1 --issuer https://id.example.com --expires 1day")
        .ok();
    check("t1", "1h").refused(1, "token-revoked");
    check("t2", "1h").ok();
    by(&bench, &server, "bob", "scopes rotate payroll.read --issued-before 30min").ok();
    check("t2", "1h").refused(1, "token-rotated");
    check("t3", "1min").ok();
    by(&bench, &server, "gate", "check --client billing --scope payroll.read --at-least 100000")
        .refused(2, "");
}

#[test]
fn the_recovery_key_appoints_whom_nobody_in_the_log_could() {
    let bench = Bench::new();
    bench.run("init --data-dir data --origin example.com/audit --kind events").ok();
    let server = bench.serve();
    let key = "--recovery-key data/recovery-key.pem";
    bench.at(&server, "scopes define payroll.read --log audit").refused(2, "administrators-only");
    bench.at(&server, &format!("scopes appoint alice --log audit {key}")).ok();
    let list = bench.at(&server, "scopes list --log audit --json").ok().object();
    assert_eq!(list["administrators"][0], "user:alice");

    // On two machines.
    let prepared = bench.at(&server, "scopes appoint bob --log audit --prepare").ok();
    bench.write("statement", &prepared.stdout);
    let signed = bench.run("keys authorise statement --recovery-key data/recovery-key.pem").ok();
    bench.write("signature", &signed.stdout);
    let submit = "scopes appoint bob --log audit --statement statement --signature signature";
    bench.at(&server, submit).ok();
    bench.at(&server, submit).refused(2, "prepare and sign it anew");
    // Nothing else is signed as a command.
    bench.write("statement", b"graven command v1\nexample.com/audit\n\x01\x00\x01\x03");
    let refused = bench.run("keys authorise statement --recovery-key data/recovery-key.pem");
    refused.refused(1, "no statement that appoints");
}

#[test]
fn a_log_is_replayed_from_everywhere_and_its_film_is_what_a_scan_finds() {
    let (bench, server) = with_scopes("");
    let grant = granted(&bench, &server);
    for client in ["billing", "other", "billing"] {
        by(&bench, &server, "gate", &format!("check --client {client} --scope payroll.read"));
    }
    by(&bench, &server, "carol", &format!("scopes approve {grant}")).refused(2, "");
    by(&bench, &server, "alice", &format!("scopes revoke {grant} --wait published")).ok();

    let told = by(&bench, &server, "alice", "replay --save audit.leaves --json").ok().object();
    assert_eq!((&told["ok"], &told["mismatches"]), (&true.into(), &0.into()));
    assert_eq!((&told["commands"], &told["decisions"]), (&5.into(), &3.into()));
    let film = by(&bench, &server, "alice", "replay --client billing --json").ok().objects();
    let (whole, film) = film.split_last().unwrap();
    assert_eq!(whole["entries"], told["entries"]);
    let leaves = leaves(&bench.read("audit.leaves"));
    let reference = requested_for(&leaves, &grant);
    assert_eq!(indices(film), scanned(&leaves, reference));
    assert_eq!(film[0]["by"], "user:carol");
    let stranger = by(&bench, &server, "alice", "replay --client other --json").ok().objects();
    assert_eq!((stranger.len(), &stranger[0]["ended"]), (2, &"no-grant".into()));
    by(&bench, &server, "alice", "replay --client nobody").refused(2, "nothing is known of");

    let ran = bench.run("replay --policy data/audit.policy --bundle audit.leaves").ok();
    assert!(ran.text().contains("all of it follows from the entries"), "{ran}");
    let offline =
        format!("replay --policy data/audit.policy --bundle audit.leaves --json --client {reference}");
    let offline = bench.run(&offline).ok().objects();
    assert_eq!(indices(&offline[..offline.len() - 1]), indices(film));
    bench
        .run("replay --policy data/audit.policy --bundle audit.leaves --client billing")
        .refused(2, "32 hex digits");

    bench.run("replay --data-dir data --log audit").refused(2, "");
    server.stop();
    let of_directory = bench.run("replay --data-dir data --log audit --client billing --json").ok().objects();
    let (whole, of_directory) = of_directory.split_last().unwrap();
    assert_eq!((indices(of_directory), &whole["ok"]), (indices(film), &true.into()));
    assert_eq!(of_directory[0]["by"], "user:carol");
    // The server's own log of who read what is one too.
    assert_eq!(bench.run("replay --data-dir data --json").ok().objects().len(), 2);

    let length = bench.read("audit.leaves").len();
    bench.flip("audit.leaves", length - 5);
    bench
        .run("replay --policy data/audit.policy --bundle audit.leaves")
        .refused(1, "do not lead to the root");
}

/// The entries of a saved log.
fn leaves(file: &[u8]) -> Vec<Frame> {
    let mut lines = file.splitn(3, |byte| *byte == b'\n');
    assert_eq!(lines.next(), Some(&b"graven leaves v1"[..]));
    let length: usize = std::str::from_utf8(lines.next().unwrap()).unwrap().parse().unwrap();
    let mut rest = &lines.next().unwrap()[length..];
    let mut leaves = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (leaf, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
        leaves.push(Frame::decode(leaf).unwrap());
        rest = after;
    }
    leaves
}

fn requested_for(leaves: &[Frame], grant: &str) -> Ref {
    let client = |frame: &Frame| match &frame.facts {
        Facts::Scope(command) if command.grant.is_some_and(|it| it.to_string() == grant) => command.client,
        _ => None,
    };
    leaves.iter().find_map(client).unwrap()
}

/// The entries about a client: commands that name it, or a grant that was asked for it, and its decisions.
fn scanned(leaves: &[Frame], client: Ref) -> Vec<u64> {
    let grants: BTreeSet<Ref> = leaves
        .iter()
        .filter_map(|frame| match &frame.facts {
            Facts::Scope(command) if command.client == Some(client) => command.grant,
            _ => None,
        })
        .collect();
    let is_about = |frame: &Frame| match &frame.facts {
        Facts::Scope(command) => {
            command.client == Some(client) || command.grant.is_some_and(|grant| grants.contains(&grant))
        }
        Facts::Decision(decision) => decision.client == client,
        _ => false,
    };
    (0..).zip(leaves).filter(|(_, frame)| is_about(frame)).map(|(index, _)| index).collect()
}

fn indices(objects: &[Value]) -> Vec<u64> {
    objects.iter().map(|object| object["index"].as_u64().unwrap()).collect()
}

#[test]
fn a_log_that_says_what_does_not_follow_is_found_out() {
    let bench = Bench::new();
    let signer =
        LocalSigner::generate(KeyName::new("example.com/audit").unwrap(), SignatureType::Ed25519, &[7; 32])
            .unwrap();
    let word = |text: &str| Word::new(text).unwrap();
    let genesis = Genesis {
        origin: word("example.com/audit"),
        kind: word("events"),
        recovery: KeyText::new(signer.vkey().to_string()).unwrap(),
        administrators: Vec::new(),
        signature: None,
    };
    // Somebody defines a scope whom nobody appointed, and the log says that it counts.
    let forged = ScopeCommand {
        command: Number::DefineScope as u8,
        grant: None,
        revision: None,
        by: Ref([3; 16]),
        client: None,
        subject: None,
        scopes: vec![word("payroll.admin")],
        resource: None,
        tier: None,
        recording: None,
        not_before: None,
        expires: None,
        token: None,
        review: None,
        verdict: None,
        refused: None,
        issued_before: None,
        approvers: Vec::new(),
        approvals: None,
        longest: None,
        rules: RULES,
        signature: None,
    };
    let mut frontier = Frontier::new();
    let mut entries = Vec::new();
    for facts in [Facts::Genesis(genesis), Facts::Scope(forged)] {
        let frame = Frame {
            outcome: None,
            retention: 0,
            log_time: Time::from_seconds(1_700_000_000),
            id: [1; 16],
            producer: Ref::default(),
            sequence: 0,
            previous: [0; 32],
            payload: None,
            facts,
        };
        let leaf = frame.encode().unwrap();
        frontier.push(leaf_hash(&leaf));
        entries.extend_from_slice(&u16::try_from(leaf.len()).unwrap().to_be_bytes());
        entries.extend_from_slice(&leaf);
    }
    let checkpoint =
        Checkpoint::new(Origin::new("example.com/audit").unwrap(), frontier.size(), frontier.root());
    let note = sign_checkpoint(&checkpoint, &[&signer], 1_700_000_000).unwrap();
    let header = format!("graven leaves v1\n{}\n{}", note.as_str().len(), note.as_str());
    bench.write("forged.leaves", [header.as_bytes(), &entries].concat());
    let replay = format!("replay --key {} --bundle forged.leaves", signer.vkey());
    let ran = bench.run(&replay);
    ran.refused(1, "administrators-only");
    assert!(ran.text().contains("2 do not follow"), "{ran}");
    let object = bench.run(&format!("{replay} --json"));
    assert_eq!(object.objects()[2]["mismatches"], 2);
}

#[test]
fn evidence_for_a_control_verifies_anywhere_and_nothing_in_it_can_be_changed() {
    let (bench, server) = with_scopes("");
    let grant = granted(&bench, &server);
    by(&bench, &server, "gate", "check --client billing --scope payroll.read").ok();
    by(&bench, &server, "gate", "check --client other --scope payroll.read").refused(1, "");
    by(&bench, &server, "alice", &format!("scopes revoke {grant} --wait published")).ok();
    let collect = "evidence collect --control CC6.1 --from 1h";
    let collected = by(&bench, &server, "alice", &format!("{collect} --out pack --json")).ok().object();
    assert_eq!((&collected["leaves"], &collected["counts"]["approve"]), (&7.into(), &1.into()));
    by(&bench, &server, "alice", &format!("{collect} --out pack")).refused(2, "is there already");
    by(&bench, &server, "alice", &format!("{collect} --out pack.tar")).ok();
    by(&bench, &server, "alice", "evidence collect --control CC9 --from 1h --out x")
        .misused("no such control");
    server.stop();

    let verify = "evidence verify --policy data/audit.policy";
    let ran = bench.run(&format!("{verify} pack")).ok();
    assert!(ran.text().contains("7 entries for SOC 2 CC6.1"), "{ran}");
    let object = bench.run(&format!("{verify} --json pack.tar")).ok().object();
    assert_eq!((&object["verified"], &object["counts"]["decision, denied"]), (&true.into(), &1.into()));
    let summary = String::from_utf8(bench.read("pack/SUMMARY.md")).unwrap();
    assert!(summary.contains("| user:bob |") && summary.contains("application:billing"), "{summary}");

    let with = |file: &str, from: &str, to: &str| {
        bench.copy("pack", "changed");
        let path = format!("changed/{file}");
        let text = String::from_utf8(bench.read(&path)).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::remove_file(bench.path(&path)).unwrap();
        bench.write(&path, text.replacen(from, to, 1));
        let ran = bench.run(&format!("{verify} changed"));
        std::fs::remove_dir_all(bench.path("changed")).unwrap();
        ran
    };
    with("SUMMARY.md", "user:bob", "user:carol").refused(1, "its summary");
    with("manifest.json", "\"approve\": 1", "\"approve\": 2").refused(1, "counts other entries");
    with("manifest.json", "SOC 2", "HIPAA").refused(1, "a control that this version does not know");
    with("manifest.json", "\"first_index\": 0", "\"first_index\": 1").refused(1, "is no evidence for this");
    with("checkpoint", "example.com/audit", "example.com/other").refused(1, "");
    let lines = String::from_utf8(bench.read("pack/leaves.jsonl")).unwrap();
    let last = lines.lines().last().unwrap();
    with("leaves.jsonl", &format!("{last}\n"), "").refused(1, "");
    let other = lines.lines().next().unwrap();
    with("leaves.jsonl", other, &other.replacen("R1JWRQ", "R1JWRR", 1)).refused(1, "cannot be read");
}

#[test]
#[ignore = "needs python3"]
fn a_pack_is_verified_by_a_program_that_shares_no_code() {
    let (bench, server) = with_scopes("");
    granted(&bench, &server);
    for number in 0..40 {
        by(&bench, &server, "gate", &format!("check --client c{} --scope payroll.read", number % 3));
    }
    by(&bench, &server, "gate", "check --client billing --scope payroll.read --wait published").ok();
    by(&bench, &server, "alice", "evidence collect --control CC7.3 --from 1h --out pack").ok();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/python/verify_pack.py");
    let run = |pack: &str| Command::new("python3").arg(&program).arg(bench.path(pack)).output().unwrap();
    let said = run("pack");
    let told = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.status.success() && told.contains("41 entries"),
        "{told}{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let text = String::from_utf8(bench.read("pack/manifest.json")).unwrap();
    let hash = text.split("\"hashes\": [").nth(1).unwrap().split('"').nth(1).unwrap();
    bench.copy("pack", "changed");
    std::fs::remove_file(bench.path("changed/manifest.json")).unwrap();
    let other = format!("{}=", "A".repeat(43));
    bench.write("changed/manifest.json", text.replacen(hash, &other, 1));
    assert!(!run("changed").status.success());
}

#[test]
fn alerts_are_printed_followed_and_told_to_a_webhook_also_after_a_restart() {
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hook.local_addr().unwrap().port();
    let (told, heard) = mpsc::channel();
    // The first alert is not taken at once.
    thread::spawn(move || {
        for (number, stream) in hook.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut signature, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                    break;
                }
                let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
                match name {
                    "graven-signature" => signature = value.to_owned(),
                    "content-length" => length = value.parse().unwrap(),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let status = if number == 0 { "503 Service Unavailable" } else { "200 OK" };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            told.send((signature, body)).unwrap();
        }
    });
    let alerts =
        format!("\n[alerts]\nwebhook = \"http://127.0.0.1:{port}/hook\"\nsecret_file = \"hook-secret\"\n");
    let (bench, server) = with_scopes(&alerts);
    granted(&bench, &server);
    by(&bench, &server, "alice", "rules enable denial-burst").ok();
    let rules = by(&bench, &server, "alice", "rules list --json").ok().objects();
    assert!(rules.iter().any(|rule| rule["rule"] == "denial-burst" && rule["active"] == true), "{rules:?}");
    let burst = |server: &Server, client: &str| {
        for _ in 0..12 {
            by(&bench, server, "gate", &format!("check --client {client} --scope payroll.read"));
        }
    };
    burst(&server, "mallory");
    let patience = Duration::from_secs(30);
    let (signature, body) = heard.recv_timeout(patience).unwrap();
    let again = heard.recv_timeout(patience).unwrap();
    assert_eq!(again.1, body, "what was not taken is told again");
    let alert: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&alert["rule"], &alert["log"]), (&"denial-burst".into(), &"example.com/audit".into()));
    assert!(!String::from_utf8_lossy(&body).contains("mallory"), "no names leave this way");
    let (time, mac) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert_eq!(mac, hmac(b"a secret of the hook", &[time.as_bytes(), b".", &body].concat()));

    let printed = by(&bench, &server, "alice", "alerts --json --prove").ok().objects();
    assert_eq!((&printed[0]["index"], &printed[0]["rule"]), (&alert["index"], &"denial-burst".into()));
    assert!(printed[0]["proven_in_size"].is_u64());
    by(&bench, &server, "alice", "rules retire unknown").refused(2, "RULE_UNKNOWN");
    server.stop();
    while heard.try_recv().is_ok() {}

    let server = serve(&bench);
    burst(&server, "trudy");
    let (_, body) = heard.recv_timeout(patience).unwrap();
    let later: Value = serde_json::from_slice(&body).unwrap();
    assert!(later["index"].as_u64() > alert["index"].as_u64(), "what was told is not told again");
}

fn hmac(secret: &[u8], message: &[u8]) -> String {
    use aws_lc_rs::hmac;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message);
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
