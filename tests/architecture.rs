//! The house rules that no compiler checks: which crate may lean on which, what the pure crates may
//! reach, where files are touched, what lies at the top level. `crates/ARCHITECTURE.md` has the reasons.
//!
//! Every rule is a function from facts to complaints, so that each is also shown to complain.

#[path = "support/tidy.rs"]
mod tidy;

use std::collections::BTreeSet;
use tidy::{
    closure, ident_in, packages, sources_of, std_modules, text_files, tracked_files,
    without_tests_and_comments,
};

/// Each crate and its layer. An arrow goes from a crate to one it depends on, and only ever points down.
const LAYERS: [(&str, u8); 18] = [
    ("graven-merkle", 0),
    ("graven-event", 1),
    ("graven-note", 1),
    ("graven-auth", 2),
    ("graven-net", 2),
    ("graven-proto", 2),
    ("graven-rules", 2),
    ("graven-store", 2),
    ("graven-log", 3),
    ("graven-client", 3),
    ("graven-vault", 3),
    ("graven-guard", 4),
    ("graven-index", 4),
    ("graven-mirror", 4),
    ("graven-witness", 4),
    ("graven-audit", 5),
    ("graven-server", 6),
    ("graven", 7),
];

/// Arrows that point down and are forbidden all the same: what a client verifies must never come from the code that made it, and whoever
/// guards a service with a log needs nothing that serves one.
const FORBIDDEN_ARROWS: [(&str, &str); 4] = [
    ("graven-server", "graven-client"),
    ("graven-guard", "graven-log"),
    ("graven-guard", "graven-vault"),
    ("graven-guard", "graven-store"),
];

/// The crates that reach no socket, file, clock, source of randomness or async runtime. They are also
/// all that offline verification is made of, so the same list keeps protobuf out of it.
const PURE_CRATES: [&str; 3] = ["graven-merkle", "graven-note", "graven-event"];

/// Pure in all that they name themselves: what parses their expressions brings a lock for its tables.
const PURE_BY_NAME: [&str; 1] = ["graven-rules"];

/// What a pure crate may not depend on, however far down. Traits without a source behind them, such as
/// `rand_core`, are fine.
const IMPURE_CRATES: [&str; 32] = [
    "async-std",
    "aws-lc-rs",
    "axum",
    "chrono",
    "fastrand",
    "futures-util",
    "getrandom",
    "h2",
    "hyper",
    "jiff",
    "libc",
    "mio",
    "nix",
    "parking_lot",
    "prost",
    "prost-types",
    "rand",
    "reqwest",
    "ring",
    "rustix",
    "rustls",
    "sled",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tonic",
    "tonic-prost",
    "tower",
    "tracing",
    "wasm-bindgen",
];

/// The modules of `std` that no pure crate names, and the clocks among its types.
const IMPURE_STD: [&str; 6] = ["env", "fs", "net", "os", "process", "thread"];
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];

/// Below the command and the client, files are touched through the store's `Fs` seam alone, so that the
/// simulator sees every step. These crates are bound by that, except for the files that are the seam.
const BEHIND_THE_SEAM: [&str; 9] = [
    "graven-auth",
    "graven-store",
    "graven-log",
    "graven-vault",
    "graven-index",
    "graven-mirror",
    "graven-audit",
    "graven-server",
    "graven-witness",
];
const THE_SEAM: [&str; 2] = ["graven-store/src/real.rs", "graven-store/src/sled_rows.rs"];

/// What may lie at the top level, next to names that begin with a dot.
const TOP_LEVEL: [&str; 9] =
    ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "benches", "crates", "deploy", "proto", "tests"];

/// Paths that exist on one machine only. Split, so that this file does not hold them itself.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

type Complaints = Vec<String>;

#[test]
fn every_crate_has_a_layer() {
    let found: BTreeSet<_> = packages().into_iter().map(|(name, _)| name).collect();
    assert_quiet(layer_complaints(&found));

    let planted = BTreeSet::from(["graven".to_owned(), "graven-extra".to_owned()]);
    assert!(layer_complaints(&planted)[0].contains("graven-extra"));
    assert!(layer_complaints(&planted)[1].contains("graven-merkle"));
}

#[test]
fn arrows_only_point_down() {
    assert_quiet(packages().iter().flat_map(|(name, on)| arrow_complaints(name, on)));

    for (from, to) in [
        ("graven-merkle", "graven-note"),
        ("graven-log", "graven-client"),
        ("graven-client", "graven-server"),
        ("graven-server", "graven-client"),
        ("graven-guard", "graven-log"),
        ("graven-guard", "graven-server"),
    ] {
        let complaints = arrow_complaints(from, &[to.to_owned()]);
        assert!(complaints.len() == 1 && complaints[0].contains(&format!("{from} → {to}")), "{complaints:?}");
    }
    assert!(arrow_complaints("graven", &["graven-client".to_owned(), "tokio".to_owned()]).is_empty());
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    assert_quiet(PURE_CRATES.iter().flat_map(|name| closure_complaints(name, &closure(name))));

    let planted = ["graven-note".to_owned(), "getrandom".to_owned(), "rand_core".to_owned()];
    let complaints = closure_complaints("graven-note", &planted);
    assert!(complaints.len() == 1 && complaints[0].contains("getrandom"), "{complaints:?}");
}

