//! Why a token does not count. None of these holds a byte of what was shown: they go to logs, metrics and strangers.

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_BYTES`](crate::MAX_TOKEN_BYTES).
    #[error("this token is longer than any that is read")]
    TooLong,
    /// Not the form of a signed token, or JSON with a member that stands twice.
    #[error("this is no well-formed access token")]
    Malformed,
    /// `none`, one with a shared secret, or one that this issuer is not to use.
    #[error("this token is signed in a way that is not taken from its issuer")]
    Algorithm,
    /// Not an access token: an ID token, a proof, or something else that the issuer signs.
    #[error("this is no access token: its `typ` must be at+jwt")]
    Type,
    /// It must not be used by whoever does not understand `crit`, and we do not.
    #[error("this token has critical extensions, and none are understood")]
    Critical,
    /// None of the issuer's keys goes with it.
    #[error("this token is signed by a key that its issuer does not publish")]
    UnknownKey,
    /// The signature is not that of its issuer.
    #[error("this token's signature is wrong")]
    Signature,
    /// From nobody who is trusted.
    #[error("this token's issuer is none that is trusted here")]
    Issuer,
    /// For somebody else.
    #[error("this token was made for another audience")]
    Audience,
    /// Over.
    #[error("this token has expired: get a new one from its issuer")]
    Expired,
    /// Not yet, by more than clocks may differ.
    #[error("this token is not valid yet: are the clocks right?")]
    NotYet,
    /// A claim is missing, or is not what it must be.
    #[error("this token's claim `{0}` is missing or not what it must be")]
    Claim(&'static str),
    /// Its issuer says that it does not count (RFC 7662).
    #[error("this token's issuer says that it is not, or no longer, valid")]
    Inactive,
    /// Opaque, and nobody can be asked.
    #[error("this token is of a kind that is not known here")]
    Opaque,
    /// It is bound to something that was not shown with it, or is shown as bound and is not.
    #[error("this token is not shown in the way that it is bound to: {0}")]
    Binding(Binding),
    /// The proof that came with it does not hold (RFC 9449 §4.3).
    #[error("the DPoP proof does not hold: {0}")]
    Proof(Proof),
    /// Whether it counts cannot be told now.
    #[error("this token cannot be checked now: {0}; try again in a moment")]
    Unavailable(Outage),
}

/// How a token and what it is bound to do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Binding {
    /// A bound token as if it were not (RFC 9449 §7.2).
    #[error("it needs a DPoP proof and the scheme `DPoP`")]
    ProofMissing,
    /// A proof, or the scheme `DPoP`, with a token that is bound to no key.
    #[error("it is bound to no key that a proof could show")]
    Unbound,
    /// A proof by another key.
    #[error("the proof is by another key")]
    OtherKey,
    /// Not by the connection that it is bound to (RFC 8705 §3).
    #[error("it needs the client certificate that it was made for")]
    Certificate,
    /// In a way that is not known here, or proofs are not taken from this issuer.
    #[error("it is bound in a way that is not taken here")]
    Unknown,
    /// This issuer's tokens must be bound.
    #[error("tokens of this issuer must be bound to a key, and this one is not")]
    Demanded,
}

/// What is wrong with a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Proof {
    /// Not one header with one proof in it.
    #[error(
        "it must be one signed token of at most 4 KiB, of the type dpop+jwt, with its public key in the header"
    )]
    Malformed,
    /// Not signed in a way that is taken, or not by the key in it.
    #[error("its signature is wrong")]
    Signature,
    /// For another call.
    #[error("it is for another method or address")]
    OtherCall,
    /// For another token.
    #[error("it is for another token")]
    OtherToken,
    /// Too old, or from the future.
    #[error("it was made too long ago, or its clock is ahead")]
    Time,
    /// Seen before.
    #[error("it was used before")]
    Replayed,
}

/// What is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// The issuer's keys: never fetched, or too old to go by.
    #[error("its issuer's keys are out of reach")]
    Keys,
    /// The issuer's introspection.
    #[error("its issuer does not answer")]
    Introspection,
    /// More proofs within their time than are remembered.
    #[error("too many proofs are being shown")]
    Proofs,
}

impl TokenError {
    /// All words of [`label`](Self::label).
    pub const LABELS: [&'static str; 17] = [
        "too_long",
        "malformed",
        "algorithm",
        "type",
        "critical",
        "unknown_key",
        "signature",
        "issuer",
        "audience",
        "access_expired",
        "not_yet",
        "claim",
        "inactive",
        "opaque",
        "binding",
        "proof",
        "unavailable",
    ];

    /// One word for metrics.
    pub fn label(self) -> &'static str {
        Self::LABELS[match self {
            Self::TooLong => 0,
            Self::Malformed => 1,
            Self::Algorithm => 2,
            Self::Type => 3,
            Self::Critical => 4,
            Self::UnknownKey => 5,
            Self::Signature => 6,
            Self::Issuer => 7,
            Self::Audience => 8,
            Self::Expired => 9,
            Self::NotYet => 10,
            Self::Claim(_) => 11,
            Self::Inactive => 12,
            Self::Opaque => 13,
            Self::Binding(_) => 14,
            Self::Proof(_) => 15,
            Self::Unavailable(_) => 16,
        }]
    }

    /// Whether the same token may be good in a moment: the caller is not at fault.
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// The error of `WWW-Authenticate`: `invalid_token` (RFC 6750 §3.1) or `invalid_dpop_proof` (RFC 9449 §7.1).
    pub fn code(self) -> &'static str {
        if matches!(self, Self::Proof(_)) { "invalid_dpop_proof" } else { "invalid_token" }
    }
}
