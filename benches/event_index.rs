//! How fast events are taken in and found: `cargo bench -p graven-index --bench event_index -- [EVENTS]`, ten million
//! unless said otherwise.
//!
//! Events are shaped like those of a real account's audit trail: 260 actions, most of them rare, few people who do most, a request
//! number of its own each. What is measured is everything but opening payloads: naming terms, blinding them, taking them in.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::unwrap_used)] // figures: a failed run says so and ends
#![allow(missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use graven_event::facts::EventFacts;
use graven_event::payload::SecretKey;
use graven_event::query::{Blinder, Query, terms};
use graven_event::{Context, Facts, Frame, Group, Outcome, Party, Ref, Target, Time, Token, View, Word};
use graven_index::events::{Entry, EventFollower, EventIndex, IndexId, Page, Source, SourceError};
use graven_merkle::Hash;
use graven_store::RealFs;
use graven_store::sim::Seed;

const BATCH: u64 = 4096;
const PER_SECOND: u64 = 10_000;
const SUSTAINED: Duration = Duration::from_secs(20);

fn main() {
    let events = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let index = Arc::new(open(dir.path()));
    let source = Arc::new(Events {
        blinder: Blinder::new(&SecretKey([1; 32])),
        first: Instant::now(),
        loaded: events,
    });
    load(&index, &source, events);
    sustain(&index, &source);
    let events = index.position();
    println!("{:.1} B an event, peak {} MB of memory", bytes(dir.path()) as f64 / events as f64, peak_mb());
    drop(index);
    let begun = Instant::now();
    let index = open(dir.path());
    println!("opened in {:.1} ms, {} of {events} leaves are there", ms(begun), index.position());
    questions(&index, &source.blinder, index.position());
    let begun = Instant::now();
    index.erase(&[reference(40_000)]).unwrap();
    println!("a rare person erased in {:.2} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    index.erase(&[reference(0)]).unwrap();
    println!("the busiest person erased in {:.2} s", begun.elapsed().as_secs_f64());
}

fn open(dir: &Path) -> EventIndex {
    EventIndex::open(Arc::new(RealFs), dir, IndexId([1; 32]), |_| Some(Hash::from([7; 32]))).unwrap()
}

fn load(index: &EventIndex, source: &Events, events: u64) {
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut count = 0;
    for from in (0..events).step_by(BATCH as usize) {
        let batch: Vec<Entry> = (from..(from + BATCH).min(events)).map(|at| source.entry(at)).collect();
        count += batch.iter().map(|entry| entry.terms.len()).sum::<usize>();
        index.add(batch).unwrap();
        while index.tidy().unwrap() {}
    }
    let took = begun.elapsed().as_secs_f64();
    let (rate, per_event) = (events as f64 / took, count as f64 / events as f64);
    println!(
        "{events} events, {per_event:.1} terms each: {rate:.0}/s on one thread, {:.1} s of CPU",
        cpu_seconds() - cpu
    );
}

/// Ten thousand a second, as they come: how long until each is found, and how much of a core that takes.
fn sustain(index: &Arc<EventIndex>, source: &Arc<Events>) {
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let events = Events { blinder: source.blinder.clone(), first: begun, loaded: source.loaded };
    let live = Live(Arc::new(events));
    let following = EventFollower::new(index.clone(), live.clone()).start(|_, _| {}).unwrap();
    let mut waits = Vec::new();
    while begun.elapsed() < SUSTAINED {
        let (size, at) = (live.size(), Instant::now());
        assert!(index.wait_for(size, Duration::from_secs(30)));
        waits.push(ms(at));
        std::thread::sleep(Duration::from_millis(3));
    }
    let share = (cpu_seconds() - cpu) / begun.elapsed().as_secs_f64() * 100.0;
    following.stop();
    waits.sort_by(f64::total_cmp);
    let (p50, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    println!(
        "{PER_SECOND}/s: found after p50 {p50:.0} ms, p99 {p99:.0} ms, at most {:.0} ms; {share:.0} % of a core",
        waits[waits.len() - 1]
    );
}

fn questions(index: &EventIndex, blinder: &Blinder, events: u64) {
    let at = |share: f64| Time((events as f64 * share) as u64 * 1_000_000_000 / PER_SECOND);
    for (what, text) in [
        ("rare actor", "actor:person-40000".to_owned()),
        ("common action and outcome", "action:action3 outcome:denied".to_owned()),
        ("hour of a time range", format!("action:action20 since:{} until:{}", at(0.25), at(0.26))),
        ("two common terms", "action:action0 actor:person-0".to_owned()),
        ("two very common terms", "product:cloudtrail outcome:success".to_owned()),
        ("negation", "action:action0 -outcome:success".to_owned()),
        ("rare and common", "actor:person-40000 outcome:success".to_owned()),
        ("beginning of actions", "action:action1* outcome:denied".to_owned()),
        ("event time", format!("happened-since:{} action:action7", at(0.9))),
        ("request number", format!("request:request-{}", events / 3)),
        ("never together", "action:action0 action:action1".to_owned()),
        ("everything", String::new()),
    ] {
        let plan = Query::parse(&text, Time(0)).unwrap().plan(blinder);
        let page = Page { after: None, limit: 100, newest_first: true };
        let begun = Instant::now();
        let hits = index.search(&plan, page).unwrap();
        let (first, begun) = (ms(begun), Instant::now());
        let count = index.count(&plan).unwrap().hits;
        let counted = ms(begun);
        let begun = Instant::now();
        let mut page = Page { newest_first: false, ..page };
        for _ in 0..50 {
            page.after = index.search(&plan, page).unwrap().next.or(page.after);
        }
        let deep = ms(begun) / 50.0;
        let found = hits.indices.len();
        println!(
            "{what:26} page of {found:3} in {first:7.2} ms, a later one {deep:6.2} ms, {count:8} counted in {counted:6.1} ms"
        );
    }
}

/// Events that are made as they are asked for.
struct Events {
    blinder: Blinder,
    first: Instant,
    loaded: u64,
}

#[derive(Clone)]
struct Live(Arc<Events>);

impl Source for Live {
    fn size(&self) -> u64 {
        self.0.loaded + self.0.first.elapsed().as_millis() as u64 * PER_SECOND / 1000
    }

    fn entries(&self, from: u64, to: u64) -> Result<Vec<Entry>, SourceError> {
        Ok((from..to).map(|at| self.0.entry(at)).collect())
    }

    fn leaf_hash(&self, _: u64) -> Option<Hash> {
        None
    }
}

fn reference(person: u64) -> Ref {
    Ref((u128::from(person) * 0x9e37_79b9_7f4a_7c15_f39c).to_be_bytes())
}

/// Ranks whose chance falls as their number grows.
fn skewed(seed: &mut Seed, of: u64) -> u64 {
    let share = (seed.next() >> 11) as f64 / (1_u64 << 53) as f64;
    ((of as f64 + 1.0).powf(share) as u64).saturating_sub(1)
}

impl Events {
    fn entry(&self, index: u64) -> Entry {
        let mut seed = Seed(index);
        let (action, person) = (skewed(&mut seed, 260), skewed(&mut seed, 50_000));
        let outcome = match seed.below(100) {
            0..90 => Outcome::Success,
            90..95 => Outcome::Failure,
            _ => Outcome::Denied,
        };
        let logged = index * 1_000_000_000 / PER_SECOND;
        let happened = logged.saturating_sub(seed.below(30_000_000_000));
        let used =
            if seed.one_in(2) { vec![Word::new(format!("scope{}", action % 50)).unwrap()] } else { vec![] };
        let facts = EventFacts {
            action: Word::new(format!("action{action}")).unwrap(),
            product: Some(Word::new("cloudtrail").unwrap()),
            event_time: Some(happened),
            actor: reference(person),
            client: None,
            targets: vec![],
            requested: vec![],
            granted: vec![],
            used,
            token: None,
            place: None,
            on_behalf_of: Vec::new(),
            about: Vec::new(),
        };
        let frame = Frame {
            outcome: Some(outcome),
            retention: 0,
            log_time: Time(logged),
            id: [0; 16],
            producer: reference(1_000_000 + skewed(&mut seed, 20)),
            sequence: 0,
            previous: [0; 32],
            payload: None,
            facts: Facts::Event(facts),
        };
        let target =
            || Target { kind: format!("kind{}", action % 4), id: format!("arn:{}", action % 7), name: None };
        let view = View {
            actor: Some(Party::new("user", format!("person-{person}"))),
            session: Some(format!("session-{person}-{}", index / 100_000)),
            targets: (!seed.one_in(3)).then(target).into_iter().collect(),
            token: seed
                .one_in(2)
                .then(|| Token { id: Some(format!("jti-{person}-{}", index / 20_000)), ..Token::default() }),
            context: Context {
                request_id: Some(format!("request-{index}")),
                ip: Some(format!("10.{}", skewed(&mut seed, 100_000))),
                ..Context::default()
            },
            service: Some(format!("service{}", action % 40)),
            ..View::default()
        };
        let owner = [reference(person)];
        let owners = [Group::Actor, Group::Token, Group::Context].map(|group| (group, &owner[..]));
        let terms = terms(&frame, &view, owners, &self.blinder);
        Entry { index, leaf: Hash::from([7; 32]), logged, happened: Some(happened), terms }
    }
}

fn ms(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

fn bytes(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Of all threads.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    // utime and stime, in the 100 ticks a second of every Linux.
    fields.get(11..13).map_or(0.0, |ticks| ticks.iter().sum::<f64>() / 100.0)
}
