//! One cache line of a segment's index: sixteen slots, each a tag and the place of an entry.
//!
//! ```text
//!  0                                      48              64
//! +--------------------------------------+---------------+
//! | 16 offsets, 3 bytes each, LE         | 16 tags       |
//! +--------------------------------------+---------------+
//! ```
//!
//! A tag is [`EMPTY`], [`DELETED`] or eight bits of the entry's hash ([`tag_of`]); an offset is
//! where in the segment's arena the entry starts.
//!
//! # Invariants
//! - A line with an empty slot was never full since its index was built, so no probe ever went past
//!   it: a search may end there. That is why deleting from a full line leaves [`DELETED`] behind.
//! - The offset of an empty or deleted slot means nothing.

/// Slots in a line.
pub(crate) const SLOTS: usize = 16;

/// Bytes that an offset can address.
pub(crate) const OFFSET_LIMIT: usize = 1 << 24;

/// Tag of a slot that no entry was ever put into.
const EMPTY: u8 = 0;

/// Tag of a slot whose entry is gone.
const DELETED: u8 = 1;

const TAGS_AT: usize = 48;

/// The tag of an entry with this hash: neither empty nor deleted.
#[inline]
pub(crate) const fn tag_of(hash: u64) -> u8 {
    let tag = (hash >> 40) as u8;
    if tag < 2 { tag + 2 } else { tag }
}

/// Sixteen slots in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Line {
    bytes: [u8; 64],
}

impl Line {
    /// A line of empty slots.
    pub(crate) const EMPTY: Self = Self { bytes: [EMPTY; 64] };

    #[inline]
    fn tags(&self) -> u128 {
        u128::from_le_bytes(self.bytes.last_chunk().copied().unwrap_or_default())
    }

    /// Some bits of the line, for a caller that wants it in the cache.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        self.tags() as u64
    }

    /// One bit for each slot whose tag is `tag`.
    #[inline]
    pub(crate) fn matching(&self, tag: u8) -> u32 {
        equal_bytes(self.tags(), tag)
    }

    /// One bit for each empty slot.
    #[inline]
    pub(crate) fn empties(&self) -> u32 {
        equal_bytes(self.tags(), EMPTY)
    }

    /// One bit for each slot that an entry can be put into.
    #[inline]
    pub(crate) fn free(&self) -> u32 {
        self.empties() | self.matching(DELETED)
    }

    /// One bit for each slot that holds an entry.
    #[inline]
    pub(crate) fn live(&self) -> u32 {
        !self.free() & 0xffff
    }

    /// The offset in slot `slot`.
    #[inline]
    pub(crate) fn offset(&self, slot: usize) -> usize {
        // Four bytes are read in one go: past the last offset there are tags, masked away.
        let at = slot * 3;
        let word = self.bytes.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
        word.map_or(OFFSET_LIMIT, |word| (u32::from_le_bytes(*word) & 0x00ff_ffff) as usize)
    }

    /// Puts an entry into slot `slot`.
    #[inline]
    pub(crate) fn set(&mut self, slot: usize, tag: u8, offset: usize) {
        self.set_tag(slot, tag);
        self.set_offset(slot, offset);
    }

    /// Moves the entry in slot `slot`.
    #[inline]
    pub(crate) fn set_offset(&mut self, slot: usize, offset: usize) {
        debug_assert!(offset < OFFSET_LIMIT, "offset {offset} does not fit a line");
        let [a, b, c, _] = (offset as u32).to_le_bytes();
        if let Some(place) = self.bytes.get_mut(slot * 3..slot * 3 + 3) {
            place.copy_from_slice(&[a, b, c]);
        }
    }

    /// Takes the entry out of slot `slot`. Returns whether the slot is as good as never used.
    #[inline]
    pub(crate) fn clear(&mut self, slot: usize) -> bool {
        let never_full = self.empties() != 0;
        self.set_tag(slot, if never_full { EMPTY } else { DELETED });
        never_full
    }

    /// Whether slot `slot` is empty, not merely deleted.
    #[inline]
    pub(crate) fn is_empty_slot(&self, slot: usize) -> bool {
        self.empties() & (1 << slot) != 0
    }

    #[inline]
    fn set_tag(&mut self, slot: usize, tag: u8) {
        if let Some(place) = self.bytes.get_mut(TAGS_AT + slot) {
            *place = tag;
        }
    }
}

/// One bit for each of the sixteen bytes of `word` that equals `byte`.
#[inline]
const fn equal_bytes(word: u128, byte: u8) -> u32 {
    equal_bytes_of_half(word as u64, byte) | (equal_bytes_of_half((word >> 64) as u64, byte) << 8)
}

/// The same for eight bytes, within a general-purpose register.
#[inline]
const fn equal_bytes_of_half(word: u64, byte: u8) -> u32 {
    const LOW_SEVEN: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differing = word ^ (byte as u64 * 0x0101_0101_0101_0101);
    // The high bit of each byte of `zero` is set where `differing` is 0, without carries between
    // bytes.
    let zero = !(((differing & LOW_SEVEN) + LOW_SEVEN) | differing | LOW_SEVEN);
    // Gathers the eight high bits.
    (((zero >> 7).wrapping_mul(0x0102_0408_1020_4080)) >> 56) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_keep_their_tag_and_offset_apart_from_their_neighbours() {
        let mut line = Line::EMPTY;
        for slot in 0..SLOTS {
            line.set(slot, slot as u8 + 2, OFFSET_LIMIT - 1 - slot);
        }
        for slot in 0..SLOTS {
            assert_eq!(line.offset(slot), OFFSET_LIMIT - 1 - slot);
            assert_eq!(line.matching(slot as u8 + 2), 1 << slot);
        }
        assert_eq!(line.live(), 0xffff);
    }

    #[test]
    fn a_slot_of_a_line_that_was_full_is_deleted_and_of_another_empty() {
        let mut line = Line::EMPTY;
        line.set(3, 9, 77);
        assert!(line.clear(3));
        assert_eq!(line.empties(), 0xffff);
        for slot in 0..SLOTS {
            line.set(slot, 200, slot);
        }
        assert!(!line.clear(5));
        assert_eq!((line.empties(), line.free(), line.live()), (0, 1 << 5, 0xffff & !(1 << 5)));
    }

    #[test]
    fn equal_bytes_are_found_one_by_one() {
        let mut word = 0x0001_0180_81ff_fe7f_0000_0100_ff01_0002_u128;
        for _ in 0..2_000 {
            for byte in [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff] {
                let bytes = word.to_le_bytes();
                let expected = (0..16).filter(|i| bytes[*i] == byte).map(|i| 1 << i).sum::<u32>();
                assert_eq!(equal_bytes(word, byte), expected, "{word:x}");
            }
            word = word.rotate_left(13).wrapping_mul(0x0100_0001_0000_0000_0000_013b) ^ (word >> 7);
        }
    }

    #[test]
    fn tags_are_never_those_of_free_slots() {
        assert!((0..=255u64).all(|bits| tag_of(bits << 40) >= 2));
    }
}
