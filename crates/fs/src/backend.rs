//! The backend: the contract of [`KeyedBackend`] over a [`Store`].

use std::sync::Arc;

use millpond_state::{
    BackendContext, BatchVisitor, CheckpointId, EditBuffer, EntryKey, EntrySource, EntryVisitor,
    FileSource, FilesTask, KeyGroup, KeyGroupRange, KeyedBackend, MapVisitor, MaxParallelism,
    Result, SnapshotForm, SnapshotRequest, SnapshotTask, StateDescriptor, StateId, StateRegistry,
    check_user_key_len, check_value_len,
};

use crate::compaction::Filter;
use crate::error::{foreign_group, invalid};
use crate::files_task::{FilesSnapshot, Written};
use crate::list;
use crate::node::NodeEntry;
use crate::options::FsOptions;
use crate::record::Address;
use crate::snapshot_task::FsSnapshot;
use crate::store::Store;
use crate::tree;
use crate::workers::Workers;
use millpond_state_folder::InstanceFolder;

/// The name of this backend, and of the one that opens its files.
pub(crate) const NAME: &str = "fs";

/// A buffer that was needed once and is larger than this is given back.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// What is known of a state beside its descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StateFacts {
    /// Pairs of key and namespace.
    pub(crate) entries: u64,
    /// Whether values may be in parts.
    pub(crate) has_parts: bool,
    pub(crate) is_map: bool,
}

/// Keyed state in local files. Opened by a [`FsBackendFactory`](crate::FsBackendFactory).
///
/// What the contract leaves to a backend: [`KeyedBackend::memory_bytes`] counts the index and the
/// end of the log, not what the operating system keeps of mapped files.
/// [`KeyedBackend::visit_entries`] reads the keys of the key groups asked for. The
/// [`SnapshotSummary`](millpond_state::SnapshotSummary) of a canonical snapshot counts all entries
/// as changed. Compaction drops expired entries by itself. A native snapshot holds what had expired
/// and was not dropped yet; while values await migration there is no native form.
pub struct FsBackend {
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    pub(crate) registry: StateRegistry,
    pub(crate) store: Store,
    /// By state.
    pub(crate) facts: Vec<StateFacts>,
    /// By key group: entries, of maps user keys.
    pub(crate) group_entries: Vec<u64>,
    /// Values in parts, put together for the last call.
    pub(crate) values: Vec<u8>,
    pub(crate) edit: EditBuffer,
    pub(crate) written: Written,
    /// Whether nothing was restored or written yet.
    pub(crate) is_fresh: bool,
    pub(crate) restore_threads: usize,
}

impl core::fmt::Debug for FsBackend {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FsBackend")
            .field("key_groups", &self.key_groups)
            .field("max_parallelism", &self.max_parallelism)
            .field("states", &self.registry.descriptors())
            .finish_non_exhaustive()
    }
}

/// What one instance is made of and with.
pub(crate) struct Parts<'p> {
    pub(crate) context: &'p BackendContext,
    pub(crate) options: &'p FsOptions,
    pub(crate) workers: Workers,
    pub(crate) folder: InstanceFolder,
}

impl FsBackend {
    /// Checks that an instance can be opened for `context`.
    pub(crate) fn check_context(context: &BackendContext) -> Result<()> {
        let (groups, max) = (context.key_groups, context.max_parallelism);
        if max.full_range().contains_range(groups) {
            return Ok(());
        }
        Err(invalid(format!("key groups {groups} are not below the max parallelism {max}")))
    }

    /// An empty instance.
    pub(crate) fn create(parts: Parts<'_>) -> Self {
        let Parts { context, options, workers, folder } = parts;
        let groups = context.key_groups;
        Self {
            key_groups: groups,
            max_parallelism: context.max_parallelism,
            registry: StateRegistry::new(),
            store: Store::create(options, groups, workers, Arc::new(folder)),
            facts: Vec::new(),
            group_entries: vec![0; groups.count()],
            values: Vec::new(),
            edit: EditBuffer::new(),
            written: Written::default(),
            is_fresh: true,
            restore_threads: options.restore_threads,
        }
    }

