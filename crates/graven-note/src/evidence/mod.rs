//! Evidence that a log signed what cannot both be true, in one file that anybody can check offline.
//!
//! ```text
//! graven-evidence@v1\n
//! origin <origin>\n
//! asked <seconds since the Unix epoch> <whom and for what, one line>\n     0 to 16 of them; nobody signed them
//! shows <claim>\n
//! …what the claim takes
//!
//! shows two-roots\n            one size, two roots
//! <note> <note>
//!
//! shows other-beginning\n      the later tree does not begin with the earlier one, but with another
//! root base64(<root of that other beginning, as large as the earlier tree>)\n
//! base64(<hash>)\n             the consistency proof from it to the later tree's root, at most 64
//! <note of the earlier tree> <note of the later tree>
//!
//! shows false-empty\n          no entries, and not the root of no entries
//! <note>
//!
//! note <canonical decimal: length in bytes>\n
//! <signed note, verbatim>
//! ```
//!
//! Parsing accepts exactly what `Display` writes. Files end in `.evidence`.
//!
//! # What it proves
//! A log that keeps to the rules never makes any of the three. For the second: a consistency proof leads from one
//! root of the earlier size only, as long as nobody finds two inputs with one SHA-256 (RFC 6962 §2.1.2), and for
//! such a log that is the root it signed. So the accuser cannot make one up, and the keys that the notes are checked
//! with are never taken from the file. A consistency proof that *fails* shows nothing about the log: whoever serves it
//! may send anything. It makes no evidence.

mod parse;

use std::fmt;

use graven_merkle::{ConsistencyProof, EMPTY_ROOT, Hash, VerifyError, verify_consistency};
use thiserror::Error;

use crate::base64;
use crate::checkpoint::Origin;
use crate::note::MAX_NOTE_BYTES;
use crate::verified::{Equivocation, VerifiedCheckpoint, VerifyCheckpointError};
use crate::vkey::VerifierKey;

pub use parse::ParseEvidenceError;

/// The most `asked` lines of an evidence file.
pub const MAX_ASKED: usize = 16;

/// The longest text of an `asked` line, in bytes.
pub const MAX_ASKED_BYTES: usize = 1024;

/// The longest evidence file, in bytes: two notes, and what stands before them.
pub const MAX_EVIDENCE_BYTES: usize = 2 * MAX_NOTE_BYTES + (MAX_ASKED + 16) * MAX_ASKED_BYTES;

const HEADER: &str = "graven-evidence@v1";

/// Evidence as it was received or made; nothing in it is verified before [`Evidence::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    origin: Origin,
    asked: Vec<Asked>,
    shows: Shows,
}

/// What evidence claims to show; the notes are verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shows {
    /// The log signed two trees of one size with different roots.
    TwoRoots {
        /// One note.
        first: String,
        /// The other.
        second: String,
    },
    /// The log signed a tree that does not begin with the smaller one that it signed as well.
    OtherBeginning {
        /// The note of the smaller tree.
        earlier: String,
        /// The note of the larger tree.
        later: String,
        /// What the larger tree has as its beginning of the smaller one's size.
        root: Hash,
        /// The consistency proof from there to the larger tree.
        proof: ConsistencyProof,
    },
    /// The log signed a tree without entries, with another root than such a tree has.
    FalseEmpty {
        /// The note.
        note: String,
    },
}

/// Who was asked for what and when: for people who look into it. Nobody signed this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    time_seconds: u64,
    text: String,
}

/// Evidence that was checked: the log's keys signed these heads, and they cannot all be true.
///
/// Only checking makes one. Its `Display` is a sentence; [`VerifiedEvidence::evidence`] is the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEvidence {
    evidence: Evidence,
    heads: Vec<VerifiedCheckpoint>,
}

/// Why evidence shows nothing. Whoever made the file is at fault, or the keys are another log's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EvidenceError {
    /// A note is not signed by the log.
    #[error("note {number} is not the log's: {source}")]
    Note {
        /// Which of the notes, from 1.
        number: usize,
        /// What is wrong with it.
        source: VerifyCheckpointError,
    },
    /// The notes are the log's, and may both be true for all that the file shows.
    #[error("the notes are the log's, but nothing shows that they cannot be true: {0}")]
    NoContradiction(&'static str),
}

