//! What an event must be before it is taken in.

use crate::catalogue;
use crate::facts::{MAX_VALUES, Word};
use crate::group::parties;
use crate::model::{Change, Event, Party};
use crate::time::Time;

/// Longest identifier, name or other short text.
pub const MAX_TEXT_BYTES: usize = 1024;
/// Longest text that people write: reasons, values before and after.
pub const MAX_LONG_TEXT_BYTES: usize = 16 << 10;
/// Longest raw record: CloudTrail's longest has 256 KiB.
pub const MAX_RAW_BYTES: usize = 256 << 10;
/// Most targets, changes and labels, each.
pub const MAX_ITEMS: usize = 64;
/// Most values of a token's `aud` and `amr`, each: what is kept of a token fits in one field of its group.
pub const MAX_TOKEN_VALUES: usize = 24;
/// Most bytes of all changes together, so that their group can be [opened](crate::payload::MAX_GROUP_BYTES) again.
pub const MAX_CHANGES_BYTES: usize = 256 << 10;
/// Most parties whom one event is about.
pub const MAX_PARTIES: usize = 32;
/// How far ahead of the server's clock a producer's may be.
pub const MAX_AHEAD_SECONDS: u64 = 300;

/// Why something is no event. The text names the field and never what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct Invalid {
    /// The field, as in JSON.
    pub field: String,
    /// One word for entries and metrics.
    pub reason: &'static str,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Event {
    /// Checks everything that the type does not: that it says who did what, that its action is known, its time possible and nothing
    /// longer or more than the limits here.
    ///
    /// # Errors
    /// It is not fit to be taken in.
    pub fn check(&self, now: Time) -> Result<(), Invalid> {
        check_party("actor", &self.actor)?;
        self.client.iter().try_for_each(|party| check_party("client", party))?;
        self.on_behalf_of.iter().try_for_each(|party| check_party("on_behalf_of", party))?;
        self.about.iter().try_for_each(|party| check_party("about", party))?;
        self.check_action()?;
        let ahead = self.time.is_some_and(|time| time.seconds() > now.seconds() + MAX_AHEAD_SECONDS);
        if ahead {
            return Err(invalid("time", "time", format!("more than {MAX_AHEAD_SECONDS} s in the future")));
        }
        self.check_texts()?;
        self.check_words()?;
        self.check_counts()
    }

    fn check_action(&self) -> Result<(), Invalid> {
        let word = || {
            Word::new(self.action.as_str()).map_err(|error| invalid("action", "action", error.to_string()))
        };
        if self.action.trim().is_empty() {
            return Err(invalid("action", "action", "missing: say what was done".to_owned()));
        }
        word()?;
        match &self.source.product {
            Some(product) => Word::new(product.as_str())
                .map(drop)
                .map_err(|error| invalid("source.product", "action", error.to_string())),
            None if catalogue::knows(&self.action) => Ok(()),
            None => {
                let hint =
                    "not in the catalogue: put `x.` before a word of your own, or name `source.product`";
                Err(invalid("action", "action", hint.to_owned()))
            }
        }
    }

    fn check_texts(&self) -> Result<(), Invalid> {
        let short = |field: &str, text: &str| check_text(field, text, MAX_TEXT_BYTES);
        let long = |field: &str, text: &str| check_text(field, text, MAX_LONG_TEXT_BYTES);
        let maybe = |field: &str, text: &Option<String>| text.iter().try_for_each(|text| short(field, text));
        maybe("session", &self.session)?;
        for target in &self.targets {
            short("targets.kind", &target.kind)?;
            short("targets.id", &target.id)?;
            maybe("targets.name", &target.name)?;
            required("targets.kind", &target.kind)?;
            required("targets.id", &target.id)?;
        }
        for change in &self.changes {
            required("changes.field", &change.field)?;
            short("changes.field", &change.field)?;
            change.before.iter().chain(&change.after).try_for_each(|text| long("changes", text))?;
        }
        let changed: usize = self.changes.iter().map(Change::bytes).sum();
        if changed > MAX_CHANGES_BYTES {
            let what = format!("{changed} bytes in all, and at most {MAX_CHANGES_BYTES} fit");
            return Err(invalid("changes", "limit", what));
        }
        self.decision.reason.iter().try_for_each(|text| long("decision.reason", text))?;
        maybe("decision.policy", &self.decision.policy)?;
        maybe("context.request_id", &self.context.request_id)?;
        maybe("context.trace_id", &self.context.trace_id)?;
        maybe("context.ip", &self.context.ip)?;
        self.context.user_agent.iter().try_for_each(|text| long("context.user_agent", text))?;
        maybe("source.service", &self.source.service)?;
        maybe("source.event_id", &self.source.event_id)?;
        for (key, value) in &self.labels {
            required("labels", key)?;
            short("labels", key)?;
            short("labels", value)?;
        }
        if let Some(token) = &self.token {
            let texts = [&token.id, &token.issuer, &token.grant_type, &token.confirmation, &token.acr];
            texts.into_iter().try_for_each(|text| maybe("token", text))?;
            token.audience.iter().chain(&token.amr).try_for_each(|text| short("token", text))?;
        }
        let Some(raw) = &self.raw else { return Ok(()) };
        required("raw.format", &raw.format)?;
        short("raw.format", &raw.format)?;
        check_text("raw.text", &raw.text, MAX_RAW_BYTES)
    }

    fn check_words(&self) -> Result<(), Invalid> {
        let scopes = [&self.scope.requested, &self.scope.granted, &self.scope.used];
        for scope in scopes.into_iter().flatten() {
            Word::new(scope.as_str()).map_err(|error| invalid("scope", "scope", error.to_string()))?;
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), Invalid> {
        let most = |field: &str, count: usize, most: usize| {
            if count <= most {
                return Ok(());
            }
            Err(invalid(field, "limit", format!("{count} of them, and at most {most} fit")))
        };
        most("targets", self.targets.len(), MAX_ITEMS)?;
        most("changes", self.changes.len(), MAX_ITEMS)?;
        most("labels", self.labels.len(), MAX_ITEMS)?;
        let scopes = [&self.scope.requested, &self.scope.granted, &self.scope.used];
        scopes.into_iter().try_for_each(|scopes| most("scope", scopes.len(), MAX_VALUES))?;
        if let Some(token) = &self.token {
            most("token", token.audience.len().max(token.amr.len()), MAX_TOKEN_VALUES)?;
        }
        most("on_behalf_of", self.on_behalf_of.len(), MAX_PARTIES)?;
        most("about", self.about.len(), MAX_PARTIES)?;
        let parties = parties(self);
        most("actor, client, on_behalf_of, targets and about", parties.len(), MAX_PARTIES)?;
        // What a party is called in the key store: kind and identifier together.
        parties
            .iter()
            .try_for_each(|party| check_text("a party's kind and id", &party.subject(), MAX_TEXT_BYTES))
    }
}

fn check_party(field: &str, party: &Party) -> Result<(), Invalid> {
    if party.id.trim().is_empty() || party.kind.trim().is_empty() {
        return Err(invalid(field, "actor", "missing or blank: say who".to_owned()));
    }
    check_text(field, &party.kind, MAX_TEXT_BYTES)?;
    check_text(field, &party.id, MAX_TEXT_BYTES)?;
    party.name.iter().try_for_each(|name| check_text(field, name, MAX_TEXT_BYTES))
}

fn required(field: &str, text: &str) -> Result<(), Invalid> {
    if text.trim().is_empty() {
        return Err(invalid(field, "blank", "missing or blank".to_owned()));
    }
    Ok(())
}

fn check_text(field: &str, text: &str, most: usize) -> Result<(), Invalid> {
    if text.len() > most {
        return Err(invalid(field, "limit", format!("{} bytes, and at most {most} fit", text.len())));
    }
    Ok(())
}

fn invalid(field: &str, reason: &'static str, what: String) -> Invalid {
    Invalid { field: field.to_owned(), reason, what }
}
