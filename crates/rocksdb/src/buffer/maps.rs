//! The user keys that one generation has of a map: a chain through the records while they are few,
//! and an ordered tree from then on.
//!
//! # Invariants
//! - Each record of a user key is linked once. A chain may still lead over dead records.
//! - A map that was cleared here shows nothing from below; its records here were deleted with it
//!   unless they were written since.

use core::ops::Bound;
use std::collections::{BTreeMap, btree_map};

use super::generation::{Full, Generation, Key};
use super::record::{self, Kind, NOWHERE, Record};

/// User keys of a chain. Sorting so many is cheaper than a tree that grows with each put.
const CHAIN_MAX: u32 = 256;

/// Bytes of a tree's entry besides the user key: its allocation, and its part of a node.
const TREE_ENTRY_BYTES: usize = 64;

/// Records by user key.
pub(crate) type Tree = BTreeMap<Box<[u8]>, u32>;

/// The value of a map's own record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MapHead {
    /// The record that was linked last.
    first: u32,
    /// Records of the chain.
    len: u32,
    /// The number of the map's tree.
    tree: u32,
}

impl MapHead {
    pub(super) const EMPTY: Self = Self { first: NOWHERE, len: 0, tree: NOWHERE };

    const BYTES: usize = 12;

    pub(super) fn encode(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        let (words, _) = out.as_chunks_mut::<4>();
        for (to, from) in words.iter_mut().zip([self.first, self.len, self.tree]) {
            *to = from.to_le_bytes();
        }
        out
    }

    fn decode(value: &[u8]) -> Self {
        let (words, _) = value.as_chunks::<4>();
        let [first, len, tree] = words else { return Self::EMPTY };
        let [first, len, tree] = [first, len, tree].map(|word| u32::from_le_bytes(*word));
        Self { first, len, tree }
    }
}

impl Generation {
    /// Links a record that is new.
    pub(super) fn link(&mut self, key: &Key<'_>, at: u32) {
        let Some(map) = key.map() else { return };
        let Some(map_at) = self.find_map(&map) else { return };
        let (mut head, is_cleared) = self.head(map_at);
        let user_key = key.bytes.get(map.bytes.len()..).unwrap_or_default();
        if let Some(tree) = self.trees.get_mut(head.tree as usize) {
            if tree.insert(user_key.into(), at).is_none() {
                self.tree_bytes += TREE_ENTRY_BYTES + user_key.len();
                self.charge();
            }
            return;
        }
        record::link(self.arena.get_mut(at), head.first);
        (head.first, head.len) = (at, head.len + 1);
        if head.len > CHAIN_MAX {
            head.tree = self.plant(head.first, map.bytes.len());
        }
        let base = usize::from(is_cleared);
        record::overwrite(self.arena.get_mut(map_at), Kind::Map, &head.encode(), base);
    }

    /// Makes a tree of a chain; returns its number.
    fn plant(&mut self, first: u32, map_bytes: usize) -> u32 {
        let user_key = |record: &Record<'_>| record.key.get(map_bytes..).unwrap_or_default().into();
        let tree: Tree = self.chain(first).map(|(at, record)| (user_key(&record), at)).collect();
        let bytes = tree.keys().map(|key| TREE_ENTRY_BYTES + key.len());
        self.tree_bytes += bytes.sum::<usize>();
        self.trees.push(tree);
        self.charge();
        u32::try_from(self.trees.len() - 1).unwrap_or(NOWHERE)
    }

    fn head(&self, map_at: u32) -> (MapHead, bool) {
        let record = self.record(map_at);
        (MapHead::decode(record.value), record.base == 1)
    }

    /// The records of a chain that are alive, newest first.
    fn chain(&self, first: u32) -> impl Iterator<Item = (u32, Record<'_>)> {
        let mut next = first;
        let links = core::iter::from_fn(move || {
            let at = next;
            let record = (at != NOWHERE).then(|| self.record(at))?;
            next = record.next;
            Some((at, record))
        });
        links.filter(|(_, record)| record.kind != Kind::Dead)
    }

    /// Deletes a map: what is here of it and whatever lies below.
    pub(crate) fn clear_map(&mut self, entry: &[u8]) -> Result<(), Full> {
        let map = Key::of_map(entry);
        let map_at = match self.find_map(&map) {
            Some(at) => at,
            None => self.insert_map(&map)?,
        };
        let (head, was_cleared) = self.head(map_at);
        let records: Vec<u32> = match self.trees.get(head.tree as usize) {
            Some(tree) => tree.values().copied().collect(),
            None => self.chain(head.first).map(|(at, _)| at).collect(),
        };
        for at in records {
            record::overwrite(self.arena.get_mut(at), Kind::Delete, &[], 0);
        }
        record::overwrite(self.arena.get_mut(map_at), Kind::Map, &head.encode(), 1);
        self.cleared_maps += u32::from(!was_cleared);
        self.note_write();
        Ok(())
    }

    /// Whether nothing of the map that `key` belongs to shows from below.
    #[inline]
    pub(crate) fn hides(&self, key: &Key<'_>) -> bool {
        self.cleared_maps > 0 && key.map().is_some_and(|map| self.is_cleared(&map))
    }

    fn is_cleared(&self, map: &Key<'_>) -> bool {
        self.find_map(map).is_some_and(|at| self.record(at).base == 1)
    }

    /// What the generation has of a map, from a user key on, and whether it hides what is below.
    pub(crate) fn map(&self, entry: &[u8], from: Bound<&[u8]>) -> (MapRecords<'_>, bool) {
        let none = MapRecords::Sorted(Vec::new().into_iter());
        let Some(map_at) = self.find_map(&Key::of_map(entry)) else { return (none, false) };
        let (head, is_cleared) = self.head(map_at);
        if let Some(tree) = self.trees.get(head.tree as usize) {
            let range = tree.range::<[u8], _>((from, Bound::Unbounded));
            return (MapRecords::Tree(range), is_cleared);
        }
        let after = |record: &Record<'_>| {
            let user_key = record.key.get(entry.len()..).unwrap_or_default();
            match from {
                Bound::Included(from) => user_key >= from,
                Bound::Excluded(from) => user_key > from,
                Bound::Unbounded => true,
            }
        };
        let chain = self.chain(head.first).filter(|(_, record)| after(record));
        let mut records: Vec<u32> = chain.map(|(at, _)| at).collect();
        records.sort_unstable_by(|a, b| self.position(*a).cmp(&self.position(*b)));
        (MapRecords::Sorted(records.into_iter()), is_cleared)
    }
}

/// Records of a map, by user key.
pub(crate) enum MapRecords<'a> {
    /// Of a chain.
    Sorted(std::vec::IntoIter<u32>),
    /// Of a tree.
    Tree(btree_map::Range<'a, Box<[u8]>, u32>),
}

impl Iterator for MapRecords<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match self {
            Self::Sorted(records) => records.next(),
            Self::Tree(range) => range.next().map(|(_, at)| *at),
        }
    }
}
