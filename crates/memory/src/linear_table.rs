//! The entries of one state in one key group: linear hashing over segments.
//!
//! With `n` segments, and `2^l` the largest power of two up to `n`, hash bits `0..=l` choose a
//! segment; a number that there isn't yet counts without its highest bit. The table grows by one
//! segment at a time: segment `n - 2^l` is split in two by bit `l`. So there is no directory that
//! doubles and no rehash of the whole table: the pause of one insert is one split.
//!
//! # Invariants
//! - `mask + 1` is the least power of two not below the number of segments.
//! - `entries` and `live_bytes` are sums over the segments.

use std::sync::Arc;

use millpond_snapshot::ChangeKind;
use millpond_state::{BatchVisitor, Decision, EditBuffer, EntryKey, Result, check_value_len};

use crate::env::Env;
use crate::probe::{Probe, address_hash};
use crate::segment::{Found, Payload, Segment};
use crate::short::{ShortMut, short_key};
use crate::slot::Slot;

/// Entries of a segment, on average, above which the table is split further.
const SEGMENT_ENTRIES: u64 = 2_000;

/// Arena bytes of a segment, on average, above which the table is split further.
const SEGMENT_BYTES: u64 = 64 * 1_024;

/// Segments that a table can have: one bit of the hash each.
const SEGMENTS_MAX: usize = 1 << 20;

/// A table; without entries it holds no memory.
#[derive(Debug, Default)]
pub(crate) struct LinearTable {
    slots: Vec<Slot>,
    mask: usize,
    entries: u64,
    live_bytes: u64,
}

impl LinearTable {
    /// How many entries there are.
    pub(crate) const fn len(&self) -> u64 {
        self.entries
    }

    /// The number of the segment that a hash belongs to.
    #[inline]
    pub(crate) fn slot_index(&self, hash: u64) -> usize {
        let (wide, narrow) = (hash as usize & self.mask, hash as usize & (self.mask >> 1));
        if wide < self.slots.len() { wide } else { narrow }
    }

    /// The segment that holds what is looked for, if it is there.
    #[inline]
    pub(crate) fn segment(&self, probe: &Probe<'_>) -> Option<&Segment> {
        self.segment_of(probe.hash)
    }

    /// The segment that a hash belongs to.
    #[inline(always)]
    pub(crate) fn segment_of(&self, hash: u64) -> Option<&Segment> {
        self.nth_segment(self.slot_index(hash))
    }

    /// A segment by number.
    #[inline(always)]
    pub(crate) fn nth_segment(&self, slot: usize) -> Option<&Segment> {
        self.slots.get(slot).map(Slot::segment)
    }

    /// Finds an entry.
    pub(crate) fn find(&self, probe: &Probe<'_>) -> Option<Found> {
        self.segment(probe)?.find(probe)
    }

