//! Payloads: an event's groups, each sealed under a key of its own and committed to by the leaf.
//!
//! # Keys
//! A group's key comes from the log's own key and those of everybody the group is about, so that with any of them destroyed
//! nobody reads it again:
//!
//! ```text
//! key (32) ‖ salt (32) = HKDF-SHA256(ikm  = log's key ‖ subject keys, by rising reference,
//!                                     salt = id of the leaf,
//!                                     info = "graven payload v1" ‖ group)
//! ```
//!
//! The id is random and fresh for each payload, so a key seals one message and the nonce can be zero. The salt is as secret as the key
//! and goes with it; showing it to somebody shows nothing of the key.
//!
//! # Commitment
//! ```text
//! group     SHA-256("graven group v1\n" ‖ group ‖ salt ‖ text)
//! absent    SHA-256("graven absent v1\n" ‖ group ‖ pad)
//! inner     SHA-256("graven groups v1\n" ‖ left ‖ right)
//! ```
//! Three levels over the eight groups by number; the root is in the leaf. Whoever is shown one group sees three other hashes, and
//! cannot tell one of a group from one of nothing. The prefixes differ, none of them is a tree's, and the number is the position.
//!
//! # Bytes
//! ```text
//!   0   8  "GRVNPAY1"
//!   8  32  pad, random
//!  40   1  number of groups
//!  41   …  for each group that there is, by rising number:
//!            0   1  group
//!            1   1  number n of subjects
//!            2  16n references of the subjects, rising
//!            …  32  its commitment
//!            …   4  length of its sealed bytes
//!   …   …  the sealed bytes of each, in the same order: ChaCha20-Poly1305 with nonce zero over
//!            0   1  how the rest is packed: 0 not at all, 1 deflate (RFC 1951) after the dictionary of this module
//!            1   …  the group's text
//!          with the id of the leaf, the group and the references as associated data
//! ```
//!
//! AEADs don't commit to their key: the same bytes can be made to open under two keys to two texts. That is why each opening is held
//! against the commitment, and why the leaf commits to the sealed bytes as well.
//!
//! Groups are packed before they are sealed, so the length of a payload says something of what is in it: how long, and how repetitive.
//! Groups are packed apart, so nothing that one party brings is packed together with another group's secrets.

use std::collections::BTreeSet;

use chacha20poly1305::aead::{Aead, KeyInit, Payload as Message};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::check::{MAX_PARTIES, MAX_RAW_BYTES};
use crate::facts::Ref;
use crate::frame::PayloadId;
use crate::group::{self, Group};
use crate::model::{Event, Party};

/// Longest text of a group: a raw record and its format.
pub const MAX_GROUP_BYTES: usize = MAX_RAW_BYTES + (64 << 10) * 16;
/// Longest sealed payload.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"GRVNPAY1";
const GROUPS: usize = 8;
const DICTIONARY: &[u8] = include_bytes!("dictionary-v1.txt");

/// A secret key of 32 bytes. It is never shown, and gone from memory with its owner.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey(pub [u8; 32]);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// Somebody whom an event is about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What stands for them in leaves and payloads.
    pub reference: Ref,
    /// What their groups cannot be read without.
    pub key: SecretKey,
}

/// A sealed payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What the leaf says of it.
    pub id: PayloadId,
}

/// A payload does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// These are not the bytes that the leaf commits to.
    #[error("the payload is not the one that the leaf commits to")]
    Foreign,
    /// It is not built as a payload is.
    #[error("the payload is malformed: {0}")]
    Malformed(&'static str),
    /// The event has no such group.
    #[error("the event has no group `{}`", .0.as_str())]
    Absent(Group),
    /// The key of somebody whom it is about is gone.
    #[error("group `{}` was erased with the key of {reference}", .group.as_str())]
    Erased {
        /// The group.
        group: Group,
        /// Whose key.
        reference: Ref,
    },
    /// It opens to something that the leaf does not commit to, or not at all.
    #[error("group `{}` does not open to what the leaf commits to", .0.as_str())]
    Mismatch(Group),
}

