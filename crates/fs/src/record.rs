//! Records: how entries, and parts of large ones, lie in the log.
//!
//! ```text
//! +---------+---------------+-------+-------+---------+---------+---------+-----+-----+-------+
//! | crc32 4 | value bytes 4 | key 2 | nsp 2 | state 2 | group 2 | chunk 4 | key | nsp | value |
//! +---------+---------------+-------+-------+---------+---------+---------+-----+-----+-------+
//! ```
//!
//! The chunk number is there only if it is not 0. The layout is specified in `docs/formats.md`.
//!
//! # Invariants
//! - A record begins at a multiple of 8 bytes and is padded with zeroes to one.
//! - The checksum is written when a record goes to a file; in memory it is 0.
//! - Room that no record uses is a filler, so that a piece of the log can be walked from its start.
//!
//! # Failures
//! What does not parse is `None`: the caller knows the file and offset.

use millpond_state::{EntryKey, KeyGroup, StateId, key_hash};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes of a record before chunk number and key.
pub(crate) const HEADER_BYTES: usize = 16;

/// Bytes of a chunk number.
const CHUNK_BYTES: usize = 4;

/// Records begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;

/// In the length: this is a filler, the other bits are its size in units of [`ALIGNMENT`].
const FILLER: u32 = 1 << 31;

/// In the state field: a chunk number follows.
const CHUNKED: u16 = 1 << 12;

/// In the state field: the entry was deleted.
const TOMBSTONE: u16 = 1 << 13;

/// In the state field: the state's number.
const STATE: u16 = CHUNKED - 1;

/// Seed of the bits that tell addresses of equal hash apart.
const CHECK_SEED: u64 = 0x6d69_6c6c_706f_6e64;

/// Bits of [`Address::check`].
pub(crate) const CHECK_BITS: u32 = 20;

/// `bytes` rounded up to where the next record may begin.
#[inline(always)]
pub(crate) const fn aligned(bytes: usize) -> usize {
    (bytes + ALIGNMENT - 1) & !(ALIGNMENT - 1)
}

/// Whose value a record is: an entry, and a part of it if it is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    /// Lengths of key and namespace, state with flags, key group; as they lie in a record.
    word: u64,
    chunk: u32,
    key: &'a [u8],
    namespace: &'a [u8],
    key_hash: u64,
}

impl<'a> Address<'a> {
    /// The entry of `state` at `at`, which has no more than 4,096 states before it.
    #[inline(always)]
    pub(crate) fn new(state: StateId, at: &EntryKey<'a>) -> Self {
        let word = word(at.key(), at.namespace(), state.get() & STATE, at.group());
        let (key, namespace) = (at.key(), at.namespace());
        Self { word, chunk: 0, key, namespace, key_hash: at.hash() }
    }

    /// A part of the entry; part 0 is the entry's own record.
    #[inline(always)]
    pub(crate) const fn part(self, chunk: u32) -> Self {
        let flag = (CHUNKED as u64) << 32;
        let word = if chunk == 0 { self.word & !flag } else { self.word | flag };
        Self { word, chunk, ..self }
    }

    /// The key group.
    #[inline(always)]
    pub(crate) const fn group(&self) -> KeyGroup {
        KeyGroup::new((self.word >> 48) as u16)
    }

    /// The state.
    pub(crate) const fn state(&self) -> StateId {
        StateId::new((self.word >> 32) as u16 & STATE)
    }

    /// The part of the entry.
    pub(crate) const fn chunk(&self) -> u32 {
        self.chunk
    }

