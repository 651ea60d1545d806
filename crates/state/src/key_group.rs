//! Key groups: the unit in which keyed state is sharded, snapshot and moved between subtasks.
//!
//! A key belongs to exactly one key group for the whole life of a job:
//!
//! ```text
//! hash  = XXH3-64(key bytes), seed 0                       stable, part of the format
//! group = ((hash >> 32) * max_parallelism) >> 32           0 .. max_parallelism
//! ```
//!
//! Subtask `i` of `p` owns the contiguous range that Apache Flink's `KeyGroupRangeAssignment`
//! gives it, so that ranges of any two parallelisms overlap as little as possible. An engine that
//! assigns keys to groups in its own way passes its own [`KeyGroup`] in
//! [`EntryKey`](crate::EntryKey) instead.
//!
//! ```
//! use millpond_state::{KeyGroupRange, MaxParallelism};
//!
//! let max = MaxParallelism::new(128)?;
//! let ranges: Vec<String> = (0..3).map(|i| max.range_of(i, 3).map(|r| r.to_string()))
//!     .collect::<Result<_, _>>()?;
//! assert_eq!(ranges, ["0..=42", "43..=85", "86..=127"]);
//! # Ok::<(), millpond_state::StateError>(())
//! ```

use core::fmt;

use crate::error::{ErrorKind, Result, StateError};

/// Largest allowed number of key groups of a job.
pub const MAX_PARALLELISM_LIMIT: u32 = 32_768;

/// The stable hash of a key's encoded bytes: XXH3, 64 bits, seed 0.
///
/// The upper 32 bits choose the key group; backends may use the lower 32 bits for their own tables.
#[inline]
#[must_use]
pub fn key_hash(key: &[u8]) -> u64 {
    match <&[u8; 8]>::try_from(key) {
        Ok(word) => word_hash(u64::from_le_bytes(*word)),
        Err(_) => xxhash_rust::xxh3::xxh3_64(key),
    }
}

/// XXH3-64 of eight bytes with seed 0, inlined: records with integer keys are hashed one by one
/// where they are routed, and a call costs as much as the hash.
#[inline]
const fn word_hash(word: u64) -> u64 {
    /// Bytes 8 to 15 and 16 to 23 of XXH3's default secret, combined as the algorithm does.
    const BITFLIP: u64 = 0x1cad_21f7_2c81_017c ^ 0xdb97_9083_e96d_d4de;
    const PRIME: u64 = 0x9fb2_1c65_1e98_df25;
    let mut hash = word.rotate_left(32) ^ BITFLIP;
    hash ^= hash.rotate_left(49) ^ hash.rotate_left(24);
    hash = hash.wrapping_mul(PRIME);
    hash ^= (hash >> 35).wrapping_add(8);
    hash = hash.wrapping_mul(PRIME);
    hash ^ (hash >> 28)
}

/// A key group's number, below the job's max parallelism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(u16);

impl KeyGroup {
    /// Wraps a raw number. Whether it is below a job's max parallelism is checked where it is used.
    #[must_use]
    pub const fn new(raw: u16) -> Self {
        Self(raw)
    }

    /// The raw number.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The number as an index.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for KeyGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number of key groups of a job, 1 to [`MAX_PARALLELISM_LIMIT`]; fixed for the job's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaxParallelism(u32);

impl MaxParallelism {
    /// Checks and wraps a number of key groups.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if it is 0 or above [`MAX_PARALLELISM_LIMIT`].
    pub fn new(groups: u32) -> Result<Self> {
        if groups == 0 || groups > MAX_PARALLELISM_LIMIT {
            return Err(StateError::new(
                ErrorKind::InvalidArgument,
                format!("max parallelism must be 1 to {MAX_PARALLELISM_LIMIT}, not {groups}"),
            ));
        }
        Ok(Self(groups))
    }

    /// The number of key groups.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The key group of a key with this [`key_hash`].
    #[inline]
    #[must_use]
    pub const fn group_of_hash(self, hash: u64) -> KeyGroup {
        KeyGroup((((hash >> 32) * self.0 as u64) >> 32) as u16)
    }

    /// The subtask, of `parallelism`, that owns `group`. The exact inverse of [`Self::range_of`].
    #[inline]
    #[must_use]
    pub const fn subtask_of(self, group: KeyGroup, parallelism: u32) -> u32 {
        ((group.0 as u64 * parallelism as u64) / self.0 as u64) as u32
    }

