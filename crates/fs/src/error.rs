//! Errors of this crate in the words of state access.

use millpond_state::{ErrorKind, KeyGroup, KeyGroupRange, StateError};

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
