//! The only place that writes to the terminal. Results go to standard output, everything about
//! progress and failure to standard error. A reader that has gone away is no failure.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::error::Result;

/// Exit status for wrong usage.
const USAGE_STATUS: u8 = 2;

/// Writes a line of the result.
///
/// # Errors
/// If standard output cannot take it.
pub(crate) fn print(line: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

/// Writes a line for the person at the terminal. There is nothing to do if that fails.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Standard output for results of many lines; flush it at the end.
pub(crate) fn stream() -> impl Write {
    io::BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Shows what the parser of arguments has to say: an error, or help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE_STATUS) } else { ExitCode::SUCCESS }
}
