//! What must not be possible.

use std::{fs, thread};

use graven_note::{
    Evidence, KeyName, LocalSigner, SignatureLine, SignatureType, SignedNote, Signer as _, VerifiedCheckpoint,
};

use crate::rig::{Log, Place, post};

#[test]
fn of_racing_requests_one_wins_and_the_size_never_falls() {
    let place = Place::with_keys("ed25519");
    let log = Log::new("example.com/raced");
    place.know_log(&log);
    let running = place.serve();
    assert_eq!(running.add(&log.request(0, 1)).status, 200);
    for from in (1..61).step_by(10) {
        // All of them are consistent with `from`, and each with every other.
        let answers: Vec<_> = thread::scope(|scope| {
            let race = |to| {
                let request = log.request(from, to);
                let running = &running;
                scope.spawn(move || (to, running.add(&request)))
            };
            let races: Vec<_> = (from + 1..=from + 10).map(race).collect();
            races.into_iter().map(|race| race.join().unwrap()).collect()
        });
        let won: Vec<_> = answers.iter().filter(|(_, answer)| answer.status == 200).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        let size = won[0].0;
        for (_, answer) in answers.iter().filter(|(to, _)| *to != size) {
            assert_eq!(answer.status, 409);
            assert_eq!(answer.body, format!("{size}\n").as_bytes());
        }
        assert_eq!(running.add(&log.request(size, from + 10)).status, 200);
    }
}

#[test]
fn a_kill_forgets_nothing_that_was_cosigned() {
    let place = Place::new();
    let log = Log::new("example.com/killed");
    place.know_log(&log);
    for to in 1..6 {
        let running = place.serve();
        assert_eq!(running.add(&log.request(to - 1, to)).status, 200);
        running.kill();
        let running = place.serve();
        let shown = running.connect().get(&format!("/{}/checkpoint", log.hex()), &[]);
        assert_eq!((shown.status, shown.header("cache-control")), (200, Some("no-cache")));
        let origin = log.origin().parse().unwrap();
        let shown = VerifiedCheckpoint::open(&shown.body, &origin, &place.keys).unwrap();
        shown.note().require_keys(&place.keys).unwrap();
        assert_eq!(shown.checkpoint().size().get(), to as u64);
        assert_eq!(shown.note().unverified().len(), 1, "the log's own signature");
        // And what it forgot cannot be cosigned a second time with another root.
        let answer = running.add(&Log::new("example.com/killed").rewritten(0).request(to, to));
        assert_eq!(answer.status, 422);
    }
}

#[test]
fn a_rewritten_history_is_not_cosigned() {
    let place = Place::new();
    let log = Log::new("example.com/stolen");
    place.know_log(&log);
    let running = place.serve();
    assert_eq!(running.add(&log.request(0, 50)).status, 200);
    for from in [0, 1, 25, 48, 49] {
        // The key is the log's own, the proof is right within the new history.
        let other = Log::new("example.com/stolen").rewritten(from);
        assert_eq!(running.add(&other.request(50, 60)).status, 422, "{from}");
        assert_eq!(running.add(&other.request(50, 50)).status, 422, "{from}");
        assert_eq!(running.add(&other.request(0, 60)).status, 409, "{from}");
    }
    assert_eq!(running.add(&log.request(50, 60)).status, 200);
    // Each is evidence, which anybody with the log's key can check.
    let kept = fs::read_dir(place.dir().join("evidence")).unwrap().map(|file| file.unwrap().path());
    let kept: Vec<_> = kept.collect();
    assert_eq!(kept.len(), 2 * 5, "{kept:?}");
    for file in kept {
        let evidence = Evidence::parse(&fs::read(&file).unwrap()).unwrap();
        evidence.verify(&[log.key()]).unwrap();
    }
}

#[test]
fn another_root_of_the_cosigned_size_is_evidence_whatever_it_is_based_on() {
    let place = Place::new();
    let log = Log::new("example.com/two-faced");
    place.know_log(&log);
    let running = place.serve();
    assert_eq!(running.add(&log.request(0, 5)).status, 200);
    // The same again, and an earlier one, are only late.
    assert_eq!(running.add(&log.request(0, 5)).status, 409);
    assert_eq!(running.add(&log.request(0, 4)).status, 409);
    assert!(!place.dir().join("evidence").exists());
    for based_on in [0, 3] {
        let other = Log::new("example.com/two-faced").rewritten(4 - based_on);
        let answer = running.add(&other.request(based_on, 5));
        assert_eq!((answer.status, answer.text().as_str()), (409, "5\n"));
    }
    let kept = fs::read_dir(place.dir().join("evidence")).unwrap().map(|file| file.unwrap().path());
    let kept: Vec<_> = kept.collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    for file in kept {
        Evidence::parse(&fs::read(&file).unwrap()).unwrap().verify(&[log.key()]).unwrap();
    }
}

