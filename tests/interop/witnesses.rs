//! Witnesses that others wrote cosign our checkpoints, and ours does when others ask. All cosignatures are verified with
//! x/mod's notes and transparency-dev's formats.

use std::fs;

use graven_note::{SignatureType, VerifierKey};

use crate::{
    foreign::{litewitness, omniwitness},
    rig::{Place, Ran, Server, graven},
    tools::go,
};

const ORIGIN: &str = "example.com/audit";

#[test]
#[ignore = "needs python3, go and ssh-agent"]
fn litewitness_cosigns_what_is_offered_to_it() {
    let place = Place::new("public");
    let witness = litewitness(&place, ORIGIN, &key(&place, SignatureType::Ed25519));
    cosigns(
        &place,
        &witness.url,
        &witness.vkeys,
        &["example.com/lite with Ed25519"],
        "403 invalid signature",
    );
}

#[test]
#[ignore = "needs python3 and go"]
fn omniwitness_cosigns_by_whichever_key_of_the_log_it_knows() {
    for signature_type in [SignatureType::Ed25519, SignatureType::EcdsaP256, SignatureType::MlDsa44] {
        let place = Place::new("public");
        let witness = omniwitness(&place, "omni", ORIGIN, &key(&place, signature_type));
        let both = ["example.com/omni with Ed25519", "example.com/omni with ML-DSA-44"];
        // It ought to be 403.
        cosigns(&place, &witness.url, &witness.vkeys, &both, "the witness says 500");
    }
}

#[test]
#[ignore = "needs python3 and go"]
fn our_witness_cosigns_what_a_client_in_go_offers() {
    let place = Place::new("public");
    let witness = place.serve_witness(ORIGIN, "audit.vkeys");
    let both = ["example.com/w with Ed25519", "example.com/w with ML-DSA-44"];
    cosigns(&place, witness.url(), "w.vkeys", &both, "the witness says 403");
}

/// Published with their quorum or not at all, from the first head on and after a restart, when they are asked what they
/// remember. Together their cosignatures are longer than what litewitness takes at once.
#[test]
#[ignore = "needs python3, go and ssh-agent"]
fn litewitness_and_two_omniwitnesses_are_the_quorum_of_a_log() {
    let place = Place::new("public");
    let witnesses = [
        litewitness(&place, ORIGIN, &key(&place, SignatureType::Ed25519)),
        omniwitness(&place, "omni", ORIGIN, &key(&place, SignatureType::MlDsa44)),
        omniwitness(&place, "another", ORIGIN, &key(&place, SignatureType::EcdsaP256)),
    ];
    let read = |vkeys: &str| fs::read_to_string(place.path(vkeys)).unwrap();
    let (mut vkeys, mut policy, mut groups) = (String::new(), String::new(), String::new());
    for key in read("audit.vkeys").lines() {
        policy += &format!("log {key}\n");
    }
    for (at, witness) in witnesses.iter().enumerate() {
        // The keys of one witness are one voice.
        let mut names = String::new();
        for (n, vkey) in read(&witness.vkeys).lines().enumerate() {
            let name = format!("w{at}-{n}");
            policy += &format!("witness {name} {vkey} {}\n", witness.url);
            names += &format!(" {name}");
            vkeys += &format!("{vkey}\n");
        }
        policy += &format!("group w{at} all{names}\n");
        groups += &format!(" w{at}");
    }
    place.write("witnesses.vkeys", vkeys);
    place.write("policy", format!("{policy}group everybody all{groups}\nquorum everybody\n"));

    let mut server = place.serve_securely("[witnessing.audit]\npolicy = 'policy'\npublish = 'witnessed'\n");
    for entries in [301, 602] {
        place.wait_for_witnesses(&server);
        place.fill(&server, 300);
        place.write("entry", format!("the last of {entries}"));
        let append = "append --policy policy --wait witnessed --out proof entry";
        place.run_at(&server, &mut graven(append)).ok();
        place.run(&mut graven("verify --policy policy --entry entry proof")).ok();
        let mut check = go("cosigned");
        check.args(["-keys", "audit.vkeys", "-witnesses", "witnesses.vkeys"]);
        let ran = place.run_at(&server, check.arg(server.site()));
        let both =
            ["omni with Ed25519", "omni with ML-DSA-44", "another with Ed25519", "another with ML-DSA-44"];
        for by in both.into_iter().chain(["lite with Ed25519"]) {
            ran.says(&format!("cosignature: {ORIGIN}, {entries} entries, by example.com/{by}"));
        }
        server = place.serve_again(server);
    }
}

/// A growing log, offered to a witness that knows nothing of it yet, and another log of the same origin.
#[track_caller]
fn cosigns(place: &Place, url: &str, vkeys: &str, by: &[&str], refusal: &str) {
    let server = place.serve_openly();
    place.fill(&server, 300);
    let ran = offer(place, &server, url, vkeys);
    for name in by {
        ran.says(&format!("cosignature: {ORIGIN}, 300 entries, by {name}"));
    }
    place.fill(&server, 500);
    let ran = offer(place, &server, url, vkeys);
    ran.says("conflict: the witness has 300 entries");
    for name in by {
        ran.says(&format!("cosignature: {ORIGIN}, 800 entries, by {name}"));
    }
    // The same once more, as after a restart or for a fresh time.
    offer(place, &server, url, vkeys).says("conflict: the witness has 800 entries").says("800 entries, by");

    let other = Place::new("public");
    let imposter = other.serve_openly();
    other.fill(&imposter, 900);
    let mut check = go("cosigned");
    check.arg("-keys").arg(other.path("audit.vkeys")).args(["-witnesses", vkeys]);
    place.run_at(&imposter, check.args(["-push", url, &imposter.site()])).refuses(refusal);
}

fn offer(place: &Place, server: &Server, url: &str, vkeys: &str) -> Ran {
    let mut check = go("cosigned");
    check.args(["-keys", "audit.vkeys", "-witnesses", vkeys, "-push", url]);
    place.run_at(server, check.arg(server.site()))
}

/// The log's verifier key of this type.
fn key(place: &Place, signature_type: SignatureType) -> String {
    let keys = fs::read_to_string(place.path("audit.vkeys")).unwrap();
    let has = |key: &&str| VerifierKey::parse(key).unwrap().signature_type() == signature_type;
    keys.lines().find(has).unwrap().to_owned()
}
