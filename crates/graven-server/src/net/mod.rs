//! Connections: accepting, TLS, HTTP/1.1 and HTTP/2 on one port, and an end to each.
//!
//! What a peer can hold here is bounded, whoever it is: the number of connections, the time for a TLS handshake, for the
//! first request and for the head of each request, the bytes of a head, streams and resets of a connection, and how long
//! a connection may do nothing. Plaintext goes to the loopback interface only.

mod connection;
mod tls;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub(crate) use connection::Limits;
pub use tls::{ClientAuth, Tls, TlsError};

/// How long to wait after the system refused a connection, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port and what is served there.
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Tls>,
    pub(crate) router: Router,
    pub(crate) limits: Arc<Limits>,
}

impl Port {
    /// Serves until `until` is over; then lets calls finish for `drain_timeout`, and cuts off what is left.
    pub(crate) async fn serve(self, until: impl Future<Output = ()>, drain_timeout: Duration) {
        let slots = Arc::new(Semaphore::new(self.limits.max_connections));
        let (drain, draining) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut until = std::pin::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.admit(stream, &slots, &draining, &mut connections),
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
        draining: &watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) {
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            // Closed at once: a client that is told no goes elsewhere, one that waits does not.
            metrics::counter!("graven_connections_refused_total", "reason" => "limit").increment(1);
            return;
        };
        let (tls, router) = (self.tls.clone(), self.router.clone());
        let (limits, draining) = (self.limits.clone(), draining.clone());
        connections.spawn(async move {
            let open = metrics::gauge!("graven_connections");
            open.increment(1);
            connection::serve(stream, tls.as_ref(), router, &limits, draining).await;
            open.decrement(1);
            drop(slot);
        });
    }
}

async fn refused_by_system(error: &io::Error) {
    // One peer's broken connection is no reason to stop listening to the others.
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::warn!(%error, "a connection cannot be accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
