//! The asynchronous part of a canonical snapshot: reads the hints of one key group after the other
//! and writes the entries that they lead to, sorted.
//!
//! # Invariants
//! - Only one key group's keys are held at a time, and no values but that of the present entry if
//!   it is in parts.
//! - Whatever way the task ends, dropping it lets go of the segments.

use std::cmp::Ordering;

use millpond_state::{
    CancelFlag, EntrySink, KeyGroup, KeyGroupRange, Result, SnapshotEntry, SnapshotSummary,
    SnapshotTask, StateDescriptor,
};

use crate::node::{Node, entries, or_damaged};
use crate::record::Record;
use crate::view::{Newest, Segments, View};

/// Entries written between two looks at the cancel flag.
const CANCEL_CHECK_ENTRIES: u64 = 256;

/// A snapshot that was taken and is to be written.
pub(crate) struct FsSnapshot {
    pub(crate) states: Vec<StateDescriptor>,
    /// By state.
    pub(crate) is_map: Vec<bool>,
    pub(crate) groups: KeyGroupRange,
    pub(crate) view: View,
}

impl SnapshotTask for FsSnapshot {
    fn run(
        self: Box<Self>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary> {
        let Self { states, is_map, groups, view } = *self;
        cancel.check()?;
        let folder = std::sync::Arc::clone(&view.folder);
        let segments = view.resolve(cancel)?;
        sink.begin(&states)?;
        let mut out = Output { sink, cancel, is_map: &is_map, written: 0, whole: Vec::new() };
        for group in groups.iter() {
            out.write_group(&segments, group)?;
        }
        let mut summary = SnapshotSummary::default();
        (summary.entries, summary.entries_changed) = (out.written, out.written);
        drop((segments, folder));
        Ok(summary)
    }
}

/// A record and its place in canonical order; the parts of an entry are neighbours.
struct Sorted<'s> {
    prefix: u64,
    newest: Newest,
    record: Record<'s>,
}

/// All records of one key group, sorted.
fn sorted<'s>(
    segments: &'s Segments,
    group: KeyGroup,
    cancel: &CancelFlag,
) -> Result<Vec<Sorted<'s>>> {
    let newest = segments.newest(group)?;
    let mut found = Vec::with_capacity(newest.len());
    for (number, newest) in newest.into_iter().enumerate() {
        if (number as u64).is_multiple_of(CANCEL_CHECK_ENTRIES) {
            cancel.check()?;
        }
        let Some((segment, _)) = segments.0.get(newest.segment as usize) else { continue };
        let record = segment.record(newest.hint.offset())?;
        let prefix = key_prefix(record.address().key());
        found.push(Sorted { prefix, newest, record });
    }
    found.sort_unstable_by(compare);
    Ok(found)
}

/// The first eight bytes of a key as a number that orders as they do.
fn key_prefix(key: &[u8]) -> u64 {
    let mut prefix = [0; 8];
    prefix.iter_mut().zip(key).for_each(|(to, byte)| *to = *byte);
    u64::from_be_bytes(prefix)
}

fn compare(one: &Sorted<'_>, other: &Sorted<'_>) -> Ordering {
    let states = one.newest.hint.state().cmp(&other.newest.hint.state());
    states.then(one.prefix.cmp(&other.prefix)).then_with(|| {
        let (one, other) = (one.record.address(), other.record.address());
        let keys = one.key().cmp(other.key());
        let namespaces = keys.then_with(|| one.namespace().cmp(other.namespace()));
        namespaces.then_with(|| one.chunk().cmp(&other.chunk()))
    })
}

/// Where entries go.
struct Output<'a> {
    sink: &'a mut dyn EntrySink,
    cancel: &'a CancelFlag,
    is_map: &'a [bool],
    written: u64,
    /// A value in parts, put together.
    whole: Vec<u8>,
}

impl Output<'_> {
    fn write_group(&mut self, segments: &Segments, group: KeyGroup) -> Result<()> {
        let sorted = sorted(segments, group, self.cancel)?;
        let is_next = |_: &Sorted<'_>, next: &Sorted<'_>| next.record.address().chunk() != 0;
        for parts in sorted.chunk_by(is_next) {
            let Some(first) = parts.first() else { continue };
            let address = first.record.address();
            or_damaged((address.chunk() == 0).then_some(()))?;
            let entry = SnapshotEntry {
                group,
                state: first.record.state(),
                key: address.key(),
                namespace: address.namespace(),
                user_key: &[],
                value: &[],
            };
            let is_map = self.is_map.get(usize::from(entry.state));
            if *or_damaged(is_map)? {
                self.write_map(&entry, parts, 0, 0)?;
            } else {
                self.write_value(&entry, parts)?;
            }
        }
        Ok(())
    }

    fn write_value(&mut self, entry: &SnapshotEntry<'_>, parts: &[Sorted<'_>]) -> Result<()> {
        if let [one] = parts {
            return self.emit(&SnapshotEntry { value: one.record.value, ..*entry });
        }
        let mut whole = core::mem::take(&mut self.whole);
        whole.clear();
        parts.iter().for_each(|part| whole.extend_from_slice(part.record.value));
        let outcome = self.emit(&SnapshotEntry { value: &whole, ..*entry });
        self.whole = whole;
        outcome
    }

    /// Writes what lies below one node of a map.
    fn write_map(
        &mut self,
        entry: &SnapshotEntry<'_>,
        parts: &[Sorted<'_>],
        part: u32,
        depth: u32,
    ) -> Result<()> {
        let place = parts.binary_search_by_key(&part, |it| it.record.address().chunk()).ok();
        let found = or_damaged(place.and_then(|place| parts.get(place)))?;
        let node = or_damaged(Node::parse(found.record.value, part == 0))?;
        for one in entries(node.body) {
            if node.level == 0 {
                let (user_key, value) = (one.key, one.value);
                self.emit(&SnapshotEntry { user_key, value, ..*entry })?;
            } else {
                let child = or_damaged(one.child().filter(|_| depth < u32::from(u8::MAX)))?;
                self.write_map(entry, parts, child, depth + 1)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn emit(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        if self.written.is_multiple_of(CANCEL_CHECK_ENTRIES) {
            self.cancel.check()?;
        }
        self.sink.entry(entry)?;
        self.written += 1;
        Ok(())
    }
}
