//! A server's logs, as the server reports them.
//!
//! Nothing here is verified: there is nothing to verify it by. The heads and keys in it are for display; take
//! keys from a log's operator, and heads from a [`LogClient`](crate::LogClient).

use std::time::SystemTime;

use graven_proto::v1::{self, LogKind, LogState, Visibility};

use crate::{CallError, call::call_admin, connect::Pool};

/// A bound on the pages of a list, so that a server cannot keep a client busy for ever.
const MAX_PAGES: u32 = 10_000;

/// Makes, lists and freezes logs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AdminClient {
    pool: Pool,
}

/// A log as its server describes it, not verified.
#[derive(Clone, Debug)]
pub struct ReportedLog {
    /// Its name in this server.
    pub name: String,
    /// Its origin, unique in the world.
    pub origin: String,
    /// What its entries are.
    pub kind: LogKind,
    /// Who may read its tiles.
    pub visibility: Visibility,
    /// Whether it takes entries.
    pub state: LogState,
    /// The keys that the server says it signs with: compare them with the operator's, never trust them.
    pub vkeys: Vec<String>,
    /// When it was made.
    pub created: Option<SystemTime>,
    /// How many entries are durable.
    pub durable_size: u64,
    /// Its newest tree head.
    pub head: Option<ReportedHead>,
}

/// A tree head as its server describes it, not verified.
#[derive(Clone, Debug)]
pub struct ReportedHead {
    /// How many entries are published.
    pub size: u64,
    /// When it was last signed.
    pub time: Option<SystemTime>,
    /// The checkpoint note, which [`Trust::verify_head`](crate::Trust::verify_head) can verify.
    pub checkpoint: Vec<u8>,
}

impl AdminClient {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Makes an empty log.
    ///
    /// # Errors
    /// The server refuses or cannot be reached. The call is sent once: if its outcome is unknown, look with
    /// [`get`](Self::get).
    pub async fn create_log(
        &self,
        name: &str,
        kind: LogKind,
        visibility: Visibility,
    ) -> Result<ReportedLog, CallError> {
        let request =
            v1::CreateLogRequest { name: name.to_owned(), kind: kind.into(), visibility: visibility.into() };
        let never = &crate::RetryPolicy::NEVER;
        let answer = call_admin(&self.pool, never, &request, |mut admin, request| async move {
            admin.create_log(request).await
        });
        reported(answer.await?.log)
    }

    /// All logs of the server, by name.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub async fn list(&self) -> Result<Vec<ReportedLog>, CallError> {
        let (mut logs, mut page_token) = (Vec::new(), String::new());
        for _ in 0..MAX_PAGES {
            let request = v1::ListLogsRequest { page_size: 0, page_token };
            let answer =
                call_admin(&self.pool, self.pool.retries(), &request, |mut admin, request| async move {
                    admin.list_logs(request).await
                })
                .await?;
            logs.extend(answer.logs.into_iter().map(ReportedLog::from));
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                return Ok(logs);
            }
        }
        Err(malformed("its list of logs does not end"))
    }

    /// One log; an empty name means the server's only one.
    ///
    /// # Errors
    /// The server refuses or cannot be reached.
    pub async fn get(&self, name: &str) -> Result<ReportedLog, CallError> {
        let request = v1::GetLogRequest { log: name.to_owned() };
        let answer = call_admin(&self.pool, self.pool.retries(), &request, |mut admin, request| async move {
            admin.get_log(request).await
        });
        reported(answer.await?.log)
    }

    /// Ends a log: it takes no more entries, for ever.
    ///
    /// # Errors
    /// The server refuses or cannot be reached. Freezing twice is no error, so the call may be repeated.
    pub async fn freeze(&self, name: &str) -> Result<ReportedLog, CallError> {
        let request = v1::FreezeLogRequest { log: name.to_owned() };
        let answer = call_admin(&self.pool, self.pool.retries(), &request, |mut admin, request| async move {
            admin.freeze_log(request).await
        });
        reported(answer.await?.log)
    }
}

impl AdminClient {
    /// Hands the log over to new keys, as a statement says that its recovery key authorised (see
    /// [`graven_note::rotation`]). Returns the index of the entry that announces them, durable, and the largest tree that
    /// the old keys sign.
    ///
    /// # Errors
    /// The server refuses or cannot be reached. The call may be repeated with the same statement.
    pub async fn rotate_keys(&self, log: &str, statement: &[u8]) -> Result<(u64, u64), CallError> {
        let statement = bytes::Bytes::copy_from_slice(statement);
        let request = v1::RotateKeysRequest { log: log.to_owned(), statement };
        let answer = call_admin(&self.pool, self.pool.retries(), &request, |mut admin, request| async move {
            admin.rotate_keys(request).await
        })
        .await?;
        Ok((answer.index, answer.last_size))
    }
}

impl From<v1::LogInfo> for ReportedLog {
    fn from(log: v1::LogInfo) -> Self {
        let (kind, visibility, state) = (log.kind(), log.visibility(), log.state());
        let head = log.head.map(|head| ReportedHead {
            size: head.size,
            time: head.time.and_then(|time| time.try_into().ok()),
            checkpoint: head.checkpoint.into(),
        });
        Self {
            name: log.name,
            origin: log.origin,
            kind,
            visibility,
            state,
            vkeys: log.vkeys,
            created: log.created.and_then(|time| time.try_into().ok()),
            durable_size: log.durable_size,
            head,
        }
    }
}

fn reported(log: Option<v1::LogInfo>) -> Result<ReportedLog, CallError> {
    log.map(ReportedLog::from).ok_or_else(|| malformed("it describes no log"))
}

fn malformed(what: &str) -> CallError {
    CallError::new(tonic::Status::internal(format!("the server's answer is malformed: {what}")), 1)
}
