//! Tree heads that were checked.

use std::sync::Arc;

use graven_merkle::{Hash, TreeSize};
use graven_note::{Checkpoint, Origin, VerifiedCheckpoint, WitnessTime, WitnessedCheckpoint};

/// A tree head that carries the signatures which a [`Trust`](crate::Trust) demands. Only its checks make one.
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedHead(Arc<WitnessedCheckpoint>);

impl VerifiedHead {
    pub(crate) fn trusted(checkpoint: WitnessedCheckpoint) -> Self {
        Self(Arc::new(checkpoint))
    }

    /// The log.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.checkpoint().origin()
    }

    /// How many entries the log has.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.checkpoint().size()
    }

    /// The root hash over all of them.
    #[must_use]
    pub fn root(&self) -> &Hash {
        self.checkpoint().root()
    }

    /// When the log last signed it, in seconds since the Unix epoch; `None` where no signature says.
    #[must_use]
    pub fn time_seconds(&self) -> Option<u64> {
        self.0.verified().time()
    }

    /// The checkpoint note, byte for byte as it came: keep this to have evidence later.
    #[must_use]
    pub fn note(&self) -> &str {
        self.0.verified().note().as_str()
    }

    /// What the log signed.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        self.0.verified().checkpoint()
    }

    /// The trusted policy's witnesses that cosigned it.
    #[must_use]
    pub fn witnesses(&self) -> &[WitnessTime] {
        self.0.witnesses()
    }

    pub(crate) fn verified(&self) -> &VerifiedCheckpoint {
        self.0.verified()
    }

    /// The checkpoint with everything that was verified about it.
    #[must_use]
    pub fn witnessed(&self) -> &WitnessedCheckpoint {
        &self.0
    }
}
