//! What a behaviour reports when a subject breaks its contract.

use core::fmt;
use core::panic::Location;
use std::error::Error as StdError;

use millpond_state::{ErrorKind, Result, StateError};

/// Longest part of a value that a message shows, in characters.
const SHOWN_CHARS_MAX: usize = 240;

/// Outcome of checking one behaviour.
pub type Verdict<T = ()> = core::result::Result<T, Violation>;

/// A broken contract: what was expected, what came instead, and the place of the check.
pub struct Violation {
    message: String,
    location: &'static Location<'static>,
}

impl Violation {
    /// A violation seen by the caller.
    #[must_use]
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), location: Location::caller() }
    }

    /// Two values that should be equal and are not.
    #[track_caller]
    pub(crate) fn mismatch(what: &str, found: &dyn fmt::Debug, expected: &dyn fmt::Debug) -> Self {
        Self::new(format!("{what}: found {}, expected {}", shown(found), shown(expected)))
    }

    /// What was expected and what came instead.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<StateError> for Violation {
    #[track_caller]
    fn from(error: StateError) -> Self {
        Self::new(format!("unexpected error: {error}"))
    }
}

impl From<millpond_storage::StorageError> for Violation {
    #[track_caller]
    fn from(error: millpond_storage::StorageError) -> Self {
        Self::new(format!("unexpected error: {error}"))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (checked at {})", self.message, self.location)
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Violation {}

/// Checks that a call failed with `kind`.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T>, kind: ErrorKind, what: &str) -> Verdict {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => {
            Err(Violation::new(format!("{what}: failed with {error}, expected kind {kind:?}")))
        }
        Ok(_) => Err(Violation::new(format!("{what}: succeeded, expected an error ({kind:?})"))),
    }
}

fn shown(value: &dyn fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}... ({} characters)", text.split_at(end).0, text.len()),
        None => text,
    }
}

/// Returns a [`Violation`] unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Violation::new(format!($($message)+)));
        }
    };
}

/// Returns a [`Violation`] unless both values, found and expected, are equal.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($message:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) => {
                if !(*found == *expected) {
                    let message = format!($($message)+);
                    return Err($crate::Violation::mismatch(&message, found, expected));
                }
            }
        }
    };
}

pub(crate) use {ensure, ensure_eq};
