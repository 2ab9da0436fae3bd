//! What a guard waits for, how much at once, and what it takes.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

/// Finds the address that a request came from. What a header says of it is worth what the proxy is that wrote it.
pub type Address = Arc<dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync>;

/// How a guard guards. The defaults suit most.
#[derive(Clone)]
pub struct GuardOptions {
    /// How long it may take to find out who calls and to have the decision recorded, together. Then the request is refused.
    pub patience: Duration,
    /// How many requests are checked at a time. One more is refused and not queued: behind a log that has become slow they must not
    /// gather in memory.
    pub in_flight: usize,
    /// Lets requests pass whose decision the log will record within a second, as part of a sum, because their scopes were defined so.
    /// Otherwise they are refused: they would run before their entry is there.
    pub takes_sums: bool,
    /// Where requests come from, for the sealed part of the decision.
    pub address: Option<Address>,
}

impl Default for GuardOptions {
    /// Two seconds, a thousand times what a check takes; 1,024 at a time, a few commits of a log.
    fn default() -> Self {
        Self { patience: Duration::from_secs(2), in_flight: 1024, takes_sums: false, address: None }
    }
}

impl fmt::Debug for GuardOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { patience, in_flight, takes_sums, .. } = self;
        let mut fields = f.debug_struct("GuardOptions");
        fields.field("patience", patience).field("in_flight", in_flight).field("takes_sums", takes_sums);
        fields.finish_non_exhaustive()
    }
}
