//! The log: segments in the order in which they were begun. The newest are pieces in memory whose
//! records may be changed in place; full ones are frozen, written to files in the background and
//! mapped.
//!
//! ```text
//! older                                                                newer
//! [mapped] [mapped] ... [frozen, being written] [open] [open] [open: the tail]
//! ```
//!
//! # Invariants
//! - Of two records of one address, the newer lies in the newer segment, or behind the other in the
//!   same one. Only the last open piece, the tail, is appended to.
//! - A slot names a segment until that is released; slots are used again, sequence numbers are not.
//! - A frozen piece is read from memory until its file is mapped. If its file cannot be written, it
//!   stays there, and the log takes no more writes until it could be.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use millpond_state::{KeyGroupRange, Result, StateError};

use crate::error::{again, exhausted};
use crate::format::HEADER_BYTES;
use crate::location::Locations;
use crate::options::FsOptions;
use crate::segment::Segment;
use crate::ticket::{Frozen, Ticket};
use crate::view::{Part, View};
use crate::workers::Workers;
use millpond_state_folder::InstanceFolder;

/// A piece of the log in memory.
#[derive(Debug)]
pub(crate) struct Piece {
    buffer: Vec<u8>,
    used: usize,
}

/// Where the bytes of a segment are.
#[derive(Debug)]
pub(crate) enum Data {
    Free,
    Open(Piece),
    Frozen { buffer: Arc<Vec<u8>>, used: usize, ticket: Arc<Ticket> },
    Mapped(Arc<Segment>),
}

/// A segment and what is known of its records.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) data: Data,
    /// Place in the order of the log.
    pub(crate) seq: u64,
    /// The key groups whose records count; others may be there.
    pub(crate) groups: KeyGroupRange,
    /// Bytes of records that the index leads to.
    pub(crate) live_bytes: u64,
    /// Records that the index leads to.
    pub(crate) live_records: u64,
    /// Bytes of tombstones, whether they are still needed or not.
    pub(crate) tombstone_bytes: u64,
    /// Bytes of all records.
    pub(crate) bytes: u64,
    /// Bytes that had been appended to the log when the segment was begun.
    pub(crate) born: u64,
    /// Whether another instance wrote it, whose sequence numbers mean nothing here.
    pub(crate) is_adopted: bool,
}

/// See the [module](self).
pub(crate) struct Log {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots by sequence number.
    order: BTreeMap<u64, u32>,
    /// Slots of open pieces, the tail last.
    open: VecDeque<u32>,
    /// Slots of frozen pieces, the oldest first.
    frozen: VecDeque<u32>,
    next_seq: u64,
    open_bytes: usize,
    frozen_bytes: usize,
    /// Bytes of records of segments that are no longer open, and of all that the index leads to.
    sealed_bytes: u64,
    live_bytes: u64,
    /// Bytes ever appended.
    pub(crate) appended_bytes: u64,
    /// Why a piece could not be written, as long as one could not be.
    failure: Option<StateError>,
    pub(crate) locations: Locations,
    segment_bytes: usize,
    tail_bytes: usize,
    groups: KeyGroupRange,
    pub(crate) workers: Workers,
    pub(crate) folder: Arc<InstanceFolder>,
}

