//! Ctrl-C and termination: the first asks the job to stop, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{CliError, Result};

/// Exit status of a process ended by Ctrl-C.
const INTERRUPTED_STATUS: i32 = 130;

/// Calls `stop` at the first signal. Call it once in the process's life.
///
/// # Errors
/// If the system does not let signals be handled.
pub(crate) fn on_first(stop: impl Fn() + Send + 'static) -> Result<()> {
    let stopping = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if stopping.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED_STATUS);
        }
        stop();
    })
    .map_err(|error| CliError::new(format!("cannot handle signals: {error}")))
}
