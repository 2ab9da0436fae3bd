//! What the vault remembers, as rows in sealed pages.
//!
//! ```text
//! page, as it lies in a record; numbers big-endian
//!   0  24  nonce, random
//!  24   …  rows one after the other, encrypted: XChaCha20-Poly1305 under the epoch key
//!   …  16  tag
//!
//! associated data: the 36 bytes with which the segment begins, then the number of the record in it (4 bytes)
//!
//! row, by its first byte
//!   1  realm      1 4 number  | 5 32 group key | 37 32 pseudonym key | 69 32 index key | 101 2 length | 103 … name
//!   2  subject    1 4 realm   | 5 16 reference | 21 32 key           | 53 2 length     | 55 … name
//!   3  tombstone  1 4 realm   | 5 16 reference
//!   4  next       nothing more: the file goes on in the next segment, and this row is its last
//! ```
//!
//! The tag binds a key to its realm, reference, name, vault, epoch and place: no row can be moved, left out or repeated.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use graven_store::chain::MAX_PAYLOAD_BYTES;
use zeroize::Zeroizing;

use crate::secret::{Entropy, KEY_BYTES, Name, SecretKey};
use crate::subject::{Known, REF_BYTES, Realm, RealmKeys, Subject, SubjectRef};

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// A page is one record: so many new subjects are made durable by one sync.
pub(crate) const MAX_PAGE_BYTES: usize = MAX_PAYLOAD_BYTES;

const REALM: u8 = 1;
const SUBJECT: u8 = 2;
const TOMBSTONE: u8 = 3;
const NEXT: u8 = 4;

/// A row to be written.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    Realm(&'a Realm),
    Subject(u32, &'a Subject),
    Tombstone(u32, SubjectRef),
    Next,
}

impl Row<'_> {
    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        const START_BYTES: usize = 1 + 4;
        match self {
            Row::Realm(realm) => START_BYTES + 3 * KEY_BYTES + 2 + realm.name().as_bytes().len(),
            Row::Subject(_, subject) => START_BYTES + REF_BYTES + KEY_BYTES + 2 + subject.name().len(),
            Row::Tombstone(..) => START_BYTES + REF_BYTES,
            Row::Next => 1,
        }
    }
}

/// A row that was read.
pub(crate) enum Read {
    Realm { number: u32, name: Name, keys: RealmKeys },
    Subject(u32, Subject),
    Tombstone(u32, SubjectRef),
    Next,
}

/// A page that is being filled. Its memory is taken once: what grows leaves copies behind.
pub(crate) struct Page {
    bytes: Zeroizing<Vec<u8>>,
    max_bytes: usize,
}

impl Page {
    /// An empty page, of at most this many bytes once it is sealed.
    pub(crate) fn new(max_bytes: usize) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(max_bytes));
        bytes.extend_from_slice(&[0; NONCE_BYTES]);
        Self { bytes, max_bytes }
    }

    /// Whether it has no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == NONCE_BYTES
    }

    /// Whether a row, and behind it one that leads to the next segment, still fit.
    pub(crate) fn has_room(&self, row: Row<'_>) -> bool {
        self.bytes.len() + row.len() + Row::Next.len() + TAG_BYTES <= self.max_bytes
    }

    /// Adds a row. The caller has asked whether there [is room](Self::has_room), and a page has it for any first one.
    pub(crate) fn push(&mut self, row: Row<'_>) {
        match row {
            Row::Realm(realm) => {
                let keys = realm.keys();
                self.start(REALM, realm.number());
                for key in [&keys.group, &keys.pseudonym, &keys.index] {
                    self.bytes.extend_from_slice(key.as_bytes());
                }
                self.name(realm.name().as_bytes());
            }
            Row::Subject(realm, subject) => {
                self.start(SUBJECT, realm);
                self.bytes.extend_from_slice(&subject.reference().0);
                self.bytes.extend_from_slice(subject.key().as_bytes());
                self.name(subject.name());
            }
            Row::Tombstone(realm, reference) => {
                self.start(TOMBSTONE, realm);
                self.bytes.extend_from_slice(&reference.0);
            }
            Row::Next => self.bytes.push(NEXT),
        }
    }

    fn start(&mut self, kind: u8, realm: u32) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&realm.to_be_bytes());
    }

    fn name(&mut self, name: &[u8]) {
        let len = u16::try_from(name.len()).expect("MAX_NAME_BYTES fits 16 bits");
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(name);
    }

    /// Encrypts the page where it lies, which leaves no copy of it.
    pub(crate) fn seal(self, key: &SecretKey, place: &[u8], entropy: &Entropy) -> std::io::Result<Vec<u8>> {
        let mut bytes = self.bytes;
        let (nonce, rows) = bytes.split_at_mut(NONCE_BYTES);
        entropy(nonce)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().expect("it was split there");
        let tag = cipher(key)
            .encrypt_inout_detached(&nonce.into(), place, rows.into())
            .expect("a page is far shorter than the cipher's limit");
        bytes.extend_from_slice(&tag);
        Ok(std::mem::take(&mut *bytes))
    }
}

