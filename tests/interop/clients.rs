//! Clients in other languages: the worked examples, and one that knows nothing but what reflection tells.

use std::process::Command;

use crate::{
    rig::{Place, graven},
    tools::{go, java, python},
};

/// Seals late and soon has enough: after [`BURST`] appends are refused until the next head.
const SLOW: &str = "[engine]\nmax_unsealed_mib = 17\ncheckpoint_interval_ms = 8000\n";
/// Lines of 65,000 bytes, just above those 17 MiB. They fill a bundle, so that something can be sealed.
const BURST: usize = 275;

#[test]
#[ignore = "needs python3"]
fn a_client_from_reflection_alone_appends_and_verifies() {
    let place = Place::new("private");
    let server = place.serve_securely("");
    place
        .run_at(&server, python("reflection.py").args(["--keys", "audit.vkeys"]))
        .says("append: entry 0, twice; its proof holds")
        .says("inclusion: entry 0, by its index and by its leaf hash")
        .says("consistency: ")
        .says("entries: what is read is what was appended");

    // It can fail: these are another log's keys.
    let other = Place::new("private");
    let ran = place.run_at(&server, python("reflection.py").arg("--keys").arg(other.path("audit.vkeys")));
    ran.refuses("no signature by");
}

#[test]
#[ignore = "needs python3"]
fn the_worked_client_in_python_works() {
    works(|| python("append.py"));
}

#[test]
#[ignore = "needs python3 and go"]
fn the_worked_client_in_go_works() {
    works(|| go("append"));
}

#[test]
#[ignore = "needs python3 and mvn"]
fn the_worked_client_in_java_works() {
    works(|| java("Append"));
}

fn works(client: impl Fn() -> Command) {
    client(); // Makes it, so that no time is lost below.
    let place = Place::new("private");
    let server = place.serve_securely(SLOW);
    place.write("entry", "what happened");
    let append = |arguments: [&str; 3]| place.run_at(&server, client().args(arguments));

    // A head comes when the server starts, or with the first entry; the next one later than the client.
    place.write("lines", format!("{}\n", "x".repeat(65_000)).repeat(BURST));
    place.run_at(&server, &mut graven("append --log audit --lines lines")).ok();
    let (ran, index) = (append(["key", "entry", "proof"]), format!("entry {BURST} "));
    ran.says(&format!("{index}is published")).complains("again in");
    let verify = "verify --policy data/audit.policy --entry entry proof";
    place.run(&mut graven(verify)).says(&format!("this is {index}of"));
    let keys = ["--keys", "audit.vkeys", "entry", "proof"];
    place.run(python("verify_proof.py").args(keys)).says(&format!("this is {index}of"));

    append(["key", "entry", "again"]).says(&format!("{index}is published"));
    place.write("other", "what did not happen");
    append(["key", "other", "never"]).refuses("IDEMPOTENCY_KEY_REUSED");
    let stranger = server.with_token("gvn_of-somebody-else");
    place.run_at(&stranger, client().args(["key", "entry", "never"])).refuses("CREDENTIALS_INVALID");
    assert!(!place.path("never").exists());
}
