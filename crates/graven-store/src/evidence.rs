//! Evidence against logs, in a folder: kept by whoever meets it, for `graven evidence verify`.

use std::io;
use std::path::{Path, PathBuf};

use graven_note::VerifiedEvidence;

use crate::fs::{Fs, Mode};

/// Files of evidence in one folder.
const MAX_FILES: usize = 1000;

/// Keeps evidence durably, and returns where it is. The same contradiction has one file, which is never replaced.
pub fn keep(fs: &dyn Fs, folder: &Path, evidence: &VerifiedEvidence) -> io::Result<PathBuf> {
    fs.create_dir_all(folder)?;
    let path = folder.join(evidence.file_name());
    if !fs.exists(&path)? {
        // Whoever has a log's key can make any number of them; one says it all.
        if fs.list(folder)?.len() >= MAX_FILES {
            return Err(io::Error::other(format!("{} is full of evidence", folder.display())));
        }
        fs.create_durable(&path, evidence.evidence().to_string().as_bytes(), Mode::Shared)?;
    }
    Ok(path)
}
