//! `graven token`: credentials for programs that have no identity provider.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use clap::{Args, Subcommand};
use graven_log::Env;
use graven_server::{Credentials, Grant, Token};

use crate::{
    exit::{Failure, Outcome},
    output,
};

/// How long another one may take that is making a token for the same file.
const PATIENCE: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
The token is printed once, on standard output; the file keeps its hash only. A server that runs with the file takes \
it up by itself within seconds. To revoke a token, remove its lines from the file. \
Keep the token where nobody else can read it: a file that others can read is not used.

Grants: append, read, admin, witness, query, reveal, erase, audit, scope or check, a colon, and the name of a log, `NAME-*` \
for those that begin so, or `*` for all. None includes another.

Examples:
  (umask 077; graven token new --name ci --grant append:audit --credentials credentials.toml > ci.token)
  graven token new --name auditor --grant 'read:*' --expires 90d --credentials credentials.toml
  graven append --token-file ci.token entry.json";

/// Make tokens that let programs in
#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    New(NewArgs),
}

/// Make a token, print it, and add its hash to the credentials of a server
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
struct NewArgs {
    /// What answers and logs call whoever uses it
    #[arg(long, value_name = "NAME")]
    name: String,

    /// What it lets do; may be given several times
    #[arg(long = "grant", value_name = "GRANT", required = true)]
    grants: Vec<Grant>,

    /// How long it is good: 12h, 90d, 1y [default: until it is removed]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,

    /// The server's credentials file; made if it is not there
    #[arg(long, value_name = "FILE")]
    credentials: PathBuf,
}

pub(crate) fn run(args: &TokenArgs) -> Outcome {
    let TokenCommand::New(args) = &args.command;
    // A link is followed, so that it stays one.
    let path = &fs::canonicalize(&args.credentials).unwrap_or_else(|_| args.credentials.clone());
    let draft = Draft::begin(path).map_err(|error| Failure::file(path, &error))?;
    let mut text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::file(path, &error)),
    };
    let mut random = [0; 32];
    Env::system().entropy.fill(&mut random).map_err(Failure::trouble)?;
    let token = Token::new(&random);
    text.push_str(&entry(args, &token, text.is_empty()));
    // What a server would not read is not written.
    Credentials::parse(&text)
        .map_err(|error| Failure::trouble(format_args!("{}: {error}", path.display())))?;
    draft.finish(path, &text).map_err(|error| Failure::file(path, &error))?;
    output::line(token.expose())
}

fn entry(args: &NewArgs, token: &Token, is_first: bool) -> String {
    let grants: Vec<_> = args.grants.iter().map(|grant| toml::Value::from(grant.to_string())).collect();
    let mut entry = String::from(if is_first { "" } else { "\n" });
    entry += "[[token]]\n";
    entry += &format!("name = {}\n", toml::Value::from(args.name.as_str()));
    entry += &format!("sha256 = \"{}\"\n", token.digest());
    entry += &format!("grants = {}\n", toml::Value::from(grants));
    if let Some(time) = args.expires {
        entry += &format!("expires = {}\n", humantime::format_rfc3339_seconds(SystemTime::now() + time));
    }
    entry
}

/// The new file, beside the old one until it is whole: a server that reads meanwhile finds one or the other. While it is
/// there nobody else makes one.
struct Draft {
    file: File,
    /// Where it is, until it is finished.
    name: Option<PathBuf>,
}

impl Draft {
    fn begin(path: &Path) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let begun = Instant::now();
        loop {
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name) {
                Ok(file) => return Ok(Self { file, name: Some(name.into()) }),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) if begun.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
                Err(error) => {
                    let name = name.display();
                    let what =
                        format!("{name} is in the way: remove it, unless another `graven token new` runs");
                    return Err(io::Error::new(error.kind(), what));
                }
            }
        }
    }

    fn finish(mut self, path: &Path, text: &str) -> io::Result<()> {
        // Whoever could read it still can: the server often runs as another user than its administrator.
        if let Ok(before) = fs::metadata(path) {
            fchown(&self.file, Some(before.uid()), Some(before.gid()))?;
            self.file.set_permissions(before.permissions())?;
        }
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()?;
        let Some(name) = &self.name else { return Ok(()) };
        fs::rename(name, path)?;
        // Whatever has that name from now on is somebody else's.
        self.name = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = fs::remove_file(name);
        }
    }
}

/// A time to come, within a century: dates beyond are slips.
fn lifetime(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    if time > century { Err("more than a century: leave it out".to_owned()) } else { Ok(time) }
}
