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
//!   0    8  "GRVNPAY1"
//!   8   32  pad, random
//!  40    1  the groups that there are: bit 0 (the lowest) for group 1, … bit 7 for group 8
//!  41    1  number s of subjects, at most 32
//!  42  16s  their references, rising
//!   …    …  for each group that there is, by rising number:
//!             0   m  whom it is about: a bit for each subject, the first the lowest of the first byte; m = s/8, rounded up
//!             m  32  its commitment
//!             …   4  length of its sealed bytes, big-endian
//!   …    …  the sealed bytes of each, in the same order: ChaCha20-Poly1305 (RFC 8439) with nonce zero over
//!             0   1  how the rest is packed: 0 not at all, 1 deflate (RFC 1951) after a dictionary, 2 zstd (RFC 8878) after another one
//!             1   …  the group's text
//!           with the id of the leaf (16), the group's number (1) and the references of whom it is about as associated data;
//!           the last 16 bytes are the tag
//! ```
//!
//! Each subject is of some group, and `raw` is about all of them. Writers pack by zstd, and not at all where that is no shorter; readers
//! take all three.
//!
//! # Packed by zstd
//! One frame, without the four bytes that every frame begins with, and nothing behind it:
//!
//! ```text
//!   0    1  0x20, 0x60 or 0xa0: the length follows in 1, 2 or 4 bytes, and is the window; no checksum, no number of a dictionary
//!   1    …  length of the text, little-endian, in the first of these that holds it: below 256 as it is in 1;
//!           below 65,792 less 256 in 2; else as it is in 4. At most MAX_GROUP_BYTES
//!   …    …  blocks (RFC 8878 §3.1.1.2), the last of which is marked so
//! ```
//!
//! So what a reader needs of memory stands at the beginning, and no frame that says otherwise, is followed by another one or can be
//! skipped is read.
//!
//! The dictionary of a group is the file `groups-v2.dict` beside this module, in the format of RFC 8878 §5. That of `raw` is
//! `records-v2.dict` followed by the last 32,768 bytes of the texts of all other groups by rising number: a record repeats what was
//! read out of it, and whoever may open it has the keys of the others as well. Files that were ever used never change: another one takes
//! another number of how things are packed.
//!
//! The contents of both are vocabulary: that of the files that deflate uses (`…-v1.dict`, written by hand), and for groups 8 KiB more that
//! zstd's trainer chose. It chose among made-up events of APIs and the groups of real records of seven systems
//! (`tests/vectors/events`), in which each run of letters and digits that is not a word of that vocabulary or of two independent sets of
//! records had been replaced by random ones. So there is nobody in them. Of events that the trainer did not see, the groups take 208 bytes
//! (APIs), 243 (CloudTrail) and 82 to 272 (the six others), where deflate took 262, 252 and 61 to 288, in about a tenth of its time.
//!
//! # Packed by deflate
//! The dictionary of a group is `groups-v1.dict`. That of `raw` is `records-v1.dict` and then the texts of all other groups by rising
//! number, of which deflate sees the last 32,768 bytes.
//!
//! # What does not follow from the bytes
//! AEADs don't commit to their key: the same bytes can be made to open under two keys to two texts. That is why each opening is held
//! against the commitment, and why the leaf commits to the sealed bytes as well.
//!
//! Groups are packed before they are sealed, so the length of a payload says something of what is in it: how long, and how repetitive.
//! Only `raw` is packed with the others, and only because it is about everybody and says what they say.

use std::collections::BTreeSet;

use chacha20poly1305::aead::{Aead, KeyInit, Payload as Message};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::check::MAX_PARTIES;
use crate::facts::Ref;
use crate::frame::PayloadId;
use crate::group::{self, Group};
use crate::model::{Event, Party};
pub use crate::pack::{GROUPS_DICTIONARY, MAX_GROUP_BYTES, RECORDS_DICTIONARY};
use crate::pack::{Packer, unpack};

/// Most people and applications of one payload.
pub const MAX_SUBJECTS: usize = MAX_PARTIES;

