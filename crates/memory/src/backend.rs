//! The backend: the contract of [`KeyedBackend`] over tables of segments.

use std::sync::Arc;

use millpond_snapshot::ChangeKind;
use millpond_snapshot::incremental::CHAIN_FORMAT;
use millpond_state::{
    BatchVisitor, CheckpointId, EditBuffer, EntryKey, EntrySource, EntryVisitor, ErrorKind,
    FileSource, FilesTask, KeyGroupRange, KeyedBackend, MapVisitor, MaxParallelism, Result,
    SnapshotForm, SnapshotRequest, SnapshotTask, StateDescriptor, StateError, StateId,
    StateRegistry, check_user_key_len, check_value_len,
};

use crate::chain::Chains;
use crate::delta::{IncrementalSnapshot, Since};
use crate::env::Env;
use crate::epochs::Epochs;
use crate::linear_table::Written;
use crate::map_visit::{Visit, visit_map};
use crate::options::{IncrementalOptions, MemoryOptions};
use crate::probe::{Probe, address_hash};
use crate::short::short_key;
use crate::snapshot_task::{MemorySnapshot, SharedTable};
use crate::table::{Table, table, table_mut};

/// Keyed state in memory. Opened by a [`MemoryBackendFactory`](crate::MemoryBackendFactory) or, to
/// call it without virtual dispatch, by [`MemoryBackend::create`].
#[derive(Debug)]
pub struct MemoryBackend {
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    pub(crate) registry: StateRegistry,
    /// By state id.
    pub(crate) tables: Vec<Table>,
    pub(crate) env: Env,
    edit: EditBuffer,
    epochs: Epochs,
    pub(crate) chains: Chains,
    incremental: IncrementalOptions,
    /// Whether nothing was restored yet.
    pub(crate) is_fresh: bool,
}

impl MemoryBackend {
    /// Creates an empty instance that owns `key_groups`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the key groups are not below `max_parallelism`.
    pub fn create(
        key_groups: KeyGroupRange,
        max_parallelism: MaxParallelism,
        options: MemoryOptions,
    ) -> Result<Self> {
        if !max_parallelism.full_range().contains_range(key_groups) {
            return Err(StateError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "key groups {key_groups} are not below the max parallelism {max_parallelism}"
                ),
            ));
        }
        Ok(Self {
            key_groups,
            max_parallelism,
            registry: StateRegistry::new(),
            tables: Vec::new(),
            env: Env::new(options),
            edit: EditBuffer::new(),
            epochs: Epochs::default(),
            chains: Chains::default(),
            incremental: options.incremental,
            is_fresh: true,
        })
    }

    /// Registers a state and gives it a table.
    pub(crate) fn register_state(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        let id = self.registry.register(descriptor)?;
        if id.index() == self.tables.len() {
            self.tables.push(Table::new(descriptor, self.key_groups));
            self.env.account(0, size_of::<Table>());
        }
        Ok(id)
    }

    /// Sets the value of an entry.
    #[inline(always)]
    pub(crate) fn put_entry(
        &mut self,
        state: StateId,
        at: &EntryKey<'_>,
        value: &[u8],
    ) -> Result<()> {
        let table = table_mut(&mut self.tables, &self.registry, state, false)?;
        let group = table.group_mut(at.group(), &mut self.env)?;
        group.put(at, None, value, &mut self.env)
    }

    /// The value of an entry; one in pieces reads as empty.
    #[inline(always)]
    fn get_in_one_piece(&self, state: StateId, at: &EntryKey<'_>) -> Result<Option<&[u8]>> {
        match self.short_get(state, at) {
            Some(value) => Ok(Some(value)),
            None => self.get_slow(state, at),
        }
    }

    /// The value of a plain short entry.
    #[inline(always)]
    fn short_get(&self, state: StateId, at: &EntryKey<'_>) -> Option<&[u8]> {
        let key = short_key(at)?;
        let group = self.tables.get(state.index())?.group_if(at.group())?;
        let segment = group.segment_of(at.hash())?;
        segment.short_at(key, segment.first_place(at.hash())?)
    }

    /// As [`Self::get_in_one_piece`], whatever the entry is.
    #[inline(never)]
    fn get_slow(&self, state: StateId, at: &EntryKey<'_>) -> Result<Option<&[u8]>> {
        let Some(table) = self.tables.get(state.index()) else { return Ok(None) };
        let Some(group) = table.group(at.group())? else { return Ok(None) };
        Ok(group.segment_of(address_hash(at)).and_then(|segment| segment.get(at)))
    }

    /// The value of an entry of a state whose values may be in pieces, or the error if this is no
    /// state of plain values.
    #[inline(never)]
    fn get_unusual(&mut self, state: StateId, at: &EntryKey<'_>) -> Result<Option<&[u8]>> {
        self.coalesce(state, at)?;
        self.get_in_one_piece(state, at)
    }

    /// Updates entries of a state whose values may be in pieces, or fails if this is no state of
    /// plain values.
    #[inline(never)]
    fn update_unusual(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        for at in entries {
            self.coalesce(state, at)?;
        }
        let table = table_mut(&mut self.tables, &self.registry, state, false)?;
        crate::batch::update_many(table, entries, change, &mut self.edit, &mut self.env)
    }

    /// Brings the value of an entry into one piece if it isn't.
    fn coalesce(&mut self, state: StateId, at: &EntryKey<'_>) -> Result<()> {
        let table = table_mut(&mut self.tables, &self.registry, state, false)?;
        if !table.may_scatter() {
            return Ok(());
        }
        let probe = Probe::new(at);
        let scattered = table
            .group(at.group())?
            .and_then(|group| group.segment(&probe))
            .is_some_and(|segment| segment.is_scattered(&probe));
        if !scattered {
            return Ok(());
        }
        let group = table.group_mut(at.group(), &mut self.env)?;
        group.write(&probe, &mut self.env, |segment, env| {
            segment.coalesce(&probe, env).map(|()| Written::Changed)
        })
    }

    /// The synchronous part of a snapshot: ends the epoch, which is returned too.
    fn freeze(&mut self, request: &SnapshotRequest) -> (MemorySnapshot, u32) {
        let tables = self.share_tables();
        let (epoch, confirmed) = (self.env.epoch, self.epochs.confirmed());
        self.epochs.ended(request.checkpoint, epoch);
        self.end_epoch(request.form == SnapshotForm::Incremental);
        let states = self.registry.persisted_descriptors();
        (MemorySnapshot { states, tables, confirmed }, epoch)
    }

    /// Writes from now on belong to the next epoch.
    pub(crate) fn end_epoch(&mut self, note_deleted: bool) {
        self.env.tombstones.seal(self.env.epoch, note_deleted);
        self.env.epoch = self.env.epoch.saturating_add(1);
    }

    /// Shares the segments of all tables, by key group, then state.
    fn share_tables(&mut self) -> Vec<SharedTable> {
        let mut shared = Vec::new();
        for (index, group) in self.key_groups.iter().enumerate() {
            for (state, table) in self.tables.iter_mut().enumerate() {
                let is_map = table.is_map();
                let Some(table) = table.nth_mut(index) else { continue };
                if table.len() == 0 {
                    continue;
                }
                let segments = table.share(&mut self.env);
                let (state, detached) = (state as u16, self.env.detached.clone());
                shared.push(SharedTable { group, state, is_map, segments, detached });
            }
        }
        shared
    }
}

