//! The error type of state access: a kind that tells the caller what to do next, a message with
//! the details, and the underlying cause if there is one.

use core::fmt;
use std::error::Error as StdError;
use std::io;

/// Result of state access.
pub type Result<T, E = StateError> = core::result::Result<T, E>;

/// What a caller can do about a [`StateError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument breaks the documented contract (a key group outside the backend's range, a
    /// state id of another backend, a limit passed). Fix the calling code.
    InvalidArgument,
    /// A state was written with another kind or codec than it is now declared with. Declare it as
    /// it was, or restore without it; the message names both.
    Incompatible,
    /// Stored bytes do not decode: damaged, or not what they claim to be. Restore from an older
    /// checkpoint.
    Corrupt,
    /// The snapshot was cancelled. Nothing to do: its resources are released.
    Cancelled,
    /// A bound on memory or disk was reached. State is unchanged and readable; make room.
    ResourceExhausted,
    /// The backend or the place a snapshot goes to failed. The message and source say how.
    Io,
    /// User code called back by the state layer (a reduce or aggregate function, a codec) failed.
    UserCode,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidArgument => "invalid argument",
            Self::Incompatible => "incompatible state",
            Self::Corrupt => "corrupt data",
            Self::Cancelled => "cancelled",
            Self::ResourceExhausted => "resource exhausted",
            Self::Io => "i/o failure",
            Self::UserCode => "user code failed",
        })
    }
}

/// An error of state access, snapshot or restore. One pointer wide, so that results of hot calls
/// stay small.
pub struct StateError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StateError {
    /// An error of `kind`; `message` says what happened, where, and what to do next.
    #[cold]
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// The operating system failed to do `what`: `ResourceExhausted` if a disk or quota is full,
    /// `Io` otherwise.
    #[cold]
    #[must_use]
    pub fn from_io(what: impl fmt::Display, error: io::Error) -> Self {
        let full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let (kind, advice) = if full {
            (ErrorKind::ResourceExhausted, ": the disk is full, make room")
        } else {
            (ErrorKind::Io, "")
        };
        Self::new(kind, format!("cannot {what}{advice}")).with_source(error)
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

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.message)?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateError({self})")
    }
}

impl StdError for StateError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let error = StateError::from_io("write a file", kind.into());
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
            assert!(error.message().contains("make room"), "{error}");
        }
        let error = StateError::from_io("write a file", io::ErrorKind::NotFound.into());
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(error.message(), "cannot write a file");
    }
}
