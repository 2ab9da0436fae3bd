//! Entries from the data directory of a stopped server, checked as `graven fsck` checks them.

use std::path::Path;

use graven_log::{Attached, Env, Kind, LogMeta, LogName, Look};
use graven_vault::Sight;
use indicatif::ProgressBar;

use super::{
    ReplayArgs,
    film::Film,
    names,
    run::{Replayed, Replaying},
};
use crate::{
    exit::{Failure, Outcome},
    fsck, output,
    vault::VaultSettings,
};

/// Replays the log that is asked for, or every log of events.
pub(super) fn replay(args: &ReplayArgs, dir: &Path) -> Outcome<Vec<Replayed>> {
    let (bar, env) = (output::progress("replaying"), Env::system());
    let vault = match &args.client {
        Some(_) => {
            VaultSettings::default().at(args.vault.clone(), args.master_key.clone()).look(&env, dir)?
        }
        None => None,
    };
    let progress = |_: &LogName, at, of| {
        bar.set_length(of);
        bar.set_position(at);
    };
    let mut looking =
        Looking { args, vault, bar: bar.clone(), under_way: None, done: Vec::new(), failed: Ok(()) };
    let report = graven_log::fsck_with(&env, dir, progress, &mut looking);
    bar.finish_and_clear();
    let report = report?;
    looking.failed?;
    // What is not as it was signed is worth no replay.
    fsck::verdict(&report)?;
    let mut done = looking.done;
    done.extend(looking.under_way.map(|(_, replaying)| replaying.finish()).transpose()?);
    match (&args.log.at.log, done.is_empty()) {
        (Some(log), true) => {
            Err(Failure::trouble(format_args!("{} has no log of events {log}", dir.display())))
        }
        (None, true) => Err(Failure::trouble(format_args!("{} has no log of events", dir.display()))),
        (_, false) => Ok(done),
    }
}

/// Takes the entries of one log after the other.
struct Looking<'a> {
    args: &'a ReplayArgs,
    vault: Option<Sight>,
    bar: ProgressBar,
    under_way: Option<(LogName, Replaying<'a>)>,
    done: Vec<Replayed>,
    failed: Outcome,
}

impl Look for Looking<'_> {
    fn entry(&mut self, log: &LogMeta, index: u64, entry: &[u8], _attached: Attached) {
        if self.failed.is_ok() && log.kind != Kind::Bytes && self.is_asked(log) {
            self.failed = self.take(log, index, entry);
        }
    }
}

impl Looking<'_> {
    /// The named one; else all but the server's own, whose entries are no film.
    fn is_asked(&self, log: &LogMeta) -> bool {
        match &self.args.log.at.log {
            Some(asked) => asked == log.name.as_str(),
            None => self.args.client.is_none() || log.kind == Kind::Events,
        }
    }

    fn take(&mut self, log: &LogMeta, index: u64, entry: &[u8]) -> Outcome {
        let is_other = self.under_way.as_ref().is_none_or(|(name, _)| *name != log.name);
        if is_other {
            self.done.extend(self.under_way.take().map(|(_, replaying)| replaying.finish()).transpose()?);
            let film = self.film(log)?;
            let replaying = Replaying::new(self.args, log.origin.as_str(), film)?;
            self.under_way = Some((log.name.clone(), replaying));
        }
        let Some((_, replaying)) = &mut self.under_way else { return Ok(()) };
        if replaying.size() != index {
            // One that was passed over: the check of the directory says which.
            return Ok(());
        }
        self.bar.suspend(|| replaying.take(entry))
    }

    fn film(&self, log: &LogMeta) -> Outcome<Option<Film>> {
        let Some(client) = &self.args.client else { return Ok(None) };
        let (client, names) = names::kept(self.vault.as_ref(), log.origin.as_str(), client)?;
        Ok(Some(Film::new(client, names)))
    }
}
