//! The error type of storage: a kind that tells the caller what to do next, whether the operation
//! may have taken effect, where it was, and the underlying cause.

use core::fmt;
use std::error::Error as StdError;
use std::io;

use crate::redact::{redact_text, redact_url};

/// Result of a storage operation.
pub type Result<T, E = StorageError> = core::result::Result<T, E>;

/// What a caller can do about a [`StorageError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no object (or folder) of that name. Choose another, or create it.
    NotFound,
    /// The name is taken. Names are never reused: take a new one, or yield to the other publisher.
    AlreadyExists,
    /// The process may not do that there. Change the permissions or the place.
    PermissionDenied,
    /// The device or a quota is full. Make room or choose another place; nothing was damaged.
    NoSpace,
    /// An object is shorter than what refers to it says. It is damaged: use an older checkpoint.
    Truncated,
    /// A name or URL breaks the documented rules. Fix the calling code or the setting.
    InvalidName,
    /// The store, or the file system under it, cannot do this. Choose another place.
    Unsupported,
    /// Another process holds the folder. Stop it, or use another folder.
    Locked,
    /// The storage failed in another way; source and message say how. Trying again may help.
    Unavailable,
}

impl ErrorKind {
    /// The kind that an operating-system error amounts to.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::AlreadyExists,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::PermissionDenied
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            io::ErrorKind::InvalidFilename => Self::InvalidName,
            io::ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Unavailable,
        }
    }

    fn to_io(self) -> io::ErrorKind {
        match self {
            Self::NotFound => io::ErrorKind::NotFound,
            Self::AlreadyExists => io::ErrorKind::AlreadyExists,
            Self::PermissionDenied => io::ErrorKind::PermissionDenied,
            Self::NoSpace => io::ErrorKind::StorageFull,
            Self::Truncated => io::ErrorKind::UnexpectedEof,
            Self::InvalidName => io::ErrorKind::InvalidInput,
            Self::Unsupported => io::ErrorKind::Unsupported,
            Self::Locked => io::ErrorKind::ResourceBusy,
            Self::Unavailable => io::ErrorKind::Other,
        }
    }

    /// What to do about it, in neutral words: an application says which setting it means.
    fn advice(self) -> &'static str {
        match self {
            Self::NotFound => "check the name, or create it first",
            Self::AlreadyExists => "use a new name: names are never reused",
            Self::PermissionDenied => "change the permissions or choose another storage",
            Self::NoSpace => "free space there or choose another storage",
            Self::Truncated => "the object is damaged: use an older checkpoint",
            Self::InvalidName => "correct the name",
            Self::Unsupported => "choose another storage",
            Self::Locked => "stop that process or choose another folder",
            Self::Unavailable => "check the storage and try again",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::PermissionDenied => "permission denied",
            Self::NoSpace => "no space left",
            Self::Truncated => "truncated object",
            Self::InvalidName => "invalid name",
            Self::Unsupported => "unsupported",
            Self::Locked => "in use",
            Self::Unavailable => "storage unavailable",
        })
    }
}

/// Whether a failed operation can have changed the storage. Retries and cleanup decide on this,
/// never on message text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The storage is as if the operation had never been asked for. Safe to repeat; nothing to
    /// clean up.
    DidNotHappen,
    /// The operation may have happened, wholly, and may or may not survive a crash of the machine
    /// (a folder sync that failed after the object was linked; an answer that never came). Look
    /// before repeating, and do not delete what others may already rely on.
    MayHaveHappened,
}

