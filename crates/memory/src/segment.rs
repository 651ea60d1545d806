//! A small hash table whose entries live in one byte arena: some hundreds of entries, found through
//! cache lines of tags ([`Line`]), copied for a snapshot by copying two buffers.
//!
//! ```text
//! lines:  [tags | offsets] [tags | offsets] ...        chosen by hash bits 20 to 39
//! arena:  entry entry (dead) entry entry ...           see the entry layout
//! side:   large values and maps                        shared with snapshots piece by piece
//! ```
//!
//! # Invariants
//! - An entry is in the line that its hash chooses or, if that line was full, in the first line
//!   after it (in a ring) that was not.
//! - At least one slot in eight is empty, so searches end soon.
//! - `dead_bytes` of the arena belong to no slot; past a quarter of the arena it is compacted.
//! - Fails only before it changes anything: when memory is bounded, or when the arena of one
//!   segment would pass what an offset can address (all keys in one segment: a broken key hash).

use millpond_state::{EntryKey, ErrorKind, Result, StateError};

use crate::blob::Blob;
use crate::entry_layout::{AREA_BYTES_MAX, Layout, NewEntry, SIDE_AREA_BYTES, entry_bytes};
use crate::env::Env;
use crate::line::{Line, OFFSET_LIMIT, tag_of};
use crate::map_chunks::MapChunks;
use crate::probe::{Probe, entry_hash};
use crate::short::short_key;
use crate::side::{SideObject, SideSlab};

/// Longest value in the arena.
pub(crate) const INLINE_BYTES_MAX: usize = 1_024;

/// Slots of a line that may be used on average before lines are added.
const LINE_FILL: usize = 11;

/// Arena bytes below which dead ones are not worth a compaction.
const COMPACT_BYTES_MIN: usize = 512;

/// A segment. Empty ones hold no memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    lines: Box<[Line]>,
    pub(crate) arena: Vec<u8>,
    pub(crate) side: Option<Box<SideSlab>>,
    live: u32,
    /// Slots that are not empty: live and deleted ones.
    used: u32,
    dead_bytes: u32,
    newest_epoch: u32,
}

