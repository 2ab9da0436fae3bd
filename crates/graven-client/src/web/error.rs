//! Why a resource of a site could not be fetched.

use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

use crate::{ConnectError, DialError, RetryPolicy};

/// Why a resource of a site could not be fetched, so that nothing is known about it.
#[derive(Debug, Error)]
pub enum WebError {
    /// There is no connection to the site.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// An address is none, or not to be used.
    #[error(transparent)]
    Address(#[from] ConnectError),
    /// The answer is neither the resource nor that there is none.
    #[error("the site answers {status}{}", advice(*status))]
    Status {
        /// What it answers.
        status: StatusCode,
        /// How long it asks to wait before another attempt.
        retry_after: Option<Duration>,
    },
    /// The connection broke before the end of the answer.
    #[error("the connection broke: {0}")]
    Interrupted(String),
    /// The answer did not come, or not to its end.
    #[error("no whole answer came within {0:?}")]
    TimedOut(Duration),
    /// The resource is longer than any that is asked for: not a log's, or an attempt to fill memory.
    #[error("it is longer than anything of a log that is asked for, which has at most {0} bytes")]
    TooLong(usize),
    /// The answer is packed in a way that was not offered.
    #[error("it is packed as {0:?}, which was not asked for")]
    Encoding(String),
    /// The answer does not unpack.
    #[error("it is damaged, it does not unpack: {0}")]
    Gzip(String),
    /// A redirect without a place to go to.
    #[error("the site redirects to nowhere")]
    RedirectedNowhere,
    /// A redirect to where others can read.
    #[error("the site redirects from https:// to http:// at {0}, which is not followed")]
    RedirectedToPlaintext(String),
    /// Redirects that lead to no end.
    #[error("the site redirects too often")]
    TooManyRedirects,
    /// The last of several failures.
    #[error("{last}, after {attempts} attempts")]
    Repeated {
        /// How often it was tried.
        attempts: u32,
        /// What happened the last time.
        last: Box<Self>,
    },
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => ": give a token, or a client certificate",
        StatusCode::FORBIDDEN => ": what was given, if anything, does not permit to read this",
        _ => "",
    }
}

fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

impl WebError {
    /// How long to wait after `failures` failures, this one the last; `None` where another attempt would not help.
    pub(crate) fn delay(&self, retries: &RetryPolicy, failures: u32) -> Option<Duration> {
        let own = retries.own_delay(failures);
        let delay = match self {
            Self::Status { status, retry_after } if is_passing(*status) => {
                retry_after.unwrap_or_default().max(own)
            }
            Self::Dial(error) if !error.is_lasting() => own,
            Self::Interrupted(_) | Self::TimedOut(_) => own,
            _ => return None,
        };
        (failures < retries.attempts && delay <= retries.longest_delay).then_some(delay)
    }

    pub(crate) fn after(self, attempts: u32) -> Self {
        if attempts > 1 { Self::Repeated { attempts, last: Box::new(self) } } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again_and_when_the_site_says() {
        let retries = RetryPolicy::default();
        let status = |code: u16, seconds: Option<u64>| WebError::Status {
            status: StatusCode::from_u16(code).unwrap(),
            retry_after: seconds.map(Duration::from_secs),
        };
        let delay = |error: &WebError| error.delay(&retries, 1);
        assert_eq!(delay(&status(503, None)), Some(retries.first_delay));
        assert_eq!(delay(&status(503, Some(0))), Some(retries.first_delay));
        assert_eq!(delay(&status(429, Some(3))), Some(Duration::from_secs(3)));
        assert_eq!(delay(&status(429, Some(3_600))), None);
        assert_eq!(delay(&status(403, Some(1))), None);
        assert_eq!(delay(&WebError::TooLong(1)), None);
        assert_eq!(delay(&WebError::TimedOut(Duration::ZERO)), Some(retries.first_delay));
        assert_eq!(status(503, None).delay(&retries, retries.attempts), None);
    }
}
