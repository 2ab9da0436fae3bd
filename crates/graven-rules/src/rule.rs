//! A rule, from its text.

use std::time::Duration;

use serde::Deserialize;

use crate::fields::Fields;
use crate::program::Program;

/// Longest text of a rule: it stands in a leaf.
pub const MAX_SOURCE_BYTES: usize = 4096;
/// Most leaves that it takes to fire: all of them are named in the alert.
pub const MAX_COUNT: u16 = 256;
/// Longest window and silence: whoever starts again reads so much of the past again, twice.
pub const MAX_WINDOW: Duration = Duration::from_secs(7 * 86_400);
/// Longest text that leaves are grouped by; it is cut there.
const MAX_GROUP_BYTES: usize = 1024;

/// A rule that can be evaluated.
#[derive(Debug)]
pub struct Rule {
    when: Program,
    by: Option<Program>,
    pub(crate) count: usize,
    pub(crate) within: Duration,
    pub(crate) quiet: Duration,
    description: String,
}

/// A text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It is too long.
    #[error("a rule has at most {MAX_SOURCE_BYTES} bytes")]
    TooLong,
    /// It is no TOML, or not of these keys.
    #[error("not a rule: {0}")]
    Form(String),
    /// A time is none, or is too long.
    #[error("`{0}` must be a time such as 30s, 10m, 2h or 1d, up to 7d")]
    Time(&'static str),
    /// `count` is out of bounds, or has no window.
    #[error("`count` must be 1 to {MAX_COUNT}, and above 1 it needs `within`")]
    Count,
    /// An expression is none, or is refused.
    #[error("`{key}`: {what}")]
    Expression {
        /// Which.
        key: &'static str,
        /// Why.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    when: String,
    by: Option<String>,
    #[serde(default = "one")]
    count: u16,
    within: Option<String>,
    quiet: Option<String>,
    #[serde(default)]
    description: String,
}

fn one() -> u16 {
    1
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// The text is none, or would take too long to evaluate.
    pub fn parse(source: &str) -> Result<Self, RuleError> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(RuleError::TooLong);
        }
        let form: Form =
            toml::from_str(source).map_err(|error| RuleError::Form(error.message().to_owned()))?;
        if !(1..=MAX_COUNT).contains(&form.count) || (form.count > 1 && form.within.is_none()) {
            return Err(RuleError::Count);
        }
        let time = |key, text: &Option<String>| text.as_deref().map(|text| time(key, text)).transpose();
        let within = time("within", &form.within)?.unwrap_or_default();
        let compile =
            |key, text: &str| Program::compile(text).map_err(|what| RuleError::Expression { key, what });
        Ok(Self {
            when: compile("when", &form.when)?,
            by: form.by.as_deref().map(|by| compile("by", by)).transpose()?,
            count: usize::from(form.count),
            within,
            quiet: time("quiet", &form.quiet)?.unwrap_or(within),
            description: form.description,
        })
    }

    /// What it is for, in its author's words.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// How far back leaves matter: whoever reads so much of the past again knows all that the rule remembers.
    pub fn reach(&self) -> Duration {
        self.within + self.quiet
    }

    /// Whether it looks into the record that an event was made from.
    pub fn reads_raw(&self) -> bool {
        self.when.reads_raw || self.by.as_ref().is_some_and(|by| by.reads_raw)
    }

    /// Whether a leaf counts, and what it is counted by; `None` inside: all together.
    pub(crate) fn hit(&self, fields: &Fields) -> Option<Option<String>> {
        if !self.when.is_true(fields) {
            return None;
        }
        let Some(by) = &self.by else { return Some(None) };
        let mut group = by.text(fields)?;
        group.truncate(group.floor_char_boundary(MAX_GROUP_BYTES));
        Some(Some(group))
    }
}

fn time(key: &'static str, text: &str) -> Result<Duration, RuleError> {
    let wrong = RuleError::Time(key);
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(wrong.clone())?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_number.then(|| number.parse::<u64>().ok()?.checked_mul(unit)).flatten();
    let time = seconds.map(Duration::from_secs).filter(|time| !time.is_zero() && *time <= MAX_WINDOW);
    time.ok_or(wrong)
}
