//! Finds the records of a generation by the hashes of their keys.
//!
//! ```text
//!   slot: [ hash, 32 bits | address of the record, inverted, 32 bits ]      0: empty
//! ```
//!
//! Hash and address lie side by side, so that a search waits for one line of memory and then for
//! the record.
//!
//! # Invariants
//! - A record is in the slot that its hash chooses, or in the first one behind that (in a ring)
//!   that was empty.
//! - Slots are chosen in the order of hashes: a larger table takes them over in one pass.
//! - At least a quarter of the slots is empty. Nothing is ever taken out.

use prefetch_index::prefetch_index;

use super::memory::{HUGE_PAGE_BYTES, Memory};
use super::pool::{Limit, Pool};

/// Bytes of a slot.
const SLOT_BYTES: usize = size_of::<u64>();

/// Slots of the smallest table.
const SLOTS_MIN: usize = 16;

/// Slots of a chunk of a large table. A smaller table is one chunk.
const CHUNK_SLOTS: usize = HUGE_PAGE_BYTES / SLOT_BYTES;

/// The index of a generation.
pub(crate) struct Index {
    chunks: Vec<Memory>,
    slots: usize,
    len: usize,
    pool: Pool,
}

impl Index {
    /// With room for so many records. Its memory counts in the pool, above the limit if need be.
    pub(crate) fn with_room(pool: Pool, records: usize) -> Self {
        let slots = if records == 0 { 0 } else { (records + records / 2).max(SLOTS_MIN) };
        Self::with_slots(pool, slots)
    }

    fn with_slots(pool: Pool, slots: usize) -> Self {
        let (chunks, slots) = if slots >= CHUNK_SLOTS {
            let chunks = pool.take_zeros(slots.div_ceil(CHUNK_SLOTS));
            let slots = chunks.len() * CHUNK_SLOTS;
            (chunks, slots)
        } else {
            pool.charge(slots * SLOT_BYTES, Limit::Passed);
            (vec![Memory::zeroed(slots * SLOT_BYTES)], slots)
        };
        Self { chunks, slots, len: 0, pool }
    }

    /// Records.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory.
    pub(crate) const fn bytes(&self) -> usize {
        self.slots * SLOT_BYTES
    }

    /// Whether it must grow before one more record.
    const fn is_full(&self) -> bool {
        self.len >= self.slots - self.slots / 4
    }

    /// The slot that a hash chooses.
    #[inline]
    const fn home(&self, hash: u32) -> usize {
        ((hash as u64 * self.slots as u64) >> 32) as usize
    }

    /// The chunk of a slot, and its place there.
    #[inline]
    const fn place(number: usize) -> (usize, usize) {
        (number / CHUNK_SLOTS, number % CHUNK_SLOTS)
    }

    #[inline]
    fn slot(&self, number: usize) -> Option<u64> {
        let (chunk, place) = Self::place(number);
        let (slots, _) = self.chunks.get(chunk)?.as_chunks();
        slots.get(place).map(|slot| u64::from_le_bytes(*slot))
    }

    fn set(&mut self, number: usize, slot: u64) {
        let (chunk, place) = Self::place(number);
        let Some(chunk) = self.chunks.get_mut(chunk) else { return };
        let (slots, _) = chunk.as_chunks_mut::<SLOT_BYTES>();
        if let Some(place) = slots.get_mut(place) {
            *place = slot.to_le_bytes();
        }
    }

