//! Verify, then sign: the one way a tree head leaves the log.
//!
//! Order, and what a crash leaves after each step:
//!
//! 1. the leaf hashes of the new entries are computed from the bytes as storage gives them back, the root from them
//!    (by frontier) and from the kept nodes (by peaks), and consistency with the last signed head is proven and
//!    verified — nothing new on disk;
//! 2. the body goes into the signer journal, synced — after a crash *this* body is signed, at the same time;
//! 3. it is signed — as before: nobody has seen the signature;
//! 4. the complete note goes into the signer journal, synced — after a crash this note is released again;
//! 5. it is released.
//!
//! The signer journal is a [`ChainFile`]; its payloads are
//!
//! ```text
//! body:  "B", time (8, big-endian, seconds since 1970), checkpoint body (C2SP tlog-checkpoint)
//! note:  "N", signed note
//! ```
//!
//! It moves forward only: a body continues the last one with a greater size, or repeats its size *and* root with a
//! later time (a heartbeat). When the file grows past 8 MiB a new one, begun with the last note, takes its place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use graven_merkle::{Frontier, Hash, TreeSize, prove_consistency, verify_consistency};
use graven_note::{Checkpoint, LogKeys, Origin, Signer, sign_checkpoint};
use graven_store::fs::Fs;
use graven_store::{ChainFile, planted};

use crate::log::Head;
use crate::rotation::KeyRing;
use crate::tail::Chunk;
use crate::tree::Tree;

/// Length at which the signer journal begins anew.
const ROTATE_BYTES: u64 = 8 << 20;

/// Why nothing was signed. All of them stop the server: it must not go on as if nothing had happened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    #[error("storage: {0}")]
    Io(#[from] io::Error),
    #[error("refused to sign: {0}")]
    Refused(&'static str),
    #[error(transparent)]
    Signer(#[from] graven_note::SignError),
}

/// What the signer journal says was signed last.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) time_seconds: u64,
    /// Missing where a crash came between body and note.
    pub(crate) note: Option<Bytes>,
}

/// The signing end of a log.
pub(crate) struct Signing {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    chain: ChainFile,
    last: Signed,
    /// Of all keys that may still sign, and perhaps of some that may not.
    signers: Vec<Arc<dyn Signer>>,
    keys: Arc<KeyRing>,
    /// The tree as of the last signed head, grown from re-read bytes alone.
    frontier: Frontier,
}

/// The journal of a log that never signed: its first body is that of the empty tree.
pub(crate) fn create_journal(fs: &dyn Fs, path: &Path, origin: &Origin, time_seconds: u64) -> io::Result<()> {
    let empty = Checkpoint::new(origin.clone(), TreeSize::ZERO, graven_merkle::EMPTY_ROOT);
    ChainFile::create(fs, path, &body_payload(&empty, time_seconds)).map(drop)
}

/// The journal of a log whose last note is this one, made in one step.
pub(crate) fn create_journal_after(fs: &dyn Fs, path: &Path, note: &[u8]) -> io::Result<ChainFile> {
    ChainFile::create(fs, path, &[b"N", note].concat())
}

/// Reads what was signed last. The payloads are chained and hashed; what does not parse was not written by us.
pub(crate) fn last_signed(payloads: &[Vec<u8>], origin: &Origin, keys: &LogKeys) -> Option<Signed> {
    // Signatures take time to verify: of what came before the last note, the chain of digests is proof enough.
    let last_note = payloads.iter().rposition(|payload| payload.first() == Some(&b'N'));
    let from = last_note.map_or(0, |at| at.saturating_sub(1));
    let mut last: Option<Signed> = None;
    for payload in &payloads[from..] {
        let (kind, rest) = payload.split_first()?;
        match kind {
            b'B' => {
                let (time, body) = rest.split_first_chunk::<8>()?;
                let checkpoint = Checkpoint::parse(std::str::from_utf8(body).ok()?).ok()?;
                let time_seconds = u64::from_be_bytes(*time);
                last = Some(Signed { checkpoint, time_seconds, note: None });
            }
            b'N' => {
                let verified = keys.open(rest, origin).ok()?;
                let checkpoint = verified.checkpoint().clone();
                let time_seconds = match &last {
                    Some(body) if body.checkpoint == checkpoint => body.time_seconds,
                    Some(_) => return None,
                    // Begun with a note: its time is the body's, where it says one.
                    None => verified.time().unwrap_or(0),
                };
                last = Some(Signed { checkpoint, time_seconds, note: Some(Bytes::copy_from_slice(rest)) });
            }
            _ => return None,
        }
    }
    last.filter(|signed| signed.checkpoint.origin() == origin)
}

/// Journals what was signed in an earlier life.
pub(crate) fn journal(chain: &mut ChainFile, signed: &Signed) -> io::Result<()> {
    chain.append(&body_payload(&signed.checkpoint, signed.time_seconds))?;
    signed.note.as_ref().map_or(Ok(()), |note| chain.append(&[b"N", &note[..]].concat()))
}

/// Every body that was journalled, in order.
pub(crate) fn bodies(payloads: &[Vec<u8>]) -> impl Iterator<Item = Checkpoint> + '_ {
    payloads.iter().filter_map(|payload| {
        let body = payload.strip_prefix(b"B")?.get(8..)?;
        Checkpoint::parse(std::str::from_utf8(body).ok()?).ok()
    })
}

