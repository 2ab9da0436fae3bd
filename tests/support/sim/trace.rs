//! What happened, as one number: the same seed must give the same one.

use std::fmt::{self, Arguments, Write};

use graven_store::fault::Point;
use parking_lot::Mutex;

/// Hashes events (64-bit FNV-1a) and prints them where asked to.
pub(crate) struct Trace {
    hash: Mutex<Fnv>,
    prints: bool,
}

struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

impl Trace {
    pub(crate) fn new(prints: bool) -> Self {
        Self { hash: Mutex::new(Fnv(0xcbf2_9ce4_8422_2325)), prints }
    }

    /// Something that the reader of a failure wants to know.
    pub(crate) fn event(&self, event: Arguments<'_>) {
        if self.prints {
            println!("{event}");
        }
        self.hash.lock().write_fmt(event).unwrap();
    }

    /// A step of storage: too many to print, all of them hashed.
    pub(crate) fn point(&self, point: Point<'_>) {
        let Point { op, phase, path } = point;
        let mut hash = self.hash.lock();
        hash.write_str(path.to_str().unwrap_or_default()).unwrap();
        hash.0 = (hash.0 ^ (op as u64 * 2 + phase as u64)).wrapping_mul(0x0100_0000_01b3);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.lock().0
    }
}
