//! The files of a pack: a folder, or that folder as a tar archive (POSIX.1-1988 ustar), so that it can be handed over as one file.

use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

use crate::{
    exit::{Failure, Outcome},
    output,
};

/// Longest file of a pack.
const MAX_FILE_BYTES: u64 = 1 << 30;
const BLOCK: usize = 512;

/// Files by their names.
pub(super) type Files = BTreeMap<&'static str, Vec<u8>>;

/// The names of all files of a pack.
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const LEAVES: &str = "leaves.jsonl";
pub(super) const SUMMARY: &str = "SUMMARY.md";
const NAMES: [&str; 4] = [MANIFEST, CHECKPOINT, LEAVES, SUMMARY];

/// Whether this is a pack, by how it lies there.
pub(super) fn is_pack(path: &Path) -> bool {
    path.is_dir() || is_archive(path)
}

fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tar")
}

/// Writes a pack that is not there yet.
pub(super) fn write(path: &Path, files: &Files) -> Outcome {
    if path.exists() {
        return Err(Failure::trouble(format_args!(
            "{} is there already: name another --out",
            path.display()
        )));
    }
    if is_archive(path) {
        return output::write_file(path, &pack(files));
    }
    fs::create_dir_all(path).map_err(|error| Failure::file(path, &error))?;
    files.iter().try_for_each(|(name, bytes)| output::write_file(&path.join(name), bytes))
}

/// Reads a pack: all of its files, and no others.
pub(super) fn read(path: &Path) -> Outcome<Files> {
    if is_archive(path) {
        let bytes = read_file(path)?;
        return unpack(&bytes)
            .ok_or_else(|| Failure::check_failed(format_args!("{} is no pack", path.display())));
    }
    NAMES.into_iter().map(|name| Ok((name, read_file(&path.join(name))?))).collect()
}

fn read_file(path: &Path) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| Failure::file(path, &error))?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| Failure::file(path, &error))?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= MAX_FILE_BYTES => Ok(bytes),
        _ => Err(Failure::check_failed(format_args!("{} is too long for a pack", path.display()))),
    }
}

fn pack(files: &Files) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, bytes) in files {
        archive.extend_from_slice(&header(name, bytes.len()));
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

fn header(name: &str, length: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000444\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{length:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// The files of an archive: those of a pack, each once, exactly as [`pack`] writes them but for the header's small print.
fn unpack(mut archive: &[u8]) -> Option<Files> {
    let mut files = Files::new();
    loop {
        let (header, rest) = archive.split_at_checked(BLOCK)?;
        if header.iter().all(|byte| *byte == 0) {
            return (NAMES.iter().all(|name| files.contains_key(name))).then_some(files);
        }
        let found = header[..100].split(|byte| *byte == 0).next()?;
        let name = NAMES.into_iter().find(|name| name.as_bytes() == found)?;
        let digits = std::str::from_utf8(&header[124..135]).ok()?;
        let length = usize::from_str_radix(digits.trim(), 8).ok()?;
        let (bytes, rest) = rest.split_at_checked(length)?;
        if files.insert(name, bytes.to_vec()).is_some() {
            return None;
        }
        let padding = length.next_multiple_of(BLOCK) - length;
        archive = rest.get(padding..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        NAMES.into_iter().map(|name| (name, name.repeat(300).into_bytes())).collect()
    }

    #[test]
    fn an_archive_is_what_tar_reads_and_nothing_else_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pack.tar");
        write(&path, &files()).unwrap();
        assert_eq!(read(&path).unwrap(), files());
        assert!(write(&path, &files()).is_err(), "nothing is replaced");
        let listed = std::process::Command::new("tar").arg("tf").arg(&path).output().unwrap();
        let mut names: Vec<_> = std::str::from_utf8(&listed.stdout).unwrap().lines().collect();
        names.sort_unstable();
        let mut expected = NAMES;
        expected.sort_unstable();
        assert_eq!(names, expected);

        let bytes = pack(&files());
        for cut in [0, 100, BLOCK, BLOCK + 1, bytes.len() - 2 * BLOCK] {
            assert!(unpack(&bytes[..cut]).is_none(), "{cut}");
        }
        let twice = [&bytes[..bytes.len() - 2 * BLOCK], &bytes].concat();
        assert!(unpack(&twice).is_none(), "no file comes twice");
        let mut other = bytes;
        other[0] = b'x';
        assert!(unpack(&other).is_none(), "no other file is in it");
    }
}
