//! The scopes and alerts of a log in memory, judged by the real rules behind the real wire interface, which lies on command: for the
//! client's own tests.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use graven_event::{
    Facts, Frame, Outcome, Ref, Time, Word,
    facts::{AlertFacts, Command, DecisionFacts, Genesis, KeyText, ScopeCommand},
    scopes::{RULES, ScopeState},
};
use graven_merkle::leaf_hash;
use graven_proto::{
    Refusal,
    convert::event::{time_of, timestamp},
    v1::{
        self, ErrorReason, Wait,
        alert_service_server::{AlertService, AlertServiceServer},
        consistency::Wanted,
        log_service_server::LogServiceServer,
        scope_service_server::{ScopeService, ScopeServiceServer},
    },
};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, transport::Server};

use crate::fake_log::{FakeLog, ORIGIN};

/// What the server does wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum ScopeLie {
    #[default]
    Nothing,
    /// Commands something else than was asked: its leaf has another scope.
    OtherScope,
    /// Says that a command counts that its leaf says was refused.
    HidesRefusal,
    /// Allows what its leaf denies.
    AllowsDenied,
    /// Decides for another freshness than was asked.
    OldState,
    /// Proves other entries than it hands out.
    OtherProof,
    /// Hands out the leaf of another entry in place of the second step's.
    SwappedLeaf,
    /// Calls the second step something else.
    OtherWord,
    /// Leaves out the second step.
    MissingStep,
    /// Leaves out the last step.
    MissingLast,
    /// Explains a decision by another reason.
    OtherReason,
    /// Wants something else to be signed.
    OtherStatement,
    /// Tells of an alert as worse than its leaf does.
    Worse,
    /// Loses the answer of this many commands; breaks this many streams.
    Lose(u32),
}

/// A log of events.
#[derive(Clone)]
pub(crate) struct FakeScopes {
    pub(crate) log: FakeLog,
    state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    pub(crate) lie: ScopeLie,
    /// Who calls.
    pub(crate) by: &'static str,
    scopes: ScopeState,
    names: BTreeMap<String, Ref>,
    known: BTreeMap<String, u64>,
    clock: u64,
}

pub(crate) const START: u64 = 1_700_000_000_000_000_000;

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

fn words(texts: &[String]) -> Vec<Word> {
    texts.iter().map(|text| word(text)).collect()
}

fn nanos(time: Option<prost_types::Timestamp>) -> Option<u64> {
    time.map(|time| time_of("time", time).unwrap().nanoseconds())
}

