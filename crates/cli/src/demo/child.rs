//! The job in a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::error::{CliError, Result};

/// What a child tells, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChildEvent {
    Progress { position: u64 },
    Checkpoint(u64),
    Restored(u64),
    EndOfInput,
    Finished,
    Failed(String),
    Other,
}

/// A child that makes no progress for so long hangs, in milliseconds.
const STALLED_MS: u64 = 120_000;

/// A running child. Killed when dropped.
#[derive(Debug)]
pub(super) struct JobProcess {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// When it last got further, and where it was then.
    moved: Option<(u64, u64)>,
}

impl JobProcess {
    /// Starts this program again with these arguments.
    ///
    /// # Errors
    /// If that cannot be.
    pub(super) fn start(args: &[String]) -> Result<Self> {
        let failed = |error| CliError::from(error).context("cannot start the job");
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let Some(stdout) = child.stdout.take() else {
            return Err(CliError::new("the job has no standard output"));
        };
        Ok(Self { child, lines: BufReader::new(stdout), moved: None })
    }

    /// The next event; `None` when the child has ended.
    ///
    /// # Errors
    /// If the child cannot be read or hangs.
    pub(super) fn next_event(&mut self) -> Result<Option<ChildEvent>> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        // A line that the kill cut is none.
        let Ok(value) = serde_json::from_str::<Value>(&line) else {
            return Ok(Some(ChildEvent::Other));
        };
        let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
        let event = match value.get("event").and_then(Value::as_str).unwrap_or_default() {
            "progress" => {
                let (position, at_ms) = (number("position"), number("at_ms"));
                self.check_moves(position, at_ms)?;
                ChildEvent::Progress { position }
            }
            "checkpoint_completed" => ChildEvent::Checkpoint(number("checkpoint")),
            "restored" => ChildEvent::Restored(number("checkpoint")),
            "end_of_input" => ChildEvent::EndOfInput,
            "finished" => ChildEvent::Finished,
            "failed" | "restarting" => ChildEvent::Failed(line.trim().to_owned()),
            _ => ChildEvent::Other,
        };
        Ok(Some(event))
    }

    fn check_moves(&mut self, position: u64, at_ms: u64) -> Result<()> {
        match self.moved {
            Some((then, before)) if before == position => {
                if at_ms.saturating_sub(then) > STALLED_MS {
                    return Err(CliError::new(format!("the job hangs at record {position}")));
                }
            }
            _ => self.moved = Some((at_ms, position)),
        }
        Ok(())
    }

    /// Kills the child with SIGKILL and waits until it is gone. Returns `false` if it had ended
    /// by itself before.
    ///
    /// # Errors
    /// If it cannot be killed.
    pub(super) fn kill(&mut self) -> Result<bool> {
        if self.child.try_wait()?.is_some() {
            return Ok(false);
        }
        self.child.kill()?;
        // It may have ended between the question and the kill; only a signal leaves no code.
        Ok(self.child.wait()?.code().is_none())
    }

    /// Waits for the child to end.
    ///
    /// # Errors
    /// If it did not end well; with what it said.
    pub(super) fn finish(mut self) -> Result<()> {
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut said);
        }
        Err(CliError::new(format!("the job failed ({status}): {}", said.trim())))
    }
}

impl Drop for JobProcess {
    fn drop(&mut self) {
        // Nothing is left to kill or wait for when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
