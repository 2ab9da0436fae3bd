//! The index of events against looking at each event: random events and questions, pages, growth, restarts, crashes, damage and erasure.
//!
//! Part of the crate's own tests: short runs let small logs go through every step.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use graven_event::facts::EventFacts;
use graven_event::payload::SecretKey;
use graven_event::query::{Blinder, Query, terms};
use graven_event::{
    Context, Decision, Facts, Frame, Group, Outcome, Party, Ref, Target, Time, Token, View, Word,
};
use graven_merkle::{Hash, leaf_hash};
use graven_store::fault::{Fate, FaultFs, Op, Phase, Point};
use graven_store::sim::{Seed, SimFs};
use graven_store::{Fs, RealFs};
use parking_lot::Mutex;

use super::index::{Entry, EventIndex, IndexError, IndexId, LENGTHS, Lengths};
use super::pages::PAGE;
use super::{Count, Cursor, EventFollower, Page, Source, SourceError};

const SHORT: Lengths = Lengths { chunk: 64, chunks: 4 };
const ID: IndexId = IndexId([5; 32]);
const SECOND: u64 = 1_000_000_000;

/// A log of events, with what is readable of it.
struct World {
    leaves: Vec<Leaf>,
    blinder: Blinder,
    seed: Seed,
}

#[derive(Clone)]
struct Leaf {
    frame: Frame,
    view: View,
    owners: Vec<(Group, Vec<Ref>)>,
}

impl Leaf {
    fn hash(&self) -> Hash {
        leaf_hash(&self.frame.encode().unwrap())
    }

    fn entry(&self, index: u64, blinder: &Blinder) -> Entry {
        let owners = self.owners.iter().map(|(group, owners)| (*group, &owners[..]));
        let happened = match &self.frame.facts {
            Facts::Event(event) => event.event_time,
            _ => None,
        };
        let terms = terms(&self.frame, &self.view, owners, blinder);
        Entry { index, leaf: self.hash(), logged: self.frame.log_time.0, happened, terms }
    }

    /// What is left to read once somebody's key is gone.
    fn erase(&mut self, person: Ref) {
        for (group, _) in self.owners.iter().filter(|(_, owners)| owners.contains(&person)) {
            match group {
                Group::Actor => (self.view.actor, self.view.session) = (None, None),
                Group::Targets => self.view.targets.clear(),
                Group::Token => (self.view.client, self.view.token) = (None, None),
                Group::Context => self.view.context = Context::default(),
                Group::Decision => self.view.decision = Decision::default(),
                _ => {}
            }
        }
        self.owners.retain(|(_, owners)| !owners.contains(&person));
    }
}

impl World {
    fn new(seed: u64, leaves: u64) -> Self {
        let mut world =
            Self { leaves: Vec::new(), blinder: Blinder::new(&SecretKey([9; 32])), seed: Seed(seed) };
        world.grow(leaves);
        world
    }

    fn grow(&mut self, leaves: u64) {
        for _ in 0..leaves {
            let leaf = leaf(&mut self.seed, self.leaves.len() as u64);
            self.leaves.push(leaf);
        }
    }

    fn entries(&self, from: u64, to: u64) -> Vec<Entry> {
        (from..to).map(|index| self.leaves[index as usize].entry(index, &self.blinder)).collect()
    }

    /// Takes in all that the index lacks, a part at a time, and tidies now and then.
    fn fill(&mut self, index: &EventIndex) {
        while index.position() < self.leaves.len() as u64 {
            let to = (index.position() + 1 + self.seed.below(50)).min(self.leaves.len() as u64);
            index.add(self.entries(index.position(), to)).unwrap();
            while self.seed.one_in(3) && index.tidy().unwrap() {}
        }
    }

    fn open(&self, fs: &Arc<dyn Fs>, dir: &Path) -> EventIndex {
        let leaf = |index: u64| self.leaves.get(index as usize).map(Leaf::hash);
        EventIndex::open_with(fs.clone(), dir, ID, leaf, SHORT).unwrap()
    }

