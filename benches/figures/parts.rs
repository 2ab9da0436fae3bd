//! The parts of recording and of taking in, one after another on one thread.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use graven_event::facts::EventFacts;
use graven_event::group::{parties, split};
use graven_event::payload::{Payload, Sealed, Sealer, SecretKey, Subject};
use graven_event::query::{Blinder, terms};
use graven_event::{Event, Facts, Frame, Group, Party, Ref, Time, Unplaced, View, Word};

use crate::calls::random_bytes;
use crate::events::Events;
use crate::report::Table;

/// An event on its way.
struct Item {
    event: Event,
    id: [u8; 16],
    sealed: Sealed,
    frame: Frame,
    leaf: Vec<u8>,
}

/// Keys as a log and its people have them.
struct Keys {
    log: SecretKey,
    people: HashMap<String, Subject>,
    by_ref: HashMap<Ref, SecretKey>,
}

/// Microseconds an event of each part.
pub(crate) fn each(events: &Events, time: Duration, table: &mut Table) {
    let messages = events.each();
    let parsed: Vec<Event> =
        messages.iter().map(|message| Event::try_from(message.clone()).expect("an event")).collect();
    let keys = Keys::of(&parsed);
    let mut sealer = Sealer::default();
    let items: Vec<Item> = parsed.into_iter().map(|event| keys.item(event, &mut sealer)).collect();
    let mut measure = |what: &str, part: &mut dyn FnMut(usize)| {
        let (begun, mut rounds) = (Instant::now(), 0);
        while begun.elapsed() < time / 2 {
            (0..items.len()).for_each(&mut *part);
            rounds += items.len();
        }
        table.add(
            format!("  one thread: {what}"),
            "µs/event",
            begun.elapsed().as_secs_f64() * 1e6 / rounds as f64,
        );
    };
    measure("copying a message, which the next includes", &mut |at| drop(black_box(messages[at].clone())));
    measure("message to event, checked", &mut |at| {
        let event = Event::try_from(messages[at].clone()).expect("an event");
        event.check(Time(u64::MAX / 2)).expect("a good one");
        black_box(event);
    });
    measure("sealing", &mut |at| drop(black_box(keys.seal(&items[at].event, &items[at].id, &mut sealer))));
    measure("splitting into groups, of sealing", &mut |at| drop(black_box(split(&items[at].event))));
    measure("leaf written, read and placed", &mut |at| {
        let bytes = items[at].frame.encode().expect("a leaf");
        let (unplaced, frame) = Unplaced::from_bytes(bytes).expect("a leaf");
        black_box((unplaced.place(Time(1), [1; 32]), frame));
    });
    measure("opening, to be taken in", &mut |at| drop(black_box(keys.open(&items[at]))));
    let blinder = Blinder::new(&keys.log);
    let views: Vec<_> = items.iter().map(|item| keys.open(item)).collect();
    measure("terms to be found by", &mut |at| {
        let (view, owners) = &views[at];
        let owners = owners.iter().map(|(group, people)| (*group, &people[..]));
        black_box(terms(&items[at].frame, view, owners, &blinder));
    });
    let bytes = |of: &dyn Fn(&Item) -> usize| items.iter().map(of).sum::<usize>() as f64 / items.len() as f64;
    table.add("  leaf", "B", bytes(&|item| item.leaf.len()));
    table.add("  sealed payload", "B", bytes(&|item| item.sealed.bytes.len()));
}

impl Keys {
    fn of(events: &[Event]) -> Self {
        let mut people = HashMap::new();
        for party in events.iter().flat_map(parties) {
            people
                .entry(party.subject())
                .or_insert_with(|| Subject { reference: Ref(random()), key: SecretKey(random()) });
        }
        let by_ref = people.values().map(|subject| (subject.reference, subject.key.clone())).collect();
        Self { log: SecretKey(random()), people, by_ref }
    }

    fn of_party(&self, party: &Party) -> Option<Subject> {
        self.people.get(&party.subject()).cloned()
    }

    fn seal(&self, event: &Event, id: &[u8; 16], sealer: &mut Sealer) -> Sealed {
        sealer.seal(event, id, &[7; 32], &self.log, |party| self.of_party(party)).expect("everybody is known")
    }

    fn item(&self, event: Event, sealer: &mut Sealer) -> Item {
        let id = random();
        let sealed = self.seal(&event, &id, sealer);
        let words = |texts: &[String]| texts.iter().map(|text| word(text)).collect();
        let reference = |party: &Party| self.people[&party.subject()].reference;
        let facts = EventFacts {
            action: word(&event.action),
            product: event.source.product.as_deref().map(word),
            event_time: event.time.map(|time| time.0),
            actor: reference(&event.actor),
            client: event.client.as_ref().map(reference),
            targets: event
                .targets
                .iter()
                .filter_map(graven_event::Target::as_party)
                .map(|it| reference(&it))
                .collect(),
            requested: words(&event.scope.requested),
            granted: words(&event.scope.granted),
            used: words(&event.scope.used),
            token: event.token.as_ref().map(|_| Ref(random())),
            place: event.context.ip.as_ref().map(|_| Ref(random())),
            on_behalf_of: event.on_behalf_of.iter().map(reference).collect(),
            about: event.about.iter().map(reference).collect(),
        };
        let frame = Frame {
            outcome: Some(event.outcome),
            retention: 0,
            log_time: Time(0),
            id,
            producer: Ref(random()),
            sequence: 0,
            previous: [0; 32],
            payload: Some(sealed.id),
            facts: Facts::Event(facts),
        };
        let leaf = frame.encode().expect("a leaf");
        Item { event, id, sealed, frame, leaf }
    }

    /// As the index opens it: all but the record and the changes.
    fn open(&self, item: &Item) -> (View, Vec<(Group, Vec<Ref>)>) {
        let payload = Payload::of(&item.sealed.bytes, &item.id, &item.sealed.id).expect("its payload");
        let (mut view, mut owners) = (View::default(), Vec::new());
        for (group, people) in payload.owners() {
            if matches!(group, Group::Raw | Group::Changes) {
                continue;
            }
            let opened = payload.open(group, &self.log, |reference| self.by_ref.get(&reference).cloned());
            view.add(group, &opened.expect("it opens").text).expect("a group");
            owners.push((group, people.to_vec()));
        }
        (view, owners)
    }
}

fn word(text: &str) -> Word {
    Word::new(text).expect("a word")
}

fn random<const N: usize>() -> [u8; N] {
    random_bytes(N).try_into().expect("as many bytes")
}
