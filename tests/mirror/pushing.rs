//! Logs that are pushed to the real command by a client that knows the specification and nothing else.

use std::{
    fs,
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use base64ct::{Base64, Encoding as _};
use flate2::{Compression, write::GzEncoder};
use graven_note::{SignatureLine, SignedNote, VerifierKey, witness::parse_signature_lines};
use rustix::process::Signal;

use crate::{
    bench::{Bench, Server},
    certificates::Ca,
    http1::{Answer, Connection, dial},
    pusher::{Info, Log, header},
    trees::mth,
};

const BYTES: &str = "content-type: application/octet-stream";
const INFO: &str = "text/x.tlog.mirror-info";
/// Nobody listens there: what is mirrored was pushed.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A mirror, and what it was told of a log.
pub(crate) struct Pushed {
    bench: Bench,
    mirror: Server,
    keys: Vec<VerifierKey>,
    place: String,
}

impl Pushed {
    pub(crate) fn new(log: &Log) -> Self {
        let bench = Bench::new();
        let vkeys = bench.run("mirror init --data-dir mirror --name m.example.com/m1").ok();
        let keys = vkeys.text().lines().map(|line| VerifierKey::parse(line).unwrap()).collect();
        let add = format!("mirror add-log --data-dir mirror --origin {} --url {NOWHERE} --key", log.origin());
        let mut add = bench.command(&add);
        let place = crate::bench::ended(add.arg(log.vkey())).ok().text().trim().to_owned();
        let mirror = serve(&bench, "");
        Self { bench, mirror, keys, place }
    }

    fn post(&self, call: &str, headers: &[&str], body: &[u8]) -> Answer {
        post(self.mirror.address(), call, headers, body)
    }

    fn add_checkpoint(&self, body: &[u8]) -> Answer {
        self.post("add-checkpoint", &[], body)
    }

    fn add_entries(&self, body: &[u8]) -> Answer {
        self.post("add-entries", &[BYTES], body)
    }

    /// Makes a checkpoint pending.
    fn pend(&self, log: &Log, old: usize, to: usize) {
        let answer = self.add_checkpoint(&log.add_checkpoint(old, to));
        assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]), "{old} to {to}");
    }

    /// Pushes everything up to `to`, and returns the mirror's lines.
    pub(crate) fn push(&self, log: &Log, from: usize, to: usize) -> Vec<SignatureLine> {
        self.pend(log, from, to);
        self.cosigned(log, to, &self.add_entries(&log.add_entries(from, to, b"", usize::MAX)))
    }

    /// The lines of an answer, each a cosignature by one of the mirror's keys on the log's checkpoint.
    fn cosigned(&self, log: &Log, to: usize, answer: &Answer) -> Vec<SignatureLine> {
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let lines = parse_signature_lines(&answer.body).unwrap();
        assert_eq!(lines.len(), self.keys.len());
        let note = SignedNote::new(log.checkpoint(to).text(), &lines).unwrap().verify(&self.keys).unwrap();
        note.require_keys(&self.keys).unwrap();
        lines
    }

    fn info(&self) -> Info {
        let answer = self.add_entries(&header("example.com/audit", 0, 0, b""));
        assert_eq!((answer.status, answer.header("content-type")), (409, Some(INFO)));
        Info::parse(&answer.body)
    }

    pub(crate) fn get(&self, resource: &str) -> Answer {
        Connection::plain(self.mirror.address()).get(&format!("/{}/{resource}", self.place), &[])
    }

    pub(crate) fn address(&self) -> &str {
        self.mirror.address()
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    fn evidence(&self) -> Vec<String> {
        let folder = self.bench.path(format!("mirror/logs/{}/evidence", self.place));
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path().display().to_string()).collect()
    }
}

fn serve(bench: &Bench, more: &str) -> Server {
    bench.serve_with(&format!("mirror serve --data-dir mirror --listen 127.0.0.1:0 --poll-ms 60000{more}"))
}

fn post(address: &str, call: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut connection = Connection::plain(address);
    let headers: String = headers.iter().flat_map(|line| [line, "\r\n"]).collect();
    let head = format!("POST /{call} HTTP/1.1\r\nhost: m\r\n{headers}content-length: {}\r\n\r\n", body.len());
    connection.send(&[head.as_bytes(), body].concat()).unwrap();
    connection.receive(true).unwrap()
}