    /// The key.
    pub(crate) const fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The namespace.
    pub(crate) const fn namespace(&self) -> &'a [u8] {
        self.namespace
    }

    /// The hash that the index and the hints find the record by.
    #[inline(always)]
    pub(crate) fn hash(&self) -> u64 {
        let state = (self.word >> 32) as u16 & STATE;
        let mut hash = self.key_hash;
        if !self.namespace.is_empty() {
            hash ^= namespace_hash(self.namespace);
        }
        hash = hash.wrapping_add((u64::from(self.chunk) << 12) + u64::from(state));
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 29)
    }

    /// Bits that are independent of the hash: an address is taken for another only if both agree.
    pub(crate) fn check(&self) -> u32 {
        let key = xxh3_64_with_seed(self.key, CHECK_SEED);
        let namespace = xxh3_64_with_seed(self.namespace, CHECK_SEED).rotate_left(17);
        let both = (key ^ namespace).wrapping_add(u64::from(self.chunk)).wrapping_mul(CHECK_SEED);
        (both >> (64 - CHECK_BITS)) as u32
    }

    /// What hints tell addresses apart by.
    pub(crate) fn identity(&self) -> (u64, u32) {
        let state = u32::from((self.word >> 32) as u16 & STATE);
        (self.hash(), state << CHECK_BITS | self.check())
    }

    /// Bytes of the record before its value.
    #[inline(always)]
    pub(crate) const fn head_bytes(&self) -> usize {
        let chunk = if self.chunk == 0 { 0 } else { CHUNK_BYTES };
        HEADER_BYTES + chunk + self.key.len() + self.namespace.len()
    }

    /// Bytes of the record with a value of `value_bytes`.
    #[inline(always)]
    pub(crate) const fn record_bytes(&self, value_bytes: usize) -> usize {
        aligned(self.head_bytes() + value_bytes)
    }

    /// Writes the record with `value` to the front of `out`, which must have room for it.
    #[inline(always)]
    pub(crate) fn write(&self, value: &[u8], out: &mut [u8]) -> Option<()> {
        self.write_as(self.word, value, out)
    }

    /// Writes the record which says that the entry is gone; `value` is what is known about it.
    pub(crate) fn write_tombstone(&self, value: &[u8], out: &mut [u8]) -> Option<()> {
        self.write_as(self.word | (TOMBSTONE as u64) << 32, value, out)
    }

    #[inline(always)]
    fn write_as(&self, word: u64, value: &[u8], out: &mut [u8]) -> Option<()> {
        let out = out.get_mut(..self.record_bytes(value.len()))?;
        let (header, rest) = out.split_first_chunk_mut::<HEADER_BYTES>()?;
        let first = (value.len() as u64) << 32;
        *header = ((u128::from(word) << 64) | u128::from(first)).to_le_bytes();
        let mut rest = rest;
        if self.chunk != 0 {
            let (chunk, after) = rest.split_first_chunk_mut::<CHUNK_BYTES>()?;
            *chunk = self.chunk.to_le_bytes();
            rest = after;
        }
        let (key, rest) = rest.split_at_mut_checked(self.key.len())?;
        key.copy_from_slice(self.key);
        let (namespace, rest) = rest.split_at_mut_checked(self.namespace.len())?;
        namespace.copy_from_slice(self.namespace);
        let (place, padding) = rest.split_at_mut_checked(value.len())?;
        place.copy_from_slice(value);
        padding.fill(0);
        Some(())
    }

    /// Where the value of the record at the front of `bytes` is, if that has this address.
    #[inline(always)]
    pub(crate) fn find_value(&self, bytes: &[u8]) -> Option<Place> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let header = u128::from_le_bytes(*header);
        if (header >> 64) as u64 != self.word {
            return None;
        }
        let mut at = HEADER_BYTES;
        if self.chunk != 0 {
            let chunk = bytes.get(at..)?.first_chunk::<CHUNK_BYTES>()?;
            if u32::from_le_bytes(*chunk) != self.chunk {
                return None;
            }
            at += CHUNK_BYTES;
        }
        let (key, rest) = bytes.get(at..)?.split_at_checked(self.key.len())?;
        if !same(key, self.key) {
            return None;
        }
        if !self.namespace.is_empty() && rest.get(..self.namespace.len())? != self.namespace {
            return None;
        }
        let start = at + self.key.len() + self.namespace.len();
        Some(Place { start, bytes: (header >> 32) as u32 as usize })
    }
}

/// Not inlined: most entries have no namespace, and what their hash takes is all on the way.
#[inline(never)]
fn namespace_hash(namespace: &[u8]) -> u64 {
    xxh3_64(namespace).rotate_left(29)
}