const MAGIC: &[u8; 8] = b"GRVNPAY1";
const GROUPS: usize = 8;

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
    /// Whom each group is about, as its bytes say.
    pub about: Vec<(Group, Vec<Ref>)>,
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

/// An event cannot be sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no subject for somebody whom it is about.
    #[error("somebody whom the event is about has no key")]
    NoSubject,
    /// It was not [checked](Event::check): it is about more people, or says more, than a payload holds.
    #[error("the event is about more than {MAX_SUBJECTS} or longer than a payload")]
    TooLong,
}

/// Seals payloads. It keeps the memory of its packer from one to the next.
#[derive(Default)]
pub struct Sealer(Packer);

impl Sealer {
    /// Seals an event's groups for the leaf with this id, which must be random and never used before.
    ///
    /// # Errors
    /// A party for whom there is no subject, or more than fits.
    pub fn seal(
        &mut self,
        event: &Event,
        id: &[u8; 16],
        pad: &[u8; 32],
        log_key: &SecretKey,
        subject_of: impl Fn(&Party) -> Option<Subject>,
    ) -> Result<Sealed, SealError> {
        let texts = group::split(event);
        let parties = group::parties(event);
        let mut people: Vec<(Subject, &Party)> = Vec::with_capacity(parties.len());
        for party in &parties {
            people.push((subject_of(party).ok_or(SealError::NoSubject)?, party));
        }
        people.sort_unstable_by_key(|(subject, _)| subject.reference);
        let all: BTreeSet<Ref> = people.iter().map(|(subject, _)| subject.reference).collect();
        if all.len() > MAX_SUBJECTS || texts.iter().any(|(_, text)| text.len() > MAX_GROUP_BYTES) {
            return Err(SealError::TooLong);
        }
        let mut hashes = absent_hashes(pad);
        let (mut table, mut sealed, mut present) = (Vec::new(), Vec::new(), 0_u8);
        let mut about = Vec::with_capacity(texts.len());
        for (group, text) in &texts {
            let mut subjects: Vec<&Subject> = people
                .iter()
                .filter(|(_, party)| group.is_about(event, party))
                .map(|(subject, _)| subject)
                .collect();
            subjects.dedup_by_key(|subject| subject.reference);
            let references: Vec<Ref> = subjects.iter().map(|subject| subject.reference).collect();
            let secrets = Secrets::derive(*group, id, log_key, subjects.iter().map(|subject| &subject.key));
            let hash = group_hash(*group, &secrets.salt, text);
            let packed = self.0.pack(*group, text, &texts);
            let bytes = secrets.seal(&packed, &associated(id, *group, &references));
            hashes[position(*group)] = hash;
            present |= 1 << position(*group);
            table.extend_from_slice(&mask(&all, &references));
            table.extend_from_slice(&hash);
            table.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
            sealed.extend_from_slice(&bytes);
            about.push((*group, references));
        }
        let count = u8::try_from(all.len()).unwrap_or(u8::MAX);
        let references: Vec<u8> = all.iter().flat_map(|reference| reference.0).collect();
        let bytes = [&MAGIC[..], pad, &[present, count], &references, &table, &sealed].concat();
        let digest = Sha256::digest(&bytes).into();
        Ok(Sealed { bytes, id: PayloadId { commitment: root(&hashes), digest }, about })
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
        let ([present, count], rest) = rest.split_first_chunk::<2>().ok_or(cut)?;
        let (references, mut rest) = rest.split_at_checked(usize::from(*count) * 16).ok_or(cut)?;
        let all: Vec<Ref> = references.as_chunks::<16>().0.iter().map(|reference| Ref(*reference)).collect();
        if all.len() > MAX_SUBJECTS || !all.is_sorted_by(|a, b| a < b) {
            return Err("it has too many subjects, or they are out of order");
        }
        let (mut groups, mut lengths) = (Vec::new(), Vec::new());
        for group in Group::ALL.into_iter().filter(|group| *present & (1_u8 << position(*group)) != 0) {
            let (mask, tail) = rest.split_at_checked(all.len().div_ceil(8)).ok_or(cut)?;
            let (hash, tail) = tail.split_first_chunk::<32>().ok_or(cut)?;
            let (length, tail) = tail.split_first_chunk::<4>().ok_or(cut)?;
            let subjects = masked(&all, mask).ok_or("a group is about a subject that it does not have")?;
            groups.push(SealedGroup { group, subjects, hash: *hash, bytes: &[] });
            lengths.push(u32::from_be_bytes(*length));
            rest = tail;
        }
        for (group, length) in groups.iter_mut().zip(lengths) {
            let length = usize::try_from(length).map_err(|_| cut)?;
            (group.bytes, rest) = rest.split_at_checked(length).ok_or(cut)?;
        }
        let payload = Self { id: *id, pad: *pad, groups };
        if payload.subjects().len() != all.len() {
            return Err("no group is about one of its subjects");
        }
        if payload.sealed(Group::Raw).is_some_and(|raw| raw.subjects.len() != all.len()) {
            return Err("its record is not about everybody");
        }
        rest.is_empty().then_some(payload).ok_or("something follows it")
    }