impl Log {
    /// An empty log.
    pub(crate) fn create(
        options: &FsOptions,
        groups: KeyGroupRange,
        workers: Workers,
        folder: Arc<InstanceFolder>,
    ) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            order: BTreeMap::new(),
            open: VecDeque::new(),
            frozen: VecDeque::new(),
            next_seq: 1,
            open_bytes: 0,
            frozen_bytes: 0,
            live_bytes: 0,
            appended_bytes: 0,
            failure: None,
            sealed_bytes: 0,
            locations: Locations::new(options.segment_bytes),
            segment_bytes: options.segment_bytes,
            tail_bytes: options.tail_bytes,
            groups,
            workers,
            folder,
        }
    }

    /// The segment of a slot.
    #[inline(always)]
    pub(crate) fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize)
    }

    /// All segments that are there, with their slots, the oldest first.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (u32, &Slot)> {
        self.order.values().filter_map(|slot| Some((*slot, self.slot(*slot)?)))
    }

    /// The segments with sequence numbers in `range`, the oldest first.
    pub(crate) fn in_range(&self, range: core::ops::Range<u64>) -> impl Iterator<Item = &Slot> {
        let found = if range.is_empty() { None } else { Some(self.order.range(range)) };
        found.into_iter().flatten().filter_map(|(_, slot)| self.slot(*slot))
    }

    /// Whether the segment of this number is still there.
    pub(crate) fn has(&self, seq: u64) -> bool {
        self.order.contains_key(&seq)
    }

    /// Bytes of records in segments that are no longer open.
    pub(crate) const fn sealed_bytes(&self) -> u64 {
        self.sealed_bytes
    }

    /// Bytes of records that the index leads to.
    pub(crate) const fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Bytes of memory: open and frozen pieces, and the table of segments.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let used = self.open.iter().filter_map(|slot| match &self.slot(*slot)?.data {
            Data::Open(piece) => Some(piece.used),
            _ => None,
        });
        let used = used.sum::<usize>() + self.frozen_bytes;
        (used + self.slots.capacity() * size_of::<Slot>()) as u64
    }

    /// The bytes of a piece in memory; of no other segment.
    #[inline(always)]
    pub(crate) fn in_memory<'a>(&self, slot: &'a Slot) -> Option<&'a [u8]> {
        match &slot.data {
            Data::Open(piece) => piece.buffer.get(..piece.used),
            Data::Frozen { buffer, used, .. } => buffer.get(..*used),
            _ => None,
        }
    }

    /// The bytes of an open piece from `offset` on, up to the end of its records.
    #[inline(always)]
    pub(crate) fn open_mut(&mut self, slot: u32, offset: usize) -> Option<&mut [u8]> {
        match &mut self.slots.get_mut(slot as usize)?.data {
            Data::Open(piece) => piece.buffer.get_mut(offset..piece.used),
            _ => None,
        }
    }

    /// Makes the last record of the tail, which ends at `end`, longer. `false` if it is not the
    /// last or there is no room.
    pub(crate) fn extend_tail(&mut self, slot: u32, end: usize, more: usize) -> bool {
        if self.open.back() != Some(&slot) {
            return false;
        }
        let Some(Slot { data: Data::Open(piece), bytes, .. }) = self.slots.get_mut(slot as usize)
        else {
            return false;
        };
        if piece.used != end || piece.buffer.len() - piece.used < more {
            return false;
        }
        piece.used += more;
        *bytes += more as u64;
        self.appended_bytes += more as u64;
        true
    }

    /// Fails if writes are refused because a piece could not be written to its file; then tries
    /// that once more.
    #[inline(always)]
    pub(crate) fn check_writable(&mut self) -> Result<()> {
        if self.failure.is_some() { self.retry() } else { Ok(()) }
    }

    /// Whether writes are refused.
    pub(crate) const fn is_failed(&self) -> bool {
        self.failure.is_some()
    }

    #[cold]
    fn retry(&mut self) -> Result<()> {
        self.wait_for_oldest();
        self.collect();
        let Some(failure) = &self.failure else { return Ok(()) };
        for slot in &self.frozen {
            if let Some(Slot { data: Data::Frozen { buffer, used, ticket }, seq, .. }) =
                self.slot(*slot)
                && matches!(ticket.outcome(), Some(Err(_)))
            {
                ticket.renew(frozen_piece(&self.folder, *seq, (buffer, *used)));
                ticket.start(&self.workers);
            }
        }
        Err(again(failure))
    }

    /// Room for a record of `bytes` at the end of the tail, and where that is.
    pub(crate) fn append(&mut self, bytes: usize) -> Result<(u32, usize, &mut [u8])> {
        let slot = match self.open.back() {
            Some(slot) if self.has_room(*slot, bytes) => *slot,
            _ => self.open_piece(bytes)?,
        };
        let Some(Slot { data: Data::Open(piece), bytes: total, .. }) =
            self.slots.get_mut(slot as usize)
        else {
            return Err(lost_tail());
        };
        let offset = piece.used;
        piece.used += bytes;
        *total += bytes as u64;
        self.appended_bytes += bytes as u64;
        let room = piece.buffer.get_mut(offset..piece.used).ok_or_else(lost_tail)?;
        Ok((slot, offset, room))
    }

    #[inline(always)]
    fn has_room(&self, slot: u32, bytes: usize) -> bool {
        match self.slot(slot) {
            Some(Slot { data: Data::Open(piece), .. }) => piece.buffer.len() - piece.used >= bytes,
            _ => false,
        }
    }

    /// Begins a new piece that has room for a record of `bytes`.
    #[cold]
    fn open_piece(&mut self, bytes: usize) -> Result<u32> {
        let capacity = self.segment_bytes.max(HEADER_BYTES + bytes);
        while self.open_bytes + capacity > self.tail_bytes && !self.open.is_empty() {
            self.freeze_oldest();
        }
        self.start_writing();
        self.collect();
        while self.frozen_bytes > self.tail_bytes && self.failure.is_none() {
            self.wait_for_oldest();
            self.collect();
        }
        let buffer = self.workers.buffer(capacity);
        let piece = Piece { buffer, used: HEADER_BYTES };
        let slot = self.add_segment(Data::Open(piece), self.groups, 0)?;
        self.open.push_back(slot);
        self.open_bytes += capacity;
        Ok(slot)
    }

    /// Adds a segment behind all others.
    fn add_segment(&mut self, data: Data, groups: KeyGroupRange, bytes: u64) -> Result<u32> {
        let seq = self.next_seq;
        let (live_bytes, live_records, tombstone_bytes) = (0, 0, 0);
        let born = self.appended_bytes;
        let is_adopted = matches!(data, Data::Mapped(_));
        let segment = Slot {
            data,
            seq,
            groups,
            live_bytes,
            live_records,
            tombstone_bytes,
            bytes,
            born,
            is_adopted,
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() >= self.locations.slots_max() => return Err(too_many()),
            None => self.slots.len() as u32,
        };
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = segment,
            None => self.slots.push(segment),
        }
        self.order.insert(seq, slot);
        self.next_seq += 1;
        Ok(slot)
    }

    /// Adds a segment that was fetched, of which only records of `groups` count.
    pub(crate) fn adopt(&mut self, segment: Arc<Segment>, groups: KeyGroupRange) -> Result<u32> {
        // What was begun before is older.
        self.freeze();
        let bytes = (segment.data().len() - HEADER_BYTES) as u64;
        self.sealed_bytes += bytes;
        self.add_segment(Data::Mapped(segment), groups, bytes)
    }

    /// Has the oldest open piece written.
    fn freeze_oldest(&mut self) {
        let Some(slot) = self.open.pop_front() else { return };
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        match core::mem::replace(&mut place.data, Data::Free) {
            Data::Open(Piece { buffer, used }) => {
                self.open_bytes -= buffer.len();
                self.sealed_bytes += place.bytes;
                self.frozen_bytes += used;
                let (buffer, seq) = (Arc::new(buffer), place.seq);
                let ticket = Ticket::new(frozen_piece(&self.folder, seq, (&buffer, used)));
                place.data = Data::Frozen { buffer, used, ticket: Arc::new(ticket) };
                self.frozen.push_back(slot);
            }
            other => place.data = other,
        }
    }

    /// Hands over what is frozen.
    fn start_writing(&self) {
        for slot in &self.frozen {
            if let Some(Slot { data: Data::Frozen { ticket, .. }, .. }) = self.slot(*slot) {
                ticket.start(&self.workers);
            }
        }
    }

    fn wait_for_oldest(&self) {
        self.start_writing();
        if let Some(slot) = self.frozen.front()
            && let Some(Slot { data: Data::Frozen { ticket, .. }, .. }) = self.slot(*slot)
        {
            ticket.wait();
        }
    }

    /// Takes over the files that were written, and notes whether one could not be.
    pub(crate) fn collect(&mut self) {
        if self.frozen.is_empty() {
            return;
        }
        let mut failure = None;
        let mut left = VecDeque::with_capacity(self.frozen.len());
        while let Some(slot) = self.frozen.pop_front() {
            let Some(place) = self.slots.get_mut(slot as usize) else { continue };
            let Data::Frozen { ticket, used, .. } = &place.data else { continue };
            match ticket.outcome() {
                Some(Ok(segment)) => {
                    self.frozen_bytes -= *used;
                    let data = core::mem::replace(&mut place.data, Data::Mapped(segment));
                    self.recycle(data);
                    continue;
                }
                Some(Err(error)) => failure = Some(error),
                None => {}
            }
            left.push_back(slot);
        }
        let was_failed = self.failure.is_some() && !left.is_empty();
        self.failure = failure.or_else(|| self.failure.take().filter(|_| was_failed));
        self.frozen = left;
    }

    fn recycle(&self, data: Data) {
        if let Data::Frozen { buffer, .. } = data
            && let Ok(buffer) = Arc::try_unwrap(buffer)
            && buffer.len() == self.segment_bytes
        {
            self.workers.recycle(buffer);
        }
    }

    /// Freezes all open pieces that have records.
    pub(crate) fn freeze(&mut self) {
        self.collect();
        while let Some(slot) = self.open.front() {
            let is_empty = self.slot(*slot).is_some_and(|slot| slot.bytes == 0);
            if is_empty && self.open.len() == 1 {
                // Nothing is older than what comes now.
                self.renumber_tail();
                return;
            }
            self.freeze_oldest();
        }
    }

    /// Makes the empty tail the newest segment.
    fn renumber_tail(&mut self) {
        let Some(slot) = self.open.back().copied() else { return };
        if let Some(place) = self.slots.get_mut(slot as usize) {
            self.order.remove(&place.seq);
            place.seq = self.next_seq;
            self.order.insert(place.seq, slot);
            self.next_seq += 1;
        }
    }

    /// Freezes the log and shares all of it that has anything to say.
    pub(crate) fn share(&mut self) -> View {
        self.freeze();
        let mut parts = Vec::with_capacity(self.order.len());
        for (_, slot) in self.in_order() {
            if slot.live_records == 0 && slot.tombstone_bytes == 0 {
                continue;
            }
            match &slot.data {
                Data::Frozen { ticket, .. } => {
                    parts.push((Part::Promised(Arc::clone(ticket)), slot.groups));
                }
                Data::Mapped(segment) => {
                    parts.push((Part::Mapped(Arc::clone(segment)), slot.groups));
                }
                Data::Free | Data::Open(_) => {}
            }
        }
        View { parts, folder: Arc::clone(&self.folder), workers: self.workers.clone() }
    }

    /// Counts a record of `bytes` as live.
    #[inline(always)]
    pub(crate) fn add_live(&mut self, slot: u32, bytes: usize) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.live_bytes += bytes as u64;
            slot.live_records += 1;
            self.live_bytes += bytes as u64;
        }
    }

    /// Counts so many restored records as live.
    pub(crate) fn add_restored(&mut self, slot: u32, (records, bytes): (u64, u64)) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            let bytes = bytes.min(slot.bytes - slot.live_bytes.min(slot.bytes));
            slot.live_bytes += bytes;
            slot.live_records += records;
            self.live_bytes += bytes;
        }
    }

    /// Counts a record of `bytes` as dead.
    #[inline(always)]
    pub(crate) fn add_dead(&mut self, slot: u32, bytes: usize) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            // What restored records take is an estimate.
            let bytes = match slot.live_records {
                0 | 1 => slot.live_bytes,
                _ => (bytes as u64).min(slot.live_bytes),
            };
            slot.live_bytes -= bytes;
            slot.live_records = slot.live_records.saturating_sub(1);
            self.live_bytes = self.live_bytes.saturating_sub(bytes);
        }
    }

    /// Counts the live record of a slot as larger or smaller.
    pub(crate) fn resize_live(&mut self, slot: u32, from: usize, to: usize) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.live_bytes = (slot.live_bytes + to as u64).saturating_sub(from as u64);
            self.live_bytes = (self.live_bytes + to as u64).saturating_sub(from as u64);
        }
    }

    /// Counts a tombstone of `bytes`.
    pub(crate) fn add_tombstone(&mut self, slot: u32, bytes: u64) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.tombstone_bytes += bytes;
        }
    }

    /// Lets go of a mapped segment that nothing leads to any more.
    pub(crate) fn release(&mut self, slot: u32) {
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        let data = core::mem::replace(&mut place.data, Data::Free);
        self.order.remove(&place.seq);
        self.sealed_bytes -= place.bytes;
        self.live_bytes = self.live_bytes.saturating_sub(place.live_bytes);
        (place.bytes, place.live_bytes, place.live_records, place.tombstone_bytes) = (0, 0, 0, 0);
        self.free.push(slot);
        if let Data::Mapped(segment) = data {
            self.workers.release(segment);
        }
    }
}

fn frozen_piece(
    folder: &Arc<InstanceFolder>,
    seq: u64,
    (buffer, used): (&Arc<Vec<u8>>, usize),
) -> Frozen {
    let (buffer, folder) = (Arc::clone(buffer), Arc::clone(folder));
    Frozen { buffer, used, name: format!("{seq}.seg"), folder }
}

#[cold]
fn lost_tail() -> StateError {
    exhausted("the log has no open piece")
}

#[cold]
fn too_many() -> StateError {
    exhausted("the log has all segments that the index can name: set larger segments")
}