    /// What the instance holds and did, in figures.
    #[must_use]
    pub fn statistics(&self) -> FsStatistics {
        let log = &self.store.log;
        FsStatistics {
            index_bytes: self.store.index.bytes(),
            index_entries: self.store.index.len(),
            sealed_bytes: log.sealed_bytes(),
            live_bytes: log.live_bytes(),
            appended_bytes: log.appended_bytes,
            copied_bytes: self.store.compaction.copied_bytes,
            segments: log.in_order().count(),
        }
    }

    /// Checks that this instance owns `group`.
    #[inline(always)]
    pub(crate) fn check_group(&self, group: KeyGroup) -> Result<()> {
        if self.key_groups.contains(group) {
            return Ok(());
        }
        Err(foreign_group(group, self.key_groups))
    }

    /// The facts of a state that is a map or not.
    #[inline(always)]
    pub(crate) fn facts_of(&self, state: StateId, is_map: bool) -> Result<StateFacts> {
        match self.facts.get(state.index()) {
            Some(facts) if facts.is_map == is_map => Ok(*facts),
            _ => Err(self.wrong_state(state, is_map)),
        }
    }

    #[cold]
    fn wrong_state(&self, state: StateId, is_map: bool) -> millpond_state::StateError {
        let checked = self.registry.check_map(state, is_map);
        checked.err().unwrap_or_else(|| invalid(format!("{state} is not registered")))
    }

    /// Checks state and key group.
    #[inline(always)]
    pub(crate) fn address<'k>(
        &self,
        state: StateId,
        is_map: bool,
        at: &EntryKey<'k>,
    ) -> Result<(Address<'k>, StateFacts)> {
        let facts = self.facts_of(state, is_map)?;
        self.check_group(at.group())?;
        Ok((Address::new(state, at), facts))
    }

    /// Counts entries of a key group, and pairs of key and namespace of a state, that came or went.
    #[inline(always)]
    pub(crate) fn count(&mut self, at: &Address<'_>, entries: i64, pairs: i64) {
        let group = at.group().index() - self.key_groups.first().index();
        if let Some(count) = self.group_entries.get_mut(group) {
            *count = count.saturating_add_signed(entries);
        }
        if let Some(facts) = self.facts.get_mut(at.state().index()) {
            facts.entries = facts.entries.saturating_add_signed(pairs);
        }
    }

    /// Counts what compaction dropped.
    pub(crate) fn count_dropped(&mut self) {
        for (state, group, entries, pairs) in core::mem::take(&mut self.store.compaction.dropped) {
            let first = usize::from(self.key_groups.first().get());
            if let Some(count) = self.group_entries.get_mut(usize::from(group) - first) {
                *count = count.saturating_sub(entries);
            }
            if let Some(facts) = self.facts.get_mut(usize::from(state)) {
                facts.entries = facts.entries.saturating_sub(pairs);
            }
        }
    }

    /// Registers a state.
    pub(crate) fn register_state(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        let id = self.registry.register(descriptor)?;
        let states = self.registry.descriptors();
        if id.index() == self.facts.len() {
            let is_map = descriptor.kind().is_map();
            self.facts.push(StateFacts { is_map, ..StateFacts::default() });
        }
        let filter = |state: &StateDescriptor| {
            let filter = Arc::clone(state.expiry()?);
            // What awaits migration does not decode yet.
            let judged = !state.is_migrating();
            judged.then(|| Filter { filter, is_map: state.kind().is_map() })
        };
        self.store.compaction.filters = states.iter().map(filter).collect();
        Ok(id)
    }

    /// Sets a whole value.
    #[inline(always)]
    pub(crate) fn put_value(
        &mut self,
        (address, facts): (Address<'_>, StateFacts),
        value: &[u8],
    ) -> Result<()> {
        let is_new = if facts.has_parts {
            list::put(&mut self.store, &address, value)?
        } else {
            self.store.put(&address, value)?
        };
        if is_new {
            self.count(&address, 1, 1);
        }
        Ok(())
    }

    /// Removes a whole value.
    pub(crate) fn delete_value(
        &mut self,
        (address, facts): (Address<'_>, StateFacts),
    ) -> Result<()> {
        let was_there = if facts.has_parts {
            list::delete(&mut self.store, &address)?
        } else {
            self.store.delete(&address)?
        };
        if was_there {
            self.count(&address, -1, -1);
        }
        Ok(())
    }
}

/// What an instance holds and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsStatistics {
    /// Bytes of the index.
    pub index_bytes: u64,
    /// Records that the index leads to: one for each entry, and for each further part of a large
    /// map or list.
    pub index_entries: u64,
    /// Bytes of records in segments that are files or are about to be, dead ones included.
    pub sealed_bytes: u64,
    /// Bytes of records that the index leads to; after a restore partly an estimate.
    pub live_bytes: u64,
    /// Bytes ever appended to the log.
    pub appended_bytes: u64,
    /// Of those, bytes that compaction copied.
    pub copied_bytes: u64,
    /// Segments.
    pub segments: usize,
}

