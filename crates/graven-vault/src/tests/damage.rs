//! Rotten bytes, other people's keys, and files that are where they should not be.

use super::*;

/// A vault of several segments, some of them appended to, that was through an erasure.
fn lived_in() -> (SimFs, Promises) {
    let disk = machine();
    let vault = create(&disk).unwrap();
    let mut promises = Promises::default();
    let names = |of: &str, count: usize| (0..count).map(|n| format!("{of}:{n}")).collect::<Vec<_>>();
    promises.make(&vault, "a", &names("user", 30)).unwrap();
    let refs = promises.refs("a", &names("user", 5));
    promises.erase(&vault, "a", &refs).unwrap();
    for n in 0..6 {
        promises.make(&vault, "a", &[format!("late:{n}")]).unwrap();
    }
    assert!(disk.list(Path::new(DIR)).unwrap().len() >= 4, "it has several segments");
    (disk, promises)
}

#[test]
fn no_flipped_bit_is_taken_for_less_than_there_was() {
    let (disk, mut promises) = lived_in();
    let image = disk.snapshot();
    for (path, bytes) in image.iter().filter(|(path, _)| path.starts_with(DIR)) {
        for byte in 0..bytes.len() as u64 {
            disk.restore(&image);
            disk.flip_bit(path, byte * 8 + byte % 8).unwrap();
            let looked = look(&disk).is_ok();
            let opened = open(&disk);
            assert_eq!(looked, opened.is_ok(), "byte {byte} of {}", path.display());
            // What may open is one whose last, empty record rotted: it holds all the same.
            if let Ok(vault) = opened {
                promises.check(&vault);
                assert!(path.to_string_lossy().ends_with(".subjects") && byte + 72 >= bytes.len() as u64);
            }
        }
    }
}

#[test]
fn what_a_cut_leaves_is_what_was_acknowledged_or_refused() {
    let (disk, mut promises) = lived_in();
    let image = disk.snapshot();
    for path in image.keys().filter(|path| path.starts_with(DIR)) {
        let mut without = image.clone();
        without.remove(path);
        disk.restore(&without);
        assert!(open(&disk).is_err(), "{} is not missed", path.display());
        for len in [0, 1, 40, image[path].len().saturating_sub(73)] {
            let mut cut = image.clone();
            cut.get_mut(path).unwrap().truncate(len);
            disk.restore(&cut);
            let is_last = path.to_string_lossy().ends_with(".subjects");
            assert!(open(&disk).is_err() || (is_last && len > 40), "{} cut to {len}", path.display());
        }
    }
    // An append that was not finished is cut off, whatever part of it there is.
    disk.restore(&image);
    let last = image.keys().rfind(|path| path.to_string_lossy().ends_with(".subjects")).unwrap();
    let vault = open(&disk).unwrap();
    let realm = vault.realm(b"a").unwrap();
    make(&vault, &realm, "nobody was told");
    let grown = disk.snapshot()[last].clone();
    let end = image[last].len();
    for len in end..grown.len() - 73 {
        let mut torn = image.clone();
        torn.insert(last.clone(), grown[..len].to_vec());
        disk.restore(&torn);
        let vault = open(&disk).unwrap();
        promises.check(&vault);
    }
}

#[test]
fn only_its_own_master_key_opens_it() {
    let (disk, mut promises) = lived_in();
    let image = disk.snapshot();
    FileMaster::create(&disk, Path::new("/keys/other"), system()).unwrap();
    let other = Arc::new(FileMaster::open(&disk, Path::new("/keys/other"), system()).unwrap());
    let refused = Vault::open_in(home(Arc::new(disk.clone())), other).unwrap_err();
    assert!(matches!(refused, OpenError::Master { source: crate::MasterError::Wrong, .. }), "{refused}");
    let mut now = disk.snapshot();
    now.remove(Path::new("/keys/other"));
    assert!(now == image, "a vault that does not open is left as it is");
    promises.check(&open(&disk).unwrap());
}

#[test]
fn segments_and_keys_of_another_vault_or_epoch_are_refused() {
    let (disk, _) = lived_in();
    let other = machine();
    other.restore(&disk.snapshot().into_iter().filter(|(path, _)| !path.starts_with(DIR)).collect());
    create(&other).unwrap();
    let (image, foreign) = (disk.snapshot(), other.snapshot());
    for (from, to) in [("epoch-1.key", "epoch-2.key"), ("epoch-1-0.subjects", "epoch-2-0.subjects")] {
        let mut mixed = image.clone();
        mixed.insert(Path::new(DIR).join(to), foreign[&Path::new(DIR).join(from)].clone());
        disk.restore(&mixed);
        assert!(open(&disk).is_err(), "{to}");
    }
    let segments = [0, 1].map(|n| Path::new(DIR).join(format!("epoch-2-{n}.subjects")));
    let mut swapped = image.clone();
    swapped.insert(segments[0].clone(), image[&segments[1]].clone());
    disk.restore(&swapped);
    assert!(matches!(open(&disk), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_newer_version_is_not_read_and_not_called_damaged() {
    let (disk, _) = lived_in();
    let head = Path::new(DIR).join("head");
    let mut image = disk.snapshot();
    let mut newer = image[&head][..32].to_vec();
    newer[4] = 2;
    image.insert(head, crate::files::with_digest(newer));
    disk.restore(&image);
    assert!(matches!(open(&disk), Err(OpenError::Version { version: 2, .. })));
}

#[test]
fn a_vault_that_is_gone_is_not_made_and_one_without_its_head_is_not_overwritten() {
    let (disk, _) = lived_in();
    let image = disk.snapshot();
    disk.restore(
        &image
            .iter()
            .filter(|(path, _)| !path.starts_with(DIR))
            .map(|(p, b)| (p.clone(), b.clone()))
            .collect(),
    );
    assert!(matches!(open(&disk), Err(OpenError::Missing(_))));
    assert!(disk.list(Path::new(DIR)).unwrap().is_empty());

    let mut headless = image;
    headless.remove(&Path::new(DIR).join("head"));
    disk.restore(&headless);
    assert!(matches!(open(&disk), Err(OpenError::Missing(_))));
    assert!(matches!(create(&disk), Err(OpenError::Exists(_))));
    assert!(disk.snapshot() == headless);
}
