//! Where the records of a generation are: pages filled one after the other, and blocks of their own
//! for large records.
//!
//! # Invariants
//! - A record never crosses pages. What a page has left when a record does not fit starts with a
//!   zero, which no record starts with.
//! - A record keeps its address.

use super::pool::{PAGE_BYTES, Page};
use super::record::Record;

/// Larger records have a block of their own.
pub(crate) const PAGED_BYTES_MAX: usize = PAGE_BYTES / 4;

/// Marks addresses of blocks.
const BLOCK_BIT: u32 = 1 << 31;

/// Bits of an address that say where in the page.
const OFFSET_BITS: u32 = PAGE_BYTES.trailing_zeros();

const OFFSET_MASK: u32 = (1 << OFFSET_BITS) - 1;

/// Pages and blocks.
#[derive(Default)]
pub(crate) struct Arena {
    pages: Vec<Page>,
    /// Bytes used of the last page.
    tail: usize,
    blocks: Vec<Box<[u8]>>,
    block_bytes: usize,
    /// Room that is not in use yet.
    spare_page: Option<Page>,
    spare_block: Option<Box<[u8]>>,
}

impl Arena {
    /// Bytes of all pages and blocks.
    pub(crate) fn bytes(&self) -> usize {
        let pages = self.pages.len() + usize::from(self.spare_page.is_some());
        pages * PAGE_BYTES + self.block_bytes
    }

    /// Bytes of the blocks.
    pub(crate) const fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Adds a page for what comes next.
    pub(crate) fn add_page(&mut self, page: Page) {
        self.spare_page = Some(page);
    }

    /// Adds a block for a record of that size; returns the bytes of one that was never used.
    pub(crate) fn add_block(&mut self, bytes: usize) -> usize {
        let unused = self.spare_block.replace(vec![0; bytes].into_boxed_slice());
        let unused = unused.map_or(0, |block| block.len());
        self.block_bytes += bytes;
        self.block_bytes -= unused;
        unused
    }

    /// Room for a record of so many bytes, if there is.
    #[inline]
    pub(crate) fn allocate(&mut self, bytes: usize) -> Option<u32> {
        if bytes > PAGED_BYTES_MAX {
            return self.allocate_block(bytes);
        }
        if self.pages.is_empty() || self.tail + bytes > PAGE_BYTES {
            self.turn_page()?;
        }
        let page = u32::try_from(self.pages.len() - 1).ok()?;
        let offset = u32::try_from(self.tail).ok()?;
        self.tail += bytes;
        Some(page << OFFSET_BITS | offset)
    }

    fn turn_page(&mut self) -> Option<()> {
        let page = self.spare_page.take()?;
        let tail = self.tail;
        if let Some(rest) = self.pages.last_mut().and_then(|page| page.get_mut(tail..)) {
            rest.iter_mut().take(4).for_each(|byte| *byte = 0);
        }
        self.pages.push(page);
        self.tail = 0;
        Some(())
    }

    fn allocate_block(&mut self, bytes: usize) -> Option<u32> {
        let block = self.spare_block.take_if(|block| block.len() == bytes)?;
        self.blocks.push(block);
        Some(BLOCK_BIT | u32::try_from(self.blocks.len() - 1).ok()?)
    }

    /// The bytes from `at` on.
    #[inline]
    pub(crate) fn get(&self, at: u32) -> &[u8] {
        let found = if at & BLOCK_BIT == 0 {
            let page = self.pages.get((at >> OFFSET_BITS) as usize);
            page.and_then(|page| page.get((at & OFFSET_MASK) as usize..))
        } else {
            self.blocks.get((at & !BLOCK_BIT) as usize).map(|block| &block[..])
        };
        found.unwrap_or_default()
    }

    /// As [`Self::get`].
    #[inline]
    pub(crate) fn get_mut(&mut self, at: u32) -> &mut [u8] {
        let found = if at & BLOCK_BIT == 0 {
            let page = self.pages.get_mut((at >> OFFSET_BITS) as usize);
            page.and_then(|page| page.get_mut((at & OFFSET_MASK) as usize..))
        } else {
            self.blocks.get_mut((at & !BLOCK_BIT) as usize).map(|block| &mut block[..])
        };
        found.unwrap_or_default()
    }

    /// Calls `visit` with each record, dead ones included, in the order of addresses.
    pub(crate) fn for_each<'a>(&'a self, visit: &mut dyn FnMut(u32, Record<'a>)) {
        for (number, page) in (0u32..).zip(&self.pages) {
            let is_last = number as usize + 1 == self.pages.len();
            let mut rest = page.get(..if is_last { self.tail } else { PAGE_BYTES });
            let mut at = number << OFFSET_BITS;
            while let Some(bytes) = rest {
                let record = Record::decode(bytes);
                let len = record.bytes();
                if record.kind == super::record::Kind::End {
                    break;
                }
                visit(at, record);
                at += len as u32;
                rest = bytes.get(len..);
            }
        }
        for (number, block) in (0u32..).zip(&self.blocks) {
            visit(BLOCK_BIT | number, Record::decode(block));
        }
    }

    /// All pages, to be given back.
    pub(crate) fn take_pages(&mut self) -> Vec<Page> {
        self.pages.extend(self.spare_page.take());
        core::mem::take(&mut self.pages)
    }
}
