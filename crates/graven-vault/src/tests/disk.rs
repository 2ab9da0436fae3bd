//! What is left on a real disk, byte by byte.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};

use graven_store::RealFs;

use super::*;
use crate::MasterError;

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn files_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn after_an_erasure_no_byte_of_it_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let master_path = folder.path().join("master");
    let master = Arc::new(FileMaster::create(&*fs, &master_path, system()).unwrap());
    let dir = folder.path().join("vault");
    let vault = Vault::create(fs.clone(), system(), &dir, master.clone()).unwrap();
    let realm = vault.realm(b"example.com/log").unwrap();
    let (alice, bob) = (make(&vault, &realm, "user:alice@example.com"), make(&vault, &realm, "user:bob"));
    let old_key = dir.join("epoch-1.key");
    let old_wrapped = fs::read(&old_key).unwrap()[34..].to_vec();
    let held = fs::File::open(&old_key).unwrap();
    let secrets = |files: &[(PathBuf, Vec<u8>)]| {
        let clear = [&b"user:alice"[..], b"example.com", alice.key().as_bytes(), &alice.reference().0];
        files.iter().any(|(path, bytes)| {
            clear.iter().any(|secret| {
                contains(bytes, secret) || contains(path.as_os_str().as_encoded_bytes(), secret)
            })
        })
    };
    let before = files_below(&dir);
    assert!(!secrets(&before), "even before it, nothing lies there in clear");
    assert!(before.iter().any(|(_, bytes)| contains(bytes, &old_wrapped)));

    vault.erase(&[(&realm, alice.reference())]).unwrap();
    let after = files_below(&dir);
    assert!(!secrets(&after));
    assert!(!after.iter().any(|(_, bytes)| contains(bytes, &old_wrapped)));
    assert_eq!(after.len(), 3, "{:?}", after.iter().map(|(path, _)| path).collect::<Vec<_>>());
    // Where the old key lay, there is noise: read through a handle from before.
    let mut place = vec![0; 34 + old_wrapped.len()];
    held.read_exact_at(&mut place, 0).unwrap();
    assert!(!contains(&place, &old_wrapped[..16]) && !place.starts_with(b"GVEK"));

    for (path, _) in after {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    drop(vault);
    let vault = Vault::open(fs, system(), &dir, master).unwrap();
    let realm = vault.realm(b"example.com/log").unwrap();
    assert!(matches!(realm.by_ref(alice.reference()), Lookup::Erased));
    assert_eq!(realm.by_name(b"user:bob").unwrap().key().as_bytes(), bob.key().as_bytes());
}

#[test]
fn a_master_key_is_made_once_and_read_by_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master");
    let open = || FileMaster::open(&RealFs, &path, system()).map(drop);
    assert!(matches!(open(), Err(MasterError::Unavailable(_))), "it is not made by opening");
    FileMaster::create(&RealFs, &path, system()).unwrap();
    assert!(FileMaster::create(&RealFs, &path, system()).is_err());
    open().unwrap();
    for mode in [0o644, 0o640, 0o606, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(open(), Err(MasterError::Exposed(_))), "{mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert!(matches!(open(), Err(MasterError::Damaged(_))), "byte {at}");
    }
    for len in [0, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(matches!(open(), Err(MasterError::Damaged(_))), "{len} bytes");
    }
    fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
    assert!(open().is_err());
}

#[test]
fn a_wrapped_key_is_bound_to_its_context() {
    let disk = machine();
    let master = master(&disk);
    let key = crate::SecretKey::new(&[7; KEY_BYTES]);
    let wrapped = master.wrap(&key, b"one").unwrap();
    assert_eq!(master.unwrap(&wrapped, b"one").unwrap().as_bytes(), key.as_bytes());
    assert!(matches!(master.unwrap(&wrapped, b"two"), Err(MasterError::Wrong)));
    for at in 0..wrapped.len() {
        let mut flipped = wrapped.clone();
        flipped[at] ^= 1;
        assert!(matches!(master.unwrap(&flipped, b"one"), Err(MasterError::Wrong)));
        assert!(matches!(master.unwrap(&wrapped[..at], b"one"), Err(MasterError::Wrong)));
    }
}
