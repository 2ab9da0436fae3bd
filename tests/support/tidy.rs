//! Facts about the workspace, from cargo, git and just enough reading of Rust source to see what it names.

use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// The files that people write and read, by extension; dot files come on top. Data is left out.
const TEXT_EXTENSIONS: [&str; 10] = ["go", "java", "md", "proto", "py", "rs", "service", "sh", "toml", "xml"];

/// The workspace's crates with the names of everything they depend on, in whatever way.
pub(crate) fn packages() -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value["name"].as_str().expect("cargo names everything").to_owned();
    let list = |value: &Value| value.as_array().expect("cargo lists everything").clone();
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--offline", "--format-version", "1"]))
            .expect("cargo metadata prints JSON");
    let packages = list(&metadata["packages"]);
    packages
        .iter()
        .map(|package| (text(package), list(&package["dependencies"]).iter().map(text).collect()))
        .collect()
}

/// The crates that are built into `name`, with the features that it asks for itself: those that other
/// crates of the workspace switch on do not count.
pub(crate) fn closure(name: &str) -> Vec<String> {
    let tree =
        cargo(&["tree", "--offline", "-p", name, "-e", "normal", "--prefix", "none", "--format", "{p}"]);
    let names: BTreeSet<_> =
        tree.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    assert!(names.contains(name), "cargo tree did not describe {name}");
    names.into_iter().collect()
}

/// What is under version control, or where git cannot tell, what lies at the top level.
pub(crate) fn tracked_files() -> Vec<String> {
    match output(Command::new("git").args(["ls-files", "-z"])) {
        Ok(list) => list.split_terminator('\0').map(str::to_owned).collect(),
        Err(error) => {
            println!("git does not list the files ({error}): only the top level is looked at");
            let entries = fs::read_dir(root()).expect("the workspace can be read");
            let names = entries.map(|entry| entry.expect("an entry can be read").file_name());
            names.filter_map(|name| name.into_string().ok()).filter(|name| name != "target").collect()
        }
    }
}

/// The sources of these crates, by path below `crates/`.
pub(crate) fn sources_of(crates: &[&str]) -> Vec<(String, String)> {
    let mut sources = Vec::new();
    for name in crates {
        let before = sources.len();
        collect_sources(&format!("{name}/src"), &mut sources);
        // Unit tests may have files of their own: `tests.rs` and what is below `tests/`.
        sources.retain(|(path, _)| !path.ends_with("/src/tests.rs") && !path.contains("/tests/"));
        assert!(sources.len() > before, "crates/{name}/src has no sources");
    }
    sources
}

/// The files under version control that people write and read, with their text.
pub(crate) fn text_files() -> Vec<(String, String)> {
    let written = |path: &String| {
        path.starts_with('.') || TEXT_EXTENSIONS.contains(&path.rsplit('.').next().unwrap_or_default())
    };
    let read = |path: String| Some((path.clone(), fs::read_to_string(root().join(path)).ok()?));
    tracked_files().into_iter().filter(written).filter_map(read).collect()
}

/// The code before the test module at its end, without line comments and spaces within paths.
///
/// Text after `//` inside a string is lost as well, which hides nothing: a string names no module.
pub(crate) fn without_tests_and_comments(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n").replace(" ::", "::").replace(":: ", "::")
}

/// The modules and items of `std` that the code names directly: `fs` for `std::fs::File` and for
/// `use std::{fmt, fs::{self, File}}`.
pub(crate) fn std_modules(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, prefix) in code.match_indices("std::") {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(first_segments(group)),
            None => names.extend(leading_ident(rest)),
        }
    }
    names
}

/// Whether the code has this identifier, whole.
pub(crate) fn ident_in(code: &str, ident: &str) -> bool {
    code.split(|c: char| !is_ident(c)).any(|word| word == ident)
}

fn collect_sources(folder: &str, sources: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(root().join("crates").join(folder)).expect("sources can be listed") {
        let entry = entry.expect("a source can be listed");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect_sources(&path, sources);
        } else if path.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("a source can be read");
            sources.push((path, text));
        }
    }
}

fn cargo(args: &[&str]) -> String {
    output(Command::new(env!("CARGO")).args(args)).unwrap_or_else(|error| panic!("cargo {args:?}: {error}"))
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.current_dir(root()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The first segment of each path of a `use` group, up to the brace that closes it.
fn first_segments(group: &str) -> Vec<String> {
    let mut segments = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                segments.extend(leading_ident(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    segments
}

fn leading_ident(text: &str) -> Option<String> {
    let ident: String = text.chars().take_while(|c| is_ident(*c)).collect();
    (!ident.is_empty()).then_some(ident)
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
