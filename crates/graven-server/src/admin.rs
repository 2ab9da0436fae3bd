//! `AdminService`: making, listing and freezing logs.

use std::sync::Arc;

use graven_audit::{ACCESS_LOG, Audit, Deed, OpenError};
use graven_log::{Kind, Log, LogName, Visibility};
use graven_proto::Refusal;
use graven_proto::limits::MAX_PAGE_LOGS;
use graven_proto::v1::admin_service_server::AdminService;
use graven_proto::v1::{self, ErrorReason};
use tonic::{Request, Response, Status};

use crate::access::Permission;
use crate::audit::{refuse, who};
use crate::core::{Core, blocking, log_name};
use crate::log::wait;
use crate::message::log_info;
use crate::{refusal, rpc};

/// The service.
pub(crate) struct AdminApi {
    core: Arc<Core>,
}

impl AdminApi {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl AdminApi {
    /// Every call here is in the access log before it does or tells anything.
    async fn note<T>(&self, request: &Request<T>, call: &str, log: &str) -> Result<(), Status> {
        let Some(audit) = &self.core.audit else { return Ok(()) };
        let deed = Deed::new("graven.admin", log).with("call", call);
        let noted = audit.note(&who(request), deed).await;
        noted.map(drop).map_err(|error| refuse(&error, &self.core).into())
    }

    /// Before the first log of events there are a key store and the log of who reads them, which has this very call.
    async fn prepared(&self, name: &LogName) -> Result<Arc<Audit>, Status> {
        let unsupported =
            |text: &str| Status::from(Refusal::new(ErrorReason::LogKindUnsupported, text).with_field("kind"));
        let Some(audit) = self.core.audit.clone() else {
            return Err(unsupported("this server makes no logs of events"));
        };
        if name.as_str() == ACCESS_LOG
            || self.core.engine.log(ACCESS_LOG).is_some_and(|log| log.meta().kind != Kind::Access)
        {
            return Err(unsupported(
                "beside logs of events, `access` is the log of who read them, and cannot be another",
            ));
        }
        if self.core.engine.log(name.as_str()).is_none() {
            audit.prepare().await.map_err(|error| unmade(&error))?;
        }
        Ok(audit)
    }
}

fn unmade(error: &OpenError) -> Refusal {
    if let OpenError::Create(error) = error {
        return refusal::create(error);
    }
    tracing::error!(%error, "a log of events was not made ready");
    Refusal::new(
        ErrorReason::StoragePoisoned,
        "the key store or the log cannot be made ready: its own log says why",
    )
}

#[tonic::async_trait]
impl AdminService for AdminApi {
    async fn create_log(
        &self,
        request: Request<v1::CreateLogRequest>,
    ) -> Result<Response<v1::CreateLogResponse>, Status> {
        let name = log_name(&request.get_ref().name, "name")?;
        rpc::note_log(&name);
        self.core.authorize(&request, Some(&name), Permission::Admin)?;
        let kind = kind(request.get_ref().kind)?;
        let visibility = visibility(request.get_ref().visibility)?;
        let events = if kind == Kind::Events { Some(self.prepared(&name).await?) } else { None };
        self.note(&request, "CreateLog", name.as_str()).await?;
        let core = self.core.clone();
        let log = match events {
            Some(audit) => audit.create_log(name, visibility).await.map_err(|error| unmade(&error))?,
            None => {
                blocking(move || {
                    let made = core.engine.create_log(&name, kind, visibility);
                    made.map_err(|error| refusal::create(&error).into())
                })
                .await?
            }
        };
        tracing::info!(log = %log.meta().name, "log created");
        Ok(Response::new(v1::CreateLogResponse { log: Some(log_info(&log)) }))
    }

