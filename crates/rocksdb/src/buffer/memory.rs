//! Memory in huge pages, where the system has them.
//!
//! Records and their index are read at random places. In pages of 4 KiB nearly each read would
//! also miss the processor's translations of addresses, which reach over a few megabytes; in pages
//! of [`HUGE_PAGE_BYTES`] they reach over a whole buffer.

use core::ops::{Deref, DerefMut, Range};

use memmap2::MmapMut;

/// Bytes of a huge page. Less memory than this is taken from the allocator.
pub(crate) const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A piece of memory that does not move.
pub(crate) enum Memory {
    /// From the allocator.
    Small(Box<[u8]>),
    /// From the system; the range starts with a huge page.
    Mapped(MmapMut, Range<usize>),
}

impl Memory {
    /// So many zeros. The system hands them out as they are touched.
    pub(crate) fn zeroed(bytes: usize) -> Self {
        let mapped = (bytes >= HUGE_PAGE_BYTES).then(|| map(bytes)).flatten();
        mapped.unwrap_or_else(|| Self::Small(vec![0; bytes].into_boxed_slice()))
    }
}

/// Maps memory, if the system grants that.
fn map(bytes: usize) -> Option<Memory> {
    let map = MmapMut::map_anon(bytes.checked_add(HUGE_PAGE_BYTES)?).ok()?;
    // A system without huge pages gives others.
    #[cfg(target_os = "linux")]
    drop(map.advise(memmap2::Advice::HugePage));
    let start = map.as_ptr().align_offset(HUGE_PAGE_BYTES);
    let range = start..start.checked_add(bytes)?;
    map.get(range.clone())?;
    Some(Memory::Mapped(map, range))
}

impl Deref for Memory {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Mapped(map, range) => map.get(range.clone()).unwrap_or_default(),
        }
    }
}

impl DerefMut for Memory {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Mapped(map, range) => map.get_mut(range.clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zero_and_large_memory_starts_with_a_huge_page() {
        for bytes in [0, 100, HUGE_PAGE_BYTES - 1, HUGE_PAGE_BYTES, 3 * HUGE_PAGE_BYTES + 5] {
            let mut memory = Memory::zeroed(bytes);
            assert_eq!(memory.len(), bytes);
            assert!(memory.iter().all(|byte| *byte == 0));
            memory.fill(7);
            assert!(memory.iter().all(|byte| *byte == 7));
            if bytes >= HUGE_PAGE_BYTES {
                assert_eq!(memory.as_ptr().align_offset(HUGE_PAGE_BYTES), 0);
            }
        }
    }
}
