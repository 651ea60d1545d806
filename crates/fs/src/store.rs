//! Records found by address: the index over the log.
//!
//! # Invariants
//! - The index leads to the newest record of each address that is not deleted, and to no other.
//! - A write that fails has changed nothing.
//! - What is read from a mapped file was compared with its checksum, the record of another address
//!   that was met on the way included.
//!
//! # Failures
//! A damaged record is [`ErrorKind::Corrupt`](millpond_state::ErrorKind) and names file and offset;
//! the bound of the index and a full disk are
//! [`ErrorKind::ResourceExhausted`](millpond_state::ErrorKind).

use std::sync::Arc;

use millpond_state::{KeyGroup, KeyGroupRange, Result};
use prefetch_index::prefetch_index;

use crate::compaction::Compaction;
use crate::error::{corrupt, exhausted};
use crate::index::{Index, SlotRef, Tag};
use crate::log::{Data, Log, Slot};
use crate::options::FsOptions;
use crate::record::{Address, Item, Place, Record, is_whole, value_bytes, write_filler};
use crate::workers::Workers;
use millpond_state_folder::InstanceFolder;

/// Bytes of what a tombstone knows: the oldest segment that still has a record of its address.
pub(crate) const WITNESS_BYTES: usize = 8;

/// Bytes of a group of writes that compaction takes into account, so that none waits long.
const GROUP_PACE_BYTES_MAX: u64 = 64 << 10;

/// Bytes that come into the cache at once.
const CACHE_LINE_BYTES: usize = 64;

/// Bytes of a value that are asked for; the processor sees by itself that what follows is read.
const PREFETCHED_BYTES_MAX: usize = 512;

/// Where the newest record of an address is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) at: SlotRef,
    pub(crate) slot: u32,
    pub(crate) offset: usize,
    pub(crate) place: Place,
}

/// Where the index probably has an address: to be found out early, and looked at later.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Guess {
    at: SlotRef,
    /// 0: nowhere.
    location: u64,
}

/// A record of the address that was looked for.
struct Seen<'s> {
    slot: u32,
    offset: usize,
    place: Place,
    /// From its front on.
    bytes: &'s [u8],
}

impl<'s> Seen<'s> {
    #[inline(always)]
    fn value(&self) -> &'s [u8] {
        let Place { start, bytes } = self.place;
        self.bytes.get(start..start + bytes).unwrap_or_default()
    }

    #[inline(always)]
    const fn hit(&self, at: SlotRef) -> Hit {
        Hit { at, slot: self.slot, offset: self.offset, place: self.place }
    }
}

/// See the [module](self).
pub(crate) struct Store {
    pub(crate) index: Index,
    pub(crate) log: Log,
    pub(crate) compaction: Compaction,
    index_bytes_max: u64,
}

impl Store {
    /// An empty store.
    pub(crate) fn create(
        options: &FsOptions,
        groups: KeyGroupRange,
        workers: Workers,
        folder: Arc<InstanceFolder>,
    ) -> Self {
        Self {
            index: Index::new(groups),
            log: Log::create(options, groups, workers, folder),
            compaction: Compaction::new(options),
            index_bytes_max: options.index_bytes_max.unwrap_or(u64::MAX),
        }
    }

    #[inline(always)]
    pub(crate) fn tag(&self, at: &Address<'_>) -> Tag {
        self.index.tag(at.group(), at.hash())
    }

    /// Finds the newest record of an address.
    #[inline(always)]
    pub(crate) fn find(&self, at: &Address<'_>) -> Result<Option<Hit>> {
        let found = self.index.find(self.tag(at), |location| self.look(location, at))?;
        Ok(found.map(|(slot, seen)| seen.hit(slot)))
    }

    /// As [`Self::find`], and looks first where the address was guessed to be.
    #[inline(always)]
    pub(crate) fn find_guessed(&self, at: &Address<'_>, guess: Guess) -> Result<Option<Hit>> {
        // What was written since may have led the index elsewhere.
        if self.index.leads_to(guess.at, guess.location)
            && let Some(seen) = self.look(guess.location, at)?
        {
            return Ok(Some(seen.hit(guess.at)));
        }
        self.find(at)
    }