/// Where an entry was found. Good until the segment changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    line: usize,
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
    /// An empty segment with room for entries and arena bytes.
    fn with_room(entries: usize, arena_bytes: usize) -> Self {
        if entries == 0 {
            return Self::default();
        }
        Self {
            lines: vec![Line::EMPTY; lines_for(entries)].into_boxed_slice(),
            arena: Vec::with_capacity(arena_bytes + arena_bytes / 16),
            ..Self::default()
        }
    }

    /// Bytes of memory held beyond the segment's own struct.
    pub(crate) fn memory_bytes(&self) -> usize {
        let side = self.side.as_ref().map_or(0, |side| side.memory_bytes() + size_of::<SideSlab>());
        self.lines.len() * size_of::<Line>() + self.arena.capacity() + side
    }

    /// Bytes that a copy of the segment takes: side objects stay shared.
    pub(crate) fn buffer_bytes(&self) -> usize {
        let shared = self.side.as_ref().map_or(0, |side| side.object_bytes());
        self.memory_bytes() - shared
    }

    /// How many entries there are.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.live as usize
    }

    /// Whether there are no entries.
    pub(crate) const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Arena bytes of live entries.
    pub(crate) const fn live_bytes(&self) -> usize {
        self.arena.len() - self.dead_bytes as usize
    }

    /// The newest epoch that a change was stamped with.
    pub(crate) const fn newest_epoch(&self) -> u32 {
        self.newest_epoch
    }

    /// The line in which a search for `hash` starts.
    #[inline]
    pub(crate) fn line_of(&self, hash: u64) -> Option<&Line> {
        self.lines.get(line_index(hash, self.lines.len()))
    }

    /// The lines after the one in which a search for `hash` starts, in a ring.
    pub(crate) fn lines_after(&self, hash: u64) -> impl Iterator<Item = &Line> {
        let first = line_index(hash, self.lines.len());
        let (before, after) = self.lines.split_at_checked(first + 1).unwrap_or_default();
        after.iter().chain(before.iter().take(first))
    }

    /// Brings the line in which a search for `hash` starts into the cache, without waiting.
    #[inline]
    pub(crate) fn prefetch_line(&self, hash: u64) {
        prefetch_index::prefetch_index(&self.lines, line_index(hash, self.lines.len()));
    }

    /// Where the first candidate for `hash` starts, if there is one in its line.
    #[inline]
    pub(crate) fn first_place(&self, hash: u64) -> Option<usize> {
        let line = self.line_of(hash)?;
        let candidates = line.candidates(tag_of(hash));
        (!candidates.is_empty()).then(|| line.offset(candidates.first()))
    }

    /// The value of an entry.
    #[inline(always)]
    pub(crate) fn get(&self, at: &EntryKey<'_>, hash: u64) -> Option<&[u8]> {
        if let Some(key) = short_key(at)
            && let Some(entry) = self.short_find(key, hash)
            && let Some(value) = self.short_value(entry)
        {
            return Some(value);
        }
        self.get_slow(at, hash)
    }

    /// The value of an entry, which may start at `place`.
    #[inline(always)]
    pub(crate) fn get_at(&self, at: &EntryKey<'_>, hash: u64, place: usize) -> Option<&[u8]> {
        if let Some(key) = short_key(at)
            && let Some(entry) = self.short_at(key, place).or_else(|| self.short_find(key, hash))
            && let Some(value) = self.short_value(entry)
        {
            return Some(value);
        }
        self.get_slow(at, hash)
    }

    /// The value of an entry, whatever its kind.
    #[inline(never)]
    pub(crate) fn get_slow(&self, at: &EntryKey<'_>, hash: u64) -> Option<&[u8]> {
        let found = self.find(&Probe::with_hash(at, hash))?;
        Some(self.value_bytes(&found.layout))
    }

    /// Finds an entry.
    pub(crate) fn find(&self, probe: &Probe<'_>) -> Option<Found> {
        let count = self.lines.len();
        let mut line = line_index(probe.hash, count);
        for _ in 0..count {
            let tags = self.lines.get(line)?;
            for slot in tags.candidates(probe.tag) {
                if let Some(layout) = self.entry_if(tags.offset(slot), probe) {
                    return Some(Found { line, slot, layout });
                }
            }
            if tags.has_empty() {
                return None;
            }
            line = if line + 1 == count { 0 } else { line + 1 };
        }
        None
    }

    /// The entry at `at`, if its key and namespace are the ones looked for.
    #[inline]
    fn entry_if(&self, at: usize, probe: &Probe<'_>) -> Option<Layout> {
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
        self.offsets().map(|at| Layout::read(&self.arena, at))
    }

    fn offsets(&self) -> impl Iterator<Item = usize> {
        self.lines.iter().flat_map(|line| line.live().map(|slot| line.offset(slot)))
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

    /// Notes that an entry was changed in `epoch`.
    #[inline]
    pub(crate) const fn stamp(&mut self, epoch: u32) {
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
        let Some(line) = self.lines.get(found.line) else { return Ok(()) };
        let old = Layout::read(&self.arena, line.offset(found.slot));
        self.bury(&old);
        let at = self.write(probe, payload, env.epoch);
        if let Some(line) = self.lines.get_mut(found.line) {
            line.set_offset(found.slot, at);
        }
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
        self.make_slot_room(env);
        let at = self.write(probe, payload, env.epoch);
        self.place(probe.hash, at);
        env.account(before, self.memory_bytes());
        Ok(())
    }

    /// Deletes an entry.
    pub(crate) fn remove(&mut self, found: &Found, env: &mut Env) {
        let before = self.memory_bytes();
        env.moves += 1;
        if let Some(line) = self.lines.get_mut(found.line) {
            self.used -= u32::from(line.clear(found.slot));
        }
        self.live -= 1;
        self.newest_epoch = env.epoch;
        self.bury(&found.layout);
        let dead = self.dead_bytes as usize;
        if self.live == 0 {
            *self = Self { newest_epoch: env.epoch, ..Self::default() };
        } else if dead > COMPACT_BYTES_MIN && dead > self.arena.len() / 4 {
            self.compact(0);
            if lines_for(self.len()) < self.lines.len() / 2 {
                self.rebuild_lines(lines_for(self.len()), env);
            }
        }
        env.account(before, self.memory_bytes());
    }

    /// Gives the bytes and the side object of an entry up.
    fn bury(&mut self, layout: &Layout) {
        self.dead_bytes += layout.bytes() as u32;
        if let (Some(number), Some(side)) = (layout.side_number(&self.arena), self.side.as_mut()) {
            side.remove(number);
        }
    }

    /// Writes an entry at the end of the arena, where there is room.
    fn write(&mut self, probe: &Probe<'_>, payload: Payload<'_>, epoch: u32) -> usize {
        let at = self.arena.len();
        let entry = NewEntry { key: probe.key, namespace: probe.namespace, epoch };
        match payload {
            Payload::Inline { value, capacity } => {
                entry.write_inline(&mut self.arena, value, capacity);
            }
            Payload::Side(object) => {
                let number = self.side.get_or_insert_default().insert(object);
                entry.write_side(&mut self.arena, number);
            }
        }
        self.newest_epoch = epoch;
        at
    }

    /// Puts an offset into the first free slot of its probe sequence.
    fn place(&mut self, hash: u64, at: usize) {
        let count = self.lines.len();
        let mut index = line_index(hash, count);
        for _ in 0..count {
            let Some(line) = self.lines.get_mut(index) else { return };
            let free = line.free();
            if !free.is_empty() {
                let slot = free.first();
                self.used += u32::from(line.is_empty_slot(slot));
                line.set(slot, tag_of(hash), at);
                self.live += 1;
                return;
            }
            index = if index + 1 == count { 0 } else { index + 1 };
        }
        debug_assert!(false, "a segment always has free slots");
    }

    /// Makes sure that one more entry finds a slot.
    fn make_slot_room(&mut self, env: &mut Env) {
        if self.used as usize >= self.lines.len() * LINE_FILL {
            let lines = if self.used > self.live + self.live / 8 {
                self.lines.len()
            } else {
                self.lines.len() + (self.lines.len() / 4).max(1)
            };
            self.rebuild_lines(lines, env);
        }
    }

    /// Distributes the entries over `count` new lines.
    fn rebuild_lines(&mut self, count: usize, env: &mut Env) {
        env.moves += 1;
        let mut offsets = core::mem::take(&mut env.offsets);
        offsets.clear();
        offsets.extend(
            self.offsets()
                .map(|at| (at as u32, entry_hash(&self.arena, &Layout::read(&self.arena, at)))),
        );
        self.lines = vec![Line::EMPTY; count.max(1)].into_boxed_slice();
        (self.live, self.used) = (0, 0);
        for (at, hash) in &offsets {
            self.place(*hash, *at as usize);
        }
        env.offsets = offsets;
    }

    /// Makes sure that an entry fits at the end of the arena. Checks all bounds; everything after
    /// it succeeds.
    fn make_room(&mut self, probe: &Probe<'_>, payload: &Payload<'_>, env: &mut Env) -> Result<()> {
        let need = entry_bytes(probe.key.len(), probe.namespace.len(), payload.area_bytes());
        // Covers growth of arena and lines, and the split of the segment that may follow.
        let side = if let Payload::Side(SideObject::Blob(blob)) = payload {
            blob.memory_bytes()
        } else {
            0
        };
        env.admit(2 * need + side + self.memory_bytes() + 1_024)?;
        if self.live_bytes() + need > OFFSET_LIMIT - AREA_BYTES_MAX {
            return Err(arena_full(self.len()));
        }
        env.moves += 1;
        let len = self.arena.len();
        if len + need <= self.arena.capacity() && len + need < OFFSET_LIMIT {
            return Ok(());
        }
        if self.dead_bytes as usize > len / 8 || len + need >= OFFSET_LIMIT {
            self.compact(need);
        } else {
            self.arena.reserve_exact(need.max(len / 8));
        }
        Ok(())
    }

    /// Moves the live entries into a new arena with room for `need` bytes more.
    fn compact(&mut self, need: usize) {
        let live = self.live_bytes();
        let old = core::mem::replace(&mut self.arena, Vec::with_capacity(live + need + live / 16));
        for line in &mut self.lines {
            for slot in line.live() {
                let layout = Layout::read(&old, line.offset(slot));
                line.set_offset(slot, self.arena.len());
                copy_entry(&old, &layout, &mut self.arena);
            }
        }
        self.dead_bytes = 0;
    }

    /// Divides the entries by a bit of their hash: those without it, those with it.
    pub(crate) fn split(&self, bit: u64, env: &mut Env) -> (Self, Self) {
        env.moves += 1;
        let mut offsets = core::mem::take(&mut env.offsets);
        offsets.clear();
        let (mut high_entries, mut high_bytes) = (0, 0);
        for layout in self.entries() {
            let hash = entry_hash(&self.arena, &layout);
            if hash & bit != 0 {
                high_entries += 1;
                high_bytes += layout.bytes();
            }
            offsets.push((layout.at as u32, hash));
        }
        let mut low = Self::with_room(self.len() - high_entries, self.live_bytes() - high_bytes);
        let mut high = Self::with_room(high_entries, high_bytes);
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
        let new_at = self.arena.len();
        let object = layout.side_number(&from.arena).and_then(|n| from.side.as_ref()?.get(n));
        if let Some(object) = object {
            let number = self.side.get_or_insert_default().insert(object.clone());
            let (key, namespace) = (layout.key(&from.arena), layout.namespace(&from.arena));
            NewEntry { key, namespace, epoch: layout.epoch() }.write_side(&mut self.arena, number);
        } else {
            self.arena.extend_from_slice(from.arena.get(layout.range()).unwrap_or_default());
        }
        self.newest_epoch = self.newest_epoch.max(layout.epoch());
        self.place(hash, new_at);
    }
}

/// Copies an entry, without the room behind a value that has become much shorter.
fn copy_entry(from: &[u8], layout: &Layout, to: &mut Vec<u8>) {
    if !layout.is_side() {
        let value = layout.value(from);
        if value.len() < layout.area_bytes() / 2 {
            let (key, namespace) = (layout.key(from), layout.namespace(from));
            let entry = NewEntry { key, namespace, epoch: layout.epoch() };
            entry.write_inline(to, value, value.len());
            return;
        }
    }
    to.extend_from_slice(from.get(layout.range()).unwrap_or_default());
}

/// Lines for `entries` entries and some more.
const fn lines_for(entries: usize) -> usize {
    (entries + entries / 8) / LINE_FILL + 1
}

/// The line in which a search for `hash` starts, of `count`.
#[inline]
const fn line_index(hash: u64, count: usize) -> usize {
    ((((hash >> 20) & 0xf_ffff) * count as u64) >> 20) as usize
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
