//! Keyed appends of single entries and batches, and a watch on the log's heads, until the server is gone.

use bytes::Bytes;
use graven_client::{AppendError, Appender, IdempotencyKey, Trust, VerifiedHead};
use graven_merkle::leaf_hash;
use graven_proto::v1::{WatchTreeHeadsRequest, log_service_client::LogServiceClient};
use tokio::task::JoinHandle;

use crate::{bench::Server, record::Record, rig::Rig, seed::Seed};

const APPENDERS: usize = 3;
/// Acknowledged appends of each appender that are repeated, beside the one that was not acknowledged.
const REPEATS: usize = 8;
/// How many entries are large, and how large: so that the journal rolls soon.
const LARGE_ONE_IN: u64 = 24;
const LARGE_BYTES: u64 = 24 << 10;
const SMALL_BYTES: u64 = 600;

/// An entry of printable bytes that no other call makes.
pub(crate) fn entry(name: &str, seed: &mut Seed) -> Bytes {
    let length = seed.below(if seed.clone().one_in(LARGE_ONE_IN) { LARGE_BYTES } else { SMALL_BYTES });
    let filling = "x".repeat(usize::try_from(length).unwrap());
    format!("{name} {:016x} {filling}", seed.next()).into()
}

pub(crate) struct Load {
    appending: Vec<JoinHandle<Vec<Sent>>>,
    watching: JoinHandle<Vec<VerifiedHead>>,
}

/// A keyed append, and what was answered.
struct Sent {
    key: IdempotencyKey,
    entry: Bytes,
    index: Option<u64>,
}

/// Appends to repeat.
pub(crate) struct Unary(Vec<Sent>);

impl Load {
    /// `None` where the server at `url` is gone already.
    pub(crate) fn start(rig: &Rig, url: &str, mut seed: Seed) -> Option<Self> {
        let client = rig.connect(url).ok()?;
        let appending = (0..APPENDERS)
            .map(|_| rig.runtime.spawn(append(client.appender("audit"), Seed(seed.next()))))
            .collect();
        let watching = rig.runtime.spawn(watch(url.to_owned(), rig.trust.clone()));
        Some(Self { appending, watching })
    }

    /// Waits until everybody noticed that the server is gone, and records what they were told.
    pub(crate) fn end(self, rig: &mut Rig) -> Unary {
        let mut unary = Vec::new();
        for appending in self.appending {
            let mut sent = rig.runtime.block_on(appending).unwrap();
            sent.iter().for_each(|sent| sent.tell(&mut rig.record));
            unary.extend(sent.drain(sent.len().saturating_sub(REPEATS)..));
        }
        for head in rig.runtime.block_on(self.watching).unwrap() {
            rig.record.released(&head);
        }
        Unary(unary)
    }
}

impl Sent {
    fn tell(&self, record: &mut Record) {
        if let Some(index) = self.index {
            record.acknowledged(index, &self.entry);
        }
    }
}

impl Unary {
    /// Repeats each append: it gives the first index where there was one, and else one that stays.
    pub(crate) fn repeat(self, rig: &mut Rig, server: &Server) {
        let log = rig.connect(server.url()).unwrap().appender("audit");
        for mut sent in self.0 {
            for _ in 0..2 {
                let append = log.append(sent.entry.clone()).idempotency_key(sent.key.clone());
                let acked = rig.runtime.block_on(append.durable()).unwrap();
                rig.record.repeated();
                if let Some(first) = sent.index {
                    assert_eq!((acked.index.get(), acked.duplicate), (first, true), "{}", sent.key);
                }
                sent.index = Some(acked.index.get());
                sent.tell(&mut rig.record);
            }
        }
    }
}

/// Appends one entry after the other until there is no answer.
async fn append(log: Appender, mut seed: Seed) -> Vec<Sent> {
    let mut all = Vec::new();
    loop {
        let key = IdempotencyKey::random().unwrap();
        let entry = entry(key.as_str(), &mut seed);
        let answer = log.append(entry.clone()).idempotency_key(key.clone()).durable().await;
        let index = answer.as_ref().ok().map(|acked| acked.index.get());
        all.push(Sent { key, entry, index });
        match answer {
            Ok(acked) => assert_eq!(acked.leaf_hash, leaf_hash(&all[all.len() - 1].entry)),
            Err(AppendError::Call { .. }) => return all,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Every head that is released, whether or not the server lives long enough to prove it: the record will.
async fn watch(url: String, trust: Trust) -> Vec<VerifiedHead> {
    let mut heads = Vec::new();
    let Ok(mut log) = LogServiceClient::connect(url).await else { return heads };
    let request = WatchTreeHeadsRequest { log: "audit".to_owned() };
    let Ok(stream) = log.watch_tree_heads(request).await else { return heads };
    let mut stream = stream.into_inner();
    while let Ok(Some(message)) = stream.message().await {
        heads.push(trust.verify_head(&message.head.unwrap().checkpoint).unwrap());
    }
    heads
}
