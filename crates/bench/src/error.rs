//! Why a benchmark could not be run.

use core::fmt;

/// Result of everything in this crate.
pub type Result<T, E = BenchError> = core::result::Result<T, E>;

/// What the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for makes no sense or is not there: ask for something else.
    InvalidArgument,
    /// A backend, a store or the system failed: mend that.
    Failed,
    /// Two subjects that did the same work disagree about its result: one of them is wrong.
    Disagreement,
}

/// A benchmark could not be run, or what it measured is worth nothing.
#[derive(Debug)]
pub struct BenchError {
    kind: ErrorKind,
    message: String,
}

impl BenchError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// A failure of something that the caller brought, such as a storage.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// What the caller can do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same, with `context` before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BenchError {}

macro_rules! failed_from {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for BenchError {
            fn from(error: $error) -> Self {
                Self::failed(error.to_string())
            }
        }
    )*};
}

failed_from!(
    millpond_checkpoint::CheckpointError,
    millpond_runtime::JobError,
    millpond_snapshot::SnapshotError,
    millpond_state::StateError,
    millpond_storage::StorageError,
    std::io::Error,
);

#[cfg(feature = "rocksdb")]
failed_from!(rocksdb::Error);
