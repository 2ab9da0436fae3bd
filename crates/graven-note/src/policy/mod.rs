//! Trust policies, C2SP tlog-policy: which logs, which witnesses, and how many of them suffice.
//!
//! ```text
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<k> <member>...
//! quorum <name>|none
//! # comment
//! ```
//!
//! Octets, not text: names, URLs and comments may hold any byte from 0x80 up, and compare byte by byte. Words
//! are separated by spaces and tabs, the only control character beside newline. Names are defined before they
//! are used, a name is a member of one group at most, keys don't repeat among logs nor among witnesses.
//!
//! Decided here:
//! - the last line must be ended by a newline (contested): a file cut short could name another quorum;
//! - logs have keys of type 0x01, 0x02, 0x05 or 0x06, witnesses of type 0x04 or 0x06;
//! - a log's origin is the name of its key. Our logs sign with several keys under one name, so several `log`
//!   lines name one origin: one valid signature among them suffices, an invalid one by any listed key refuses;
//! - a numeric threshold is a canonical decimal.

mod evaluate;
mod parse;

use std::fmt;

use thiserror::Error;

use crate::name::{InvalidKeyName, SignatureType};
use crate::vkey::{VerifierKey, VkeyError};

pub use evaluate::{PolicyCheckError, WitnessTime, WitnessedCheckpoint};

/// The most `log` lines; the specification asks for 32 or more. The same number holds for `witness` and
/// `group` lines each.
pub const MAX_POLICY_LINES: usize = 128;

/// The longest policy, in bytes: logs and witnesses with ML-DSA-44 keys of about 1.8 kB each, and comments.
pub const MAX_POLICY_BYTES: usize = 1024 * 1024;

/// A parsed policy. [`Policy::verify_checkpoint`] applies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    /// Witnesses and groups in the order of their definition, so that members precede their group.
    nodes: Vec<Node>,
    /// Index into `nodes`; `None` is `quorum none`.
    quorum: Option<usize>,
}

/// A `log` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    /// The log's key, whose name is the log's origin.
    pub key: VerifierKey,
    /// Where to reach the log, as written.
    pub url: Option<PolicyWord>,
}

/// A `witness` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// The witness's name in this policy, which means nothing elsewhere.
    pub name: PolicyWord,
    /// The witness's key.
    pub key: VerifierKey,
    /// Where to reach the witness, as written.
    pub url: Option<PolicyWord>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: PolicyWord,
    threshold: usize,
    members: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Witness(PolicyWitness),
    Group(Group),
}

/// A word of a policy: octets without space, tab, newline or control characters, often UTF-8.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PolicyWord(Vec<u8>);

/// Why bytes are not a policy. The policy's author is at fault; `line` counts from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("policy line {line}: {reason}")]
pub struct PolicyError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: PolicyErrorReason,
}

/// What is wrong with a policy line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyErrorReason {
    /// Longer than [`MAX_POLICY_BYTES`].
    #[error("a policy has at most {MAX_POLICY_BYTES} bytes")]
    TooLarge,
    /// More than [`MAX_POLICY_LINES`] lines of a kind.
    #[error("at most {MAX_POLICY_LINES} logs, witnesses and groups each")]
    TooMany,
    /// The last line is not ended.
    #[error("the last line does not end in a newline: was the file cut short?")]
    NoFinalNewline,
    /// A control character other than tab and newline.
    #[error("control characters other than tab are not allowed: was it saved with CR LF line ends?")]
    ControlCharacter,
    /// The first word is none of the four.
    #[error("lines begin with log, witness, group or quorum")]
    Keyword,
    /// Too few or too many words.
    #[error("expected '{0}'")]
    Syntax(&'static str),
    /// Not a verifier key.
    #[error(transparent)]
    Key(#[from] VkeyError),
    /// Not a key name.
    #[error(transparent)]
    KeyName(#[from] InvalidKeyName),
    /// A key that logs, or witnesses, don't sign with.
    #[error("{0} keys are not for this: logs use 0x01, 0x02, 0x05 or 0x06, witnesses 0x04 or 0x06")]
    KeyType(SignatureType),
    /// The public key stands on an earlier line of this kind.
    #[error("this public key is listed before")]
    DuplicateKey,
    /// The name is taken, or `none`.
    #[error("the name {0} is taken")]
    DuplicateName(PolicyWord),
    /// The name is not defined on an earlier line.
    #[error("{0} is not defined on an earlier line")]
    Undefined(PolicyWord),
    /// The member belongs to a group already.
    #[error("{0} is a member of a group already")]
    MemberTwice(PolicyWord),
    /// Not `all`, `any` or a number from 1 to the number of members.
    #[error("a threshold is all, any or a decimal from 1 to the number of members")]
    Threshold,
    /// A second quorum line.
    #[error("a policy has one quorum line")]
    SecondQuorum,
    /// No quorum line at all.
    #[error("no quorum line; write 'quorum none' to require no witness")]
    NoQuorum,
}

impl Policy {
    /// A policy that trusts these log keys and requires no witness; it writes as `log` lines and
    /// `quorum none`.
    pub fn without_witnesses(log_keys: &[VerifierKey]) -> Result<Self, PolicyError> {
        let logs: String = log_keys.iter().map(|key| format!("log {key}\n")).collect();
        Self::parse(format!("{logs}quorum none\n").as_bytes())
    }

    /// The logs, in their order.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses, in their order.
    pub fn witnesses(&self) -> impl Iterator<Item = &PolicyWitness> {
        self.nodes.iter().filter_map(Node::witness)
    }

    /// The policy as a file: one line each, no comments. Parsing it gives an equal policy.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for log in &self.logs {
            push_line(&mut file, &[b"log", log.key.to_string().as_bytes(), url(log.url.as_ref())]);
        }
        for node in &self.nodes {
            self.push_node(&mut file, node);
        }
        let quorum = self.quorum.map_or(&b"none"[..], |quorum| self.nodes[quorum].name().as_bytes());
        push_line(&mut file, &[b"quorum", quorum]);
        file
    }

    fn push_node(&self, file: &mut Vec<u8>, node: &Node) {
        match node {
            Node::Witness(PolicyWitness { name, key, url: at }) => {
                let key = key.to_string();
                push_line(file, &[b"witness", name.as_bytes(), key.as_bytes(), url(at.as_ref())]);
            }
            Node::Group(Group { name, threshold, members }) => {
                let threshold = threshold.to_string();
                let mut words = vec![&b"group"[..], name.as_bytes(), threshold.as_bytes()];
                words.extend(members.iter().map(|member| self.nodes[*member].name().as_bytes()));
                push_line(file, &words);
            }
        }
    }
}

impl Node {
    fn name(&self) -> &PolicyWord {
        match self {
            Self::Witness(witness) => &witness.name,
            Self::Group(group) => &group.name,
        }
    }

    fn witness(&self) -> Option<&PolicyWitness> {
        match self {
            Self::Witness(witness) => Some(witness),
            Self::Group(_) => None,
        }
    }
}

impl PolicyWord {
    /// The word's octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PolicyWord {
    /// As UTF-8, with replacement characters where it is not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for PolicyWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyWord({})", self.0.escape_ascii())
    }
}

fn url(url: Option<&PolicyWord>) -> &[u8] {
    url.map_or(b"", PolicyWord::as_bytes)
}

fn push_line(file: &mut Vec<u8>, words: &[&[u8]]) {
    let words: Vec<_> = words.iter().copied().filter(|word| !word.is_empty()).collect();
    file.extend(words.join(&b' '));
    file.push(b'\n');
}
