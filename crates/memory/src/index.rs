//! Finds the entries of a segment: lines of tags, and where the entry of each slot starts.
//!
//! While all entries of a segment have one size (*uniform*), the entry of slot `n` starts at `n`
//! times that size, and the tags are all there is to the index: a byte a slot, which stays in the
//! processor's caches, so that finding an entry costs one miss, the entry's own. Else each slot has
//! an offset.
//!
//! # Invariants
//! - An entry is in the line that its hash chooses or, if that line was full, in the first line
//!   after it (in a ring) that was not.
//! - At least one slot in eight is empty, so searches end soon.
//! - There are offsets for all slots if the stride is 0, else none.
//! - The offset of an empty or deleted slot means nothing.

use crate::line::{Line, SLOTS, tag_of};

/// No entry starts here.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// Slots of a line that may be used on average before lines are added.
const LINE_FILL: usize = 13;

/// The offsets of the entries of one line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Offsets([u32; SLOTS]);

/// The index of a segment. One without lines holds no memory.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub(crate) struct Index {
    lines: Box<[Line]>,
    /// The size of all entries; 0 if they differ.
    stride: u32,
    offsets: Box<[Offsets]>,
    live: u32,
    /// Slots that are not empty: live and deleted ones.
    used: u32,
}

impl Index {
    /// An index of empty slots with room for `entries`, all of `stride` bytes or, if that is 0, of
    /// any size.
    pub(crate) fn with_room(entries: usize, stride: usize) -> Self {
        Self::with_lines(lines_for(entries), stride)
    }

    fn with_lines(count: usize, stride: usize) -> Self {
        let mut index = Self { lines: vec![Line::EMPTY; count].into(), ..Self::default() };
        index.set_stride(stride);
        index
    }

    /// Bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.lines) + size_of_val(&*self.offsets)
    }

    /// How many entries there are.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.live as usize
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.lines.len() * SLOTS
    }

    /// The size of all entries; 0 if they differ.
    #[inline]
    pub(crate) const fn stride(&self) -> usize {
        self.stride as usize
    }

    /// Fixes the size of entries, or lifts that: then offsets are to be set.
    pub(crate) fn set_stride(&mut self, stride: usize) {
        self.stride = stride as u32;
        let offsets = if stride == 0 { self.lines.len() } else { 0 };
        self.offsets = vec![Offsets([0; SLOTS]); offsets].into();
    }

    /// The number of the line in which a search for `hash` starts.
    #[inline]
    pub(crate) const fn home(&self, hash: u64) -> usize {
        ((((hash >> 20) & 0xf_ffff) * self.lines.len() as u64) >> 20) as usize
    }

    /// A line by number.
    #[inline]
    pub(crate) fn line(&self, number: usize) -> Option<&Line> {
        self.lines.get(number)
    }

    /// The lines that a search for `hash` looks at, with their numbers: a ring.
    #[inline]
    pub(crate) fn lines_from(&self, hash: u64) -> impl Iterator<Item = (usize, &Line)> {
        let home = self.home(hash);
        let (before, after) = self.lines.split_at_checked(home).unwrap_or_default();
        (home..).zip(after).chain((0..).zip(before))
    }

    /// The slots of a line that may hold an entry with this hash.
    #[inline(always)]
    pub(crate) fn candidates(
        number: usize,
        line: &Line,
        hash: u64,
    ) -> impl Iterator<Item = usize> + use<> {
        line.candidates(tag_of(hash)).map(move |slot| number * SLOTS + slot)
    }

    /// Where the entry of `slot` starts.
    #[inline(always)]
    pub(crate) fn place(&self, slot: usize) -> u32 {
        if self.stride != 0 {
            return slot as u32 * self.stride;
        }
        let offsets = self.offsets.get(slot / SLOTS);
        offsets.and_then(|line| line.0.get(slot % SLOTS)).map_or(NOWHERE, |at| *at)
    }

    /// Sets where the entry of `slot` starts, if entries differ in size.
    #[inline]
    pub(crate) fn set_place(&mut self, slot: usize, at: usize) {
        let offsets = self.offsets.get_mut(slot / SLOTS);
        if let Some(place) = offsets.and_then(|line| line.0.get_mut(slot % SLOTS)) {
            *place = at as u32;
        }
    }

    /// Brings the line in which a search for `hash` starts into the cache, without waiting.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        let home = self.home(hash);
        prefetch_index::prefetch_index(&self.lines, home);
        if self.stride == 0 {
            prefetch_index::prefetch_index(&self.offsets, home);
        }
    }

    /// Brings the offsets of the line in which a search for `hash` starts into the cache, without
    /// waiting: beside the line itself, not after it.
    #[inline]
    pub(crate) fn prefetch_offsets(&self, hash: u64) {
        if self.stride == 0 {
            prefetch_index::prefetch_index(&self.offsets, self.home(hash));
        }
    }

    /// The slots that hold an entry, ascending by line.
    pub(crate) fn live(&self) -> impl Iterator<Item = usize> {
        (0..)
            .zip(&self.lines)
            .flat_map(|(number, line)| line.live().map(move |slot| number * SLOTS + slot))
    }

    /// Takes the first free slot for an entry with this hash. There must be one.
    pub(crate) fn take_slot(&mut self, hash: u64) -> usize {
        let count = self.lines.len();
        let mut number = self.home(hash);
        for _ in 0..count {
            let Some(line) = self.lines.get_mut(number) else { break };
            let free = line.free();
            if !free.is_empty() {
                let slot = free.first();
                self.used += u32::from(line.is_empty_slot(slot));
                line.set_tag(slot, tag_of(hash));
                self.live += 1;
                return number * SLOTS + slot;
            }
            number = if number + 1 == count { 0 } else { number + 1 };
        }
        debug_assert!(false, "a segment always has free slots");
        0
    }

    /// Frees a slot that holds an entry.
    pub(crate) fn free_slot(&mut self, slot: usize) {
        if let Some(line) = self.lines.get_mut(slot / SLOTS) {
            self.used -= u32::from(line.clear(slot % SLOTS));
            self.live -= 1;
        }
    }

    /// The index to use instead of this one before another entry is added, if this one is full: a
    /// larger one, or one without deleted slots.
    pub(crate) fn successor(&self) -> Option<Self> {
        let (count, used) = (self.lines.len(), self.used as usize);
        if used < count * LINE_FILL {
            return None;
        }
        let lines =
            if self.used > self.live + self.live / 8 { count } else { count + count / 8 + 1 };
        Some(Self::with_lines(lines, self.stride()))
    }

    /// The index to use instead of this one if most of its slots are not needed any more.
    pub(crate) fn smaller(&self) -> Option<Self> {
        let lines = lines_for(self.len());
        (lines < self.lines.len() / 2).then(|| Self::with_lines(lines, self.stride()))
    }
}

