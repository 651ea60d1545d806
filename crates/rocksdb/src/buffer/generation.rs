//! What was written, and some of what was read, since the last freeze: a hash table over an arena.
//!
//! # Invariants
//! - At most one record of a key is alive. A new value takes its place in the arena if there is
//!   room, and else leaves it dead.
//! - All records of a map are linked from the map's own record.
//! - A generation that was frozen does not change any more.
//! - A write that finds no room changes nothing that can be seen: add room and repeat it.

use std::sync::OnceLock;

use millpond_state::{Result, check_value_len};
use prefetch_index::prefetch_index;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::arena::{Arena, PAGED_BYTES_MAX};
use super::index::Index;
use super::maps::{MapHead, Tree};
use super::pool::{Limit, PAGE_BYTES, Pool};
use super::record::{self, Kind, NOWHERE, Record, record_bytes};

/// Sets hashes of maps apart from those of their user keys.
const MAP_SEED: u64 = 1;

/// A key, hashed once.
#[derive(Clone, Copy)]
pub(crate) struct Key<'k> {
    pub(crate) bytes: &'k [u8],
    hash: u32,
    /// Bytes of the map's entry that the key starts with; 0 if it is no map's.
    map_bytes: usize,
}

impl<'k> Key<'k> {
    /// The key of an entry that is no map.
    #[inline]
    pub(crate) fn new(bytes: &'k [u8]) -> Self {
        Self { bytes, hash: fold(xxh3_64(bytes)), map_bytes: 0 }
    }

    /// The key of a user key, behind a map's entry of so many bytes.
    #[inline]
    pub(crate) fn in_map(bytes: &'k [u8], map_bytes: usize) -> Self {
        Self { map_bytes, ..Self::new(bytes) }
    }

    /// The key of a map as a whole.
    pub(super) fn of_map(entry: &'k [u8]) -> Self {
        Self { bytes: entry, hash: fold(xxh3_64_with_seed(entry, MAP_SEED)), map_bytes: 0 }
    }

    /// The map that the key belongs to.
    pub(super) fn map(&self) -> Option<Self> {
        let entry = self.bytes.get(..self.map_bytes)?;
        (!entry.is_empty()).then(|| Self::of_map(entry))
    }
}

const fn fold(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Bytes of a record that are asked for: those of one with a short key and value.
const PREFETCHED_BYTES: usize = 48;

/// Nothing was changed: there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Bytes of the record that did not fit.
    pub(crate) bytes: usize,
}

/// See the module.
pub(crate) struct Generation {
    pub(super) arena: Arena,
    index: Index,
    pub(super) trees: Vec<Tree>,
    /// Bytes of the trees.
    pub(super) tree_bytes: usize,
    /// Those of them that were charged to the pool.
    charged_bytes: usize,
    pool: Pool,
    writes: u64,
    cached_bytes: usize,
    pub(super) cleared_maps: u32,
    sorted: OnceLock<Vec<u32>>,
    scratch: Vec<u8>,
}

impl Generation {
    /// An empty one, with an index for so many records.
    pub(crate) fn new(pool: Pool, records: usize) -> Self {
        Self {
            arena: Arena::default(),
            index: Index::with_room(pool.clone(), records),
            trees: Vec::new(),
            charged_bytes: 0,
            tree_bytes: 0,
            pool,
            writes: 0,
            cached_bytes: 0,
            cleared_maps: 0,
            sorted: OnceLock::new(),
            scratch: Vec::new(),
        }
    }

    /// Records, those of maps included.
    pub(crate) const fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is nothing in it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// Whether something must be written out.
    pub(crate) const fn is_dirty(&self) -> bool {
        self.writes > 0
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let sorted = self.sorted.get().map_or(0, |sorted| sorted.len() * size_of::<u32>());
        self.arena.bytes() + self.index.bytes() + self.tree_bytes + sorted
    }

    /// Bytes that cached records have taken.
    pub(crate) const fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// Makes room for a record of so many bytes; tells if the pool had it.
    pub(crate) fn add_room(&mut self, bytes: usize, limit: Limit) -> bool {
        if bytes > PAGED_BYTES_MAX {
            let charged = self.pool.charge(bytes, limit);
            if charged {
                let unused = self.arena.add_block(bytes);
                self.pool.give_back(Vec::new(), unused);
            }
            return charged;
        }
        if self.arena.add_page() {
            return true;
        }
        let chunk = self.pool.take_chunk(limit);
        chunk.map(|chunk| self.arena.add_chunk(chunk)).is_some()
    }