/// Seals payloads. It keeps the memory of its packer from one to the next.
pub struct Sealer(Compress);

impl Default for Sealer {
    fn default() -> Self {
        Self(Compress::new(Compression::fast(), false))
    }
}

impl Sealer {
    /// Seals an event's groups for the leaf with this id, which must be random and never used before.
    ///
    /// # Errors
    /// A party for whom there is no subject.
    pub fn seal(
        &mut self,
        event: &Event,
        id: &[u8; 16],
        pad: &[u8; 32],
        log_key: &SecretKey,
        subject_of: impl Fn(&Party) -> Option<Subject>,
    ) -> Result<Sealed, Party> {
        let mut hashes = std::array::from_fn(|position| absent_hash(position, pad));
        let (mut table, mut sealed, mut count) = (Vec::new(), Vec::new(), 0_u8);
        for (group, text) in group::split(event) {
            let mut subjects = Vec::new();
            for party in group.subjects(event) {
                subjects.push(subject_of(&party).ok_or(party)?);
            }
            subjects.sort_by_key(|subject| subject.reference);
            subjects.dedup_by_key(|subject| subject.reference);
            let references: Vec<Ref> = subjects.iter().map(|subject| subject.reference).collect();
            let secrets = Secrets::derive(group, id, log_key, subjects.iter().map(|subject| &subject.key));
            let hash = group_hash(group, &secrets.salt, &text);
            hashes[position(group)] = hash;
            let bytes = secrets.seal(&self.pack(&text), &associated(id, group, &references));
            table.push(group.number());
            table.push(u8::try_from(references.len()).unwrap_or(u8::MAX));
            references.iter().for_each(|reference| table.extend_from_slice(&reference.0));
            table.extend_from_slice(&hash);
            table.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            sealed.extend_from_slice(&bytes);
            count += 1;
        }
        let bytes = [&MAGIC[..], pad, &[count], &table, &sealed].concat();
        let digest = Sha256::digest(&bytes).into();
        Ok(Sealed { bytes, id: PayloadId { commitment: root(&hashes), digest } })
    }

    /// The text behind the byte that says how it is packed.
    fn pack(&mut self, text: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut packed = Zeroizing::new(Vec::with_capacity(text.len() + 16));
        packed.push(1);
        self.0.reset();
        let primed = self.0.set_dictionary(DICTIONARY).is_ok();
        let status = self.0.compress_vec(text, &mut packed, FlushCompress::Finish);
        if !primed || !matches!(status, Ok(Status::StreamEnd)) || packed.len() > text.len() {
            packed.clear();
            packed.push(0);
            packed.extend_from_slice(text);
        }
        packed
    }
}

/// A payload that is the one its leaf commits to, still sealed.
#[derive(Debug)]
pub struct Payload<'a> {
    id: [u8; 16],
    pad: [u8; 32],
    groups: Vec<SealedGroup<'a>>,
}

#[derive(Debug)]
struct SealedGroup<'a> {
    group: Group,
    subjects: Vec<Ref>,
    hash: [u8; 32],
    bytes: &'a [u8],
}

/// A group that was opened, with what shows that the leaf commits to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Which.
    pub group: Group,
    /// What hides it in its commitment.
    pub salt: [u8; 32],
    /// What it says.
    pub text: Vec<u8>,
}

impl<'a> Payload<'a> {
    /// Reads a sealed payload of the leaf with this id.
    ///
    /// # Errors
    /// It is not the one that the leaf commits to.
    pub fn of(bytes: &'a [u8], id: &[u8; 16], claimed: &PayloadId) -> Result<Self, OpenError> {
        if Sha256::digest(bytes)[..] != claimed.digest {
            return Err(OpenError::Foreign);
        }
        let payload = Self::parse(bytes, id).map_err(OpenError::Malformed)?;
        if root(&payload.hashes()) != claimed.commitment {
            return Err(OpenError::Foreign);
        }
        Ok(payload)
    }

