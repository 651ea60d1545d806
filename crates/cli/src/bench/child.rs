//! One measurement in a process of its own.

use std::process::{Command, Stdio};

use millpond_bench::Record;

use crate::error::{CliError, Result};

/// Starts this program again with `args` and returns the records that it prints. What it has to say
/// goes to standard error as it comes.
///
/// # Errors
/// What it failed with.
pub(super) fn measure(args: &[String]) -> Result<Vec<Record>> {
    let failed = |error| CliError::from(error).context("cannot start a measurement");
    let output = Command::new(std::env::current_exe().map_err(failed)?)
        .arg("bench")
        .args(args)
        .args(["--in-process", "--json"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(failed)?;
    match output.status.code() {
        Some(0) => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(Record::parse_lines(&text)?)
        }
        // It has said why.
        Some(status) => Err(CliError::Told(u8::try_from(status).unwrap_or(1))),
        None => Err(CliError::new(format!(
            "a measurement was ended by the system ({}): was there enough memory?",
            output.status
        ))),
    }
}