impl Signing {
    /// Goes on after `last`, whose tree (re-computed by recovery) has this frontier.
    pub(crate) fn resume(
        fs: Arc<dyn Fs>,
        path: PathBuf,
        chain: ChainFile,
        last: Signed,
        signers: Vec<Arc<dyn Signer>>,
        keys: Arc<KeyRing>,
        frontier: Frontier,
    ) -> Self {
        Self { fs, path, chain, last, signers, keys, frontier }
    }

    /// Who may sign.
    pub(crate) fn signers(&self) -> &[Arc<dyn Signer>] {
        &self.signers
    }

    /// The keys of the log.
    pub(crate) fn keys(&self) -> &Arc<KeyRing> {
        &self.keys
    }

    /// Takes the signers of new keys, which the key ring names once this lock is let go.
    pub(crate) fn add_signers(&mut self, new: Vec<Arc<dyn Signer>>) {
        self.signers.extend(new);
    }

    /// The head that was signed last. Where a crash came before its note was journalled, its body is signed now.
    pub(crate) fn release_last(&mut self) -> Result<Head, SignError> {
        let note = match &self.last.note {
            Some(note) => note.clone(),
            None => self.sign_journalled_body()?,
        };
        Ok(Head { checkpoint: self.last.checkpoint.clone(), time_seconds: self.last.time_seconds, note })
    }

    /// The size that was signed last.
    pub(crate) fn size(&self) -> TreeSize {
        self.last.checkpoint.size()
    }

    /// When something was signed last, in seconds since 1970.
    pub(crate) fn time_seconds(&self) -> u64 {
        self.last.time_seconds
    }

    /// Signs the tree up to the end of `chunks` (the stored entries after the last signed head), or the same tree once
    /// more with a new time where there are none.
    pub(crate) fn publish(
        &mut self,
        tree: &Tree,
        chunks: &[Chunk],
        now_seconds: u64,
    ) -> Result<Head, SignError> {
        let frontier = self.reread(chunks)?;
        let checkpoint = self.verified_next(tree, &frontier)?;
        let time_seconds = now_seconds.max(self.last.time_seconds);
        if planted("sign-before-journal") {
            return self.sign_unjournalled(checkpoint, frontier, time_seconds);
        }
        if self.chain.len() > ROTATE_BYTES {
            self.rotate()?;
        }
        self.chain.append(&body_payload(&checkpoint, time_seconds))?;
        // From here on this is the only body of its size that will ever be signed.
        self.last = Signed { checkpoint, time_seconds, note: None };
        self.frontier = frontier;
        self.release_last()
    }