    fn parse(bytes: &'a [u8], id: &[u8; 16]) -> Result<Self, &'static str> {
        let cut = "it is cut short";
        let rest = bytes.strip_prefix(MAGIC).ok_or("it is of another format")?;
        let (pad, rest) = rest.split_first_chunk::<32>().ok_or(cut)?;
        let (count, mut rest) = rest.split_first().ok_or(cut)?;
        let (mut groups, mut lengths) = (Vec::new(), Vec::new());
        for _ in 0..*count {
            let ([number, subjects], tail) = rest.split_first_chunk::<2>().ok_or(cut)?;
            let (references, tail) = tail.split_at_checked(usize::from(*subjects) * 16).ok_or(cut)?;
            let (hash, tail) = tail.split_first_chunk::<32>().ok_or(cut)?;
            let (length, tail) = tail.split_first_chunk::<4>().ok_or(cut)?;
            let group = Group::of(*number).ok_or("it has a group of an unknown number")?;
            let (references, _) = references.as_chunks::<16>();
            let subjects: Vec<Ref> = references.iter().map(|reference| Ref(*reference)).collect();
            if groups.last().is_some_and(|last: &SealedGroup<'_>| last.group >= group) || !rises(&subjects) {
                return Err("its groups or subjects are out of order");
            }
            groups.push(SealedGroup { group, subjects, hash: *hash, bytes: &[] });
            lengths.push(u32::from_be_bytes(*length));
            rest = tail;
        }
        for (group, length) in groups.iter_mut().zip(lengths) {
            let length = usize::try_from(length).map_err(|_| cut)?;
            (group.bytes, rest) = rest.split_at_checked(length).ok_or(cut)?;
        }
        rest.is_empty().then_some(Self { id: *id, pad: *pad, groups }).ok_or("something follows it")
    }

    /// The groups that there are.
    pub fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        self.groups.iter().map(|sealed| sealed.group)
    }

    /// Everybody whom some group is about.
    pub fn subjects(&self) -> BTreeSet<Ref> {
        self.groups.iter().flat_map(|sealed| &sealed.subjects).copied().collect()
    }

    /// Whom each group is about.
    pub fn owners(&self) -> impl Iterator<Item = (Group, &[Ref])> {
        self.groups.iter().map(|sealed| (sealed.group, &sealed.subjects[..]))
    }

    /// The commitments of all positions.
    pub fn hashes(&self) -> [[u8; 32]; GROUPS] {
        let mut hashes = std::array::from_fn(|position| absent_hash(position, &self.pad));
        for sealed in &self.groups {
            hashes[position(sealed.group)] = sealed.hash;
        }
        hashes
    }

    /// Opens a group.
    ///
    /// # Errors
    /// There is none, the key of somebody whom it is about is gone, or it does not open to what the leaf commits to.
    pub fn open(
        &self,
        group: Group,
        log_key: &SecretKey,
        key_of: impl Fn(Ref) -> Option<SecretKey>,
    ) -> Result<Opened, OpenError> {
        let sealed =
            self.groups.iter().find(|sealed| sealed.group == group).ok_or(OpenError::Absent(group))?;
        let mut keys = Vec::with_capacity(sealed.subjects.len());
        for reference in &sealed.subjects {
            keys.push(key_of(*reference).ok_or(OpenError::Erased { group, reference: *reference })?);
        }
        let secrets = Secrets::derive(group, &self.id, log_key, keys.iter());
        let packed = secrets.open(sealed.bytes, &associated(&self.id, group, &sealed.subjects));
        let text = packed.and_then(|packed| unpack(&packed)).ok_or(OpenError::Mismatch(group))?;
        if group_hash(group, &secrets.salt, &text) != sealed.hash {
            return Err(OpenError::Mismatch(group));
        }
        Ok(Opened { group, salt: secrets.salt, text })
    }
}

struct Secrets {
    key: Zeroizing<[u8; 32]>,
    salt: [u8; 32],
}

