//! Whose signatures count: what the caller pins on the command line.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use graven_client::{ReportedLog, Trust, TrustError};
use graven_note::{Origin, Policy, RotationError, VerifierKey, rotation::parse_history};

use crate::{
    exit::{Failure, Outcome},
    output,
};

/// Names the policy file where neither `--policy` nor `--key` does.
const POLICY_VARIABLE: &str = "GRAVEN_POLICY";

/// Verifier keys as they are given, and those in files that have one a line.
pub(crate) fn vkeys(given: &[String], files: &[PathBuf]) -> Outcome<Vec<VerifierKey>> {
    let mut lines = given.to_vec();
    for path in files {
        let text = fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        lines.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    }
    let parse = |line: &String| {
        VerifierKey::parse(line).map_err(|error| Failure::trouble(format_args!("{line}: {error}")))
    };
    lines.iter().map(parse).collect()
}

/// Whose signatures count.
#[derive(Args, Clone, Debug)]
pub(crate) struct TrustArgs {
    /// A verifier key of the log, as `graven init` prints it; repeat it for several. One valid signature by
    /// any of them suffices, an invalid one by any of them rejects
    #[arg(long = "key", value_name = "VKEY", conflicts_with = "policy", help_heading = "Trust")]
    pub(crate) keys: Vec<String>,

    /// A file with the keys and witnesses to trust (C2SP tlog-policy), as `graven init` writes it
    /// [env: GRAVEN_POLICY, where no --key is given]
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    pub(crate) policy: Option<PathBuf>,

    /// The verifier key of the log's recovery key, which may hand the log over to new keys (`graven keys show --recovery`):
    /// they are followed from the keys that are given, and kept in --state, so that the old ones are refused
    #[arg(long, value_name = "VKEY", help_heading = "Trust")]
    pub(crate) recovery: Option<String>,

    /// How the log's keys changed, as `graven keys history` prints it; what --recovery authorised of it is followed
    #[arg(long, value_name = "FILE", requires = "recovery", help_heading = "Trust")]
    pub(crate) rotations: Option<PathBuf>,

    /// Demand a valid signature by every one of the keys that are given for the log, by --key or in the policy,
    /// so as not to depend on a single algorithm: give one of each type
    #[arg(long, help_heading = "Trust")]
    pub(crate) all_keys: bool,

    /// Demand that the head was signed not longer ago than this (30s, 10m, 1h): by enough witnesses for the quorum, or
    /// by the log's own ML-DSA-44 key where the policy asks for no witness. Else the exit code is 3
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Trust")]
    pub(crate) fresh_within: Option<Duration>,
}

/// What was pinned, read but not yet narrowed to one log.
pub(crate) enum Pinned {
    Keys(Vec<VerifierKey>),
    Policy(Policy),
}

impl TrustArgs {
    /// What is pinned; `None` where nothing is.
    pub(crate) fn pinned(&self) -> Outcome<Option<Pinned>> {
        if !self.keys.is_empty() {
            let keys: Result<Vec<_>, _> = self.keys.iter().map(|vkey| VerifierKey::parse(vkey)).collect();
            let keys = keys.map_err(|error| Failure::trouble(format_args!("--key: {error}")))?;
            return Ok(Some(Pinned::Keys(keys)));
        }
        let from_environment = || std::env::var_os(POLICY_VARIABLE).map(PathBuf::from);
        let file = self.policy.clone().or_else(from_environment).filter(|path| !path.as_os_str().is_empty());
        file.map(|path| read_policy(&path).map(Pinned::Policy)).transpose()
    }

    /// What is pinned, for commands that check nothing without.
    pub(crate) fn demanded(&self) -> Outcome<Pinned> {
        self.pinned()?.ok_or_else(|| {
            Failure::trouble(
                "nothing says whom to trust: give --key VKEY or --policy FILE, as the log's operator published them",
            )
        })
    }

    /// The trust in one log: in the one of this name, or the only one that is pinned.
    pub(crate) fn trust(&self, pinned: Pinned, log: Option<&str>) -> Outcome<Trust> {
        match pinned.origin(log)? {
            Some(origin) => self.trust_in(pinned, origin),
            None => self.demanding(match pinned {
                Pinned::Keys(keys) => Trust::of_keys(keys),
                Pinned::Policy(policy) => Trust::of_policy(policy),
            }?),
        }
    }

