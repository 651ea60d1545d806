//! A large map outside the arena: its entries in ascending order, cut into chunks that snapshots
//! share.
//!
//! # Invariants
//! - Chunks are never empty, their key ranges are disjoint and ascending; so are the keys of a
//!   chunk's index.
//! - A fence's prefix is that of its chunk's first key.
//! - A chunk that a snapshot shares is copied before it is changed: a write copies at most one
//!   chunk and, once for each snapshot, the list of fences.

use std::sync::Arc;

use crate::packed_map::{self, MapEntry};

/// Entry bytes above which a chunk is cut in two.
const CHUNK_BYTES_MAX: usize = 4_096;

/// Room that a chunk grows by.
const GROWTH_BYTES: usize = 512;

/// Bytes that a chunk takes beside its contents.
const CHUNK_OVERHEAD: usize = size_of::<Chunk>() + 16 + size_of::<Fence>();

/// The first eight bytes of a key as a number that sorts like them.
#[inline]
pub(crate) fn key_prefix(key: &[u8]) -> u64 {
    if let Some(bytes) = key.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    key.iter()
        .zip((0..8u32).rev())
        .fold(0, |prefix, (byte, place)| prefix | u64::from(*byte) << (8 * place))
}

/// A sorted run of map entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunk {
    /// Entries in any order, among them dead ones.
    bytes: Vec<u8>,
    /// Where the live entries start, ascending by user key.
    index: Vec<u32>,
    dead_bytes: usize,
}

impl Chunk {
    /// Bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.index.capacity() * 4 + CHUNK_OVERHEAD
    }

    fn live_bytes(&self) -> usize {
        self.bytes.len() - self.dead_bytes
    }

    fn entry(&self, position: usize) -> Option<MapEntry<'_>> {
        MapEntry::read(&self.bytes, *self.index.get(position)? as usize)
    }

    fn first_key(&self) -> &[u8] {
        self.entry(0).map_or(&[], |entry| entry.user_key)
    }

    /// The entries in ascending order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = MapEntry<'_>> {
        self.index.iter().filter_map(|at| MapEntry::read(&self.bytes, *at as usize))
    }

    fn position(&self, user_key: &[u8]) -> Result<usize, usize> {
        self.index.binary_search_by(|at| {
            MapEntry::read(&self.bytes, *at as usize)
                .map_or(&[][..], |entry| entry.user_key)
                .cmp(user_key)
        })
    }

    /// Adds an entry with a key above all others.
    pub(crate) fn push(&mut self, entry: &MapEntry<'_>) {
        self.insert(self.index.len(), entry);
    }

    fn insert(&mut self, position: usize, entry: &MapEntry<'_>) {
        let at = self.write(entry);
        self.index.insert(position.min(self.index.len()), at);
    }

    fn write(&mut self, entry: &MapEntry<'_>) -> u32 {
        let at = self.bytes.len();
        if entry.bytes() > self.bytes.capacity() - at {
            self.bytes.reserve_exact(entry.bytes().max(GROWTH_BYTES));
        }
        entry.write(&mut self.bytes);
        at as u32
    }

    /// Stores a value under the key at `position`.
    fn replace(&mut self, position: usize, entry: &MapEntry<'_>) {
        let Some(at) = self.index.get(position).map(|at| *at as usize) else { return };
        let Some(old) = MapEntry::read(&self.bytes, at) else { return };
        if old.value.len() == entry.value.len() {
            let place = old.value_range(at);
            packed_map::overwrite(Some(&mut self.bytes), at, place, entry);
            return;
        }
        self.dead_bytes += old.bytes();
        let at = self.write(entry);
        if let Some(place) = self.index.get_mut(position) {
            *place = at;
        }
        self.compact_if_wasteful();
    }

    fn remove(&mut self, position: usize) {
        let Some(entry) = self.entry(position) else { return };
        self.dead_bytes += entry.bytes();
        self.index.remove(position);
        self.compact_if_wasteful();
    }

    fn compact_if_wasteful(&mut self) {
        if self.dead_bytes > GROWTH_BYTES && self.dead_bytes > self.bytes.len() / 2 {
            *self = Self::collect(self.entries());
        }
    }

    /// A chunk of entries that come in ascending order.
    pub(crate) fn collect<'a>(entries: impl Iterator<Item = MapEntry<'a>>) -> Self {
        let mut chunk = Self::default();
        entries.for_each(|entry| chunk.push(&entry));
        chunk
    }

    /// Cuts off what goes to a chunk after this one: the later half, or just the last entry if keys
    /// arrive in order.
    fn split_off(&mut self, ascending: bool) -> Self {
        let count = self.index.len();
        let keep = if ascending { count - 1 } else { count / 2 };
        let tail = Self::collect(self.entries().skip(keep));
        if ascending {
            self.remove(keep);
        } else {
            *self = Self::collect(self.entries().take(keep));
        }
        tail
    }

    fn is_oversized(&self) -> bool {
        self.live_bytes() > CHUNK_BYTES_MAX && self.index.len() > 1
    }
}

/// A chunk and the prefix of its first key, so that a search mostly stays within the fences.
#[derive(Clone, Debug)]
struct Fence {
    prefix: u64,
    chunk: Arc<Chunk>,
}

