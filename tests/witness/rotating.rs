//! A log's keys are rotated, and its witness's operator says so.

use std::{fs, thread, time::Duration};

use graven_merkle::LeafIndex;
use graven_note::{LocalSigner, Rotation, RotationText, SignatureType, Signer, rotation::format_history};

use crate::rig::{Log, Place};

const ORIGIN: &str = "example.com/rotated";

fn key(name: &str, seed: u8) -> LocalSigner {
    LocalSigner::generate(name.parse().unwrap(), SignatureType::Ed25519, &[seed; 32]).unwrap()
}

/// From the log's key to `new`, above 8 entries.
fn rotation(log: &Log, new: &LocalSigner, recovery: &LocalSigner) -> Rotation {
    let keys = (vec![log.key()], vec![new.vkey().clone()]);
    let text = RotationText::new(ORIGIN.parse().unwrap(), 8_u32.into(), keys.0, keys.1).unwrap();
    text.authorise(recovery).unwrap().signed_by([new as &dyn Signer]).unwrap()
}

fn history(rotation: &Rotation) -> String {
    format_history([(LeafIndex::new(5).unwrap(), rotation)])
}

#[test]
fn a_witness_that_was_told_follows_the_log_and_leaves_the_old_keys_behind() {
    let (place, recovery) = (Place::new(), key("example.com/recovery", 200));
    let (old, new) = (Log::new(ORIGIN), key(ORIGIN, 100));
    let told = rotation(&old, &new, &recovery);
    let new = Log::new(ORIGIN).signed_by(new);
    place.know_log(&old);
    let running = place.serve();
    assert_eq!(running.add(&old.request(0, 5)).status, 200);
    assert_eq!(running.add(&new.request(5, 6)).status, 403, "nobody told it");

    let file = place.dir().with_extension("history");
    let vkey = recovery.vkey().to_string();
    let tell = |history: String, recovery: &str| {
        fs::write(&file, history).unwrap();
        let args = ["add-log", "--origin", ORIGIN, "--recovery", recovery, "--rotations"];
        place.graven(&[&args[..], &[file.to_str().unwrap()]].concat())
    };
    // Who is not the holder of the recovery key tells it nothing.
    let forged = history(&rotation(&old, &key(ORIGIN, 101), &key("example.com/recovery", 201)));
    let refused = tell(forged, &vkey);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("did not authorise it"), "{said}");
    let another = key("example.com/recovery", 201).vkey().to_string();
    assert!(!tell(history(&told), &another).status.success(), "another recovery key");
    let added = tell(history(&told), &vkey);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let listed = String::from_utf8(place.graven(&["list"]).stdout).unwrap();
    assert!(listed.contains(&format!("{} up to 8 entries", old.key())), "{listed}");
    // It is obeyed within a second.
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(running.add(&old.request(5, 8)).status, 200, "up to there each key is as good as it was");
    assert_eq!(running.add(&old.request(8, 9)).status, 403, "a thief has the old key");

    let address = running.stop();
    let running = place.serve_at(&address);
    assert_eq!(running.add(&old.request(8, 9)).status, 403);
    assert_eq!(running.add(&new.request(8, 9)).status, 200);
    // An older history takes nothing back, and a recovery key that did not authorise what is known is not taken.
    assert!(tell(String::new(), &vkey).status.success());
    assert!(!tell(String::new(), &another).status.success());
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(running.add(&old.request(9, 10)).status, 403);
    assert_eq!(running.add(&new.request(9, 10)).status, 200);
}
