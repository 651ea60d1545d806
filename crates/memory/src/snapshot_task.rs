//! The asynchronous part of a snapshot: writes the shared segments in canonical order.
//!
//! # Invariants
//! - Key groups are written one after the other; only one group's entries are sorted at a time, and
//!   its segments are let go as soon as it is written, so that the writer need not copy them.
//! - Whatever way the task ends, dropping it lets go of everything.

use std::sync::Arc;

use millpond_state::{
    CancelFlag, EntrySink, KeyGroup, Result, SnapshotEntry, SnapshotSummary, SnapshotTask,
    StateDescriptor,
};

use crate::entry_layout::Layout;
use crate::env::DetachedBytes;
use crate::map_chunks::key_prefix;
use crate::packed_map::{self, MapEntry};
use crate::segment::{Segment, Stored};

/// Entries written between two looks at the cancel flag.
pub(crate) const CANCEL_CHECK_ENTRIES: u64 = 256;

/// The segments of one state in one key group, shared with the backend.
pub(crate) struct SharedTable {
    /// The key group.
    pub(crate) group: KeyGroup,
    /// Index of the state.
    pub(crate) state: u16,
    /// Whether it is a map state.
    pub(crate) is_map: bool,
    /// The segments that have entries.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Where to account for segments that the backend no longer uses.
    pub(crate) detached: DetachedBytes,
}

impl SharedTable {
    /// Its entries; of maps the user keys.
    pub(crate) fn entries(&self) -> u64 {
        if self.is_map {
            return self.count_map_entries(|_| true, |_| true);
        }
        self.segments.iter().map(|segment| segment.len() as u64).sum()
    }

    /// Its entries that changed after `epoch`; of maps the user keys.
    pub(crate) fn entries_since(&self, epoch: u32) -> u64 {
        let changed = |segment: &&Arc<Segment>| segment.newest_epoch() > epoch;
        if self.is_map {
            return self.count_map_entries(
                |segment| segment.newest_epoch() > epoch,
                |entry| entry.epoch > epoch,
            );
        }
        let segments = self.segments.iter().filter(changed);
        let layouts = segments.flat_map(|segment| segment.entries());
        layouts.filter(|layout| layout.epoch() > epoch).count() as u64
    }

    fn count_map_entries(
        &self,
        of_segment: impl Fn(&Segment) -> bool,
        counts: impl Fn(&MapEntry<'_>) -> bool,
    ) -> u64 {
        let mut count = 0;
        for segment in self.segments.iter().filter(|segment| of_segment(segment)) {
            for layout in segment.entries() {
                count += match segment.value(&layout) {
                    Stored::Inline(packed) => {
                        packed_map::entries(packed).filter(|(_, entry)| counts(entry)).count()
                    }
                    Stored::Map(map) => map.entries().filter(|entry| counts(entry)).count(),
                    Stored::Blob(_) => 0,
                };
            }
        }
        count as u64
    }
}

impl Drop for SharedTable {
    fn drop(&mut self) {
        for segment in self.segments.drain(..) {
            self.detached.release(segment);
        }
    }
}

/// A snapshot that was taken and is to be written.
pub(crate) struct MemorySnapshot {
    /// All states of the backend.
    pub(crate) states: Vec<StateDescriptor>,
    /// The tables with entries, by key group, then state.
    pub(crate) tables: Vec<SharedTable>,
    /// The epoch up to which changes were confirmed when the snapshot was taken.
    pub(crate) confirmed: u32,
}

impl SnapshotTask for MemorySnapshot {
    fn run(
        self: Box<Self>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary> {
        let Self { states, tables, confirmed } = *self;
        cancel.check()?;
        sink.begin(&states)?;
        let summary = SnapshotSummary::default();
        let mut out = Output { sink, cancel, confirmed, summary, whole: Vec::new() };
        let mut places = Vec::new();
        for table in tables {
            places.clear();
            collect_places(&table.segments, 0, &mut places);
            sort_places(&table.segments, &mut places);
            for place in &places {
                out.write_entry(&table, place)?;
            }
        }
        Ok(out.summary)
    }
}

/// Where an entry is, and the start of its key for sorting.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    prefix: u64,
    segment: u32,
    at: u32,
}

/// The places of the entries that changed after epoch `since`. There is no epoch 0.
pub(crate) fn collect_places(segments: &[Arc<Segment>], since: u32, places: &mut Vec<Place>) {
    if since == 0 {
        places.reserve(segments.iter().map(|segment| segment.len()).sum());
    }
    for (number, segment) in segments.iter().enumerate() {
        if segment.newest_epoch() <= since {
            continue;
        }
        let changed = segment.entries().filter(|layout| layout.epoch() > since);
        places.extend(changed.map(|layout| Place {
            prefix: key_prefix(layout.key(&segment.arena)),
            segment: number as u32,
            at: layout.at as u32,
        }));
    }
}

pub(crate) fn sort_places(segments: &[Arc<Segment>], places: &mut [Place]) {
    let address = |place: &Place| {
        let arena = segments.get(place.segment as usize).map_or(&[][..], |s| &s.arena);
        let layout = Layout::read(arena, place.at as usize);
        (layout.key(arena), layout.namespace(arena))
    };
    places
        .sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| address(a).cmp(&address(b))));
}

