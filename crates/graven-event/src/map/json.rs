//! JSON as mappings read it: no member twice, members by name, and everything that is not there is null.
//!
//! It is a type of its own, so that what a mapping gives never hangs on how somebody else builds the JSON library.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::MapError;
use crate::check::MAX_TEXT_BYTES;

/// Any JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As it is written in texts: `7`, `-1`, `0.5`.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

const NULL: &Json = &Json::Null;
/// What stands where a text was longer than fits.
const CUT: &str = "…";

impl Json {
    /// Reads one value.
    pub(crate) fn parse(text: &str) -> Result<Self, MapError> {
        serde_json::from_str(text).map_err(|error| {
            let what = if error.is_data() {
                "a member is there twice".to_owned()
            } else {
                format!("not JSON, or nested too deep, from line {} column {}", error.line(), error.column())
            };
            MapError { field: "record".to_owned(), what }
        })
    }

    /// A member of an object: of this name, or of one that differs in the case of its letters, as some stores lower all
    /// names.
    pub(crate) fn get(&self, name: &str) -> &Self {
        let Self::Object(members) = self else { return NULL };
        members.get(name).unwrap_or_else(|| {
            let alike = members.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            alike.map_or(NULL, |(_, value)| value)
        })
    }

    /// What is at a path of names with points between them.
    pub(crate) fn at(&self, path: &str) -> &Self {
        path.split('.').fold(self, Self::get)
    }

    /// A text that is not blank.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()).filter(|text| !text.trim().is_empty()),
            _ => None,
        }
    }

    /// The text at a path.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.at(path).as_text()
    }

    /// A text, number or truth value as a text of at most [`MAX_TEXT_BYTES`].
    pub(crate) fn as_word(&self) -> Option<String> {
        match self {
            Self::Number(digits) => Some(digits.clone()),
            Self::Bool(value) => Some(value.to_string()),
            _ => self.as_text().map(|text| clip(text, MAX_TEXT_BYTES)),
        }
    }

    /// The [word](Self::as_word) at a path.
    pub(crate) fn word(&self, path: &str) -> Option<String> {
        self.at(path).as_word()
    }

    /// The first word that is there at one of these paths.
    pub(crate) fn first(&self, paths: &[&str]) -> Option<String> {
        paths.iter().find_map(|path| self.word(path))
    }

    /// A whole number.
    pub(crate) fn whole(&self, path: &str) -> Option<u64> {
        match self.at(path) {
            Self::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// A truth value, also where it is written as a text.
    pub(crate) fn flag(&self, path: &str) -> Option<bool> {
        match self.at(path) {
            Self::Bool(value) => Some(*value),
            Self::Text(text) => text.to_ascii_lowercase().parse().ok(),
            _ => None,
        }
    }

    /// The values of a list; none where there is no list.
    pub(crate) fn list(&self, path: &str) -> &[Self] {
        match self.at(path) {
            Self::List(values) => values,
            _ => &[],
        }
    }

    /// The members of an object by name; none where there is no object.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Self)> {
        let members = match self {
            Self::Object(members) => Some(members),
            _ => None,
        };
        members.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether it is an object with members.
    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::Object(members) if !members.is_empty())
    }
}

/// A text of at most so many bytes: what is cut off leaves its mark.
pub(crate) fn clip(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most - CUT.len());
    format!("{}{CUT}", &text[..end])
}

impl fmt::Display for Json {
    /// Compact, members by name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(digits) => f.write_str(digits),
            Self::Text(text) => write_text(f, text),
            Self::List(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (at, (name, value)) in members.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { "," })?;
                    write_text(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for char in text.chars() {
        match char {
            '"' | '\\' => write!(f, "\\{char}")?,
            char if char.is_control() => write!(f, "\\u{:04x}", u32::from(char))?,
            char => write!(f, "{char}")?,
        }
    }
    f.write_str("\"")
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(format!("{value:?}")))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(Json::Object(members))
    }
}
