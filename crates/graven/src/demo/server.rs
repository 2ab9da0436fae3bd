//! The demo's servers: this program, as processes of their own.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::stage::{Stage, say};
use crate::{
    exit::{Failure, Outcome},
    output,
};

/// A running server. It is killed when this is dropped: a demo that failed leaves nothing behind.
pub(super) struct ServerProcess {
    child: Option<Child>,
    url: String,
}

impl ServerProcess {
    /// Starts what these arguments say, its log going into a file; one that is to stay is no longer reached by the
    /// terminal's signals.
    pub(super) fn start(stage: &Stage, arguments: &str, log: &str, stays: bool) -> Outcome<Self> {
        output::line(format_args!("$ graven {arguments} 2> {log} &"))?;
        let mut command = stage.command(arguments);
        let said = File::create(stage.path(log)).map_err(Failure::trouble)?;
        command.stdout(Stdio::piped()).stderr(said);
        if stays {
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(Failure::trouble)?;
        let mut ready = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut ready).map_err(Failure::trouble)?;
        }
        let mut server = Self { child: Some(child), url: String::new() };
        let url = ready.trim().strip_prefix("listening on ");
        url.ok_or_else(|| Failure::check_failed(format_args!("the server did not start: see {log}")))?
            .clone_into(&mut server.url);
        say(ready.trim())?;
        Ok(server)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Lets it go on, and answers its process id.
    pub(super) fn leave(mut self) -> u32 {
        self.child.take().map_or(0, |child| child.id())
    }

    /// Asks it to stop, and demands that it does so well.
    pub(super) fn stop(mut self) -> Outcome {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        output::line(format_args!("$ kill {}", child.id()))?;
        kill_process(Pid::from_child(&child), Signal::TERM).map_err(Failure::trouble)?;
        let status = child.wait().map_err(Failure::trouble)?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::check_failed(format_args!(
            "the server should have stopped with exit code 0, not with {status}"
        )))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