    fn expected(&self, query: &Query) -> Vec<u64> {
        let fits = |leaf: &Leaf| query.matches(&leaf.frame, &leaf.view);
        (0..).zip(&self.leaves).filter(|(_, leaf)| fits(leaf)).map(|(index, _)| index).collect()
    }

    /// Random questions are answered as by looking at each event, in pages from either end.
    fn check(&mut self, index: &EventIndex, questions: usize) {
        for _ in 0..questions {
            let text = question(&mut self.seed, self.leaves.len() as u64);
            self.ask(index, &text);
        }
    }

    fn ask(&mut self, index: &EventIndex, text: &str) {
        let query = Query::parse(text, Time(0)).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut expected = self.expected(&query);
        let complete_to = self.leaves.len() as u64;
        let plan = query.plan(&self.blinder);
        assert_eq!(index.count(&plan).unwrap(), Count { hits: expected.len() as u64, complete_to }, "{text}");
        for newest_first in [false, true] {
            let (mut found, mut after, limit) = (Vec::new(), None, 1 + self.seed.below(40) as usize);
            loop {
                let page = index.search(&plan, Page { after, limit, newest_first }).unwrap();
                assert!(page.indices.len() <= limit && page.complete_to == complete_to);
                found.extend(page.indices);
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{text}, newest first: {newest_first}");
            expected.reverse();
        }
    }
}

fn pick<'a>(seed: &mut Seed, of: &[&'a str]) -> &'a str {
    of[seed.below(of.len() as u64) as usize]
}

const PEOPLE: u64 = 12;
const ACTIONS: [&str; 5] = ["GetBucketAcl", "PutObject", "GetObject", "auth.login", "data.export"];
const SCOPES: [&str; 3] = ["s3:Read", "s3:Write", "Admin"];
const KINDS: [&str; 3] = ["bucket", "user", "SigningKey"];

fn person(number: u64) -> (Party, Ref) {
    (Party::new("user", format!("person-{number}")), Ref([100 + number as u8; 16]))
}

fn words(seed: &mut Seed, of: &[&str]) -> Vec<Word> {
    let mut words: Vec<Word> = (0..seed.below(3)).map(|_| Word::new(pick(seed, of)).unwrap()).collect();
    words.sort();
    words
}

fn leaf(seed: &mut Seed, index: u64) -> Leaf {
    let ((actor, actor_ref), (other, other_ref)) = (person(seed.below(PEOPLE)), person(seed.below(PEOPLE)));
    let facts = EventFacts {
        action: Word::new(pick(seed, &ACTIONS)).unwrap(),
        product: seed.one_in(2).then(|| Word::new("cloudtrail").unwrap()),
        event_time: (!seed.one_in(5)).then(|| (index * 10 + seed.below(500)) * SECOND),
        actor: actor_ref,
        client: None,
        targets: vec![],
        requested: vec![],
        granted: words(seed, &SCOPES),
        used: words(seed, &SCOPES),
        token: None,
        place: None,
        on_behalf_of: Vec::new(),
        about: Vec::new(),
    };
    let frame = Frame {
        outcome: Some(Outcome::ALL[seed.below(4) as usize]),
        retention: seed.below(3) as u8,
        // Several leaves may share a time.
        log_time: Time((index / 3) * 30 * SECOND),
        id: std::array::from_fn(|_| seed.next() as u8),
        producer: Ref([seed.below(2) as u8; 16]),
        sequence: 0,
        previous: [0; 32],
        payload: None,
        facts: Facts::Event(facts),
    };
    let kind = pick(seed, &KINDS).to_owned();
    let is_person = kind == "user";
    let view = View {
        actor: Some(actor),
        session: seed.one_in(2).then(|| format!("session-{}", seed.below(9))),
        targets: vec![Target { kind, id: other.id, name: None }],
        client: seed.one_in(2).then(|| Party::new("application", "console")),
        token: seed
            .one_in(2)
            .then(|| Token { id: Some(format!("jti-{}", seed.below(50))), ..Token::default() }),
        context: Context {
            request_id: Some(format!("request-{index}")),
            ip: Some(format!("192.0.2.{}", seed.below(9))),
            ..Context::default()
        },
        decision: Decision { reason: None, policy: seed.one_in(2).then(|| "default-deny".to_owned()) },
        labels: BTreeMap::from([("env".to_owned(), pick(seed, &["prod", "test"]).to_owned())]),
        ..View::default()
    };
    let mut everybody = vec![actor_ref];
    if is_person && other_ref != actor_ref {
        everybody.push(other_ref);
    }
    let targets = if is_person { vec![other_ref] } else { vec![] };
    let owners = vec![
        (Group::Actor, vec![actor_ref]),
        (Group::Targets, targets),
        (Group::Token, vec![actor_ref]),
        (Group::Context, vec![actor_ref]),
        (Group::Decision, everybody),
    ];
    Leaf { frame, view, owners }
}

