//! The port: who is let in, and how it stops.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::silent::Silent;
use crate::{Limits, Tls, connection};

/// How long to wait after the system refused a connection, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port and what is served there.
pub struct Port {
    /// Where connections come from.
    pub listener: TcpListener,
    /// Encrypts them. Without it, listen on the loopback interface only.
    pub tls: Option<Tls>,
    /// What is served.
    pub router: Router,
    /// What they may cost.
    pub limits: Arc<Limits>,
}

impl Port {
    /// Serves until `until` is over; then lets calls finish for `drain_timeout`, and cuts off what is left.
    pub async fn serve(self, until: impl Future<Output = ()>, drain_timeout: Duration) {
        let slots = Arc::new(Semaphore::new(self.limits.max_connections));
        let (drain, draining) = watch::channel(false);
        let (mut connections, silent) = (JoinSet::new(), Silent::default());
        let mut until = std::pin::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream, &slots, &silent, &draining, &mut connections),
                    Err(error) => refused_by_system(&error).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        // From here on nobody new is let in.
        drop(self.listener);
        drain.send_replace(true);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain_timeout, all).await.is_err() {
            tracing::warn!("some calls have not ended in time: they are cut off");
        }
    }

    fn admit(
        &self,
        stream: TcpStream,
        slots: &Arc<Semaphore>,
        silent: &Silent,
        draining: &watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) {
        let slot = slots.clone().try_acquire_owned().ok();
        if slot.is_none() {
            metrics::counter!("graven_connections_refused_total", "reason" => "limit").increment(1);
            if !silent.dismiss_oldest() {
                // Closed at once: a client that is told no goes elsewhere, one that waits does not.
                return;
            }
        }
        let (tls, router, slots) = (self.tls.clone(), self.router.clone(), slots.clone());
        let (limits, draining) = (self.limits.clone(), draining.clone());
        silent.admit(|newcomer| {
            connections.spawn(async move {
                // The one who was dismissed gives its slot back in a moment.
                let slot = match slot {
                    Some(slot) => Ok(slot),
                    None => slots.acquire_owned().await,
                };
                let _open = Open::count();
                connection::serve(stream, tls.as_ref(), router, &limits, draining, newcomer).await;
                drop(slot);
            })
        });
    }
}

/// Counts a connection for as long as it is open, however it ends.
struct Open;

impl Open {
    fn count() -> Self {
        metrics::gauge!("graven_connections").increment(1);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("graven_connections").decrement(1);
    }
}

async fn refused_by_system(error: &io::Error) {
    // One peer's broken connection is no reason to stop listening to the others.
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::warn!(%error, "a connection cannot be accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
