//! Evidence against logs, in a folder: kept by whoever meets it, for `graven evidence verify`.

use std::io;
use std::path::{Path, PathBuf};

use graven_note::{Origin, VerifiedEvidence};
use parking_lot::Mutex;

use crate::fs::{Fs, Mode};

/// Files of evidence of one log in a folder: whoever has its key can make any number of them, and one says it all.
const MAX_PER_LOG: usize = 16;
/// Digits of the hash of the origin with which the name of a file begins.
const ORIGIN_DIGITS: usize = 16;

/// Of those who keep something in this process: files are counted, and the same contradiction comes several times at once.
static KEEPING: Mutex<()> = Mutex::new(());

/// Keeps evidence durably, and returns where it is. The same contradiction has one file, which is never replaced.
pub fn keep(fs: &dyn Fs, folder: &Path, evidence: &VerifiedEvidence) -> io::Result<PathBuf> {
    let _keeping = KEEPING.lock();
    fs.create_dir_all(folder)?;
    let path = folder.join(evidence.file_name());
    if fs.exists(&path)? {
        return Ok(path);
    }
    if count(fs, folder, evidence.evidence().origin())? >= MAX_PER_LOG {
        let folder = folder.display();
        return Err(io::Error::other(format!("{folder} holds {MAX_PER_LOG} files of this log already")));
    }
    match fs.create_durable(&path, evidence.evidence().to_string().as_bytes(), Mode::Shared) {
        // By another process, and it is the same.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(path),
        written => written.map(|()| path),
    }
}

fn count(fs: &dyn Fs, folder: &Path, origin: &Origin) -> io::Result<usize> {
    let hex = origin.sha256_hex();
    Ok(fs.list(folder)?.iter().filter(|name| name.starts_with(&hex[..ORIGIN_DIGITS])).count())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::sim::SimFs;
    use graven_merkle::{TreeSize, leaf_hash};
    use graven_note::{
        Checkpoint, LocalSigner, SignatureType, Signer as _, VerifiedCheckpoint, sign_checkpoint,
    };

    const FOLDER: &str = "/w/evidence";

    /// That a log signed a root, and this one as well.
    fn contradiction(log: &str, other: u32) -> VerifiedEvidence {
        let signer = LocalSigner::generate(log.parse().unwrap(), SignatureType::Ed25519, &[1; 32]).unwrap();
        let origin: Origin = log.parse().unwrap();
        let [first, second] = [0, other].map(|root| {
            let root = leaf_hash(&root.to_be_bytes());
            let head = Checkpoint::new(origin.clone(), TreeSize::new(5).unwrap(), root);
            let note = sign_checkpoint(&head, &[&signer], 0).unwrap();
            VerifiedCheckpoint::open(note.as_str().as_bytes(), &origin, &[signer.vkey().clone()]).unwrap()
        });
        VerifiedEvidence::of_heads(&first, &second).unwrap()
    }

    #[test]
    fn one_logs_contradictions_leave_room_for_those_of_others() {
        let disk = SimFs::new();
        let kept = (1..=200)
            .filter(|other| keep(&disk, Path::new(FOLDER), &contradiction("example.com/a", *other)).is_ok());
        assert_eq!(kept.count(), MAX_PER_LOG);
        keep(&disk, Path::new(FOLDER), &contradiction("example.com/a", 1)).expect("it is there");
        keep(&disk, Path::new(FOLDER), &contradiction("example.com/b", 1)).unwrap();
        assert_eq!(disk.list(Path::new(FOLDER)).unwrap().len(), MAX_PER_LOG + 1);
    }

    #[test]
    fn at_once_no_more_are_kept_and_the_same_is_kept_once() {
        for round in 0..20 {
            let disk = SimFs::new();
            let same = contradiction("example.com/a", 1);
            let others: Vec<_> = (0..32).map(|other| contradiction("example.com/b", other + 1)).collect();
            thread::scope(|scope| {
                let keeping: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| keep(&disk, Path::new(FOLDER), &same).map_err(|error| error.kind()))
                    })
                    .collect();
                others.iter().for_each(|other| drop(scope.spawn(|| keep(&disk, Path::new(FOLDER), other))));
                for kept in keeping {
                    kept.join().unwrap().unwrap_or_else(|kind| panic!("round {round}: {kind}"));
                }
            });
            assert_eq!(disk.list(Path::new(FOLDER)).unwrap().len(), MAX_PER_LOG + 1, "round {round}");
        }
    }
}
