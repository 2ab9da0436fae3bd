//! The npm package `oidc-provider`, as a process.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
};

use base64ct::{Base64, Encoding as _};
use serde_json::{Value, json};

use crate::{
    desk::{now, unique},
    tokens::SigningKey,
};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/oauth/provider");

/// The program with the packages that its lock file pins.
static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc-provider");
    fs::create_dir_all(&place).unwrap();
    for name in ["package.json", "package-lock.json", "provider.mjs"] {
        fs::copy(Path::new(SOURCES).join(name), place.join(name)).unwrap();
    }
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"])
        .current_dir(&place)
        .output();
    let npm = npm.expect("npm is not installed");
    assert!(npm.status.success(), "npm ci: {}", String::from_utf8_lossy(&npm.stderr));
    place
});

/// A provider that runs until the test is over.
pub(crate) struct Provider {
    pub(crate) url: String,
    child: Child,
}

impl Provider {
    pub(crate) fn start() -> Self {
        let mut child = Command::new("node")
            .arg("provider.mjs")
            .current_dir(&*INSTALLED)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is not installed");
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://127.0.0.1:"), "{url:?}");
        Self { url: url.trim().to_owned(), child }
    }

    /// A token of a kind (`es256`, `rs256` or `opaque`), bound to a key where there is one; and what came with it.
    pub(crate) fn token(&self, kind: &str, scope: &str, key: Option<&SigningKey>) -> (String, Value) {
        let proof = key.map(|key| {
            key.proof(
                &json!({"htm": "POST", "htu": format!("{}/token", self.url), "iat": now(), "jti": unique()}),
            )
        });
        let resource = format!("https%3A%2F%2Flog.example.com%2F{kind}");
        let scope = scope.replace(':', "%3A").replace(' ', "+");
        let form = format!("grant_type=client_credentials&resource={resource}&scope={scope}");
        let (status, body) = self.post("/token", "producer", proof.as_deref(), &form);
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        (answer["access_token"].as_str().unwrap().to_owned(), answer)
    }

    pub(crate) fn revoke(&self, token: &str) {
        let (status, body) = self.post("/token/revocation", "producer", None, &format!("token={token}"));
        assert_eq!(status, 200, "{body}");
    }

    /// A new key takes the place of the old one.
    pub(crate) fn rotate(&self) {
        assert_eq!(self.post("/rotate", "producer", None, "").0, 200);
    }

    fn post(&self, path: &str, client: &str, proof: Option<&str>, form: &str) -> (u16, String) {
        let host = self.url.strip_prefix("http://").unwrap();
        let basic = Base64::encode_string(format!("{client}:{client}-secret").as_bytes());
        let proof = proof.map(|proof| format!("dpop: {proof}\r\n")).unwrap_or_default();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Basic {basic}\r\n{proof}\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
