//! Errors of this crate in the words of state access.

use std::io;

use millpond_state::{ErrorKind, KeyGroup, KeyGroupRange, StateError};

/// An error that the operating system reported in doing `what`.
#[cold]
pub(crate) fn io_error(what: impl core::fmt::Display, error: io::Error) -> StateError {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let (kind, advice) = if full {
        (ErrorKind::ResourceExhausted, ": the disk of the state folder is full, make room")
    } else {
        (ErrorKind::Io, "")
    };
    StateError::new(kind, format!("cannot {what}{advice}")).with_source(error)
}

/// Damage of the file `name` at `offset`.
#[cold]
pub(crate) fn corrupt(name: &str, offset: usize, what: &str) -> StateError {
    StateError::new(ErrorKind::Corrupt, format!("{name}, offset {offset}: {what}"))
}

/// A file of a version or with a feature that this one does not know.
#[cold]
pub(crate) fn newer(name: &str, what: &str) -> StateError {
    let message = format!("{name}: {what}: it was written by a newer Millpond");
    StateError::new(ErrorKind::Incompatible, message)
}

#[cold]
pub(crate) fn invalid(message: impl Into<String>) -> StateError {
    StateError::new(ErrorKind::InvalidArgument, message)
}

#[cold]
pub(crate) fn exhausted(message: impl Into<String>) -> StateError {
    StateError::new(ErrorKind::ResourceExhausted, message)
}

#[cold]
pub(crate) fn foreign_group(group: KeyGroup, own: KeyGroupRange) -> StateError {
    invalid(format!("key group {group} is not among this instance's key groups {own}"))
}

/// The same error once more: errors do not clone, and several wait for one file.
pub(crate) fn again(error: &StateError) -> StateError {
    let mut text = error.message().to_owned();
    if let Some(source) = std::error::Error::source(error) {
        text = format!("{text}: {source}");
    }
    StateError::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert_eq!(io_error("write", kind.into()).kind(), ErrorKind::ResourceExhausted);
        }
        assert_eq!(io_error("write", io::ErrorKind::NotFound.into()).kind(), ErrorKind::Io);
    }
}
