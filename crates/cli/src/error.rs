//! How the command fails: one line for a person, and an exit status.

use std::fmt::Display;
use std::io;

use millpond_checkpoint::CheckpointError;
use millpond_runtime::JobError;
use millpond_snapshot::SnapshotError;
use millpond_state::StateError;
use millpond_storage::StorageError;

/// Result of everything in this crate.
pub(crate) type Result<T, E = CliError> = core::result::Result<T, E>;

/// Why the command ends without success.
#[derive(Debug)]
pub(crate) enum CliError {
    /// Something failed; the text says what and what to do.
    Failure(String),
    /// The arguments make no sense together.
    Usage(String),
    /// A process that was started has told it already, and ended with this status.
    Told(u8),
    /// Whoever reads our output has gone: end without a word.
    ReaderGone,
}

impl CliError {
    /// A failure.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Failure(message.into())
    }

    /// Puts `context` before the message.
    pub(crate) fn context(self, context: impl Display) -> Self {
        match self {
            Self::Failure(message) => Self::Failure(format!("{context}: {message}")),
            Self::Usage(message) => Self::Usage(format!("{context}: {message}")),
            other => other,
        }
    }

    /// Adds what to do.
    pub(crate) fn advice(self, advice: &str) -> Self {
        match self {
            Self::Failure(message) => Self::Failure(format!("{message}; {advice}")),
            other => other,
        }
    }

    /// What to tell the user, in one line.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Failure(message) | Self::Usage(message) => Some(one_line(message)),
            Self::Told(_) | Self::ReaderGone => None,
        }
    }

    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Failure(_) => 1,
            Self::Usage(_) => 2,
            Self::Told(status) => *status,
            Self::ReaderGone => 0,
        }
    }
}

/// Messages may quote input: a control character must not reach the terminal.
fn one_line(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Failure(error.to_string()),
        }
    }
}

macro_rules! failure_from {
    ($($error:ident),*) => {$(
        impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::Failure(error.to_string())
            }
        }
    )*};
}

failure_from!(JobError, StorageError, CheckpointError, SnapshotError, StateError);
