//! What the engine takes from outside: storage, time, entropy. Tests bring their own of each.

use std::sync::Arc;

use graven_store::{Fs, RealFs};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since 1970, as the machine believes; may jump.
    fn wall_ns(&self) -> u64;

    /// Nanoseconds since some moment; never jumps, and goes on while the machine sleeps.
    fn monotonic_ns(&self) -> u64;
}

/// Gives random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` from a cryptographic source.
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()>;
}

/// Everything outside, together.
#[derive(Clone)]
pub struct Env {
    /// Storage.
    pub fs: Arc<dyn Fs>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Entropy.
    pub entropy: Arc<dyn Entropy>,
}

impl Env {
    /// The machine's own.
    pub fn system() -> Self {
        Self { fs: Arc::new(RealFs), clock: Arc::new(System), entropy: Arc::new(System) }
    }

    pub(crate) fn random<const N: usize>(&self) -> std::io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes)?;
        Ok(bytes)
    }
}

struct System;

impl Clock for System {
    fn wall_ns(&self) -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.ok().and_then(|now| u64::try_from(now.as_nanos()).ok()).unwrap_or(0)
    }

    fn monotonic_ns(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or(0)
    }
}

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        getrandom::fill(bytes).map_err(std::io::Error::other)
    }
}