/// An error of a storage operation. Displays as one line that says what, where and what to do next.
pub struct StorageError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    effect: Effect,
    message: String,
    path: Option<String>,
    store: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StorageError {
    /// An error of `kind` with `effect`; `message` says what could not be done.
    #[cold]
    #[must_use]
    pub fn new(kind: ErrorKind, effect: Effect, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner { kind, effect, message, path: None, store: None, source: None }))
    }

    /// An error whose kind follows from an operating-system error, which becomes its source. If
    /// `error` carries a [`StorageError`] (one that went through [`std::io::Write`]), that one
    /// comes back unchanged.
    #[cold]
    #[must_use]
    pub fn from_io(error: io::Error, effect: Effect, message: impl Into<String>) -> Self {
        match error.downcast::<Self>() {
            Ok(original) => original,
            Err(error) => Self::new(ErrorKind::of_io(&error), effect, message).with_source(error),
        }
    }

    /// The error of a read of `wanted` bytes at `offset` that goes past the end of an object of
    /// `len` bytes.
    #[cold]
    #[must_use]
    pub fn truncated(offset: u64, wanted: usize, len: u64) -> Self {
        let message =
            format!("cannot read {wanted} bytes at offset {offset} of an object of {len} bytes");
        Self::new(ErrorKind::Truncated, Effect::DidNotHappen, message)
    }

    /// Names the object, folder or file it is about.
    #[must_use]
    pub fn with_path(mut self, path: impl fmt::Display) -> Self {
        self.0.path = Some(path.to_string());
        self
    }

    /// Names the store it happened in, by its URL. Credentials in it are not kept.
    #[must_use]
    pub fn with_store(mut self, url: impl Into<String>) -> Self {
        self.0.store = Some(redact_url(&url.into()));
        self
    }

    /// Attaches the underlying cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Puts `context` before the message: the outer layer says what it was doing.
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

    /// Whether the operation may have happened all the same.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// What could not be done, without kind, place and source.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The object, folder or file it is about, if known.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// The URL of the store it happened in, if known.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        self.0.store.as_deref()
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, effect, message, path, store, source } = &*self.0;
        write!(f, "{kind}: {message}")?;
        match (path, store) {
            (Some(path), Some(store)) => write!(f, " ({path} in {store})")?,
            (Some(place), None) | (None, Some(place)) => write!(f, " ({place})")?,
            (None, None) => {}
        }
        if let Some(source) = source {
            // Clients of object stores quote the URLs they asked, signatures included.
            write!(f, ": {}", redact_text(&source.to_string()))?;
        }
        if *effect == Effect::MayHaveHappened {
            f.write_str("; it may have taken effect, so look before repeating it")?;
        }
        write!(f, "; {}", kind.advice())
    }
}

impl fmt::Debug for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorageError({self})")
    }
}

impl StdError for StorageError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        Self::new(error.kind().to_io(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_where_why_and_what_to_do() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = StorageError::from_io(full, Effect::DidNotHappen, "cannot write")
            .with_path("chk-7/metadata")
            .with_store("file:///data");
        assert_eq!(
            error.to_string(),
            "no space left: cannot write (chk-7/metadata in file:///data): no storage space; \
             free space there or choose another storage"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn full_disks_and_used_up_quotas_are_both_no_space() {
        for raw in [28, 122] {
            let error = io::Error::from_raw_os_error(raw);
            let error = StorageError::from_io(error, Effect::DidNotHappen, "x");
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        }
    }

    #[test]
    fn credentials_in_the_url_of_the_store_or_in_its_cause_are_not_shown() {
        let cause = io::Error::other("GET https://host/x?X-Amz-Signature=secret: 403");
        let error = StorageError::from_io(cause, Effect::DidNotHappen, "cannot read")
            .with_store("s3://key:secret@bucket");
        let shown = format!("{error} {error:?} {:?}", error.store());
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("s3://***@bucket") && shown.contains("https://host/x?***"));
    }

    #[test]
    fn a_storage_error_survives_the_way_through_io_error() {
        let error =
            StorageError::new(ErrorKind::NoSpace, Effect::MayHaveHappened, "first").with_path("a");
        let back = StorageError::from_io(io::Error::from(error), Effect::DidNotHappen, "second");
        assert_eq!(back.kind(), ErrorKind::NoSpace);
        assert_eq!(back.effect(), Effect::MayHaveHappened);
        assert_eq!((back.message(), back.path()), ("first", Some("a")));
    }
}