/// Lines for `entries` entries and some more.
const fn lines_for(entries: usize) -> usize {
    (entries + entries / 16) / LINE_FILL + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    }

    #[test]
    fn slots_keep_their_place_apart_from_their_neighbours() {
        let mut index = Index::with_room(100, 0);
        let slots: Vec<_> = (0..100).map(|number| index.take_slot(hash_of(number))).collect();
        for (at, slot) in slots.iter().enumerate() {
            index.set_place(*slot, at);
        }
        for (at, slot) in slots.iter().enumerate() {
            assert_eq!(index.place(*slot), at as u32);
        }
        assert_eq!((index.len(), index.live().count()), (100, 100));
        index.set_stride(24);
        assert!(slots.iter().all(|slot| index.place(*slot) as usize == 24 * slot));
    }

    #[test]
    fn entries_that_overflow_their_line_are_among_the_candidates_of_the_lines_after_it() {
        let mut index = Index::with_room(60, 0);
        let last_line = u64::MAX << 20;
        let slots: Vec<_> = (0..40).map(|_| index.take_slot(last_line)).collect();
        let mut found: Vec<_> = index
            .lines_from(last_line)
            .flat_map(|(number, line)| Index::candidates(number, line, last_line))
            .collect();
        found.truncate(40);
        found.sort_unstable();
        let mut sorted = slots.clone();
        sorted.sort_unstable();
        assert_eq!(found, sorted);
        slots.iter().for_each(|slot| index.free_slot(*slot));
        assert_eq!((index.len(), index.live().count()), (0, 0));
    }

    #[test]
    fn a_full_index_has_a_larger_successor_and_one_full_of_deleted_slots_a_clean_one() {
        let mut index = Index::with_room(0, 8);
        let slots: Vec<_> = (0..14).map(|number| index.take_slot(number)).collect();
        assert_eq!(index.successor().map(|next| (next.slots(), next.stride())), Some((32, 8)));
        for number in 14..16 {
            index.take_slot(number);
        }
        slots.iter().for_each(|slot| index.free_slot(*slot));
        assert_eq!(index.successor().map(|next| next.slots()), Some(16));
    }
}
