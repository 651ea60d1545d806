//! The asynchronous part of an incremental snapshot: writes what changed since the confirmed chain,
//! or all of it as a new base.
//!
//! It owns the whole state as it was, like the canonical snapshot, so that a base can be written
//! whenever that is better: when there is no chain yet, when the chain's files must not be re-used,
//! when states were declared otherwise, or when the chain would cost too much to restore.
//!
//! # Invariants
//! - Of an address that has an entry, a tombstone is left out: the entry was written later.
//! - What has expired, and may be in an earlier file, is written as deleted.

use core::cmp::Ordering;
use std::sync::Arc;

use millpond_snapshot::incremental::{
    CHAIN_FILES_MAX, ChainFileKind, chain_file_name, encode_chain_manifest,
};
use millpond_snapshot::{
    ByteSink, ChangeKind, Compression, DeltaWriter, FullOptions, FullWriter, SnapshotError,
};
use millpond_state::{
    CancelFlag, CheckpointId, FileIdentity, FileSink, FileTransfer, FilesSummary, FilesTask,
    KeyGroup, Result, SnapshotEntry, SnapshotFilter, StateDescriptor,
};

use crate::chain::{Chain, ChainFile, Written};
use crate::options::IncrementalOptions;
use crate::packed_map::{self, MapEntry};
use crate::segment::Stored;
use crate::snapshot_task::{
    CANCEL_CHECK_ENTRIES, MemorySnapshot, Place, SharedTable, collect_places, entry_at, sort_places,
};
use crate::tombstones::{self, Log, Tombstone};

/// The confirmed chain, and what was deleted since.
pub(crate) struct Since {
    pub(crate) chain: Arc<Chain>,
    pub(crate) deleted: Vec<Arc<Log>>,
}

/// An incremental snapshot that was taken and is to be written.
pub(crate) struct IncrementalSnapshot {
    pub(crate) checkpoint: CheckpointId,
    /// The epoch that the snapshot ended.
    pub(crate) epoch: u32,
    pub(crate) state: MemorySnapshot,
    pub(crate) filter: SnapshotFilter,
    pub(crate) since: Option<Since>,
    pub(crate) options: IncrementalOptions,
    pub(crate) written: Written,
}

impl FilesTask for IncrementalSnapshot {
    fn run(
        self: Box<Self>,
        files: &mut dyn FileTransfer,
        cancel: &CancelFlag,
    ) -> Result<FilesSummary> {
        let Self { checkpoint, epoch, state, mut filter, since, options, written } = *self;
        cancel.check()?;
        let states = state.states.clone();
        let state_entries = count_by_state(&state);
        let entries = state_entries.iter().sum();
        let delta = match &since {
            Some(since) => {
                let delta = Delta { state: &state, since, cancel };
                delta.write_to(files, &mut filter, options)?
            }
            None => None,
        };
        let (parts, changed) = match delta {
            Some(delta) => delta,
            None => {
                let file = write_base(state, filter, files, cancel)?;
                let changed = file.entries;
                (vec![file], changed)
            }
        };
        written.leave(checkpoint, Chain { files: parts, states: states.clone(), epoch });
        let mut summary = FilesSummary::default();
        (summary.states, summary.entries, summary.entries_changed) = (states, entries, changed);
        summary.manifest = encode_chain_manifest(&state_entries);
        Ok(summary)
    }
}

/// Entries of each state. Those that have expired count: they are found when they are written.
fn count_by_state(state: &MemorySnapshot) -> Vec<u64> {
    let mut counts = vec![0; state.states.len()];
    for table in &state.tables {
        if let Some(count) = counts.get_mut(usize::from(table.state)) {
            *count += table.entries();
        }
    }
    counts
}

/// Makes the chain's files part of the snapshot; `false` if one of them cannot be.
fn reuse_all(files: &mut dyn FileTransfer, chain: &Chain) -> Result<bool> {
    let identities: Vec<(&str, &FileIdentity)> =
        chain.files.iter().map(|file| (file.name.as_str(), &file.identity)).collect();
    files.reuse_all(&identities)
}

