//! Policies with witnesses, in every command that believes a head: a key that was stolen is not enough.

use std::time::{SystemTime, UNIX_EPOCH};

use graven_note::{KeyName, LocalSigner, Origin, SignatureType, SignedNote, Signer, TlogProof, sign_line};

use crate::{
    Fork,
    bench::{Bench, Ran},
};

fn witness(name: &str, signature_type: SignatureType, seed: u8) -> LocalSigner {
    LocalSigner::generate(KeyName::new(name).unwrap(), signature_type, &[seed; 32]).unwrap()
}

fn witnesses() -> [LocalSigner; 3] {
    [1, 2, 3].map(|n| witness(&format!("w{n}.example"), SignatureType::CosignatureV1, n))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The log's keys, three witnesses, and two of them needed.
pub(crate) fn write_policy(bench: &Bench) {
    let policy = String::from_utf8(bench.read("data/audit.policy")).unwrap();
    let logs = policy.lines().filter(|line| line.starts_with("log ")).map(|line| format!("{line}\n"));
    let lines = witnesses().each_ref().map(|it| format!("witness {0} {1}\n", it.vkey().name(), it.vkey()));
    let quorum = "group q 2 w1.example w2.example w3.example\nquorum q\n";
    bench.write("strict.policy", logs.chain(lines).collect::<String>() + quorum);
}

/// The bundle in `from`, cosigned by these at these times.
fn cosigned(bench: &Bench, from: &str, to: &str, by: &[(&LocalSigner, u64)]) {
    let bundle = TlogProof::parse(&bench.read(from)).unwrap();
    let mut note = SignedNote::parse(bundle.checkpoint().as_bytes()).unwrap();
    for (signer, time) in by {
        note = note.with_signature(&sign_line(note.text(), *signer, *time).unwrap()).unwrap();
    }
    let bundle = TlogProof::new(bundle.index(), bundle.inclusion().clone(), note.as_str()).unwrap();
    bench.write(to, bundle.to_string());
}

fn verify(bench: &Bench, rest: &str) -> Ran {
    bench.run(&format!("verify --policy strict.policy --entry entry {rest}"))
}

#[test]
fn two_of_three_witnesses_have_to_vouch_and_lately() {
    let bench = Bench::with_log();
    write_policy(&bench);
    let server = bench.serve();
    bench.write("entry", "entry");
    bench.at(&server, "append --wait published --out proof entry").ok();

    // The log's key alone signs whatever somebody who stole it wants: nobody with this policy believes it.
    let strict = "--policy strict.policy";
    for command in [
        "head",
        "get --index 0",
        "prove --index 0",
        "watch --count 1",
        "audit",
        "consistency --from 0 --to 1",
    ] {
        bench.at(&server, &format!("{command} {strict}")).refused(1, "quorum is not met");
    }
    bench.at(&server, &format!("append --wait published {strict} entry")).refused(1, "quorum is not met");
    let audit = format!("audit {strict} --url {}/audit", server.url());
    bench.run(&audit).refused(1, "quorum is not met");
    let watched = format!("monitor --once --ops-listen off {strict} --log-url {}/audit", server.url());
    bench.run(&watched).refused(3, "witnessed");
    verify(&bench, "proof").refused(1, "quorum is not met");

    let [one, two, three] = &witnesses();
    let impostor = &witness("w2.example", SignatureType::CosignatureV1, 9);
    for (by, code) in [
        (&[(one, now())][..], 1),
        (&[(one, now()), (one, now() - 1), (one, now() - 2)], 1), // one witness, three times
        (&[(one, now()), (impostor, now())], 1),
        (&[(one, now()), (two, now())], 0),
        (&[(one, now()), (three, now() - 3_600)], 0),
    ] {
        cosigned(&bench, "proof", "cosigned", by);
        assert_eq!(verify(&bench, "cosigned").code, Some(code));
    }

    // Fresh are those that two witnesses saw lately: one whose clock runs ahead does not make up for the other.
    for (by, code) in [
        (&[(one, now()), (two, now() - 100)][..], 0),
        (&[(one, now()), (two, now() - 3_600)], 3),
        (&[(one, now() + 9_999), (two, now() - 3_600)], 3),
        (&[(one, now() + 9_999), (two, now() + 9_999)], 3),
        (&[(one, now()), (two, now() - 3_600), (three, now() - 60)], 0),
    ] {
        cosigned(&bench, "proof", "cosigned", by);
        let ran = verify(&bench, "--fresh-within 10m cosigned");
        assert_eq!(ran.code, Some(code), "{ran}");
    }
}

#[test]
fn a_stolen_key_with_another_history_is_refused_and_leaves_evidence() {
    let fork = Fork::with(6);
    let bench = &fork.bench;
    write_policy(bench);
    // What two witnesses vouched for, as a client of this policy kept it.
    let note = SignedNote::parse(&bench.at(&fork.one, "head --note").ok().stdout).unwrap();
    let [one, two, _] = &witnesses();
    let lines = [one, two].map(|it| sign_line(note.text(), it, now()).unwrap());
    let note = note.with_signature(&lines[0]).unwrap().with_signature(&lines[1]).unwrap();
    let origin = Origin::new("example.com/audit").unwrap().sha256();
    let name: String = origin.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::create_dir(bench.path("heads")).unwrap();
    bench.write(&format!("heads/{name}.checkpoint"), note.as_str());

    let head = "head --policy strict.policy --state heads";
    bench.at(&fork.one, head).refused(1, "quorum is not met");
    let ran = bench.at(&fork.other, head);
    ran.refused(5, "split view");
    let file = ran.stderr.lines().find_map(|line| line.strip_prefix("evidence: ")).unwrap();
    bench.run(&format!("evidence verify --policy strict.policy {file}")).ok();
    // A monitor does not even begin with a head that nobody vouched for.
    let watched =
        format!("--state m --log-url {}/audit --log-url {}/audit", fork.one.url(), fork.other.url());
    let ran = bench.run(&format!("monitor --once --ops-listen off --policy strict.policy {watched}"));
    ran.refused(3, "witnessed");
    assert!(ran.text().contains("nothing verified yet"), "{ran}");
}

#[test]
fn one_witness_with_two_keys_is_not_two() {
    let bench = Bench::with_log();
    let server = bench.serve();
    bench.write("entry", "entry");
    bench.at(&server, "append --wait published --out proof entry").ok();
    let policy = String::from_utf8(bench.read("data/audit.policy")).unwrap();
    let logs: String =
        policy.lines().filter(|line| line.starts_with("log ")).map(|it| format!("{it}\n")).collect();
    let [ed, ml] =
        [SignatureType::CosignatureV1, SignatureType::MlDsa44].map(|it| witness("w.example", it, 1));
    let other = witness("v.example", SignatureType::CosignatureV1, 2);
    let keys =
        format!("{logs}witness ed {}\nwitness ml {}\nwitness v {}\n", ed.vkey(), ml.vkey(), other.vkey());
    cosigned(&bench, "proof", "cosigned", &[(&ed, now()), (&ml, now())]);

    for (quorum, code, says) in [
        ("group q 2 ed ml v\nquorum q\n", 2, "counts the witness w.example more than once"),
        ("group a any ed v\ngroup q all a ml\nquorum q\n", 2, "counts the witness w.example more than once"),
        // A group of its own counts once, whether it asks for either signature or for both.
        ("group w any ed ml\ngroup q 2 w v\nquorum q\n", 1, "quorum is not met"),
        ("group w all ed ml\ngroup q 2 w v\nquorum q\n", 1, "quorum is not met"),
    ] {
        bench.write("strict.policy", format!("{keys}{quorum}"));
        verify(&bench, "cosigned").refused(code, says);
    }
    for quorum in ["group w any ed ml\nquorum w\n", "group w all ed ml\nquorum w\n"] {
        bench.write("strict.policy", format!("{keys}{quorum}"));
        verify(&bench, "cosigned").ok();
    }
    bench.write("strict.policy", format!("{keys}witness again {}\nquorum ed\n", ed.vkey()));
    verify(&bench, "cosigned").refused(2, "this public key is listed before");
}
