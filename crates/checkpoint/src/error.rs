//! The error type of this crate: a kind that tells the caller what to do next, a message with the
//! details, and the underlying cause if there is one.

use core::fmt;
use std::error::Error as StdError;

/// Result of coordinating and planning.
pub type Result<T, E = CheckpointError> = core::result::Result<T, E>;

/// What a caller can do about a [`CheckpointError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting or an argument breaks its documented range. Fix it; the message names it.
    InvalidArgument,
    /// The job that is to start does not fit the checkpoint. Change the job or restore another
    /// checkpoint; the message names both sides.
    Incompatible,
    /// There is no such checkpoint. Start from the beginning or name another one.
    NotFound,
    /// A checkpoint is damaged. Restore an older one.
    Corrupt,
    /// Storage failed in a way that may pass. Try again, or mend what the source names.
    Storage,
    /// A later execution attempt has taken over the checkpoint storage. Stop: what is there is its.
    Fenced,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidArgument => "invalid argument",
            Self::Incompatible => "incompatible job",
            Self::NotFound => "not found",
            Self::Corrupt => "damaged checkpoint",
            Self::Storage => "checkpoint storage",
            Self::Fenced => "fenced",
        })
    }
}

/// An error of this crate.
pub struct CheckpointError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl CheckpointError {
    /// An error of `kind`; `message` says what happened, where, and what to do next.
    #[cold]
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// Attaches the underlying cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened, without the kind and the source.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointError({self})")
    }
}

impl StdError for CheckpointError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<millpond_state::StateError> for CheckpointError {
    fn from(error: millpond_state::StateError) -> Self {
        Self::new(ErrorKind::InvalidArgument, "key groups do not fit").with_source(error)
    }
}
