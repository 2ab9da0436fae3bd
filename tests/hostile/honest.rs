//! An honest client, and what it notices of a flood.

use std::{
    env, fs,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use graven_proto::v1::{AppendRequest, GetEntryAndProofRequest, log_service_client::LogServiceClient};
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    bench::Server,
    house::{Credential, House, OPEN},
    http1::PATIENCE,
};

/// How much the server may grow, for good or for a moment.
const MAX_GROWTH_BYTES: u64 = 64 << 20;
/// In the quick form a p99 below this is no harm, however good it was before: machines that run tests are busy, and what
/// they show is that honest callers are served at all. The long form holds it to three times.
const HARMLESS: Duration = Duration::from_millis(250);

/// Floods run one at a time: they are measured.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A server that can be flooded, and what it is like in peace.
pub(crate) struct Field {
    pub(crate) house: House,
    pub(crate) server: Server,
    token: Credential,
    is_encrypted: bool,
    /// How much the server may grow.
    pub(crate) max_growth_bytes: u64,
    _alone: MutexGuard<'static, ()>,
}

/// What a flood did.
#[derive(Default)]
pub(crate) struct Tally {
    /// How often the attack was repeated: frames, requests or connections.
    rounds: AtomicU64,
    /// Set when it is over.
    over: AtomicBool,
}

pub(crate) fn duration() -> Duration {
    Duration::from_secs(if is_long() { 20 } else { 2 })
}

fn is_long() -> bool {
    env::var_os("GRAVEN_LONG").is_some()
}

impl Field {
    /// Plaintext, on the loopback interface.
    pub(crate) fn plain() -> Self {
        let (before, after) = (OPEN.split("[tls]").next().unwrap(), OPEN.split("[access]").nth(1).unwrap());
        Self::with(&format!("{before}[access]{after}"), false)
    }

    pub(crate) fn encrypted() -> Self {
        Self::with(OPEN, true)
    }

    fn with(settings: &str, is_encrypted: bool) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let house = House::new();
        let token = Credential::new("honest", &["append:*", "read:*", "admin:*"]);
        house.know(&[&token], "");
        house.bench.write("graven.toml", settings);
        let server = house.serve();
        Self { house, server, token, is_encrypted, max_growth_bytes: MAX_GROWTH_BYTES, _alone: alone }
    }

    pub(crate) fn address(&self) -> &str {
        self.server.address()
    }

    /// The line that the honest client shows.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.token.token)
    }

    /// Runs a flood against the server, by `threads` peers, and holds the server to what it owes everybody else.
    pub(crate) fn endure(&self, name: &str, threads: usize, attack: impl Fn(&Self, &Tally) + Sync) {
        let honest = Honest::connect(self).unwrap();
        // Once, so that what comes later is not the first of its kind.
        honest.latencies(Duration::from_millis(300)).unwrap();
        let calm = p99(honest.latencies(duration() / 2).unwrap());
        let before = self.resident_bytes();
        let (tally, peak) = (Tally::default(), AtomicU64::new(0));
        let flooded = thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| attack(self, &tally));
            }
            scope.spawn(|| {
                while !tally.is_over() {
                    peak.fetch_max(self.resident_bytes(), Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(10));
                }
            });
            let arriving = scope.spawn(|| self.arrive(&tally));
            let latencies = honest.latencies(duration());
            tally.over.store(true, Ordering::SeqCst);
            arriving.join().unwrap().and(latencies).map(p99)
        });
        let growth = peak.load(Ordering::SeqCst).saturating_sub(before);
        let rounds = tally.rounds.load(Ordering::SeqCst);
        println!("{name}: {rounds} rounds, p99 {calm:.1?} → {flooded:.1?}, grew by {} KiB", growth >> 10);
        assert!(rounds > 0, "{name}: there was no flood");
        assert!(growth <= self.max_growth_bytes, "{name}: the server grew by {} KiB", growth >> 10);
        let flooded =
            flooded.unwrap_or_else(|error| panic!("{name}: an honest client was not served: {error}"));
        let bound = if is_long() { 3 * calm } else { HARMLESS.max(3 * calm) };
        assert!(flooded <= bound, "{name}: the honest client's p99 went from {calm:?} to {flooded:?}");
        // And it is over when it is over.
        honest.latencies(Duration::from_millis(100)).unwrap();
    }

    /// New clients come while the flood lasts. All of them are served, and soon.
    fn arrive(&self, tally: &Tally) -> Result<(), String> {
        while !tally.is_over() {
            let begun = Instant::now();
            let served = Honest::connect(self).and_then(|honest| honest.latencies(Duration::ZERO));
            served.map_err(|error| format!("a new client was not let in: {error}"))?;
            if begun.elapsed() > PATIENCE / 4 {
                return Err(format!("a new client waited for {:?}", begun.elapsed()));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The most memory that the server's process ever had.
    pub(crate) fn most_resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Memory of the server's process.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.server.id())).unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size() as u64
    }
}

/// A client with one connection.
struct Honest {
    runtime: tokio::runtime::Runtime,
    channel: Channel,
    bearer: String,
}

impl Honest {
    fn connect(field: &Field) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut endpoint = Endpoint::from_shared(field.server.url().to_owned()).unwrap();
        endpoint = endpoint.connect_timeout(PATIENCE).timeout(PATIENCE);
        if field.is_encrypted {
            let ca = Certificate::from_pem(&field.house.authority.pem);
            let tls = ClientTlsConfig::new().ca_certificate(ca).domain_name("localhost");
            endpoint = endpoint.tls_config(tls).unwrap();
        }
        let channel = runtime.block_on(endpoint.connect()).map_err(|error| format!("{error:?}"))?;
        Ok(Self { runtime, channel, bearer: field.bearer() })
    }

    /// Appends and reads back, one call after the other, for this long: how long each took. All of them succeed.
    fn latencies(&self, time: Duration) -> Result<Vec<Duration>, String> {
        let mut latencies = Vec::new();
        let begun = Instant::now();
        while latencies.is_empty() || begun.elapsed() < time {
            let called = Instant::now();
            self.runtime.block_on(self.call()).map_err(|status| format!("{status:?}"))?;
            latencies.push(called.elapsed());
        }
        Ok(latencies)
    }

    async fn call(&self) -> Result<(), Status> {
        let bearer: AsciiMetadataValue = self.bearer.parse().unwrap();
        let authorize = |mut request: Request<()>| {
            request.metadata_mut().insert("authorization", bearer.clone());
            Ok(request)
        };
        let mut log = LogServiceClient::with_interceptor(self.channel.clone(), authorize);
        let log_name = || "audit".to_owned();
        log.append(AppendRequest { log: log_name(), entry: "honest".into(), ..Default::default() }).await?;
        log.get_entry_and_proof(GetEntryAndProofRequest { log: log_name(), index: 7, tree_size: 0 }).await?;
        Ok(())
    }
}

impl Tally {
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(crate) fn count(&self, rounds: u32) {
        self.rounds.fetch_add(u64::from(rounds), Ordering::SeqCst);
    }
}

fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort();
    latencies[(latencies.len() - 1) * 99 / 100]
}