    /// The key groups that subtask `index` of `parallelism` owns.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if `parallelism` is 0 or above the max parallelism, or
    /// `index` is not below `parallelism`.
    pub fn range_of(self, index: u32, parallelism: u32) -> Result<KeyGroupRange> {
        if parallelism == 0 || parallelism > self.0 {
            return Err(StateError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "parallelism must be 1 to the max parallelism {}, not {parallelism}",
                    self.0
                ),
            ));
        }
        if index >= parallelism {
            return Err(StateError::new(
                ErrorKind::InvalidArgument,
                format!("subtask index {index} is not below the parallelism {parallelism}"),
            ));
        }
        let (max, i, p) = (u64::from(self.0), u64::from(index), u64::from(parallelism));
        let first = (i * max).div_ceil(p);
        let last = ((i + 1) * max - 1) / p;
        Ok(KeyGroupRange { first: first as u16, last: last as u16 })
    }

    /// All key groups.
    #[must_use]
    pub const fn full_range(self) -> KeyGroupRange {
        KeyGroupRange { first: 0, last: (self.0 - 1) as u16 }
    }
}

impl fmt::Display for MaxParallelism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A contiguous, never empty range of key groups, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroupRange {
    first: u16,
    last: u16,
}

impl KeyGroupRange {
    /// The range from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if `first` is above `last`.
    pub fn new(first: KeyGroup, last: KeyGroup) -> Result<Self> {
        if first > last {
            return Err(StateError::new(
                ErrorKind::InvalidArgument,
                format!("key-group range {first}..={last} is empty"),
            ));
        }
        Ok(Self { first: first.0, last: last.0 })
    }

    /// The first key group.
    #[inline]
    #[must_use]
    pub const fn first(self) -> KeyGroup {
        KeyGroup(self.first)
    }

    /// The last key group.
    #[inline]
    #[must_use]
    pub const fn last(self) -> KeyGroup {
        KeyGroup(self.last)
    }

    /// How many key groups the range has, at least 1.
    #[inline]
    #[must_use]
    pub const fn count(self) -> usize {
        (self.last - self.first) as usize + 1
    }

    /// Whether `group` is in the range.
    #[inline]
    #[must_use]
    pub const fn contains(self, group: KeyGroup) -> bool {
        self.first <= group.0 && group.0 <= self.last
    }

    /// Whether every group of `other` is in this range.
    #[must_use]
    pub const fn contains_range(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// The groups that both ranges have, if any.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }

    /// The groups in ascending order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = KeyGroup> + Clone {
        (self.first..=self.last).map(KeyGroup)
    }
}

impl fmt::Display for KeyGroupRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_tile_all_groups_and_invert_to_their_subtask() {
        for max in [1, 2, 7, 128, 1000, 32_768] {
            let max = MaxParallelism::new(max).unwrap();
            for p in [1, 2, 3, 7, 8, 100] {
                if p > max.get() {
                    assert!(max.range_of(0, p).is_err());
                    continue;
                }
                let mut next = 0;
                for i in 0..p {
                    let range = max.range_of(i, p).unwrap();
                    assert_eq!(u32::from(range.first().get()), next, "{max} {p} {i}");
                    for group in range.iter() {
                        assert_eq!(max.subtask_of(group, p), i, "{max} {p} {group}");
                    }
                    next = u32::from(range.last().get()) + 1;
                }
                assert_eq!(next, max.get());
            }
        }
    }

    #[test]
    fn key_hash_and_groups_are_pinned_because_snapshots_depend_on_them() {
        let max = MaxParallelism::new(128).unwrap();
        let groups: Vec<(u64, u16)> = [b"".as_slice(), b"N14228", &7u64.to_be_bytes()]
            .iter()
            .map(|key| (key_hash(key), max.group_of_hash(key_hash(key)).get()))
            .collect();
        let pinned =
            [(0x2d06_8005_38d3_94c2, 22), (0x045b_f808_ce81_96a6, 2), (0xf8c0_126b_89b4_fafc, 124)];
        assert_eq!(groups, pinned);
    }

    #[test]
    fn the_short_way_for_eight_bytes_is_xxh3() {
        let mut word = 1u64;
        for _ in 0..10_000 {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            for bytes in [word.to_le_bytes(), (word >> 40).to_be_bytes()] {
                assert_eq!(key_hash(&bytes), xxhash_rust::xxh3::xxh3_64(&bytes));
            }
        }
    }

    #[test]
    fn hashes_spread_evenly_over_groups() {
        let max = MaxParallelism::new(128).unwrap();
        let mut counts = vec![0u32; 128];
        for key in 0..128_000u64 {
            counts[max.group_of_hash(key_hash(&key.to_be_bytes())).index()] += 1;
        }
        assert!(counts.iter().all(|n| (800..1200).contains(n)), "{counts:?}");
    }
}
