//! The facts of a leaf: what stands in clear in it, for ever, for folds, rules and indexes to read.
//!
//! People, applications and tokens are [references](Ref): random numbers whose meaning lies elsewhere and can be erased. Texts
//! are words of a vocabulary (actions, scopes, resources, reasons): never names, never free text.
//!
//! Each kind of leaf has a struct here. A kind's fields never change: what a later version needs gets a new kind, so that old leaves
//! mean what they meant.
//!
//! # Bytes
//! Fields as tagged in `codec`: the number is the tag; `?` may be absent; `*` stands up to 256 times. No field is longer than 4,096 bytes.
//!
//! ```text
//!  0 genesis    1 origin word · 2 kind word · 3 recovery key · 4 administrators ref* · 5 signature bytes?
//!  1 event      1 action word · 2 product word? · 3 event_time u64? · 4 actor ref · 5 client ref? · 6 targets ref* · 7 requested word*
//!               8 granted word* · 9 used word* · 10 token ref? · 11 place ref? · 12 on_behalf_of ref* · 13 about ref*
//!  2 scope      1 command u8 · 2 grant ref? · 3 revision u64? · 4 by ref · 5 client ref? · 6 subject ref? · 7 scopes word*
//!               8 resource word? · 9 tier u8? · 10 recording u8? · 11 not_before u64? · 12 expires u64? · 13 token ref?
//!               14 review ref? · 15 verdict u8? · 16 refused word? · 17 issued_before u64? · 18 approvers ref* · 19 approvals u8?
//!               20 longest u64? · 21 rules u8 · 22 signature bytes?
//!  3 decision   1 action word · 2 client ref · 3 subject ref? · 4 token ref? · 5 issued u64? · 6 scopes word* · 7 resource word?
//!               8 state_size u64 · 9 decided_at u64 · 10 consistency u8 · 11 grants ref* · 12 reason word · 13 place ref?
//!               14 count u64? · 15 since u64? · 16 bound u64? · 17 expires u64? · 18 presented word* · 19 rules u8
//!  4 alert      1 rule hash · 2 name word · 3 severity u8 · 4 leaves u64* · 5 count u64? · 6 about ref* · 7 state_size u64
//!  5 gap        1 producer ref · 2 first u64 · 3 last u64
//!  6 filled     1 producer ref · 2 first u64 · 3 last u64
//!  7 erasure    1 erased ref* · 2 by ref · 3 authority word
//!  8 retention  1 class u8 · 2 name word · 3 seconds u64? · 4 by ref
//!  9 hold       1 hold ref · 2 subjects ref* · 3 classes u8* · 4 by ref · 5 authority word
//! 10 release    1 hold ref · 2 by ref · 3 authority word
//! 11 expiry     1 class u8 · 2 before u64
//! 12 rejected   1 digest hash · 2 reason word
//! 13 rule       1 rule hash · 2 name word · 3 language word · 4 severity u8 · 5 by ref · 6 source bytes?
//!
//! u8: 1 byte · u64: 8 bytes, big-endian · ref: 16 bytes · hash: 32 bytes · bytes: any
//! word: UTF-8 of 1 to 256 bytes · key: the same of up to 4,096; without U+0000–001F, 007F–009F, 061C, 200E, 200F, 2028–202E,
//!   2066–2069, FEFF
//! ```

use crate::codec::{Malformed, tagged};
pub use crate::word::{KeyText, Line, MAX_KEY_BYTES, MAX_WORD_BYTES, NoWord, Ref, Word};

tagged! {
    /// The first leaf of a log: what it is, and who may begin to decide about scopes in it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Genesis {
        /// The log's origin.
        1 put origin: Word,
        /// The log's kind: `events` or `access`.
        2 put kind: Word,
        /// The key that may authorise what nobody in the log may: a vkey.
        3 put recovery: KeyText,
        /// The first administrators of scopes.
        4 each administrators: Vec<Ref>,
        /// Of the [statement](Genesis::statement) of these, by the recovery key, where there are any.
        5 maybe signature: Option<Vec<u8>>,
    }
}

