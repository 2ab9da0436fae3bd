//! What references are called, where somebody knows.

use std::collections::{BTreeMap, BTreeSet};

use graven_client::{LogClient, events::Query, scopes::Step};
use graven_event::{Facts, Ref};
use graven_vault::{Lookup, Realm, Sight, SubjectRef};

use crate::exit::{Failure, Outcome};

/// Who knows names.
pub(super) enum Names {
    /// Nobody.
    Unknown,
    /// A server, whose word it is.
    Told(BTreeMap<Ref, String>),
    /// A key store.
    Kept(Box<Realm>),
}

impl Names {
    /// A name, or the reference where none is known.
    pub(super) fn of(&self, reference: Ref) -> String {
        let name = match self {
            Self::Unknown => None,
            Self::Told(names) => names.get(&reference).cloned(),
            Self::Kept(realm) => match realm.by_ref(SubjectRef(reference.0)) {
                Lookup::Known(subject) => String::from_utf8(subject.name().to_vec()).ok(),
                Lookup::Erased | Lookup::Unknown => None,
            },
        };
        name.unwrap_or_else(|| reference.to_string())
    }
}

/// What stands for an application, and the names that a server tells with it. That it stands for it is the server's word; the entries that it
/// is taken from are proven.
pub(super) async fn told(log: &LogClient, client: &str) -> Outcome<(BTreeSet<Ref>, Names)> {
    let history = log.history(client, "").await?;
    let mut names: BTreeMap<Ref, String> = BTreeMap::new();
    let mut found: BTreeSet<Ref> = whole(client).into_iter().collect();
    for step in history.steps() {
        let (by, of_client) = parties(step);
        names.extend(by.filter(|_| !step.by().is_empty()).map(|by| (by, step.by().to_owned())));
        found.extend(of_client);
    }
    if found.is_empty() {
        // Nobody asked for anything for it, and still it may have wanted something.
        found.extend(decided_for(log, client).await?);
    }
    if found.is_empty() {
        return Err(unknown(client));
    }
    names.extend(found.iter().map(|reference| (*reference, format!("application:{client}"))));
    Ok((found, Names::Told(names)))
}

/// What stands for an application that only decisions are about: the server says of one for each application which it is.
async fn decided_for(log: &LogClient, client: &str) -> Outcome<Option<Ref>> {
    let mut hits = log.query(Query::new("kind:decision").page_size(1_000));
    let mut asked = BTreeSet::new();
    while let Some(hit) = hits.next().await? {
        let Some(Facts::Decision(decision)) = hit.frame().map(|frame| &frame.facts) else { continue };
        if !asked.insert(decision.client) {
            continue;
        }
        if log.explain(hit.index()).await?.client() == client {
            return Ok(Some(decision.client));
        }
        if asked.len() >= MAX_ASKED {
            break;
        }
    }
    Ok(None)
}

/// Applications that a server is asked about, one by one.
const MAX_ASKED: usize = 1_000;

/// Who a step says that it is by, and for which application.
fn parties(step: &Step) -> (Option<Ref>, Option<Ref>) {
    match &step.frame().facts {
        Facts::Scope(command) => (Some(command.by), command.client),
        Facts::Decision(decision) => (None, Some(decision.client)),
        _ => (None, None),
    }
}

/// What stands for an application in a key store.
pub(super) fn kept(vault: Option<&Sight>, origin: &str, client: &str) -> Outcome<(BTreeSet<Ref>, Names)> {
    let realm = vault.and_then(|vault| vault.realm(origin.as_bytes()));
    let named = realm.as_ref().and_then(|realm| realm.by_name(format!("application:{client}").as_bytes()));
    let found: BTreeSet<Ref> =
        named.map(|subject| Ref(subject.reference().0)).or_else(|| whole(client)).into_iter().collect();
    if found.is_empty() {
        return Err(unknown(client));
    }
    Ok((found, realm.map_or(Names::Unknown, |realm| Names::Kept(Box::new(realm.clone())))))
}

/// What stands for an application where nobody knows names.
pub(super) fn given(client: &str) -> Outcome<(BTreeSet<Ref>, Names)> {
    let reference = whole(client).ok_or_else(|| {
        Failure::trouble(format_args!(
            "a bundle has no names: write what stands for {client}, 32 hex digits, as --json prints it"
        ))
    })?;
    Ok((BTreeSet::from([reference]), Names::Unknown))
}

fn unknown(client: &str) -> Failure {
    Failure::trouble(format_args!("nothing is known of an application {client}"))
}

/// A reference that is written as it stands in entries.
fn whole(text: &str) -> Option<Ref> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let value = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
    Some(Ref(value.to_be_bytes()))
}