#[test]
fn pure_crates_name_nothing_impure() {
    let sources = sources_of(&[&PURE_CRATES[..], &PURE_BY_NAME].concat());
    assert_quiet(sources.iter().flat_map(|(path, text)| purity_complaints(path, text)));

    for planted in
        ["use std::fs;", "use std::{fmt, io::{self, Read}, net};", "let t = std :: time :: Instant::now();"]
    {
        assert_eq!(purity_complaints("a.rs", planted).len(), 1, "{planted}");
    }
    for fine in ["use std::{fmt, time::Duration};", "// std::fs", "#[cfg(test)]\nmod tests { use std::fs; }"]
    {
        assert!(purity_complaints("a.rs", fine).is_empty(), "{fine}");
    }
}

#[test]
fn files_are_touched_behind_the_seam_only() {
    let sources = sources_of(&BEHIND_THE_SEAM);
    assert!(
        THE_SEAM.iter().all(|seam| sources.iter().any(|(path, _)| path == seam)),
        "THE_SEAM names a file that is gone"
    );
    assert_quiet(sources.iter().flat_map(|(path, text)| seam_complaints(path, text)));

    assert_eq!(seam_complaints("graven-log/src/a.rs", "use tokio::fs;").len(), 1);
    assert_eq!(seam_complaints("graven-log/src/a.rs", "use std::fs;").len(), 1);
    assert!(seam_complaints(THE_SEAM[0], "use std::fs;").is_empty());
}

#[test]
fn the_top_level_stays_short() {
    let names: BTreeSet<_> =
        tracked_files().iter().filter_map(|path| Some(path.split('/').next()?.to_owned())).collect();
    assert_quiet(top_level_complaints(&names));
    assert_eq!(top_level_complaints(&BTreeSet::from(["notes.txt".to_owned()])).len(), 1);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    assert_quiet(text_files().iter().flat_map(|(path, text)| machine_path_complaints(path, text)));

    assert_eq!(machine_path_complaints("a.md", &format!("see {}x", MACHINE_PATHS[0])).len(), 1);
    assert!(machine_path_complaints("a.md", &format!("https://example.com{}x", MACHINE_PATHS[0])).is_empty());
}

fn layer_complaints(found: &BTreeSet<String>) -> Complaints {
    let unlisted = found
        .iter()
        .filter(|name| layer(name).is_none())
        .map(|name| format!("crate {name} has no layer: add it to LAYERS, below everything that may use it"));
    let gone = LAYERS
        .iter()
        .filter(|(name, _)| !found.contains(*name))
        .map(|(name, _)| format!("crate {name} is not in the workspace: take it out of LAYERS"));
    unlisted.chain(gone).collect()
}

fn arrow_complaints(from: &str, on: &[String]) -> Complaints {
    on.iter()
        // A crate's tests may ask for more of its own features.
        .filter(|to| *to != from)
        .filter_map(|to| {
            let forbidden = FORBIDDEN_ARROWS.contains(&(from, to));
            // A dependency from outside the workspace has no layer and is no arrow.
            let upwards = layer(to)? >= layer(from)?;
            (forbidden || upwards).then(|| {
                let why = if forbidden { "is forbidden" } else { "does not point down" };
                format!("{from} → {to} {why}: move what both need into a crate below them (dev-dependencies count: tests that need both go to crates/graven)")
            })
        })
        .collect()
}

fn closure_complaints(name: &str, closure: &[String]) -> Complaints {
    closure
        .iter()
        .filter(|dependency| IMPURE_CRATES.contains(&dependency.as_str()))
        .map(|dependency| {
            format!(
                "{name} is pure and yet builds {dependency}: turn off the feature that brings it \
                 (`cargo tree -p {name} -e normal -i {dependency}`) or take the value as an argument"
            )
        })
        .collect()
}

fn purity_complaints(path: &str, text: &str) -> Complaints {
    let code = without_tests_and_comments(text);
    let modules = std_modules(&code).into_iter().filter(|module| IMPURE_STD.contains(&module.as_str()));
    let clocks = CLOCKS.iter().filter(|clock| ident_in(&code, clock)).map(|clock| format!("time::{clock}"));
    modules
        .chain(clocks)
        .map(|name| format!("{path} is pure and yet names std::{name}: take what it gives as an argument"))
        .collect()
}

fn seam_complaints(path: &str, text: &str) -> Complaints {
    let code = without_tests_and_comments(text);
    let touches =
        std_modules(&code).contains("fs") || code.contains("tokio::fs") || code.contains("rustix::fs");
    if touches && !THE_SEAM.contains(&path) {
        return vec![format!(
            "{path} touches files by itself: go through the store's `Fs`, where faults are injected"
        )];
    }
    Vec::new()
}

fn top_level_complaints(names: &BTreeSet<String>) -> Complaints {
    names
        .iter()
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()))
        .map(|name| format!("{name} lies at the top level: it belongs under one of {TOP_LEVEL:?}"))
        .collect()
}

fn machine_path_complaints(path: &str, text: &str) -> Complaints {
    let at_start_of_path =
        |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}".contains(c));
    MACHINE_PATHS
        .iter()
        .filter(|needle| text.match_indices(**needle).any(|(at, _)| at_start_of_path(at)))
        .map(|needle| format!("{path} names a path under {needle}, which exists on one machine only"))
        .collect()
}

fn assert_quiet(complaints: impl IntoIterator<Item = String>) {
    let complaints: Complaints = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(listed, _)| *listed == name).map(|(_, layer)| *layer)
}
