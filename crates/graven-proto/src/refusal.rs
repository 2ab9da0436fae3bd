//! A service's "no": a reason, a message for people and the facts that a program needs.
//!
//! On the wire it is a gRPC status whose details are a `google.rpc.Status` with
//!
//! ```text
//! ErrorInfo   reason = name of an ErrorReason, domain = "graven.v1", metadata = facts
//! BadRequest  the field that is at fault            (only where one is)
//! RetryInfo   how long to wait before a retry       (only where one makes sense)
//! ```

use std::{collections::HashMap, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::v1::ErrorReason;

/// The `domain` of every `google.rpc.ErrorInfo` that carries an [`ErrorReason`].
pub const ERROR_DOMAIN: &str = "graven.v1";

/// A refused call. The server builds one and turns it into a [`Status`]; the client gets it back from
/// there with [`Refusal::of`].
///
/// Its message and facts reach the caller, logs and traces: never put an entry's bytes, a secret or
/// personal data in one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    reason: ErrorReason,
    message: String,
    field: Option<String>,
    facts: HashMap<String, String>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal for `reason`. The message says who is at fault and what to do.
    #[must_use]
    pub fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: None, facts: HashMap::new(), retry_after: None }
    }

    /// Names the request field at fault, as a path in the request: `entries[3]`.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Adds a fact under one of the metadata keys that the documentation of [`ErrorReason`] names.
    #[must_use]
    pub fn with_fact(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.facts.insert(key.to_owned(), value.to_string());
        self
    }

    /// Says after how long the same call may succeed.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Reads the refusal out of a status. `None` when the status was not made by a service of
    /// `graven.v1`, when its reason is newer than this library or when it came with the code of another
    /// reason: then only the status's own code and message say what happened.
    #[must_use]
    pub fn of(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == ERROR_DOMAIN)?;
        let reason = ErrorReason::from_str_name(&info.reason)?;
        if reason.code() != status.code() {
            return None;
        }
        let violation = details.bad_request().and_then(|bad| bad.field_violations.first());
        Some(Self {
            reason,
            message: status.message().to_owned(),
            field: violation.map(|violation| violation.field.clone()),
            facts: info.metadata.clone().into_iter().collect(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        })
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> ErrorReason {
        self.reason
    }

    /// The gRPC code, which follows from the reason.
    #[must_use]
    pub fn code(&self) -> Code {
        self.reason.code()
    }

    /// For people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The request field at fault.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// A fact, such as the published `size` that a request was beyond.
    #[must_use]
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.facts.get(key).map(String::as_str)
    }

    /// A fact that is a number. `None` also when it is not one.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.fact(key)?.parse().ok()
    }

    /// After how long the same call may succeed.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(refusal.reason.as_str_name(), ERROR_DOMAIN, refusal.facts);
        if let Some(field) = &refusal.field {
            details.add_bad_request_violation(field, &refusal.message);
        }
        if refusal.retry_after.is_some() {
            details.set_retry_info(refusal.retry_after);
        }
        Self::with_error_details(refusal.reason.code(), refusal.message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Refusal {
        Refusal::new(ErrorReason::EntryTooLarge, "entry 3 has 70000 bytes, the limit is 65535")
            .with_field("entries[3]")
            .with_fact("limit", 65_535)
            .with_retry_after(Duration::from_millis(250))
    }

    #[test]
    fn what_the_server_says_is_what_the_client_reads() {
        for refusal in [full(), Refusal::new(ErrorReason::LogNotFound, "no log `a`")] {
            let status = Status::from(refusal.clone());
            assert_eq!(status.code(), refusal.code());
            assert_eq!(Refusal::of(&status), Some(refusal));
        }
        assert_eq!(full().number("limit"), Some(65_535));
    }

    #[test]
    fn every_reason_has_a_code_and_a_name_of_its_own() {
        let reasons: Vec<_> =
            (1..=i32::from(u8::MAX)).filter_map(|n| ErrorReason::try_from(n).ok()).collect();
        assert_eq!(reasons.len(), 70);
        for reason in reasons {
            assert!(!matches!(reason.code(), Code::Ok | Code::Unknown), "{reason:?}");
            let status = Status::from(Refusal::new(reason, "no"));
            assert_eq!(Refusal::of(&status).map(|refusal| refusal.reason()), Some(reason));
        }
    }

    #[test]
    fn a_status_of_another_origin_is_no_refusal() {
        assert_eq!(Refusal::of(&Status::internal("boom")), None);

        let mut foreign = ErrorDetails::new();
        foreign.set_error_info("LOG_NOT_FOUND", "example.com", HashMap::new());
        assert_eq!(Refusal::of(&Status::with_error_details(Code::NotFound, "no", foreign)), None);

        let mut newer = ErrorDetails::new();
        newer.set_error_info("NOT_INVENTED_YET", ERROR_DOMAIN, HashMap::new());
        assert_eq!(Refusal::of(&Status::with_error_details(Code::NotFound, "no", newer)), None);
    }

    #[test]
    fn a_reason_under_a_foreign_code_is_not_believed() {
        let mut details = ErrorDetails::new();
        details.set_error_info("LOG_NOT_FOUND", ERROR_DOMAIN, HashMap::new());
        assert_eq!(Refusal::of(&Status::with_error_details(Code::Internal, "no", details)), None);
    }

    #[test]
    fn garbage_for_details_is_no_refusal() {
        let status = Status::with_details(Code::NotFound, "no", vec![0xff; 64].into());
        assert_eq!(Refusal::of(&status), None);
    }
}
