//! Logs that are polled by their tiles. They know nothing of witnesses, and may be anybody's.

use std::{
    collections::HashMap,
    fs,
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use graven_note::{Evidence, Origin, VerifiedCheckpoint};

use crate::{
    fake_log::{FakeLog, Lie, ORIGIN},
    http1::Connection,
    rig::{Log, Place, Running},
    web::{Says, Web},
};

/// How long anything may take, the slowest of answers included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A witness that polls a log's site.
struct Polled {
    place: Place,
    log: Log,
    web: Web,
    running: Running,
    ops: String,
}

impl Polled {
    /// It has cosigned the first `to` leaves.
    fn new(origin: &str, to: usize) -> Self {
        let (place, log) = (Place::new(), Log::new(origin));
        let web = Web::serve(Says::Files(log.files(to)));
        place.know_log(&log);
        place.poll(origin, &["--poll", &web.url]);
        let (running, ops) = serve(&place, "10ms");
        let polled = Self { place, log, web, running, ops };
        polled.until_size(to);
        polled
    }

    /// The size that it shows with its cosignatures, all of them.
    fn size(&self) -> Option<usize> {
        let shown = cosigned(&self.running, &self.place, self.log.origin())?;
        let size = usize::try_from(shown.checkpoint().size().get()).unwrap();
        assert_eq!(shown.checkpoint().to_string(), self.log.checkpoint(size).text(), "the log's own tree");
        Some(size)
    }

    #[track_caller]
    fn until_size(&self, to: usize) {
        until(&format!("{to} leaves are cosigned"), || self.size() == Some(to));
    }

    fn metric(&self, name: &str) -> f64 {
        metric(&self.ops, name)
    }

    fn errors(&self, kind: &str) -> f64 {
        let log = self.log.origin();
        self.metric(&format!("graven_witness_poll_errors_total{{log=\"{log}\",kind=\"{kind}\"}}"))
    }

    /// What it says of a site that says this: nothing changes, and it is counted as that.
    #[track_caller]
    fn refuses(&self, says: Says, kind: &str) {
        let (size, before) = (self.size(), self.errors(kind));
        self.web.say(says);
        // The first look may have begun before.
        until(kind, || self.errors(kind) >= before + 2.0);
        assert_eq!(self.size(), size);
    }

    /// Each piece of evidence, checked.
    fn evidence(&self) -> usize {
        let kept = fs::read_dir(self.place.dir().join("evidence")).into_iter().flatten();
        let kept: Vec<_> = kept.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
        for evidence in &kept {
            Evidence::parse(evidence).unwrap().verify(&[self.log.key()]).unwrap();
        }
        kept.len()
    }
}

/// What a witness shows of a log, with all its cosignatures.
pub(crate) fn cosigned(running: &Running, place: &Place, origin: &str) -> Option<VerifiedCheckpoint> {
    let origin: Origin = origin.parse().unwrap();
    let shown = running.connect().get(&format!("/{}/checkpoint", origin.sha256_hex()), &[]);
    if shown.status == 404 {
        return None;
    }
    let shown = VerifiedCheckpoint::open(&shown.body, &origin, &place.keys).unwrap();
    shown.note().require_keys(&place.keys).unwrap();
    Some(shown)
}

fn serve(place: &Place, interval: &str) -> (Running, String) {
    let ops = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    (place.serve_with(&["--listen", "127.0.0.1:0", "--ops-listen", &ops, "--poll-interval", interval]), ops)
}

fn metric(ops: &str, name: &str) -> f64 {
    let page = Connection::plain(ops).get("/metrics", &[]).text();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    line.unwrap_or(0.0)
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not yet");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_log_that_knows_nothing_of_witnesses_is_cosigned_as_it_grows() {
    let mut polled = Polled::new("example.com/static", 0);
    for to in [1, 2, 255, 256, 257, 300, 600] {
        polled.web.say(Says::Files(polled.log.files(to)));
        polled.until_size(to);
        if to == 256 {
            polled.running.kill();
            (polled.running, polled.ops) = serve(&polled.place, "20ms");
            polled.until_size(to);
        }
    }
    let name = |what: &str| format!("graven_witness_poll_{what}{{log=\"{}\"}}", polled.log.origin());
    until("a success", || polled.metric(&name("success_timestamp_seconds")) > 1_700_000_000.0);
    assert_eq!(polled.metric(&name("lag_entries")), 0.0);
    assert_eq!(polled.errors("trouble"), 0.0);
}

#[test]
fn a_log_is_polled_where_the_operator_says_and_no_longer() {
    let polled = Polled::new("example.com/told", 10);
    let Polled { place, log, web, .. } = &polled;
    let listed = || String::from_utf8(place.graven(&["list"]).stdout).unwrap();
    assert_eq!(listed(), format!("{}\n  {}\n  polled at {}\n", log.origin(), log.key(), web.url));
    // Elsewhere; and a key more changes nothing of that.
    let other = Web::serve(Says::Files(log.files(20)));
    place.poll(log.origin(), &["--poll", &other.url]);
    place.know_log(log);
    polled.until_size(20);
    assert!(listed().contains(&other.url) && !listed().contains(&web.url));
    place.poll(log.origin(), &["--no-poll"]);
    assert_eq!(listed(), format!("{}\n  {}\n", log.origin(), log.key()));
    // It notices within seconds, and what the site says then is not looked at.
    until("the settings are read", || {
        other.say(Says::Bytes(Vec::new()));
        let before = polled.errors("trouble");
        thread::sleep(Duration::from_millis(300));
        polled.errors("trouble") == before
    });
    other.say(Says::Files(log.files(30)));
    thread::sleep(Duration::from_millis(300));
    assert_eq!(polled.size(), Some(20));
    assert_eq!(polled.running.add(&log.request(20, 30)).status, 200, "it comes by itself");

    for (args, code, says) in [
        (&["--poll", "ftp://example.com"][..], 2, "ftp"),
        (&["--poll", "http://a", "--no-poll"], 2, "--no-poll"),
        (&["--poll", "http://a", "--poll-server", "http://127.0.0.1:1"], 2, "--poll-server"),
        (&["--poll-server", "http://192.0.2.1:4740"], 2, "use https://"),
        (&["--poll", "http://a", "--token-file", "nowhere"], 2, "nowhere"),
        (&["--no-poll", "--ca", "nowhere"], 2, "--poll"),
        (&["--log", "audit", "--no-poll"], 2, "--no-poll"),
        (&[], 2, "--key"),
    ] {
        let refused = place.graven(&[&["add-log", "--origin", log.origin()], args].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(code) && said.contains(says), "{args:?}: {said}");
    }
    assert_eq!(place.graven(&["add-log", "--origin", "example.com/new", "--no-poll"]).status.code(), Some(2));
}

#[test]
fn a_log_that_goes_back_changes_nothing_and_is_reported() {
    let polled = Polled::new("example.com/back", 300);
    // A cache that is behind shows the older head, and the tiles of both.
    let mut behind = polled.log.files(300);
    behind.extend(polled.log.files(257));
    polled.web.say(Says::Files(behind));
    thread::sleep(Duration::from_millis(300));
    assert_eq!((polled.size(), polled.errors("rollback")), (Some(300), 0.0));

    polled.refuses(Says::Files(polled.log.files(257)), "rollback");
    polled.refuses(Says::Files(polled.log.files(0)), "rollback");
    assert_eq!(polled.evidence(), 0, "to forget is no lie");
    // An older head that never was, next to the tiles that show it.
    let mut other = polled.log.files(300);
    other.insert("checkpoint".to_owned(), Log::new("example.com/back").rewritten(5).note(257));
    polled.refuses(Says::Files(other), "rollback");
    assert_eq!(polled.evidence(), 1);

    polled.web.say(Says::Files(polled.log.files(301)));
    polled.until_size(301);
}

#[test]
fn a_forked_log_is_not_cosigned_and_leaves_evidence() {
    let polled = Polled::new("example.com/forked", 300);
    for (at, from) in [0, 100, 299].into_iter().enumerate() {
        let other = Log::new("example.com/forked").rewritten(from);
        polled.refuses(Says::Files(other.files(400)), "inconsistent");
        polled.refuses(Says::Files(other.files(300)), "inconsistent");
        assert_eq!(polled.evidence(), 2 * (at + 1));
    }
    assert!(polled.metric("graven_witness_split_views_total") >= 6.0);
    // Where the tiles are not what was signed, nothing is shown.
    let mut spoilt = polled.log.files(400);
    spoilt.get_mut("tile/0/001.p/144").unwrap()[70] ^= 1;
    polled.refuses(Says::Files(spoilt), "inconsistent");
    assert_eq!(polled.evidence(), 6);
    polled.web.say(Says::Files(polled.log.files(400)));
    polled.until_size(400);
}

#[test]
fn garbage_and_answers_without_end_change_nothing_and_hold_nobody_up() {
    let polled = Polled::new("example.com/garbage", 300);
    let files = |change: fn(&mut HashMap<String, Vec<u8>>)| {
        let mut files = polled.log.files(400);
        change(&mut files);
        Says::Files(files)
    };
    let stranger = Log::new("example.com/stranger");
    let unsigned = polled.log.checkpoint(400).text().to_owned() + "\n— example.com/garbage AAAAAAAA\n";
    for (what, says, kind) in [
        ("another log's", Says::Files(stranger.files(400)), "unsigned"),
        ("nobody's", Says::Bytes(unsigned.into()), "unsigned"),
        ("no note", Says::Bytes(b"<html>".to_vec()), "trouble"),
        ("zeros", Says::Bytes(vec![0; 1000]), "trouble"),
        ("nothing", Says::Files(HashMap::new()), "trouble"),
        ("too large", Says::Bytes(vec![b'x'; (512 << 10) + 1]), "trouble"),
        ("endless", Says::Endless, "trouble"),
        ("no tile", files(|files| files.retain(|path, _| path == "checkpoint")), "trouble"),
        ("a short tile", files(|files| files.get_mut("tile/0/001.p/144").unwrap().truncate(100)), "trouble"),
    ] {
        eprintln!("{what}");
        polled.refuses(says, kind);
    }
    // While it waits for that one, it is there for others: those that come, and those that it polls.
    polled.web.say(Says::Trickle);
    let other = Log::new("example.com/other");
    let site = Web::serve(Says::Files(other.files(10)));
    polled.place.know_log(&other);
    polled.place.poll(other.origin(), &["--poll", &site.url]);
    until("the other log is cosigned", || {
        polled.running.connect().get(&format!("/{}/checkpoint", other.hex()), &[]).status == 200
    });
    assert_eq!(polled.running.add(&polled.log.request(300, 310)).status, 200);
    assert_eq!(polled.size(), Some(310));
    polled.web.say(Says::Files(polled.log.files(400)));
    polled.until_size(400);
}

#[test]
fn a_log_that_comes_while_it_is_polled_never_makes_the_witness_go_back() {
    let polled = Polled::new("example.com/both", 1);
    let is_over = AtomicBool::new(false);
    // What it shows, all the while; and the site is a few leaves ahead of it, or falls behind.
    let watch = || {
        let mut last = 1;
        for step in [2, 5, 1, 0].into_iter().cycle().take_while(|_| !is_over.load(Ordering::Relaxed)) {
            let size = polled.size().unwrap();
            assert!(size >= last, "{size} after {last}");
            last = size;
            polled.web.say(Says::Files(polled.log.files((size + step).min(600) - usize::from(step == 0))));
        }
    };
    let push = |step: usize| {
        let (mut known, mut pushed) = (1, 0);
        while known < 600 {
            let to = (known + step).min(600);
            let answer = polled.running.add(&polled.log.request(known, to));
            let size = match answer.status {
                200 => to,
                409 => answer.text().trim().parse().unwrap(),
                status => panic!("{status}: {}", answer.text()),
            };
            pushed += usize::from(answer.status == 200);
            assert!(size >= known, "{size} after {known}");
            known = size;
        }
        pushed
    };
    thread::scope(|scope| {
        scope.spawn(watch);
        let pushing: Vec<_> = [1, 2, 3].map(|step| scope.spawn(move || push(step))).into_iter().collect();
        let pushed: Vec<_> = pushing.into_iter().map(|it| it.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(pushed.into_iter().all(|pushed| pushed.unwrap() > 0));
    });
    polled.web.say(Says::Files(polled.log.files(600)));
    assert_eq!(polled.size(), Some(600));
    assert_eq!(polled.evidence(), 0);
    // And it remembers no less than it showed.
    let polled = Polled {
        running: {
            drop(polled.running);
            serve(&polled.place, "1h").0
        },
        ..polled
    };
    assert_eq!(polled.size(), Some(600));
}

#[test]
fn a_server_is_followed_while_it_is_honest() {
    // It shows a head every few milliseconds, and knows nothing of witnesses.
    let (fake, runtime) = (FakeLog::new(10), tokio::runtime::Runtime::new().unwrap());
    let url = runtime.block_on(fake.serve());
    let place = Place::new();
    place.know(ORIGIN, &[FakeLog::vkey()]);
    place.poll(ORIGIN, &["--poll-server", &url]);
    let (running, ops) = serve(&place, "1h");
    let size = || cosigned(&running, &place, ORIGIN).map_or(0, |shown| shown.checkpoint().size().get());
    let errors = |kind: &str| {
        metric(&ops, &format!("graven_witness_poll_errors_total{{log=\"{ORIGIN}\",kind=\"{kind}\"}}"))
    };
    until("it is followed", || size() > 20);
    for (lie, kind) in [(Lie::OtherKey, "unsigned"), (Lie::Fork, "inconsistent")] {
        fake.lie(lie);
        until(kind, || errors(kind) >= 2.0);
        let before = size();
        fake.state().push("one more".into());
        until(kind, || errors(kind) >= 3.0);
        assert_eq!(size(), before);
        fake.lie(Lie::Nothing);
        until("it is followed again", || size() > before);
    }
    // Older heads, and that they begin what was cosigned.
    fake.lie(Lie::Shrink(3));
    thread::sleep(Duration::from_millis(100));
    let before = size();
    thread::sleep(Duration::from_millis(100));
    assert_eq!((size(), errors("rollback"), errors("trouble")), (before, 0.0, 0.0));
}
