//! What allows a request, for its handler.

use graven_client::scopes::Decided;
use graven_event::{Ref, Time};
use graven_merkle::{Hash, leaf_hash};

use crate::Caller;

/// This request was allowed, and that stands in the log.
///
/// It is in the extensions of each request that reached its handler by a rule, and there is no other way to get one than through a
/// [`Guard`](crate::Guard).
///
/// ```
/// # use graven_guard::Allowed;
/// # use tonic::{Request, Status};
/// fn who(request: &Request<()>) -> Result<&str, Status> {
///     let allowed = request.extensions().get::<Allowed>().ok_or(Status::internal("this handler has no guard"))?;
///     Ok(&allowed.caller().client)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Allowed {
    caller: Caller,
    decided: Decided,
}

impl Allowed {
    /// Where that was decided; `None`: it was not allowed.
    pub(crate) fn by(decided: Decided, caller: Caller) -> Option<Self> {
        decided.is_allowed().then_some(Self { caller, decided })
    }

    /// Who called.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The index of the entry that says so; `None`: it is part of a sum that will be recorded, which the guard was told to take.
    pub fn index(&self) -> Option<u64> {
        self.decided.index().map(|index| index.get())
    }

    /// The hash of that entry, by which it is found under a signed head.
    pub fn leaf_hash(&self) -> Option<Hash> {
        self.decided.leaf().map(|leaf| leaf_hash(leaf))
    }

    /// The grants that allow it.
    pub fn grants(&self) -> &[Ref] {
        self.decided.grants()
    }

    /// How many entries of the log were taken into account.
    pub fn state_size(&self) -> u64 {
        self.decided.state_size()
    }

    /// When it was decided.
    pub fn decided_at(&self) -> Time {
        self.decided.decided_at()
    }
}
