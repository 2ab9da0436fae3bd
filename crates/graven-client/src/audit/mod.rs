//! Auditing a whole log: every entry hashed again, every stored hash compared, up to the signed root.
//!
//! - [`site`]: a folder of tiles and bundles (C2SP tlog-tiles), or whatever a [`TileSource`] reads.
//! - [`LogClient::audit`](crate::LogClient::audit): a log behind gRPC.
//! - [`Auditor`]: the core for entries from anywhere.
//! - [`PackageReader`]: a site's bundles, each with the proof by which whoever copies the log checks it at once.
//!
//! None of this needs a network or a runtime. What an audit can find is a [`Finding`]; it names the first bad
//! entry as narrowly as the hashes allow.

mod auditor;
mod finding;
mod folder;
mod levels;
mod package;
mod remote;
mod site;

pub use auditor::{Audited, Auditor, Progress};
pub use finding::{Altered, Finding, RootSource};
pub(crate) use levels::StoredTree;
pub(crate) use site::{bad_position, fetch_bundle};

pub use folder::{Folder, MAX_RESOURCE_BYTES, TileSource};
pub use package::{Package, PackageReader};
pub use remote::RemoteAuditError;
pub use site::{SiteError, site};
