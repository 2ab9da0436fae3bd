//! An issuer on this machine: metadata, keys and introspection over plain HTTP, and everything that can go wrong with them.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::tokens::SigningKey;

/// What it tells, and how often it was asked.
pub(crate) struct State {
    /// As it publishes them.
    pub(crate) keys: Vec<Value>,
    /// Answers by token; of others it says that they are not active.
    pub(crate) tokens: HashMap<String, Value>,
    /// Instead of its own metadata.
    pub(crate) metadata: Option<Value>,
    pub(crate) mood: Mood,
    /// The paths that were asked for.
    pub(crate) asked: Vec<String>,
    /// The last `Authorization` of an introspection.
    pub(crate) authorization: String,
}

/// How it answers.
#[derive(Clone, PartialEq)]
pub(crate) enum Mood {
    Well,
    /// It hangs up.
    Down,
    Status(u16),
    /// It sends us there.
    Redirecting(String),
    /// It has this much to say.
    Endless,
    Garbage,
}

/// Serves until the process ends.
pub(crate) struct LocalIssuer {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl LocalIssuer {
    pub(crate) fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            keys: keys.iter().map(|key| key.jwk()).collect(),
            tokens: HashMap::new(),
            metadata: None,
            mood: Mood::Well,
            asked: Vec::new(),
            authorization: String::new(),
        }));
        let (shared, here) = (state.clone(), url.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, here) = (shared.clone(), here.clone());
                thread::spawn(move || drop(answer(stream, &state, &here)));
            }
        });
        Self { url, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How often this was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.state().asked.iter().filter(|asked| *asked == path).count()
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, here: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut authorization) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => authorization = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, head, body) = {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        match state.mood.clone() {
            Mood::Down => return Ok(()),
            Mood::Status(status) => (status, String::new(), "{}".to_owned()),
            Mood::Redirecting(to) => (302, format!("location: {to}\r\n"), String::new()),
            Mood::Endless => (200, String::new(), format!("{{\"pad\":\"{}\"}}", "x".repeat(1 << 20))),
            Mood::Garbage => (200, String::new(), "<html>".to_owned()),
            Mood::Well => {
                let said = state.say(&path, here, &body, authorization);
                said.map_or((404, String::new(), String::new()), |said| {
                    (200, String::new(), said.to_string())
                })
            }
        }
    };
    write!(stream, "HTTP/1.1 {status} X\r\n{head}content-length: {}\r\n\r\n{body}", body.len())
}

impl State {
    fn say(&mut self, path: &str, here: &str, body: &[u8], authorization: String) -> Option<Value> {
        match path {
            "/.well-known/openid-configuration" => Some(self.metadata.clone().unwrap_or_else(|| {
                json!({
                    "issuer": here, "jwks_uri": format!("{here}/jwks"),
                    "introspection_endpoint": format!("{here}/introspect"),
                })
            })),
            "/jwks" => Some(json!({"keys": self.keys})),
            "/introspect" => {
                self.authorization = authorization;
                let body = String::from_utf8_lossy(body).into_owned();
                let token = body.split('&').find_map(|pair| pair.strip_prefix("token="))?;
                Some(self.tokens.get(token).cloned().unwrap_or_else(|| json!({"active": false})))
            }
            _ => None,
        }
    }
}
