//! Forms (`application/x-www-form-urlencoded`), as far as they are needed here.

use std::borrow::Cow;

use graven_auth::MAX_TOKEN_BYTES;

/// Most parameters of a form.
const MAX_PARAMETERS: usize = 16;

/// What a request says. Parameters that are not known are ignored (RFC 6749 §3.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// The token: 1 to [`MAX_TOKEN_BYTES`] visible ASCII bytes.
    pub(super) token: String,
    /// Where it was shown: a resource indicator (RFC 8707).
    pub(super) resource: Option<String>,
}

impl Form {
    /// Reads a form. What is wrong with it is said without anything that stands in it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let (mut token, mut resource) = (None, None);
        let parameters = bytes.split(|byte| *byte == b'&').filter(|parameter| !parameter.is_empty());
        for (count, parameter) in parameters.enumerate() {
            if count >= MAX_PARAMETERS {
                return Err("there are too many parameters");
            }
            let mut halves = parameter.splitn(2, |byte| *byte == b'=');
            let name = decoded(halves.next().unwrap_or_default())?;
            let value = decoded(halves.next().unwrap_or_default())?;
            let place = match name.as_ref() {
                "token" => &mut token,
                "resource" => &mut resource,
                _ => continue,
            };
            // No parameter stands twice, and an empty one is as good as none (RFC 6749 §3.2).
            if place.replace(value.into_owned()).is_some() {
                return Err("a parameter stands there twice");
            }
        }
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let token = filled(token).ok_or("`token` is missing")?;
        if token.len() > MAX_TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("`token` is none: 1 to 8,192 visible ASCII characters");
        }
        Ok(Self { token, resource: filled(resource) })
    }
}

fn decoded(text: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    const WRONG: &str = "this is no form";
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| WRONG);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = rest.split_first_chunk::<2>().ok_or(WRONG)?;
                rest = after;
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let [high, low] = digits.map(digit);
                high.ok_or(WRONG)? << 4 | low.ok_or(WRONG)?
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| WRONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_a_token_and_perhaps_where() {
        let form = |text: &str| Form::parse(text.as_bytes());
        let of = |token: &str, resource: Option<&str>| {
            Ok(Form { token: token.to_owned(), resource: resource.map(str::to_owned) })
        };
        assert_eq!(form("token=abc"), of("abc", None));
        assert_eq!(form("token_type_hint=access_token&token=a.b-c_d"), of("a.b-c_d", None));
        assert_eq!(form("token=a%2eb%3D&resource=https%3A%2F%2Fapi"), of("a.b=", Some("https://api")));
        assert_eq!(form("&&token=abc&&x&=y&resource="), of("abc", None));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let long = format!("token={}", "x".repeat(MAX_TOKEN_BYTES + 1));
        let many = format!("token=a{}", "&x=1".repeat(MAX_PARAMETERS));
        for wrong in [
            "",
            "token",
            "token=",
            "TOKEN=abc",
            "token=a&token=a",
            "token=a&token=",
            "token=a&resource=x&resource=y",
            "token=a+b",
            "token=a%20b",
            "token=%00",
            "token=%c3%a4",
            "token=%",
            "token=%4",
            "token=%4g",
            "token=%+4",
            "token=a&%ff=x",
            &long,
            &many,
        ] {
            assert!(Form::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Form::parse(b"token=\xff").is_err());
    }
}