fn question(seed: &mut Seed, leaves: u64) -> String {
    let clause = |seed: &mut Seed| {
        let n = seed.below(PEOPLE + 1);
        let not = if seed.one_in(4) { "-" } else { "" };
        let time = Time(seed.below(leaves.max(1)) * 10 * SECOND);
        match seed.below(16) {
            0 => format!("{not}actor:person-{n}"),
            1 => format!("{not}actor:user:person-{n},person-{}", seed.below(PEOPLE)),
            2 => format!("{not}target:person-{n}"),
            3 => format!("{not}client:console"),
            4 => format!("{not}token:jti-{}", seed.below(60)),
            5 => format!("request:request-{}", seed.below(leaves + 5)),
            6 => format!("{not}session:session-{n} {not}ip:192.0.2.{n}"),
            7 => format!("{not}action:{}", pick(seed, &ACTIONS)),
            8 => format!("{not}action:get*,data.*"),
            9 => format!("{not}outcome:{}", pick(seed, &["success", "failure", "denied,success"])),
            10 => format!("{not}scope:{}", pick(seed, &["s3:*", "Admin", "s3:Read,s3:Write", "none"])),
            11 => format!("{not}label:env={}", pick(seed, &["prod", "test", "t*", "x"])),
            12 => format!(
                "{not}{}",
                pick(seed, &["bucket", "deny", "\"get object\"", "sign*", "\"acl key\"", "x"])
            ),
            13 => format!("since:{time}"),
            14 => format!("until:{time} class:{}", seed.below(4)),
            _ => format!("happened-{}:{time}", pick(seed, &["since", "until"])),
        }
    };
    (0..seed.below(4)).map(|_| clause(seed)).collect::<Vec<_>>().join(" ")
}

fn on_disk() -> (tempfile::TempDir, Arc<dyn Fs>, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events");
    (dir, Arc::new(RealFs), path)
}

#[test]
fn answers_are_those_of_looking_at_each_event() {
    for seed in 0..4 {
        let (_dir, fs, path) = on_disk();
        let mut world = World::new(seed, 0);
        let index = world.open(&fs, &path);
        world.check(&index, 3);
        for _ in 0..6 {
            let more = world.seed.below(250);
            world.grow(more);
            world.fill(&index);
            world.check(&index, 30);
        }
        while index.tidy().unwrap() {}
        world.check(&index, 40);
        drop(index);

        let index = world.open(&fs, &path);
        let whole = world.leaves.len() as u64 / 64 * 64;
        assert_eq!(index.position(), whole, "runs are kept, and only the tail is read again");
        world.fill(&index);
        world.check(&index, 40);
    }
}

