//! Whole logs, read by others and recomputed.

use std::{fs, process::Command};

use crate::{
    rig::{MANY, Place, flip},
    tools::{go, python},
};

#[test]
#[ignore = "needs python3"]
fn python_reads_the_whole_log() {
    let place = Place::new("public");
    let server = place.serve_openly();
    place.fill(&server, MANY);
    let mut read = python("read_log.py");
    place
        .run_at(&server, read.args(["--keys", "audit.vkeys", &server.site()]))
        .says("10500 entries, signed by ECDSA P-256, Ed25519, ML-DSA-44 at ")
        .says("entries: all 10500 lead to the signed root")
        .says("tiles: all 43 ")
        .says("gzip: ");
}

#[test]
#[ignore = "needs python3"]
fn python_reads_a_private_log_over_tls() {
    let place = Place::new("private");
    let server = place.serve_securely("");
    place.fill(&server, 600);
    let keys = ["--keys", "audit.vkeys"];
    place
        .run_at(&server, python("read_log.py").args(keys).arg(server.site()))
        .says("entries: all 600 ")
        .says("TLS: all of it was read over 1.3, and 1.2 is refused");
    let stranger = server.with_token("gvn_of-somebody-else");
    place.run_at(&stranger, python("read_log.py").args(keys).arg(stranger.site())).refuses("HTTP Error 401");
}

#[test]
#[ignore = "needs python3 and go"]
fn go_x_mod_reads_the_whole_log() {
    let place = Place::new("private");
    let server = place.serve_securely("");
    place.fill(&server, MANY);
    place
        .run_at(&server, go("xmod").args(["-keys", "audit.vkeys", &server.site()]))
        .says("example.com/audit, 10500 entries, 1 signature verified, 2 of other types")
        .says("entries: all 10500 lead to the signed root")
        .says("tiles: all 10500 leaf hashes are those of the entries")
        .says("proofs: 20 of inclusion and 20 of consistency hold");
}

#[test]
#[ignore = "needs python3 and go"]
fn tessera_reads_the_whole_log_and_its_fsck_finds_nothing() {
    let place = Place::new("private");
    let server = place.serve_securely("");
    place.fill(&server, MANY);
    let ran = place.run_at(&server, go("tessera").args(["-keys", "audit.vkeys", &server.site()]));
    ran.says("10500 entries, verified with key ").says("proofs: 20 of inclusion and 20 of consistency hold");
    assert_eq!(
        ran.said().matches("fsck: no complaint").count(),
        3,
        "with Ed25519, with ECDSA P-256 and with ML-DSA-44: {ran}"
    );
}

/// Each reader can fail: an altered copy of what the server exported is refused, the copy itself is not.
#[test]
#[ignore = "needs python3 and go"]
fn no_reader_takes_an_altered_copy() {
    let place = Place::new("public");
    let server = place.serve_openly();
    place.fill(&server, 600);
    server.stop();

    let site = place.path("data/logs/audit/site");
    let checkpoint = fs::read_to_string(site.join("checkpoint")).unwrap();
    let root = checkpoint.match_indices('\n').nth(1).unwrap().0 + 1;
    let readers: [fn() -> Command; 3] = [|| python("read_log.py"), || go("xmod"), || go("tessera")];
    // What each of the readers says.
    let altered = [
        ("tile/entries/001", 20, ["was not signed", "was not signed", "fsck: failed: tile/"]),
        ("tile/entries/002.p/88", 20, ["was not signed", "was not signed", "fsck: failed: tile/"]),
        ("tile/0/001", 4_000, ["holds other hashes", "inconsistent tile", "calculated root"]),
        ("tile/0/002.p/88", 50, ["holds other hashes", "inconsistent tile", "calculated root"]),
        ("tile/1/000.p/2", 40, ["holds other hashes", "inconsistent tile", "calculated root"]),
        ("checkpoint", root, ["signature does not verify", "invalid signature", "invalid signature"]),
    ];
    for (file, at, complaints) in altered {
        let copy = place.path("copy");
        place.run(Command::new("cp").arg("-r").arg(&site).arg(&copy)).ok();
        let read = |reader: fn() -> Command| {
            place.run(reader().args(["--keys", "audit.vkeys"]).arg(format!("file://{}", copy.display())))
        };
        for reader in readers {
            read(reader).ok();
        }
        flip(&copy.join(file), at);
        for (reader, complaint) in readers.into_iter().zip(complaints) {
            read(reader).refuses(complaint);
        }
        fs::remove_dir_all(copy).unwrap();
    }
}
