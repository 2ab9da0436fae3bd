//! Tickets: checkpoints that were pending, handed to clients so that the mirror need not remember them (C2SP tlog-mirror).
//!
//! ```text
//! mac    32   HMAC-SHA256 over the note, by a secret of this process
//! note    …   a checkpoint that was pending here, as it was stored
//! ```
//!
//! Only what was pending gets a ticket, and all that was pending is consistent with what is: so a ticket that verifies says
//! what a list of all pending checkpoints would. With the process its secret ends, and clients begin with the pending one again.

use std::io;

use graven_note::VerifiedCheckpoint;
use graven_note::mirror::MAX_TICKET_BYTES;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const MAC_BYTES: usize = 32;

/// Who makes tickets, and knows them again.
pub(crate) struct Tickets(Zeroizing<[u8; 32]>);

impl Tickets {
    pub(crate) fn new() -> io::Result<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret).map_err(io::Error::other)?;
        Ok(Self(secret))
    }

    /// The ticket for a checkpoint that is or was pending; empty where its note is too long for one.
    pub(crate) fn of(&self, head: &VerifiedCheckpoint) -> Vec<u8> {
        let note = head.note().as_str().as_bytes();
        if MAC_BYTES + note.len() > MAX_TICKET_BYTES {
            return Vec::new();
        }
        let mac = self.mac(note).finalize().into_bytes();
        [&mac[..], note].concat()
    }

    /// The note in a ticket of ours.
    pub(crate) fn note_of<'a>(&self, ticket: &'a [u8]) -> Option<&'a [u8]> {
        let (mac, note) = ticket.split_first_chunk::<MAC_BYTES>()?;
        self.mac(note).verify_slice(mac).ok().map(|()| note)
    }

    fn mac(&self, note: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&*self.0).expect("HMAC takes keys of any length");
        mac.update(note);
        mac
    }
}