/// Decrypts a page where it lies, and reads its rows; `None` is a page that this key did not seal for this place, or one
/// that holds anything but rows.
pub(crate) fn open(page: Vec<u8>, key: &SecretKey, place: &[u8]) -> Option<Vec<Read>> {
    let mut page = Zeroizing::new(page);
    let (nonce, rest) = page.split_first_chunk_mut::<NONCE_BYTES>()?;
    let (rows, tag) = rest.split_last_chunk_mut::<TAG_BYTES>()?;
    cipher(key).decrypt_inout_detached(&(*nonce).into(), place, (&mut *rows).into(), &(*tag).into()).ok()?;
    let (mut rest, mut read) = (&*rows, Vec::new());
    while !rest.is_empty() {
        read.push(row(&mut rest)?);
    }
    Some(read)
}

fn row(rest: &mut &[u8]) -> Option<Read> {
    Some(match take::<1>(rest)? {
        [REALM] => {
            let number = u32::from_be_bytes(*take(rest)?);
            let keys = RealmKeys { group: key(rest)?, pseudonym: key(rest)?, index: key(rest)? };
            Read::Realm { number, name: name(rest)?, keys }
        }
        [SUBJECT] => {
            let realm = u32::from_be_bytes(*take(rest)?);
            let reference = SubjectRef(*take(rest)?);
            Read::Subject(realm, Subject::new(Known { reference, key: key(rest)?, name: name(rest)? }))
        }
        [TOMBSTONE] => {
            Read::Tombstone(u32::from_be_bytes(*take(rest)?), SubjectRef(*take::<REF_BYTES>(rest)?))
        }
        [NEXT] => Read::Next,
        _ => return None,
    })
}

fn key(rest: &mut &[u8]) -> Option<SecretKey> {
    take(rest).map(SecretKey::new)
}

fn name(rest: &mut &[u8]) -> Option<Name> {
    let len = usize::from(u16::from_be_bytes(*take(rest)?));
    let (name, after) = rest.split_at_checked(len)?;
    *rest = after;
    Name::new(name).ok()
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(taken)
}

fn cipher(key: &SecretKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.as_bytes().into())
}

/// Seals a few bytes under a key, as a page is sealed: for the master key in a file.
pub(crate) fn seal_bytes(
    bytes: &[u8],
    key: &SecretKey,
    place: &[u8],
    entropy: &Entropy,
) -> std::io::Result<Vec<u8>> {
    let mut page = Page::new(NONCE_BYTES + bytes.len() + TAG_BYTES);
    page.bytes.extend_from_slice(bytes);
    page.seal(key, place, entropy)
}

/// Opens what [`seal_bytes`] sealed, if it has the length of a key.
pub(crate) fn open_key(sealed: &[u8], key: &SecretKey, place: &[u8]) -> Option<SecretKey> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let (sealed, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let mut opened = Zeroizing::new(<[u8; KEY_BYTES]>::try_from(sealed).ok()?);
    cipher(key)
        .decrypt_inout_detached(&(*nonce).into(), place, (&mut opened[..]).into(), &(*tag).into())
        .ok()?;
    Some(SecretKey::new(&opened))
}
