//! A witness that runs, and a log that talks to it.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use graven_merkle::{
    ConsistencyProof, Hash, HashReader as _, leaf_hash,
    tile::{TilePath, tiles},
};
use graven_note::{
    Checkpoint, LocalSigner, SignatureLine, SignatureType, SignedNote, Signer, VerifiedCheckpoint,
    VerifierKey, sign_checkpoint,
    witness::{AddCheckpoint, parse_signature_lines},
};

use crate::{
    http1::{Answer, Connection},
    trees::{MemoryTree, mth, size, subproof},
};

/// Where a witness lives.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) keys: Vec<VerifierKey>,
}

/// A witness that runs, until it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: String,
}

/// A log of which the tests hold the key.
pub(crate) struct Log {
    signer: LocalSigner,
    leaves: Vec<Hash>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with_keys("ed25519,ml-dsa-44")
    }

    pub(crate) fn with_keys(types: &str) -> Self {
        Self::named("example.com/w", types)
    }

    pub(crate) fn named(name: &str, types: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut place = Self { folder, keys: Vec::new() };
        let made = place.graven(&["init", "--name", name, "--key-types", types]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let printed = String::from_utf8(made.stdout).unwrap();
        place.keys = printed.lines().map(|line| VerifierKey::parse(line).unwrap()).collect();
        place
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("w")
    }

    /// Runs `graven witness …` on this data directory.
    pub(crate) fn graven(&self, args: &[&str]) -> Output {
        command(args[0], &self.dir()).args(&args[1..]).output().unwrap()
    }

    pub(crate) fn know(&self, origin: &str, keys: &[String]) {
        let mut args = vec!["add-log", "--origin", origin];
        keys.iter().for_each(|key| args.extend(["--key", key.as_str()]));
        let added = self.graven(&args);
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    }

    pub(crate) fn know_log(&self, log: &Log) {
        self.know(log.origin(), &[log.signer.vkey().to_string()]);
    }

    /// Says where a known log is polled.
    pub(crate) fn poll(&self, origin: &str, args: &[&str]) {
        let added = self.graven(&[&["add-log", "--origin", origin], args].concat());
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    }

    pub(crate) fn serve(&self) -> Running {
        self.serve_at("127.0.0.1:0")
    }

    pub(crate) fn serve_at(&self, address: &str) -> Running {
        self.serve_with(&["--listen", address])
    }

    pub(crate) fn serve_with(&self, args: &[&str]) -> Running {
        let mut child = command("serve", &self.dir())
            .args(args)
            .args(["--log-level", "error"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").expect("it listens").to_owned();
        Running { child, address }
    }

    /// The verified cosignatures of an answer, one by each key of the witness, over the checkpoint of the request.
    pub(crate) fn cosigned(&self, request: &AddCheckpoint, answer: &Answer) -> VerifiedCheckpoint {
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let lines = parse_signature_lines(&answer.body).unwrap();
        assert_eq!(lines.len(), self.keys.len());
        let note = SignedNote::new(request.note.text(), &lines).unwrap();
        let note = note.as_str().as_bytes();
        let verified = VerifiedCheckpoint::open(note, request.checkpoint.origin(), &self.keys).unwrap();
        verified.note().require_keys(&self.keys).unwrap();
        assert!(verified.note().signatures().iter().all(|by| by.timestamp().unwrap() > 1_700_000_000));
        verified
    }
}

fn command(verb: &str, dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graven"));
    command.args(["witness", verb, "--data-dir"]).arg(dir);
    command
}

impl Running {
    pub(crate) fn connect(&self) -> Connection {
        Connection::plain(&self.address)
    }

    pub(crate) fn post(&self, call: &str, body: &[u8]) -> Answer {
        post(&mut self.connect(), call, body)
    }

    pub(crate) fn add(&self, request: &AddCheckpoint) -> Answer {
        self.post("add-checkpoint", request.to_string().as_bytes())
    }

    /// What it has in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        resident.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Ends it, and returns where it was.
    pub(crate) fn stop(self) -> String {
        self.address.clone()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn post(connection: &mut Connection, call: &str, body: &[u8]) -> Answer {
    let head = format!("POST /{call} HTTP/1.1\r\nhost: w\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.send(&[head.as_bytes(), body].concat()).unwrap();
    connection.receive(true).unwrap()
}

impl Log {
    pub(crate) fn new(origin: &str) -> Self {
        let seed = [u8::try_from(origin.len()).unwrap(); 32];
        let signer = LocalSigner::generate(origin.parse().unwrap(), SignatureType::Ed25519, &seed).unwrap();
        Self { signer, leaves: (0..600_u32).map(|n| leaf_hash(&n.to_be_bytes())).collect() }
    }

    /// The same key, and another history from leaf `from` on.
    pub(crate) fn rewritten(mut self, from: usize) -> Self {
        self.leaves[from..].iter_mut().for_each(|leaf| *leaf = leaf_hash(leaf.as_bytes()));
        self
    }

    /// The same log, with another key.
    pub(crate) fn signed_by(self, signer: LocalSigner) -> Self {
        Self { signer, ..self }
    }

    pub(crate) fn key(&self) -> VerifierKey {
        self.signer.vkey().clone()
    }

    pub(crate) fn origin(&self) -> &str {
        self.signer.vkey().name().as_str()
    }

    pub(crate) fn leaves(&self) -> &[Hash] {
        &self.leaves
    }

    pub(crate) fn hex(&self) -> String {
        let origin: graven_note::Origin = self.origin().parse().unwrap();
        origin.sha256_hex()
    }

    pub(crate) fn checkpoint(&self, to: usize) -> SignedNote {
        let head = Checkpoint::new(self.origin().parse().unwrap(), size(to as u64), mth(&self.leaves[..to]));
        sign_checkpoint(&head, &[&self.signer], 0).unwrap()
    }

    pub(crate) fn note(&self, to: usize) -> Vec<u8> {
        self.checkpoint(to).as_str().as_bytes().to_vec()
    }

    /// What a site has for a witness: the checkpoint, and the tiles (C2SP tlog-tiles).
    pub(crate) fn files(&self, to: usize) -> HashMap<String, Vec<u8>> {
        let tree = MemoryTree::of(self.leaves[..to].iter().copied());
        let row = |path: TilePath| -> Vec<u8> {
            let ids: Vec<_> = path.node_ids().collect();
            tree.read(&ids).unwrap().iter().flat_map(|hash| *hash.as_bytes()).collect()
        };
        let tiles = tiles(size(to as u64)).map(|path| (path.to_string(), row(path)));
        tiles.chain([("checkpoint".to_owned(), self.note(to))]).collect()
    }

    pub(crate) fn request(&self, from: usize, to: usize) -> AddCheckpoint {
        let proof =
            if from == 0 || from == to { Vec::new() } else { subproof(from, &self.leaves[..to], true) };
        let proof = ConsistencyProof::from_hashes(proof).unwrap();
        AddCheckpoint::new(size(from as u64), proof, self.checkpoint(to)).unwrap()
    }

    /// A request to cosign three leaves as the first, with this many bytes of extension lines.
    pub(crate) fn request_extended(&self, bytes: usize) -> AddCheckpoint {
        let head = Checkpoint::new(self.origin().parse().unwrap(), size(3), mth(&self.leaves[..3]));
        let head = head.with_extensions(vec!["x".repeat(bytes)]).unwrap();
        let note = sign_checkpoint(&head, &[&self.signer], 0).unwrap();
        AddCheckpoint::new(size(0), ConsistencyProof::from_hashes(Vec::new()).unwrap(), note).unwrap()
    }

    pub(crate) fn request_with(&self, from: usize, to: usize, line: &SignatureLine) -> AddCheckpoint {
        let mut request = self.request(from, to);
        request.note = request.note.with_signature(line).unwrap();
        request
    }
}
