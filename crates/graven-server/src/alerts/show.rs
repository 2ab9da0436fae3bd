//! Alerts as messages.

use bytes::Bytes;
use graven_audit::Opened;
use graven_event::Facts;
use graven_event::facts::AlertFacts;
use graven_proto::convert::event::timestamp;
use graven_proto::v1;

use crate::scopes::Names;

/// An alert that would be raised.
pub(super) fn found(names: Names<'_>, alert: &AlertFacts) -> v1::Alert {
    v1::Alert {
        index: 0,
        rule: alert.name.to_string(),
        rule_hash: Bytes::copy_from_slice(&alert.rule),
        severity: alert.severity.into(),
        leaves: alert.leaves.clone(),
        count: alert.count.unwrap_or(alert.leaves.len() as u64),
        about: alert.about.iter().map(|about| names.name(*about)).collect(),
        log_time: None,
        leaf: Bytes::new(),
        state_size: alert.state_size,
    }
}

/// One that was; `None`: the leaf is no alert, or none that is so bad.
pub(super) fn raised(names: Names<'_>, opened: Opened, at_least: u8) -> Option<v1::Alert> {
    let frame = opened.frame?;
    let Facts::Alert(alert) = &frame.facts else { return None };
    (alert.severity >= at_least).then(|| v1::Alert {
        index: opened.index,
        log_time: Some(timestamp(frame.log_time)),
        leaf: opened.leaf,
        ..found(names, alert)
    })
}
