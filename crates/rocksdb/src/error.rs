//! RocksDB's errors in the words of state access.

use millpond_state::{ErrorKind, StateError};

/// What the operating system says about a full disk, as RocksDB passes it on.
const DISK_FULL: &str = "No space left on device";

/// What it says about a full quota.
const QUOTA_FULL: &str = "Disk quota exceeded";

/// What its messages about damage begin with.
const CORRUPTION: &str = "Corruption";

/// An error that RocksDB reported in doing `what`.
#[cold]
pub(crate) fn rocksdb_error(what: &str, error: rocksdb::Error) -> StateError {
    classify(what, error.as_ref()).with_source(error)
}

/// An error of which only the message is there.
#[cold]
pub(crate) fn rocksdb_message(what: &str, text: &str) -> StateError {
    let error = classify(what, text);
    StateError::new(error.kind(), format!("{}: {text}", error.message()))
}

fn classify(what: &str, text: &str) -> StateError {
    let (kind, advice) = if text.contains(DISK_FULL) || text.contains(QUOTA_FULL) {
        (ErrorKind::ResourceExhausted, ": the disk of the state folder is full, make room")
    } else if text.starts_with(CORRUPTION) {
        (ErrorKind::Corrupt, ": local files are damaged, restore from a checkpoint")
    } else {
        (ErrorKind::Io, "")
    };
    StateError::new(kind, format!("RocksDB failed to {what}{advice}"))
}

/// A key in the database that this crate did not write.
#[cold]
pub(crate) fn foreign_key(key: &[u8]) -> StateError {
    let head = key.get(..32).unwrap_or(key);
    StateError::new(
        ErrorKind::Corrupt,
        format!("the database has a key of {} bytes that is no entry: {head:02x?}", key.len()),
    )
}
