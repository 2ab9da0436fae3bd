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
    let in_place = |command: &mut Command| {
        command.current_dir(&place).env("GOCACHE", made("go-cache")).env("GOMODCACHE", made("go-modules"));
        // Modules that can be deleted like everything else there.
        run(command.env("GOFLAGS", "-modcacherw -buildvcs=false"));
    };
    in_place(with_path(&PYTHON, Command::new("sh").args(["stubs.sh", PROTOS])));
    in_place(Command::new("go").args(["build", "-o", "bin/", "./append", "./tessera", "./xmod"]));
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

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = || String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}\n{}", said());
}
