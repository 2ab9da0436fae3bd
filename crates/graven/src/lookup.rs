//! The server's look into the index by leaf hash.

use std::sync::Arc;

use graven_index::{FindError, Following, LeafIndexFollower};
use graven_log::{Engine, Env, Paths};
use graven_merkle::{Hash, TreeSize};
use graven_server::{LeafLookup, LookupError, Sought};

struct Lookup {
    engine: Arc<Engine>,
    follower: Arc<LeafIndexFollower>,
}

/// Opens the index and follows the logs. Without it the server goes on: everything in it can be made again.
pub(crate) fn start(
    env: &Env,
    paths: &Paths,
    engine: &Arc<Engine>,
) -> Option<(Arc<dyn LeafLookup>, Following)> {
    let opened = LeafIndexFollower::open(engine.clone(), env.fs.clone(), &paths.index());
    let started = opened.and_then(|follower| Ok((follower.start()?, follower)));
    match started {
        Ok((following, follower)) => Some((Arc::new(Lookup { engine: engine.clone(), follower }), following)),
        Err(error) => {
            tracing::warn!(%error, "no index by leaf hash: entries are found by their index only");
            None
        }
    }
}

impl LeafLookup for Lookup {
    fn find(&self, log: &str, leaf: &Hash) -> Result<Sought, LookupError> {
        let log = self.engine.log(log).ok_or_else(|| LookupError(format!("there is no log {log}")))?;
        // Before the search: what is published meanwhile was not looked through.
        let size = log.head().size();
        match self.follower.find(&log, leaf) {
            Ok(index) => Ok(Sought { index, covered: size }),
            Err(FindError::Lagging { position, .. }) => {
                Ok(Sought { index: None, covered: TreeSize::new(position).unwrap_or(TreeSize::ZERO) })
            }
            Err(FindError::Log(error)) => Err(LookupError(error.to_string())),
        }
    }

    fn covered(&self, log: &str) -> Option<TreeSize> {
        let log = self.engine.log(log)?;
        TreeSize::new(self.follower.position(&log))
    }
}