    /// The record at a location if it is of this address.
    #[inline(always)]
    fn look(&self, location: u64, at: &Address<'_>) -> Result<Option<Seen<'_>>> {
        let (slot, offset) = self.log.locations.split(location);
        let Some(segment) = self.log.slot(slot) else { return Ok(None) };
        if let Data::Mapped(mapped) = &segment.data {
            let bytes = mapped.data().get(offset..).unwrap_or_default();
            let Some(place) = at.find_value(bytes) else {
                return mapped.item(offset).map(|_| None);
            };
            return match bytes.get(..place.record_bytes()) {
                Some(bytes) if is_whole(bytes) => Ok(Some(Seen { slot, offset, place, bytes })),
                _ => Err(mapped.damaged(offset)),
            };
        }
        let bytes = self.log.in_memory(segment).and_then(|bytes| bytes.get(offset..));
        let bytes = bytes.unwrap_or_default();
        Ok(at.find_value(bytes).map(|place| Seen { slot, offset, place, bytes }))
    }

    /// The value of a record that was found.
    #[inline(always)]
    pub(crate) fn value(&self, hit: &Hit) -> &[u8] {
        let start = hit.offset + hit.place.start;
        self.bytes_of(hit.slot).get(start..start + hit.place.bytes).unwrap_or_default()
    }

    #[inline(always)]
    fn bytes_of(&self, slot: u32) -> &[u8] {
        let Some(segment) = self.log.slot(slot) else { return &[] };
        match &segment.data {
            Data::Mapped(mapped) => mapped.data(),
            _ => self.log.in_memory(segment).unwrap_or_default(),
        }
    }

    /// The value of an address.
    #[inline(always)]
    pub(crate) fn get(&self, at: &Address<'_>) -> Result<Option<&[u8]>> {
        let found = self.index.find(self.tag(at), |location| self.look(location, at))?;
        Ok(found.map(|(_, seen)| seen.value()))
    }

    /// As [`Self::get`], and looks first where the address was guessed to be. Nothing may have been
    /// written since.
    #[inline(always)]
    pub(crate) fn get_guessed(&self, at: &Address<'_>, guess: Guess) -> Result<Option<&[u8]>> {
        if guess.location != 0
            && let Some(seen) = self.look(guess.location, at)?
        {
            return Ok(Some(seen.value()));
        }
        self.get(at)
    }

    /// The record at a location.
    pub(crate) fn record(&self, location: u64) -> Result<Record<'_>> {
        let (slot, offset) = self.log.locations.split(location);
        if let Some(Slot { data: Data::Mapped(segment), .. }) = self.log.slot(slot) {
            return segment.record(offset);
        }
        let bytes = self.bytes_of(slot).get(offset..).unwrap_or_default();
        let record = Item::parse(bytes).and_then(Item::record);
        record.ok_or_else(|| corrupt("the log in memory", offset, "the index leads to no record"))
    }

    /// Asks for the cache line of the index where a search for the address begins.
    #[inline(always)]
    pub(crate) fn prefetch_index(&self, tag: Tag) {
        self.index.prefetch(tag);
    }

    /// Asks for the front of the record that the index probably leads to.
    #[inline(always)]
    pub(crate) fn prefetch_record(&self, tag: Tag, head_bytes: usize) -> Guess {
        let Some((at, location)) = self.index.first(tag) else { return Guess::default() };
        let (slot, offset) = self.log.locations.split(location);
        let bytes = self.bytes_of(slot);
        prefetch_index(bytes, offset);
        if place_in_line(bytes, offset) + head_bytes > CACHE_LINE_BYTES {
            prefetch_index(bytes, offset + CACHE_LINE_BYTES);
        }
        Guess { at, location }
    }

