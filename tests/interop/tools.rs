//! What it takes to run the programs: their dependencies, pinned, and their stubs, made once below the target
//! directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// The programs' sources.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/interop");
/// The definitions that stubs are made from.
const PROTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto");

/// What others wrote, as Go packages. The versions are those that Go 1.26 builds; the module proxy and the checksum
/// database answer for the bytes.
const FOREIGN: [&str; 3] = [
    "filippo.io/torchwood/cmd/litewitness@v0.9.0",
    "github.com/transparency-dev/witness/cmd/generate_keys@v0.0.0-20260720115447-2e1c6971d19e",
    "github.com/transparency-dev/witness/cmd/omniwitness@v0.0.0-20260720115447-2e1c6971d19e",
];

/// A Python program of `tests/interop/python`.
pub(crate) fn python(program: &str) -> Command {
    let mut command = Command::new(PYTHON.join("bin/python"));
    command.arg(source("python").join(program)).env("PYTHONPATH", made("python-stubs"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// A Go program of `tests/interop/go`.
pub(crate) fn go(program: &str) -> Command {
    Command::new(GO.join("bin").join(program))
}

/// A Go program that somebody else wrote, one of [`FOREIGN`].
pub(crate) fn foreign(program: &str) -> Command {
    Command::new(FOREIGN_BIN.join(program))
}

/// A Java program of `tests/interop/java`.
pub(crate) fn java(program: &str) -> Command {
    let mut command = Command::new("java");
    let class_path = format!("{0}/classes:{0}/libraries/*", JAVA.display());
    command.args(["-cp", &class_path, program]);
    command
}

/// A virtual environment with the packages that `requirements.txt` pins.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let (place, stubs) = (made("python"), made("python-stubs"));
    run(Command::new("python3").args(["-m", "venv"]).arg(&place));
    run(Command::new(place.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(source("python/requirements.txt")));
    fs::create_dir_all(&stubs).unwrap();
    run(with_path(&place, Command::new("sh").arg(source("python/stubs.sh")).arg(PROTOS)).current_dir(stubs));
    place
});

/// A copy of the module, with stubs and programs made in it.
static GO: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = made("go");
    fs::create_dir_all(&place).unwrap();
    run(Command::new("cp").arg("-r").arg(source("go/.")).arg(&place));
    let in_place = |command: &mut Command| run(with_go_caches(command).current_dir(&place));
    in_place(with_path(&PYTHON, Command::new("sh").args(["stubs.sh", PROTOS])));
    let programs = ["./append", "./cosigned", "./posixlog", "./tessera", "./xmod"];
    in_place(Command::new("go").args(["build", "-o", "bin/"]).args(programs));
    place
});

/// Where Go puts the programs of [`FOREIGN`]. Each is installed by itself: it comes with versions of its own.
static FOREIGN_BIN: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = made("foreign");
    fs::create_dir_all(&place).unwrap();
    for package in FOREIGN {
        run(with_go_caches(Command::new("go").args(["install", package]))
            .env("GOBIN", &place)
            .current_dir(&place));
    }
    place
});

/// Where Maven puts the classes and their libraries.
static JAVA: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = made("java");
    let out = format!("-Dout={}", place.display());
    run(Command::new("mvn").args(["--batch-mode", "--quiet", &out, "compile", "--file"]).arg(source("java")));
    place
});

fn source(path: &str) -> PathBuf {
    Path::new(SOURCES).join(path)
}

fn made(path: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop").join(path)
}

/// With the programs of a virtual environment found first.
fn with_path<'a>(environment: &Path, command: &'a mut Command) -> &'a mut Command {
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}/bin:{path}", environment.display()))
}

/// With modules that can be deleted like everything else there.
fn with_go_caches(command: &mut Command) -> &mut Command {
    command.env("GOCACHE", made("go-cache")).env("GOMODCACHE", made("go-modules"));
    command.env("GOFLAGS", "-modcacherw -buildvcs=false")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = || String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}\n{}", said());
}
