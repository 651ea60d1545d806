//! A small hash table whose entries live in one byte arena: some hundreds of entries, found through
//! an [`Index`] of tags, copied for a snapshot by copying a few buffers.
//!
//! ```text
//! index:  [tags] [tags] ...                            line chosen by hash bits 20 to 39
//! arena:  entry entry (hole) entry entry ...           see the entry layout
//! side:   large values and maps                        shared with snapshots piece by piece
//! ```
//!
//! As long as all entries have one size of at most [`UNIFORM_BYTES_MAX`], each lies where the
//! number of its slot says. The first one of another size adds offsets, and the arena is packed.
//!
//! # Invariants
//! - Uniform: the arena reaches as far as the last slot in use. Else: `dead_bytes` of the arena
//!   belong to no slot; past a quarter of the arena it is packed.
//! - Fails only before it changes anything: when memory is bounded, or when the arena of one
//!   segment would pass [`ARENA_BYTES_MAX`] (all keys in one segment: a broken key hash).

use millpond_state::{EntryKey, ErrorKind, Result, StateError};
use prefetch_index::prefetch_index;

use crate::blob::Blob;
use crate::entry_layout::{AREA_BYTES_MAX, Layout, NewEntry, SIDE_AREA_BYTES, entry_bytes};
use crate::env::Env;
use crate::index::Index;
use crate::map_chunks::MapChunks;
use crate::probe::{Probe, entry_hash};
use crate::short::short_key;
use crate::side::{SideObject, SideSlab};

/// Longest value in the arena.
pub(crate) const INLINE_BYTES_MAX: usize = 1_024;

/// Largest entry for which holes of its size are left.
const UNIFORM_BYTES_MAX: usize = 128;

/// Bytes that the entries of one segment may take.
const ARENA_BYTES_MAX: usize = 1 << 24;

/// Bytes of a cache line.
const NEXT_LINE: usize = 64;

/// Arena bytes below which dead ones are not worth a compaction.
const COMPACT_BYTES_MIN: usize = 512;

/// A segment. Empty ones hold no memory. What searches read comes first, see
/// [`Slot`](crate::slot::Slot).
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub(crate) struct Segment {
    pub(crate) newest_epoch: u32,
    dead_bytes: u32,
    pub(crate) arena: Vec<u8>,
    pub(crate) index: Index,
    pub(crate) side: Option<Box<SideSlab>>,
}

/// Where an entry was found. Good until the segment changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    slot: usize,
    /// The parts of the entry.
    pub(crate) layout: Layout,
}