tagged! {
    /// Something happened.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct EventFacts {
        /// What was done.
        1 put action: Word,
        /// The product whose word the action is.
        2 maybe product: Option<Word>,
        /// When, as its producer says: nanoseconds since 1970.
        3 maybe event_time: Option<u64>,
        /// Who did it.
        4 put actor: Ref,
        /// Through which application.
        5 maybe client: Option<Ref>,
        /// The people to whom it was done.
        6 each targets: Vec<Ref>,
        /// Scopes that were asked for.
        7 each requested: Vec<Word>,
        /// Scopes that were given.
        8 each granted: Vec<Word>,
        /// Scopes that were needed.
        9 each used: Vec<Word>,
        /// The token, by a keyed hash of its issuer and identifier.
        10 maybe token: Option<Ref>,
        /// The address, by a hash keyed with the actor's key: the same actor from the same place.
        11 maybe place: Option<Ref>,
        /// For whom it was done, nearest first.
        12 each on_behalf_of: Vec<Ref>,
        /// Others whom it is about.
        13 each about: Vec<Ref>,
    }
}

tagged! {
    /// An attempt to change who may do what; also where it was refused.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ScopeCommand {
        /// Which: a [`Command`]'s number.
        1 put command: u8,
        /// The grant that it makes or changes.
        2 maybe grant: Option<Ref>,
        /// The state of the grant that it was made for: one more with each change.
        3 maybe revision: Option<u64>,
        /// Who commands.
        4 put by: Ref,
        /// The application that is to get a scope.
        5 maybe client: Option<Ref>,
        /// The person in whose name.
        6 maybe subject: Option<Ref>,
        /// The scopes.
        7 each scopes: Vec<Word>,
        /// Where they count (RFC 8707).
        8 maybe resource: Option<Word>,
        /// How far a scope reaches: 1 reads, 2 changes, 3 administers.
        9 maybe tier: Option<u8>,
        /// How a scope's decisions are recorded: 0 each, 1 allowed ones in sums.
        10 maybe recording: Option<u8>,
        /// When it begins to count: nanoseconds since 1970.
        11 maybe not_before: Option<u64>,
        /// When it ends: nanoseconds since 1970.
        12 maybe expires: Option<u64>,
        /// The token that is revoked.
        13 maybe token: Option<Ref>,
        /// The review that it belongs to.
        14 maybe review: Option<Ref>,
        /// What a reviewer said: 1 keep, 2 revoke.
        15 maybe verdict: Option<u8>,
        /// Why it was refused, as one word; absent where it counts.
        16 maybe refused: Option<Word>,
        /// Tokens issued before this time no longer count: nanoseconds since 1970.
        17 maybe issued_before: Option<u64>,
        /// Who may approve a scope; nobody named: any administrator.
        18 each approvers: Vec<Ref>,
        /// How many of them it takes; absent: one.
        19 maybe approvals: Option<u8>,
        /// For how long a grant of a scope counts at most, in seconds.
        20 maybe longest: Option<u64>,
        /// The version of the rules by which it was judged.
        21 put rules: u8,
        /// Of the [statement](ScopeCommand::statement) of it, by the recovery key: whom nobody in the log could appoint.
        22 maybe signature: Option<Vec<u8>>,
    }
}

tagged! {
    /// Somebody asked whether something is allowed, and was answered.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct DecisionFacts {
        /// What was to be done.
        1 put action: Word,
        /// The application that asked.
        2 put client: Ref,
        /// The person in whose name.
        3 maybe subject: Option<Ref>,
        /// The token.
        4 maybe token: Option<Ref>,
        /// When that was issued: nanoseconds since 1970.
        5 maybe issued: Option<u64>,
        /// The scopes that it takes.
        6 each scopes: Vec<Word>,
        /// Where.
        7 maybe resource: Option<Word>,
        /// The number of leaves that were taken into account.
        8 put state_size: u64,
        /// When it was decided: nanoseconds since 1970.
        9 put decided_at: u64,
        /// What the caller asked of freshness: 1 latest, 2 at least a size, 3 exactly one, 4 bounded staleness.
        10 put consistency: u8,
        /// The grants that allow it.
        11 each grants: Vec<Ref>,
        /// Why, as one word.
        12 put reason: Word,
        /// The address, as in [`EventFacts::place`].
        13 maybe place: Option<Ref>,
        /// For how many alike it stands, where a scope's decisions are recorded in sums.
        14 maybe count: Option<u64>,
        /// When the first of those was decided: nanoseconds since 1970.
        15 maybe since: Option<u64>,
        /// The size or the nanoseconds that the caller's wish of freshness names.
        16 maybe bound: Option<u64>,
        /// When the token ends: nanoseconds since 1970.
        17 maybe expires: Option<u64>,
        /// The scopes that the token has.
        18 each presented: Vec<Word>,
        /// The version of the rules by which it was decided: whoever decides again uses those.
        19 put rules: u8,
    }
}

