//! What a search needs to know of an entry's address, computed once.
//!
//! The upper 32 bits of the key hash choose the key group, so tables use the others:
//!
//! ```text
//!  63            48 47      40 39             20 19              0
//! +----------------+----------+-----------------+-----------------+
//! | key group      | tag      | line            | segment         |
//! +----------------+----------+-----------------+-----------------+
//! ```
//!
//! The namespace's hash is mixed in, so that one hot key with many namespaces spreads over
//! segments; the key group stays that of the key alone.

use millpond_state::{EntryKey, key_hash};

use crate::entry_layout::{Layout, length_bytes};

/// An entry's address, ready to be looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe<'a> {
    /// Hash of key and namespace.
    pub(crate) hash: u64,
    /// The key.
    pub(crate) key: &'a [u8],
    /// The namespace.
    pub(crate) namespace: &'a [u8],
}

/// The length bytes of an entry with an 8-byte key and no namespace.
pub(crate) const SHORT: u16 = length_bytes(8, 0);

impl<'a> Probe<'a> {
    /// Prepares a search for `at`.
    #[inline]
    pub(crate) fn new(at: &EntryKey<'a>) -> Self {
        Self { hash: address_hash(at), key: at.key(), namespace: at.namespace() }
    }
}

/// The hash of key and namespace.
#[inline]
pub(crate) fn address_hash(at: &EntryKey<'_>) -> u64 {
    if at.namespace().is_empty() { at.hash() } else { mix(at.hash(), at.namespace()) }
}

/// Mixes a namespace into a key's hash. A sum, so that key and namespace of the same bytes don't
/// cancel out.
fn mix(hash: u64, namespace: &[u8]) -> u64 {
    hash.wrapping_add(xxhash_rust::xxh3::xxh3_64(namespace).rotate_left(23))
}

/// The hash of a stored entry.
#[inline]
pub(crate) fn entry_hash(arena: &[u8], layout: &Layout) -> u64 {
    let (hash, namespace) = (key_hash(layout.key(arena)), layout.namespace(arena));
    if namespace.is_empty() { hash } else { mix(hash, namespace) }
}