/// A stored value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored<'a> {
    /// In the arena: a value, a short list or a small map.
    Inline(&'a [u8]),
    /// A large value or list.
    Blob(&'a Blob),
    /// A large map.
    Map(&'a MapChunks),
}

/// A value to be stored.
#[derive(Clone, Debug)]
pub(crate) enum Payload<'a> {
    /// In the arena, with room to grow to `capacity`.
    Inline { value: &'a [u8], capacity: usize },
    /// Beside it.
    Side(SideObject),
}

impl<'a> Payload<'a> {
    /// Where a plain value of this length belongs.
    pub(crate) fn of(value: &'a [u8]) -> Self {
        if value.len() <= INLINE_BYTES_MAX {
            Self::Inline { value, capacity: value.len() }
        } else {
            Self::Side(SideObject::Blob(Blob::new(value)))
        }
    }

    const fn area_bytes(&self) -> usize {
        match self {
            Self::Inline { capacity, .. } => *capacity,
            Self::Side(_) => SIDE_AREA_BYTES,
        }
    }
}

impl Segment {
    /// An empty segment with room for entries that take arena bytes; all of `stride` bytes, unless
    /// that is 0.
    fn with_room(entries: usize, arena_bytes: usize, stride: usize) -> Self {
        if entries == 0 {
            return Self::default();
        }
        let index = Index::with_room(entries, stride);
        let packed = arena_bytes + arena_bytes / 16;
        let capacity = if stride == 0 { packed } else { index.slots() * stride };
        Self { index, arena: Vec::with_capacity(capacity), ..Self::default() }
    }

    /// Bytes of memory held beyond the segment's own struct.
    pub(crate) fn memory_bytes(&self) -> usize {
        let side = self.side.as_ref().map_or(0, |side| side.memory_bytes() + size_of::<SideSlab>());
        self.index.memory_bytes() + self.arena.capacity() + side
    }

    /// Bytes that a copy of the segment takes: side objects stay shared.
    pub(crate) fn buffer_bytes(&self) -> usize {
        let shared = self.side.as_ref().map_or(0, |side| side.object_bytes());
        self.memory_bytes() - shared
    }

    /// How many entries there are.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are no entries.
    pub(crate) const fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// Arena bytes of live entries.
    pub(crate) const fn live_bytes(&self) -> usize {
        if self.index.stride() == 0 {
            self.arena.len() - self.dead_bytes as usize
        } else {
            self.index.len() * self.index.stride()
        }
    }

    /// The newest epoch that a change was stamped with.
    pub(crate) const fn newest_epoch(&self) -> u32 {
        self.newest_epoch
    }

    /// The value of an entry.
    #[inline(never)]
    pub(crate) fn get(&self, at: &EntryKey<'_>) -> Option<&[u8]> {
        if let Some(key) = short_key(at)
            && let Some(place) = self.short_find(key, at.hash())
        {
            return self.short_at(key, place);
        }
        let found = self.find(&Probe::new(at))?;
        Some(self.value_bytes(&found.layout))
    }

    /// Finds an entry.
    pub(crate) fn find(&self, probe: &Probe<'_>) -> Option<Found> {
        self.index.prefetch_offsets(probe.hash);
        for (number, line) in self.index.lines_from(probe.hash) {
            for slot in Index::candidates(number, line, probe.hash) {
                if let Some(layout) = self.entry_if(self.index.place(slot) as usize, probe) {
                    return Some(Found { slot, layout });
                }
            }
            if line.has_empty() {
                return None;
            }
        }
        None
    }

    /// The entry at `at`, if its key and namespace are the ones looked for.
    #[inline]
    fn entry_if(&self, at: usize, probe: &Probe<'_>) -> Option<Layout> {
        prefetch_index(&self.arena, at.saturating_add(NEXT_LINE));
        prefetch_index(&self.arena, at.saturating_add(2 * NEXT_LINE));
        let layout = Layout::read(&self.arena, at);
        (layout.key(&self.arena) == probe.key && layout.namespace(&self.arena) == probe.namespace)
            .then_some(layout)
    }

    /// The value of an entry.
    #[inline]
    pub(crate) fn value(&self, layout: &Layout) -> Stored<'_> {
        if layout.is_side() {
            self.side_value(layout)
        } else {
            Stored::Inline(layout.value(&self.arena))
        }
    }

    fn side_value(&self, layout: &Layout) -> Stored<'_> {
        let object =
            layout.side_number(&self.arena).and_then(|number| self.side.as_ref()?.get(number));
        match object {
            Some(SideObject::Blob(blob)) => Stored::Blob(blob),
            Some(SideObject::Map(map)) => Stored::Map(map),
            None => Stored::Inline(&[]),
        }
    }

    /// The value of an entry as one slice. Lists in pieces read as empty: coalesce them first.
    pub(crate) fn value_bytes(&self, layout: &Layout) -> &[u8] {
        match self.value(layout) {
            Stored::Inline(value) => value,
            Stored::Blob(blob) => blob.contiguous().unwrap_or_default(),
            Stored::Map(_) => &[],
        }
    }

    /// All entries, in no particular order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Layout> {
        self.index.live().map(|slot| Layout::read(&self.arena, self.index.place(slot) as usize))
    }

    /// Sets the value of an entry.
    #[inline]
    pub(crate) fn overwrite(
        &mut self,
        found: &Found,
        probe: &Probe<'_>,
        value: &[u8],
        env: &mut Env,
    ) -> Result<()> {
        if self.overwrite_in_place(&found.layout, value, env.epoch) {
            return Ok(());
        }
        if found.layout.is_side() && value.len() > INLINE_BYTES_MAX / 2 {
            env.admit(value.len())?;
            self.update_side(&found.layout, env, |object| {
                if let SideObject::Blob(blob) = object {
                    blob.replace(value);
                }
            });
            return Ok(());
        }
        self.relocate(found, probe, Payload::of(value), env)
    }

    /// Sets the value of an entry if it fits where the old one is.
    #[inline]
    pub(crate) fn overwrite_in_place(&mut self, layout: &Layout, value: &[u8], epoch: u32) -> bool {
        let done = layout.overwrite(&mut self.arena, value, epoch);
        if done {
            self.newest_epoch = epoch;
        }
        done
    }

    /// Marks an entry as changed.
    pub(crate) fn touch(&mut self, layout: &Layout, epoch: u32) {
        layout.touch(&mut self.arena, epoch);
        self.newest_epoch = epoch;
    }

    /// Takes back what [`Self::touch`] noted, for a change that is none of the value.
    pub(crate) fn restore_epochs(&mut self, layout: &Layout, epoch: u32, newest: u32) {
        layout.touch(&mut self.arena, epoch);
        self.newest_epoch = newest;
    }

    /// Changes the side object of an entry.
    pub(crate) fn update_side<R>(
        &mut self,
        layout: &Layout,
        env: &mut Env,
        change: impl FnOnce(&mut SideObject) -> R,
    ) -> Option<R> {
        let before = self.memory_bytes();
        let number = layout.side_number(&self.arena)?;
        let result = self.side.as_mut()?.update(number, change);
        self.touch(layout, env.epoch);
        env.account(before, self.memory_bytes());
        result
    }

    /// Gives an entry a new value at a new place.
    pub(crate) fn relocate(
        &mut self,
        found: &Found,
        probe: &Probe<'_>,
        payload: Payload<'_>,
        env: &mut Env,
    ) -> Result<()> {
        let before = self.memory_bytes();
        self.make_room(probe, &payload, env)?;
        env.moves += 1;
        self.bury(&Layout::read(&self.arena, self.index.place(found.slot) as usize));
        self.write(found.slot, probe, payload, env.epoch);
        env.account(before, self.memory_bytes());
        Ok(())
    }

    /// Adds an entry that is not there yet.
    pub(crate) fn insert(
        &mut self,
        probe: &Probe<'_>,
        payload: Payload<'_>,
        env: &mut Env,
    ) -> Result<()> {
        let before = self.memory_bytes();
        self.make_room(probe, &payload, env)?;
        if let Some(index) = self.index.successor() {
            self.rebuild(index, env);
        }
        let slot = self.index.take_slot(probe.hash);
        self.write(slot, probe, payload, env.epoch);
        env.account(before, self.memory_bytes());
        Ok(())
    }

    /// Deletes an entry.
    pub(crate) fn remove(&mut self, found: &Found, env: &mut Env) {
        let before = self.memory_bytes();
        env.moves += 1;
        self.index.free_slot(found.slot);
        self.newest_epoch = env.epoch;
        self.bury(&found.layout);
        if self.is_empty() {
            *self = Self { newest_epoch: env.epoch, ..Self::default() };
        } else {
            let dead = self.dead_bytes as usize;
            if dead > COMPACT_BYTES_MIN && dead > self.arena.len() / 4 {
                self.pack(0);
            }
            if let Some(index) = self.index.smaller() {
                self.rebuild(index, env);
            }
        }
        env.account(before, self.memory_bytes());
    }

    /// Gives the bytes and the side object of an entry up.
    fn bury(&mut self, layout: &Layout) {
        if self.index.stride() == 0 {
            self.dead_bytes += layout.bytes() as u32;
        }
        if let (Some(number), Some(side)) = (layout.side_number(&self.arena), self.side.as_mut()) {
            side.remove(number);
        }
    }

    /// Writes the entry of a slot, for which there is room.
    fn write(&mut self, slot: usize, probe: &Probe<'_>, payload: Payload<'_>, epoch: u32) {
        let bytes = entry_bytes(probe.key.len(), probe.namespace.len(), payload.area_bytes());
        let entry = NewEntry { key: probe.key, namespace: probe.namespace, epoch };
        self.newest_epoch = epoch;
        match payload {
            Payload::Inline { value, capacity } => {
                entry.write_inline(self.entry_mut(slot, bytes), value, capacity);
            }
            Payload::Side(object) => {
                let number = self.side.get_or_insert_default().insert(object);
                entry.write_side(self.entry_mut(slot, bytes), number);
            }
        }
    }

    /// The arena bytes for a new entry in `slot`.
    fn entry_mut(&mut self, slot: usize, bytes: usize) -> &mut [u8] {
        let at = if self.index.stride() == 0 {
            self.arena.len()
        } else {
            self.index.place(slot) as usize
        };
        self.index.set_place(slot, at);
        let end = at + bytes;
        if end > self.arena.len() {
            if end > self.arena.capacity() {
                let len = self.arena.len();
                self.arena.reserve_exact((end - len).max(len / 8));
            }
            self.arena.resize(end, 0);
        }
        self.arena.get_mut(at..end).unwrap_or_default()
    }

    /// Distributes the entries over a new, empty index.
    fn rebuild(&mut self, index: Index, env: &mut Env) {
        env.moves += 1;
        let mut offsets = core::mem::take(&mut env.offsets);
        offsets.clear();
        offsets
            .extend(self.entries().map(|entry| (entry.at as u32, entry_hash(&self.arena, &entry))));
        self.index = index;
        let stride = self.index.stride();
        if stride == 0 {
            for (at, hash) in &offsets {
                let slot = self.index.take_slot(*hash);
                self.index.set_place(slot, *at as usize);
            }
        } else {
            let room = Vec::with_capacity(self.index.slots() * stride);
            let old = core::mem::replace(&mut self.arena, room);
            for (at, hash) in &offsets {
                let slot = self.index.take_slot(*hash);
                let at = *at as usize;
                copy(old.get(at..at + stride), self.entry_mut(slot, stride));
            }
        }
        env.offsets = offsets;
    }

    /// Makes sure that the arena takes another entry. Checks all bounds; everything after it
    /// succeeds.
    fn make_room(&mut self, probe: &Probe<'_>, payload: &Payload<'_>, env: &mut Env) -> Result<()> {
        let need = entry_bytes(probe.key.len(), probe.namespace.len(), payload.area_bytes());
        // Covers growth of arena and index, and the split of the segment that may follow.
        let side = if let Payload::Side(SideObject::Blob(blob)) = payload {
            blob.memory_bytes()
        } else {
            0
        };
        env.admit(2 * need + side + self.memory_bytes() + 1_024)?;
        if self.live_bytes() + need > ARENA_BYTES_MAX - AREA_BYTES_MAX {
            return Err(arena_full(self.len()));
        }
        let stride = self.index.stride();
        if self.is_empty() {
            *self = Self { newest_epoch: self.newest_epoch, ..Self::default() };
            self.index = Index::with_room(0, if need <= UNIFORM_BYTES_MAX { need } else { 0 });
        } else if stride == 0 {
            self.make_packed_room(need, env);
        } else if stride != need {
            env.moves += 1;
            self.pack(need);
        }
        Ok(())
    }

    fn make_packed_room(&mut self, need: usize, env: &mut Env) {
        let len = self.arena.len();
        if len + need <= self.arena.capacity() && len + need < ARENA_BYTES_MAX {
            return;
        }
        if self.dead_bytes as usize > len / 8 || len + need >= ARENA_BYTES_MAX {
            env.moves += 1;
            self.pack(need);
        }
    }

    /// Moves the entries into a new arena without holes, with room for `need` bytes more.
    fn pack(&mut self, need: usize) {
        let live = self.live_bytes();
        let old = core::mem::replace(&mut self.arena, Vec::with_capacity(live + need + live / 16));
        let mut slots = Vec::with_capacity(self.len());
        slots.extend(self.index.live().map(|slot| (slot, self.index.place(slot) as usize)));
        if self.index.stride() != 0 {
            self.index.set_stride(0);
        }
        for (slot, at) in slots {
            self.index.set_place(slot, self.arena.len());
            copy_entry(&old, &Layout::read(&old, at), &mut self.arena);
        }
        self.dead_bytes = 0;
    }

    /// Divides the entries by a bit of their hash: those without it, those with it.
    pub(crate) fn split(&self, bit: u64, env: &mut Env) -> (Self, Self) {
        env.moves += 1;
        let mut offsets = core::mem::take(&mut env.offsets);
        offsets.clear();
        let (mut high_entries, mut high_bytes) = (0, 0);
        let mut stride = self.entries().next().map_or(0, |entry| entry.bytes());
        for layout in self.entries() {
            let hash = entry_hash(&self.arena, &layout);
            if hash & bit != 0 {
                high_entries += 1;
                high_bytes += layout.bytes();
            }
            if layout.bytes() != stride || stride > UNIFORM_BYTES_MAX {
                stride = 0;
            }
            offsets.push((layout.at as u32, hash));
        }
        let (entries, bytes) = (self.len() - high_entries, self.live_bytes() - high_bytes);
        let mut low = Self::with_room(entries, bytes, stride);
        let mut high = Self::with_room(high_entries, high_bytes, stride);
        for (at, hash) in &offsets {
            let half = if hash & bit != 0 { &mut high } else { &mut low };
            half.adopt(self, *at as usize, *hash);
        }
        env.offsets = offsets;
        (low, high)
    }

    /// Takes over an entry of another segment, sharing its side object.
    fn adopt(&mut self, from: &Self, at: usize, hash: u64) {
        let layout = Layout::read(&from.arena, at);
        let slot = self.index.take_slot(hash);
        let object = layout.side_number(&from.arena).and_then(|n| from.side.as_ref()?.get(n));
        if let Some(object) = object {
            let number = self.side.get_or_insert_default().insert(object.clone());
            let (key, namespace) = (layout.key(&from.arena), layout.namespace(&from.arena));
            let entry = NewEntry { key, namespace, epoch: layout.epoch() };
            entry.write_side(self.entry_mut(slot, layout.bytes()), number);
        } else {
            copy(from.arena.get(layout.range()), self.entry_mut(slot, layout.bytes()));
        }
        self.newest_epoch = self.newest_epoch.max(layout.epoch());
    }
}

/// Copies the bytes of an entry.
fn copy(from: Option<&[u8]>, to: &mut [u8]) {
    if let Some(from) = from
        && from.len() == to.len()
    {
        to.copy_from_slice(from);
    }
}

/// Copies an entry, without the room behind a value that has become much shorter.
fn copy_entry(from: &[u8], layout: &Layout, to: &mut Vec<u8>) {
    if !layout.is_side() {
        let value = layout.value(from);
        if value.len() < layout.area_bytes() / 2 {
            let (key, namespace) = (layout.key(from), layout.namespace(from));
            let entry = NewEntry { key, namespace, epoch: layout.epoch() };
            let at = to.len();
            to.resize(at + entry_bytes(key.len(), namespace.len(), value.len()), 0);
            entry.write_inline(to.get_mut(at..).unwrap_or_default(), value, value.len());
            return;
        }
    }
    to.extend_from_slice(from.get(layout.range()).unwrap_or_default());
}

#[cold]
fn arena_full(entries: usize) -> StateError {
    StateError::new(
        ErrorKind::ResourceExhausted,
        format!(
            "{entries} entries fell into one table segment and fill it: the key hashes passed to \
             the backend do not spread"
        ),
    )
}
