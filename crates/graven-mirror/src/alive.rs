//! Whether a mirror may still write and sign.

use std::io;

use tokio::sync::watch;

/// Ends with the first failure of storage or of a key: what a later sync would say proves nothing.
#[derive(Debug)]
pub(crate) struct Alive(watch::Sender<Option<String>>);

impl Default for Alive {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Alive {
    pub(crate) fn check(&self) -> io::Result<()> {
        match &*self.0.borrow() {
            None => Ok(()),
            Some(why) => Err(io::Error::other(format!("nothing is written or signed any more: {why}"))),
        }
    }

    pub(crate) fn end(&self, why: &dyn std::error::Error) {
        self.0.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert_with(|| why.to_string());
            is_first
        });
    }

    /// Waits for the end, and says why.
    pub(crate) async fn ended(&self) -> String {
        let mut ending = self.0.subscribe();
        let ended = ending.wait_for(Option::is_some).await;
        ended.ok().and_then(|why| why.clone()).unwrap_or_default()
    }
}