impl Evidence {
    /// The log that is accused.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Who was asked for what and when, as the one who made the file says.
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// What it claims to show.
    pub fn shows(&self) -> &Shows {
        &self.shows
    }

    /// Checks it with keys that the log signs with.
    ///
    /// The keys are the caller's, who knows that they are the log's, and that [`origin`](Self::origin) names it. One
    /// valid signature on each note suffices: witnesses and quorums say whom to believe, not whom to accuse.
    pub fn verify(self, keys: &[VerifierKey]) -> Result<VerifiedEvidence, EvidenceError> {
        let open = |(index, note): (usize, &String)| {
            let opened = VerifiedCheckpoint::open(note.as_bytes(), &self.origin, keys);
            opened.map_err(|source| EvidenceError::Note { number: index + 1, source })
        };
        let heads: Vec<_> = self.shows.notes().into_iter().enumerate().map(open).collect::<Result<_, _>>()?;
        contradiction(&self.shows, &heads).map_err(EvidenceError::NoContradiction)?;
        Ok(VerifiedEvidence { evidence: self, heads })
    }
}

impl Shows {
    /// The notes, in the order in which they stand in the file.
    pub fn notes(&self) -> Vec<&String> {
        match self {
            Self::TwoRoots { first, second } => vec![first, second],
            Self::OtherBeginning { earlier, later, .. } => vec![earlier, later],
            Self::FalseEmpty { note } => vec![note],
        }
    }
}

impl VerifiedEvidence {
    /// Evidence of two heads of one size with different roots; `None` where they are no such heads of one log.
    pub fn of_heads(first: &VerifiedCheckpoint, second: &VerifiedCheckpoint) -> Option<Self> {
        Equivocation::between(first, second)?;
        let [first_note, second_note] = [first, second].map(|head| head.note().as_str().to_owned());
        let shows = Shows::TwoRoots { first: first_note, second: second_note };
        Self::of(shows, vec![first.clone(), second.clone()])
    }

    /// Evidence that the `later` tree does not begin with the `earlier` one: `proof` leads from `root`, of a tree of the
    /// earlier size, to the later one. `None` where that is not so, and where `root` is the earlier root after all.
    pub fn of_beginning(
        earlier: &VerifiedCheckpoint,
        later: &VerifiedCheckpoint,
        root: Hash,
        proof: ConsistencyProof,
    ) -> Option<Self> {
        let [earlier_note, later_note] = [earlier, later].map(|head| head.note().as_str().to_owned());
        let shows = Shows::OtherBeginning { earlier: earlier_note, later: later_note, root, proof };
        Self::of(shows, vec![earlier.clone(), later.clone()])
    }

    /// Evidence of a head without entries that has not the root of no entries; `None` where it is none.
    pub fn of_empty(head: &VerifiedCheckpoint) -> Option<Self> {
        Self::of(Shows::FalseEmpty { note: head.note().as_str().to_owned() }, vec![head.clone()])
    }

    /// Evidence in what was offered to one who knows `known` and found `why` the `offered` head does not follow it; `None` where
    /// that proves nothing against the log, as a proof that merely fails does not.
    pub fn of_refusal(
        known: Option<&VerifiedCheckpoint>,
        offered: &VerifiedCheckpoint,
        proof: &ConsistencyProof,
        why: &VerifyError,
    ) -> Option<Self> {
        let Some(known) = known else { return Self::of_empty(offered) };
        Self::of_heads(known, offered).or_else(|| match why {
            VerifyError::EarlierRootMismatch { computed, .. } => {
                Self::of_beginning(known, offered, *computed, proof.clone())
            }
            _ => None,
        })
    }

    fn of(shows: Shows, heads: Vec<VerifiedCheckpoint>) -> Option<Self> {
        contradiction(&shows, &heads).ok()?;
        let origin = heads.first()?.checkpoint().origin().clone();
        Some(Self { evidence: Evidence { origin, asked: Vec::new(), shows }, heads })
    }

    /// The same, with who was asked for what and when. What goes beyond [`MAX_ASKED`] is left out.
    #[must_use]
    pub fn asking(mut self, asked: impl IntoIterator<Item = Asked>) -> Self {
        self.evidence.asked.extend(asked);
        self.evidence.asked.truncate(MAX_ASKED);
        self
    }

    /// The file's contents.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The heads that cannot all be true, in the order of their notes.
    pub fn heads(&self) -> &[VerifiedCheckpoint] {
        &self.heads
    }

