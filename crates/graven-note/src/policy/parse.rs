//! From a policy's octets to a [`Policy`], line by line.

use super::{
    Group, MAX_POLICY_BYTES, MAX_POLICY_LINES, Node, Policy, PolicyError, PolicyErrorReason as Reason,
    PolicyLog, PolicyWitness, PolicyWord,
};
use crate::decimal;
use crate::name::SignatureType;
use crate::vkey::{VerifierKey, VkeyError};

const NO_WITNESS: &[u8] = b"none";

const LOG_SYNTAX: Reason = Reason::Syntax("log <vkey> [<url>]");
const WITNESS_SYNTAX: Reason = Reason::Syntax("witness <name> <vkey> [<url>]");
const GROUP_SYNTAX: Reason = Reason::Syntax("group <name> all|any|<k> <member>...");
const QUORUM_SYNTAX: Reason = Reason::Syntax("quorum <name>|none");

impl Policy {
    /// Parses a policy file.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let whole_file = |reason| PolicyError { line: 1, reason };
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(whole_file(Reason::TooLarge));
        }
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let mut builder = Builder::default();
        for (index, line) in lines.iter().enumerate() {
            let at_line = |reason| PolicyError { line: index + 1, reason };
            builder.add_line(line).map_err(at_line)?;
            // What follows the last newline is not a line.
            if index + 1 == lines.len() && !line.is_empty() {
                return Err(at_line(Reason::NoFinalNewline));
            }
        }
        let no_quorum = PolicyError { line: lines.len(), reason: Reason::NoQuorum };
        Ok(Self { logs: builder.logs, nodes: builder.nodes, quorum: builder.quorum.ok_or(no_quorum)? })
    }
}

#[derive(Default)]
struct Builder {
    logs: Vec<PolicyLog>,
    nodes: Vec<Node>,
    /// Nodes that are members of a group.
    grouped: Vec<usize>,
    quorum: Option<Option<usize>>,
}

impl Builder {
    fn add_line(&mut self, line: &[u8]) -> Result<(), Reason> {
        if line.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err(Reason::ControlCharacter);
        }
        let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
        let words: Vec<&[u8]> = line.split(blank).filter(|word| !word.is_empty()).collect();
        let Some((keyword, words)) = words.split_first() else {
            return Ok(());
        };
        match *keyword {
            comment if comment.starts_with(b"#") => Ok(()),
            b"log" => self.add_log(words),
            b"witness" => self.add_witness(words),
            b"group" => self.add_group(words),
            b"quorum" => self.set_quorum(words),
            _ => Err(Reason::Keyword),
        }
    }

    fn add_log(&mut self, words: &[&[u8]]) -> Result<(), Reason> {
        let (key, url) = key_and_url(words).ok_or(LOG_SYNTAX)?;
        let key = parse_key(key)?;
        if key.signature_type() == SignatureType::CosignatureV1 {
            return Err(Reason::KeyType(key.signature_type()));
        }
        if self.logs.iter().any(|log| log.key.public_key() == key.public_key()) {
            return Err(Reason::DuplicateKey);
        }
        within_limit(self.logs.len())?;
        self.logs.push(PolicyLog { key, url });
        Ok(())
    }

    fn add_witness(&mut self, words: &[&[u8]]) -> Result<(), Reason> {
        let (name, words) = words.split_first().ok_or(WITNESS_SYNTAX)?;
        let (key, url) = key_and_url(words).ok_or(WITNESS_SYNTAX)?;
        let name = self.new_name(name)?;
        let key = parse_key(key)?;
        if !matches!(key.signature_type(), SignatureType::CosignatureV1 | SignatureType::MlDsa44) {
            return Err(Reason::KeyType(key.signature_type()));
        }
        let mut known = self.nodes.iter().filter_map(Node::witness);
        if known.any(|witness| witness.key.public_key() == key.public_key()) {
            return Err(Reason::DuplicateKey);
        }
        within_limit(self.nodes.iter().filter_map(Node::witness).count())?;
        self.nodes.push(Node::Witness(PolicyWitness { name, key, url }));
        Ok(())
    }

    fn add_group(&mut self, words: &[&[u8]]) -> Result<(), Reason> {
        let [name, threshold, names @ ..] = words else {
            return Err(GROUP_SYNTAX);
        };
        if names.is_empty() {
            return Err(GROUP_SYNTAX);
        }
        let name = self.new_name(name)?;
        let members = names.iter().map(|member| self.new_member(member)).collect::<Result<Vec<_>, _>>()?;
        let threshold = parse_threshold(threshold, members.len())?;
        within_limit(self.nodes.iter().filter(|node| node.witness().is_none()).count())?;
        self.nodes.push(Node::Group(Group { name, threshold, members }));
        Ok(())
    }

    fn set_quorum(&mut self, words: &[&[u8]]) -> Result<(), Reason> {
        let [name] = words else {
            return Err(QUORUM_SYNTAX);
        };
        let quorum = if *name == NO_WITNESS { None } else { Some(self.defined(name)?) };
        match self.quorum.replace(quorum) {
            None => Ok(()),
            Some(_) => Err(Reason::SecondQuorum),
        }
    }

    fn new_name(&self, name: &[u8]) -> Result<PolicyWord, Reason> {
        let taken = name == NO_WITNESS || self.find(name).is_some();
        let name = PolicyWord(name.to_vec());
        if taken { Err(Reason::DuplicateName(name)) } else { Ok(name) }
    }

    fn new_member(&mut self, name: &[u8]) -> Result<usize, Reason> {
        let member = self.defined(name)?;
        if self.grouped.contains(&member) {
            return Err(Reason::MemberTwice(PolicyWord(name.to_vec())));
        }
        self.grouped.push(member);
        Ok(member)
    }

    fn defined(&self, name: &[u8]) -> Result<usize, Reason> {
        self.find(name).ok_or_else(|| Reason::Undefined(PolicyWord(name.to_vec())))
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.nodes.iter().position(|node| node.name().as_bytes() == name)
    }
}

fn key_and_url<'w>(words: &[&'w [u8]]) -> Option<(&'w [u8], Option<PolicyWord>)> {
    match words {
        [key] => Some((key, None)),
        [key, url] => Some((key, Some(PolicyWord(url.to_vec())))),
        _ => None,
    }
}

fn parse_key(word: &[u8]) -> Result<VerifierKey, Reason> {
    let text = std::str::from_utf8(word).map_err(|_| VkeyError::Format)?;
    Ok(VerifierKey::parse(text)?)
}

fn parse_threshold(word: &[u8], members: usize) -> Result<usize, Reason> {
    let threshold = match word {
        b"all" => Some(members),
        b"any" => Some(1),
        _ => std::str::from_utf8(word).ok().and_then(decimal::parse).and_then(|k| usize::try_from(k).ok()),
    };
    threshold.filter(|k| (1..=members).contains(k)).ok_or(Reason::Threshold)
}

fn within_limit(count: usize) -> Result<(), Reason> {
    if count < MAX_POLICY_LINES { Ok(()) } else { Err(Reason::TooMany) }
}
