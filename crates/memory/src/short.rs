//! The short way to what is accessed most: entries with an 8-byte key and no namespace, with a
//! value that fills its area. All else takes the long way, [`Segment::find`], which also decides
//! that an entry is absent.
//!
//! Everything here is inlined, checks no more than it must, and leaves the rest to functions that
//! are not: an access waits for its entry's cache miss, and the processor overlaps it with as many
//! others as its reorder buffer has room for, so each instruction counts.

use millpond_state::EntryKey;

use crate::entry_layout::{NOT_PLAIN, two_words};
use crate::index::Index;
use crate::probe::SHORT;
use crate::segment::Segment;

/// Bytes before the value.
const VALUE_AT: usize = 16;

/// The length of the value if the entry of this header has an 8-byte key, no namespace, and a value
/// that fills its area.
#[inline(always)]
const fn plain_short(header: u64) -> Option<usize> {
    const CHECKED: u32 = 0xffff | ((NOT_PLAIN as u32) << 16);
    let lengths = (header >> 32) as u32;
    if lengths & CHECKED == SHORT as u32 { Some((lengths >> 16) as usize) } else { None }
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
    /// Where the first candidate for `hash` starts, if there is one in its line.
    #[inline(always)]
    pub(crate) fn first_place(&self, hash: u64) -> Option<u32> {
        let home = self.index.home(hash);
        let slot = Index::candidates(home, self.index.line(home)?, hash).next()?;
        Some(self.index.place(slot))
    }

    /// The value of the plain short entry with key word `key` if that starts at `place`. The bytes
    /// there must be those of an entry.
    #[inline(always)]
    pub(crate) fn short_at(&self, key: u64, place: u32) -> Option<&[u8]> {
        let bytes = self.arena.get(place as usize..)?;
        let [header, found] = two_words(bytes.first_chunk()?);
        if found != key {
            return None;
        }
        bytes.get(VALUE_AT..)?.get(..plain_short(header)?)
    }

    /// As [`Self::short_at`], for writing.
    #[inline(always)]
    pub(crate) fn short_at_mut(&mut self, key: u64, place: u32) -> Option<ShortMut<'_>> {
        let (head, rest) = self.arena.get_mut(place as usize..)?.split_first_chunk_mut()?;
        let [header, found] = two_words(head);
        if found != key {
            return None;
        }
        let value = rest.get_mut(..plain_short(header)?)?;
        Some(ShortMut { head, value, newest_epoch: &mut self.newest_epoch })
    }

    /// Where the plain short entry with key word `key` starts, if there is one: past other entries
    /// with its tag, and in the lines after a full one.
    #[inline(never)]
    pub(crate) fn short_find(&self, key: u64, hash: u64) -> Option<u32> {
        for (number, line) in self.index.lines_from(hash) {
            for slot in Index::candidates(number, line, hash) {
                let place = self.index.place(slot);
                if self.short_at(key, place).is_some() {
                    return Some(place);
                }
            }
            if line.has_empty() {
                return None;
            }
        }
        None
    }
}

/// A plain short entry that may be changed.
pub(crate) struct ShortMut<'s> {
    head: &'s mut [u8; VALUE_AT],
    /// The value.
    pub(crate) value: &'s mut [u8],
    newest_epoch: &'s mut u32,
}

impl ShortMut<'_> {
    /// Overwrites the value if the old one has the same length.
    #[inline(always)]
    pub(crate) fn overwrite(self, value: &[u8], epoch: u32) -> bool {
        // The common length without a call.
        if let (Ok(place), Ok(value)) =
            (<&mut [u8; 8]>::try_from(&mut *self.value), <&[u8; 8]>::try_from(value))
        {
            *place = *value;
        } else if self.value.len() == value.len() {
            self.value.copy_from_slice(value);
        } else {
            return false;
        }
        if let Some(place) = self.head.first_chunk_mut() {
            *place = epoch.to_le_bytes();
        }
        *self.newest_epoch = epoch;
        true
    }
}
