//! Logs that others wrote come to our witness.

use std::fs;

use crate::{
    rig::{Place, Ran},
    tools::go,
};

const ORIGIN: &str = "example.com/posix";

/// Tessera publishes nothing without its quorum, here a single witness, by either of its keys.
#[test]
#[ignore = "needs python3 and go"]
fn tessera_publishes_what_our_witness_cosigned() {
    let place = Place::new("private");
    make_keys(&place, "posix");
    let witness = place.serve_witness(ORIGIN, "posix.vkeys");

    let mut entries = 0;
    let keys = fs::read_to_string(place.path("w.vkeys")).unwrap();
    for (vkey, kind) in keys.lines().zip(["Ed25519", "ML-DSA-44"]) {
        place.write("one.vkey", vkey);
        place.write("policy", format!("witness w {vkey} {}\nquorum w\n", witness.url()));
        for more in [10, 300] {
            append(&place, "posix", more).says(&format!("published: {more} more"));
            entries += more;
            let folder = format!("file://{}", place.path("posix").display());
            let mut check = go("cosigned");
            check.args(["-keys", "posix.vkeys", "-witnesses", "one.vkey", &folder]);
            let cosigned = format!("cosignature: {ORIGIN}, {entries} entries, by example.com/w with {kind}");
            place.run(&mut check).says(&cosigned);
        }
    }

    // It can fail: the witness knows other keys for this origin.
    make_keys(&place, "other");
    append(&place, "other", 1).refuses("no signatures verify against trusted public key");
}

fn make_keys(place: &Place, name: &str) {
    let made = place.run(go("posixlog").args(["-new", ORIGIN, &format!("{name}.keys")])).ok();
    place.write(&format!("{name}.vkeys"), made.said());
}

fn append(place: &Place, name: &str, count: u64) -> Ran {
    let mut append = go("posixlog");
    append.args(["-count", &count.to_string(), "-policy", "policy", "-timeout", "6s"]);
    place.run(append.args([&format!("{name}.keys"), name]))
}
