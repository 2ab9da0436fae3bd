//! What it costs, on a real disk: `cargo test --release -p graven-vault figures -- --ignored --nocapture`.

use std::time::Instant;

use graven_store::RealFs;

use super::*;

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
}

#[test]
#[ignore = "takes a minute"]
fn figures() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let master = Arc::new(FileMaster::create(&*fs, &folder.path().join("master"), system()).unwrap());
    let dir = folder.path().join("vault");
    let vault = Vault::create(fs.clone(), system(), &dir, master.clone()).unwrap();
    let realm = vault.realm(b"example.com/log").unwrap();

    let (callers, each) = (64, 200);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let (vault, realm) = (&vault, &realm);
            scope.spawn(move || {
                for n in 0..each {
                    make(vault, realm, &format!("first:{caller}:{n}"));
                }
            });
        }
    });
    let took = start.elapsed();
    println!(
        "new subject, {callers} callers: {:?} until durable, {:?} a subject",
        took / each,
        took / (callers * each)
    );

    let mut count = realm.len();
    for target in [100_000, 1_000_000] {
        let (resident, from) = (resident_bytes(), count);
        let start = Instant::now();
        while count < target {
            let names: Vec<_> = (count..target.min(count + 4_000)).map(|n| format!("user:{n:012}")).collect();
            let names: Vec<_> = names.iter().map(String::as_bytes).collect();
            count += vault.subjects(&realm, &names).unwrap().len();
        }
        let grown = resident_bytes().saturating_sub(resident) / (count - from);
        println!("{target} subjects: filled in {:?}, {grown} bytes of memory each", start.elapsed());

        let names: Vec<_> =
            (0..1_000_000).map(|n| format!("user:{:012}", count - 1 - n * 7_919 % 80_000)).collect();
        let start = Instant::now();
        names.iter().for_each(|name| drop(realm.known(&[name.as_bytes()]).unwrap()));
        println!("{target} subjects: known one in {:?}", start.elapsed() / 1_000_000);

        let one = realm.by_name(names[0].as_bytes()).unwrap().reference();
        let start = Instant::now();
        vault.erase(&[(&realm, one)]).unwrap();
        println!("{target} subjects: one erased in {:?}", start.elapsed());
        let start = Instant::now();
        let reopened = Vault::open(fs.clone(), system(), &dir, master.clone()).unwrap();
        println!("{target} subjects: opened in {:?}", start.elapsed());
        count = realm.len();
        assert_eq!(reopened.realm(b"example.com/log").unwrap().len(), count);
    }
}
