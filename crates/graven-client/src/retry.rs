//! Which failed calls are tried again, and when.

use std::{iter, time::Duration};

use graven_proto::Refusal;
use tonic::{Code, Status, TimeoutExpired};

use crate::DialError;

/// How often and how patiently a call is tried again.
///
/// Only calls that are safe to repeat are: reads, and appends under an idempotency key. And only when the
/// server says that it may help (UNAVAILABLE, or RESOURCE_EXHAUSTED with a time to wait), or when the
/// connection broke before there was an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a call is sent at most, the first time included; 1 never repeats.
    pub attempts: u32,
    /// How long to wait before the second attempt where the server does not say; doubled each time.
    pub first_delay: Duration,
    /// No wait is longer; a server that asks for more is not tried again.
    pub longest_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 5, first_delay: Duration::from_millis(100), longest_delay: Duration::from_secs(10) }
    }
}

impl RetryPolicy {
    /// Sends each call once.
    pub const NEVER: Self = Self { attempts: 1, first_delay: Duration::ZERO, longest_delay: Duration::ZERO };

    /// How long to wait after `failures` failures, the last of them with `status`; `None` means give up.
    pub(crate) fn delay_after(&self, failures: u32, status: &Status) -> Option<Duration> {
        let lasting = DialError::within(status).is_some_and(DialError::is_lasting);
        if failures >= self.attempts || lasting {
            return None;
        }
        let asked = Refusal::of(status).and_then(|refusal| refusal.retry_after());
        let own = self.own_delay(failures);
        let delay = match status.code() {
            Code::ResourceExhausted => asked?,
            Code::Unavailable => asked.unwrap_or(own),
            _ if connection_broke(status) => own,
            _ => return None,
        };
        (delay <= self.longest_delay).then_some(delay)
    }

    /// How long to wait after `failures` failures where the server does not say.
    pub(crate) fn own_delay(&self, failures: u32) -> Duration {
        self.first_delay.saturating_mul(1 << (failures - 1).min(16)).min(self.longest_delay)
    }
}

/// Whether the status was made here because the connection broke, so that the server's answer is unknown. Time
/// that is up is another matter: the caller said how long to wait.
pub(crate) fn connection_broke(status: &Status) -> bool {
    let Some(cause) = std::error::Error::source(status) else { return false };
    let broke = matches!(status.code(), Code::Unknown | Code::Cancelled | Code::Internal | Code::Unavailable);
    broke && !iter::successors(Some(cause), |cause| cause.source()).any(|cause| cause.is::<TimeoutExpired>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use graven_proto::v1::ErrorReason;

    fn refusal(reason: ErrorReason, after_ms: Option<u64>) -> Status {
        let refusal = Refusal::new(reason, "no");
        match after_ms {
            Some(ms) => refusal.with_retry_after(Duration::from_millis(ms)).into(),
            None => refusal.into(),
        }
    }

    #[test]
    fn repeats_what_may_help_and_nothing_else() {
        let policy = RetryPolicy::default();
        let delay = |status: &Status| policy.delay_after(1, status);
        assert_eq!(delay(&refusal(ErrorReason::Overloaded, Some(250))), Some(Duration::from_millis(250)));
        assert_eq!(delay(&refusal(ErrorReason::DiskFull, None)), None);
        assert_eq!(delay(&refusal(ErrorReason::ShuttingDown, None)), Some(policy.first_delay));
        assert_eq!(delay(&refusal(ErrorReason::EntryEmpty, Some(1))), None);
        assert_eq!(delay(&Status::internal("the server says so")), None);
    }

    #[test]
    fn waits_longer_each_time_and_gives_up() {
        let policy = RetryPolicy::default();
        let status = refusal(ErrorReason::ShuttingDown, None);
        let delays: Vec<_> = (1..=5).map(|failures| policy.delay_after(failures, &status)).collect();
        assert_eq!(delays[..4], [100, 200, 400, 800].map(|ms| Some(Duration::from_millis(ms))));
        assert_eq!(delays[4], None);
        assert_eq!(RetryPolicy::NEVER.delay_after(1, &status), None);
        assert_eq!(policy.delay_after(1, &refusal(ErrorReason::Overloaded, Some(60_000))), None);
    }
}
