//! The bytes of an answer, bounded as sent and as unpacked.

use std::{
    io::Read as _,
    time::{Duration, SystemTime},
};

use flate2::bufread::MultiGzDecoder;
use http::{
    HeaderMap, Response,
    header::{CONTENT_ENCODING, RETRY_AFTER},
};
use http_body_util::{BodyExt as _, Limited};

use super::WebError;

/// What the HTTP client hands out.
pub(super) type Answer = hyper::body::Incoming;

/// A resource as it was sent.
pub(super) struct Body {
    bytes: Vec<u8>,
    gzip: bool,
    longest: usize,
}

/// Reads an answer to its end, if that comes after no more than `longest` bytes.
pub(super) async fn read(answer: Response<Answer>, longest: usize) -> Result<Body, WebError> {
    let gzip = match answer.headers().get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
        None | Some(b"" | b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(other) => return Err(WebError::Encoding(String::from_utf8_lossy(other).into_owned())),
    };
    let mut body = Limited::new(answer.into_body(), longest);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.downcast::<http_body_util::LengthLimitError>() {
            Ok(_) => WebError::TooLong(longest),
            Err(error) => WebError::Interrupted(crate::dial::deepest(&*error)),
        })?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
    }
    Ok(Body { bytes, gzip, longest })
}

impl Body {
    /// The resource itself.
    pub(super) fn unpacked(self) -> Result<Vec<u8>, WebError> {
        if !self.gzip {
            return Ok(self.bytes);
        }
        let limit = u64::try_from(self.longest).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        // One byte more than fits shows that there are more. What follows is never unpacked.
        let read = MultiGzDecoder::new(&self.bytes[..]).take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| WebError::Gzip(error.to_string()))?;
        if bytes.len() > self.longest { Err(WebError::TooLong(self.longest)) } else { Ok(bytes) }
    }
}

/// How long the site asks to wait, in seconds or as a date (RFC 9110 §10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::audit::MAX_RESOURCE_BYTES;

    fn gzip(bytes: &[u8]) -> Body {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        Body { bytes: encoder.finish().unwrap(), gzip: true, longest: MAX_RESOURCE_BYTES }
    }

    #[test]
    fn unpacking_stops_at_the_longest_resource() {
        assert_eq!(gzip(b"tile").unpacked().unwrap(), b"tile");
        assert_eq!(gzip(&vec![0; MAX_RESOURCE_BYTES]).unpacked().unwrap().len(), MAX_RESOURCE_BYTES);
        let bomb = gzip(&vec![0; MAX_RESOURCE_BYTES + 1]);
        assert!(bomb.bytes.len() < MAX_RESOURCE_BYTES / 100);
        assert!(matches!(bomb.unpacked(), Err(WebError::TooLong(_))));
        // Many members that fit, one after the other.
        let mut members = gzip(&vec![0; MAX_RESOURCE_BYTES / 2]).bytes.repeat(3);
        let body = |bytes: &[u8]| Body { bytes: bytes.to_vec(), gzip: true, longest: MAX_RESOURCE_BYTES };
        assert!(matches!(body(&members).unpacked(), Err(WebError::TooLong(_))));
        members.truncate(100);
        assert!(matches!(body(&members).unpacked(), Err(WebError::Gzip(_))));
    }

    #[test]
    fn a_site_says_when_to_come_back_in_two_ways() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let asked = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, http::HeaderValue::from_static(text));
            retry_after(&headers, now)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:00 GMT"), Some(Duration::from_secs(23)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