#[test]
fn chunks_of_their_full_length_are_merged_and_searched() {
    let (_dir, fs, path) = on_disk();
    let mut world = World::new(3, 500);
    let lengths = Lengths { chunk: LENGTHS.chunk, chunks: 2 };
    let index = EventIndex::open_with(fs, &path, ID, |_| None, lengths).unwrap();
    // The same leaves over and over: what counts here is how long lists are.
    let entries: Vec<Entry> = world.entries(0, 500);
    let total = 3 * u64::from(LENGTHS.chunk) + 100;
    for from in (0..total).step_by(500) {
        let mut batch = entries.clone();
        batch.truncate((total - from).min(500) as usize);
        (from..).zip(&mut batch).for_each(|(at, entry)| (entry.index, entry.logged) = (at, at));
        index.add(batch).unwrap();
    }
    while index.tidy().unwrap() {}
    assert_eq!(index.state.read().runs.len(), 2, "a large one and a small one");
    for text in ["", "actor:person-1", "-outcome:denied bucket", "action:get* -actor:person-2", "class:0,1,2"]
    {
        let query = Query::parse(text, Time(0)).unwrap();
        let fits: Vec<u64> = world.expected(&query);
        let (rounds, rest) = (total / 500, total % 500);
        let expected = fits.len() as u64 * rounds + fits.iter().filter(|at| **at < rest).count() as u64;
        let plan = query.plan(&world.blinder);
        assert_eq!(index.count(&plan).unwrap(), Count { hits: expected, complete_to: total }, "{text}");
        let page = index.search(&plan, Page { after: None, limit: 1000, newest_first: true }).unwrap();
        let newest = (0..total).rev().filter(|at| fits.contains(&(at % 500))).take(1000);
        assert_eq!(page.indices, newest.collect::<Vec<_>>(), "{text}");
    }
    world.seed.next();
}

#[test]
fn pages_from_the_newest_do_not_shift_as_the_log_grows() {
    let (_dir, fs, path) = on_disk();
    let mut world = World::new(11, 300);
    let index = world.open(&fs, &path);
    world.fill(&index);
    let query = Query::parse("-action:PutObject", Time(0)).unwrap();
    let plan = query.plan(&world.blinder);
    let mut expected = world.expected(&query);
    expected.reverse();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = index.search(&plan, Page { after, limit: 7, newest_first: true }).unwrap();
        found.extend(page.indices);
        world.grow(20);
        world.fill(&index);
        after = page.next.map(|cursor| Cursor::from_bytes(&cursor.to_bytes()).unwrap());
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, expected);

    for forged in [0, 1, 299, u64::MAX] {
        let after = Cursor::from_bytes(&forged.to_be_bytes());
        for newest_first in [true, false] {
            let hits = index.search(&plan, Page { after, limit: usize::MAX, newest_first }).unwrap();
            assert!(hits.indices.iter().all(|hit| world.expected(&query).contains(hit)));
        }
    }
    assert_eq!(Cursor::from_bytes(b"short"), None);
}

/// Whether any file has these bytes.
fn is_in_files(dir: &Path, bytes: &[u8]) -> bool {
    let files = std::fs::read_dir(dir).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    // Without the checksums, so that what reaches over two pages is one.
    let held =
        files.map(|file| file.chunks(PAGE).flat_map(|page| &page[..PAGE - 4]).copied().collect::<Vec<u8>>());
    held.into_iter().any(|file| file.windows(bytes.len()).any(|part| part == bytes))
}

/// What one person is found by, apart from what they share with others.
fn traces(world: &World, number: u64) -> Vec<Vec<u8>> {
    let (party, reference) = person(number);
    let mine: Vec<&Leaf> =
        world.leaves.iter().filter(|leaf| leaf.view.actor.as_ref() == Some(&party)).collect();
    let alone = mine.iter().map(|leaf| {
        let view = View { context: Context { ip: None, ..leaf.view.context.clone() }, ..View::default() };
        terms(&leaf.frame, &view, [], &world.blinder).remove(0)
    });
    let mut traces: Vec<Vec<u8>> = alone.map(|request| request.as_bytes()[2..].to_vec()).collect();
    let view = View { actor: Some(party), ..View::default() };
    let by_name = terms(&mine[0].frame, &view, [], &world.blinder);
    traces.extend(by_name.iter().take(2).map(|term| term.as_bytes()[2..].to_vec()));
    traces.push(reference.0.to_vec());
    assert!(traces.iter().all(|trace| trace.len() == 16));
    traces
}