#[test]
fn what_is_pushed_is_cosigned_and_served_byte_for_byte() {
    let log = Log::new(1_100);
    let pushed = Pushed::new(&log);
    assert_eq!(pushed.info(), Info { size: 0, next: 0, ticket: vec![] }, "nothing is pending");
    assert_eq!(pushed.get("checkpoint").status, 404);
    pushed.pend(&log, 0, 300);
    assert_eq!(pushed.get("checkpoint").status, 404, "a pending checkpoint is not the mirror's");
    let answer = pushed.add_entries(&log.add_entries(0, 300, b"", usize::MAX));
    pushed.cosigned(&log, 300, &answer);
    assert_eq!(answer.header("accept-encoding"), Some("gzip"));

    // In two parts: the first begins within a bundle that the mirror has the beginning of.
    pushed.pend(&log, 300, 1_100);
    let part = pushed.add_entries(&log.add_entries(300, 1_100, b"", 2));
    assert_eq!((part.status, part.header("content-type")), (202, Some(INFO)));
    let info = Info::parse(&part.body);
    assert_eq!((info.size, info.next), (1_100, 768));
    assert!(pushed.get("tile/entries/001").status == 404, "it is not under the mirror checkpoint yet");
    let rest = log.add_entries(info.next, info.size, &info.ticket, usize::MAX);
    let lines = pushed.cosigned(&log, 1_100, &pushed.add_entries(&rest));
    assert_eq!(pushed.info().next, 1_100);

    // Again, all of it or nothing of it: the same answer, and no other signature.
    for start in [0, 700, 768, 1_100] {
        let again = pushed.add_entries(&log.add_entries(start, 1_100, b"", usize::MAX));
        assert_eq!(pushed.cosigned(&log, 1_100, &again), lines, "{start}");
    }
    for (path, from, to) in
        [("000", 0, 256), ("001", 256, 512), ("003", 768, 1_024), ("004.p/76", 1_024, 1_100)]
    {
        assert_eq!(pushed.get(&format!("tile/entries/{path}")).body, log.bundle(from, to), "{path}");
    }
    let served = SignedNote::parse(&pushed.get("checkpoint").body).unwrap();
    assert!(log.checkpoint(1_100).signatures().iter().all(|line| served.signatures().contains(line)));
    assert!(lines.iter().all(|line| served.signatures().contains(line)));
    let audit = format!("audit --url {}/{} --key", pushed.mirror.url(), pushed.place);
    crate::bench::ended(pushed.bench.command(&audit).arg(log.vkey())).ok();
    pushed.mirror.stop();
}

#[test]
fn an_upload_may_be_packed_and_come_in_pieces_of_any_size() {
    let log = Log::new(600);
    let pushed = Pushed::new(&log);
    pushed.pend(&log, 0, 600);
    let body = log.add_entries(0, 600, b"", usize::MAX);
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&body).unwrap();
    let packed = packed.finish().unwrap();
    let gzip = "content-encoding: gzip";
    // Cut short, what is whole counts.
    let cut = pushed.post("add-entries", &[BYTES, gzip], &packed[..packed.len() * 9 / 10]);
    assert_eq!(cut.status, 202);
    assert_eq!(Info::parse(&cut.body).next, 512);
    pushed.cosigned(&log, 600, &pushed.post("add-entries", &[BYTES, gzip], &packed));
    assert_eq!(pushed.post("add-entries", &[BYTES, "content-encoding: br"], &packed).status, 415);
    assert_eq!(pushed.post("add-entries", &[], &body).status, 415);

    let mut connection = Connection::plain(pushed.mirror.address());
    let head =
        format!("POST /add-entries HTTP/1.1\r\nhost: m\r\n{BYTES}\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.send(head.as_bytes()).unwrap();
    for chunk in body.chunks(997) {
        connection.send(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()).unwrap();
    }
    connection.send(b"0\r\n\r\n").unwrap();
    pushed.cosigned(&log, 600, &connection.receive(true).unwrap());
    // The connection is still good.
    assert_eq!(connection.get("/healthz", &[]).status, 200);
}