/// Whether another delta with so many changes costs less in the long run than a base.
fn is_worth_it(chain: &Chain, changes: u64, options: IncrementalOptions) -> bool {
    let (base, deltas) = chain.base_and_delta_entries();
    let total = deltas.saturating_add(changes);
    let most = u128::from(base) * u128::from(options.delta_percent_max) / 100;
    chain.files.len() < (options.chain_files_max as usize).min(CHAIN_FILES_MAX)
        && u128::from(total) <= most
}

fn full_options(level: i32) -> FullOptions {
    let compression = if level == 0 { Compression::None } else { Compression::Zstd { level } };
    FullOptions { compression, ..FullOptions::default() }
}

fn write_base(
    state: MemorySnapshot,
    filter: SnapshotFilter,
    files: &mut dyn FileTransfer,
    cancel: &CancelFlag,
) -> Result<ChainFile> {
    let name = chain_file_name(0, ChainFileKind::Base);
    let options = full_options(files.compression_level());
    let mut work = Some((state, filter));
    let mut entries = 0;
    let identity = files.add(&name, &mut |sink| {
        let Some((state, filter)) = work.take() else { return Err(written_twice()) };
        let mut writer = FullWriter::create(Sink(sink), options)?;
        entries = filter.run(Box::new(state), &mut writer, cancel)?.entries;
        writer.finish()?;
        Ok(())
    })?;
    Ok(ChainFile { name, identity, entries })
}

#[cold]
fn written_twice() -> millpond_state::StateError {
    millpond_state::StateError::new(
        millpond_state::ErrorKind::InvalidArgument,
        "a new file is written once",
    )
}

/// A file of a transfer as the formats see it.
struct Sink<'s>(&'s mut dyn FileSink);

impl ByteSink for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> millpond_snapshot::Result<()> {
        self.0.write(bytes).map_err(|error| SnapshotError::io("cannot write", error))
    }
}

/// What changed since a chain.
struct Delta<'d> {
    state: &'d MemorySnapshot,
    since: &'d Since,
    cancel: &'d CancelFlag,
}

impl Delta<'_> {
    /// Makes the chain, and a delta if there are changes, the snapshot; returns its files and how
    /// many changes the delta has. `None`, with nothing done, if a base must be written or is
    /// cheaper in the long run.
    fn write_to(
        &self,
        files: &mut dyn FileTransfer,
        filter: &mut SnapshotFilter,
        options: IncrementalOptions,
    ) -> Result<Option<(Vec<ChainFile>, u64)>> {
        let chain = &self.since.chain;
        let states = &self.state.states;
        if !states.starts_with(&chain.states) {
            return Ok(None);
        }
        let deleted = tombstones::sorted(&self.since.deleted);
        let tables = self.state.tables.iter();
        let changed: u64 = tables.map(|table| table.entries_since(chain.epoch)).sum();
        let changes = changed.saturating_add(deleted.len() as u64);
        let is_same = changes == 0 && states.len() == chain.states.len();
        if !is_same && !is_worth_it(chain, changes, options) || !reuse_all(files, chain)? {
            return Ok(None);
        }
        let mut parts = chain.files.clone();
        let mut written = 0;
        if !is_same {
            let name = chain_file_name(parts.len() as u32, ChainFileKind::Delta);
            let level = files.compression_level();
            let identity = files.add(&name, &mut |sink| {
                written = self.write(&deleted, filter, (sink, level))?;
                Ok(())
            })?;
            parts.push(ChainFile { name, identity, entries: written });
        }
        Ok(Some((parts, written)))
    }

    /// Writes the delta file; returns how many changes it has.
    fn write(
        &self,
        deleted: &[Tombstone<'_>],
        filter: &mut SnapshotFilter,
        (sink, level): (&mut dyn FileSink, i32),
    ) -> Result<u64> {
        let mut writer = DeltaWriter::create(Sink(sink), full_options(level))?;
        writer.begin(&persisted(&self.state.states))?;
        let mut out = Output {
            writer,
            filter,
            cancel: self.cancel,
            epoch: self.since.chain.epoch,
            deleted,
            written: 0,
            whole: Vec::new(),
        };
        let mut places = Vec::new();
        for table in &self.state.tables {
            out.delete_tables_before((table.group.get(), table.state))?;
            places.clear();
            collect_places(&table.segments, out.epoch, &mut places);
            sort_places(&table.segments, &mut places);
            for place in &places {
                out.write_entry(table, place)?;
            }
        }
        out.delete_while(|_| true)?;
        out.writer.finish()?;
        Ok(out.written)
    }
}