    /// Asks for the slot that a hash chooses, without waiting for it.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u32) {
        let (chunk, place) = Self::place(self.home(hash));
        if let Some(chunk) = self.chunks.get(chunk) {
            prefetch_index(chunk.as_chunks::<SLOT_BYTES>().0, place);
        }
    }

    /// The number of the first slot from the chosen one on that is empty or holds what `is` says.
    #[inline]
    fn search(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<(usize, u64)> {
        let mut number = self.home(hash);
        for _ in 0..self.slots {
            let slot = self.slot(number)?;
            if slot == 0 || hash_of(slot) == hash && is(address_of(slot)) {
                return Some((number, slot));
            }
            number = if number + 1 == self.slots { 0 } else { number + 1 };
        }
        None
    }

    /// The address of a record with that hash for which `is` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        let (_, slot) = self.search(hash, is)?;
        (slot != 0).then(|| address_of(slot))
    }

    /// Adds a record.
    pub(crate) fn insert(&mut self, hash: u32, at: u32) {
        if self.is_full() {
            self.grow();
        }
        self.take_slot(slot_of(hash, at));
    }

    /// Puts a record that was moved in its own place.
    pub(crate) fn replace(&mut self, hash: u32, old: u32, at: u32) {
        if let Some((number, slot)) = self.search(hash, |found| found == old)
            && slot != 0
        {
            self.set(number, slot_of(hash, at));
        }
    }

    fn take_slot(&mut self, slot: u64) {
        if let Some((number, _)) = self.search(hash_of(slot), |_| false) {
            self.set(number, slot);
            self.len += 1;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let slots = (self.slots * 2).max(SLOTS_MIN);
        let mut grown = Self::with_slots(self.pool.clone(), slots);
        let slots = self.chunks.iter().flat_map(|chunk| chunk.as_chunks().0);
        for slot in slots.map(|slot| u64::from_le_bytes(*slot)).filter(|slot| *slot != 0) {
            grown.take_slot(slot);
        }
        *self = grown;
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if self.slots >= CHUNK_SLOTS {
            self.pool.give_back_zeros(core::mem::take(&mut self.chunks));
        } else {
            self.pool.give_back(Vec::new(), self.bytes());
        }
    }
}

/// No record is at `u32::MAX`: no slot in use is 0.
#[inline]
const fn slot_of(hash: u32, at: u32) -> u64 {
    (hash as u64) << 32 | !at as u64
}

#[inline]
const fn hash_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

#[inline]
const fn address_of(slot: u64) -> u32 {
    !(slot as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_found_in_an_empty_index_and_it_has_room_for_what_was_said() {
        let pool = Pool::new(0);
        let mut index = Index::with_room(pool.clone(), 0);
        assert_eq!((index.find(0, |_| true), index.bytes()), (None, 0));
        index.insert(0, 0);
        assert_eq!(index.find(0, |_| true), Some(0));
        for records in [1, 2, 7, 100, 5_000, 700_000] {
            let mut index = Index::with_room(pool.clone(), records);
            let bytes = index.bytes();
            (0..records as u32).for_each(|at| index.insert(at.wrapping_mul(0x9e37_79b9), at));
            assert_eq!((index.len(), index.bytes()), (records, bytes));
        }
        drop(index);
        assert_eq!(pool.taken_bytes(), 0);
    }

    #[test]
    fn what_was_found_is_found_while_the_index_grows_over_chunks() {
        let pool = Pool::new(0);
        let hash = |at: u32| at.wrapping_mul(0x9e37_79b9);
        let mut index = Index::with_room(pool.clone(), 0);
        for at in 0..400_000 {
            index.insert(hash(at), at);
        }
        assert!((0..400_000).all(|at| index.find(hash(at), |_| true) == Some(at)));
        assert_eq!(
            (index.find(hash(400_000), |_| true), pool.taken_bytes()),
            (None, index.bytes())
        );
    }

    proptest! {
        #[test]
        fn finds_what_was_put_in_whatever_the_hashes(
            hashes in prop::collection::vec(
                prop_oneof![any::<u32>(), 0u32..4, (u32::MAX - 3)..=u32::MAX], 0..400),
            moved in prop::collection::vec(any::<prop::sample::Index>(), 0..50),
        ) {
            let mut index = Index::with_room(Pool::new(0), hashes.len() / 3);
            let mut model = HashMap::new();
            for (at, hash) in (0u32..).zip(&hashes) {
                index.insert(*hash, at);
                model.insert(at, *hash);
            }
            for (more, chosen) in (0u32..).zip(&moved) {
                let mut places: Vec<_> = model.keys().copied().collect();
                places.sort_unstable();
                let Some(old) = places.get(chosen.index(places.len().max(1))) else { break };
                let hash = model.remove(old).unwrap();
                let at = u32::MAX - 1 - more;
                index.replace(hash, *old, at);
                model.insert(at, hash);
            }
            prop_assert_eq!(index.len(), model.len());
            for (at, hash) in &model {
                prop_assert_eq!(index.find(*hash, |found| found == *at), Some(*at));
                prop_assert_eq!(index.find(hash ^ 0x100, |found| found == *at), None);
            }
        }
    }
}