#[test]
fn a_client_that_goes_away_leaves_what_was_proven() {
    let log = Log::new(600);
    let pushed = Pushed::new(&log);
    pushed.pend(&log, 0, 600);
    let body = log.add_entries(0, 600, b"", usize::MAX);
    let two = log.add_entries(0, 600, b"", 2).len();
    let mut stream = dial(pushed.mirror.address());
    let head =
        format!("POST /add-entries HTTP/1.1\r\nhost: m\r\n{BYTES}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body[..two + 7]].concat()).unwrap();
    // While it waits, others are served, and find what it has brought.
    let begun = Instant::now();
    while pushed.add_entries(&log.add_entries(512, 600, b"", usize::MAX)).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "two packages are there, and count for nothing");
        thread::sleep(Duration::from_millis(10));
    }
    drop(stream);
    assert_eq!(pushed.info().next, 600);
}

#[test]
fn an_upload_that_others_overtook_does_not_bring_the_mirror_back() {
    let log = Log::new(300);
    let pushed = Pushed::new(&log);
    pushed.pend(&log, 0, 290);
    pushed.pend(&log, 290, 300);
    let body = log.add_entries(0, 290, b"", usize::MAX);
    let (most, last) = body.split_at(body.len() - 1);
    let mut slow = Connection::plain(pushed.mirror.address());
    let head =
        format!("POST /add-entries HTTP/1.1\r\nhost: m\r\n{BYTES}\r\ncontent-length: {}\r\n\r\n", body.len());
    slow.send(&[head.as_bytes(), most].concat()).unwrap();
    let begun = Instant::now();
    // There is no gap once the first package of the slow one is here.
    while pushed.add_entries(&log.add_entries(256, 300, b"", usize::MAX)).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the slow one is not taken at all");
        thread::sleep(Duration::from_millis(10));
    }
    slow.send(last).unwrap();
    let answer = slow.receive(true).unwrap();
    assert_eq!((answer.status, Info::parse(&answer.body).next), (409, 300));
    assert!(pushed.get("checkpoint").body.starts_with(b"example.com/audit\n300\n"));
}

#[test]
fn what_does_not_hold_is_refused_and_nothing_of_it_is_kept() {
    let log = Log::new(1_000);
    let pushed = Pushed::new(&log);
    let whole = |from, to| log.add_entries(from, to, b"", usize::MAX);
    assert_eq!(pushed.add_entries(&whole(0, 600)).status, 409, "no such checkpoint is pending");
    pushed.pend(&log, 0, 600);
    // The first byte, an entry's, the count of hashes, a hash: of the first package.
    let body = whole(0, 600);
    let (start, first) = (header(log.origin(), 0, 600, b"").len(), log.package(0, 256, 600));
    let count = first.len() - 1 - sequence_hashes(&first);
    for at in [2, 5, count + 1, first.len() - 1] {
        let mut body = body.clone();
        body[start + at] ^= 1;
        assert_eq!(pushed.add_entries(&body).status, 422, "byte {at} of the package");
    }
    let with = |at: usize, byte: u8| {
        let mut body = body.clone();
        body[at] = byte;
        pushed.add_entries(&body)
    };
    assert_eq!(with(start + count, 64).status, 400, "64 hashes are too many");
    assert_eq!(with(3, b'?').status, 404, "another log");
    assert_eq!(with(start - 4, 0x04).status, 409, "1,112 is not pending");
    for cut in [0, 1, start - 1, start, start + 1, start + first.len() - 1] {
        assert_eq!(pushed.add_entries(&body[..cut]).status, 400, "{cut} bytes");
    }
    assert_eq!(pushed.info().next, 0, "nothing was kept");
    // A gap, and an upload of another history in the name of this one.
    let gap = pushed.add_entries(&whole(256, 600));
    assert_eq!((gap.status, Info::parse(&gap.body).size), (409, 600));
    assert_eq!(pushed.add_entries(&log.rewritten(5).add_entries(0, 600, b"", 9)).status, 422);
    assert_eq!(pushed.add_entries(&log.rewritten(300).add_entries(0, 600, b"", 9)).status, 422);
    assert_eq!(pushed.info().next, 0);
    // The first is good, the second is not: the first counts.
    let mut second = body.clone();
    second[start + first.len() + 5] ^= 1;
    assert_eq!(pushed.add_entries(&second).status, 422);
    assert_eq!(pushed.info().next, 256);
    pushed.cosigned(&log, 600, &pushed.add_entries(&body));
    assert_eq!(pushed.add_entries(&whole(0, 599)).status, 409, "behind the mirror checkpoint");

    // What a witness would refuse.
    let statuses = [
        (log.add_checkpoint(0, 700), 409),
        (log.add_checkpoint(601, 600), 400),
        (log.add_checkpoint(599, 700), 409),
        (log.rewritten(650).add_checkpoint(600, 700), 200),
        (log.add_checkpoint(700, 600), 400),
        (b"old 700\n\nnothing".to_vec(), 400),
    ];
    for (number, (body, status)) in statuses.into_iter().enumerate() {
        let answer = pushed.add_checkpoint(&body);
        assert_eq!(answer.status, status, "{number}: {}", String::from_utf8_lossy(&answer.body));
    }
    let conflict = pushed.add_checkpoint(&log.add_checkpoint(0, 700));
    assert_eq!(
        (conflict.header("content-type"), &conflict.body[..]),
        (Some("text/x.tlog.size"), &b"700\n"[..])
    );
    let unsigned = String::from_utf8(log.add_checkpoint(700, 800))
        .unwrap()
        .replace("— example.com/audit ", "— example.com/other ");
    assert_eq!(pushed.add_checkpoint(unsigned.as_bytes()).status, 403);
    let unknown = String::from_utf8(log.add_checkpoint(0, 800))
        .unwrap()
        .replace("example.com/audit\n800", "example.com/b\n800");
    assert_eq!(pushed.add_checkpoint(unknown.as_bytes()).status, 404);
    assert_eq!(post(pushed.mirror.address(), "add-nothing", &[], b"").status, 405);
}