tagged! {
    /// A rule fired.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AlertFacts {
        /// SHA-256 of the rule.
        1 put rule: [u8; 32],
        /// Its name.
        2 put name: Word,
        /// 1 low to 4 critical.
        3 put severity: u8,
        /// The leaves that fired it, rising.
        4 each leaves: Vec<u64>,
        /// How many there were, where not all are named.
        5 maybe count: Option<u64>,
        /// Whom it is about.
        6 each about: Vec<Ref>,
        /// The number of leaves at which it fired.
        7 put state_size: u64,
    }
}

tagged! {
    /// A rule begins or ceases to be applied to the leaves that follow. So whether an alert is missing can be told from the log alone.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RuleFacts {
        /// SHA-256 of the rule.
        1 put rule: [u8; 32],
        /// Its name: a rule replaces one of the same name.
        2 put name: Word,
        /// In which language it is written: `cel`, or `builtin`.
        3 put language: Word,
        /// 1 low to 4 critical; 0: it is no longer applied.
        4 put severity: u8,
        /// Who ordered it.
        5 put by: Ref,
        /// The rule itself, to be hashed; absent where it ceases.
        6 maybe source: Option<Vec<u8>>,
    }
}

tagged! {
    /// Numbers of a producer that are missing, or that came after all.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct GapFacts {
        /// Whose.
        1 put producer: Ref,
        /// The first number.
        2 put first: u64,
        /// The last.
        3 put last: u64,
    }
}

tagged! {
    /// People whose keys were destroyed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ErasureFacts {
        /// Their references.
        1 each erased: Vec<Ref>,
        /// Who ordered it.
        2 put by: Ref,
        /// By what right, as one word: `gdpr-17`, `contract-end`.
        3 put authority: Word,
    }
}

tagged! {
    /// How long the payloads of a retention class are kept.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RetentionFacts {
        /// The class's number.
        1 put class: u8,
        /// Its name.
        2 put name: Word,
        /// For how long; absent: for ever.
        3 maybe seconds: Option<u64>,
        /// Who ordered it.
        4 put by: Ref,
    }
}

tagged! {
    /// A legal hold: nothing it covers is dropped or erased.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct HoldFacts {
        /// Its number.
        1 put hold: Ref,
        /// People whom it covers; nobody named: everybody.
        2 each subjects: Vec<Ref>,
        /// Classes that it covers; none named: all.
        3 each classes: Vec<u8>,
        /// Who ordered it.
        4 put by: Ref,
        /// By what right, as one word.
        5 put authority: Word,
    }
}

tagged! {
    /// A legal hold is over.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ReleaseFacts {
        /// Its number.
        1 put hold: Ref,
        /// Who ordered it.
        2 put by: Ref,
        /// By what right, as one word.
        3 put authority: Word,
    }
}

tagged! {
    /// Payloads of a class are about to be dropped.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ExpiryFacts {
        /// The class.
        1 put class: u8,
        /// Of leaves before this index.
        2 put before: u64,
    }
}

tagged! {
    /// Something was handed in that is no event.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RejectedFacts {
        /// A keyed hash of what was handed in.
        1 put digest: [u8; 32],
        /// Why it was refused, as one word.
        2 put reason: Word,
    }
}

/// What a [`ScopeCommand`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Command {
    DefineScope = 1,
    RequestGrant = 2,
    ApproveGrant = 3,
    DenyGrant = 4,
    NarrowGrant = 5,
    RenewGrant = 6,
    RevokeGrant = 7,
    RevokeToken = 8,
    RotateScope = 9,
    OpenReview = 10,
    AttestItem = 11,
    CloseReview = 12,
    AppointAdministrator = 13,
    DismissAdministrator = 14,
}

/// Most values of one field.
pub const MAX_VALUES: usize = 256;

