//! The backend: the contract of [`KeyedBackend`] over a [`Store`].

use millpond_state::{
    BackendContext, BatchVisitor, CheckpointId, EditBuffer, EntryKey, EntrySource, EntryVisitor,
    ErrorKind, FileSource, FilesTask, KeyGroup, KeyGroupRange, KeyedBackend, MapVisitor,
    MaxParallelism, Result, SnapshotRequest, SnapshotTask, StateDescriptor, StateError, StateId,
    StateRegistry, check_user_key_len, check_value_len,
};

use crate::expiry::Expiries;
use crate::layout;
use crate::native::Native;
use crate::snapshot_task::RocksDbSnapshot;
use crate::tables::Tables;

/// A value buffer that was needed once and is larger than this is given back.
const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// Keyed state in RocksDB. Opened by a [`RocksDbBackendFactory`](crate::RocksDbBackendFactory).
///
/// What the contract leaves to a backend: [`KeyedBackend::entry_count`] and
/// [`KeyedBackend::visit_entries`] read the keys of the whole state.
/// [`KeyedBackend::memory_bytes`] does not count the block cache, which instances share. A
/// [`SnapshotSummary`](millpond_state::SnapshotSummary) counts all entries as changed. An append
/// does not read what is there, so that the limit of a list's length is checked where it is read.
///
/// The synchronous part of an [incremental](millpond_state::SnapshotForm) snapshot freezes the hash
/// buffer; without one it waits for a flush. The asynchronous part walks over the states that
/// expire or are being migrated, and over no others. Numbers of entries that come from files are
/// estimates.
pub struct RocksDbBackend {
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    pub(crate) registry: StateRegistry,
    pub(crate) tables: Tables,
    pub(crate) expiries: Expiries,
    /// The key of the present call.
    pub(crate) key: Vec<u8>,
    /// The values that the last call handed out.
    pub(crate) values: Vec<u8>,
    pub(crate) edit: EditBuffer,
    pub(crate) native: Native,
}

impl core::fmt::Debug for RocksDbBackend {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RocksDbBackend")
            .field("key_groups", &self.key_groups)
            .field("max_parallelism", &self.max_parallelism)
            .field("states", &self.registry.descriptors())
            .finish_non_exhaustive()
    }
}

impl RocksDbBackend {
    /// Checks that an instance can be opened for `context`.
    pub(crate) fn check_context(context: &BackendContext) -> Result<()> {
        let (groups, max) = (context.key_groups, context.max_parallelism);
        if max.full_range().contains_range(groups) {
            return Ok(());
        }
        Err(StateError::new(
            ErrorKind::InvalidArgument,
            format!("key groups {groups} are not below the max parallelism {max}"),
        ))
    }

    /// An instance over empty tables.
    pub(crate) fn new(
        context: &BackendContext,
        tables: Tables,
        expiries: Expiries,
        native: Native,
    ) -> Self {
        Self {
            key_groups: context.key_groups,
            max_parallelism: context.max_parallelism,
            registry: StateRegistry::new(),
            tables,
            expiries,
            key: Vec::new(),
            values: Vec::new(),
            edit: EditBuffer::new(),
            native,
        }
    }

    /// Checks that this instance owns `group`.
    #[inline]
    pub(crate) fn check_group(&self, group: KeyGroup) -> Result<()> {
        if self.key_groups.contains(group) {
            return Ok(());
        }
        Err(foreign_group(group, self.key_groups))
    }

    /// Checks state and key group, and encodes the entry into `self.key`.
    #[inline]
    fn address(&mut self, state: StateId, map: bool, at: &EntryKey<'_>) -> Result<()> {
        self.registry.check_map(state, map)?;
        self.check_group(at.group())?;
        self.key.clear();
        layout::push_entry(&mut self.key, state, at);
        Ok(())
    }

    /// As [`Self::address`], with a user key behind it. Returns the bytes of the map's entry.
    #[inline]
    fn map_address(&mut self, state: StateId, at: &EntryKey<'_>, user_key: &[u8]) -> Result<usize> {
        self.address(state, true, at)?;
        let map_bytes = self.key.len();
        self.key.extend_from_slice(user_key);
        Ok(map_bytes)
    }

    /// The value under `self.key`, of which so many bytes are the map's entry.
    #[inline]
    fn get_addressed(&mut self, map_bytes: usize) -> Result<Option<&[u8]>> {
        forget(&mut self.values);
        self.tables.get(&self.key, map_bytes, &mut self.values)
    }
}

/// Empties a buffer, and gives room back that is rarely needed.
#[inline]
pub(crate) fn forget(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEPT_BUFFER_BYTES {
        buffer.shrink_to(KEPT_BUFFER_BYTES);
    }
}

impl KeyedBackend for RocksDbBackend {
    fn key_groups(&self) -> KeyGroupRange {
        self.key_groups
    }

    fn max_parallelism(&self) -> MaxParallelism {
        self.max_parallelism
    }

    fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        let id = self.registry.register(descriptor)?;
        self.expiries.set(self.registry.descriptors());
        Ok(id)
    }

    fn states(&self) -> &[StateDescriptor] {
        self.registry.descriptors()
    }

    fn get<'a>(&'a mut self, state: StateId, at: EntryKey<'_>) -> Result<Option<&'a [u8]>> {
        self.address(state, false, &at)?;
        self.get_addressed(0)
    }

    fn put(&mut self, state: StateId, at: EntryKey<'_>, value: &[u8]) -> Result<()> {
        at.check_lengths()?;
        check_value_len(value.len())?;
        self.address(state, false, &at)?;
        self.tables.put(&self.key, 0, value)
    }

    fn delete(&mut self, state: StateId, at: EntryKey<'_>) -> Result<()> {
        let is_map = self.registry.get(state)?.kind().is_map();
        self.address(state, is_map, &at)?;
        if is_map { self.delete_map() } else { self.tables.delete(&self.key, 0) }
    }

    fn append(&mut self, state: StateId, at: EntryKey<'_>, bytes: &[u8]) -> Result<()> {
        at.check_lengths()?;
        check_value_len(bytes.len())?;
        self.address(state, false, &at)?;
        self.tables.append(&self.key, bytes)
    }

    fn get_many<'a>(
        &'a mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        check_lengths_equal(entries.len(), out.len())?;
        self.registry.check_map(state, false)?;
        self.read_batch(state, entries, out)
    }

    fn put_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        values: &[&[u8]],
    ) -> Result<()> {
        check_lengths_equal(entries.len(), values.len())?;
        self.registry.check_map(state, false)?;
        self.write_batch(state, entries, values)
    }

    fn update_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        self.registry.check_map(state, false)?;
        self.update_batch(state, entries, change)
    }

    fn map_get<'a>(
        &'a mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
    ) -> Result<Option<&'a [u8]>> {
        let map_bytes = self.map_address(state, &at, user_key)?;
        self.get_addressed(map_bytes)
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
        let map_bytes = self.map_address(state, &at, user_key)?;
        self.tables.put(&self.key, map_bytes, value)
    }

    fn map_remove(&mut self, state: StateId, at: EntryKey<'_>, user_key: &[u8]) -> Result<()> {
        let map_bytes = self.map_address(state, &at, user_key)?;
        self.tables.delete(&self.key, map_bytes)
    }

    fn map_visit(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        visit: &mut MapVisitor<'_>,
    ) -> Result<()> {
        self.address(state, true, &at)?;
        self.visit_map(visit)
    }

    fn visit_entries(
        &mut self,
        state: StateId,
        groups: KeyGroupRange,
        namespace: Option<&[u8]>,
        visit: &mut EntryVisitor<'_>,
    ) -> Result<()> {
        self.registry.get(state)?;
        self.walk_entries(state, groups, namespace, visit)
    }

    fn entry_count(&mut self, state: StateId) -> Result<u64> {
        self.registry.get(state)?;
        self.count_entries(state)
    }

    fn memory_bytes(&self) -> u64 {
        let buffers = self.key.capacity() + self.values.capacity();
        self.tables.memory_bytes() + buffers as u64
    }

    fn snapshot(&mut self, _request: &SnapshotRequest) -> Result<Box<dyn SnapshotTask>> {
        let states = self.registry.persisted_descriptors();
        let (hold, groups) = (self.expiries.hold(), self.key_groups);
        let task = RocksDbSnapshot::take(states, &mut self.tables, groups, hold);
        Ok(self.registry.filter_snapshot(Box::new(task)))
    }

    fn snapshot_files(&mut self, request: &SnapshotRequest) -> Result<Option<Box<dyn FilesTask>>> {
        crate::native::snapshot_files(self, request)
    }

    fn opens_files_of(&self, backend: &str) -> bool {
        backend == crate::native::FORMAT
    }

    fn checkpoint_completed(&mut self, _checkpoint: CheckpointId) {}

    fn checkpoint_aborted(&mut self, _checkpoint: CheckpointId) {}

    fn restore(&mut self, source: &mut dyn EntrySource) -> Result<u64> {
        self.native.note_restored(self.key_groups);
        crate::restore::restore(self, source)
    }

    fn restore_files(&mut self, source: &mut dyn FileSource, groups: KeyGroupRange) -> Result<u64> {
        crate::native::restore_files(self, source, groups)
    }
}

fn check_lengths_equal(entries: usize, others: usize) -> Result<()> {
    if entries == others {
        return Ok(());
    }
    Err(StateError::new(
        ErrorKind::InvalidArgument,
        format!("a batch of {entries} entries was passed with {others} values or places"),
    ))
}

#[cold]
fn foreign_group(group: KeyGroup, own: KeyGroupRange) -> StateError {
    StateError::new(
        ErrorKind::InvalidArgument,
        format!("key group {group} is not among this instance's key groups {own}"),
    )
}
