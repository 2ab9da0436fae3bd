//! What a server and its logs are called, and the files that say so.
//!
//! ```text
//! DATA/server                        this server, written once
//! DATA/lock                          held by the one process that may write here
//! DATA/recovery-key.pem              to be taken offline (see the key's advice)
//! DATA/journal/slot-NNN              the journal
//! DATA/logs/NAME/log                 a log, written once; a folder without it is an interrupted creation
//! DATA/logs/NAME/keys/TYPE.pem       its first signing keys, mode 0600
//! DATA/logs/NAME/keys/ID.pem         later ones, by key id: files of keys that ended may be removed
//! DATA/logs/NAME/rotations           how its keys changed, once they did (see `rotation`)
//! DATA/logs/NAME/signer              its signer journal: the memory of what was signed
//! DATA/logs/NAME/witnessed           its witness journal, once it has witnesses: what they cosigned last
//! DATA/logs/NAME/first               its first leaf, where who made it says what that is; of no use once it is in the log
//! DATA/logs/NAME/frozen              present once it accepts no more entries
//! DATA/logs/NAME/site/               its C2SP tlog-tiles folder: write-once tiles and bundles, checkpoint
//! DATA/logs/NAME/blobs/CLASS/N       attachments of sealed entries, by class (see `blobs`)
//! DATA/logs/NAME/state               derived: the state of its hook, where that has one (see `state`)
//! DATA/logs/NAME/nodes/LEVEL         derived: full tiles with inner nodes, for fast proofs
//! DATA/index/                        derived: lookup by leaf hash
//! ```
//!
//! `server` and `log` are text, one `key value` a line, in this order, each line ended by a newline:
//!
//! ```text
//! graven-server/v1                   graven-log/v1
//! prefix example.com                 id 1
//! secret <64 hex digits>             origin example.com/audit
//! recovery <vkey>                    kind bytes
//! digest <64 hex digits>             visibility private
//!                                    created <nanoseconds since 1970>
//!                                    key <vkey>            (once or more)
//!                                    recovery <vkey>
//! ```
//!
//! `secret` keys the digests of idempotency keys and requests in the journal; the file is mode 0600. `digest` is the
//! SHA-256 of the lines before it: with a secret that rotted, no repeat would be recognised.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use graven_note::{Origin, VerifierKey};
use graven_store::journal::LogId;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Longest name of a log.
pub const MAX_NAME_BYTES: usize = 63;
/// Names that are paths of the server itself.
pub const RESERVED_NAMES: [&str; 4] = ["healthz", "readyz", "metrics", "ui"];
/// First line of a server's manifest, with its format version.
pub(crate) const SERVER_FORMAT: &str = "graven-server/v1\n";
/// First line of a log's manifest, with its format version.
pub(crate) const LOG_FORMAT: &str = "graven-log/v1\n";
/// Longest manifest file.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 64 << 10;

/// The name of a log, unique in its server: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName(String);

/// Not the name of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` cannot name a log: use 1 to 63 of a-z, 0-9 and -, not beginning with -, and none of healthz, readyz, \
     metrics, ui",
    self.0.escape_debug()
)]
pub struct InvalidName(String);

impl LogName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_legal);
        if fits && !name.starts_with('-') && !RESERVED_NAMES.contains(&name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidName(name.chars().take(MAX_NAME_BYTES + 1).collect()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a log holds; fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes as the caller sends them.
    Bytes,
    /// Structured audit events.
    Events,
    /// The server's own log of who read and did what.
    Access,
}

/// Who may read a log's tiles; fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Holders of the read permission.
    Private,
    /// Everybody.
    Public,
}

