//! A real PKCS#11 library: SoftHSM2, with a token of the test's own.

use std::process::Command;

use super::*;
use crate::{MasterError, Pkcs11Config, Pkcs11Master};

const PIN: &str = "739412";

/// Where distributions put it.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

fn module() -> PathBuf {
    MODULES.iter().map(PathBuf::from).find(|path| path.exists()).expect("SoftHSM2 is not installed")
}

fn config(key: &str, pin: &str) -> Pkcs11Config {
    Pkcs11Config { module: module(), token: "graven".into(), key: key.into(), pin: pin.to_owned().into() }
}

/// The library reads its configuration from the environment of the process, which a test cannot change, so this test runs
/// itself again with one.
#[test]
#[ignore = "needs softhsm2"]
fn a_token_keeps_the_master_key_and_a_vault_lives_under_it() {
    if std::env::var_os("SOFTHSM2_CONF").is_some_and(|conf| Path::new(&conf).exists()) {
        return in_a_process_of_its_own();
    }
    let folder = tempfile::tempdir().unwrap();
    let (conf, tokens) = (folder.path().join("softhsm2.conf"), folder.path().join("tokens"));
    std::fs::create_dir(&tokens).unwrap();
    std::fs::write(
        &conf,
        format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display()),
    )
    .unwrap();
    let run = |command: &mut Command| {
        let output = command.env("SOFTHSM2_CONF", &conf).output().expect("SoftHSM2 is not installed");
        let told = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
    };
    let init = ["--init-token", "--free", "--label", "graven", "--so-pin", "8271", "--pin", PIN];
    run(Command::new("softhsm2-util").args(init));
    run(Command::new(std::env::current_exe().unwrap()).args(["--ignored", "a_token_keeps_the_master_key"]));
}

fn in_a_process_of_its_own() {
    assert!(matches!(Pkcs11Master::open(&config("audit", PIN), system()), Err(MasterError::Token(_))));
    let made = Pkcs11Master::create(&config("audit", PIN), system()).unwrap();
    assert!(matches!(Pkcs11Master::create(&config("audit", PIN), system()), Err(MasterError::Token(_))));
    let wrong_pin = Pkcs11Master::open(&config("audit", "000000"), system()).err().unwrap();
    assert!(matches!(&wrong_pin, MasterError::Unavailable(why) if !why.contains("000000")), "{wrong_pin}");
    let nowhere = Pkcs11Config { token: "elsewhere".into(), ..config("audit", PIN) };
    assert!(matches!(Pkcs11Master::open(&nowhere, system()), Err(MasterError::Unavailable(_))));

    let key = crate::SecretKey::new(&[7; KEY_BYTES]);
    let wrapped = made.wrap(&key, b"one").unwrap();
    assert_eq!(made.unwrap(&wrapped, b"one").unwrap().as_bytes(), key.as_bytes());
    assert!(matches!(made.unwrap(&wrapped, b"two"), Err(MasterError::Wrong)));
    let mut flipped = wrapped;
    flipped[20] ^= 1;
    assert!(matches!(made.unwrap(&flipped, b"one"), Err(MasterError::Wrong)));

    let disk = SimFs::new();
    let vault = Vault::create_in(home(Arc::new(disk.clone())), Arc::new(made)).unwrap();
    let realm = vault.realm(b"log").unwrap();
    let (alice, bob) = (make(&vault, &realm, "alice"), make(&vault, &realm, "bob"));
    vault.erase(&[(&realm, alice.reference())]).unwrap();
    let again = Arc::new(Pkcs11Master::open(&config("audit", PIN), system()).unwrap());
    let vault = Vault::open_in(home(Arc::new(disk)), again).unwrap();
    let realm = vault.realm(b"log").unwrap();
    assert!(matches!(realm.by_ref(alice.reference()), Lookup::Erased));
    assert_eq!(realm.by_name(b"bob").unwrap().key().as_bytes(), bob.key().as_bytes());
}