    /// Asks for the rest of a record whose front is there: its value is read, and compared with the
    /// checksum.
    #[inline(always)]
    pub(crate) fn prefetch_value(&self, guess: Guess, head_bytes: usize) {
        if guess.location == 0 {
            return;
        }
        let (slot, offset) = self.log.locations.split(guess.location);
        let bytes = self.bytes_of(slot);
        let record = bytes.get(offset..).unwrap_or_default();
        let size = head_bytes + value_bytes(record).min(PREFETCHED_BYTES_MAX);
        let in_line = place_in_line(bytes, offset);
        let mut next = CACHE_LINE_BYTES - in_line;
        while next < size {
            prefetch_index(record, next);
            next += CACHE_LINE_BYTES;
        }
    }

    /// Fails if so many new records might pass the bound of the index, or writes are refused.
    #[inline(always)]
    pub(crate) fn admit(&mut self, records: u64) -> Result<()> {
        self.check_writable()?;
        if self.index_bytes_max == u64::MAX
            || self.compaction.is_paused
            || self.index.bytes_with(records) <= self.index_bytes_max
        {
            return Ok(());
        }
        Err(index_full(self.index_bytes_max))
    }

    /// Fails if writes are refused. In a group of writes the first has asked for all.
    #[inline(always)]
    fn check_writable(&mut self) -> Result<()> {
        if self.compaction.is_paused { Ok(()) } else { self.log.check_writable() }
    }

    /// Sets the value of an address; `true` if there was none.
    #[inline(always)]
    pub(crate) fn put(&mut self, at: &Address<'_>, value: &[u8]) -> Result<bool> {
        self.put_found(self.find(at)?, at, value)
    }

    /// Sets the value of an address that was looked for; `true` if there was none.
    #[inline(always)]
    pub(crate) fn put_found(
        &mut self,
        found: Option<Hit>,
        at: &Address<'_>,
        value: &[u8],
    ) -> Result<bool> {
        match found {
            Some(hit) => self.replace(&hit, at, value).map(|()| false),
            None => self.add(at, value).map(|()| true),
        }
    }

    /// Sets the value of an address that was found.
    #[inline(always)]
    pub(crate) fn replace(&mut self, hit: &Hit, at: &Address<'_>, value: &[u8]) -> Result<()> {
        self.check_writable()?;
        if self.overwrite(hit, at, value) {
            return Ok(());
        }
        let (size, old) = (at.record_bytes(value.len()), hit.place.record_bytes());
        let (slot, offset, room) = self.log.append(size)?;
        at.write(value, room);
        self.log.add_live(slot, size);
        self.log.add_dead(hit.slot, old);
        self.index.set(hit.at, self.log.locations.join(slot, offset));
        self.compact(size);
        Ok(())
    }

    /// Adds an address that is not there.
    pub(crate) fn add(&mut self, at: &Address<'_>, value: &[u8]) -> Result<()> {
        self.admit(1)?;
        let size = at.record_bytes(value.len());
        let (slot, offset, room) = self.log.append(size)?;
        at.write(value, room);
        self.log.add_live(slot, size);
        self.index.insert(self.tag(at), self.log.locations.join(slot, offset));
        self.compact(size);
        Ok(())
    }

    /// Makes the value of a record in an open piece longer by `bytes`, if there is room.
    pub(crate) fn grow(&mut self, hit: &Hit, at: &Address<'_>, bytes: &[u8]) -> bool {
        let old = hit.place.record_bytes();
        let length = hit.place.bytes + bytes.len();
        let new = at.record_bytes(length);
        if new > old && !self.make_room(hit, old, new) {
            return false;
        }
        let Some(record) = self.log.open_mut(hit.slot, hit.offset) else { return false };
        if let Some(place) = record.get_mut(4..8) {
            place.copy_from_slice(&(length as u32).to_le_bytes());
        }
        let start = hit.place.start + hit.place.bytes;
        if let Some((place, padding)) =
            record.get_mut(start..new).and_then(|rest| rest.split_at_mut_checked(bytes.len()))
        {
            place.copy_from_slice(bytes);
            padding.fill(0);
        }
        self.log.resize_live(hit.slot, old, new);
        true
    }