#[test]
fn the_erased_are_in_no_byte_of_any_file_and_others_are_found_as_before() {
    let (_dir, fs, path) = on_disk();
    let mut world = World::new(21, 64 * 9);
    let index = world.open(&fs, &path);
    world.fill(&index);
    while index.tidy().unwrap() {}
    let (gone, stays) = (traces(&world, 3), traces(&world, 4));
    assert!(gone.iter().chain(&stays).all(|trace| is_in_files(&path, trace)), "all of it is there before");

    // Some of it waits in memory, in a full chunk and in the tail.
    world.grow(64 + 30);
    index.add(world.entries(index.position(), world.leaves.len() as u64)).unwrap();
    let late: Vec<Entry> = {
        world.grow(64);
        world.entries(index.position(), world.leaves.len() as u64)
    };
    index.erase(&[person(3).1]).unwrap();
    world.leaves.iter_mut().for_each(|leaf| leaf.erase(person(3).1));
    assert!(!gone.iter().any(|trace| is_in_files(&path, trace)), "nothing of the erased is left");
    assert!(stays.iter().all(|trace| is_in_files(&path, trace)));
    // What was read before the erasure and comes after it.
    index.add(late).unwrap();
    world.check(&index, 100);
    world.ask(&index, "actor:person-3");
    while index.tidy().unwrap() {}
    assert!(!gone.iter().any(|trace| is_in_files(&path, trace)), "nor does it come back");
    assert!(!traces(&World::new(21, 64 * 9), 3).iter().any(|trace| is_in_files(&path, trace)));
    drop(index);

    let index = world.open(&fs, &path);
    world.fill(&index);
    world.check(&index, 100);
    index.erase(&[person(3).1, person(5).1, Ref([1; 16])]).unwrap();
    world.leaves.iter_mut().for_each(|leaf| leaf.erase(person(5).1));
    world.check(&index, 100);
}