    /// A name for its file that follows from the log and its heads: the same contradiction has one name.
    ///
    /// ```text
    /// <SHA-256 of the origin, 16 hex digits>{-<tree size>-<root, 8 hex digits>}.evidence
    /// ```
    pub fn file_name(&self) -> String {
        let origin = self.evidence.origin.sha256_hex();
        let heads = self.heads.iter().map(|head| {
            let (size, root) = (head.checkpoint().size(), head.checkpoint().root().to_string());
            format!("-{size}-{root:.8}")
        });
        format!("{origin:.16}{}.evidence", heads.collect::<String>())
    }
}

/// What is missing for a contradiction, if anything is.
fn contradiction(shows: &Shows, heads: &[VerifiedCheckpoint]) -> Result<(), &'static str> {
    let shown = |is_so: bool, otherwise| if is_so { Ok(()) } else { Err(otherwise) };
    match (shows, heads) {
        (Shows::TwoRoots { .. }, [first, second]) => {
            shown(Equivocation::between(first, second).is_some(), "they are not of one size with two roots")
        }
        (Shows::OtherBeginning { root, proof, .. }, [earlier, later]) => {
            let (earlier, later) = (earlier.checkpoint(), later.checkpoint());
            let (from, to) = (earlier.size(), later.size());
            shown(earlier.origin() == later.origin(), "they are of two logs")?;
            // Every tree begins with the empty one.
            shown(!from.is_empty() && from < to, "the earlier tree is empty, or not the smaller one")?;
            shown(root != earlier.root(), "the other beginning is none: it has the root that was signed")?;
            let leads = verify_consistency(from, root, to, later.root(), proof).is_ok();
            shown(leads, "the proof does not lead from the other beginning to the later tree")
        }
        (Shows::FalseEmpty { .. }, [head]) => {
            let head = head.checkpoint();
            shown(head.size().is_empty() && *head.root() != EMPTY_ROOT, "the tree may be what it says")
        }
        _ => Err("another number of notes"),
    }
}

impl Asked {
    /// A record of a question. Control characters become spaces, and what is too long is cut off.
    pub fn new(time_seconds: u64, text: &str) -> Self {
        let mut text: String = text.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }).collect();
        text.truncate(text.floor_char_boundary(MAX_ASKED_BYTES));
        Self { time_seconds, text }
    }

    /// When, in seconds since the Unix epoch.
    pub fn time_seconds(&self) -> u64 {
        self.time_seconds
    }

    /// Whom and for what.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\norigin {}", self.origin)?;
        for asked in &self.asked {
            writeln!(f, "asked {} {}", asked.time_seconds, asked.text)?;
        }
        match &self.shows {
            Shows::TwoRoots { .. } => writeln!(f, "shows two-roots")?,
            Shows::FalseEmpty { .. } => writeln!(f, "shows false-empty")?,
            Shows::OtherBeginning { root, proof, .. } => {
                writeln!(f, "shows other-beginning\nroot {}", base64::encode(root.as_bytes()))?;
                for hash in proof.hashes() {
                    writeln!(f, "{}", base64::encode(hash.as_bytes()))?;
                }
            }
        }
        self.shows.notes().into_iter().try_for_each(|note| write!(f, "note {}\n{note}", note.len()))
    }
}

impl fmt::Display for VerifiedEvidence {
    /// What is proven, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = |head: &VerifiedCheckpoint| (head.checkpoint().size(), *head.checkpoint().root());
        write!(f, "{} signed ", self.evidence.origin)?;
        match (&self.evidence.shows, &self.heads[..]) {
            (Shows::OtherBeginning { root: other, .. }, [earlier, later]) => {
                let ((from, root), (to, _)) = (head(earlier), head(later));
                write!(
                    f,
                    "a tree of {from} entries with root {root}, and one of {to} that does not begin with it, but "
                )?;
                write!(f, "with a tree of root {other}")
            }
            (Shows::FalseEmpty { .. }, [only]) => {
                write!(f, "a tree without entries with root {}, which such a tree cannot have", head(only).1)
            }
            (_, heads) => {
                let roots: Vec<_> = heads.iter().map(|it| head(it).1.to_string()).collect();
                let size = heads.first().map(|it| head(it).0).unwrap_or_default();
                write!(f, "two different trees of {size} entries, with roots {}", roots.join(" and "))
            }
        }
    }
}
