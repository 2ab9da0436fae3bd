//! What must be remembered of published and witnessed heads: a [`ChainFile`] beside the signer journal, made when a log
//! first has witnesses. Its payloads are
//!
//! ```text
//! witnessed:  "W", signed note with cosignatures    it has its quorum; synced before that is acknowledged
//! published:  "P", signed note                      from here on heads are published with a quorum only; this was the last
//! as signed:  "S"                                   from here on heads are published as soon as they are signed
//! ```
//!
//! Without a file heads are published as signed. Where they are published with a quorum only, the newest of `W` and `P`
//! is what was published last, and the signer journal may be ahead of it. When the file grows past 8 MiB a new one takes its
//! place in one step, which begins with the newest witnessed note: as a `P` where heads are published with a quorum only.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use graven_store::ChainFile;
use graven_store::chain::ChainError;
use graven_store::fs::Fs;

use super::Publish;

/// Length at which the file begins anew.
const ROTATE_BYTES: u64 = 8 << 20;

/// The file, and what it says.
pub(super) struct WitnessJournal {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    chain: Option<ChainFile>,
    /// A write or a sync did not succeed: nothing more is tried.
    failed: bool,
    /// How heads were published last.
    publish: Publish,
    witnessed: Option<Bytes>,
    published: Option<Bytes>,
}

impl WitnessJournal {
    /// Opens the file, if there is one. `None` inside the error: it holds something that this never wrote.
    pub(super) fn open(fs: Arc<dyn Fs>, path: PathBuf) -> Result<Option<Self>, ChainError> {
        let mut journal = Self {
            fs,
            path,
            chain: None,
            failed: false,
            publish: Publish::Signed,
            witnessed: None,
            published: None,
        };
        let exists = journal.fs.exists(&journal.path);
        if !exists.map_err(|source| ChainError::Io { path: journal.path.clone(), source })? {
            return Ok(Some(journal));
        }
        let (chain, payloads) = ChainFile::open(&*journal.fs, &journal.path)?;
        journal.chain = Some(chain);
        for payload in payloads {
            match payload.split_first() {
                Some((b'W', note)) => journal.note_witnessed(Bytes::copy_from_slice(note)),
                Some((b'P', note)) => journal.note_published(Bytes::copy_from_slice(note)),
                Some((b'S', [])) => journal.note_signed(),
                _ => return Ok(None),
            }
        }
        Ok(Some(journal))
    }

    pub(super) fn witnessed_note(&self) -> Option<&Bytes> {
        self.witnessed.as_ref()
    }

    /// What was published last, where heads are published with a quorum only.
    pub(super) fn published_note(&self) -> Option<&Bytes> {
        self.published.as_ref().filter(|_| self.publish == Publish::Witnessed)
    }

    /// From here on heads are published so; `last` is the note that is published now.
    pub(super) fn publish_as(&mut self, publish: Publish, last: &Bytes) -> io::Result<()> {
        match publish {
            _ if publish == self.publish => Ok(()),
            Publish::Witnessed => {
                self.append(&[b"P", &last[..]].concat())?;
                self.note_published(last.clone());
                Ok(())
            }
            Publish::Signed => {
                self.append(b"S")?;
                self.note_signed();
                Ok(())
            }
        }
    }

    /// Remembers a note that has its quorum. Once this returns, that may be told.
    pub(super) fn witnessed(&mut self, note: &Bytes) -> io::Result<()> {
        if std::mem::replace(&mut self.failed, true) {
            return Err(io::Error::other("an earlier write to the witness journal failed"));
        }
        let payload = [b"W", &note[..]].concat();
        let is_long = self.chain.as_ref().is_some_and(|chain| chain.len() > ROTATE_BYTES);
        // `W` alone says nothing of how heads are published: where that is with a quorum only, the new file begins so.
        match (is_long, self.publish) {
            (false, _) => self.append(&payload)?,
            (true, Publish::Signed) => {
                self.chain = Some(ChainFile::create(&*self.fs, &self.path, &payload)?);
            }
            (true, Publish::Witnessed) => {
                let payload = [b"P", &note[..]].concat();
                self.chain = Some(ChainFile::create(&*self.fs, &self.path, &payload)?);
            }
        }
        self.failed = false;
        self.note_witnessed(note.clone());
        Ok(())
    }

    fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        match &mut self.chain {
            Some(chain) => chain.append(payload),
            none => {
                *none = Some(ChainFile::create(&*self.fs, &self.path, payload)?);
                Ok(())
            }
        }
    }

    fn note_witnessed(&mut self, note: Bytes) {
        if self.publish == Publish::Witnessed {
            self.published = Some(note.clone());
        }
        self.witnessed = Some(note);
    }

    fn note_published(&mut self, note: Bytes) {
        self.publish = Publish::Witnessed;
        // One that has its quorum may begin a file.
        self.witnessed.get_or_insert_with(|| note.clone());
        self.published = Some(note);
    }

    fn note_signed(&mut self) {
        self.publish = Publish::Signed;
        self.published = None;
    }
}