    /// The trust in the log of this origin.
    pub(crate) fn trust_in(&self, pinned: Pinned, origin: Origin) -> Outcome<Trust> {
        self.demanding(match pinned {
            Pinned::Policy(policy) => Trust::of_policy_for(origin, policy),
            Pinned::Keys(mut keys) => {
                keys.retain(|key| key.name().as_str() == origin.as_str());
                Trust::new(origin, keys)
            }
        }?)
    }

    /// Trust in keys that nobody vouches for but the server: said aloud, and never kept.
    pub(crate) fn unpinned(&self, log: &ReportedLog) -> Outcome<Trust> {
        output::note(format_args!(
            "unpinned: the keys of {} were taken from the server itself; pin them with --key or --policy",
            log.origin
        ));
        let origin = Origin::new(log.origin.as_str()).map_err(TrustError::from)?;
        let keys: Result<Vec<_>, _> = log.vkeys.iter().map(|vkey| VerifierKey::parse(vkey)).collect();
        let keys = keys.map_err(|error| Failure::check_failed(format_args!("the server's keys: {error}")))?;
        self.demanding(Trust::new(origin, keys)?)
    }

    fn demanding(&self, trust: Trust) -> Outcome<Trust> {
        let trust = if self.all_keys { trust.requiring_all() } else { trust };
        let trust = self.fresh_within.map_or(trust.clone(), |limit| trust.fresh_within(limit));
        let Some(recovery) = &self.recovery else { return Ok(trust) };
        let recovery = VerifierKey::parse(recovery);
        let trust =
            trust.following(recovery.map_err(|error| Failure::trouble(format_args!("--recovery: {error}")))?);
        let Some(path) = &self.rotations else { return Ok(trust) };
        let history = fs::read(path).map_err(|error| Failure::file(path, &error))?;
        let bad = |error: RotationError| Failure::check_failed(format_args!("{}: {error}", path.display()));
        let rotations = parse_history(&history).map_err(bad)?.into_iter().map(|(_, rotation)| rotation);
        Ok(trust.rotated_by(rotations).map_err(bad)?.0)
    }
}

impl Pinned {
    pub(crate) fn keys(&self) -> Vec<&VerifierKey> {
        match self {
            Self::Keys(keys) => keys.iter().collect(),
            Self::Policy(policy) => policy.logs().iter().map(|log| &log.key).collect(),
        }
    }

    /// The pinned origin that ends in `/log`; `None` leaves the choice to the keys. To hold a log against the
    /// keys of another would look like tampering, while nothing was checked.
    fn origin(&self, log: Option<&str>) -> Outcome<Option<Origin>> {
        let keys = self.keys();
        let names: BTreeSet<_> = keys.iter().map(|key| key.name().as_str()).collect();
        let Some(log) = log.filter(|_| !names.is_empty()) else { return Ok(None) };
        let mut fitting = names.iter().copied().filter(|name| log_name(name) == log);
        match (fitting.next(), fitting.next()) {
            (Some(name), None) => Ok(Some(Origin::new(name).map_err(TrustError::from)?)),
            (None, _) => Err(Failure::trouble(format_args!(
                "no pinned key is of a log named {log}, but of {}: pin the keys of {log} as well, which \
                 `graven keys show --log {log}` prints beside its data directory",
                names.into_iter().collect::<Vec<_>>().join(", ")
            ))),
            _ => Err(Failure::trouble(format_args!(
                "the pinned keys are of several logs named {log}: pin one"
            ))),
        }
    }
}

/// The name that an origin gives its log: its last path element.
pub(crate) fn log_name(origin: &str) -> &str {
    origin.rsplit_once('/').map_or(origin, |(_, name)| name)
}

pub(crate) fn read_policy(path: &Path) -> Outcome<Policy> {
    let bytes = fs::read(path).map_err(|error| Failure::file(path, &error))?;
    Policy::parse(&bytes).map_err(|error| Failure::trouble(format_args!("{}: {error}", path.display())))
}