/// Compares keys of equal length; eight bytes as one word.
#[inline(always)]
fn same(one: &[u8], other: &[u8]) -> bool {
    match (<&[u8; 8]>::try_from(one), <&[u8; 8]>::try_from(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

#[inline(always)]
fn word(key: &[u8], namespace: &[u8], state: u16, group: KeyGroup) -> u64 {
    // Lengths past the limit do not fit; such a key is written nowhere and compares unequal.
    u64::from(key.len() as u16)
        | u64::from(namespace.len() as u16) << 16
        | u64::from(state) << 32
        | u64::from(group.get()) << 48
}

/// Where in a record its value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) bytes: usize,
}

impl Place {
    /// Bytes of the whole record.
    #[inline(always)]
    pub(crate) const fn record_bytes(&self) -> usize {
        aligned(self.start + self.bytes)
    }
}

/// What lies at a place of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Record(Record<'a>),
    /// Unused room of so many bytes.
    Filler(usize),
}

impl<'a> Item<'a> {
    /// What begins at the front of `bytes`; `None` if nothing that was written whole does.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let length = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
        if length & FILLER != 0 {
            let size = (length & !FILLER) as usize * ALIGNMENT;
            return (size > 0 && size <= bytes.len()).then_some(Self::Filler(size));
        }
        let header = u128::from_le_bytes(*bytes.first_chunk::<HEADER_BYTES>()?);
        let word = (header >> 64) as u64;
        let flags = (word >> 32) as u16;
        if flags & !(STATE | CHUNKED | TOMBSTONE) != 0 {
            return None;
        }
        let (mut at, mut chunk) = (HEADER_BYTES, 0);
        if flags & CHUNKED != 0 {
            chunk = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
            at += CHUNK_BYTES;
            if chunk == 0 {
                return None;
            }
        }
        let (key_bytes, namespace_bytes) = (word as u16 as usize, (word >> 16) as u16 as usize);
        let (key, rest) = bytes.get(at..)?.split_at_checked(key_bytes)?;
        let (namespace, rest) = rest.split_at_checked(namespace_bytes)?;
        let value = rest.get(..length as usize)?;
        let size = aligned(at + key_bytes + namespace_bytes + value.len());
        if size > bytes.len() {
            return None;
        }
        let is_tombstone = flags & TOMBSTONE != 0;
        let word = word & !((TOMBSTONE as u64) << 32);
        Some(Self::Record(Record { word, chunk, key, namespace, value, is_tombstone, size }))
    }

    /// Its bytes.
    pub(crate) const fn size(&self) -> usize {
        match self {
            Self::Record(record) => record.size,
            Self::Filler(size) => *size,
        }
    }

    /// The record.
    pub(crate) const fn record(self) -> Option<Record<'a>> {
        match self {
            Self::Record(record) => Some(record),
            Self::Filler(_) => None,
        }
    }
}

/// A record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    word: u64,
    chunk: u32,
    key: &'a [u8],
    namespace: &'a [u8],
    /// The value; of a tombstone what is known about it.
    pub(crate) value: &'a [u8],
    /// Whether the entry is gone.
    pub(crate) is_tombstone: bool,
    /// Bytes of the whole record.
    pub(crate) size: usize,
}

impl<'a> Record<'a> {
    /// Whose value it is.
    pub(crate) fn address(&self) -> Address<'a> {
        let (key, namespace) = (self.key, self.namespace);
        Address { word: self.word, chunk: self.chunk, key, namespace, key_hash: key_hash(key) }
    }

    /// The state's number.
    pub(crate) const fn state(&self) -> u16 {
        (self.word >> 32) as u16 & STATE
    }
}

/// Makes the front of `out`, of `size` bytes, a filler.
pub(crate) fn write_filler(out: &mut [u8], size: usize) {
    let units = FILLER | (size / ALIGNMENT) as u32;
    if let Some(head) = out.first_chunk_mut::<8>() {
        *head = (u64::from(units) << 32).to_le_bytes();
    }
    if let Some(rest) = out.get_mut(8..size) {
        rest.fill(0);
    }
}

/// Bytes of the value of the record that `bytes` begin with, as far as nothing was checked.
#[inline(always)]
pub(crate) fn value_bytes(bytes: &[u8]) -> usize {
    let length = bytes.get(4..).and_then(<[u8]>::first_chunk);
    length.map_or(0, |length| u32::from_le_bytes(*length) as usize)
}

/// The checksum of a record or filler, of all its bytes behind the checksum itself.
pub(crate) fn checksum(item: &[u8]) -> u32 {
    crc32fast::hash(item.get(4..).unwrap_or_default())
}

/// Whether the checksum at the front of `item` is that of its bytes.
#[inline]
pub(crate) fn is_whole(item: &[u8]) -> bool {
    item.first_chunk::<4>().is_some_and(|stored| u32::from_le_bytes(*stored) == checksum(item))
}

#[cfg(test)]
mod tests;