#[test]
fn damage_is_noticed_and_made_good_from_the_log() {
    let (_dir, fs, path) = on_disk();
    let mut world = World::new(31, 64 * 6);
    let index = world.open(&fs, &path);
    world.fill(&index);
    while index.tidy().unwrap() {}
    drop(index);
    let names: Vec<String> = fs.list(&path).unwrap();
    assert_eq!(names.len(), 3, "one large run and two small ones");
    let (mut pages, mut met_in) = (0, 0);
    for name in names {
        let whole = std::fs::read(path.join(&name)).unwrap();
        for page in 0..whole.len() / PAGE {
            let mut damaged = whole.clone();
            damaged[page * PAGE + world.seed.below(PAGE as u64) as usize] ^= 1 << world.seed.below(8);
            std::fs::write(path.join(&name), &damaged).unwrap();
            let index = world.open(&fs, &path);
            let mut met = index.position() < world.leaves.len() as u64;
            for _ in 0..40 {
                world.fill(&index);
                let text = question(&mut world.seed, world.leaves.len() as u64);
                let query = Query::parse(&text, Time(0)).unwrap();
                match index.count(&query.plan(&world.blinder)) {
                    Ok(count) => assert_eq!(count.hits, world.expected(&query).len() as u64, "{text}"),
                    Err(IndexError::Damaged { position }) => {
                        met = true;
                        assert_eq!(position, index.position());
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            pages += 1;
            met_in += u32::from(met);
            world.fill(&index);
            while index.tidy().unwrap() {}
            world.check(&index, 5);
        }
        for cut in [0, PAGE, whole.len() / 2, whole.len() - PAGE] {
            std::fs::write(path.join(&name), &whole[..cut]).unwrap();
            let index = world.open(&fs, &path);
            assert!(index.position() < world.leaves.len() as u64);
            world.fill(&index);
            while index.tidy().unwrap() {}
            world.check(&index, 5);
        }
    }
    assert!(met_in * 2 > pages, "damage of {met_in} pages of {pages} was met");
}

#[test]
fn what_is_of_another_log_or_another_history_is_made_again() {
    let (_dir, fs, path) = on_disk();
    let mut world = World::new(41, 64 * 5);
    let index = world.open(&fs, &path);
    world.fill(&index);
    while index.tidy().unwrap() {}
    drop(index);

    let hash = |index: u64| world.leaves.get(index as usize).map(Leaf::hash);
    let position = |fs: &Arc<dyn Fs>, id, leaf: &dyn Fn(u64) -> Option<Hash>| {
        EventIndex::open_with(fs.clone(), &path, id, leaf, SHORT).unwrap().position()
    };
    assert_eq!(position(&fs, ID, &hash), 320);
    // A log that was taken back to 300 leaves, and went on otherwise from there.
    let other = World::new(42, 64 * 5);
    let forked =
        |index: u64| if index < 300 { hash(index) } else { Some(other.leaves[index as usize].hash()) };
    assert_eq!(position(&fs, ID, &forked), 256);
    assert_eq!(position(&fs, IndexId([6; 32]), &hash), 0);
    assert_eq!(fs.list(&path).unwrap(), Vec::<String>::new());
}

#[test]
fn power_cuts_lose_the_newest_and_nothing_else() {
    for seed in 0..40 {
        let disk = SimFs::new();
        let fs: Arc<dyn Fs> = Arc::new(disk.clone());
        let path = PathBuf::from("/events");
        let mut world = World::new(seed, 0);
        for _ in 0..4 {
            let index = world.open(&fs, &path);
            let more = 40 + world.seed.below(300);
            world.grow(more);
            let stop = world.leaves.len() as u64 - world.seed.below(40);
            while index.position() < stop {
                let to = (index.position() + 1 + world.seed.below(50)).min(stop);
                index.add(world.entries(index.position(), to)).unwrap();
                if world.seed.one_in(2) {
                    index.tidy().unwrap();
                }
            }
            disk.crash(&mut world.seed);
        }
        let index = world.open(&fs, &path);
        world.fill(&index);
        world.check(&index, 20);
    }
}

#[test]
fn after_any_failed_step_the_next_try_succeeds_and_the_erased_stay_gone() {
    let steps = Arc::new(AtomicU64::new(0));
    let mut failing = 0;
    loop {
        let disk = SimFs::new();
        let (count, path) = (steps.clone(), PathBuf::from("/events"));
        count.store(0, Ordering::Relaxed);
        let script = move |point: Point<'_>| {
            let is_step = point.op.mutates() && point.op != Op::Remove || point.phase == Phase::Before;
            match is_step && count.fetch_add(1, Ordering::Relaxed) == failing {
                true => Fate::Fail(ErrorKind::Other),
                false => Fate::Continue,
            }
        };
        let plain: Arc<dyn Fs> = Arc::new(disk.clone());
        let mut world = World::new(51, 64 * 4);
        let index = world.open(&plain, &path);
        world.fill(&index);
        drop(index);
        let fs: Arc<dyn Fs> = Arc::new(FaultFs::new(plain.clone(), Arc::new(script)));
        let leaf = |index: u64| world.leaves.get(index as usize).map(Leaf::hash);
        let open = || EventIndex::open_with(fs.clone(), &path, ID, leaf, SHORT);
        let index = open().or_else(|_| open()).unwrap();
        let again =
            |run: &dyn Fn() -> Result<(), IndexError>| run().or_else(|_| run()).or_else(|_| run()).unwrap();
        again(&|| match world.leaves.len() as u64 - index.position() {
            0 => Ok(()),
            _ => index.add(world.entries(index.position(), world.leaves.len() as u64)),
        });
        again(&|| index.tidy().and_then(|_| index.tidy()).map(drop));
        // Nobody can ask again for whom there is no name any more: it is finished behind.
        if index.erase(&[person(2).1]).is_err() {
            again(&|| index.tidy().and_then(|_| index.tidy()).map(drop));
        }
        let was_reached = steps.swap(u64::MAX / 2, Ordering::Relaxed) > failing;
        let gone = person(2).1.0;
        // A cut that is not made good again leaves leaves to be read, as they are now.
        world.leaves.iter_mut().for_each(|leaf| leaf.erase(person(2).1));
        world.fill(&index);
        world.check(&index, 3);
        let files = disk.snapshot();
        assert!(!files.values().any(|file| file.windows(16).any(|part| part == gone)), "step {failing}");
        if !was_reached {
            break;
        }
        failing += 1;
    }
    assert!(failing > 30, "{failing} steps only");
}

/// A log that grows.
struct Growing(Mutex<World>);

impl Source for Arc<Growing> {
    fn size(&self) -> u64 {
        self.0.lock().leaves.len() as u64
    }

    fn entries(&self, from: u64, to: u64) -> Result<Vec<Entry>, SourceError> {
        Ok(self.0.lock().entries(from, to))
    }

    fn leaf_hash(&self, index: u64) -> Option<Hash> {
        self.0.lock().leaves.get(index as usize).map(Leaf::hash)
    }
}

#[test]
fn a_follower_catches_up_with_progress_and_goes_on() {
    let (_dir, fs, path) = on_disk();
    let source = Arc::new(Growing(Mutex::new(World::new(61, 700))));
    let index = Arc::new(source.0.lock().open(&fs, &path));
    let follower = EventFollower::new(index.clone(), source.clone());
    let mut told = Vec::new();
    follower.catch_up(|position, size| told.push((position, size))).unwrap();
    assert_eq!(told.last(), Some(&(700, 700)));
    source.0.lock().check(&index, 20);

    let following = follower.start(|_, _| {}).unwrap();
    for _ in 0..5 {
        source.0.lock().grow(100);
        let size = source.size();
        assert!(index.wait_for(size, Duration::from_secs(20)));
        source.0.lock().check(&index, 5);
    }
    assert!(!index.wait_for(source.size() + 1, Duration::from_millis(30)));
    following.stop();
    let error = index.add(source.0.lock().entries(3, 4)).unwrap_err();
    assert!(matches!(error, IndexError::OutOfOrder { index: 3, .. }), "{error}");
}

#[test]
fn real_events_are_found_by_what_they_say() {
    let mut world = World::new(71, 0);
    world.leaves = cloudtrail();
    assert_eq!(world.leaves.len(), 2900);
    let (_dir, fs, path) = on_disk();
    let index = world.open(&fs, &path);
    world.fill(&index);
    let who: Vec<String> =
        world.leaves.iter().flat_map(|leaf| &leaf.view.actor).map(|actor| actor.id.clone()).collect();
    let actions = world.leaves.iter().map(|leaf| match &leaf.frame.facts {
        Facts::Event(event) => event.action.as_str().to_owned(),
        _ => unreachable!("all are events"),
    });
    let actions: Vec<String> = actions.collect();
    for at in (0..world.leaves.len()).step_by(97) {
        let (who, action) = (&who[at % who.len()], &actions[at]);
        for text in [
            format!("action:{action}"),
            format!("actor:\"{who}\" action:{action}"),
            format!("actor:\"{who}\" -outcome:success"),
            format!("-actor:\"{who}\" action:get* bucket"),
            format!("happened-since:2023-07-10T12:00:00Z {} outcome:failure,denied", &action[..3]),
        ] {
            world.ask(&index, &text);
        }
    }
}

/// The records of a real trail, mapped as far as the index needs it.
fn cloudtrail() -> Vec<Leaf> {
    let trail = &include_bytes!("vectors/events/cloudtrail.jsonl.gz")[..];
    let lines = BufReader::new(flate2::read::GzDecoder::new(trail)).lines();
    let mut seed = Seed(1);
    let leaves = (0..).zip(lines).map(|(index, line)| {
        let record: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let text = |path: &str| record.pointer(path).and_then(|value| value.as_str()).map(str::to_owned);
        let mut leaf = leaf(&mut seed, index);
        let Facts::Event(facts) = &mut leaf.frame.facts else { unreachable!("an event") };
        facts.action = Word::new(text("/eventName").unwrap()).unwrap();
        facts.event_time = text("/eventTime").and_then(|time| time.parse::<Time>().ok()).map(|time| time.0);
        leaf.frame.outcome = Some(match text("/errorCode") {
            None => Outcome::Success,
            Some(code) if code.contains("Denied") => Outcome::Denied,
            Some(_) => Outcome::Failure,
        });
        let who = text("/userIdentity/arn").or_else(|| text("/userIdentity/invokedBy"));
        leaf.view.actor = Some(Party::new("user", who.unwrap_or_else(|| "unknown".to_owned())));
        leaf.view.context.ip = text("/sourceIPAddress");
        leaf.view.service = text("/eventSource");
        leaf
    });
    leaves.collect()
}
