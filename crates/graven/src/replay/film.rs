//! The film of an application: what was ever done about it, in the order of the log.

use std::collections::BTreeSet;

use graven_client::scopes::command_word;
use graven_event::{Facts, Frame, Outcome as Ended, Ref, Time, Word};
use serde_json::{Map, json};

use super::names::Names;
use crate::{
    exit::Outcome,
    output,
    scopes::{show::brief_number, times::brief},
};

/// An application, with what stands for it and the grants that it was to get.
pub(super) struct Film {
    client: BTreeSet<Ref>,
    names: Names,
    grants: BTreeSet<Ref>,
    is_begun: bool,
}

/// What an entry of it says.
struct Shot<'a> {
    what: &'a str,
    by: Ref,
    grants: Vec<Ref>,
    scopes: &'a [Word],
    /// How a command or decision ended, as one word.
    ended: &'a str,
    is_good: bool,
}

impl Film {
    /// Of whom these references stand for.
    pub(super) fn new(client: BTreeSet<Ref>, names: Names) -> Self {
        Self { client, names, grants: BTreeSet::new(), is_begun: false }
    }

    /// Prints the entry if it belongs to it.
    pub(super) fn take(&mut self, index: u64, frame: &Frame, as_json: bool) -> Outcome {
        let Some(shot) = self.shot(frame) else { return Ok(()) };
        if as_json {
            return output::object(Map::from_iter([
                ("index".to_owned(), json!(index)),
                ("log_time".to_owned(), json!(frame.log_time.to_string())),
                ("what".to_owned(), json!(shot.what)),
                ("by".to_owned(), json!(self.names.of(shot.by))),
                ("grants".to_owned(), json!(shot.grants.iter().map(ToString::to_string).collect::<Vec<_>>())),
                ("scopes".to_owned(), json!(shot.scopes.iter().map(Word::as_str).collect::<Vec<_>>())),
                ("ended".to_owned(), json!(shot.ended)),
                ("ok".to_owned(), json!(shot.is_good)),
            ]));
        }
        if !std::mem::replace(&mut self.is_begun, true) {
            output::line(
                row(["ENTRY", "TIME", "WHAT", "ENDED", "BY", "GRANT", "SCOPES"].map(str::to_owned)),
            )?;
        }
        let scopes: Vec<_> = shot.scopes.iter().map(Word::as_str).collect();
        output::line(row([
            index.to_string(),
            brief(Some(Time(frame.log_time.nanoseconds()))),
            shot.what.to_owned(),
            shot.ended.to_owned(),
            self.names.of(shot.by),
            shot.grants.first().map_or_else(|| "-".to_owned(), brief_number),
            scopes.join(", "),
        ]))
    }

    fn shot<'a>(&mut self, frame: &'a Frame) -> Option<Shot<'a>> {
        match &frame.facts {
            Facts::Scope(command) => {
                let is_its = |who: &Option<Ref>| who.is_some_and(|who| self.client.contains(&who));
                let is_about = is_its(&command.client)
                    || is_its(&Some(command.by))
                    || command.grant.is_some_and(|grant| self.grants.contains(&grant));
                if !is_about {
                    return None;
                }
                if is_its(&command.client) && command.refused.is_none() {
                    self.grants.extend(command.grant);
                }
                Some(Shot {
                    what: command_word(command.command).unwrap_or("command"),
                    by: command.by,
                    grants: command.grant.into_iter().collect(),
                    scopes: &command.scopes,
                    ended: command.refused.as_ref().map_or("counts", Word::as_str),
                    is_good: command.refused.is_none(),
                })
            }
            Facts::Decision(decision) => self.client.contains(&decision.client).then(|| Shot {
                what: decision.action.as_str(),
                by: decision.client,
                grants: decision.grants.clone(),
                scopes: &decision.scopes,
                ended: decision.reason.as_str(),
                is_good: frame.outcome == Some(Ended::Success),
            }),
            _ => None,
        }
    }
}

fn row(cells: [String; 7]) -> String {
    let [index, time, what, ended, by, grant, scopes] = cells.map(|cell| output::shown(&cell).into_owned());
    format!("{index:>9}  {time:<20}  {what:<16}  {ended:<20}  {by:<24}  {grant:<12}  {scopes}")
        .trim_end()
        .to_owned()
}