impl Secrets {
    fn derive<'k>(
        group: Group,
        id: &[u8; 16],
        log_key: &SecretKey,
        subject_keys: impl Iterator<Item = &'k SecretKey>,
    ) -> Self {
        let mut material = Zeroizing::new(Vec::with_capacity(32 * (1 + MAX_PARTIES)));
        material.extend_from_slice(&log_key.0);
        subject_keys.for_each(|key| material.extend_from_slice(&key.0));
        let mut out = Zeroizing::new([0; 64]);
        let info = [&b"graven payload v1"[..], &[group.number()]].concat();
        let expanded = Hkdf::<Sha256>::new(Some(id), &material).expand(&info, &mut *out);
        expanded.expect("HKDF-SHA256 gives up to 8,160 bytes");
        let mut secrets = Self { key: Zeroizing::new([0; 32]), salt: [0; 32] };
        secrets.key.copy_from_slice(&out[..32]);
        secrets.salt.copy_from_slice(&out[32..]);
        secrets
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&Key::from(*self.key))
    }

    fn seal(&self, packed: &[u8], aad: &[u8]) -> Vec<u8> {
        let sealed = self.cipher().encrypt(&Nonce::default(), Message { msg: packed, aad });
        sealed.expect("a group is far below 256 GiB")
    }

    fn open(&self, sealed: &[u8], aad: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let opened = self.cipher().decrypt(&Nonce::default(), Message { msg: sealed, aad });
        opened.ok().map(Zeroizing::new)
    }
}

fn associated(id: &[u8; 16], group: Group, references: &[Ref]) -> Vec<u8> {
    let references = references.iter().flat_map(|reference| reference.0);
    id.iter().copied().chain([group.number()]).chain(references).collect()
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let (how, rest) = packed.split_first()?;
    let mut inflate = Decompress::new(false);
    match how {
        0 => return Some(rest.to_vec()),
        1 => drop(inflate.set_dictionary(DICTIONARY).ok()?),
        _ => return None,
    }
    let mut text = Vec::with_capacity((rest.len() * 4).clamp(1024, MAX_GROUP_BYTES));
    loop {
        let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
        let from = usize::try_from(before_in).ok()?;
        match inflate.decompress_vec(rest.get(from..)?, &mut text, FlushDecompress::None).ok()? {
            Status::StreamEnd => break,
            _ if text.len() >= MAX_GROUP_BYTES => return None,
            _ if text.len() == text.capacity() => text.reserve(text.len().min(MAX_GROUP_BYTES - text.len())),
            _ if (before_in, before_out) == (inflate.total_in(), inflate.total_out()) => return None,
            _ => {}
        }
    }
    (inflate.total_in() == rest.len() as u64 && text.len() <= MAX_GROUP_BYTES).then_some(text)
}

fn position(group: Group) -> usize {
    usize::from(group.number()) - 1
}

fn rises(references: &[Ref]) -> bool {
    references.windows(2).all(|pair| pair[0] < pair[1])
}

/// The commitment to a group.
pub fn group_hash(group: Group, salt: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let prefix = Sha256::new().chain_update(b"graven group v1\n").chain_update([group.number()]);
    prefix.chain_update(salt).chain_update(text).finalize().into()
}

fn absent_hash(position: usize, pad: &[u8; 32]) -> [u8; 32] {
    let number = u8::try_from(position + 1).unwrap_or(u8::MAX);
    Sha256::new()
        .chain_update(b"graven absent v1\n")
        .chain_update([number])
        .chain_update(pad)
        .finalize()
        .into()
}

/// The root over the commitments of all positions.
pub fn root(hashes: &[[u8; 32]; GROUPS]) -> [u8; 32] {
    let mut level = hashes.to_vec();
    while let [_, _, ..] = level[..] {
        level = level.as_chunks::<2>().0.iter().map(|[left, right]| inner(left, right)).collect();
    }
    level[0]
}

fn inner(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(b"graven groups v1\n").chain_update(left).chain_update(right).finalize().into()
}