fn persisted(states: &[StateDescriptor]) -> Vec<StateDescriptor> {
    states.iter().map(StateDescriptor::to_persisted).collect()
}

struct Output<'a, 's> {
    writer: DeltaWriter<Sink<'s>>,
    filter: &'a mut SnapshotFilter,
    cancel: &'a CancelFlag,
    epoch: u32,
    /// Tombstones that are still to be written.
    deleted: &'a [Tombstone<'a>],
    written: u64,
    /// A value in pieces, put together.
    whole: Vec<u8>,
}

impl Output<'_, '_> {
    fn write(&mut self, entry: &SnapshotEntry<'_>, change: ChangeKind) -> Result<()> {
        if self.written.is_multiple_of(CANCEL_CHECK_ENTRIES) {
            self.cancel.check()?;
        }
        self.written += 1;
        self.writer.change(entry, change)
    }

    /// Writes the tombstones at the front for which `is_due` holds.
    fn delete_while(&mut self, is_due: impl Fn(&Tombstone<'_>) -> bool) -> Result<()> {
        while let Some((next, rest)) = self.deleted.split_first()
            && is_due(next)
        {
            self.deleted = rest;
            let entry = SnapshotEntry {
                group: KeyGroup::new(next.group),
                state: next.state,
                key: next.key,
                namespace: next.namespace,
                user_key: next.user_key,
                value: &[],
            };
            self.write(&entry, next.change)?;
        }
        Ok(())
    }

    fn delete_tables_before(&mut self, table: (u16, u16)) -> Result<()> {
        self.delete_while(|next| next.table() < table)
    }

    /// Writes the tombstones before an entry, of its map too, and drops its own.
    fn delete_before(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        let table = (entry.group.get(), entry.state);
        let order = |next: &Tombstone<'_>| {
            next.table().cmp(&table).then_with(|| next.compare_entry(entry.key, entry.namespace))
        };
        self.delete_while(|next| match order(next) {
            Ordering::Less => true,
            Ordering::Equal => {
                next.change == ChangeKind::MapDeleted || next.user_key < entry.user_key
            }
            Ordering::Greater => false,
        })?;
        if let Some((next, rest)) = self.deleted.split_first()
            && order(next) == Ordering::Equal
            && next.user_key == entry.user_key
        {
            self.deleted = rest;
        }
        Ok(())
    }

    fn put(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        self.delete_before(entry)?;
        if self.written.is_multiple_of(CANCEL_CHECK_ENTRIES) {
            self.cancel.check()?;
        }
        self.written += 1;
        match self.filter.apply(entry)? {
            Some(value) => self.writer.change(&SnapshotEntry { value, ..*entry }, ChangeKind::Put),
            None => {
                self.writer.change(&SnapshotEntry { value: &[], ..*entry }, ChangeKind::Deleted)
            }
        }
    }

    fn write_entry(&mut self, table: &SharedTable, place: &Place) -> Result<()> {
        let Some((entry, stored, _)) = entry_at(table, place) else { return Ok(()) };
        match stored {
            Stored::Inline(packed) if table.is_map => {
                self.put_map(&entry, packed_map::entries(packed).map(|(_, entry)| entry))
            }
            Stored::Inline(value) => self.put(&SnapshotEntry { value, ..entry }),
            Stored::Map(map) => self.put_map(&entry, map.entries()),
            Stored::Blob(blob) => {
                let mut whole = core::mem::take(&mut self.whole);
                whole.clear();
                blob.copy_to(&mut whole);
                let outcome = self.put(&SnapshotEntry { value: &whole, ..entry });
                self.whole = whole;
                outcome
            }
        }
    }

    fn put_map<'m>(
        &mut self,
        of: &SnapshotEntry<'_>,
        entries: impl Iterator<Item = MapEntry<'m>>,
    ) -> Result<()> {
        let epoch = self.epoch;
        for MapEntry { user_key, value, .. } in entries.filter(|entry| entry.epoch > epoch) {
            self.put(&SnapshotEntry { user_key, value, ..*of })?;
        }
        Ok(())
    }
}
