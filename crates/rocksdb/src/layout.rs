//! How an entry's address becomes a RocksDB key. The only place that knows.
//!
//! ```text
//!   0         2         4
//!   +---------+---------+-------------+-------+-------------------+-------+------------------+
//!   | key     | state   | key,        | 00 00 | namespace,        | 00 00 | user key, as is  |
//!   | group,  | id,     | escaped     |       | escaped           |       | (maps only)      |
//!   | u16 BE  | u16 BE  |             |       |                   |       |                  |
//!   +---------+---------+-------------+-------+-------------------+-------+------------------+
//!   |<------ scope ---->|                                                 |
//!   |<------------------------------- entry --------------------------->|
//!
//!   escaped: each byte 00 is written as 00 FF, all others as they are
//! ```
//!
//! # Invariants
//! - Byte order of RocksDB keys is the canonical order of entries: `00 00` ends a part before
//!   anything that continues it, and `00 FF` sorts as the zero it stands for among what may follow.
//! - No entry is a proper prefix of another entry; the user keys of a map are the keys that start
//!   with the map's entry.

use millpond_state::{EntryKey, KeyGroup, KeyGroupRange, StateId};

/// Bytes of key group and state.
pub(crate) const SCOPE_BYTES: usize = 4;

/// Ends an escaped part.
const END: [u8; 2] = [0, 0];

/// Stands for a zero byte within an escaped part.
const ZERO: [u8; 2] = [0, 0xFF];

/// Comes after all keys that start with the part that it ends instead of [`END`].
const AFTER_END: u8 = 1;

/// Appends the entry of `at` in `state`.
#[inline]
pub(crate) fn push_entry(out: &mut Vec<u8>, state: StateId, at: &EntryKey<'_>) {
    out.reserve(SCOPE_BYTES + at.key().len() + at.namespace().len() + 2 * END.len());
    out.extend_from_slice(&scope(at.group(), state));
    push_escaped(out, at.key());
    push_escaped(out, at.namespace());
}

/// The start of all keys of a state in a key group.
#[inline]
pub(crate) fn scope(group: KeyGroup, state: StateId) -> [u8; SCOPE_BYTES] {
    let ([a, b], [c, d]) = (group.get().to_be_bytes(), state.get().to_be_bytes());
    [a, b, c, d]
}

/// The bounds of all keys of key groups: the first may be one, the second is behind all.
pub(crate) fn bounds(groups: KeyGroupRange) -> (Vec<u8>, Vec<u8>) {
    let start = groups.first().get().to_be_bytes().to_vec();
    let end = match groups.last().get().checked_add(1) {
        Some(next) => next.to_be_bytes().to_vec(),
        // There are fewer states than the third byte would have to say.
        None => vec![0xFF; 3],
    };
    (start, end)
}

#[inline]
fn push_escaped(out: &mut Vec<u8>, part: &[u8]) {
    if part.contains(&0) {
        for byte in part {
            if *byte == 0 {
                out.extend_from_slice(&ZERO);
            } else {
                out.push(*byte);
            }
        }
    } else {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&END);
}

/// Appends a namespace in the form that the bytes of [`Parts::namespace`] have.
pub(crate) fn push_namespace(out: &mut Vec<u8>, namespace: &[u8]) {
    push_escaped(out, namespace);
    out.truncate(out.len() - END.len());
}

/// Makes `entry` the bound behind all keys that start with it.
pub(crate) fn to_end_of_entry(entry: &mut [u8]) {
    if let Some(last) = entry.last_mut() {
        *last = AFTER_END;
    }
}

/// A key or namespace as it lies in a RocksDB key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Escaped<'k> {
    pub(crate) bytes: &'k [u8],
    has_zeros: bool,
}

impl<'k> Escaped<'k> {
    /// What it stands for; `buffer` holds that if it differs.
    #[inline]
    pub(crate) fn plain<'a>(self, buffer: &'a mut Vec<u8>) -> &'a [u8]
    where
        'k: 'a,
    {
        if self.has_zeros { unescape(self.bytes, buffer) } else { self.bytes }
    }
}

/// A RocksDB key, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'k> {
    /// The key group.
    pub(crate) group: KeyGroup,
    /// The state.
    pub(crate) state: StateId,
    /// The key.
    pub(crate) key: Escaped<'k>,
    /// The namespace.
    pub(crate) namespace: Escaped<'k>,
    /// The user key.
    pub(crate) user_key: &'k [u8],
    /// Everything before the user key.
    pub(crate) entry: &'k [u8],
}

/// Takes a key apart; `None` if it is none of ours.
#[inline]
pub(crate) fn parts(key: &[u8]) -> Option<Parts<'_>> {
    let (group, state, rest) = split_scope(key)?;
    let (own_key, rest) = split_part(rest)?;
    let (namespace, user_key) = split_part(rest)?;
    let entry = key.get(..key.len() - user_key.len())?;
    Some(Parts { group, state, key: own_key, namespace, user_key, entry })
}

/// Key group and state of a key.
#[inline]
pub(crate) fn split_scope(key: &[u8]) -> Option<(KeyGroup, StateId, &[u8])> {
    let ([a, b, c, d], rest) = key.split_first_chunk::<SCOPE_BYTES>()?;
    let (group, state) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
    Some((KeyGroup::new(group), StateId::new(state), rest))
}

/// An escaped part and what follows its end.
#[inline]
fn split_part(bytes: &[u8]) -> Option<(Escaped<'_>, &[u8])> {
    let mut from = 0;
    loop {
        let zero = from + zero_in(bytes.get(from..)?)?;
        match bytes.get(zero + 1)? {
            0 => {
                let part = Escaped { bytes: bytes.get(..zero)?, has_zeros: from > 0 };
                return Some((part, bytes.get(zero + END.len()..)?));
            }
            0xFF => from = zero + ZERO.len(),
            _ => return None,
        }
    }
}

/// Where the first zero byte is. Keys are too short for a general search to pay, and too long to
/// look at each byte.
#[inline]
fn zero_in(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The high bit of each zero byte, and perhaps of bytes behind the first.
        let zeros = word.wrapping_sub(ONES) & !word & HIGHS;
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    Some(words.len() * 8 + rest.iter().position(|byte| *byte == 0)?)
}

/// The bytes that an escaped part stands for, in `buffer`.
fn unescape<'a>(part: &[u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    buffer.clear();
    let mut after_zero = false;
    for byte in part {
        if !after_zero {
            buffer.push(*byte);
        }
        after_zero = *byte == 0;
    }
    buffer
}

/// The entry that a key belongs to, for RocksDB's prefix extractor.
pub(crate) fn entry_of(key: &[u8]) -> &[u8] {
    parts(key).map_or(key, |parts| parts.entry)
}

/// Whether a key has an entry: bounds of scans have none.
pub(crate) fn has_entry(key: &[u8]) -> bool {
    parts(key).is_some()
}

#[cfg(test)]
mod tests;
