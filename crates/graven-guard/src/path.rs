//! Paths as rules name them, and as requests have them.
//!
//! A rule must never be weaker than the router behind it. So a path has one spelling only: what a router might take for another path
//! (`//`, `/./`, `/%61`, an encoded `/`) is no path here, and no rule is found for it.

/// Segments of a path at most: no interface has more, and a request's are counted before they are looked up.
pub(crate) const MAX_SEGMENTS: usize = 32;

/// The segments of a path that is spelled in the one way it can be; `None`: it is not, or has too many.
pub(crate) fn segments(path: &str) -> Option<Vec<&str>> {
    let path = path.strip_prefix('/')?;
    if path.is_empty() {
        return Some(Vec::new());
    }
    let segments: Vec<_> = path.split('/').take(MAX_SEGMENTS + 1).collect();
    (segments.len() <= MAX_SEGMENTS && segments.iter().all(|it| is_canonical(it))).then_some(segments)
}

/// Whether a segment is there, is no step to elsewhere, and encodes nothing that need not be (RFC 3986 §6.2.2).
fn is_canonical(segment: &str) -> bool {
    let mut rest = segment.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let Some(byte) = rest.get(at + 1..at + 3).and_then(encoded) else { return false };
        let has_another_spelling = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        // Some routers decode these before they split, and some take them for the end.
        let is_dangerous = b"/\\;".contains(&byte) || byte.is_ascii_control();
        if has_another_spelling || is_dangerous {
            return false;
        }
        rest = &rest[at + 3..];
    }
    let may_stand = |byte: u8| byte.is_ascii_graphic() && !b"\\;?#".contains(&byte);
    !["", ".", ".."].contains(&segment) && segment.bytes().all(may_stand)
}

/// What two hex digits in upper case stand for; lower case is another spelling of the same.
fn encoded(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    Some(digit(digits[0])? << 4 | digit(digits[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_its_segments() {
        assert_eq!(segments("/"), Some(Vec::new()));
        assert_eq!(segments("/docs.v1.Documents/Read"), Some(vec!["docs.v1.Documents", "Read"]));
        assert_eq!(segments("/a%20b/%C3%A4"), Some(vec!["a%20b", "%C3%A4"]));
        let long = "/x".repeat(MAX_SEGMENTS);
        assert_eq!(segments(&long).unwrap().len(), MAX_SEGMENTS);
        assert_eq!(segments(&(long + "/x")), None);
    }

    #[test]
    fn another_spelling_is_no_path() {
        for path in [
            "",
            "*",
            "a",
            "//",
            "/a/",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/../b",
            "/%2e%2e/a",
            "/%2E",
            "/%61",
            "/a%2Fb",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a;b",
            "/a%3Bb",
            "/%",
            "/%4",
            "/%zz",
            "/%c3%a4",
            "/a%00",
            "/a b",
            "/a?b",
            "/ä",
        ] {
            assert_eq!(segments(path), None, "{path}");
        }
    }
}
