//! Where a record is: the slot of its segment and the offset in it, in 36 bits.
//!
//! Offsets are multiples of 8 bytes; how many bits they take follows from the size of segments. A
//! larger segment holds one record, at its front.

use crate::index::LOCATION_BITS;
use crate::record::ALIGNMENT;

/// How locations are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Locations {
    offset_bits: u32,
}

impl Locations {
    /// For segments of at most `segment_bytes`.
    pub(crate) const fn new(segment_bytes: usize) -> Self {
        let units = segment_bytes.div_ceil(ALIGNMENT);
        Self { offset_bits: usize::BITS - units.leading_zeros() }
    }

    /// Slots that locations can name.
    pub(crate) const fn slots_max(self) -> usize {
        1 << (LOCATION_BITS - self.offset_bits)
    }

    /// The location of the record at `offset` of the segment in `slot`.
    #[inline(always)]
    pub(crate) const fn join(self, slot: u32, offset: usize) -> u64 {
        (slot as u64) << self.offset_bits | (offset / ALIGNMENT) as u64
    }

    /// Slot and offset.
    #[inline(always)]
    pub(crate) const fn split(self, location: u64) -> (u32, usize) {
        let units = location & ((1 << self.offset_bits) - 1);
        ((location >> self.offset_bits) as u32, units as usize * ALIGNMENT)
    }
}
