//! `EraseSubject`, retention classes and holds. Each is in the access log before it is done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use graven_audit::{AuditError, Deed};
use graven_event::Ref;
use graven_log::Kind;
use graven_proto::Refusal;
use graven_proto::v1::{self, ErrorReason};
use tonic::{Request, Status};
use tracing::Instrument as _;

use super::record::missing;
use super::{Admitted, admit, principal, refuse, who};
use crate::access::Permission;
use crate::core::Core;

/// `EraseSubject`.
pub(super) async fn erase(
    core: &Core,
    request: Request<v1::EraseSubjectRequest>,
) -> Result<v1::EraseSubjectResponse, Status> {
    let (call, asked) = begin(core, request, Permission::Erase, |asked| &asked.log)?;
    if asked.subject.is_empty() {
        return Err(missing("subject").into());
    }
    let deed = Deed::new("graven.erase", call.log()).with("authority", &asked.authority);
    // Whom, by what stands for them in the log too: never the name.
    let deed = match call.book.named(&asked.subject) {
        Some(reference) => deed.with("subject", reference),
        None => deed,
    };
    call.note(core, deed).await?;
    // On its own task: between the entry that says so and the end of the key nobody goes away.
    let erasing =
        async move { call.audit.erase(&call.book, &call.caller, &asked.subject, &asked.authority).await };
    let erasing = tokio::spawn(erasing.in_current_span());
    let erased = erasing.await.unwrap_or(Err(AuditError::Stopping)).map_err(|error| refuse(&error, core))?;
    Ok(v1::EraseSubjectResponse {
        index: erased.index,
        reference: Bytes::copy_from_slice(&erased.reference.0),
        epoch: erased.epoch,
    })
}

/// `DefineRetention`.
pub(super) async fn define(
    core: &Core,
    request: Request<v1::DefineRetentionRequest>,
) -> Result<v1::DefineRetentionResponse, Status> {
    let (call, asked) = begin(core, request, Permission::Admin, |asked| &asked.log)?;
    let keep = match asked.keep {
        None => None,
        Some(keep) => {
            let whole = (keep.nanos == 0).then_some(keep.seconds);
            let seconds =
                whole.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
            let text = "payloads are kept for whole seconds, one at least, or for ever";
            let refusal = || Refusal::new(ErrorReason::RetentionInvalid, text).with_field("keep");
            Some(Duration::from_secs(seconds.ok_or_else(refusal)?))
        }
    };
    let seconds = keep.map_or("for ever".to_owned(), |keep| keep.as_secs().to_string());
    let deed = Deed::new("graven.retention", call.log()).with("class", &asked.name).with("seconds", seconds);
    call.note(core, deed).await?;
    let index = call.audit.define_retention(&call.book, &call.caller, &asked.name, keep).await;
    Ok(v1::DefineRetentionResponse { index: index.map_err(|error| refuse(&error, core))? })
}

/// `PlaceHold`.
pub(super) async fn hold(
    core: &Core,
    request: Request<v1::PlaceHoldRequest>,
) -> Result<v1::PlaceHoldResponse, Status> {
    let (call, asked) = begin(core, request, Permission::Admin, |asked| &asked.log)?;
    let deed = Deed::new("graven.hold.place", call.log())
        .with("authority", &asked.authority)
        .with("subjects", asked.subjects.len());
    call.note(core, deed).await?;
    let placed = call
        .audit
        .place_hold(&call.book, &call.caller, &asked.subjects, &asked.classes, &asked.authority)
        .await;
    let (hold, index) = placed.map_err(|error| refuse(&error, core))?;
    Ok(v1::PlaceHoldResponse { hold: hold.to_string(), index })
}

/// `ReleaseHold`.
pub(super) async fn release(
    core: &Core,
    request: Request<v1::ReleaseHoldRequest>,
) -> Result<v1::ReleaseHoldResponse, Status> {
    let (call, asked) = begin(core, request, Permission::Admin, |asked| &asked.log)?;
    let unknown = || {
        Refusal::new(ErrorReason::HoldUnknown, "no hold of this number stands: ListRetention has them")
            .with_field("hold")
    };
    let hold = hold_number(&asked.hold).ok_or_else(unknown)?;
    if !call.book.is_held_by(hold) {
        return Err(unknown().into());
    }
    let deed =
        Deed::new("graven.hold.release", call.log()).with("hold", hold).with("authority", &asked.authority);
    call.note(core, deed).await?;
    let released = call.audit.release_hold(&call.book, &call.caller, hold, &asked.authority).await;
    Ok(v1::ReleaseHoldResponse { index: released.map_err(|error| refuse(&error, core))? })
}

/// `ListRetention`.
pub(super) async fn list(
    core: &Core,
    request: &Request<v1::ListRetentionRequest>,
) -> Result<v1::ListRetentionResponse, Status> {
    let Admitted { audit, book } = admit(core, request, &request.get_ref().log, Permission::Query)?;
    let rules = audit.durably(&book, |state| state.rules.clone()).await;
    let rules = rules.map_err(|error| refuse(&error, core))?;
    let deed = Deed::new("graven.retention.list", book.log().meta().name.as_str());
    audit.note(&who(request), deed).await.map_err(|error| refuse(&error, core))?;
    let name = |class: u8| rules.class_name(class).unwrap_or_else(|| class.to_string());
    let keep = |seconds: u64| prost_types::Duration {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: 0,
    };
    let classes = rules.classes.iter().map(|(number, class)| v1::RetentionClass {
        name: class.name.clone(),
        keep: class.seconds.map(keep),
        dropped_before: rules.dropped.get(number).copied().unwrap_or(0),
    });
    let holds = rules.holds.iter().map(|(number, (index, hold))| v1::Hold {
        hold: number.to_string(),
        subjects: hold.subjects.len() as u64,
        classes: hold.classes.iter().map(|class| name(*class)).collect(),
        authority: hold.authority.to_string(),
        index: *index,
    });
    Ok(v1::ListRetentionResponse { classes: classes.collect(), holds: holds.collect() })
}

/// A call that decides something.
struct Call {
    audit: Arc<graven_audit::Audit>,
    book: Arc<graven_audit::Book>,
    who: graven_audit::Who,
    caller: String,
}

impl Call {
    fn log(&self) -> &str {
        self.book.log().meta().name.as_str()
    }

    async fn note(&self, core: &Core, deed: Deed) -> Result<(), Status> {
        let noted = self.audit.note(&self.who, deed).await;
        noted.map(drop).map_err(|error| refuse(&error, core).into())
    }
}

fn begin<T>(
    core: &Core,
    request: Request<T>,
    permission: Permission,
    log: impl Fn(&T) -> &str,
) -> Result<(Call, T), Status> {
    let Admitted { audit, book } = admit(core, &request, log(request.get_ref()), permission)?;
    if book.log().meta().kind == Kind::Access {
        let text = "who read what is kept as a whole: nobody is erased from it, and nothing of it dropped";
        return Err(Refusal::new(ErrorReason::LogKindMismatch, text).with_field("log").into());
    }
    let who = who(&request);
    Ok((Call { audit, book, caller: principal(&who), who }, request.into_inner()))
}

fn hold_number(text: &str) -> Option<Ref> {
    // As it was handed out, and in no other way.
    let number = Ref(u128::from_str_radix(text, 16).ok()?.to_be_bytes());
    (number.to_string() == text).then_some(number)
}