    fn sealed(&self, group: Group) -> Option<&SealedGroup<'a>> {
        self.groups.iter().find(|sealed| sealed.group == group)
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
        let mut hashes = absent_hashes(&self.pad);
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
        self.open_with(group, log_key, &key_of)
    }

    fn open_with(
        &self,
        group: Group,
        log_key: &SecretKey,
        key_of: &dyn Fn(Ref) -> Option<SecretKey>,
    ) -> Result<Opened, OpenError> {
        let sealed = self.sealed(group).ok_or(OpenError::Absent(group))?;
        let mut keys = Vec::with_capacity(sealed.subjects.len());
        for reference in &sealed.subjects {
            keys.push(key_of(*reference).ok_or(OpenError::Erased { group, reference: *reference })?);
        }
        let mut texts = Vec::new();
        if group == Group::Raw {
            for other in self.groups().filter(|other| *other != Group::Raw) {
                texts.push((other, self.open_with(other, log_key, key_of)?.text));
            }
        }
        let secrets = Secrets::derive(group, &self.id, log_key, keys.iter());
        let packed = secrets.open(sealed.bytes, &associated(&self.id, group, &sealed.subjects));
        let text = packed.and_then(|packed| unpack(&packed, group, &texts));
        let text = text.ok_or(OpenError::Mismatch(group))?;
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

fn position(group: Group) -> usize {
    usize::from(group.number()) - 1
}

/// A bit for each of all, set for some.
fn mask(all: &BTreeSet<Ref>, some: &[Ref]) -> Vec<u8> {
    let mut mask = vec![0; all.len().div_ceil(8)];
    for (place, _) in all.iter().enumerate().filter(|(_, reference)| some.contains(reference)) {
        mask[place / 8] |= 1 << (place % 8);
    }
    mask
}

/// Those whose bits are set; `None` where a bit is of nobody.
fn masked(all: &[Ref], mask: &[u8]) -> Option<Vec<Ref>> {
    let is_set = |place: usize| mask[place / 8] & (1_u8 << (place % 8)) != 0;
    let spare = (all.len()..mask.len() * 8).any(is_set);
    let places = all.iter().enumerate().filter(|(place, _)| is_set(*place));
    (!spare).then(|| places.map(|(_, reference)| *reference).collect())
}

/// The commitment to a group.
pub fn group_hash(group: Group, salt: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let prefix = Sha256::new().chain_update(b"graven group v1\n").chain_update([group.number()]);
    prefix.chain_update(salt).chain_update(text).finalize().into()
}

fn absent_hashes(pad: &[u8; 32]) -> [[u8; 32]; GROUPS] {
    Group::ALL.map(|group| {
        let prefix = Sha256::new().chain_update(b"graven absent v1\n").chain_update([group.number()]);
        prefix.chain_update(pad).finalize().into()
    })
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