#[test]
fn a_note_that_no_log_needs_is_not_remembered() {
    let place = Place::new();
    let (log, honest) = (Log::new("example.com/verbose"), Log::new("example.com/brief"));
    place.know_log(&log);
    place.know_log(&honest);
    let running = place.serve();
    for (bytes, status) in [(500_000, 413), (12 << 10, 413), (8 << 10, 200)] {
        let answer = running.add(&log.request_extended(bytes));
        assert_eq!(answer.status, status, "{bytes}: {}", answer.text());
    }
    assert_eq!(running.add(&log.request(3, 4)).status, 200);
    assert_eq!(running.add(&honest.request(0, 3)).status, 200);
}

#[test]
fn keys_that_no_log_has_are_refused_and_such_as_are_named_otherwise_are_mentioned() {
    let place = Place::new();
    let log = Log::new("example.com/named");
    let stderr = |args: &[&str], code| {
        let ran = place.graven(args);
        assert_eq!(ran.status.code(), Some(code), "{ran:?}");
        String::from_utf8(ran.stderr).unwrap()
    };
    let witness_key = place.keys[0].to_string();
    let said = stderr(&["add-log", "--origin", "example.com/w", "--key", &witness_key], 2);
    assert!(said.contains("0x04"), "{said}");
    assert_eq!(stderr(&["list"], 0), "");
    let key = log.key().to_string();
    let said = stderr(&["add-log", "--origin", "example.com/nmaed", "--key", &key], 0);
    assert!(said.contains("warning") && said.contains("example.com/named"), "{said}");
    let said = stderr(&["add-log", "--origin", log.origin(), "--key", &key], 0);
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn a_type_of_key_that_is_named_twice_is_one_key() {
    assert_eq!(Place::with_keys("ed25519,ed25519").keys.len(), 1);
    assert_eq!(Place::with_keys("ml-dsa-44,ed25519,ml-dsa-44").keys.len(), 2);
}

#[test]
fn a_proof_that_merely_fails_is_no_evidence() {
    let place = Place::new();
    let log = Log::new("example.com/clumsy");
    place.know_log(&log);
    let running = place.serve();
    assert_eq!(running.add(&log.request(0, 50)).status, 200);
    let mut request = log.request(50, 60);
    request.proof = log.request(49, 60).proof;
    assert_eq!(running.add(&request).status, 422);
    assert!(!place.dir().join("evidence").exists());
}

#[test]
fn a_forged_line_under_the_witnesses_own_name_does_no_harm() {
    let place = Place::new();
    let log = Log::new("example.com/forged");
    place.know_log(&log);
    let running = place.serve();
    for (at, key) in place.keys.iter().enumerate() {
        let forged = SignatureLine::new(key, vec![7; 72]);
        let request = log.request_with(at, at + 1, &forged);
        place.cosigned(&request, &running.add(&request));
    }
    running.kill();
    let running = place.serve();
    let request = log.request(place.keys.len(), 9);
    place.cosigned(&request, &running.add(&request));
    let shown = running.connect().get(&format!("/{}/checkpoint", log.hex()), &[]);
    let shown = SignedNote::parse(&shown.body).unwrap();
    assert_eq!(shown.signatures().len(), 1 + place.keys.len());
}

#[test]
fn a_log_is_known_by_its_own_keys_and_name_only() {
    let place = Place::new();
    let (known, other) = (Log::new("example.com/known"), Log::new("example.com/other-log"));
    place.know_log(&known);
    let running = place.serve();
    assert_eq!(running.add(&other.request(0, 3)).status, 404);
    // Made known while it runs, by a key that is not the log's: still nobody's word for it.
    let name: KeyName = other.origin().parse().unwrap();
    let stranger = LocalSigner::generate(name, SignatureType::Ed25519, &[1; 32]).unwrap();
    place.know(other.origin(), &[stranger.vkey().to_string()]);
    assert_eq!(running.add(&other.request(0, 3)).status, 403);
    place.know_log(&other);
    assert_eq!(running.add(&other.request(0, 3)).status, 200);
    // Each has a state of its own.
    assert_eq!(running.add(&known.request(0, 1)).status, 200);
}

#[test]
fn a_witness_without_its_memory_does_not_start() {
    let place = Place::new();
    let state = place.dir().join("state");
    fs::remove_file(&state).unwrap();
    let refused = place.graven(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    let refused = place.graven(&["init", "--name", "example.com/w"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(!state.exists());
}

#[test]
fn one_process_at_a_time() {
    let place = Place::new();
    let _running = place.serve();
    let refused = place.graven(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn keys_that_others_can_read_are_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let key = place.dir().join("keys/ed25519.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = place.graven(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

#[test]
fn what_is_no_request_is_refused() {
    let running = Place::new().serve();
    let mut connection = running.connect();
    for (method, target, status) in [
        ("GET", "/add-checkpoint", 405),
        ("GET", "/", 404),
        ("GET", "/abc/checkpoint", 404),
        ("GET", "/healthz", 200),
    ] {
        assert_eq!(connection.ask(method, target, &[]).status, status, "{method} {target}");
    }
    let unknown = format!("/{}/checkpoint", "0".repeat(64));
    assert_eq!(connection.get(&unknown, &[]).status, 404);
    assert_eq!(post(&mut running.connect(), "add-checkpoint", &vec![b'x'; 600 << 10]).status, 413);
}
