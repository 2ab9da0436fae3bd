//! Values that are wiped when they go, and say nothing of themselves.
//!
//! What is wiped is the place where a value lay last. A value that is moved may leave a copy on the stack, so keys are made
//! where they stay, and handed out behind a shared pointer.

use std::fmt;
use std::io;
use std::sync::Arc;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Fills its argument with random bytes from a cryptographic source.
pub type Entropy = Arc<dyn Fn(&mut [u8]) -> io::Result<()> + Send + Sync>;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Longest name in bytes. What identifies people in practice (an issuer and a subject, a distinguished name) is
/// shorter; a caller with longer ones names them by their hash.
pub const MAX_NAME_BYTES: usize = 1_024;

/// 256 random bits.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; KEY_BYTES]);

impl SecretKey {
    pub(crate) fn random(entropy: &Entropy) -> io::Result<Self> {
        let mut key = Self([0; KEY_BYTES]);
        entropy(&mut key.0)?;
        Ok(key)
    }

    /// A key of these bytes; the caller wipes them.
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(*bytes)
    }

    /// The key itself. Whoever copies it wipes the copy.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// What a subject or a realm is called. It is personal: shown to nobody, and wiped when it goes.
#[derive(PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Name(Box<[u8]>);

impl Name {
    /// A name of a possible length; the length otherwise.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, usize> {
        let fits = (1..=MAX_NAME_BYTES).contains(&bytes.len());
        if fits { Ok(Self(bytes.into())) } else { Err(bytes.len()) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::borrow::Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Clone for Name {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Name(…)")
    }
}
