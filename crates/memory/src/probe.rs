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
//! The namespace's hash is mixed in, so that one hot key with many namespaces spreads over segments;
//! the key group stays that of the key alone.

use millpond_state::{EntryKey, key_hash};

use crate::entry_layout::{Layout, length_bytes, u64_at};
use crate::line::tag_of;

/// An entry's address, ready to be looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe<'a> {
    /// Hash of key and namespace.
    pub(crate) hash: u64,
    /// The key.
    pub(crate) key: &'a [u8],
    /// The namespace.
    pub(crate) namespace: &'a [u8],
    /// The first eight bytes of the key, if it has as many.
    pub(crate) key_word: u64,
    /// The length bytes of the entry's header.
    pub(crate) lengths: u16,
    /// The tag.
    pub(crate) tag: u8,
}

const SHORT: u16 = length_bytes(8, 0);

impl<'a> Probe<'a> {
    /// The address of nothing in particular, to fill arrays with.
    pub(crate) const NOTHING: Self =
        Self { hash: 0, key: &[], namespace: &[], key_word: 0, lengths: 0, tag: 2 };

    /// Prepares a search for `at`.
    #[inline]
    pub(crate) fn new(at: &EntryKey<'a>) -> Self {
        let (key, namespace) = (at.key(), at.namespace());
        let hash = if namespace.is_empty() { at.hash() } else { mix(at.hash(), namespace) };
        Self {
            hash,
            key,
            namespace,
            key_word: u64_at(key, 0),
            lengths: length_bytes(key.len(), namespace.len()),
            tag: tag_of(hash),
        }
    }

    /// Whether the key has eight bytes and there is no namespace: compared as one word.
    #[inline]
    pub(crate) const fn is_short(&self) -> bool {
        self.lengths == SHORT
    }
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
