//! The transcript: headings, commands with what they said, remarks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use graven_client::{Client, ConnectOptions, LogClient, Trust};
use graven_note::Policy;

use crate::{
    exit::{Failure, Outcome},
    output,
};

/// Longest line of a command's output that is shown whole.
const MAX_SHOWN: usize = 240;

/// A folder with a log, in which commands are run.
pub(super) struct Stage {
    folder: PathBuf,
    program: PathBuf,
    url: String,
    policy: &'static str,
}

/// Begins a part of the transcript.
pub(super) fn title(text: &str) -> Outcome {
    output::line(format_args!("\n── {text}"))
}

/// A remark.
pub(super) fn say(text: &str) -> Outcome {
    output::line(format_args!("  {text}"))
}

impl Stage {
    pub(super) fn open(folder: PathBuf) -> Outcome<Self> {
        let program = std::env::current_exe().map_err(Failure::trouble)?;
        Ok(Self { folder, program, url: String::new(), policy: "" })
    }

    /// From now on commands talk to this server, and trust what this policy says.
    pub(super) fn point_at(&mut self, url: &str, policy: &'static str) -> Outcome {
        output::line(format_args!("$ export GRAVEN_SERVER={url} GRAVEN_POLICY={policy}"))?;
        url.clone_into(&mut self.url);
        self.policy = policy;
        Ok(())
    }

    /// A client with that server and that policy.
    pub(super) async fn connect(&self) -> Outcome<LogClient> {
        let policy = fs::read(self.path(self.policy)).map_err(Failure::trouble)?;
        let trust = Trust::of_policy(Policy::parse(&policy).map_err(Failure::trouble)?)?;
        Ok(Client::connect(&self.url, ConnectOptions::default()).await?.log("audit", trust))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Outcome {
        let path = self.path(name);
        fs::write(&path, bytes).map_err(|error| Failure::file(&path, &error))
    }

    pub(super) fn read(&self, name: &str) -> Outcome<String> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))
    }

    /// This program, in the folder, with the environment that the transcript states.
    pub(super) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments.split(' ')).current_dir(&self.folder).stdin(Stdio::null());
        command.env_remove("GRAVEN_SERVER").env_remove("GRAVEN_POLICY");
        for variable in crate::credentials::VARIABLES {
            command.env_remove(variable);
        }
        if !self.url.is_empty() {
            command.env("GRAVEN_SERVER", &self.url).env("GRAVEN_POLICY", self.policy);
        }
        command
    }

    /// Runs a command, shows it with what it said, and demands its exit code. Answers what it said.
    pub(super) fn expect(&self, code: i32, arguments: &str) -> Outcome<String> {
        output::line(format_args!("$ graven {arguments}"))?;
        let ran = self.command(arguments).output().map_err(Failure::trouble)?;
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        said.lines().try_for_each(|line| say(&shortened(line)))?;
        if ran.status.code() != Some(code) {
            return Err(Failure::check_failed(format_args!(
                "`graven {arguments}` should have ended with exit code {code}, not with {}",
                ran.status
            )));
        }
        if code != 0 {
            say(&format!("[exit code {code}, as it must be]"))?;
        }
        Ok(said)
    }

    /// Runs a command with its data going into a file.
    pub(super) fn run_into(&self, arguments: &str, file: &str) -> Outcome {
        output::line(format_args!("$ graven {arguments} > {file}"))?;
        let ran = self.command(arguments).output().map_err(Failure::trouble)?;
        self.write(file, &ran.stdout)?;
        String::from_utf8_lossy(&ran.stderr).lines().try_for_each(|line| say(&shortened(line)))?;
        if ran.status.success() {
            return Ok(());
        }
        Err(Failure::check_failed(format_args!("`graven {arguments}` failed: {}", ran.status)))
    }

    /// What to try while the servers go on as these processes.
    pub(super) fn advice(&self, ids: &[u32]) -> String {
        let (folder, program, url, policy) =
            (self.folder.display(), self.program.display(), &self.url, self.policy);
        let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        format!(
            "  cd {folder}\n  \
             alias graven={program}\n  \
             export GRAVEN_SERVER={url} GRAVEN_POLICY={policy}\n  \
             echo 'alice logged in' | graven append --wait published --out login.tlog-proof -\n  \
             graven watch\n  \
             graven --help\n  \
             kill {ids}    # stops what was started; everything is published and sealed first"
        )
    }
}

fn shortened(line: &str) -> String {
    if line.chars().count() <= MAX_SHOWN {
        return line.to_owned();
    }
    line.chars().take(MAX_SHOWN - 1).chain(['…']).collect()
}
