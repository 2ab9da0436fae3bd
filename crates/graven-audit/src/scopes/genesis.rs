//! The first leaf of a log that names its first administrators, made with the log and signed by the key that then goes offline.

use graven_event::facts::Genesis;
use graven_event::{Facts, Party, Ref};
use graven_log::LogMeta;
use graven_note::{LocalSigner, SignError};
use graven_vault::{Vault, WriteError};

use crate::hook::{bare, genesis, genesis_id};
use crate::record::unsealed;

/// Why there is no first leaf.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The key store.
    #[error("the key store: {0}")]
    Vault(#[from] WriteError),
    /// The recovery key.
    #[error("the recovery key: {0}")]
    Sign(#[from] SignError),
    /// More than fits.
    #[error("a log begins with at most 64 administrators")]
    TooMany,
}

/// The bytes of the first leaf of a log, with its first administrators, signed by its recovery key.
///
/// # Errors
/// The key store cannot be written, or the key signs no statements.
pub fn first_leaf(
    vault: &Vault,
    meta: &LogMeta,
    administrators: &[Party],
    recovery: &LocalSigner,
) -> Result<Vec<u8>, GenesisError> {
    if administrators.len() > graven_event::scopes::MAX_ADMINISTRATORS {
        return Err(GenesisError::TooMany);
    }
    let realm = vault.realm(meta.origin.as_str().as_bytes())?;
    let names: Vec<String> = administrators.iter().map(Party::subject).collect();
    let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
    let subjects = vault.subjects(&realm, &names)?;
    let administrators = subjects.iter().map(|subject| Ref(subject.reference().0)).collect();
    let unsigned = Genesis { administrators, ..genesis(meta).ok_or(GenesisError::TooMany)? };
    let signature = recovery.sign_statement(&unsigned.statement())?;
    let signed = Genesis { signature: Some(signature), ..unsigned };
    let frame = bare(Facts::Genesis(signed), genesis_id(meta));
    let draft = unsealed(&frame).map_err(|_| GenesisError::TooMany)?;
    Ok(draft.bytes.to_vec())
}
