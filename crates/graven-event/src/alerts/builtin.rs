//! The rules, and their fixed texts.
//!
//! The hash of a text stands in leaves, so a text never changes, nor what the code does for it. Another limit or meaning is another rule, with
//! a name of its own.

use sha2::{Digest, Sha256};

use crate::facts::Word;
use crate::time::Time;

/// A rule that is part of what a log of events is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Builtin {
    FirstUse,
    DenialBurst,
    EscalationBurst,
    RevokedToken,
    SelfGrant,
    NewPlace,
    ProducerGap,
    StaleAllow,
}

/// `first-use`: pairs of a client and a scope that are remembered.
pub(super) const MAX_USES: usize = 65_536;
/// `denial-burst`: how many denials.
pub(super) const DENIALS: usize = 10;
/// `denial-burst`: within which time.
pub(super) const DENIALS_WITHIN: Time = Time::from_seconds(300);
/// `escalation-burst`: how many attempts.
pub(super) const ESCALATIONS: usize = 5;
/// `escalation-burst`: within which time.
pub(super) const ESCALATIONS_WITHIN: Time = Time::from_seconds(600);
/// `denial-burst` and `escalation-burst`: people and applications whose latest leaves are remembered, each.
pub(super) const MAX_SUSPECTS: usize = 4096;
/// For how long a burst is told of once.
pub(super) const BURST_QUIET: Time = Time::from_seconds(3600);
/// `revoked-token` and `stale-allow`: revoked tokens that are remembered.
pub(super) const MAX_TOKENS: usize = 65_536;
/// For how long the use of one token, the attempts of one person, the gaps of one producer, or somebody's new places are told of once.
pub(super) const QUIET: Time = Time::from_seconds(600);
/// What is told of once, that is remembered.
pub(super) const MAX_QUIET: usize = 16_384;
/// `new-place`: leaves after which it is known where somebody acts from.
pub(super) const BASELINE: u32 = 20;
/// `new-place`: people and applications whose places are remembered.
pub(super) const MAX_ACTORS: usize = 8192;
/// `new-place`: places of one of them.
pub(super) const MAX_PLACES: usize = 16;
/// `stale-allow`: how long after it was made a decision may be recorded.
pub(super) const STALE_AFTER: Time = Time::from_seconds(5);

macro_rules! builtins {
    ($($variant:ident $name:literal $severity:literal $text:literal)+) => {
        impl Builtin {
            /// Every rule.
            pub const ALL: [Self; 8] = [$(Self::$variant),+];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// How bad what it finds is, unless the log says otherwise: 1 low to 4 critical.
            pub fn severity(self) -> u8 {
                match self { $(Self::$variant => $severity),+ }
            }

            /// Its text: name, limits, and what it finds.
            pub fn source(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("name = \"", $name, "\"\nversion = 1\n", $text)),+
                }
            }
        }
    };
}

builtins! {
    FirstUse "first-use" 1 "\
remembered = 65536
meaning = \"\"\"
A client uses a scope that it was not seen to use since this rule is applied: an allowed decision, or an event that succeeded and names the \
scope as used. Where an event names no client, its actor is meant. Of more pairs than are remembered, those not used for longest are new again.
\"\"\"
"
    DenialBurst "denial-burst" 2 "\
count = 10
within = \"5m\"
quiet = \"1h\"
remembered = 4096
meaning = \"\"\"
So many decisions and events of one client, actor or subject were denied within this time. Then nothing is counted for it while it is quiet.
\"\"\"
"
    EscalationBurst "escalation-burst" 3 "\
count = 5
within = \"10m\"
quiet = \"1h\"
remembered = 4096
meaning = \"\"\"
So many attempts of one client, actor or subject to get more than it has failed within this time: commands refused as self-grant, \
self-approval or beneficiary-approves; denied decisions about a scope of the tier that administers; denied events that asked for a scope \
that was not granted. Then nothing is counted for it while it is quiet.
\"\"\"
"
    RevokedToken "revoked-token" 3 "\
remembered = 65536
quiet = \"10m\"
meaning = \"\"\"
A token was shown after it was revoked, by a command that counts or by an event oauth.token.revoke that succeeded: a decision for the reason \
token-revoked, or an event that names the token and happened, as its producer says, after the log took in the revocation. Each token once \
while it is quiet.
\"\"\"
"
    SelfGrant "self-grant" 3 "\
quiet = \"10m\"
meaning = \"\"\"
Somebody tried to give themselves a scope: a command refused as self-grant, self-approval or beneficiary-approves. Each of them once while it \
is quiet.
\"\"\"
"
    NewPlace "new-place" 2 "\
baseline = 20
actors = 8192
places = 16
quiet = \"10m\"
meaning = \"\"\"
Somebody who was seen to act so often from known places acts from another one: an event that succeeded, by its actor, or an allowed \
decision, by its subject, or its client where there is none. While it is quiet for them no place is learnt.
\"\"\"
"
    ProducerGap "producer-gap" 2 "\
quiet = \"10m\"
meaning = \"\"\"
Numbers of a producer are missing, as a leaf says. Each producer once while it is quiet.
\"\"\"
"
    StaleAllow "stale-allow" 4 "\
after = \"5s\"
remembered = 65536
quiet = \"10m\"
meaning = \"\"\"
Something was allowed by a state that was over: an allowed decision that the log took in longer than this after it was made, or an event that \
succeeded with a token that was revoked before, as for revoked-token. Each client or token once while it is quiet.
\"\"\"
"
}

impl Builtin {
    /// The rule of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == name)
    }

    /// SHA-256 of its text: what a leaf calls it.
    pub fn hash(self) -> [u8; 32] {
        Sha256::digest(self.source()).into()
    }

    /// Its name, as it stands in a leaf.
    pub fn word(self) -> Word {
        Word::new(self.as_str()).expect("names of rules are words")
    }

    pub(super) fn number(self) -> usize {
        self as usize
    }
}
