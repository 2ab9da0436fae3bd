//! Who may do what: OAuth scopes, asked for, approved, checked, taken away and looked back on.
//!
//! ```no_run
//! use graven_client::{Client, ConnectOptions, Trust, scopes::{Check, Command}};
//!
//! # async fn example(vkey: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:4740", ConnectOptions::default()).await?;
//! let log = client.log("audit", Trust::of_vkeys([vkey])?);
//! let asked = log.command(Command::request("billing", ["payroll.read"])).published().await?;
//! println!("entry {} asks for grant {:?}", asked.commanded().index, asked.commanded().id);
//!
//! let decided = log.scopes().check(&Check::new("billing", ["payroll.read"])).await?; // recorded before it is answered
//! if !decided.is_allowed() {
//!     println!("denied: {}", decided.reason());
//! }
//! for step in log.history("billing", "payroll.read").await?.steps() {
//!     println!("{} {} by {}", step.index(), step.what(), step.by());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is checked
//! A command's leaf says what was commanded, and nothing that was not; a decision's leaf says what was asked and what was answered: an
//! answer that allows what its leaf denies is an error, never an allowance. With [`published`](Commanding::published), and always in a
//! [history](crate::LogClient::history) and an [explanation](crate::LogClient::explain), the leaves are proven to be under a verified head before
//! anything is handed out.
//!
//! Leaves have references in place of names, so who somebody is, is the server's word, and so is every [`ReportedGrant`]. That a step was left
//! out of a history, or a grant out of a list, no proof shows: whoever replays the log (`graven replay`) sees it.

mod check;
mod command;
mod explain;
mod history;
mod list;
mod says;
mod send;
pub(crate) mod state;
mod step;
mod watch;

pub use check::{Check, Decided, Freshness, ProvenDecision, ShownToken};
pub use command::{Command, CommandError, Commanded, Commanding, ProvenCommand, SignedAppointment};
pub use explain::VerifiedExplanation;
pub use history::VerifiedHistory;
pub use state::{
    At, GrantFilter, GrantStatus, ReportedGrant, ReportedGrants, ReportedReview, ReportedReviews,
    ReportedScope, ReportedScopes, ReportedUnused, ReportedUse,
};
pub use step::{Step, command_word};
pub use watch::ScopeWatch;

use crate::{Appender, Client, LogClient};

/// The scopes of a log of events, believed as far as its server is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ScopeLog {
    log: Appender,
}

impl Client {
    /// The scopes of the log with this name; an empty name means the server's only log. No keys are needed.
    #[must_use]
    pub fn scopes(&self, name: impl Into<String>) -> ScopeLog {
        ScopeLog { log: self.appender(name) }
    }
}

impl LogClient {
    /// The same log's scopes, as far as its server is believed.
    #[must_use]
    pub fn scopes(&self) -> ScopeLog {
        ScopeLog { log: self.appender().clone() }
    }

    /// A command about scopes: say on the answer what to wait for.
    pub fn command(&self, command: Command) -> Commanding<'_, Self> {
        Commanding::new(self, command)
    }
}

impl ScopeLog {
    /// The log's name, empty for the server's only log.
    #[must_use]
    pub fn name(&self) -> &str {
        self.log.name()
    }

    /// A command about scopes: say on the answer what to wait for.
    pub fn command(&self, command: Command) -> Commanding<'_, Appender> {
        Commanding::new(&self.log, command)
    }

    /// Follows the commands of the log from an index on; `None`: from the next new entry on.
    #[must_use]
    pub fn watch(&self, from: Option<u64>) -> ScopeWatch {
        ScopeWatch::new(self.log.clone(), from)
    }
}

/// Reads what stands for somebody or something: 32 hex digits.
pub(crate) fn reference(text: &str) -> Option<graven_event::Ref> {
    let digits = text.as_bytes();
    if digits.len() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(graven_event::Ref(bytes))
}

/// Whether two lists name the same words, in whatever order.
fn same_words<'a>(words: &'a [graven_event::Word], texts: impl IntoIterator<Item = &'a str>) -> bool {
    let words: std::collections::BTreeSet<_> = words.iter().map(graven_event::Word::as_str).collect();
    words == texts.into_iter().collect()
}