/// The bytes of the hashes at the end of a package of three bundles' tree.
fn sequence_hashes(package: &[u8]) -> usize {
    (0..64).find(|count| usize::from(package[package.len() - 1 - count * 32]) == *count).unwrap() * 32
}

#[test]
fn a_ticket_brings_an_older_checkpoint_back_and_nothing_else_does() {
    let log = Log::new(700);
    let pushed = Pushed::new(&log);
    pushed.pend(&log, 0, 600);
    let part = Info::parse(&pushed.add_entries(&log.add_entries(0, 600, b"", 1)).body);
    assert_eq!((part.size, part.next), (600, 256));
    // More of them than anybody remembers.
    for size in 600..620 {
        pushed.pend(&log, size, size + 1);
    }
    let rest = |ticket: &[u8]| pushed.add_entries(&log.add_entries(256, 600, ticket, usize::MAX));
    let forgotten = rest(b"");
    assert_eq!((forgotten.status, Info::parse(&forgotten.body).size), (409, 620));
    for at in [0, 31, 32, part.ticket.len() - 1] {
        let mut forged = part.ticket.clone();
        forged[at] ^= 1;
        assert_eq!(rest(&forged).status, 409, "byte {at}");
    }
    // The log signed this one too, and the mirror never made it pending.
    let note = log.rewritten(0).checkpoint(600);
    assert_eq!(rest(&[&part.ticket[..32], note.as_str().as_bytes()].concat()).status, 409);
    pushed.cosigned(&log, 600, &rest(&part.ticket));
    let newest = pushed.info();
    assert_eq!((newest.size, newest.next), (620, 600));
    pushed.cosigned(&log, 620, &pushed.add_entries(&log.add_entries(600, 620, b"", usize::MAX)));
}

#[test]
fn subtrees_of_what_was_mirrored_are_cosigned() {
    let log = Log::new(600);
    let pushed = Pushed::new(&log);
    let lines = pushed.push(&log, 0, 600);
    let leaves: Vec<_> =
        (256..512).map(|n| graven_merkle::leaf_hash(format!("entry {n}").as_bytes())).collect();
    let package = log.package(256, 512, 600);
    let hashes = &package[package.len() - sequence_hashes(&package)..];
    let proof: String = hashes.chunks(32).map(|hash| Base64::encode_string(hash) + "\n").collect();
    let request = |note: &SignedNote| {
        let hash = Base64::encode_string(mth(&leaves).as_bytes());
        format!("subtree 256 512\n{hash}\n{proof}\n{note}").into_bytes()
    };
    let by_log = log.checkpoint(600);
    let answer = pushed.post("sign-subtree", &[], &request(&by_log));
    assert_eq!(answer.status, 403, "only what the mirror cosigned says that it has it all");
    let note = lines.iter().try_fold(by_log, |note, line| note.with_signature(line)).unwrap();
    let answer = pushed.post("sign-subtree", &[], &request(&note));
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(parse_signature_lines(&answer.body).unwrap().len(), 1);
    let other = String::from_utf8(request(&note)).unwrap().replace("subtree 256 512", "subtree 0 256");
    assert_eq!(pushed.post("sign-subtree", &[], other.as_bytes()).status, 422);
}

