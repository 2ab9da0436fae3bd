//! Checking ÷ E: what it costs that an answer is a durable entry first.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use graven_proto::v1::{
    ApproveGrantRequest, CheckAccessRequest, CheckAccessResponse, CheckedToken, Context, DefineScopeRequest,
    RequestGrantRequest, ScopeRecording, ScopeTier,
};
use prost::Message;

use crate::calls::{self, Random};
use crate::echo;
use crate::events::hex;
use crate::load::{Call, Link, Load, Sample};
use crate::peer::{Data, Peer};
use crate::report::{Table, Target};
use crate::world::World;

const CALLERS: usize = 256;
/// Applications, each with a grant of its own.
const APPLICATIONS: u64 = 64;
/// People in whose names they act.
const PEOPLE: u64 = 1000;
/// How long a token is good for: longer than the run.
const TOKEN_TIME: Duration = Duration::from_secs(24 * 3600);

const EACH: &str = "documents.read";
const SUMMED: &str = "documents.list";

/// Checks of one kind, as a gateway makes them: all allowed.
#[derive(Clone)]
struct Checks {
    scope: &'static str,
    has_context: bool,
    expires: SystemTime,
    random: Random,
    made: Arc<AtomicU64>,
}

pub(crate) async fn checks(world: &World, table: &mut Table) {
    let data = Data::init_scopes(world.home("check"), "");
    let graven = data.serve();
    let load = Load::connect(&graven).await;
    grant(&load, &Load::connect_as(&graven, data.asker()).await).await;
    let kinds = [
        ("CheckAccess", Checks::of(EACH, false)),
        ("CheckAccess with a context", Checks::of(EACH, true)),
        ("CheckAccess recorded in sums", Checks::of(SUMMED, false)),
    ];
    for (what, checks) in kinds {
        let (answer, bytes) = real_answer(world, &load, &checks).await;
        let echo = Peer::echo_of(&answer);
        let e = Load::connect(&echo).await;
        let found = world
            .rounds()
            .compare(
                async |time| e.run(CALLERS, time, checks.echoed()).await,
                async |time| load.run(CALLERS, time, checks.asked()).await,
            )
            .await;
        let rate = |sample: &Sample| sample.per_second;
        table.add(format!("E: bare echo of a check, {bytes} B"), "calls/s", found.baseline.series(rate));
        table.add(what, "calls/s", found.figure.series(rate));
        for (at, of) in
            [("p50", (|sample| sample.p50_us) as fn(&Sample) -> f64), ("p99", |sample| sample.p99_us)]
        {
            table.add(format!("  E {at}"), "µs", found.baseline.series(of));
            table.add(format!("  {what}: {at}"), "µs", found.figure.series(of));
        }
        if what == "CheckAccess" {
            table.judge("CheckAccess ÷ E, concurrency 256", "ratio", Target::AtLeast(0.5), found.ratio(rate));
        } else {
            table.add(format!("{what} ÷ E"), "ratio", found.ratio(rate));
        }
    }
}

/// Two scopes, and for each application a grant of both: one asks, another one approves.
async fn grant(load: &Load, asker: &Load) {
    let link = load.link(0);
    for (scope, recording) in [(EACH, ScopeRecording::Each), (SUMMED, ScopeRecording::Sums)] {
        let request = DefineScopeRequest {
            scope: scope.to_owned(),
            tier: ScopeTier::Read.into(),
            recording: recording.into(),
            ..DefineScopeRequest::default()
        };
        link.scopes().define_scope(link.request(request)).await.expect("the scope is defined");
    }
    for number in 0..APPLICATIONS {
        let request = RequestGrantRequest {
            client: application(number),
            scopes: vec![EACH.to_owned(), SUMMED.to_owned()],
            ..RequestGrantRequest::default()
        };
        let link = asker.link(0);
        let asked = link.scopes().request_grant(link.request(request)).await;
        let asked = asked.expect("the grant is asked for").into_inner();
        let request = ApproveGrantRequest {
            grant: asked.id,
            revision: asked.revision,
            ..ApproveGrantRequest::default()
        };
        let link = load.link(0);
        link.scopes().approve_grant(link.request(request)).await.expect("the grant is approved");
    }
}

/// One that the server gave, in a file, and its length.
async fn real_answer(world: &World, load: &Load, checks: &Checks) -> (PathBuf, usize) {
    let link = load.link(0);
    let answer = link.scopes().check_access(link.request(checks.one())).await.expect("it is answered");
    let bytes = answer.into_inner().encode_to_vec();
    let file = world.home(&format!("check-{}-{}", checks.scope, checks.has_context));
    std::fs::write(&file, &bytes).expect("the answer can be written");
    (file, bytes.len())
}

impl Checks {
    fn of(scope: &'static str, has_context: bool) -> Self {
        Self {
            scope,
            has_context,
            expires: SystemTime::now() + TOKEN_TIME,
            random: Random::default(),
            made: Arc::default(),
        }
    }

    /// The next one: another token for each person, and another number for each request.
    fn one(&self) -> CheckAccessRequest {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let person = self.random.below(PEOPLE);
        CheckAccessRequest {
            client: application(person % APPLICATIONS),
            subject: format!("person-{person}@example.com"),
            action: "data.read".to_owned(),
            scopes: vec![self.scope.to_owned()],
            token: Some(CheckedToken {
                id: format!("{person:032x}"),
                issuer: "https://login.example.com".to_owned(),
                issued: Some(prost_types::Timestamp { seconds: 1_760_000_000, nanos: 0 }),
                expires: Some(self.expires.into()),
                scopes: vec![EACH.to_owned(), SUMMED.to_owned()],
            }),
            context: self.has_context.then(|| Context {
                request_id: format!("req-{number:016x}"),
                trace_id: hex(16),
                ip: format!("198.51.100.{}", person % 256),
                user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
                    .to_owned(),
            }),
            ..CheckAccessRequest::default()
        }
    }

    fn asked(&self) -> impl Call {
        let checks = self.clone();
        move |link: Link| {
            let request = checks.one();
            async move {
                let answer = link.scopes().check_access(link.request(request)).await?.into_inner();
                assert!(answer.allowed, "it was denied: {}", answer.reason);
                Ok(())
            }
        }
    }

    /// The same bytes to and fro, and nothing behind them.
    fn echoed(&self) -> impl Call {
        let checks = self.clone();
        move |link: Link| calls::call_echo::<_, CheckAccessResponse>(link, echo::CHECK, checks.one())
    }
}

fn application(number: u64) -> String {
    format!("gateway-{number}")
}
