//! Signed notes, checkpoints, cosignatures, policies and offline proofs: what a log signs, and what anyone may
//! conclude from it. No I/O, no clock, no RNG: time and entropy are arguments.
//!
//! ```
//! use graven_merkle::{InclusionProof, LeafIndex, TreeSize, leaf_hash};
//! use graven_note::{Checkpoint, LocalSigner, Policy, SignatureType, Signer, TlogProof, sign_checkpoint};
//!
//! let entropy = [7; 32]; // 32 bytes from the operating system
//! let signer = LocalSigner::generate("example.com/audit".parse()?, SignatureType::EcdsaP256, &entropy)?;
//! let entry = leaf_hash(b"the only entry"); // of a tree of one, the leaf is the root
//! let head = Checkpoint::new("example.com/audit".parse()?, TreeSize::from(1), entry);
//! let note = sign_checkpoint(&head, &[&signer], 1_763_600_000)?;
//!
//! let proof = TlogProof::new(LeafIndex::ZERO, InclusionProof::from_hashes(vec![])?, note.as_str())?;
//! let policy = Policy::without_witnesses(&[signer.vkey().clone()])?;
//! let included = TlogProof::parse(proof.to_string().as_bytes())?.verify(entry, &policy)?;
//! assert_eq!(included.checkpoint().verified().checkpoint(), &head);
//! assert!(proof.verify(leaf_hash(b"another entry"), &policy).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Two kinds of value
//!
//! Well formed: [`SignedNote`], [`Checkpoint`], [`TlogProof`], [`Evidence`], [`Policy`], [`VerifierKey`]. Parsing accepts
//! exactly one text for each of them, the one that printing gives back (a policy's comments and blanks aside).
//!
//! Verified: [`VerifiedSignature`], [`VerifiedNote`], [`VerifiedCheckpoint`], [`WitnessedCheckpoint`],
//! [`VerifiedInclusion`], [`VerifiedEvidence`]. Nothing but a check makes one, so a function that takes one needs no check of its own.
//!
//! # Where implementations disagree
//!
//! | question | here |
//! |---|---|
//! | base64 | standard alphabet, padded, unused bits zero, everywhere |
//! | decimals | ASCII digits, no sign, no leading zero |
//! | tree size above 2^63 − 1 | refused |
//! | empty or unended extension lines | refused |
//! | extension lines that only ML-DSA-44, which leaves them out, signed | refused as a [`VerifiedCheckpoint`] |
//! | vkey whose id does not follow from its name and key | refused |
//! | several valid lines by one key | one signature, the latest time |
//! | a valid and an invalid line by one key | refused |
//! | one key given twice by the caller | refused when it signed, as Go's `x/mod` does |
//! | Ed25519 | as Go verifies, and no key or R of small order, no non-canonical key |
//! | P-256 high-S | verified, never made; strict DER; other curves refused |
//! | policy without a final newline | refused |
//!
//! The formats are drawn in the modules of the source: `note`, `vkey`, `checkpoint`, [`cosignature`], [`sth`],
//! [`policy`], `proof`, [`evidence`], [`rotation`]. They follow C2SP signed-note, tlog-checkpoint, tlog-cosignature, static-ct-api,
//! tlog-policy, tlog-proof, tlog-witness ([`witness`]) and tlog-mirror ([`mirror`]). Keys outside this process are not here: they
//! implement [`Signer`].

mod base64;
mod checkpoint;
pub mod cosignature;
mod decimal;
pub mod evidence;
pub mod mirror;
mod name;
mod note;
mod open;
pub mod policy;
mod proof;
mod public_key;
pub mod rotation;
mod secret_key;
mod signature;
mod signer;
pub mod sth;
mod verified;
mod vkey;
pub mod witness;

pub use checkpoint::{Checkpoint, CheckpointError, InvalidOrigin, Origin};
pub use evidence::{Evidence, VerifiedEvidence};
pub use name::{InvalidKeyName, KeyId, KeyName, SignatureType};
pub use note::{MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, SignatureLine, SignedNote};
pub use open::{MissingSignatures, OpenError, VerifiedNote, open};
pub use policy::{Policy, PolicyCheckError, PolicyError, WitnessTime, WitnessedCheckpoint};
pub use proof::{MAX_TLOG_PROOF_BYTES, ParseProofError, ProofError, TlogProof, VerifiedInclusion};
pub use public_key::PublicKey;
pub use rotation::{LogKeys, Rotation, RotationError, RotationText, VerifiedRotation};
pub use secret_key::SEED_BYTES;
pub use signature::SignatureError;
pub use signer::{LocalSigner, SignError, Signer, SigningKeyError, sign_checkpoint, sign_line, sign_note};
pub use verified::{Equivocation, VerifiedCheckpoint, VerifyCheckpointError};
pub use vkey::{VKey, VerifiedSignature, VerifierKey, VkeyError};
