//! Numbers of grants and reviews as they are typed.

use std::str::FromStr;

use graven_client::scopes::{GrantFilter, ScopeLog};
use graven_event::Ref;

use crate::exit::{Failure, Outcome};

/// Fewer digits tell too little.
const MIN_DIGITS: usize = 4;

/// A grant: the beginning of its number, and the revision that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GrantNumber {
    number: Number,
    revision: Option<u64>,
}

/// The beginning of a number, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number(String);

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && (MIN_DIGITS..=32).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is no number: write {MIN_DIGITS} to 32 of its hex digits, the first ones"))
    }
}

impl FromStr for GrantNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, revision) = match text.split_once('@') {
            Some((number, revision)) => {
                let revision = revision.parse().map_err(|_| format!("{revision:?} is no revision"))?;
                (number, Some(revision))
            }
            None => (text, None),
        };
        Ok(Self { number: number.parse()?, revision })
    }
}

impl Number {
    /// The number, where it is all there.
    fn whole(&self) -> Option<Ref> {
        let value = u128::from_str_radix(&self.0, 16).ok().filter(|_| self.0.len() == 32)?;
        Some(Ref(value.to_be_bytes()))
    }

    /// The only one that begins so.
    fn among<T>(&self, what: &str, all: Vec<T>, number: impl Fn(&T) -> Ref) -> Outcome<T> {
        let mut fitting = all.into_iter().filter(|item| number(item).to_string().starts_with(&self.0));
        match (fitting.next(), fitting.next()) {
            (Some(found), None) => Ok(found),
            (None, _) => {
                Err(Failure::trouble(format_args!("no {what} has a number that begins with {}", self.0)))
            }
            _ => Err(Failure::trouble(format_args!(
                "several {what}s have a number that begins with {}: write more of it",
                self.0
            ))),
        }
    }

    /// The review that is meant.
    pub(super) async fn review(&self, log: &ScopeLog) -> Outcome<Ref> {
        if let Some(review) = self.whole() {
            return Ok(review);
        }
        Ok(self.among("review", log.reviews().await?.reviews, |review| review.review)?.review)
    }
}

impl GrantNumber {
    /// The grant that is meant, and its revision: the one that was looked at, or the newest.
    pub(super) async fn grant(&self, log: &ScopeLog) -> Outcome<(Ref, u64)> {
        if let (Some(grant), Some(revision)) = (self.number.whole(), self.revision) {
            return Ok((grant, revision));
        }
        let grants = log.grants(&GrantFilter::default()).await?.grants;
        let found = self.number.among("grant", grants, |grant| grant.grant)?;
        Ok((found.grant, self.revision.unwrap_or(found.revision)))
    }

    /// The grant that is meant, and the revision if one was named.
    pub(super) async fn any_revision(&self, log: &ScopeLog) -> Outcome<(Ref, Option<u64>)> {
        match (self.number.whole(), self.revision) {
            (Some(grant), revision) => Ok((grant, revision)),
            (None, revision) => Ok((self.grant(log).await?.0, revision)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_hex_and_may_be_cut_short() {
        let number = "3f0c92ab3f0c92ab3f0c92ab3f0c92ab";
        let typed: GrantNumber = format!("{number}@7").parse().unwrap();
        assert_eq!((typed.number.whole().unwrap().to_string(), typed.revision), (number.to_owned(), Some(7)));
        let brief: GrantNumber = "3f0c".parse().unwrap();
        assert_eq!((brief.number.whole(), brief.revision), (None, None));
        for wrong in ["", "3f0", "3F0C", "3f0c@", "3f0c@x", "xyzw", &format!("{number}0")] {
            assert!(wrong.parse::<GrantNumber>().is_err(), "{wrong}");
        }
        let all = vec![Ref([0x11; 16]), Ref([0x12; 16])];
        let among = |text: &str| text.parse::<Number>().unwrap().among("grant", all.clone(), |it| *it);
        assert_eq!(among("1212").unwrap(), Ref([0x12; 16]));
        assert!(among("3333").unwrap_err().to_string().contains("no grant"));
    }
}
