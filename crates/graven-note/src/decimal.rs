//! Canonical ASCII decimals: no sign, no leading zero, one text per number.

/// The number that `text` writes, or `None` when it is not its canonical decimal or exceeds `u64`.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_the_canonical_text_parses() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("18446744073709551615"), Some(u64::MAX));
        for wrong in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "١", "18446744073709551616"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
