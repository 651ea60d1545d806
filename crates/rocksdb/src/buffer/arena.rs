//! Where the records of a generation are: chunks filled one after the other, page by page, and
//! blocks of their own for large records.
//!
//! # Invariants
//! - A record never crosses chunks. What a chunk has left when a record does not fit starts with a
//!   zero, which no record starts with.
//! - A record keeps its address.

use super::memory::{HUGE_PAGE_BYTES, Memory};
use super::pool::PAGE_BYTES;
use super::record::{Kind, Record};

/// Larger records have a block of their own.
pub(crate) const PAGED_BYTES_MAX: usize = PAGE_BYTES / 4;

/// Marks addresses of blocks.
const BLOCK_BIT: u32 = 1 << 31;

/// Bits of an address that say where in the chunk.
const OFFSET_BITS: u32 = HUGE_PAGE_BYTES.trailing_zeros();

const OFFSET_MASK: u32 = (1 << OFFSET_BITS) - 1;

/// Chunks that addresses reach.
const CHUNKS_MAX: usize = 1 << (31 - OFFSET_BITS);

/// Chunks and blocks.
#[derive(Default)]
pub(crate) struct Arena {
    /// Of whole pages each, and none larger than a huge page.
    chunks: Vec<Memory>,
    /// Bytes of all chunks but the last.
    full_bytes: usize,
    /// Bytes of the last chunk that may be used.
    granted: usize,
    /// Bytes used of the last chunk.
    tail: usize,
    blocks: Vec<Box<[u8]>>,
    block_bytes: usize,
    /// Room that is not in use yet.
    spare_block: Option<Box<[u8]>>,
}

impl Arena {
    /// Bytes of all pages and blocks.
    pub(crate) const fn bytes(&self) -> usize {
        self.full_bytes + self.granted + self.block_bytes
    }

    /// Bytes of the blocks.
    pub(crate) const fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Whether addresses reach no further chunk.
    pub(crate) const fn is_out_of_addresses(&self) -> bool {
        self.chunks.len() >= CHUNKS_MAX
    }

    /// Adds a page of the last chunk, if that has one more.
    pub(crate) fn add_page(&mut self) -> bool {
        let chunk_bytes = self.chunks.last().map_or(0, |chunk| chunk.len());
        let has_one = self.granted < chunk_bytes;
        self.granted += if has_one { PAGE_BYTES } else { 0 };
        has_one
    }

    /// Adds a chunk, and its first page, for what comes next.
    pub(crate) fn add_chunk(&mut self, chunk: Memory) {
        let tail = self.tail;
        if let Some(last) = self.chunks.last_mut() {
            self.full_bytes += last.len();
            if let Some(rest) = last.get_mut(tail..) {
                rest.iter_mut().take(4).for_each(|byte| *byte = 0);
            }
        }
        self.chunks.push(chunk);
        self.tail = 0;
        self.granted = PAGE_BYTES;
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
        if self.tail + bytes > self.granted {
            return None;
        }
        let chunk = u32::try_from(self.chunks.len() - 1).ok()?;
        let offset = u32::try_from(self.tail).ok()?;
        self.tail += bytes;
        Some(chunk << OFFSET_BITS | offset)
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
            let chunk = self.chunks.get((at >> OFFSET_BITS) as usize);
            chunk.and_then(|chunk| chunk.get((at & OFFSET_MASK) as usize..))
        } else {
            self.blocks.get((at & !BLOCK_BIT) as usize).map(|block| &block[..])
        };
        found.unwrap_or_default()
    }

    /// As [`Self::get`].
    #[inline]
    pub(crate) fn get_mut(&mut self, at: u32) -> &mut [u8] {
        let found = if at & BLOCK_BIT == 0 {
            let chunk = self.chunks.get_mut((at >> OFFSET_BITS) as usize);
            chunk.and_then(|chunk| chunk.get_mut((at & OFFSET_MASK) as usize..))
        } else {
            self.blocks.get_mut((at & !BLOCK_BIT) as usize).map(|block| &mut block[..])
        };
        found.unwrap_or_default()
    }

    /// Calls `visit` with each record, dead ones included, in the order of addresses.
    pub(crate) fn for_each<'a>(&'a self, visit: &mut dyn FnMut(u32, Record<'a>)) {
        for (number, chunk) in (0u32..).zip(&self.chunks) {
            let is_last = number as usize + 1 == self.chunks.len();
            let mut rest = chunk.get(..if is_last { self.tail } else { chunk.len() });
            let mut at = number << OFFSET_BITS;
            while let Some(bytes) = rest {
                let record = Record::decode(bytes);
                let len = record.bytes();
                if record.kind == Kind::End {
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

    /// All chunks, to be given back.
    pub(crate) fn take_chunks(&mut self) -> Vec<Memory> {
        core::mem::take(&mut self.chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::record::{NOWHERE, record_bytes};

    /// A chunk in which somebody else left records.
    fn used_chunk(bytes: usize) -> Memory {
        let mut chunk = Memory::zeroed(bytes);
        let left = Record { kind: Kind::Put, key: b"k", value: b"", room: 0, base: 0, next: 0 };
        let places = chunk.chunks_exact_mut(record_bytes(1, 0));
        places.for_each(|place| left.encode_into(place));
        chunk
    }

    #[test]
    fn all_records_are_visited_and_nothing_that_others_left() {
        for chunk_bytes in [PAGE_BYTES, 4 * PAGE_BYTES] {
            let (mut arena, mut put) = (Arena::default(), Vec::new());
            for number in 0..300_u32 {
                let value = vec![7; (number * 37 % 5_000) as usize];
                let bytes = record_bytes(4, value.len());
                let at = loop {
                    if let Some(at) = arena.allocate(bytes) {
                        break at;
                    }
                    match bytes {
                        _ if bytes > PAGED_BYTES_MAX => assert_eq!(arena.add_block(bytes), 0),
                        _ if arena.add_page() => {}
                        _ => arena.add_chunk(used_chunk(chunk_bytes)),
                    }
                };
                let key = number.to_le_bytes();
                let next = NOWHERE;
                let (kind, room) = (Kind::Put, value.len());
                let record = Record { kind, key: &key, value: &value, room, base: 0, next };
                record.encode_into(arena.get_mut(at));
                put.push((at, number));
            }
            let mut found = Vec::new();
            arena.for_each(&mut |at, record| {
                found.push((at, u32::from_le_bytes(record.key.try_into().unwrap_or_default())));
            });
            put.sort_unstable();
            assert_eq!(found, put);
            assert!(arena.bytes() >= put.len() * record_bytes(4, 0));
        }
    }
}