impl Fence {
    fn new(chunk: Chunk) -> Self {
        Self { prefix: key_prefix(chunk.first_key()), chunk: Arc::new(chunk) }
    }
}

/// A map of any size. Cloning shares its chunks.
#[derive(Clone, Debug, Default)]
pub(crate) struct MapChunks {
    fences: Vec<Fence>,
    chunk_bytes: usize,
}

impl MapChunks {
    /// An empty map.
    pub(crate) const fn new() -> Self {
        Self { fences: Vec::new(), chunk_bytes: 0 }
    }

    /// Bytes of memory held.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// Whether there is no user key.
    pub(crate) const fn is_empty(&self) -> bool {
        self.fences.is_empty()
    }

    /// The entries in ascending order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = MapEntry<'_>> {
        self.fences.iter().flat_map(|fence| fence.chunk.entries())
    }

    /// The only chunk that may hold `user_key`.
    fn chunk_of(&self, user_key: &[u8]) -> usize {
        let prefix = key_prefix(user_key);
        let after = self.fences.partition_point(|fence| {
            fence.prefix < prefix || (fence.prefix == prefix && fence.chunk.first_key() <= user_key)
        });
        after.saturating_sub(1)
    }

    /// The value of a user key.
    pub(crate) fn get(&self, user_key: &[u8]) -> Option<&[u8]> {
        let chunk = &self.fences.get(self.chunk_of(user_key))?.chunk;
        let entry = chunk.entry(chunk.position(user_key).ok()?)?;
        Some(entry.value)
    }

    /// Adds an entry with a key above all others.
    pub(crate) fn push(&mut self, entry: &MapEntry<'_>) {
        if self.fences.is_empty() {
            self.insert_first(entry);
            return;
        }
        self.change(self.fences.len() - 1, |chunk| {
            chunk.push(entry);
            true
        });
    }

    /// Sets the value of a user key.
    pub(crate) fn put(&mut self, entry: &MapEntry<'_>) {
        if self.fences.is_empty() {
            self.insert_first(entry);
            return;
        }
        self.change(self.chunk_of(entry.user_key), |chunk| match chunk.position(entry.user_key) {
            Ok(position) => {
                chunk.replace(position, entry);
                false
            }
            Err(position) => {
                chunk.insert(position, entry);
                position + 1 == chunk.index.len()
            }
        });
    }

    /// Removes a user key.
    pub(crate) fn remove(&mut self, user_key: &[u8]) {
        let at = self.chunk_of(user_key);
        let Some(position) =
            self.fences.get(at).and_then(|fence| fence.chunk.position(user_key).ok())
        else {
            return;
        };
        self.change(at, |chunk| {
            chunk.remove(position);
            false
        });
    }

    fn insert_first(&mut self, entry: &MapEntry<'_>) {
        let chunk = Chunk::collect(core::iter::once(*entry));
        self.chunk_bytes += chunk.memory_bytes();
        self.fences.push(Fence::new(chunk));
    }

    /// Changes chunk `at` and restores the invariants. `edit` says whether the last entry is new.
    fn change(&mut self, at: usize, edit: impl FnOnce(&mut Chunk) -> bool) {
        let Some(fence) = self.fences.get_mut(at) else { return };
        self.chunk_bytes -= fence.chunk.memory_bytes();
        let chunk = Arc::make_mut(&mut fence.chunk);
        let appended = edit(chunk);
        let tail = chunk.is_oversized().then(|| chunk.split_off(appended));
        if chunk.index.is_empty() {
            self.fences.remove(at);
            return;
        }
        self.chunk_bytes += chunk.memory_bytes();
        fence.prefix = key_prefix(fence.chunk.first_key());
        if let Some(tail) = tail {
            self.chunk_bytes += tail.memory_bytes();
            self.fences.insert(at + 1, Fence::new(tail));
            self.split_until_small(at + 1);
        }
    }

    /// A half may still be too large if entries differ much in size.
    fn split_until_small(&mut self, at: usize) {
        if self.fences.get(at).is_some_and(|fence| fence.chunk.is_oversized()) {
            self.change(at, |_| false);
        }
    }

    /// Chunk `at`, in the order of keys.
    pub(crate) fn chunk(&self, at: usize) -> Option<&Arc<Chunk>> {
        Some(&self.fences.get(at)?.chunk)
    }

    /// Puts `rebuilt` into the place of chunk `at`, cut up as needed; returns the place after it.
    pub(crate) fn replace_chunk(&mut self, at: usize, rebuilt: Chunk) -> usize {
        let Some(old) = self.fences.get_mut(at) else { return at + 1 };
        self.chunk_bytes -= old.chunk.memory_bytes();
        if rebuilt.index.is_empty() {
            self.fences.remove(at);
            return at;
        }
        self.chunk_bytes += rebuilt.memory_bytes();
        *old = Fence::new(rebuilt);
        let others = self.fences.len() - at;
        self.split_all(at);
        self.fences.len() + 1 - others
    }

    /// Splits chunk `at`, and the chunks that this makes, until none is oversized.
    fn split_all(&mut self, at: usize) {
        let mut work = vec![at];
        while let Some(at) = work.pop() {
            if self.fences.get(at).is_some_and(|fence| fence.chunk.is_oversized()) {
                let before = self.fences.len();
                self.change(at, |_| false);
                let made = self.fences.len() - before;
                work.extend(at..=at + made);
            }
        }
    }
}