    async fn list_logs(
        &self,
        request: Request<v1::ListLogsRequest>,
    ) -> Result<Response<v1::ListLogsResponse>, Status> {
        self.core.authorize(&request, None, Permission::Admin)?;
        self.note(&request, "ListLogs", "*").await?;
        let asked = request.into_inner();
        // The token is the last name of the page before: a log that is made meanwhile moves nothing.
        let after = page_token(&asked.page_token)?;
        let most = match asked.page_size {
            0 => MAX_PAGE_LOGS,
            size => size.min(MAX_PAGE_LOGS),
        };
        let logs = self.core.engine.logs();
        let mut rest = logs.iter().filter(|log| after.as_ref().is_none_or(|after| log.meta().name > *after));
        let page: Vec<_> = rest.by_ref().take(usize::try_from(most).unwrap_or(usize::MAX)).collect();
        let is_last = rest.next().is_none();
        let next = page.last().filter(|_| !is_last).map(|log| log.meta().name.to_string());
        Ok(Response::new(v1::ListLogsResponse {
            logs: page.into_iter().map(|log| log_info(log)).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn get_log(
        &self,
        request: Request<v1::GetLogRequest>,
    ) -> Result<Response<v1::GetLogResponse>, Status> {
        let log = self.core.open_log(&request, &request.get_ref().log, Permission::Admin)?;
        self.note(&request, "GetLog", log.meta().name.as_str()).await?;
        Ok(Response::new(v1::GetLogResponse { log: Some(log_info(&log)) }))
    }

    async fn freeze_log(
        &self,
        request: Request<v1::FreezeLogRequest>,
    ) -> Result<Response<v1::FreezeLogResponse>, Status> {
        // Never the only log by an empty name: freezing cannot be undone.
        let name = log_name(&request.get_ref().log, "log")?;
        let log = self.core.named_log(&request, &name, Permission::Admin)?;
        self.note(&request, "FreezeLog", name.as_str()).await?;
        // Whatever is read and done is an entry there first: nothing would be, ever again.
        if log.meta().kind == Kind::Access {
            let text = "who reads and administers what is written down for as long as anybody does: its log has no end";
            return Err(Refusal::new(ErrorReason::LogKindMismatch, text).with_field("log").into());
        }
        let deadline = wait::deadline(request.metadata());
        let (core, frozen) = (self.core.clone(), log.clone());
        blocking(move || {
            core.engine.freeze(&frozen).map_err(|_| poisoned(&core)).map(|()| {
                tracing::info!(log = %frozen.meta().name, "log frozen");
            })
        })
        .await?;
        let published = self.core.engine.published(&log, log.durable_size());
        match tokio::time::timeout_at(deadline, published).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(refusal::append(&error, self.core.idempotency_window).into()),
            Err(_) => return Err(unpublished(&log).into()),
        }
        Ok(Response::new(v1::FreezeLogResponse { log: Some(log_info(&log)) }))
    }

    async fn rotate_keys(
        &self,
        request: Request<v1::RotateKeysRequest>,
    ) -> Result<Response<v1::RotateKeysResponse>, Status> {
        let name = log_name(&request.get_ref().log, "log")?;
        let log = self.core.named_log(&request, &name, Permission::Admin)?;
        self.note(&request, "RotateKeys", name.as_str()).await?;
        let statement = request.into_inner().statement;
        let (core, rotated) = (self.core.clone(), log.clone());
        let text = blocking(move || {
            let begun = core.engine.begin_rotation(&rotated, &statement);
            begun.map_err(|error| refusal::rotate(&error, &core).into())
        })
        .await?;
        let announced = self.core.engine.announce_rotation(&log).await;
        announced.map_err(|error| refusal::append(&error, self.core.idempotency_window))?;
        let rotation = log.durable_rotations().into_iter().find(|(_, rotation)| *rotation.text() == text);
        let (index, _) = rotation.ok_or_else(|| poisoned(&self.core))?;
        Ok(Response::new(v1::RotateKeysResponse { index: index.get(), last_size: text.last_size().get() }))
    }
}

/// It is frozen all the same: nothing takes that back.
fn unpublished(log: &Log) -> Refusal {
    let (published, durable) = (log.head().size().get(), log.durable_size());
    let awaits = if log.witness_policy().is_some() { ", and its witnesses are awaited" } else { "" };
    let message = format!(
        "the log is frozen for good, but of its {durable} entries {published} are published{awaits}: ask for its head later"
    );
    Refusal::new(ErrorReason::WaitTimedOut, message).with_fact("size", durable)
}

fn poisoned(core: &Core) -> Status {
    refusal::append(&graven_log::AppendError::Poisoned, core.idempotency_window).into()
}

fn kind(value: i32) -> Result<Kind, Refusal> {
    let refuse = |reason, message: &str| Err(Refusal::new(reason, message).with_field("kind"));
    match v1::LogKind::try_from(value) {
        Ok(v1::LogKind::Bytes) => Ok(Kind::Bytes),
        Ok(v1::LogKind::Events) => Ok(Kind::Events),
        Ok(v1::LogKind::Access) => {
            refuse(ErrorReason::LogKindReserved, "the access log is made by the server alone")
        }
        Ok(v1::LogKind::Unspecified) => {
            refuse(ErrorReason::FieldRequired, "say the log's kind: it cannot be changed later")
        }
        Err(_) => refuse(ErrorReason::EnumValueUnknown, "this server does not know this kind of log"),
    }
}

fn visibility(value: i32) -> Result<Visibility, Refusal> {
    match v1::Visibility::try_from(value) {
        Ok(v1::Visibility::Unspecified | v1::Visibility::Private) => Ok(Visibility::Private),
        Ok(v1::Visibility::Public) => Ok(Visibility::Public),
        Err(_) => {
            Err(Refusal::new(ErrorReason::EnumValueUnknown, "this server does not know this visibility")
                .with_field("visibility"))
        }
    }
}

fn page_token(token: &str) -> Result<Option<LogName>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    LogName::new(token).map(Some).map_err(|_| {
        Refusal::new(
            ErrorReason::PageTokenInvalid,
            "the page token was not made by ListLogs: start without one",
        )
        .with_field("page_token")
    })
}
