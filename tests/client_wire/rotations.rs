//! A client follows a log to new keys: only where that is public, and for good.

use std::sync::Arc;

use graven_client::{Client, ConnectOptions, FileHeadStore, HeadError, LogClient, Trust};
use graven_note::{LocalSigner, RotationText, SignatureType, Signer};
use graven_proto::v1;

use crate::fake_log::{FakeLog, ORIGIN, signer};

fn recovery() -> LocalSigner {
    let name = "example.com/recovery".parse().unwrap();
    LocalSigner::generate(name, SignatureType::Ed25519, &[200; 32]).unwrap()
}

/// Hands the log over to the key of `seed`, above the entries that it has, and answers what it tells of that.
fn rotate(log: &FakeLog, seed: u8) -> v1::KeyRotation {
    let mut state = log.state();
    let (old, new) = (signer(state.seed), signer(seed));
    let last_size = u32::try_from(state.entries.len()).unwrap().into();
    let keys = (vec![old.vkey().clone()], vec![new.vkey().clone()]);
    let text = RotationText::new(ORIGIN.parse().unwrap(), last_size, keys.0, keys.1).unwrap();
    let statement = text.authorise(&recovery()).unwrap().signed_by([&new as &dyn Signer]).unwrap();
    let statement = bytes::Bytes::copy_from_slice(statement.as_bytes());
    let told = v1::KeyRotation { index: state.push(statement.clone()), statement };
    state.rotations.push(told.clone());
    state.seed = seed;
    told
}

/// Started anew, with what it kept.
async fn started(address: &str, store: &Arc<FileHeadStore>) -> LogClient {
    let trust = Trust::of_vkeys([FakeLog::vkey()]).unwrap().following(recovery().vkey().clone());
    let client = Client::connect(address, ConnectOptions::default()).await.unwrap();
    client.log("audit", trust).with_head_store(store.clone())
}

#[tokio::test]
async fn what_was_followed_is_kept_whatever_the_server_tells_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileHeadStore::open(folder.path()).unwrap());
    let log = FakeLog::new(10);
    let address = log.serve().await;
    started(&address, &store).await.tree_head().await.unwrap();
    rotate(&log, 3);
    started(&address, &store).await.tree_head().await.unwrap();
    // Of two rotations it tells the second one alone, and then of none.
    rotate(&log, 4);
    log.state().rotations.remove(0);
    started(&address, &store).await.tree_head().await.unwrap();
    log.state().rotations.clear();
    let head = started(&address, &store).await.tree_head().await.unwrap();
    assert_eq!(head.size().get(), 12);
    // Keys that ended sign in vain, the first and the second.
    for ended in [1, 3] {
        log.state().seed = ended;
        let error = started(&address, &store).await.tree_head().await.unwrap_err();
        assert!(matches!(&error, HeadError::Untrusted(_)) && error.to_string().contains("ended"), "{error}");
    }
}

#[tokio::test]
async fn a_rotation_that_is_not_in_the_log_or_of_another_past_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileHeadStore::open(folder.path()).unwrap());
    let log = FakeLog::new(10);
    let address = log.serve().await;
    started(&address, &store).await.tree_head().await.unwrap();
    let told = rotate(&log, 3);
    log.state().rotations[0].index = 4;
    let error = started(&address, &store).await.tree_head().await.unwrap_err();
    assert!(matches!(error, HeadError::Unannounced(_)), "{error}");
    // Whoever has the recovery key as well begins another history with it.
    let other = FakeLog::new(0);
    for n in 0..10 {
        other.state().push(format!("another {n}").into());
    }
    rotate(&other, 3);
    let error = started(&other.serve().await, &store).await.tree_head().await.unwrap_err();
    assert!(matches!(error, HeadError::SplitView(_)), "{error}");
    // Nothing was kept of either.
    let origin = ORIGIN.parse().unwrap();
    assert_eq!(graven_client::HeadStore::load_rotations(&*store, &origin).unwrap(), b"");
    log.state().rotations = vec![told];
    started(&address, &store).await.tree_head().await.unwrap();
}
