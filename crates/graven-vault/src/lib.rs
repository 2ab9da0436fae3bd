//! References and keys of the people, clients and producers that events are about, and their erasure.
//!
//! An audit log cannot forget an entry. What it can forget is whom an entry speaks of: leaves hold random *references*, what
//! is personal lies encrypted under the *key* of the subjects it is about, and this crate keeps what leads from names to
//! references and keys. Destroying that is the erasure, and every proof of the log still verifies.
//!
//! ```text
//! master key (a file, or a token by PKCS#11)
//!   └─ wraps ─▶ epoch key, one at a time       epoch-E.key        overwritten in place by an erasure
//!                 └─ seals ─▶ realms: names, keys    ┐
//!                             subjects: names,       ├ epoch-E-S.subjects   written once, appended to, unlinked
//!                               references, keys     │
//!                             tombstones: references ┘
//! head: which epoch counts
//! ```
//!
//! * A name belongs to a [`Realm`], such as a log. The same name in two realms has references and keys that nothing links.
//! * A new subject is durable before [`Vault::subjects`] returns, by one sync for all who wait. A known one is found in
//!   memory ([`Realm::known`]), where it takes at most about 170 bytes and its name: a million take up to 200 MB.
//! * [`Vault::erase`] writes the survivors under a new epoch key, moves the head, overwrites the old wrapped epoch key
//!   with random bytes in place, and removes the old files. After it, no key on this disk opens what was erased; an erased
//!   name that comes again is somebody new. It takes time in proportion to the survivors, so erasures are gathered.
//! * The first write or sync that fails poisons the vault: it makes and erases nobody more until it is opened again.
//!
//! Measured on two busy cores: a known subject 0.7 µs; a new one under 64 callers durable after 2.5 ms, 25,000 a second in
//! all; an erasure 0.14 s where 100,000 survive and 1.3 s where a million do, during which known subjects are still found.
//!
//! # What it does not promise
//!
//! Copies are out of its reach: backups, snapshots, and file systems and media that write elsewhere instead of in place
//! (btrfs, ZFS, flash behind wear levelling) may keep the old wrapped epoch key, and the master key opens it. So backups
//! of a vault are few, apart from those of the log and short-lived. A copy that is put back has an older
//! [`Vault::epoch`]; before anything is served, every erasure that the log records is [replayed](Vault::erase). What was
//! made since the copy is lost with its keys, and reads as [`Lookup::Unknown`].
//!
//! Damage is refused, not repaired ([`Sight`] finds it without changing a byte); a last record that was being written when the power went is cut off, as nobody was
//! told of it. The number and lengths of records show roughly how many subjects there are. One process at a time: the
//! lock of the data directory sees to that, the vault has none.
//!
//! ```
//! use std::sync::Arc;
//! use graven_vault::{Entropy, FileMaster, Lookup, Vault};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path();
//! let fs = Arc::new(graven_store::RealFs);
//! let entropy: Entropy = Arc::new(|bytes| getrandom::fill(bytes).map_err(std::io::Error::other));
//! let master = Arc::new(FileMaster::create(&*fs, &dir.join("master.key"), entropy.clone())?);
//! let vault = Vault::create(fs, entropy, &dir.join("vault"), master)?;
//!
//! let realm = vault.realm(b"example.com/log")?;
//! let alice = vault.subjects(&realm, &[b"user:alice"])?.remove(0);
//! vault.erase(&[(&realm, alice.reference())])?;
//! assert!(matches!(realm.by_ref(alice.reference()), Lookup::Erased));
//! assert_eq!(vault.epoch(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! The bytes on disk are drawn in `files.rs` and `rows.rs`.

mod epoch;
mod erasure;
mod error;
mod files;
pub mod master;
mod rows;
mod secret;
mod sight;
mod start;
mod subject;
mod turns;
mod vault;

#[cfg(test)]
mod tests;

pub use error::{OpenError, WriteError};
pub use master::{FileMaster, MasterError, MasterKey};
#[cfg(feature = "pkcs11")]
pub use master::{Pkcs11Config, Pkcs11Master};
pub use secret::{Entropy, KEY_BYTES, MAX_NAME_BYTES, SecretKey};
pub use sight::Sight;
pub use subject::{Lookup, REF_BYTES, Realm, RealmKeys, Subject, SubjectRef};
pub use vault::{Erased, MAX_REALMS, Vault};
