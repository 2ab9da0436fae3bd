//! What the references of a pack are called, as the server says.

use std::collections::{BTreeMap, BTreeSet};

use graven_client::scopes::{At, GrantFilter, ReportedGrant, ScopeLog};
use graven_event::{Facts, Ref, facts::Command};

use super::pack::Leaf;
use crate::exit::Outcome;

/// The names of those whom these leaves are about, as far as the caller is told. `end` is the index after the last that was read.
pub(super) async fn told(log: &ScopeLog, leaves: &[Leaf], end: u64) -> Outcome<BTreeMap<String, String>> {
    let mut names = Names::default();
    let filter = GrantFilter { at: At::Size(end), ..GrantFilter::default() };
    let grants = log.grants(&filter).await?.grants;
    let grants: BTreeMap<Ref, &ReportedGrant> = grants.iter().map(|grant| (grant.grant, grant)).collect();
    for leaf in leaves {
        names.of_grant(&leaf.frame.facts, &grants);
    }
    let commands = leaves.iter().filter(|leaf| matches!(leaf.frame.facts, Facts::Scope(_)));
    let mut indices: BTreeSet<u64> = commands.map(|leaf| leaf.index.get()).collect();
    let mut watch = log.watch(indices.first().copied());
    while let Some(last) = indices.last().copied() {
        let Some(step) = watch.next().await? else { break };
        if let Facts::Scope(command) = &step.frame().facts {
            names.learn(Some(command.by), step.by());
        }
        indices.remove(&step.index().get());
        if step.index().get() >= last {
            break;
        }
    }
    Ok(names.0)
}

#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn learn(&mut self, reference: Option<Ref>, name: &str) {
        let Some(reference) = reference.map(|reference| reference.to_string()) else { return };
        // What has no name is called by its reference.
        if !name.is_empty() && name != reference {
            self.0.insert(reference, name.to_owned());
        }
    }

    /// What a grant says of those whom a leaf about it is about.
    fn of_grant(&mut self, facts: &Facts, grants: &BTreeMap<Ref, &ReportedGrant>) {
        let (client, subject, numbers) = match facts {
            Facts::Scope(command) if command.command == Command::RequestGrant as u8 => {
                (Some(command.client), command.subject, command.grant.as_slice())
            }
            Facts::Decision(decision) => {
                (Some(Some(decision.client)), decision.subject, &decision.grants[..])
            }
            _ => return,
        };
        for grant in numbers.iter().filter_map(|number| grants.get(number)) {
            let client = client.flatten();
            if !is_reference(&grant.client) {
                self.learn(client, &format!("application:{}", grant.client));
            }
            if !grant.subject.is_empty() {
                self.learn(subject, &grant.subject);
            }
        }
    }
}

fn is_reference(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
