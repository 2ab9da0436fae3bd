//! `DefineRule`, `RetireRule` and `ListRules`.

use bytes::Bytes;
use graven_audit::Deed;
use graven_audit::alerts::{KnownRule, NewRule};
use graven_event::alerts::MAX_SEVERITY;
use graven_proto::Refusal;
use graven_proto::v1::{self, Severity};
use tonic::{Request, Status};

use crate::access::Permission;
use crate::audit::{Admitted, missing, principal, refuse, who};
use crate::core::Core;
use crate::scopes::{admit, fields};

/// `DefineRule`.
pub(super) async fn define(
    core: &Core,
    request: Request<v1::DefineRuleRequest>,
) -> Result<v1::DefineRuleResponse, Status> {
    let Admitted { audit, book } = admit(core, &request, &request.get_ref().log, Permission::Admin)?;
    let who = who(&request);
    let rule = request.into_inner().rule.ok_or_else(|| missing("rule"))?;
    let rule = new(&rule)?;
    let deed = Deed::new("graven.rule.define", book.log().meta().name.as_str())
        .with("rule", rule.name)
        .with("language", rule.language)
        .with("severity", rule.severity);
    audit.note(&who, deed).await.map_err(|error| refuse(&error, core))?;
    let defined = audit.define_rule(&book, &principal(&who), rule).await;
    let (index, hash) = defined.map_err(|error| refuse(&error, core))?;
    Ok(v1::DefineRuleResponse { index, hash: Bytes::copy_from_slice(&hash) })
}

/// `RetireRule`.
pub(super) async fn retire(
    core: &Core,
    request: Request<v1::RetireRuleRequest>,
) -> Result<v1::RetireRuleResponse, Status> {
    let Admitted { audit, book } = admit(core, &request, &request.get_ref().log, Permission::Admin)?;
    let (who, asked) = (who(&request), request.into_inner());
    let name = fields::name(&asked.name, "name")?;
    let deed = Deed::new("graven.rule.retire", book.log().meta().name.as_str()).with("rule", &name);
    audit.note(&who, deed).await.map_err(|error| refuse(&error, core))?;
    let retired = audit.retire_rule(&book, &principal(&who), &name).await;
    Ok(v1::RetireRuleResponse { index: retired.map_err(|error| refuse(&error, core))? })
}

/// `ListRules`.
pub(super) async fn list(
    core: &Core,
    request: &Request<v1::ListRulesRequest>,
) -> Result<v1::ListRulesResponse, Status> {
    let Admitted { audit, book } = admit(core, request, &request.get_ref().log, Permission::Query)?;
    let rules = audit.rules(&book).await.map_err(|error| refuse(&error, core))?;
    let deed = Deed::new("graven.rule.list", book.log().meta().name.as_str()).with("hits", rules.len());
    audit.note(&who(request), deed).await.map_err(|error| refuse(&error, core))?;
    Ok(v1::ListRulesResponse { rules: rules.into_iter().map(known).collect() })
}

/// The rule of a request; what it says is looked at elsewhere.
pub(super) fn new(rule: &v1::Rule) -> Result<NewRule<'_>, Refusal> {
    if rule.language.is_empty() {
        return Err(missing("rule.language"));
    }
    Ok(NewRule {
        name: if rule.name.is_empty() { return Err(missing("rule.name")) } else { &rule.name },
        language: &rule.language,
        severity: severity(rule.severity, "rule.severity")?,
        source: &rule.source,
    })
}

/// As leaves have it; 0: not said.
pub(super) fn severity(severity: i32, field: &str) -> Result<u8, Refusal> {
    let known = Severity::try_from(severity).ok().and_then(|severity| u8::try_from(severity as i32).ok());
    known.filter(|severity| *severity <= MAX_SEVERITY).ok_or_else(|| fields::unknown(field))
}

fn known(rule: KnownRule) -> v1::Rule {
    v1::Rule {
        name: rule.name,
        language: rule.language,
        severity: rule.severity.into(),
        source: rule.source,
        hash: Bytes::copy_from_slice(&rule.hash),
        index: rule.since.unwrap_or(0),
        active: rule.since.is_some(),
    }
}
