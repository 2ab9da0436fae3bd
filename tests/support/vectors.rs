//! Finds and reads the public test vectors.
//!
//! The folder is named by `GRAVEN_VECTORS` (absolute, or relative to the workspace root) and defaults to our copy,
//! `tests/vectors`. Any folder of the same layout will do: a sub-folder, file or section that is absent is skipped with a
//! printed line, and only our own copy is held to known case counts.
//!
//! Use it from a test with `#[path = "support/vectors.rs"] mod vectors;`.

// Each test program includes this file and uses its own part of it.
#![allow(dead_code)]

use base64ct::{Base64, Encoding as _};
use serde_json::Value;
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Our own copy, relative to the workspace root.
const DEFAULT: &str = "tests/vectors";

/// The vectors folder to read. A folder that was named and is not there would skip every test, so that panics.
pub(crate) fn root() -> PathBuf {
    let Some(named) = env::var_os("GRAVEN_VECTORS").filter(|value| !value.is_empty()) else {
        return workspace().join(DEFAULT);
    };
    let root = workspace().join(&named);
    assert!(
        root.is_dir(),
        "GRAVEN_VECTORS={} names no folder: there is no {} (a relative path starts at the workspace root)",
        Path::new(&named).display(),
        root.display()
    );
    root
}

/// Whether [`root`] is our own copy, whose case counts are asserted.
pub(crate) fn is_default() -> bool {
    fn real(path: &Path) -> Option<PathBuf> {
        path.canonicalize().ok()
    }
    real(&root()).is_some_and(|root| Some(root) == real(&workspace().join(DEFAULT)))
}

/// Every `*.json` directly inside the sub-folder `sub`, by name: (name without `.json`, content).
pub(crate) fn json_files(sub: &str) -> Vec<(String, Value)> {
    let folder = root().join(sub);
    let mut files: Vec<_> = paths_in(&folder)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let value =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (stem(&path), value)
        })
        .collect();
    if files.is_empty() {
        println!("skipped: no JSON files in {}", folder.display());
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    files
}

/// Every folder directly inside the sub-folder `sub`, sorted.
pub(crate) fn folders(sub: &str) -> Vec<PathBuf> {
    let mut folders: Vec<_> = paths_in(&root().join(sub)).into_iter().filter(|path| path.is_dir()).collect();
    folders.sort();
    if folders.is_empty() {
        println!("skipped: no folders in {}", root().join(sub).display());
    }
    folders
}

/// The JSON file at `path`, or `None`, said in print, where there is none.
pub(crate) fn json_file(path: &Path) -> Option<Value> {
    let text = bytes(path)?;
    Some(serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The bytes of the file at `path`, or `None`, said in print, where there is none.
pub(crate) fn bytes(path: &Path) -> Option<Vec<u8>> {
    if !path.exists() {
        println!("skipped: {} is absent", path.display());
        return None;
    }
    Some(fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The array under `section`, empty where it is absent.
pub(crate) fn cases<'a>(file: &'a Value, section: &str) -> &'a [Value] {
    file.get(section).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What the case demands: `Some(true)` accept, `Some(false)` reject, `None` contested, which is printed here and not judged.
///
/// `subject` names the file in that line.
pub(crate) fn verdict(subject: &str, case: &Value) -> Option<bool> {
    if case["contested"].as_bool().unwrap_or(false) {
        let note = case.get("note").or_else(|| case.get("note_on")).and_then(Value::as_str);
        println!("contested, not judged: {subject} {}: {}", name(case), note.unwrap_or("no note"));
        return None;
    }
    match (case["want_ok"].as_bool(), case["expect"].as_str()) {
        (Some(want), _) => Some(want),
        (None, Some("ok")) => Some(true),
        (None, Some("error")) => Some(false),
        (None, other) => {
            panic!("{subject} {}: neither `want_ok` nor a known `expect` ({other:?})", name(case))
        }
    }
}

/// The case's `id`, else its `desc`, else its JSON, for messages.
pub(crate) fn name(case: &Value) -> String {
    let named = case.get("id").or_else(|| case.get("desc")).and_then(Value::as_str);
    named.map_or_else(|| case.to_string(), str::to_owned)
}

/// A string field.
pub(crate) fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{}: no string `{field}`", name(case)))
}

/// An unsigned number field; numbers beyond JSON's safe range may be strings of digits.
pub(crate) fn number(case: &Value, field: &str) -> u64 {
    let value = &case[field];
    value
        .as_u64()
        .or_else(|| value.as_str()?.parse().ok())
        .unwrap_or_else(|| panic!("{}: no number `{field}`", name(case)))
}

/// A field of hex digits.
pub(crate) fn hex_field(case: &Value, field: &str) -> Vec<u8> {
    hex(text(case, field))
}

/// The bytes that lower- or upper-case hex digits stand for.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "odd number of hex digits: {digits}");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_else(|_| panic!("not hex: {digits}")))
        .collect()
}

/// The bytes that standard, padded base64 stands for.
pub(crate) fn b64(encoded: &str) -> Vec<u8> {
    Base64::decode_vec(encoded).unwrap_or_else(|error| panic!("not base64 ({error}): {encoded}"))
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn paths_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries.map(|entry| entry.expect("a readable folder entry").path()).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a file name").to_string_lossy().into_owned()
}
