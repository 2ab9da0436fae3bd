//! Controls of frameworks, and which entries of a log are evidence for each.

use graven_event::{Facts, facts::Command};

/// A control, with what is collected for it.
#[derive(Debug)]
pub(super) struct Control {
    /// What auditors call it.
    pub(super) id: &'static str,
    /// Whose it is.
    pub(super) framework: &'static str,
    /// What it asks for.
    pub(super) title: &'static str,
    collects: &'static [Kind],
}

/// A kind of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Defining and rotating scopes.
    Scopes,
    /// Asking, approving, denying, renewing.
    Granting,
    /// Narrowing and revoking, of grants and tokens.
    Removing,
    /// Appointing and dismissing administrators; the first entry, which names the first ones.
    Administrators,
    /// Reviews of grants.
    Reviews,
    /// Decisions, allowed and denied.
    Decisions,
    /// Alerts, and the rules that raise them.
    Alerts,
    /// What is missing of producers' numbers, what came after all, and what was no event.
    Gaps,
    /// Events.
    Events,
    /// Erasures, retention, holds and what was dropped.
    Keeping,
}

use Kind::{Administrators, Alerts, Decisions, Events, Gaps, Granting, Keeping, Removing, Reviews, Scopes};

const EVERYTHING: &[Kind] =
    &[Scopes, Granting, Removing, Administrators, Reviews, Decisions, Alerts, Gaps, Events, Keeping];

/// All of them.
pub(super) const CONTROLS: &[Control] = &[
    Control {
        id: "CC6.1",
        framework: "SOC 2",
        title: "Logical access security",
        collects: &[Scopes, Granting, Removing, Administrators, Decisions],
    },
    Control {
        id: "CC6.2",
        framework: "SOC 2",
        title: "Authorisation before access is granted, and removal when it is no longer authorised",
        collects: &[Granting, Removing, Administrators],
    },
    Control {
        id: "CC6.3",
        framework: "SOC 2",
        title: "Changes and removal of access by role and least privilege, with reviews",
        collects: &[Scopes, Granting, Removing, Administrators, Reviews],
    },
    Control { id: "CC7.2", framework: "SOC 2", title: "Monitoring for anomalies", collects: &[Alerts, Gaps] },
    Control {
        id: "CC7.3",
        framework: "SOC 2",
        title: "Evaluation of security events",
        collects: &[Alerts, Gaps, Decisions],
    },
    Control {
        id: "164.308(a)(4)",
        framework: "HIPAA",
        title: "Information access management",
        collects: &[Scopes, Granting, Removing, Administrators, Reviews],
    },
    Control {
        id: "164.312(a)(1)",
        framework: "HIPAA",
        title: "Access control",
        collects: &[Scopes, Granting, Removing, Administrators, Decisions],
    },
    Control { id: "164.312(b)", framework: "HIPAA", title: "Audit controls", collects: EVERYTHING },
    Control {
        id: "A.5.15",
        framework: "ISO/IEC 27001:2022",
        title: "Access control",
        collects: &[Scopes, Administrators, Decisions],
    },
    Control {
        id: "A.5.18",
        framework: "ISO/IEC 27001:2022",
        title: "Access rights: provided, reviewed, changed and removed",
        collects: &[Granting, Removing, Administrators, Reviews],
    },
    Control { id: "A.8.15", framework: "ISO/IEC 27001:2022", title: "Logging", collects: EVERYTHING },
    Control {
        id: "A.8.16",
        framework: "ISO/IEC 27001:2022",
        title: "Monitoring activities",
        collects: &[Alerts, Gaps],
    },
    Control {
        id: "7.2.4",
        framework: "PCI DSS 4.0",
        title: "Review of access at least every six months",
        collects: &[Reviews, Removing],
    },
    Control { id: "10.2", framework: "PCI DSS 4.0", title: "Audit logs", collects: EVERYTHING },
    Control {
        id: "Art. 5(1)(e)",
        framework: "GDPR",
        title: "Storage limitation and erasure",
        collects: &[Keeping],
    },
];

impl Control {
    /// The one of this name.
    pub(super) fn named(id: &str) -> Option<&'static Self> {
        CONTROLS.iter().find(|control| control.id.eq_ignore_ascii_case(id))
    }

    /// Whether an entry is evidence for it.
    pub(super) fn collects(&self, facts: &Facts) -> bool {
        kind_of(facts).is_some_and(|kind| self.collects.contains(&kind))
    }
}

fn kind_of(facts: &Facts) -> Option<Kind> {
    const DEFINE: u8 = Command::DefineScope as u8;
    const ROTATE: u8 = Command::RotateScope as u8;
    const REQUEST: u8 = Command::RequestGrant as u8;
    const APPROVE: u8 = Command::ApproveGrant as u8;
    const DENY: u8 = Command::DenyGrant as u8;
    const RENEW: u8 = Command::RenewGrant as u8;
    const NARROW: u8 = Command::NarrowGrant as u8;
    const REVOKE: u8 = Command::RevokeGrant as u8;
    const REVOKE_TOKEN: u8 = Command::RevokeToken as u8;
    const OPEN: u8 = Command::OpenReview as u8;
    const ATTEST: u8 = Command::AttestItem as u8;
    const CLOSE: u8 = Command::CloseReview as u8;
    const APPOINT: u8 = Command::AppointAdministrator as u8;
    const DISMISS: u8 = Command::DismissAdministrator as u8;
    Some(match facts {
        Facts::Genesis(_) => Administrators,
        Facts::Scope(command) => match command.command {
            DEFINE | ROTATE => Scopes,
            REQUEST | APPROVE | DENY | RENEW => Granting,
            NARROW | REVOKE | REVOKE_TOKEN => Removing,
            OPEN | ATTEST | CLOSE => Reviews,
            APPOINT | DISMISS => Administrators,
            _ => return None,
        },
        Facts::Decision(_) => Decisions,
        Facts::Alert(_) | Facts::Rule(_) => Alerts,
        Facts::Gap(_) | Facts::Filled(_) | Facts::Rejected(_) => Gaps,
        Facts::Event(_) => Events,
        Facts::Erasure(_) | Facts::Retention(_) | Facts::Hold(_) | Facts::Release(_) | Facts::Expiry(_) => {
            Keeping
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_named_once_and_collect_something() {
        for (at, control) in CONTROLS.iter().enumerate() {
            assert!(!control.collects.is_empty(), "{}", control.id);
            assert!(CONTROLS[at + 1..].iter().all(|other| other.id != control.id), "{}", control.id);
        }
        assert_eq!(Control::named("cc6.1").unwrap().id, "CC6.1");
        assert!(Control::named("CC6").is_none());
    }
}