    /// Does several writes as one: compaction waits, so that what was found stays where it is.
    pub(crate) fn grouped<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = self.log.appended_bytes;
        self.compaction.is_paused = true;
        let outcome = write(self);
        self.compaction.is_paused = false;
        let appended = self.log.appended_bytes - before;
        self.compact(appended.min(GROUP_PACE_BYTES_MAX) as usize);
        outcome
    }

    /// Writes over a record in an open piece, if the new one fits.
    #[inline(always)]
    fn overwrite(&mut self, hit: &Hit, at: &Address<'_>, value: &[u8]) -> bool {
        let (old, new) = (hit.place.record_bytes(), at.record_bytes(value.len()));
        if new > old && !self.make_room(hit, old, new) {
            return false;
        }
        let Some(bytes) = self.log.open_mut(hit.slot, hit.offset) else { return false };
        at.write(value, bytes);
        if new < old
            && let Some(rest) = bytes.get_mut(new..)
        {
            write_filler(rest, old - new);
        }
        if new != old {
            self.log.resize_live(hit.slot, old, new);
        }
        true
    }

    /// Takes the room behind a record in an open piece, as far as it is needed.
    fn make_room(&mut self, hit: &Hit, old: usize, new: usize) -> bool {
        let end = hit.offset + old;
        if self.log.extend_tail(hit.slot, end, new - old) {
            return true;
        }
        let Some(rest) = self.log.open_mut(hit.slot, end) else { return false };
        let Some(Item::Filler(size)) = Item::parse(rest) else { return false };
        let more = new - old;
        if size < more {
            return false;
        }
        if size > more
            && let Some(rest) = rest.get_mut(more..)
        {
            write_filler(rest, size - more);
        }
        true
    }

    /// Leaves room for `bytes` behind a record that was just written, if that is the last.
    pub(crate) fn leave_room(&mut self, hit: &Hit, bytes: usize) {
        let bytes = bytes & !(crate::record::ALIGNMENT - 1);
        let end = hit.offset + hit.place.record_bytes();
        if bytes > 0
            && self.log.extend_tail(hit.slot, end, bytes)
            && let Some(rest) = self.log.open_mut(hit.slot, end)
        {
            write_filler(rest, bytes);
        }
    }

    /// Removes an address; `true` if it was there.
    pub(crate) fn delete(&mut self, at: &Address<'_>) -> Result<bool> {
        let Some(hit) = self.find(at)? else { return Ok(false) };
        self.delete_found(&hit, at)?;
        Ok(true)
    }

    /// Removes an address that was found.
    pub(crate) fn delete_found(&mut self, hit: &Hit, at: &Address<'_>) -> Result<()> {
        self.check_writable()?;
        let size = self.append_tombstone(at, 0)?;
        self.log.add_dead(hit.slot, hit.place.record_bytes());
        self.index.remove(hit.at);
        self.compact(size);
        Ok(())
    }

    /// Appends the record that an address is gone; `witness` is the oldest segment that is known to
    /// have a record of it, 0 for none. Returns its bytes.
    pub(crate) fn append_tombstone(&mut self, at: &Address<'_>, witness: u64) -> Result<usize> {
        let known = witness.to_le_bytes();
        let value = if witness == 0 { &[][..] } else { &known[..] };
        let size = at.record_bytes(value.len());
        let (slot, _, room) = self.log.append(size)?;
        at.write_tombstone(value, room);
        self.log.add_tombstone(slot, size as u64);
        Ok(size)
    }

    /// Key groups and locations of all records of `groups`.
    pub(crate) fn locations(
        &self,
        groups: KeyGroupRange,
    ) -> impl Iterator<Item = (KeyGroup, u64)> + '_ {
        self.index.locations(groups)
    }
}

/// Where in a cache line the byte at `offset` is.
#[inline(always)]
fn place_in_line(bytes: &[u8], offset: usize) -> usize {
    bytes.as_ptr().addr().wrapping_add(offset) % CACHE_LINE_BYTES
}

#[cold]
fn index_full(bytes: u64) -> millpond_state::StateError {
    exhausted(format!(
        "another entry might need more than the {bytes} bytes that the index is bound to: raise \
         index_bytes_max, or spread the state over more subtasks"
    ))
}
