//! `graven token`: credentials for programs that have no identity provider.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand};
use graven_log::Env;
use graven_server::{Credentials, Grant, Token};

use crate::{
    exit::{Failure, Outcome},
    output,
};

const EXAMPLES: &str = "\
The token is printed once, on standard output; the file keeps its hash only. A server that runs with the file takes \
it up by itself within seconds. To revoke a token, remove its lines from the file. \
Keep the token where nobody else can read it: a file that others can read is not used.

Grants: append, read or admin, a colon, and the name of a log or `*` for all. None includes another.

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
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires: Option<Duration>,

    /// The server's credentials file; made if it is not there
    #[arg(long, value_name = "FILE")]
    credentials: PathBuf,
}

pub(crate) fn run(args: &TokenArgs) -> Outcome {
    let TokenCommand::New(args) = &args.command;
    let path = &args.credentials;
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
    replace(path, &text).map_err(|error| Failure::file(path, &error))?;
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

/// A server that reads the file meanwhile finds the old one or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&name)?;
    // Whoever could read it still can: the server often runs as another user than its administrator.
    if let Ok(before) = fs::metadata(path) {
        fchown(&file, Some(before.uid()), Some(before.gid()))?;
        file.set_permissions(before.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&name, path)
}
