//! The rules.

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
