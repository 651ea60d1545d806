//! The error type of formats: a kind that tells the caller what to do next, a message, and the
//! place: file, byte offset, key group, as far as they are known.

use core::fmt;
use std::error::Error as StdError;

use millpond_state::{ErrorKind, KeyGroup, StateError};

/// Result of reading or writing a format.
pub type Result<T, E = SnapshotError> = core::result::Result<T, E>;

/// What a caller can do about a [`SnapshotError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SnapshotErrorKind {
    /// Bytes are damaged, cut, or not what they claim to be. Restore from an older checkpoint.
    Corrupt,
    /// The bytes are whole but use something that this build does not know: they were written by
    /// a newer Millpond. Read them with that version or a later one.
    Unsupported,
    /// An argument breaks the documented contract (entries out of order, a limit passed, an unsafe
    /// file name). Fix the calling code.
    InvalidArgument,
    /// The source or sink of the bytes failed; [`SnapshotError::source`](StdError::source) says
    /// how.
    Io,
}

impl fmt::Display for SnapshotErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "corrupt data",
            Self::Unsupported => "unsupported format",
            Self::InvalidArgument => "invalid argument",
            Self::Io => "i/o failure",
        })
    }
}

/// An error in reading or writing a format. One pointer wide.
pub struct SnapshotError(Box<Inner>);

struct Inner {
    kind: SnapshotErrorKind,
    message: String,
    file: Option<String>,
    offset: Option<u64>,
    key_group: Option<KeyGroup>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl SnapshotError {
    /// An error of `kind`; `message` says what was found and what was expected.
    #[cold]
    #[must_use]
    pub fn new(kind: SnapshotErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            file: None,
            offset: None,
            key_group: None,
            source: None,
        }))
    }

    /// A failure of a [`ByteSource`](crate::ByteSource) or [`ByteSink`](crate::ByteSink), with its
    /// cause.
    #[cold]
    #[must_use]
    pub fn io(
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let mut error = Self::new(SnapshotErrorKind::Io, message);
        error.0.source = Some(source.into());
        error
    }

    #[cold]
    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(SnapshotErrorKind::Corrupt, message)
    }

    #[cold]
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(SnapshotErrorKind::InvalidArgument, message)
    }

    #[cold]
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(SnapshotErrorKind::Unsupported, message)
    }

    /// Names the file, unless one is named already.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        self.0.file.get_or_insert_with(|| file.to_owned());
        self
    }

    /// Gives the byte offset in the file, unless one is given already.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Names the key group, unless one is named already.
    #[must_use]
    pub fn in_key_group(mut self, group: KeyGroup) -> Self {
        self.0.key_group.get_or_insert(group);
        self
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> SnapshotErrorKind {
        self.0.kind
    }

    /// What happened, without kind, place and source.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The file, if known.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The byte offset in the file, if known. For a damaged block: where the block begins.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The key group whose state is concerned, if it is only one.
    #[must_use]
    pub fn key_group(&self) -> Option<KeyGroup> {
        self.0.key_group
    }

    /// Place and message, without kind and source.
    fn located(&self) -> String {
        let mut text = String::new();
        if let Some(file) = &self.0.file {
            text.push_str(&format!("file {file}, "));
        }
        if let Some(offset) = self.0.offset {
            text.push_str(&format!("offset {offset}, "));
        }
        if let Some(group) = self.0.key_group {
            text.push_str(&format!("key group {group}, "));
        }
        if text.ends_with(", ") {
            text.truncate(text.len() - 2);
            text.push_str(": ");
        }
        text.push_str(&self.0.message);
        text
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.located())?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotError({self})")
    }
}

impl StdError for SnapshotError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<SnapshotError> for StateError {
    /// Keeps place, message and source; [`SnapshotErrorKind::Unsupported`] becomes
    /// [`ErrorKind::Incompatible`].
    fn from(error: SnapshotError) -> Self {
        let kind = match error.0.kind {
            SnapshotErrorKind::Corrupt => ErrorKind::Corrupt,
            SnapshotErrorKind::Unsupported => ErrorKind::Incompatible,
            SnapshotErrorKind::InvalidArgument => ErrorKind::InvalidArgument,
            SnapshotErrorKind::Io => ErrorKind::Io,
        };
        let state = Self::new(kind, error.located());
        match error.0.source {
            Some(source) => state.with_source(source),
            None => state,
        }
    }
}
