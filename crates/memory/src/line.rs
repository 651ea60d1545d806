//! Sixteen slots of a segment's index: a tag each, so that a search looks at all of them at once.
//!
//! A tag is [`EMPTY`], [`DELETED`] or eight bits of the entry's hash ([`tag_of`]).
//!
//! # Invariants
//! - A line with an empty slot was never full since its index was built, so no probe ever went past
//!   it: a search may end there. That is why deleting from a full line leaves [`DELETED`] behind.

use wide::u8x16;

/// Slots in a line.
pub(crate) const SLOTS: usize = 16;

/// Tag of a slot that no entry was ever put into.
const EMPTY: u8 = 0;

/// Tag of a slot whose entry is gone.
const DELETED: u8 = 1;

/// The tag of an entry with this hash: neither empty nor deleted.
#[inline]
pub(crate) const fn tag_of(hash: u64) -> u8 {
    let tag = (hash >> 40) as u8;
    if tag < 2 { tag + 2 } else { tag }
}

/// The tags of sixteen slots.
#[derive(Clone, Copy, Debug)]
#[repr(align(16))]
pub(crate) struct Line {
    tags: [u8; SLOTS],
}

/// Some of the slots of a line: bit `i` is slot `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotSet(u32);

impl SlotSet {
    const ALL: Self = Self((1 << SLOTS) - 1);

    /// Whether there are no slots.
    #[inline]
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One of the slots; any slot of the line if there are none.
    #[inline]
    pub(crate) const fn first(self) -> usize {
        self.0.trailing_zeros() as usize & (SLOTS - 1)
    }

    /// Whether `slot` is among them.
    #[inline]
    pub(crate) const fn contains(self, slot: usize) -> bool {
        self.0 & (1 << slot) != 0
    }
}

impl Iterator for SlotSet {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let slot = self.first();
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

impl Line {
    /// A line of empty slots.
    pub(crate) const EMPTY: Self = Self { tags: [EMPTY; SLOTS] };

    #[inline(always)]
    fn tags(&self) -> u8x16 {
        u8x16::new(self.tags)
    }

    /// The slots whose tag is `tag`.
    #[inline(always)]
    pub(crate) fn candidates(&self, tag: u8) -> SlotSet {
        SlotSet(self.tags().simd_eq(u8x16::splat(tag)).to_bitmask())
    }

    /// Whether there is an empty slot.
    #[inline]
    pub(crate) fn has_empty(&self) -> bool {
        !self.candidates(EMPTY).is_empty()
    }

    /// The empty slots.
    #[inline]
    fn empties(&self) -> SlotSet {
        self.candidates(EMPTY)
    }

    /// The slots that an entry can be put into.
    #[inline]
    pub(crate) fn free(&self) -> SlotSet {
        let tags = self.tags();
        SlotSet(tags.min(u8x16::splat(DELETED)).simd_eq(tags).to_bitmask())
    }

    /// The slots that hold an entry.
    #[inline]
    pub(crate) fn live(&self) -> SlotSet {
        SlotSet(self.free().0 ^ SlotSet::ALL.0)
    }

    /// Puts an entry into slot `slot`.
    #[inline]
    pub(crate) fn set_tag(&mut self, slot: usize, tag: u8) {
        if let Some(place) = self.tags.get_mut(slot) {
            *place = tag;
        }
    }

    /// Takes the entry out of slot `slot`. Returns whether the slot is as good as never used.
    #[inline]
    pub(crate) fn clear(&mut self, slot: usize) -> bool {
        let never_full = self.has_empty();
        self.set_tag(slot, if never_full { EMPTY } else { DELETED });
        never_full
    }

    /// Whether slot `slot` is empty, not merely deleted.
    #[inline]
    pub(crate) fn is_empty_slot(&self, slot: usize) -> bool {
        self.empties().contains(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_of_a_line_that_was_full_is_deleted_and_of_another_empty() {
        let mut line = Line::EMPTY;
        line.set_tag(3, 9);
        assert!(line.clear(3));
        assert_eq!(line.empties(), SlotSet::ALL);
        for slot in 0..SLOTS {
            line.set_tag(slot, 200);
        }
        assert!(!line.has_empty());
        assert!(!line.clear(5));
        assert!(!line.has_empty() && !line.is_empty_slot(5));
        assert_eq!(line.free().collect::<Vec<_>>(), [5]);
        assert_eq!(line.live().count(), SLOTS - 1);
    }

    #[test]
    fn tags_of_all_values_are_told_apart() {
        let mut rng = 1u64;
        let rounds = if cfg!(miri) { 20 } else { 5_000 };
        for _ in 0..rounds {
            let mut line = Line::EMPTY;
            let mut tags = [0u8; SLOTS];
            for (slot, tag) in tags.iter_mut().enumerate() {
                rng = rng.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let choices = [0, 1, 2, 3, 0x7f, 0x80, 0x81, 0xff, (rng >> 40) as u8];
                *tag = choices[(rng >> 50) as usize % choices.len()];
                line.set_tag(slot, *tag);
            }
            let slots = |test: &dyn Fn(u8) -> bool| {
                (0..SLOTS).filter(|slot| test(tags[*slot])).collect::<Vec<_>>()
            };
            let sorted = |set: SlotSet| {
                let mut slots: Vec<_> = set.collect();
                slots.sort_unstable();
                slots
            };
            assert_eq!(sorted(line.empties()), slots(&|tag| tag == 0));
            assert_eq!(sorted(line.free()), slots(&|tag| tag < 2));
            assert_eq!(sorted(line.live()), slots(&|tag| tag >= 2));
            assert_eq!(line.has_empty(), tags.contains(&0));
            for tag in [2, 3, 0x80, 0xff] {
                assert_eq!(sorted(line.candidates(tag)), slots(&|t| t == tag));
            }
        }
    }

    #[test]
    fn tags_are_never_those_of_free_slots() {
        assert!((0..=255u64).all(|bits| tag_of(bits << 40) >= 2));
    }
}
