//! A witness in a few lines, to see what a log sends and to answer what a test wants: it follows C2SP tlog-witness for one log, in
//! memory.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64ct::{Base64, Encoding as _};
use graven_merkle::{ConsistencyProof, Hash, TreeSize, verify_consistency};
use graven_note::{
    Checkpoint, LocalSigner, Origin, SignatureType, Signer as _, VerifiedCheckpoint, VerifierKey, sign_line,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A witness with two keys, on a port of its own.
pub(crate) struct Witness {
    pub(crate) url: String,
    pub(crate) state: Arc<Mutex<State>>,
    keys: Arc<[LocalSigner; 2]>,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
pub(crate) struct State {
    /// The log that it knows. `None`: it knows none.
    pub(crate) log: Option<(Origin, Vec<VerifierKey>)>,
    pub(crate) seen: Option<Checkpoint>,
    /// What it shows to monitors.
    pub(crate) shown: Option<String>,
    /// What it answers instead of an answer.
    pub(crate) answer: Option<(StatusCode, &'static str, String)>,
    /// The status of each answer.
    pub(crate) answered: Vec<u16>,
}

impl Witness {
    pub(crate) async fn start(n: u8) -> Self {
        let key = |kind, seed| {
            let name = format!("w.example/{n}").parse().unwrap();
            LocalSigner::generate(name, kind, &[seed; 32]).unwrap()
        };
        let keys = Arc::new([key(SignatureType::CosignatureV1, n), key(SignatureType::MlDsa44, n + 100)]);
        let state = State { log: None, seen: None, shown: None, answer: None, answered: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/w", listener.local_addr().unwrap());
        let (shared, signers) = (state.clone(), keys.clone());
        let answer = move |body: Bytes| {
            let answer = answer(&mut shared.lock().unwrap(), &signers, &body);
            async move { answer }
        };
        let shared = state.clone();
        let show = async move || shared.lock().unwrap().shown.clone().ok_or(StatusCode::NOT_FOUND);
        let router =
            Router::new().route("/w/add-checkpoint", post(answer)).route("/w/{log}/checkpoint", get(show));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state, keys, serving }
    }

    /// Its lines of a policy, under two names that begin with this one.
    pub(crate) fn policy_lines(&self, name: &str) -> String {
        let [first, second] = [&self.keys[0], &self.keys[1]].map(|key| key.vkey().to_string());
        let url = &self.url;
        format!(
            "witness {name}a {first} {url}\nwitness {name}b {second} {url}\ngroup {name} all {name}a {name}b\n"
        )
    }

    /// Its cosignatures over a checkpoint's text, of any time.
    pub(crate) fn lines(&self, text: &str, time_seconds: u64) -> String {
        cosignatures(&self.keys[..], text, time_seconds)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    pub(crate) fn seen_size(&self) -> Option<u64> {
        self.state.lock().unwrap().seen.as_ref().map(|seen| seen.size().get())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn answer(state: &mut State, signers: &[LocalSigner; 2], body: &[u8]) -> Response {
    let (status, content_type, text) = match state.answer.clone() {
        Some(answer) => answer,
        None => cosign(state, signers, body),
    };
    state.answered.push(status.as_u16());
    (status, [(CONTENT_TYPE, content_type)], text).into_response()
}

fn cosign(state: &mut State, signers: &[LocalSigner; 2], body: &[u8]) -> (StatusCode, &'static str, String) {
    let refuse = |status| (status, "text/plain", String::new());
    let text = std::str::from_utf8(body).unwrap();
    let (head, note) = text.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let old: u64 = lines.next().and_then(|line| line.strip_prefix("old ")).unwrap().parse().unwrap();
    let hashes = lines.map(|line| Hash::try_from(&Base64::decode_vec(line).unwrap()[..]).unwrap());
    let proof = ConsistencyProof::from_hashes(hashes.collect()).unwrap();
    let Some((origin, keys)) = &state.log else { return refuse(StatusCode::NOT_FOUND) };
    let Ok(verified) = VerifiedCheckpoint::open(note.as_bytes(), origin, keys) else {
        return refuse(StatusCode::FORBIDDEN);
    };
    let checkpoint = verified.checkpoint();
    let (seen, root) = match &state.seen {
        Some(seen) => (seen.size(), *seen.root()),
        None => (TreeSize::ZERO, graven_merkle::EMPTY_ROOT),
    };
    if old > checkpoint.size().get() {
        return refuse(StatusCode::BAD_REQUEST);
    }
    if old != seen.get() {
        return (StatusCode::CONFLICT, "text/x.tlog.size", format!("{seen}\n"));
    }
    if verify_consistency(seen, &root, checkpoint.size(), checkpoint.root(), &proof).is_err() {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY);
    }
    (state.seen, state.shown) = (Some(checkpoint.clone()), Some(note.to_owned()));
    (StatusCode::OK, "text/plain", cosignatures(signers, &checkpoint.to_string(), now_seconds()))
}

fn cosignatures(signers: &[LocalSigner], text: &str, time_seconds: u64) -> String {
    signers.iter().map(|signer| sign_line(text, signer, time_seconds).unwrap().to_string()).collect()
}

/// Since 1970.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