#[test]
fn a_log_that_signs_two_histories_is_proven_guilty_and_mirrored_no_more() {
    let log = Log::new(900);
    let pushed = Pushed::new(&log);
    pushed.push(&log, 0, 600);
    let cosigned = pushed.get("checkpoint").body;
    // A proof that fails proves nothing.
    let mut broken = log.add_checkpoint(600, 700);
    broken[10] = if broken[10] == b'A' { b'B' } else { b'A' };
    assert_eq!(pushed.add_checkpoint(&broken).status, 422);
    pushed.pend(&log, 600, 700);
    assert_eq!(pushed.add_checkpoint(&log.rewritten(10).add_checkpoint(700, 800)).status, 422);

    let files = pushed.evidence();
    assert_eq!(files.len(), 1, "{files:?}");
    let verify = format!("evidence verify {} --key", files[0]);
    let verified = crate::bench::ended(pushed.bench.command(&verify).arg(log.vkey())).ok();
    assert!(verified.text().contains("proven"), "{}", verified.text());
    // Neither history goes on, and what was mirrored is still served.
    assert_eq!(pushed.add_checkpoint(&log.add_checkpoint(700, 800)).status, 422);
    assert_eq!(pushed.add_entries(&log.add_entries(600, 700, b"", usize::MAX)).status, 422);
    assert_eq!(pushed.get("checkpoint").body, cosigned);
    let Pushed { bench, mirror, .. } = pushed;
    mirror.signal(Signal::TERM);
    assert_eq!(mirror.ended().code(), Some(5));
    // It remembers.
    let mirror = serve(&bench, "");
    assert_eq!(post(mirror.address(), "add-checkpoint", &[], &log.add_checkpoint(700, 800)).status, 422);
}

#[test]
fn a_log_that_was_added_with_one_key_twice_is_mirrored() {
    let log = Log::new(300);
    let bench = Bench::new();
    bench.run("mirror init --data-dir twice --name m.example.com/m2").ok();
    let add = "mirror add-log --data-dir twice --origin example.com/audit --url http://127.0.0.1:1 --key";
    crate::bench::ended(bench.command(add).args([&log.vkey(), "--key", &log.vkey()])).ok();
    let mirror = bench.serve_with("mirror serve --data-dir twice --listen 127.0.0.1:0 --poll-ms 60000");
    assert_eq!(post(mirror.address(), "add-checkpoint", &[], &log.add_checkpoint(0, 300)).status, 200);
}

#[test]
fn it_serves_by_tls_and_says_how_far_it_is() {
    let log = Log::new(300);
    let pushed = Pushed::new(&log);
    pushed.push(&log, 0, 300);
    let Pushed { bench, mirror, place, .. } = pushed;
    mirror.stop();
    let ca = Ca::new();
    let issued = ca.issue("localhost");
    bench.write("ca.pem", ca.pem());
    bench.write("m.pem", issued.certificate);
    bench.write_secret("m.key", issued.key);
    let ops = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = format!(" --tls-cert m.pem --tls-key m.key --ops-listen {ops}");
    let mirror = serve(&bench, &more);
    let port = mirror.url().strip_prefix("https://127.0.0.1:").expect("TLS");
    let audit = format!("audit --ca ca.pem --url https://localhost:{port}/{place} --key");
    crate::bench::ended(bench.command(&audit).arg(log.vkey())).ok();
    let begun = Instant::now();
    loop {
        let page = Connection::plain(&ops.to_string()).get("/metrics", &[]);
        let page = String::from_utf8(page.body).unwrap();
        let says = |what: &str| page.lines().any(|line| line == what);
        if says("graven_mirror_size{log=\"example.com/audit\"} 300")
            && says("graven_mirror_split_view{log=\"example.com/audit\"} 0")
            && says("graven_mirror_pending_size{log=\"example.com/audit\"} 300")
            && page.contains("graven_mirror_requests_total{call=\"read\",status=\"200\"}")
        {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{page}");
        thread::sleep(Duration::from_millis(50));
    }
    let public = bench.run("mirror serve --data-dir mirror --listen 0.0.0.0:0");
    public.refused(2, "--tls-cert");
}
