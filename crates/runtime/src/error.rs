//! The error type of the runtime.

use core::fmt;
use std::error::Error as StdError;

use millpond_checkpoint::CheckpointError;
use millpond_snapshot::SnapshotError;
use millpond_state::StateError;
use millpond_storage::StorageError;

/// Result of runtime calls and of user code that the runtime calls.
pub type Result<T, E = JobError> = core::result::Result<T, E>;

/// What a caller can do about a [`JobError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobErrorKind {
    /// Graph or settings make no sense. Fix them.
    InvalidArgument,
    /// A source's input cannot be read or does not parse. Fix the input.
    Input,
    /// A sink cannot write. Make room or access, then restore.
    Output,
    /// State, snapshot or checkpoint storage failed; the source says how.
    State,
    /// The checkpoint to restore is missing, damaged or does not fit the job. Choose another.
    Restore,
    /// User code failed or panicked, and no restart was left.
    UserCode,
    /// The subtask was told to stop, or a neighbour died first: the cause is reported elsewhere.
    Cancelled,
}

impl fmt::Display for JobErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidArgument => "invalid argument",
            Self::Input => "input",
            Self::Output => "output",
            Self::State => "state",
            Self::Restore => "restore",
            Self::UserCode => "user code",
            Self::Cancelled => "cancelled",
        })
    }
}

/// An error of a job.
pub struct JobError(Box<Inner>);

struct Inner {
    kind: JobErrorKind,
    message: String,
    retryable: bool,
    damaged: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl JobError {
    /// An error of `kind`; `message` says what happened, where, and what to do next.
    #[cold]
    #[must_use]
    pub fn new(kind: JobErrorKind, message: impl Into<String>) -> Self {
        let retryable = !matches!(kind, JobErrorKind::InvalidArgument | JobErrorKind::Restore);
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            retryable,
            damaged: false,
            source: None,
        }))
    }

    /// Another process has taken over the job: it is not restarted here.
    #[cold]
    pub(crate) fn superseded() -> Self {
        let message = "another process has taken over the checkpoint storage: this one must stop";
        let mut error = Self::new(JobErrorKind::State, message);
        error.0.retryable = false;
        error
    }

    /// Attaches the underlying cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts `context` before the message: the outer layer says where it was.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// Marks the error as one that a restart cannot mend, such as a record that does not parse.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.0.retryable = false;
        self
    }

    /// Marks the error as damage of the checkpoint being restored: an older one may be whole.
    #[must_use]
    pub(crate) fn damaged(mut self) -> Self {
        self.0.damaged = true;
        self
    }

    /// Whether the checkpoint being restored is damaged.
    #[must_use]
    pub(crate) fn is_damaged(&self) -> bool {
        self.0.damaged
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> JobErrorKind {
        self.0.kind
    }

    /// What happened, without the source.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether a restart may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobError({}: {self})", self.0.kind)
    }
}

impl StdError for JobError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

macro_rules! from_state_layer {
    ($($error:ident),*) => {$(
        impl From<$error> for JobError {
            fn from(error: $error) -> Self {
                Self::new(JobErrorKind::State, error.to_string())
            }
        }
    )*};
}

from_state_layer!(StateError, SnapshotError, StorageError, CheckpointError);