    fn sign_journalled_body(&mut self) -> Result<Bytes, SignError> {
        let note = self.sign(&self.last.checkpoint, self.last.time_seconds)?;
        self.chain.append(&[b"N", &note[..]].concat())?;
        // From here on the very same bytes are released again after a crash.
        self.last.note = Some(note.clone());
        Ok(note)
    }

    fn sign(&self, checkpoint: &Checkpoint, time_seconds: u64) -> Result<Bytes, SignError> {
        let keys = self.keys.now();
        let valid = keys.valid_at(checkpoint.size());
        let may_sign = |signer: &&Arc<dyn Signer>| valid.contains(signer.vkey());
        let signers: Vec<&dyn Signer> =
            self.signers.iter().filter(may_sign).map(|signer| &**signer).collect();
        if signers.is_empty() {
            return Err(SignError::Refused("the keys that may sign are not loaded"));
        }
        let note = sign_checkpoint(checkpoint, &signers, time_seconds)?;
        Ok(Bytes::copy_from_slice(note.as_str().as_bytes()))
    }

    /// The frontier after the stored entries, every byte of them read again.
    fn reread(&self, chunks: &[Chunk]) -> Result<Frontier, SignError> {
        let mut frontier = self.frontier.clone();
        let mut buffer = Vec::new();
        for chunk in chunks {
            let known = frontier.size().get().saturating_sub(chunk.first);
            let skip = usize::try_from(known).unwrap_or(usize::MAX);
            frontier.append(chunk.stored_leaves(&mut buffer)?.into_iter().skip(skip));
        }
        Ok(frontier)
    }

    /// The next body, if everything about it holds.
    fn verified_next(&self, tree: &Tree, frontier: &Frontier) -> Result<Checkpoint, SignError> {
        let (from, from_root) = (self.last.checkpoint.size(), *self.last.checkpoint.root());
        let (to, to_root) = (frontier.size(), frontier.root());
        if to < from || (to == from && to_root != from_root) {
            return Err(SignError::Refused("the tree went back"));
        }
        let kept_root = graven_merkle::root(tree, to).map_err(|_| SignError::Refused("nodes are missing"))?;
        if kept_root != to_root {
            return Err(SignError::Refused("the stored entries and the kept nodes give different roots"));
        }
        let consistent = prove_consistency(tree, from, to)
            .is_ok_and(|proof| verify_consistency(from, &from_root, to, &to_root, &proof).is_ok());
        if !consistent {
            return Err(SignError::Refused("the tree is not consistent with the last signed head"));
        }
        Ok(Checkpoint::new(self.last.checkpoint.origin().clone(), to, to_root))
    }

    fn rotate(&mut self) -> Result<(), SignError> {
        let Some(note) = self.last.note.clone() else { return Ok(()) };
        self.chain = create_journal_after(&*self.fs, &self.path, &note)?;
        Ok(())
    }

    /// The planted bug: the head is out before anything is on disk.
    fn sign_unjournalled(
        &mut self,
        checkpoint: Checkpoint,
        frontier: Frontier,
        time_seconds: u64,
    ) -> Result<Head, SignError> {
        let note = self.sign(&checkpoint, time_seconds)?;
        self.last = Signed { checkpoint: checkpoint.clone(), time_seconds, note: Some(note.clone()) };
        self.frontier = frontier;
        Ok(Head { checkpoint, time_seconds, note })
    }
}

fn body_payload(checkpoint: &Checkpoint, time_seconds: u64) -> Vec<u8> {
    [&b"B"[..], &time_seconds.to_be_bytes(), checkpoint.to_string().as_bytes()].concat()
}

/// The root that a frontier and a checkpoint agree on.
pub(crate) fn agrees(frontier: &Frontier, checkpoint: &Checkpoint) -> bool {
    let root: Hash = frontier.root();
    frontier.size() == checkpoint.size() && root == *checkpoint.root()
}
