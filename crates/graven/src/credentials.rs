//! What a command shows a server of itself, and whom it believes that the server is the right one.

use std::{
    env,
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use graven_client::{BearerToken, ClientIdentity, MAX_TOKEN_BYTES, RootCertificates, Roots};

use crate::exit::{Failure, Outcome};

const CA: &str = "GRAVEN_CA";
const TOKEN: &str = "GRAVEN_TOKEN";
const TOKEN_FILE: &str = "GRAVEN_TOKEN_FILE";
const CLIENT_CERT: &str = "GRAVEN_CLIENT_CERT";
const CLIENT_KEY: &str = "GRAVEN_CLIENT_KEY";

/// All variables by which the environment gives credentials.
pub(crate) const VARIABLES: [&str; 5] = [CA, TOKEN, TOKEN_FILE, CLIENT_CERT, CLIENT_KEY];

/// The longest file of certificates that is read: the roots of a whole system are a quarter of that.
const MAX_PEM_BYTES: usize = 1 << 20;

/// The longest file of a token: the token, and a line end or two.
const MAX_TOKEN_FILE_BYTES: usize = MAX_TOKEN_BYTES + 16;

/// Who calls, and whom to believe.
#[derive(Args, Clone, Debug)]
pub(crate) struct CredentialArgs {
    /// Believe that a server is the right one if these CAs signed its certificate (PEM), instead of those that
    /// the system trusts [env: GRAVEN_CA]
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub(crate) ca: Option<PathBuf>,

    /// File with a token to show with every call, readable by nobody else (mode 0600)
    /// [env: GRAVEN_TOKEN_FILE, or the token itself in GRAVEN_TOKEN]
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub(crate) token_file: Option<PathBuf>,

    /// Client certificate to show if the server asks for one (PEM, followed by its chain)
    /// [env: GRAVEN_CLIENT_CERT]
    #[arg(long, value_name = "FILE", requires = "client_key", help_heading = "Server")]
    pub(crate) client_cert: Option<PathBuf>,

    /// Private key of the client certificate (PEM), readable by nobody else (mode 0600)
    /// [env: GRAVEN_CLIENT_KEY]
    #[arg(long, value_name = "FILE", requires = "client_cert", help_heading = "Server")]
    pub(crate) client_key: Option<PathBuf>,
}

/// The same, read.
pub(crate) struct Credentials {
    pub(crate) roots: Roots,
    pub(crate) identity: Option<ClientIdentity>,
    pub(crate) token: Option<BearerToken>,
}

impl CredentialArgs {
    /// What a settings file names.
    pub(crate) fn of_files(
        token_file: Option<PathBuf>,
        client_cert: Option<PathBuf>,
        client_key: Option<PathBuf>,
    ) -> Self {
        Self { ca: None, token_file, client_cert, client_key }
    }

    /// For the server: what the command line gives, and else the environment.
    pub(crate) fn for_server(&self) -> Outcome<Credentials> {
        let mut args = self.clone();
        args.ca = args.ca.or_else(|| variable(CA));
        if args.client_cert.is_none() {
            (args.client_cert, args.client_key) = (variable(CLIENT_CERT), variable(CLIENT_KEY));
        }
        let itself = variable(TOKEN).filter(|_| args.token_file.is_none());
        args.token_file = args.token_file.or_else(|| variable(TOKEN_FILE));
        let token = match (itself, &args.token_file) {
            (Some(_), Some(_)) => {
                return Err(Failure::trouble(format_args!(
                    "{TOKEN} and {TOKEN_FILE} are both set: unset one"
                )));
            }
            (Some(token), None) => Some(parse_token(token.to_str().unwrap_or("\0"), TOKEN)?),
            (None, _) => None,
        };
        let credentials = args.as_given()?;
        Ok(Credentials { token: token.or(credentials.token), ..credentials })
    }

    /// For others: what the command line gives, and that alone. What the environment holds is the server's.
    pub(crate) fn as_given(&self) -> Outcome<Credentials> {
        let roots = self.ca.as_deref().map(roots).transpose()?.unwrap_or_default();
        let identity = match (&self.client_cert, &self.client_key) {
            (Some(chain), Some(key)) => Some(identity(chain, key)?),
            (None, None) => None,
            _ => {
                return Err(Failure::trouble(format_args!(
                    "a client certificate and its key go together: set both {CLIENT_CERT} and {CLIENT_KEY}"
                )));
            }
        };
        let token = self.token_file.as_deref().map(token).transpose()?;
        Ok(Credentials { roots, identity, token })
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The CAs in a file.
pub(crate) fn roots(path: &Path) -> Outcome<Roots> {
    let pem = read(path, MAX_PEM_BYTES, None)?;
    let roots = RootCertificates::from_pem(&pem);
    Ok(Roots::Only(roots.map_err(|error| Failure::trouble(format_args!("{}: {error}", path.display())))?))
}

fn identity(chain: &Path, key: &Path) -> Outcome<ClientIdentity> {
    let pem = (read(chain, MAX_PEM_BYTES, None)?, read(key, MAX_PEM_BYTES, Some("key"))?);
    ClientIdentity::from_pem(&pem.0, &pem.1)
        .map_err(|error| Failure::trouble(format_args!("{} or {}: {error}", chain.display(), key.display())))
}

fn token(path: &Path) -> Outcome<BearerToken> {
    let bytes = read(path, MAX_TOKEN_FILE_BYTES, Some("token"))?;
    parse_token(str::from_utf8(&bytes).unwrap_or("\0"), &path.display().to_string())
}

fn parse_token(text: &str, from: &str) -> Outcome<BearerToken> {
    BearerToken::new(text.trim()).map_err(|error| Failure::trouble(format_args!("{from}: {error}")))
}

/// Reads a file of limited length; one that holds a secret only if nobody but its owner may read it, for it is
/// no secret otherwise.
fn read(path: &Path, limit: usize, secret: Option<&str>) -> Outcome<Vec<u8>> {
    let failed = |error| Failure::file(path, &error);
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if let Some(what) = secret.filter(|_| mode & 0o077 != 0) {
        let path = path.display();
        return Err(Failure::trouble(format_args!(
            "{path}: others than its owner may read or change this {what} (mode {mode:04o}): run chmod 600 {path}"
        )));
    }
    let mut bytes = Vec::new();
    file.take(u64::try_from(limit).unwrap_or(u64::MAX) + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        let path = path.display();
        return Err(Failure::trouble(format_args!(
            "{path}: it is longer than {limit} bytes: is it the right file?"
        )));
    }
    Ok(bytes)
}
