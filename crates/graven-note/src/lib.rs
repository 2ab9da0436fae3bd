//! Signed notes, checkpoints, cosignatures, policies and proof bundles, with no I/O.

mod base64;
mod checkpoint;
pub mod cosignature;
mod decimal;
mod name;
mod note;
mod open;
pub mod policy;
mod proof;
mod public_key;
mod secret_key;
mod signature;
mod signer;
pub mod sth;
mod verified;
mod vkey;

pub use checkpoint::{Checkpoint, CheckpointError, InvalidOrigin, Origin};
pub use name::{InvalidKeyName, KeyId, KeyName, SignatureType};
pub use note::{MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError, SignatureLine, SignedNote};
pub use open::{MissingSignatures, OpenError, VerifiedNote, open};
pub use policy::{Policy, PolicyCheckError, PolicyError, WitnessedCheckpoint};
pub use proof::{MAX_TLOG_PROOF_BYTES, ParseProofError, ProofError, TlogProof, VerifiedInclusion};
pub use public_key::PublicKey;
pub use secret_key::SEED_BYTES;
pub use signature::SignatureError;
pub use signer::{LocalSigner, SignError, Signer, SigningKeyError, sign_checkpoint, sign_line, sign_note};
pub use verified::{Equivocation, VerifiedCheckpoint, VerifyCheckpointError};
pub use vkey::{VKey, VerifiedSignature, VerifierKey, VkeyError};
