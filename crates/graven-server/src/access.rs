//! Who may do what: the one seam through which every call goes.

use graven_log::LogName;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

/// What a call does to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Adds entries.
    Append,
    /// Reads heads, proofs and entries.
    Read,
    /// Makes, lists and ends logs.
    Admin,
}

/// One call's wish.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The log; `None` where the call is about all of them.
    pub log: Option<&'a LogName>,
    /// What it wants.
    pub permission: Permission,
    /// The call's headers.
    pub metadata: &'a MetadataMap,
    /// What the layers below found out about the caller, such as its connection.
    pub extensions: &'a Extensions,
}

/// Says who may do what. Every call asks exactly once, before it looks whether the log exists.
pub trait Access: Send + Sync + 'static {
    /// Lets the call go on, or refuses it with UNAUTHENTICATED or PERMISSION_DENIED.
    ///
    /// # Errors
    /// The caller may not do this.
    fn check(&self, ask: &Ask<'_>) -> Result<(), Status>;
}

/// Everybody may do everything. For a loopback interface on a machine that one trusts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Access for Open {
    fn check(&self, _: &Ask<'_>) -> Result<(), Status> {
        Ok(())
    }
}
