//! What all services share, and the first steps of every call: which log, and may the caller.

use std::sync::Arc;
use std::time::Duration;

use graven_audit::{ACCESS_LOG, Audit};
use graven_log::{Engine, Kind, Log, LogName};
use graven_net::Bodies;
use graven_proto::Refusal;
use graven_proto::v1::ErrorReason;
use tokio::sync::watch;
use tonic::{Request, Status};

use crate::access::{Access, Ask, Caller, Denied, Permission};
use crate::audit::watch::Watch;
use crate::large::LargeAnswers;
use crate::lookup::LeafLookup;
use crate::options::ServerOptions;
use crate::rpc::{self, Understood};

/// What the services of one server share.
pub(crate) struct Core {
    pub(crate) engine: Arc<Engine>,
    pub(crate) lookup: Option<Arc<dyn LeafLookup>>,
    pub(crate) idempotency_window: Duration,
    /// Turns true once the server is to stop: streams that would never end by themselves end then.
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) access: Arc<dyn Access>,
    /// The logs of events, where there can be any.
    pub(crate) audit: Option<Arc<Audit>>,
    pub(crate) watch: Watch,
    pub(crate) max_connections: usize,
    pub(crate) large: LargeAnswers,
    /// Requests of OAuth clients, on their way and under way.
    pub(crate) forms: Bodies,
    pub(crate) request_timeout: Duration,
}

impl Core {
    pub(crate) fn new(engine: Arc<Engine>, options: &ServerOptions, draining: watch::Receiver<bool>) -> Self {
        Self {
            engine,
            lookup: options.lookup.clone(),
            idempotency_window: options.idempotency_window,
            draining,
            access: options.access.clone(),
            audit: options.audit.clone(),
            watch: Watch::new(options.audit.clone()),
            max_connections: options.max_connections,
            large: LargeAnswers::new(),
            forms: Bodies::default(),
            request_timeout: options.request_timeout,
        }
    }

    /// The log that a request names, if its caller may do this to it. An empty name means the only log.
    pub(crate) fn open_log<T>(
        &self,
        request: &Request<T>,
        name: &str,
        permission: Permission,
    ) -> Result<Arc<Log>, Status> {
        let name = if name.is_empty() { self.only_log()? } else { log_name(name, "log")? };
        self.named_log(request, &name, permission)
    }

    /// As [`open_log`](Self::open_log), by a name that was checked.
    pub(crate) fn named_log<T>(
        &self,
        request: &Request<T>,
        name: &LogName,
        permission: Permission,
    ) -> Result<Arc<Log>, Status> {
        rpc::note_log(name);
        self.authorize(request, Some(name), permission)?;
        self.engine.log(name.as_str()).ok_or_else(|| {
            Refusal::new(ErrorReason::LogNotFound, format!("no log `{name}`: ListLogs lists those there are"))
                .with_field("log")
                .into()
        })
    }

    /// Whether the caller may do this.
    pub(crate) fn authorize<T>(
        &self,
        request: &Request<T>,
        log: Option<&LogName>,
        permission: Permission,
    ) -> Result<(), Status> {
        if let Some(understood) = request.extensions().get::<Understood>() {
            understood.note();
        }
        self.permit(request, log, permission).map_err(|denied| denied.refusal().into())
    }

    /// Whether the caller may do this, where nothing is refused if not.
    pub(crate) fn permits<T>(
        &self,
        request: &Request<T>,
        log: Option<&LogName>,
        permission: Permission,
    ) -> bool {
        self.permit(request, log, permission).is_ok()
    }

    fn permit<T>(
        &self,
        request: &Request<T>,
        log: Option<&LogName>,
        permission: Permission,
    ) -> Result<(), Denied> {
        let asked = Ask { log, permission: needed(log, permission) };
        let caller = request.extensions().get::<Caller>();
        // Nobody looked who it is: then it is nobody.
        self.access.permit(caller.unwrap_or(&Caller::anonymous()), &asked)
    }

    /// The access log is nobody's only log: it is named, or not meant.
    fn only_log(&self) -> Result<LogName, Refusal> {
        let mut logs = self.engine.logs();
        logs.retain(|log| log.meta().kind != Kind::Access);
        match logs.as_slice() {
            [log] => Ok(log.meta().name.clone()),
            logs => {
                let message = format!("this server has {} logs: name one", logs.len());
                Err(Refusal::new(ErrorReason::LogNameRequired, message).with_field("log"))
            }
        }
    }
}

/// Who read what is read with a permission of its own: who may read everything else need not know who else does.
pub(crate) fn needed(log: Option<&LogName>, permission: Permission) -> Permission {
    let is_access = log.is_some_and(|log| log.as_str() == ACCESS_LOG);
    match permission {
        Permission::Read | Permission::Query | Permission::Reveal if is_access => Permission::Audit,
        other => other,
    }
}

/// A log's name out of `field`.
pub(crate) fn log_name(name: &str, field: &str) -> Result<LogName, Refusal> {
    if name.is_empty() {
        return Err(Refusal::new(ErrorReason::LogNameRequired, "name the log").with_field(field));
    }
    LogName::new(name)
        .map_err(|error| Refusal::new(ErrorReason::LogNameInvalid, error.to_string()).with_field(field))
}

/// Runs what reads files, away from the threads that serve connections.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    // It is over without an answer only when it panicked, or the runtime is going down.
    done.unwrap_or_else(|_| Err(Status::internal("the server failed to answer; its own log says why")))
}