/// The entry at a place, without its value, its value, and the epoch of its last change.
pub(crate) fn entry_at<'t>(
    table: &'t SharedTable,
    place: &Place,
) -> Option<(SnapshotEntry<'t>, Stored<'t>, u32)> {
    let segment = table.segments.get(place.segment as usize)?;
    let layout = Layout::read(&segment.arena, place.at as usize);
    let entry = SnapshotEntry {
        group: table.group,
        state: table.state,
        key: layout.key(&segment.arena),
        namespace: layout.namespace(&segment.arena),
        user_key: &[],
        value: &[],
    };
    Some((entry, segment.value(&layout), layout.epoch()))
}

/// The sink and what is known of the snapshot so far.
struct Output<'a> {
    sink: &'a mut dyn EntrySink,
    cancel: &'a CancelFlag,
    confirmed: u32,
    summary: SnapshotSummary,
    /// A value in pieces, put together.
    whole: Vec<u8>,
}

impl Output<'_> {
    fn write_entry(&mut self, table: &SharedTable, place: &Place) -> Result<()> {
        let Some((entry, stored, epoch)) = entry_at(table, place) else { return Ok(()) };
        match stored {
            Stored::Inline(packed) if table.is_map => {
                self.emit_map(&entry, packed_map::entries(packed).map(|(_, entry)| entry))
            }
            Stored::Inline(value) => self.emit(&SnapshotEntry { value, ..entry }, epoch),
            Stored::Map(map) => self.emit_map(&entry, map.entries()),
            Stored::Blob(blob) => {
                if let Some(value) = blob.contiguous() {
                    return self.emit(&SnapshotEntry { value, ..entry }, epoch);
                }
                let mut whole = core::mem::take(&mut self.whole);
                whole.clear();
                blob.copy_to(&mut whole);
                let outcome = self.emit(&SnapshotEntry { value: &whole, ..entry }, epoch);
                self.whole = whole;
                outcome
            }
        }
    }

    fn emit_map<'m>(
        &mut self,
        of: &SnapshotEntry<'_>,
        entries: impl Iterator<Item = MapEntry<'m>>,
    ) -> Result<()> {
        for MapEntry { epoch, user_key, value } in entries {
            self.emit(&SnapshotEntry { user_key, value, ..*of }, epoch)?;
        }
        Ok(())
    }

    #[inline]
    fn emit(&mut self, entry: &SnapshotEntry<'_>, epoch: u32) -> Result<()> {
        if self.summary.entries.is_multiple_of(CANCEL_CHECK_ENTRIES) {
            self.cancel.check()?;
        }
        self.sink.entry(entry)?;
        self.summary.entries += 1;
        self.summary.entries_changed += u64::from(epoch > self.confirmed);
        Ok(())
    }
}