    /// The plain short entry at `at`, for writing, if it is at `spot` (by default where a search
    /// looks first) in a segment that the table alone owns.
    #[inline(always)]
    fn short_mut(&mut self, at: &EntryKey<'_>, spot: Option<Spot>) -> Option<ShortMut<'_>> {
        let key = short_key(at)?;
        if let Some(Spot { slot, place }) = spot {
            return self.slots.get_mut(slot as usize)?.own_mut()?.short_at_mut(key, place);
        }
        let index = self.slot_index(at.hash());
        let segment = self.slots.get_mut(index)?.own_mut()?;
        let place = segment.first_place(at.hash())?;
        segment.short_at_mut(key, place)
    }

    /// As [`Self::short_mut`], wherever in its segment the entry is.
    fn short_anywhere(&mut self, at: &EntryKey<'_>) -> Option<ShortMut<'_>> {
        let (key, hash) = (short_key(at)?, at.hash());
        let slot = self.slot_index(hash);
        let place = self.nth_segment(slot)?.short_find(key, hash)?;
        self.short_mut(at, Some(Spot { slot: slot as u32, place }))
    }

    /// Lets `change` decide about the entry at `at`, which is number `index` of its batch.
    #[inline(always)]
    pub(crate) fn update(
        &mut self,
        (index, at): (usize, &EntryKey<'_>),
        spot: Option<Spot>,
        change: &mut BatchVisitor<'_>,
        buffer: &mut EditBuffer,
        env: &mut Env,
    ) -> Result<()> {
        let Some(entry) = self.short_mut(at, spot) else {
            return self.update_slow((index, at), change, buffer, env);
        };
        change(index, &mut buffer.begin(Some(entry.value)))?;
        if buffer.decision() == Decision::Replace && entry.overwrite(buffer.bytes(), env.epoch) {
            return Ok(());
        }
        self.apply(at, true, buffer, env)
    }

    #[inline(never)]
    fn update_slow(
        &mut self,
        (index, at): (usize, &EntryKey<'_>),
        change: &mut BatchVisitor<'_>,
        buffer: &mut EditBuffer,
        env: &mut Env,
    ) -> Result<()> {
        let present = if let Some(entry) = self.short_anywhere(at) {
            change(index, &mut buffer.begin(Some(entry.value)))?;
            if buffer.decision() == Decision::Replace && entry.overwrite(buffer.bytes(), env.epoch)
            {
                return Ok(());
            }
            true
        } else {
            at.check_lengths()?;
            let current = self.segment_of(address_hash(at)).and_then(|segment| segment.get(at));
            let present = current.is_some();
            change(index, &mut buffer.begin(current))?;
            present
        };
        self.apply(at, present, buffer, env)
    }

    /// Applies what an edit decided about an entry that is `present` or not.
    #[inline(never)]
    fn apply(
        &mut self,
        at: &EntryKey<'_>,
        present: bool,
        buffer: &EditBuffer,
        env: &mut Env,
    ) -> Result<()> {
        match buffer.decision() {
            Decision::Keep => Ok(()),
            Decision::Remove => {
                self.remove(&Probe::new(at), env)?;
                env.tombstones.set_group(at.group().get());
                env.note_deleted((at.key(), at.namespace()), (ChangeKind::Deleted, &[]));
                Ok(())
            }
            Decision::Replace if present => self.put_slow(at, buffer.bytes(), env),
            Decision::Replace => {
                let value = buffer.bytes();
                check_value_len(value.len())?;
                let probe = Probe::new(at);
                self.write(&probe, env, |segment, env| {
                    segment.insert(&probe, Payload::of(value), env).map(|()| Written::Added)
                })
            }
        }
    }

    /// Sets the value of an entry.
    #[inline(always)]
    pub(crate) fn put(
        &mut self,
        at: &EntryKey<'_>,
        spot: Option<Spot>,
        value: &[u8],
        env: &mut Env,
    ) -> Result<()> {
        if let Some(entry) = self.short_mut(at, spot)
            && entry.overwrite(value, env.epoch)
        {
            return Ok(());
        }
        self.put_slow(at, value, env)
    }

    #[inline(never)]
    fn put_slow(&mut self, at: &EntryKey<'_>, value: &[u8], env: &mut Env) -> Result<()> {
        at.check_lengths()?;
        check_value_len(value.len())?;
        if let Some(entry) = self.short_anywhere(at)
            && entry.overwrite(value, env.epoch)
        {
            return Ok(());
        }
        let probe = Probe::new(at);
        self.write(&probe, env, |segment, env| match segment.find(&probe) {
            Some(found) => segment.overwrite(&found, &probe, value, env).map(|()| Written::Changed),
            None => segment.insert(&probe, Payload::of(value), env).map(|()| Written::Added),
        })
    }

    /// Deletes an entry, if there is one.
    pub(crate) fn remove(&mut self, probe: &Probe<'_>, env: &mut Env) -> Result<()> {
        let Some(found) = self.find(probe) else { return Ok(()) };
        env.delete(|env| {
            self.write(probe, env, |segment, env| {
                segment.remove(&found, env);
                Ok(Written::Removed)
            })
        })
    }

    /// All segments.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.slots.iter().map(Slot::segment)
    }

    /// Shares all segments with a snapshot.
    pub(crate) fn share(&mut self, env: &mut Env) -> Vec<Arc<Segment>> {
        let mut shared = Vec::with_capacity(self.slots.len());
        shared.extend(self.slots.iter_mut().filter_map(|slot| slot.share(env)));
        shared
    }

    /// Changes the segment that an entry belongs to, whether the entry exists or not. `change` says
    /// whether it added an entry.
    #[inline]
    pub(crate) fn write(
        &mut self,
        probe: &Probe<'_>,
        env: &mut Env,
        change: impl FnOnce(&mut Segment, &mut Env) -> Result<Written>,
    ) -> Result<()> {
        let index = self.slot_index(probe.hash);
        if self.slots.is_empty() {
            self.add_slot(Slot::default(), env);
        }
        let Some(slot) = self.slots.get_mut(index) else { return Ok(()) };
        let segment = slot.segment_mut(env)?;
        let before = segment.live_bytes();
        let written = change(segment, env);
        let after = segment.live_bytes();
        if before != after {
            self.live_bytes = self.live_bytes + after as u64 - before as u64;
        }
        match written? {
            Written::Changed => {}
            Written::Removed => self.entries -= 1,
            Written::Added => self.entries += 1,
        }
        if before < after {
            self.split_if_full(env);
        }
        Ok(())
    }

    #[inline]
    fn split_if_full(&mut self, env: &mut Env) {
        let segments = self.slots.len() as u64;
        if self.entries > segments * SEGMENT_ENTRIES || self.live_bytes > segments * SEGMENT_BYTES {
            self.split_next(env);
        }
    }

    /// Splits one segment, the next in turn.
    #[cold]
    fn split_next(&mut self, env: &mut Env) {
        let count = self.slots.len();
        if count >= SEGMENTS_MAX || self.entries <= count as u64 {
            return;
        }
        let bit = 1usize << count.ilog2();
        let Some(slot) = self.slots.get_mut(count - bit) else { return };
        let (low, high) = slot.segment().split(bit as u64, env);
        slot.replace(low, env);
        env.account(0, high.memory_bytes());
        self.add_slot(Slot::new(high), env);
    }

    fn add_slot(&mut self, slot: Slot, env: &mut Env) {
        let before = self.slots.capacity();
        if self.slots.len() == before {
            self.slots.reserve_exact((before / 8).max(1));
        }
        self.slots.push(slot);
        env.account(before * size_of::<Slot>(), self.slots.capacity() * size_of::<Slot>());
        self.mask = self.slots.len().next_power_of_two() - 1;
    }
}

/// Where to look for an entry first. Good until entries are moved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spot {
    /// The number of the segment.
    pub(crate) slot: u32,
    /// Where in the segment's arena the entry may start, or
    /// [`NOWHERE`](crate::index::NOWHERE).
    pub(crate) place: u32,
}

/// What a change of a segment did to the number of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Nothing.
    Changed,
    /// One more.
    Added,
    /// One less.
    Removed,
}

impl Written {
    /// What adding an entry, or changing one that exists, did.
    #[inline]
    pub(crate) const fn added_if(new: bool) -> Self {
        if new { Self::Added } else { Self::Changed }
    }

    /// What removing an entry, or changing one, did.
    #[inline]
    pub(crate) const fn removed_if(gone: bool) -> Self {
        if gone { Self::Removed } else { Self::Changed }
    }
}
