//! The short way to what is accessed most: entries with an 8-byte key and no namespace, with a
//! value that fills its area. All else takes the long way, [`Segment::find`], which also decides
//! that an entry is absent.
//!
//! Everything here is inlined and passes words, not structs: a struct that goes through memory just
//! after a cache miss stalls the accesses behind it, which else would overlap.

use millpond_state::EntryKey;

use crate::entry_layout::{NOT_PLAIN, two_words};
use crate::index::Index;
use crate::probe::SHORT;
use crate::segment::Segment;

/// A plain short entry: where it starts, and its header.
#[derive(Clone, Copy)]
pub(crate) struct ShortEntry {
    at: usize,
    header: u64,
}

impl ShortEntry {
    #[inline(always)]
    const fn value_bytes(self) -> usize {
        (self.header >> 48) as usize
    }
}

/// Bytes before the value.
const VALUE_AT: usize = 16;

/// Whether the entry of this header has an 8-byte key, no namespace, and a value that fills its
/// area.
#[inline(always)]
const fn is_plain_short(header: u64) -> bool {
    const CHECKED: u64 = (0xffff << 32) | ((NOT_PLAIN as u64) << 48);
    header & CHECKED == (SHORT as u64) << 32
}

/// The key as a word, if there is no namespace and it has eight bytes.
#[inline(always)]
pub(crate) fn short_key(at: &EntryKey<'_>) -> Option<u64> {
    if !at.namespace().is_empty() {
        return None;
    }
    <&[u8; 8]>::try_from(at.key()).ok().map(|key| u64::from_le_bytes(*key))
}

impl Segment {
    /// The plain short entry with key word `key`, if there is one.
    #[inline(always)]
    pub(crate) fn short_find(&self, key: u64, hash: u64) -> Option<ShortEntry> {
        let first = self.first_place(hash).and_then(|place| self.short_at(key, place));
        first.or_else(|| self.short_overflow(key, hash))
    }

    /// Where the first candidate for `hash` starts, if there is one in its line.
    #[inline(always)]
    pub(crate) fn first_place(&self, hash: u64) -> Option<usize> {
        let home = self.index.home(hash);
        let slot = Index::candidates(home, self.index.line(home)?, hash).next()?;
        Some(self.index.place(slot))
    }

    /// Goes on in the lines after a full one.
    #[inline(never)]
    fn short_overflow(&self, key: u64, hash: u64) -> Option<ShortEntry> {
        for (number, line) in self.index.lines_from(hash) {
            for slot in Index::candidates(number, line, hash) {
                if let Some(entry) = self.short_at(key, self.index.place(slot)) {
                    return Some(entry);
                }
            }
            if line.has_empty() {
                return None;
            }
        }
        None
    }

    /// The plain short entry with key word `key` if it is at `at`. The bytes there must be those of
    /// an entry.
    #[inline(always)]
    pub(crate) fn short_at(&self, key: u64, at: usize) -> Option<ShortEntry> {
        let [header, found] = two_words(self.arena.get(at..at + VALUE_AT)?.first_chunk()?);
        (is_plain_short(header) && found == key).then_some(ShortEntry { at, header })
    }

    /// The value.
    #[inline(always)]
    pub(crate) fn short_value(&self, entry: ShortEntry) -> Option<&[u8]> {
        let start = entry.at + VALUE_AT;
        self.arena.get(start..start + entry.value_bytes())
    }

    /// Overwrites the value if the old one has the same length.
    #[inline(always)]
    pub(crate) fn short_overwrite(&mut self, entry: ShortEntry, value: &[u8], epoch: u32) -> bool {
        if entry.value_bytes() != value.len() {
            return false;
        }
        let end = entry.at + VALUE_AT + value.len();
        let Some(bytes) = self.arena.get_mut(entry.at..end) else { return false };
        let Some((head, place)) = bytes.split_first_chunk_mut::<VALUE_AT>() else { return false };
        // The common length without a call.
        match (<&mut [u8; 8]>::try_from(&mut *place), <&[u8; 8]>::try_from(value)) {
            (Ok(place), Ok(value)) => *place = *value,
            _ => place.copy_from_slice(value),
        }
        if let Some(place) = head.first_chunk_mut() {
            *place = epoch.to_le_bytes();
        }
        self.stamp(epoch);
        true
    }
}