/// What a leaf says, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Facts {
    Genesis(Genesis),
    Event(EventFacts),
    Scope(ScopeCommand),
    Decision(DecisionFacts),
    Alert(AlertFacts),
    Gap(GapFacts),
    Filled(GapFacts),
    Erasure(ErasureFacts),
    Retention(RetentionFacts),
    Hold(HoldFacts),
    Release(ReleaseFacts),
    Expiry(ExpiryFacts),
    Rejected(RejectedFacts),
    Rule(RuleFacts),
}

macro_rules! kinds {
    ($($number:literal $variant:ident $type:ident $word:literal,)+) => {
        impl Facts {
            /// The words of all kinds.
            pub const KINDS: &[&str] = &[$($word),+];

            /// The kind's number.
            pub fn kind(&self) -> u8 {
                match self { $(Self::$variant(_) => $number),+ }
            }

            /// The kind's word.
            pub fn kind_word(&self) -> &'static str {
                match self { $(Self::$variant(_) => $word),+ }
            }

            pub(crate) fn encode(&self) -> Vec<u8> {
                match self { $(Self::$variant(facts) => facts.encode()),+ }
            }

            pub(crate) fn decode(kind: u8, bytes: &[u8]) -> Result<Self, Malformed> {
                let facts = match kind {
                    $($number => $type::decode(bytes).map(Self::$variant),)+
                    _ => Err(Malformed("a kind of leaf that this version does not know")),
                }?;
                check(bytes)?;
                Ok(facts)
            }
        }
    };
}

kinds! {
    0 Genesis Genesis "genesis",
    1 Event EventFacts "event",
    2 Scope ScopeCommand "scope",
    3 Decision DecisionFacts "decision",
    4 Alert AlertFacts "alert",
    5 Gap GapFacts "gap",
    6 Filled GapFacts "filled",
    7 Erasure ErasureFacts "erasure",
    8 Retention RetentionFacts "retention",
    9 Hold HoldFacts "hold",
    10 Release ReleaseFacts "release",
    11 Expiry ExpiryFacts "expiry",
    12 Rejected RejectedFacts "rejected",
    13 Rule RuleFacts "rule",
}

/// The limits that hold for every field: how long, and how many of one tag.
fn check(mut bytes: &[u8]) -> Result<(), Malformed> {
    let (mut last, mut count) = (None, 0_usize);
    while let Some(([tag, hi, lo], rest)) = bytes.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([*hi, *lo]));
        count = if last == Some(*tag) { count + 1 } else { 1 };
        last = Some(*tag);
        if len > MAX_FACT_BYTES || count > MAX_VALUES {
            return Err(Malformed("a fact is too long, or there are too many"));
        }
        bytes = rest.get(len..).ok_or(Malformed("a field is cut short"))?;
    }
    Ok(())
}

/// Longest field: an ML-DSA-44 vkey or signature in base64, or a rule.
const MAX_FACT_BYTES: usize = 4096;

impl EventFacts {
    /// The people and applications that it names.
    pub fn people(&self) -> impl Iterator<Item = Ref> + '_ {
        let lists = [&self.targets, &self.on_behalf_of, &self.about];
        [self.actor].into_iter().chain(self.client).chain(lists.into_iter().flatten().copied())
    }
}

impl Genesis {
    /// What the recovery key signs to name administrators.
    pub fn statement(&self) -> Vec<u8> {
        let unsigned = Self { signature: None, ..self.clone() };
        [b"graven genesis v1\n", &unsigned.encode()[..]].concat()
    }
}

impl ScopeCommand {
    /// A command that says nothing but by whom, by the rules that count now.
    pub fn new(command: Command, by: Ref) -> Self {
        Self {
            command: command as u8,
            grant: None,
            revision: None,
            by,
            client: None,
            subject: None,
            scopes: Vec::new(),
            resource: None,
            tier: None,
            recording: None,
            not_before: None,
            expires: None,
            token: None,
            review: None,
            verdict: None,
            refused: None,
            issued_before: None,
            approvers: Vec::new(),
            approvals: None,
            longest: None,
            rules: crate::scopes::RULES,
            signature: None,
        }
    }

    /// What the recovery key signs so that the command counts in the log of this origin. Its `revision` is how often administrators
    /// changed before, so that it counts once.
    pub fn statement(&self, origin: &Word) -> Vec<u8> {
        let unsigned = Self { signature: None, refused: None, ..self.clone() };
        [&b"graven command v1\n"[..], origin.as_str().as_bytes(), b"\n", &unsigned.encode()[..]].concat()
    }
}