    /// Whether no room can be added any more.
    pub(crate) const fn is_out_of_addresses(&self) -> bool {
        self.arena.is_out_of_addresses()
    }

    /// Bytes that [`Self::add_room`] takes for a record of so many bytes.
    pub(crate) const fn room_bytes(bytes: usize) -> usize {
        if bytes > PAGED_BYTES_MAX { bytes } else { PAGE_BYTES }
    }

    /// The record at `at`.
    #[inline]
    pub(crate) fn record(&self, at: u32) -> Record<'_> {
        Record::decode(self.arena.get(at))
    }

    /// Asks for the cache lines that a record starts with, without waiting for them.
    #[inline]
    pub(crate) fn prefetch_record(&self, at: u32) {
        let bytes = self.arena.get(at);
        prefetch_index(bytes, 0);
        prefetch_index(bytes, PREFETCHED_BYTES);
    }

    /// Asks for the part of the index that a key is found with, without waiting for it.
    #[inline]
    pub(crate) fn prefetch_index(&self, key: &Key<'_>) {
        self.index.prefetch(key.hash);
    }

    /// As [`Self::prefetch_record`], of the record that a key probably has; tells if there is one.
    #[inline]
    pub(crate) fn prefetch(&self, key: &Key<'_>) -> bool {
        let at = self.index.find(key.hash, |_| true);
        if let Some(at) = at {
            self.prefetch_record(at);
        }
        at.is_some()
    }

    /// Where the record of a key is.
    #[inline]
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<u32> {
        self.find_kind(key, false)
    }

    /// Where the record of a map is.
    pub(super) fn find_map(&self, map: &Key<'_>) -> Option<u32> {
        self.find_kind(map, true)
    }

    #[inline]
    fn find_kind(&self, key: &Key<'_>, is_map: bool) -> Option<u32> {
        self.index
            .find(key.hash, |at| Record::decode_key(self.arena.get(at)) == (key.bytes, is_map))
    }

    /// Sets what became of a key: [`Kind::Put`] or [`Kind::Delete`].
    #[inline]
    pub(crate) fn write(&mut self, key: &Key<'_>, kind: Kind, value: &[u8]) -> Result<(), Full> {
        self.set(key, kind, value, 0)?;
        self.writes += 1;
        Ok(())
    }

    /// Keeps a value of which the first `base` bytes are what lies below.
    pub(crate) fn cache(&mut self, key: &Key<'_>, value: &[u8], base: usize) -> Result<(), Full> {
        self.set(key, Kind::Cached, value, base)?;
        self.cached_bytes += record_bytes(key.bytes.len(), value.len());
        Ok(())
    }

    #[inline]
    fn set(&mut self, key: &Key<'_>, kind: Kind, value: &[u8], base: usize) -> Result<(), Full> {
        let Some(at) = self.find(key) else {
            return self.insert(key, draft(key, kind, value, value.len(), base));
        };
        let old = self.record(at);
        let (room, bytes, was_cached) = (old.room, old.bytes(), old.kind == Kind::Cached);
        if was_cached && kind != Kind::Cached {
            self.cached_bytes = self.cached_bytes.saturating_sub(bytes);
        }
        if value.len() <= room {
            record::overwrite(self.arena.get_mut(at), kind, value, base);
            return Ok(());
        }
        self.replace(at, key, draft(key, kind, value, value.len(), base))
    }

    /// Adds to what a key has.
    ///
    /// # Errors
    /// If the value grows too large.
    pub(crate) fn append(&mut self, key: &Key<'_>, more: &[u8]) -> Result<Result<(), Full>> {
        let done = match self.find(key) {
            None => self.insert(key, draft(key, Kind::Append, more, 2 * more.len(), 0)),
            Some(at) => self.append_at(at, key, more)?,
        };
        self.writes += u64::from(done.is_ok());
        Ok(done)
    }

    fn append_at(&mut self, at: u32, key: &Key<'_>, more: &[u8]) -> Result<Result<(), Full>> {
        let Record { kind, value, room, base, .. } = Record::decode(self.arena.get(at));
        if kind == Kind::Delete {
            return Ok(self.set(key, Kind::Put, more, 0));
        }
        let (len, bytes) = (value.len(), value.len() + more.len());
        check_value_len(bytes)?;
        if bytes <= room {
            record::extend(self.arena.get_mut(at), kind, len, more, base);
            return Ok(Ok(()));
        }
        let mut whole = core::mem::take(&mut self.scratch);
        whole.clear();
        whole.extend_from_slice(value);
        whole.extend_from_slice(more);
        let done = self.replace(at, key, draft(key, kind, &whole, 2 * bytes, base));
        self.scratch = whole;
        self.scratch.shrink_to(PAGE_BYTES);
        Ok(done)
    }

    /// Puts a larger record in the place of the one at `old`.
    fn replace(&mut self, old: u32, key: &Key<'_>, draft: Record<'_>) -> Result<(), Full> {
        let at = self.encode(draft)?;
        record::bury(self.arena.get_mut(old));
        self.index.replace(key.hash, old, at);
        self.link(key, at);
        Ok(())
    }

    fn insert(&mut self, key: &Key<'_>, draft: Record<'_>) -> Result<(), Full> {
        if let Some(map) = key.map()
            && self.find_map(&map).is_none()
        {
            self.insert_map(&map)?;
        }
        let at = self.encode(draft)?;
        self.enter(key, at);
        self.link(key, at);
        Ok(())
    }

    /// Inserts the record of a map that has none; returns where it is.
    pub(super) fn insert_map(&mut self, map: &Key<'_>) -> Result<u32, Full> {
        let empty = MapHead::EMPTY.encode();
        let at = self.encode(draft(map, Kind::Map, &empty, empty.len(), 0))?;
        self.enter(map, at);
        Ok(at)
    }

    fn encode(&mut self, draft: Record<'_>) -> Result<u32, Full> {
        let bytes = draft.bytes();
        let at = self.arena.allocate(bytes).ok_or(Full { bytes })?;
        draft.encode_into(self.arena.get_mut(at));
        Ok(at)
    }

    fn enter(&mut self, key: &Key<'_>, at: u32) {
        self.index.insert(key.hash, at);
    }

    /// Notes that something must be written out.
    pub(super) const fn note_write(&mut self) {
        self.writes += 1;
    }

    /// Charges what the trees take now. They grow with the arena, so that the limit holds by way of
    /// that.
    pub(super) fn charge(&mut self) {
        self.pool.charge(self.tree_bytes.saturating_sub(self.charged_bytes), Limit::Passed);
        self.charged_bytes = self.charged_bytes.max(self.tree_bytes);
    }

    /// Addresses of all records that must be written out, by key, a map before its user keys.
    pub(crate) fn sorted(&self) -> &[u32] {
        self.sorted.get_or_init(|| self.sort())
    }

    /// As [`Self::sorted`], for a generation that still changes.
    pub(crate) fn sort(&self) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.index.len());
        self.arena.for_each(&mut |at, record| {
            if record.is_dirty() {
                order.push((start_of(record.key), at));
            }
        });
        order.sort_unstable_by(|(left, a), (right, b)| {
            left.cmp(right).then_with(|| self.position(*a).cmp(&self.position(*b)))
        });
        order.into_iter().map(|(_, at)| at).collect()
    }

    /// What records sort by.
    pub(crate) fn position(&self, at: u32) -> (&[u8], bool) {
        let (key, is_map) = Record::decode_key(self.arena.get(at));
        (key, !is_map)
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        let charged = self.charged_bytes + self.arena.block_bytes();
        self.pool.give_back(self.arena.take_chunks(), charged);
    }
}

const fn draft<'a>(
    key: &Key<'a>,
    kind: Kind,
    value: &'a [u8],
    room: usize,
    base: usize,
) -> Record<'a> {
    Record { kind, key: key.bytes, value, room, base, next: NOWHERE }
}

/// The first bytes of a key, as a number that sorts as they do: sorting mostly needs no more.
fn start_of(key: &[u8]) -> u64 {
    let mut start = [0; 8];
    start.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(start)
}
