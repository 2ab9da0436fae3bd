//! What an event takes on the disk.

use std::path::Path;
use std::time::{Duration, Instant};

use graven_proto::v1::{self, RecordBatchRequest};

use crate::events::{self, BATCH, cloudtrail, from_cloudtrail, until_found};
use crate::load::Load;
use crate::machine;
use crate::peer::Data;
use crate::report::{Table, Target};
use crate::world::World;

/// The records, this often over, so that files are full: the index of events has one for each 65,536.
const TIMES: usize = 23;
/// Members of a record that are its own.
const OWN: [&str; 2] = ["eventID", "requestID"];

pub(crate) async fn event_sizes(world: &World, table: &mut Table) {
    let data = Data::init_events(world.home("event-size"), "");
    let peer = data.serve();
    let load = Load::connect(&peer).await;
    let text = cloudtrail();
    let (mut payload, mut count) = (0, 0_usize);
    for _ in 0..TIMES {
        let lines: Vec<String> = text.lines().map(renamed).collect();
        for lines in lines.chunks(BATCH) {
            let events = lines.iter().map(|line| v1::Event::from(from_cloudtrail(line))).collect();
            let request = RecordBatchRequest { events, ..RecordBatchRequest::default() };
            let link = load.link(0);
            link.audit().record_batch(link.request(request)).await.expect("the events are recorded");
        }
        payload += lines.iter().map(String::len).sum::<usize>();
        count += lines.len();
    }
    until_found(&load).await;
    let parts = at_rest(&data).await;
    let an_event = |bytes: u64| bytes as f64 / count as f64;
    let mut all = 0;
    for (part, bytes) in parts {
        table.add(part.to_string(), "B/event", an_event(bytes));
        all += bytes;
    }
    table.add(format!("{count} CloudTrail records: raw"), "B/event", payload as f64 / count as f64);
    table.judge("disk ÷ raw records", "ratio", Target::AtMost(1.6), all as f64 / payload as f64);
    let [journal, access] =
        ["journal", "logs/access"].map(|part| machine::disk_bytes(&data.dir().join(part)));
    table.add("beside it, however many events: the journal", "MB", journal as f64 / 1e6);
    table.add("beside it: who read what", "MB", access as f64 / 1e6);
}

/// The parts that grow with events, once they no longer do.
async fn at_rest(data: &Data) -> Vec<(&'static str, u64)> {
    let patience = Instant::now() + Duration::from_secs(60);
    let mut parts = measured(&data.dir());
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = std::mem::replace(&mut parts, measured(&data.dir()));
        if before == parts || Instant::now() > patience {
            return parts;
        }
    }
}

fn measured(dir: &Path) -> Vec<(&'static str, u64)> {
    let bytes = |part: &str| {
        let path = dir.join(part);
        if path.exists() { machine::disk_bytes(&path) } else { 0 }
    };
    let entries = bytes("logs/log/site/tile/entries");
    let index = bytes("index/events/log");
    vec![
        ("leaves", entries),
        ("tiles of hashes", bytes("logs/log/site") - entries),
        ("derived nodes", bytes("logs/log/nodes")),
        ("sealed payloads", bytes("logs/log/blobs")),
        ("index of events", index),
        ("index by leaf hash and rows", bytes("index") - bytes("index/events")),
        ("key store", bytes("vault")),
    ]
}

/// A record with other identifiers.
fn renamed(record: &str) -> String {
    let mut record = record.to_owned();
    for name in OWN {
        let start = format!("\"{name}\":\"");
        let Some(at) = record.find(&start).map(|at| at + start.len()) else { continue };
        let Some(end) = record[at..].find('"').map(|length| at + length) else { continue };
        let fresh = events::hex(end - at);
        let other = record[at..end].char_indices().map(|(at, old)| match old {
            '0'..='9' | 'a'..='f' => char::from(fresh.as_bytes()[at]),
            'A'..='F' => char::from(fresh.as_bytes()[at].to_ascii_uppercase()),
            other => other,
        });
        let other: String = other.collect();
        record.replace_range(at..end, &other);
    }
    record
}
