//! The checksum of a file from the pieces of it that happen to be read, in any order and by
//! anybody.
//!
//! # Invariants
//! - Each byte is hashed once, by whoever sees it first; ranges never overlap or adjoin.

use std::collections::BTreeMap;

use crc32fast::Hasher;

/// Which bytes of a file have been seen. Ranges are apart: adjoining ones are one.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// By first byte: one past the last, and the checksum of all between.
    ranges: BTreeMap<u64, (u64, Hasher)>,
}

impl Coverage {
    /// Takes the bytes from `offset` on. What was seen before is not looked at again.
    pub(super) fn see(&mut self, mut offset: u64, mut bytes: &[u8]) {
        loop {
            let before = self.ranges.range(..=offset).next_back();
            let known = before.map_or(0, |(_, (end, _))| end.saturating_sub(offset));
            bytes = bytes.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
            offset += known;
            if bytes.is_empty() {
                return;
            }
            let next = self.ranges.range(offset..).next().map(|(start, _)| start - offset);
            let room = next.map_or(usize::MAX, |room| usize::try_from(room).unwrap_or(usize::MAX));
            let (new, rest) = bytes.split_at(room.min(bytes.len()));
            self.insert(offset, new);
            (offset, bytes) = (offset + new.len() as u64, rest);
        }
    }

    /// Adds bytes none of which were seen.
    fn insert(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let after = self.ranges.remove(&end);
        let before = self.ranges.range_mut(..offset).next_back();
        let into = match before {
            Some((_, range)) if range.0 == offset => range,
            _ => self.ranges.entry(offset).or_insert_with(|| (offset, Hasher::new())),
        };
        into.1.update(bytes);
        into.0 = end;
        if let Some((end, hasher)) = after {
            into.1.combine(&hasher);
            into.0 = end;
        }
    }

    /// The first bytes below `len` that were not seen: from where, and how many.
    pub(super) fn gap(&self, len: u64) -> Option<(u64, u64)> {
        let start = self.ranges.get(&0).map_or(0, |(end, _)| *end);
        let end = self.ranges.range(start..).next().map_or(len, |(start, _)| *start);
        (start < len).then(|| (start, end.saturating_sub(start)))
    }

    /// The checksum of the first bytes up to where one is missing.
    pub(super) fn crc32(&self) -> u32 {
        self.ranges.get(&0).map_or(0, |(_, hasher)| hasher.clone().finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_any_order_and_overlapping_make_the_checksum_of_the_whole() {
        let mut seed = 7_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        for len in 1..60_usize {
            let bytes: Vec<u8> = (0..len).map(|_| random(256) as u8).collect();
            let mut coverage = Coverage::default();
            for _ in 0..random(12) {
                let from = random(len);
                let to = from + random(len - from + 1);
                coverage.see(from as u64, &bytes[from..to]);
            }
            while let Some((from, count)) = coverage.gap(len as u64) {
                assert!(count > 0 && from + count <= len as u64);
                let part = 1 + random(count as usize);
                coverage.see(from, &bytes[from as usize..from as usize + part]);
            }
            assert_eq!(coverage.crc32(), crc32fast::hash(&bytes));
            assert_eq!(coverage.ranges.len(), 1);
        }
        assert_eq!((Coverage::default().gap(0), Coverage::default().crc32()), (None, 0));
    }
}