fn number(text: &str) -> Option<Ref> {
    Some(Ref(u128::from_str_radix(text, 16).unwrap().to_be_bytes()))
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

impl FakeScopes {
    /// A log whose administrator is alice.
    pub(crate) fn new() -> Self {
        let state = State {
            lie: ScopeLie::Nothing,
            by: "user:alice",
            scopes: ScopeState::default(),
            names: BTreeMap::new(),
            known: BTreeMap::new(),
            clock: START,
        };
        let fake = Self { log: FakeLog::new(0), state: Arc::new(Mutex::new(state)) };
        let administrators = vec![fake.state().of("user:alice")];
        fake.push(
            Facts::Genesis(Genesis {
                origin: word(ORIGIN),
                kind: word("events"),
                recovery: KeyText::new("example.com/recovery+00000000+AQ==").unwrap(),
                administrators,
                signature: Some(vec![1]),
            }),
            None,
        );
        fake
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn lie(&self, lie: ScopeLie) {
        self.state().lie = lie;
    }

    pub(crate) fn by(&self, by: &'static str) {
        self.state().by = by;
    }

    /// Listens on a free loopback port and answers the address.
    pub(crate) async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Server::builder()
            .add_service(LogServiceServer::new(self.log.clone()))
            .add_service(ScopeServiceServer::new(self.clone()))
            .add_service(AlertServiceServer::new(self.clone()));
        tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    /// Appends a leaf, and takes it in.
    pub(crate) fn push(&self, facts: Facts, outcome: Option<Outcome>) -> u64 {
        let mut state = self.state();
        state.clock += 1_000_000_000;
        let frame = Frame {
            outcome,
            retention: 0,
            log_time: Time(state.clock),
            id: [7; 16],
            producer: Ref([8; 16]),
            sequence: 0,
            previous: [0; 32],
            payload: None,
            facts,
        };
        let index = self.log.state().push(frame.encode().unwrap().into());
        state.scopes.take(index, frame.log_time, &frame.facts);
        index
    }

    /// An alert about whoever stands for nobody.
    pub(crate) fn alert(&self, severity: u8) -> u64 {
        let size = self.size();
        let facts = AlertFacts {
            rule: [9; 32],
            name: word("denial-burst"),
            severity,
            leaves: vec![size - 1],
            count: None,
            about: vec![Ref([5; 16])],
            state_size: size,
        };
        self.push(Facts::Alert(facts), None)
    }

    pub(crate) fn size(&self) -> u64 {
        u64::try_from(self.log.state().entries.len()).unwrap()
    }

    fn leaf(&self, index: u64) -> Bytes {
        self.log.state().entries[usize::try_from(index).unwrap()].clone()
    }

    fn frame(&self, index: u64) -> Frame {
        Frame::decode(&self.leaf(index)).unwrap()
    }

    fn bare(&self, command: Command) -> ScopeCommand {
        let mut state = self.state();
        let by = state.by;
        ScopeCommand {
            command: command as u8,
            grant: None,
            revision: None,
            by: state.of(by),
            client: None,
            subject: None,
            scopes: Vec::new(),
            resource: None,
            tier: None,
            recording: None,
            not_before: None,
            expires: None,
            token: None,
            review: None,
            verdict: None,
            refused: None,
            issued_before: None,
            approvers: Vec::new(),
            approvals: None,
            longest: None,
            rules: RULES,
            signature: None,
        }
    }

    fn of(&self, name: &str) -> Ref {
        self.state().of(name)
    }

    fn commanded(
        &self,
        mut command: ScopeCommand,
        options: Option<v1::CommandOptions>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let options = options.unwrap_or_default();
        let (lie, known) = {
            let state = self.state();
            (state.lie.clone(), state.known.get(&options.idempotency_key).copied())
        };
        if lie == ScopeLie::OtherScope {
            command.scopes = vec![word("other.scope")];
        }
        let judged = {
            let state = self.state();
            state.scopes.judge(Time(state.clock + 1_000_000_000), &command, command.signature.is_some())
        };
        command.refused = judged.err().map(|why| why.word());
        let index = known.unwrap_or_else(|| self.push(Facts::Scope(command), None));
        self.state().known.insert(options.idempotency_key.clone(), index);
        if let ScopeLie::Lose(times @ 1..) = lie {
            self.lie(ScopeLie::Lose(times - 1));
            return Err(Refusal::new(ErrorReason::ShuttingDown, "draining").into());
        }
        let frame = self.frame(index);
        let Facts::Scope(command) = &frame.facts else { panic!() };
        let grant = command.grant.and_then(|grant| self.state().scopes.grant(grant).map(|it| it.revision));
        if let Some(why) = command.refused.as_ref().filter(|_| lie != ScopeLie::HidesRefusal) {
            let refusal = Refusal::new(ErrorReason::CommandRefused, "the log refuses this command");
            let refusal = refusal.with_fact("why", why).with_fact("index", index);
            return Err(grant.map_or(refusal.clone(), |it| refusal.with_fact("revision", it)).into());
        }
        let proof =
            if options.wait() == Wait::Published { self.log.state().bundle(index) } else { Bytes::new() };
        Ok(Response::new(v1::CommandResponse {
            index,
            log_time: Some(timestamp(frame.log_time)),
            id: command.review.or(command.grant).map(|id| id.to_string()).unwrap_or_default(),
            revision: grant.unwrap_or_default(),
            leaf: self.leaf(index),
            proof,
            duplicate: known.is_some(),
        }))
    }

    fn step(&self, index: u64, what: &str) -> v1::HistoryStep {
        let frame = self.frame(index);
        let mut step = v1::HistoryStep {
            index,
            leaf: self.leaf(index),
            log_time: Some(timestamp(frame.log_time)),
            what: what.to_owned(),
            ..Default::default()
        };
        let texts = |words: &[Word]| words.iter().map(ToString::to_string).collect();
        match &frame.facts {
            Facts::Scope(command) => {
                step.by = self.state().name(command.by);
                step.grant = command.grant.map(|grant| grant.to_string()).unwrap_or_default();
                step.scopes = texts(&command.scopes);
                step.refused = command.refused.as_ref().map(ToString::to_string).unwrap_or_default();
            }
            Facts::Decision(decision) => {
                step.by = self.state().name(decision.client);
                step.grant = decision.grants.first().map(ToString::to_string).unwrap_or_default();
                step.scopes = texts(&decision.scopes);
            }
            _ => panic!(),
        }
        step
    }

    /// All commands, and the first and last use.
    fn steps(&self) -> Vec<v1::HistoryStep> {
        let frames: Vec<_> = (0..self.size()).map(|index| (index, self.frame(index))).collect();
        let is_use = |frame: &Frame| {
            matches!(frame.facts, Facts::Decision(_)) && frame.outcome == Some(Outcome::Success)
        };
        let uses: Vec<_> =
            frames.iter().filter(|(_, frame)| is_use(frame)).map(|(index, _)| *index).collect();
        let word = |index: u64, frame: &Frame| match &frame.facts {
            Facts::Scope(command) => graven_client::scopes::command_word(command.command),
            _ if uses.first() == Some(&index) => Some("first-use"),
            _ if uses.last() == Some(&index) => Some("last-use"),
            _ => None,
        };
        frames.iter().filter_map(|(index, frame)| Some(self.step(*index, word(*index, frame)?))).collect()
    }

    fn grants(&self, about: impl Fn(&str) -> bool) -> Vec<v1::ScopeGrant> {
        let state = self.state();
        let shown = |(number, grant): (Ref, &graven_event::scopes::Grant)| {
            let client = state.name(grant.client).replace("application:", "");
            about(&client).then(|| v1::ScopeGrant {
                grant: number.to_string(),
                revision: grant.revision,
                status: grant.status as i32,
                client,
                scopes: grant
                    .scopes
                    .iter()
                    .map(|(scope, used)| v1::GrantedScope {
                        scope: scope.to_string(),
                        uses: used.count,
                        last_used: used.last.map(timestamp),
                        last_used_index: used.last_index,
                    })
                    .collect(),
                requester: state.name(grant.requester),
                approvers: grant.approvers.iter().map(|who| state.name(*who)).collect(),
                requested_index: grant.requested,
                changed_index: grant.changed,
                ..Default::default()
            })
        };
        state.scopes.grants().filter_map(shown).collect()
    }

    /// Breaks a stream now and then.
    fn broken(&self) -> bool {
        let ScopeLie::Lose(times @ 1..) = self.state().lie else { return false };
        self.lie(ScopeLie::Lose(times - 1));
        true
    }
}

impl State {
    fn of(&mut self, name: &str) -> Ref {
        let number = u8::try_from(self.names.len() + 1).unwrap();
        *self.names.entry(name.to_owned()).or_insert(Ref([number; 16]))
    }

    fn name(&self, reference: Ref) -> String {
        let found = self.names.iter().find(|(_, known)| **known == reference);
        found.map_or_else(|| reference.to_string(), |(name, _)| name.clone())
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A command of a request.
macro_rules! command {
    ($self:ident, $request:ident, $number:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let command = ScopeCommand { $($field: $value,)* ..$self.bare(Command::$number) };
        $self.commanded(command, $request.options)
    }};
}

#[tonic::async_trait]
impl ScopeService for FakeScopes {
    type WatchStream = Answers<v1::WatchScopesResponse>;

    async fn define_scope(
        &self,
        request: Request<v1::DefineScopeRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        let approvers = asked.approvers.iter().map(|who| self.of(&format!("user:{who}"))).collect();
        command!(
            self,
            asked,
            DefineScope {
                scopes: vec![word(&asked.scope)],
                tier: Some(u8::try_from(asked.tier).unwrap()),
                recording: Some(u8::from(asked.recording() == v1::ScopeRecording::Sums)),
                approvers: approvers,
                approvals: Some(u8::try_from(asked.approvals.max(1)).unwrap()),
                longest: asked.longest.map(|longest| longest.seconds.unsigned_abs()),
            }
        )
    }

    async fn request_grant(
        &self,
        request: Request<v1::RequestGrantRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        let number = u8::try_from(self.size()).unwrap();
        let client = self.of(&format!("application:{}", asked.client));
        let subject = some(&asked.subject).map(|subject| self.of(&format!("user:{subject}")));
        command!(
            self,
            asked,
            RequestGrant {
                grant: Some(Ref([0xa0 + number; 16])),
                client: Some(client),
                subject: subject,
                scopes: words(&asked.scopes),
                resource: some(&asked.resource).map(word),
                not_before: nanos(asked.not_before),
                expires: nanos(asked.expires),
            }
        )
    }

    async fn approve_grant(
        &self,
        request: Request<v1::ApproveGrantRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        command!(self, asked, ApproveGrant { grant: number(&asked.grant), revision: Some(asked.revision) })
    }

    async fn deny_grant(
        &self,
        request: Request<v1::DenyGrantRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        command!(self, asked, DenyGrant { grant: number(&asked.grant), revision: Some(asked.revision) })
    }

    async fn narrow_grant(
        &self,
        request: Request<v1::NarrowGrantRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        command!(
            self,
            asked,
            NarrowGrant {
                grant: number(&asked.grant),
                revision: Some(asked.revision),
                scopes: words(&asked.scopes),
                expires: nanos(asked.expires),
            }
        )
    }

    async fn renew_grant(
        &self,
        request: Request<v1::RenewGrantRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        command!(
            self,
            asked,
            RenewGrant {
                grant: number(&asked.grant),
                revision: Some(asked.revision),
                expires: nanos(asked.expires),
            }
        )
    }

    async fn revoke_grant(
        &self,
        request: Request<v1::RevokeGrantRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        let revision = (asked.revision != 0).then_some(asked.revision);
        command!(self, asked, RevokeGrant { grant: number(&asked.grant), revision: revision })
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        let expires = nanos(asked.token.clone().unwrap().expires);
        command!(self, asked, RevokeToken { token: Some(Ref([0x77; 16])), expires: expires })
    }

    async fn rotate_scope(
        &self,
        request: Request<v1::RotateScopeRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        command!(
            self,
            asked,
            RotateScope { scopes: vec![word(&asked.scope)], issued_before: nanos(asked.issued_before) }
        )
    }

    async fn appoint_administrator(
        &self,
        request: Request<v1::AppointAdministratorRequest>,
    ) -> Result<Response<v1::AppointAdministratorResponse>, Status> {
        let asked = request.into_inner();
        let who = self.of(&asked.administrator);
        let signature = Some(asked.signature.to_vec()).filter(|signature| !signature.is_empty());
        let revision = (asked.prepare || signature.is_some()).then(|| self.state().scopes.appointments());
        let command = ScopeCommand {
            subject: Some(who),
            revision,
            signature,
            ..self.bare(Command::AppointAdministrator)
        };
        if asked.prepare {
            let statement = match self.state().lie {
                ScopeLie::OtherStatement => b"graven-rotation/v1\nexample.com/audit\n".to_vec(),
                _ => command.statement(&word(ORIGIN)),
            };
            let answer = v1::AppointAdministratorResponse { command: None, statement: statement.into() };
            return Ok(Response::new(answer));
        }
        let command = Some(self.commanded(command, asked.options)?.into_inner());
        Ok(Response::new(v1::AppointAdministratorResponse { command, statement: Bytes::new() }))
    }

    async fn dismiss_administrator(
        &self,
        request: Request<v1::DismissAdministratorRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        let who = self.of(&asked.administrator);
        command!(self, asked, DismissAdministrator { subject: Some(who) })
    }

    async fn check_access(
        &self,
        request: Request<v1::CheckAccessRequest>,
    ) -> Result<Response<v1::CheckAccessResponse>, Status> {
        let asked = request.into_inner();
        let (consistency, bound) = match asked.consistency.and_then(|it| it.wanted) {
            None | Some(Wanted::Latest(_)) => (1, None),
            Some(Wanted::AtLeastSize(size)) => (2, Some(size)),
            Some(Wanted::ExactSize(size)) => (3, Some(size)),
            Some(Wanted::AtMostOld(age)) => (4, Some(age.seconds.unsigned_abs() * 1_000_000_000)),
        };
        let client = self.of(&format!("application:{}", asked.client));
        let subject = some(&asked.subject).map(|subject| self.of(&format!("user:{subject}")));
        let token = asked.token.clone().unwrap_or_default();
        let size = self.size();
        let mut facts = DecisionFacts {
            action: word(if asked.action.is_empty() { "scope.check" } else { &asked.action }),
            client,
            subject,
            token: asked.token.is_some().then_some(Ref([0x77; 16])),
            issued: nanos(token.issued),
            scopes: words(&asked.scopes),
            resource: some(&asked.resource).map(word),
            state_size: size,
            decided_at: self.state().clock,
            consistency,
            grants: Vec::new(),
            reason: word("no-scope"),
            place: None,
            count: None,
            since: None,
            bound,
            expires: nanos(token.expires),
            presented: words(&token.scopes),
            rules: RULES,
        };
        let (lie, verdict) = {
            let state = self.state();
            (state.lie.clone(), state.scopes.decide(&facts))
        };
        facts.reason = verdict.reason.word();
        facts.grants = verdict.grants.clone();
        if lie == ScopeLie::OldState {
            facts.state_size = 1;
        }
        let state_size = facts.state_size;
        let decided_at = Some(timestamp(Time(facts.decided_at)));
        let index = self.push(Facts::Decision(facts), Some(verdict.outcome()));
        let mut answer = v1::CheckAccessResponse {
            allowed: verdict.is_allowed(),
            reason: verdict.reason.as_str().to_owned(),
            grants: verdict.grants.iter().map(ToString::to_string).collect(),
            missing: verdict.missing.iter().map(ToString::to_string).collect(),
            index,
            leaf: self.leaf(index),
            state_size,
            decided_at,
            aggregated: false,
            proof: Bytes::new(),
        };
        if lie == ScopeLie::AllowsDenied {
            answer.allowed = true;
            answer.reason = "granted".to_owned();
            answer.grants = vec![Ref([1; 16]).to_string()];
        }
        Ok(Response::new(answer))
    }

    async fn explain_decision(
        &self,
        request: Request<v1::ExplainDecisionRequest>,
    ) -> Result<Response<v1::ExplainDecisionResponse>, Status> {
        let index = request.into_inner().index;
        let frame = self.frame(index);
        let Facts::Decision(decision) = &frame.facts else {
            return Err(Refusal::new(ErrorReason::NotADecision, "no decision").into());
        };
        let lie = self.state().lie.clone();
        let mut indices: Vec<_> =
            (0..index).filter(|at| matches!(self.frame(*at).facts, Facts::Scope(_))).collect();
        indices.push(index);
        let leaf = |index: &u64| v1::ProvenLeaf { index: *index, leaf: self.leaf(*index) };
        let mut leaves: Vec<_> = indices.iter().map(leaf).collect();
        match lie {
            ScopeLie::SwappedLeaf => leaves[0].leaf = self.leaf(0),
            ScopeLie::MissingLast => {
                leaves.pop();
                indices.pop();
            }
            ScopeLie::OtherProof => indices[0] -= 1,
            _ => {}
        }
        let other = lie == ScopeLie::OtherReason;
        let client = self.state().name(decision.client).replace("application:", "");
        let (head, proof) = {
            let log = self.log.state();
            (log.head(), log.multi(&indices, 0))
        };
        Ok(Response::new(v1::ExplainDecisionResponse {
            allowed: frame.outcome == Some(Outcome::Success),
            reason: if other { "no-grant".to_owned() } else { decision.reason.to_string() },
            allowed_again: frame.outcome == Some(Outcome::Success),
            reason_again: decision.reason.to_string(),
            state_size: decision.state_size,
            decided_at: Some(timestamp(Time(decision.decided_at))),
            client: client.clone(),
            subject: String::new(),
            scopes: decision.scopes.iter().map(ToString::to_string).collect(),
            resource: String::new(),
            grants: self.grants(|of| of == client),
            definitions: Vec::new(),
            proof: Some(proof),
            leaves,
            head: Some(head),
            truncated: false,
        }))
    }

    async fn list_scopes(
        &self,
        request: Request<v1::ListScopesRequest>,
    ) -> Result<Response<v1::ListScopesResponse>, Status> {
        let from: usize = request.into_inner().page_token.parse().unwrap_or_default();
        let state = self.state();
        let all: Vec<_> = state
            .scopes
            .scopes()
            .map(|(scope, said)| v1::ScopeDefinition {
                scope: scope.to_string(),
                tier: said.tier.into(),
                approvals: said.approvals.into(),
                index: said.index,
                ..Default::default()
            })
            .collect();
        // One a page.
        let next = (from + 1 < all.len()).then(|| (from + 1).to_string());
        Ok(Response::new(v1::ListScopesResponse {
            scopes: all.into_iter().skip(from).take(1).collect(),
            administrators: state.scopes.administrators().map(|(who, _)| state.name(who)).collect(),
            state_size: 9,
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn list_grants(
        &self,
        request: Request<v1::ListGrantsRequest>,
    ) -> Result<Response<v1::ListGrantsResponse>, Status> {
        let asked = request.into_inner();
        let from: usize = asked.page_token.parse().unwrap_or_default();
        let all = self.grants(|client| asked.client.is_empty() || client == asked.client);
        let next = (from + 1 < all.len()).then(|| (from + 1).to_string());
        Ok(Response::new(v1::ListGrantsResponse {
            grants: all.into_iter().skip(from).take(1).collect(),
            next_page_token: next.unwrap_or_default(),
            state_size: self.size(),
        }))
    }

    async fn grant_history(
        &self,
        _: Request<v1::GrantHistoryRequest>,
    ) -> Result<Response<v1::GrantHistoryResponse>, Status> {
        let lie = self.state().lie.clone();
        let mut steps = self.steps();
        match lie {
            ScopeLie::SwappedLeaf => steps[1].leaf = self.leaf(0),
            ScopeLie::OtherWord => steps[1].what = "revoke".to_owned(),
            ScopeLie::MissingStep => {
                steps.remove(2);
            }
            ScopeLie::MissingLast => {
                steps.pop();
            }
            _ => {}
        }
        let mut indices: Vec<_> = steps.iter().map(|step| step.index).collect();
        if lie == ScopeLie::OtherProof {
            indices[0] -= 1;
        }
        let log = self.log.state();
        let proof = (!indices.is_empty()).then(|| log.multi(&indices, 0));
        Ok(Response::new(v1::GrantHistoryResponse { steps, head: Some(log.head()), proof, truncated: false }))
    }

    async fn list_unused(
        &self,
        request: Request<v1::ListUnusedRequest>,
    ) -> Result<Response<v1::ListUnusedResponse>, Status> {
        assert!(request.into_inner().since.is_some());
        let grants = self.grants(|_| true);
        Ok(Response::new(v1::ListUnusedResponse { grants, state_size: self.size(), truncated: false }))
    }

    async fn open_review(
        &self,
        request: Request<v1::OpenReviewRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        let client = some(&asked.client).map(|client| self.of(&format!("application:{client}")));
        command!(
            self,
            asked,
            OpenReview {
                review: Some(Ref([0xee; 16])),
                scopes: words(&asked.scopes),
                client: client,
                expires: nanos(asked.due),
            }
        )
    }

    async fn attest_item(
        &self,
        request: Request<v1::AttestItemRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        command!(
            self,
            asked,
            AttestItem {
                review: number(&asked.review),
                grant: number(&asked.grant),
                verdict: Some(u8::try_from(asked.verdict).unwrap()),
            }
        )
    }

    async fn close_review(
        &self,
        request: Request<v1::CloseReviewRequest>,
    ) -> Result<Response<v1::CommandResponse>, Status> {
        let asked = request.into_inner();
        command!(self, asked, CloseReview { review: number(&asked.review) })
    }

    async fn list_reviews(
        &self,
        _: Request<v1::ListReviewsRequest>,
    ) -> Result<Response<v1::ListReviewsResponse>, Status> {
        let state = self.state();
        let of = |(number, review): (Ref, &graven_event::scopes::Review)| v1::Review {
            review: number.to_string(),
            index: review.index,
            due: review.due.map(timestamp),
            closed: review.closed.is_some(),
            open: review.items.iter().filter(|(_, it)| it.is_none()).map(|(it, _)| it.to_string()).collect(),
            ..Default::default()
        };
        let reviews = state.scopes.reviews().map(of).collect();
        Ok(Response::new(v1::ListReviewsResponse { reviews, truncated: false }))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchScopesRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (fake, from) = (self.clone(), request.into_inner().from_index);
        let commands =
            self.steps().into_iter().filter(move |step| !step.what.ends_with("use") && step.index >= from);
        let answers = commands.map(move |step| {
            if fake.broken() {
                return Err(Status::unavailable("gone"));
            }
            let next_index = step.index + 1;
            Ok(v1::WatchScopesResponse { steps: vec![step], next_index })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(answers.collect::<Vec<_>>()))))
    }
}

#[tonic::async_trait]
impl AlertService for FakeScopes {
    type TestRuleStream = Answers<v1::TestRuleResponse>;
    type WatchAlertsStream = Answers<v1::WatchAlertsResponse>;

    async fn define_rule(
        &self,
        request: Request<v1::DefineRuleRequest>,
    ) -> Result<Response<v1::DefineRuleResponse>, Status> {
        let rule = request.into_inner().rule.unwrap();
        let hash = Bytes::copy_from_slice(leaf_hash(rule.source.as_bytes()).as_bytes());
        Ok(Response::new(v1::DefineRuleResponse { index: self.size(), hash }))
    }

    async fn retire_rule(
        &self,
        request: Request<v1::RetireRuleRequest>,
    ) -> Result<Response<v1::RetireRuleResponse>, Status> {
        if request.into_inner().name == "unknown" {
            return Err(Refusal::new(ErrorReason::RuleUnknown, "no rule of this name").into());
        }
        Ok(Response::new(v1::RetireRuleResponse { index: self.size() }))
    }

    async fn list_rules(
        &self,
        _: Request<v1::ListRulesRequest>,
    ) -> Result<Response<v1::ListRulesResponse>, Status> {
        let rule = v1::Rule {
            name: "denial-burst".to_owned(),
            language: "builtin".to_owned(),
            severity: v1::Severity::High.into(),
            index: 3,
            active: true,
            ..Default::default()
        };
        Ok(Response::new(v1::ListRulesResponse { rules: vec![rule] }))
    }

    async fn test_rule(
        &self,
        request: Request<v1::TestRuleRequest>,
    ) -> Result<Response<Self::TestRuleStream>, Status> {
        let asked = request.into_inner();
        let alert = v1::Alert {
            rule: "test".to_owned(),
            rule_hash: vec![9; 32].into(),
            severity: v1::Severity::Low.into(),
            leaves: vec![asked.from_index],
            count: 1,
            ..Default::default()
        };
        let answers = [
            v1::TestRuleResponse { alerts: vec![alert], next_index: asked.from_index + 1, unreadable: 0 },
            v1::TestRuleResponse { alerts: Vec::new(), next_index: asked.to_index, unreadable: 2 },
        ];
        Ok(Response::new(Box::pin(tokio_stream::iter(answers.map(Ok)))))
    }

    async fn watch_alerts(
        &self,
        request: Request<v1::WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        let (asked, lie) = (request.into_inner(), self.state().lie.clone());
        let mut answers = Vec::new();
        for index in asked.from_index..self.size() {
            let frame = self.frame(index);
            let Facts::Alert(facts) = &frame.facts else { continue };
            if i32::from(facts.severity) < asked.min_severity {
                continue;
            }
            if self.broken() {
                answers.push(Err(Status::unavailable("gone")));
                break;
            }
            let worse = i32::from(lie == ScopeLie::Worse);
            let alert = v1::Alert {
                index,
                rule: facts.name.to_string(),
                rule_hash: facts.rule.to_vec().into(),
                severity: i32::from(facts.severity) + worse,
                leaves: facts.leaves.clone(),
                count: 1,
                about: facts.about.iter().map(ToString::to_string).collect(),
                log_time: Some(timestamp(frame.log_time)),
                leaf: self.leaf(index),
                state_size: facts.state_size,
            };
            answers.push(Ok(v1::WatchAlertsResponse { alerts: vec![alert], next_index: index + 1 }));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }
}
