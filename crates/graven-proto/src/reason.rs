//! Which gRPC code each [`ErrorReason`] has. The code of a reason never changes.

use tonic::Code;

use crate::v1::ErrorReason;

impl ErrorReason {
    /// The gRPC code of every refusal for this reason.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::Unspecified => Code::Unknown,
            Self::LogNameRequired
            | Self::LogNameInvalid
            | Self::FieldRequired
            | Self::EnumValueUnknown
            | Self::EntryEmpty
            | Self::EntryTooLarge
            | Self::BatchEmpty
            | Self::BatchTooLarge
            | Self::IdempotencyKeyInvalid
            | Self::IdempotencyTimeInvalid
            | Self::LeafHashInvalid
            | Self::IndicesEmpty
            | Self::IndicesTooMany
            | Self::IndicesUnsorted
            | Self::SizesReversed
            | Self::RangeEmpty
            | Self::RangeTooLarge
            | Self::StreamOutOfOrder
            | Self::PageTokenInvalid
            | Self::LogKindReserved
            | Self::CosignatureInvalid
            | Self::RotationInvalid
            | Self::EventInvalid
            | Self::QueryInvalid
            | Self::GroupUnknown
            | Self::RetentionInvalid
            | Self::FieldInvalid
            | Self::RuleInvalid
            | Self::NotADecision => Code::InvalidArgument,
            Self::LogNotFound
            | Self::LeafHashNotFound
            | Self::SubjectUnknown
            | Self::RetentionUnknown
            | Self::HoldUnknown
            | Self::RuleUnknown => Code::NotFound,
            Self::IndexBeyondTree | Self::SizeBeyondTree => Code::OutOfRange,
            Self::IdempotencyKeyReused | Self::LogExists | Self::SequenceUsed => Code::AlreadyExists,
            Self::LogFrozen
            | Self::LogKindMismatch
            | Self::IdempotencyKeyExpired
            | Self::WitnessPolicyMissing
            | Self::RollbackDetected
            | Self::ClockSuspect
            | Self::NotPending
            | Self::RotationOvertaken
            | Self::HoldForbids
            | Self::CommandRefused => Code::FailedPrecondition,
            Self::Overloaded | Self::DiskFull | Self::TooManyLogs => Code::ResourceExhausted,
            Self::ShuttingDown
            | Self::StoragePoisoned
            | Self::LeafIndexBehind
            | Self::NotPublishedYet
            | Self::WitnessesAwaited
            | Self::IndexBehind
            | Self::AccessUnrecorded
            | Self::IssuerUnreachable
            | Self::StateBehind => Code::Unavailable,
            Self::StateChanged => Code::Aborted,
            Self::WaitTimedOut => Code::DeadlineExceeded,
            Self::StoredDataDamaged => Code::DataLoss,
            Self::LogKindUnsupported => Code::Unimplemented,
            Self::CredentialsMissing | Self::CredentialsInvalid => Code::Unauthenticated,
            Self::PermissionMissing | Self::WitnessUnknown => Code::PermissionDenied,
        }
    }
}
