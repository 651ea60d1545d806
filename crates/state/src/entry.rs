//! The address of an entry: key, namespace and key group, as borrowed bytes.

use crate::error::{ErrorKind, Result, StateError};
use crate::key_group::{KeyGroup, MaxParallelism, key_hash};

/// Longest key, namespace or map user key, in bytes.
pub const KEY_BYTES_MAX: usize = 65_535;

/// Longest value, in bytes (1 GiB).
pub const VALUE_BYTES_MAX: usize = 1 << 30;

/// Where an entry of a state lives: encoded key, encoded namespace, and the key group and hash
/// that follow from the key. A borrowed view, cheap to copy; there is no hidden current key.
///
/// The canonical order of entries is by key group, then state, then key, then namespace, then map
/// user key, each compared as unsigned bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryKey<'a> {
    key: &'a [u8],
    namespace: &'a [u8],
    hash: u64,
    group: KeyGroup,
}

impl<'a> EntryKey<'a> {
    /// Addresses `key` in the empty namespace, in the key group that its hash gives.
    #[inline]
    #[must_use]
    pub fn new(key: &'a [u8], max_parallelism: MaxParallelism) -> Self {
        Self::from_hash(key, key_hash(key), max_parallelism)
    }

    /// As [`Self::new`], with the key's [`key_hash`] already known (for instance computed where the
    /// record was routed). A wrong hash is not detected and makes entries unreachable.
    #[inline]
    #[must_use]
    pub fn from_hash(key: &'a [u8], hash: u64, max_parallelism: MaxParallelism) -> Self {
        Self { key, namespace: &[], hash, group: max_parallelism.group_of_hash(hash) }
    }

    /// Addresses `key` in a key group that the engine assigned in its own way. All accesses and all
    /// restores of a job must use the same assignment.
    #[inline]
    #[must_use]
    pub fn in_group(key: &'a [u8], group: KeyGroup) -> Self {
        Self { key, namespace: &[], hash: key_hash(key), group }
    }

    /// Puts together what a [`KeyContext`](crate::KeyContext) knows.
    #[inline]
    pub(crate) const fn with_parts(key: &'a [u8], hash: u64, group: KeyGroup) -> Self {
        Self { key, namespace: &[], hash, group }
    }

    /// The same key in `namespace`.
    #[inline]
    #[must_use]
    pub const fn in_namespace<'b>(self, namespace: &'b [u8]) -> EntryKey<'b>
    where
        'a: 'b,
    {
        EntryKey { key: self.key, namespace, hash: self.hash, group: self.group }
    }

    /// The encoded key.
    #[inline]
    #[must_use]
    pub const fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The encoded namespace; empty for the void namespace.
    #[inline]
    #[must_use]
    pub const fn namespace(&self) -> &'a [u8] {
        self.namespace
    }

    /// The key's [`key_hash`]; it does not depend on the namespace.
    #[inline]
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The key group.
    #[inline]
    #[must_use]
    pub const fn group(&self) -> KeyGroup {
        self.group
    }

    /// Checks the lengths of key and namespace; backends call it before they write.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if either is longer than [`KEY_BYTES_MAX`].
    #[inline]
    pub fn check_lengths(&self) -> Result<()> {
        if self.key.len() > KEY_BYTES_MAX || self.namespace.len() > KEY_BYTES_MAX {
            return Err(too_long("key or namespace", self.key.len().max(self.namespace.len())));
        }
        Ok(())
    }
}

/// Checks a value's length; backends call it before they write.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] if it is longer than [`VALUE_BYTES_MAX`].
#[inline]
pub fn check_value_len(len: usize) -> Result<()> {
    if len > VALUE_BYTES_MAX { Err(too_long("value", len)) } else { Ok(()) }
}

/// Checks the length of a map user key; backends call it before they write.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] if it is longer than [`KEY_BYTES_MAX`].
#[inline]
pub fn check_user_key_len(len: usize) -> Result<()> {
    if len > KEY_BYTES_MAX { Err(too_long("map user key", len)) } else { Ok(()) }
}

#[cold]
fn too_long(what: &str, len: usize) -> StateError {
    let max = if what == "value" { VALUE_BYTES_MAX } else { KEY_BYTES_MAX };
    StateError::new(
        ErrorKind::InvalidArgument,
        format!("{what} of {len} bytes is longer than the limit of {max} bytes"),
    )
}