/// Empties a buffer, and gives room back that is rarely needed.
#[inline]
pub(crate) fn forget(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEPT_BUFFER_BYTES {
        buffer.shrink_to(KEPT_BUFFER_BYTES);
    }
}

impl KeyedBackend for FsBackend {
    fn key_groups(&self) -> KeyGroupRange {
        self.key_groups
    }

    fn max_parallelism(&self) -> MaxParallelism {
        self.max_parallelism
    }

    fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        self.register_state(descriptor)
    }

    fn states(&self) -> &[StateDescriptor] {
        self.registry.descriptors()
    }

    #[inline(always)]
    fn get<'a>(&'a mut self, state: StateId, at: EntryKey<'_>) -> Result<Option<&'a [u8]>> {
        let (address, facts) = self.address(state, false, &at)?;
        if facts.has_parts { self.get_parts(&address) } else { self.store.get(&address) }
    }

    #[inline(always)]
    fn put(&mut self, state: StateId, at: EntryKey<'_>, value: &[u8]) -> Result<()> {
        at.check_lengths()?;
        check_value_len(value.len())?;
        let place = self.address(state, false, &at)?;
        self.put_value(place, value)
    }

    fn delete(&mut self, state: StateId, at: EntryKey<'_>) -> Result<()> {
        let is_map = self.registry.get(state)?.kind().is_map();
        let place = self.address(state, is_map, &at)?;
        if !is_map {
            return self.delete_value(place);
        }
        if let Some(count) = tree::delete(&mut self.store, &place.0)? {
            self.count(&place.0, -(count as i64), -1);
        }
        Ok(())
    }

    fn append(&mut self, state: StateId, at: EntryKey<'_>, bytes: &[u8]) -> Result<()> {
        at.check_lengths()?;
        check_value_len(bytes.len())?;
        let (address, _) = self.address(state, false, &at)?;
        if list::append(&mut self.store, &address, bytes)? {
            self.count(&address, 1, 1);
        }
        if let Some(facts) = self.facts.get_mut(state.index()) {
            facts.has_parts = true;
        }
        Ok(())
    }

    fn get_many<'a>(
        &'a mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        check_lengths_equal(entries.len(), out.len())?;
        let facts = self.facts_of(state, false)?;
        if facts.has_parts {
            return self.get_many_parts(state, entries, out);
        }
        self.read_batch(state, entries, out)
    }

    fn put_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        values: &[&[u8]],
    ) -> Result<()> {
        check_lengths_equal(entries.len(), values.len())?;
        self.facts_of(state, false)?;
        self.write_batch(state, entries, values)
    }

    fn update_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        self.facts_of(state, false)?;
        self.update_batch(state, entries, change)
    }

    fn map_get<'a>(
        &'a mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
    ) -> Result<Option<&'a [u8]>> {
        let (address, _) = self.address(state, true, &at)?;
        tree::get(&self.store, &address, user_key)
    }

    fn map_put(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        at.check_lengths()?;
        check_user_key_len(user_key.len())?;
        check_value_len(value.len())?;
        let (address, _) = self.address(state, true, &at)?;
        let entry = NodeEntry { key: user_key, value };
        let (is_new_map, is_new) = tree::put(&mut self.store, &address, &entry)?;
        self.count(&address, i64::from(is_new), i64::from(is_new_map));
        Ok(())
    }

    fn map_remove(&mut self, state: StateId, at: EntryKey<'_>, user_key: &[u8]) -> Result<()> {
        let (address, _) = self.address(state, true, &at)?;
        let (is_gone, was_there) = tree::remove(&mut self.store, &address, user_key)?;
        self.count(&address, -i64::from(was_there), -i64::from(is_gone));
        Ok(())
    }

    fn map_visit(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        visit: &mut MapVisitor<'_>,
    ) -> Result<()> {
        let (address, _) = self.address(state, true, &at)?;
        let (visited, outcome) = tree::visit(&mut self.store, &address, &mut self.edit, visit);
        self.count(&address, -(visited.removed as i64), -i64::from(visited.is_gone));
        outcome
    }

    fn visit_entries(
        &mut self,
        state: StateId,
        groups: KeyGroupRange,
        namespace: Option<&[u8]>,
        visit: &mut EntryVisitor<'_>,
    ) -> Result<()> {
        self.registry.get(state)?;
        let Some(groups) = groups.intersection(self.key_groups) else { return Ok(()) };
        for (group, location) in self.store.locations(groups) {
            let record = self.store.record(location)?;
            let address = record.address();
            let is_wanted = address.state() == state
                && address.chunk() == 0
                && namespace.is_none_or(|wanted| wanted == address.namespace());
            if is_wanted && visit(group, address.key(), address.namespace())?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn entry_count(&mut self, state: StateId) -> Result<u64> {
        self.registry.get(state)?;
        self.count_dropped();
        Ok(self.facts.get(state.index()).map_or(0, |facts| facts.entries))
    }

    fn memory_bytes(&self) -> u64 {
        let buffers = self.values.capacity() + self.group_entries.len() * size_of::<u64>();
        self.store.index.bytes() + self.store.log.memory_bytes() + buffers as u64
    }

    fn snapshot(&mut self, _request: &SnapshotRequest) -> Result<Box<dyn SnapshotTask>> {
        self.count_dropped();
        let task = FsSnapshot {
            states: self.registry.persisted_descriptors(),
            is_map: self.facts.iter().map(|facts| facts.is_map).collect(),
            groups: self.key_groups,
            view: self.store.log.share(),
        };
        Ok(self.registry.filter_snapshot(Box::new(task)))
    }

    fn snapshot_files(&mut self, request: &SnapshotRequest) -> Result<Option<Box<dyn FilesTask>>> {
        let is_migrating = self.registry.descriptors().iter().any(StateDescriptor::is_migrating);
        if request.form != SnapshotForm::Incremental || is_migrating {
            return Ok(None);
        }
        self.count_dropped();
        Ok(Some(Box::new(FilesSnapshot {
            checkpoint: request.checkpoint,
            states: self.registry.persisted_descriptors(),
            groups: self.key_groups,
            group_entries: self.group_entries.clone(),
            view: self.store.log.share(),
            written: self.written.clone(),
        })))
    }

    fn opens_files_of(&self, backend: &str) -> bool {
        backend == NAME
    }

    fn checkpoint_completed(&mut self, checkpoint: CheckpointId) {
        self.written.completed(checkpoint);
    }

    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        self.written.aborted(checkpoint);
    }

    fn restore(&mut self, source: &mut dyn EntrySource) -> Result<u64> {
        self.is_fresh = false;
        crate::restore::restore(self, source)
    }

    fn restore_files(&mut self, source: &mut dyn FileSource, groups: KeyGroupRange) -> Result<u64> {
        crate::restore_files::restore_files(self, source, groups)
    }
}

fn check_lengths_equal(entries: usize, others: usize) -> Result<()> {
    if entries == others {
        return Ok(());
    }
    Err(invalid(format!("a batch of {entries} entries was passed with {others} values or places")))
}