macro_rules! words {
    ($type:ty { $($variant:ident = $word:literal),+ }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("`{word}` is none of {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

words!(Kind { Bytes = "bytes", Events = "events", Access = "access" });
words!(Visibility { Private = "private", Public = "public" });

/// A log's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogMeta {
    /// Its number within the server: in every journal record.
    pub id: LogId,
    /// Its name, the last path element of the origin.
    pub name: LogName,
    /// Its origin, the first line of its checkpoints.
    pub origin: Origin,
    /// What it holds.
    pub kind: Kind,
    /// Who may read its tiles.
    pub visibility: Visibility,
    /// When it was created, nanoseconds since 1970.
    pub created_ns: u64,
    /// The keys that signed its first checkpoint; those of now are [`Log::keys`](crate::Log::keys).
    pub keys: Vec<VerifierKey>,
    /// The offline key that may authorise new ones.
    pub recovery: VerifierKey,
}

/// A server's manifest.
pub(crate) struct ServerMeta {
    /// Origins of its logs are `prefix/name`.
    pub(crate) prefix: String,
    pub(crate) secret: Zeroizing<[u8; 32]>,
    /// The offline key that may authorise new signing keys.
    pub(crate) recovery: VerifierKey,
}

/// The bytes are no manifest of this format version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadManifest;

impl LogMeta {
    pub(crate) fn to_text(&self) -> String {
        let keys: String = self.keys.iter().map(|key| format!("key {key}\n")).collect();
        format!(
            "graven-log/v1\nid {}\norigin {}\nkind {}\nvisibility {}\ncreated {}\n{keys}recovery {}\n",
            self.id.0,
            self.origin.as_str(),
            self.kind,
            self.visibility,
            self.created_ns,
            self.recovery
        )
    }

    pub(crate) fn parse(text: &str) -> Result<Self, BadManifest> {
        let mut lines = Lines(text.lines());
        lines.header("graven-log/v1")?;
        let id = LogId(lines.parsed("id")?);
        let origin = Origin::new(lines.value("origin")?).map_err(|_| BadManifest)?;
        let name = name_of(&origin).ok_or(BadManifest)?;
        let (kind, visibility) = (lines.parsed("kind")?, lines.parsed("visibility")?);
        let created_ns = lines.parsed("created")?;
        let mut keys = Vec::new();
        let recovery = loop {
            match lines.pair()? {
                ("key", vkey) => keys.push(VerifierKey::parse(vkey).map_err(|_| BadManifest)?),
                ("recovery", vkey) => break VerifierKey::parse(vkey).map_err(|_| BadManifest)?,
                _ => return Err(BadManifest),
            }
        };
        let meta = Self { id, name, origin, kind, visibility, created_ns, keys, recovery };
        (meta.to_text() == text).then_some(meta).ok_or(BadManifest)
    }
}

impl ServerMeta {
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let secret: Zeroizing<String> = hex(&*self.secret).into();
        let (prefix, recovery) = (&self.prefix, &self.recovery);
        let lines = format!("graven-server/v1\nprefix {prefix}\nsecret {}\nrecovery {recovery}\n", *secret);
        let lines = Zeroizing::new(lines);
        let digest = hex(&Sha256::digest(lines.as_bytes()));
        Zeroizing::new(format!("{}digest {digest}\n", *lines))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, BadManifest> {
        let mut lines = Lines(text.lines());
        lines.header("graven-server/v1")?;
        let prefix = lines.value("prefix")?.to_owned();
        let hex = lines.value("secret")?;
        let mut secret = Zeroizing::new([0; 32]);
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(BadManifest);
        }
        for (byte, digits) in secret.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| BadManifest)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| BadManifest)?;
        }
        let recovery = VerifierKey::parse(lines.value("recovery")?).map_err(|_| BadManifest)?;
        let meta = Self { prefix, secret, recovery };
        (*meta.to_text() == *text).then_some(meta).ok_or(BadManifest)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name that an origin gives its log: the last path element.
pub fn name_of(origin: &Origin) -> Option<LogName> {
    let (prefix, name) = origin.as_str().rsplit_once('/')?;
    (!prefix.is_empty()).then(|| LogName::new(name).ok()).flatten()
}

struct Lines<'a>(std::str::Lines<'a>);

impl<'a> Lines<'a> {
    fn header(&mut self, wanted: &str) -> Result<(), BadManifest> {
        (self.0.next() == Some(wanted)).then_some(()).ok_or(BadManifest)
    }

    fn pair(&mut self) -> Result<(&'a str, &'a str), BadManifest> {
        self.0.next().and_then(|line| line.split_once(' ')).ok_or(BadManifest)
    }

    fn value(&mut self, key: &str) -> Result<&'a str, BadManifest> {
        let (found, value) = self.pair()?;
        (found == key).then_some(value).ok_or(BadManifest)
    }

    fn parsed<T: FromStr>(&mut self, key: &str) -> Result<T, BadManifest> {
        self.value(key)?.parse().map_err(|_| BadManifest)
    }
}

/// The file in a log's folder that holds its first leaf before it has one.
pub(crate) const FIRST_LEAF: &str = "first";

/// Paths of a data directory.
#[derive(Clone, Debug)]
pub struct Paths(PathBuf);

impl Paths {
    /// Of the data directory at `root`.
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// The data directory.
    pub fn root(&self) -> &Path {
        &self.0
    }

    pub(crate) fn server(&self) -> PathBuf {
        self.0.join("server")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Where `init` leaves the recovery key.
    pub fn recovery_key(&self) -> PathBuf {
        self.0.join("recovery-key.pem")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The derived lookup tables.
    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    /// A log's folder.
    pub fn log(&self, name: &LogName) -> PathBuf {
        self.logs().join(name.as_str())
    }

    /// Where the first leaf of a log lies that has none yet, if who makes it says what it is.
    pub fn first_leaf(&self, name: &LogName) -> PathBuf {
        self.log(name).join(FIRST_LEAF)
    }

    /// A log's tlog-tiles folder.
    pub fn site(&self, name: &LogName) -> PathBuf {
        self.log(name).join("site")
    }

    pub(crate) fn manifest(&self, name: &LogName) -> PathBuf {
        self.log(name).join("log")
    }

    pub(crate) fn keys(&self, name: &LogName) -> PathBuf {
        self.log(name).join("keys")
    }

    pub(crate) fn signer(&self, name: &LogName) -> PathBuf {
        self.log(name).join("signer")
    }

    pub(crate) fn rotations(&self, name: &LogName) -> PathBuf {
        self.log(name).join("rotations")
    }

    pub(crate) fn witnessed(&self, name: &LogName) -> PathBuf {
        self.log(name).join("witnessed")
    }

    pub(crate) fn frozen(&self, name: &LogName) -> PathBuf {
        self.log(name).join("frozen")
    }

    pub(crate) fn state(&self, name: &LogName) -> PathBuf {
        self.log(name).join("state")
    }

    pub(crate) fn blobs(&self, name: &LogName) -> PathBuf {
        self.log(name).join("blobs")
    }

    pub(crate) fn nodes(&self, name: &LogName) -> PathBuf {
        self.log(name).join("nodes")
    }
}