impl KeyedBackend for MemoryBackend {
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
        if !self.tables.get(state.index()).is_some_and(Table::is_plain) {
            return self.get_unusual(state, &at);
        }
        self.get_in_one_piece(state, &at)
    }

    #[inline(always)]
    fn put(&mut self, state: StateId, at: EntryKey<'_>, value: &[u8]) -> Result<()> {
        self.put_entry(state, &at, value)
    }

    fn delete(&mut self, state: StateId, at: EntryKey<'_>) -> Result<()> {
        let is_map = self.tables.get(state.index()).is_some_and(Table::is_map);
        let table = table_mut(&mut self.tables, &self.registry, state, is_map)?;
        let probe = Probe::new(&at);
        if table.group(at.group())?.is_none_or(|group| group.find(&probe).is_none()) {
            return Ok(());
        }
        table.group_mut(at.group(), &mut self.env)?.remove(&probe, &mut self.env)?;
        let change = if is_map { ChangeKind::MapDeleted } else { ChangeKind::Deleted };
        self.env.tombstones.set_table(state.index() as u16, at.group().get());
        self.env.note_deleted((at.key(), at.namespace()), (change, &[]));
        Ok(())
    }

    fn append(&mut self, state: StateId, at: EntryKey<'_>, bytes: &[u8]) -> Result<()> {
        at.check_lengths()?;
        let table = table_mut(&mut self.tables, &self.registry, state, false)?;
        let probe = Probe::new(&at);
        table.set_appended();
        let group = table.group_mut(at.group(), &mut self.env)?;
        group.write(&probe, &mut self.env, |segment, env| {
            segment.append(&probe, bytes, env).map(Written::added_if)
        })
    }

    fn get_many<'a>(
        &'a mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        check_lengths_equal(entries.len(), out.len())?;
        if table(&self.tables, &self.registry, state, false)?.may_scatter() {
            for at in entries {
                self.coalesce(state, at)?;
            }
        }
        let table = table(&self.tables, &self.registry, state, false)?;
        crate::batch::get_many(table, entries, out)
    }

    fn put_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        values: &[&[u8]],
    ) -> Result<()> {
        check_lengths_equal(entries.len(), values.len())?;
        let table = table_mut(&mut self.tables, &self.registry, state, false)?;
        crate::batch::put_many(table, entries, values, &mut self.env)
    }

    fn update_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        self.env.tombstones.set_table(state.index() as u16, 0);
        let Some(table) = self.tables.get_mut(state.index()).filter(|table| table.is_plain())
        else {
            return self.update_unusual(state, entries, change);
        };
        let [at] = entries else {
            return crate::batch::update_many(
                table,
                entries,
                change,
                &mut self.edit,
                &mut self.env,
            );
        };
        let group = table.group_mut(at.group(), &mut self.env)?;
        group.update((0, at), None, change, &mut self.edit, &mut self.env)
    }

    fn map_get<'a>(
        &'a mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
    ) -> Result<Option<&'a [u8]>> {
        let table = table(&self.tables, &self.registry, state, true)?;
        let Some(group) = table.group(at.group())? else { return Ok(None) };
        let probe = Probe::new(&at);
        Ok(group.segment(&probe).and_then(|segment| segment.map_get(&probe, user_key)))
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
        let table = table_mut(&mut self.tables, &self.registry, state, true)?;
        let probe = Probe::new(&at);
        let group = table.group_mut(at.group(), &mut self.env)?;
        group.write(&probe, &mut self.env, |segment, env| {
            segment.map_put(&probe, user_key, value, env).map(Written::added_if)
        })
    }

    fn map_remove(&mut self, state: StateId, at: EntryKey<'_>, user_key: &[u8]) -> Result<()> {
        if self.map_get(state, at, user_key)?.is_none() {
            return Ok(());
        }
        let table = table_mut(&mut self.tables, &self.registry, state, true)?;
        let probe = Probe::new(&at);
        let group = table.group_mut(at.group(), &mut self.env)?;
        self.env.delete(|env| {
            group.write(&probe, env, |segment, env| {
                segment.map_remove(&probe, user_key, env).map(Written::removed_if)
            })
        })?;
        self.env.tombstones.set_table(state.index() as u16, at.group().get());
        self.env.note_deleted((at.key(), at.namespace()), (ChangeKind::Deleted, user_key));
        Ok(())
    }

    fn map_visit(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        visit: &mut MapVisitor<'_>,
    ) -> Result<()> {
        let table = table_mut(&mut self.tables, &self.registry, state, true)?;
        if table.group(at.group())?.is_none() {
            return Ok(());
        }
        let group = table.group_mut(at.group(), &mut self.env)?;
        self.env.tombstones.set_table(state.index() as u16, at.group().get());
        let notes_removed = self.env.tombstones.is_on();
        let mut visit =
            Visit { buffer: &mut self.edit, visitor: visit, removed: Vec::new(), notes_removed };
        visit_map(group, &Probe::new(&at), &mut visit, &mut self.env)
    }

    fn visit_entries(
        &mut self,
        state: StateId,
        groups: KeyGroupRange,
        namespace: Option<&[u8]>,
        visit: &mut EntryVisitor<'_>,
    ) -> Result<()> {
        self.registry.get(state)?;
        let tables = self.tables.get(state.index()).into_iter().flat_map(Table::groups);
        for (group, table) in tables.filter(|(group, _)| groups.contains(*group)) {
            for segment in table.segments() {
                for layout in segment.entries() {
                    let found = layout.namespace(&segment.arena);
                    if namespace.is_some_and(|wanted| wanted != found) {
                        continue;
                    }
                    if visit(group, layout.key(&segment.arena), found)?.is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn entry_count(&mut self, state: StateId) -> Result<u64> {
        self.registry.get(state)?;
        let tables = self.tables.get(state.index()).into_iter().flat_map(Table::groups);
        Ok(tables.map(|(_, table)| table.len()).sum())
    }

    fn memory_bytes(&self) -> u64 {
        self.env.memory_bytes()
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> Result<Box<dyn SnapshotTask>> {
        let (task, _) = self.freeze(request);
        Ok(self.registry.filter_snapshot(Box::new(task)))
    }

    fn snapshot_files(&mut self, request: &SnapshotRequest) -> Result<Option<Box<dyn FilesTask>>> {
        if request.form != SnapshotForm::Incremental {
            return Ok(None);
        }
        let (state, epoch) = self.freeze(request);
        let since = self.chains.confirmed.as_ref().and_then(|chain| {
            let deleted = self.env.tombstones.since(chain.epoch)?;
            Some(Since { chain: Arc::clone(chain), deleted })
        });
        Ok(Some(Box::new(IncrementalSnapshot {
            checkpoint: request.checkpoint,
            epoch,
            state,
            filter: self.registry.freeze_filter(),
            since,
            options: self.incremental,
            written: self.chains.written.clone(),
        })))
    }

    fn opens_files_of(&self, backend: &str) -> bool {
        backend == CHAIN_FORMAT
    }

    fn checkpoint_completed(&mut self, checkpoint: CheckpointId) {
        self.epochs.completed(checkpoint);
        if let Some(epoch) = self.chains.completed(checkpoint) {
            self.env.tombstones.forget(epoch);
        }
    }

    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        self.epochs.aborted(checkpoint);
        self.chains.aborted(checkpoint);
    }

    fn restore(&mut self, source: &mut dyn EntrySource) -> Result<u64> {
        // Nothing that was restored before can be built on alone.
        self.chains.confirmed = None;
        self.is_fresh = false;
        crate::restore::restore(self, source)
    }

    fn restore_files(&mut self, source: &mut dyn FileSource, groups: KeyGroupRange) -> Result<u64> {
        crate::restore::restore_files(self, source, groups)
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
