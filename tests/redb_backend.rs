//! A state backend over another embedded store, as its author would write it from outside: nothing
//! here uses more than the public crates. One table holds everything; its order is the canonical
//! one, so that a snapshot is a read transaction that is walked from front to back.
//!
//! ```text
//! key   = group:u16 state:u16 escaped(key) escaped(namespace) user key     big-endian
//! value = epoch:u64 value
//! escaped: each 0 byte is followed by 255, and 0 1 ends it, so that the order of bytes stays
//! ```
//!
//! State is as durable as its checkpoints, so that redb is asked for no more: here it keeps its
//! file in memory.

use core::ops::ControlFlow;
use std::collections::BTreeMap;

use millpond_state::backend::{BatchVisitor, EntryVisitor, MapVisitor};
use millpond_state::{
    BackendContext, BackendFactory, CancelFlag, CheckpointId, Decision, EditBuffer, EntryKey,
    EntrySink, EntrySource, ErrorKind, KeyGroup, KeyGroupRange, KeyedBackend, MaxParallelism,
    Result, SnapshotEntry, SnapshotRequest, SnapshotSummary, SnapshotTask, StateDescriptor,
    StateError, StateId, StateRegistry, check_user_key_len, check_value_len,
};
use redb::backends::InMemoryBackend;
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};

const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");

const EPOCH_BYTES: usize = 8;

#[cold]
fn failed(error: impl Into<redb::Error>) -> StateError {
    StateError::new(ErrorKind::Io, "redb failed").with_source(error.into())
}

fn invalid(message: String) -> StateError {
    StateError::new(ErrorKind::InvalidArgument, message)
}

fn damaged() -> StateError {
    StateError::new(ErrorKind::Corrupt, "the table has something that this backend never wrote")
}

/// Opens [`RedbBackend`]s.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedbFactory;

impl BackendFactory for RedbFactory {
    fn name(&self) -> &str {
        "redb"
    }

    fn open(&self, context: &BackendContext) -> Result<Box<dyn KeyedBackend>> {
        Ok(Box::new(RedbBackend::open(context)?))
    }
}

fn push_escaped(out: &mut Vec<u8>, part: &[u8]) {
    for &byte in part {
        out.push(byte);
        if byte == 0 {
            out.push(255);
        }
    }
    out.extend_from_slice(&[0, 1]);
}

/// Takes an escaped part from the front of `input`.
fn take_escaped(input: &mut &[u8]) -> Option<Vec<u8>> {
    let mut part = Vec::new();
    loop {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        if *byte != 0 {
            part.push(*byte);
            continue;
        }
        let (mark, rest) = input.split_first()?;
        *input = rest;
        match mark {
            1 => return Some(part),
            255 => part.push(0),
            _ => return None,
        }
    }
}

/// What all keys of one entry begin with.
fn prefix(state: StateId, at: EntryKey<'_>) -> Vec<u8> {
    let mut out = [at.group().get().to_be_bytes(), state.get().to_be_bytes()].concat();
    push_escaped(&mut out, at.key());
    push_escaped(&mut out, at.namespace());
    out
}

fn with_user_key(mut prefix: Vec<u8>, user_key: &[u8]) -> Vec<u8> {
    prefix.extend_from_slice(user_key);
    prefix
}

/// A key of the table, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    group: KeyGroup,
    state: u16,
    key: Vec<u8>,
    namespace: Vec<u8>,
    user_key: Vec<u8>,
}

impl Place {
    fn decode(bytes: &[u8]) -> Result<Self> {
        let decode = |bytes: &[u8]| {
            let (group, rest) = bytes.split_first_chunk()?;
            let (state, mut rest) = rest.split_first_chunk()?;
            Some(Self {
                group: KeyGroup::new(u16::from_be_bytes(*group)),
                state: u16::from_be_bytes(*state),
                key: take_escaped(&mut rest)?,
                namespace: take_escaped(&mut rest)?,
                user_key: rest.to_vec(),
            })
        };
        decode(bytes).ok_or_else(damaged)
    }

    fn is_entry_of(&self, other: &Self) -> bool {
        (self.group, self.state) == (other.group, other.state)
            && self.key == other.key
            && self.namespace == other.namespace
    }
}

fn split_cell(cell: &[u8]) -> Result<(u64, &[u8])> {
    let (epoch, value) = cell.split_first_chunk::<EPOCH_BYTES>().ok_or_else(damaged)?;
    Ok((u64::from_be_bytes(*epoch), value))
}

/// A keyed backend over a table.
pub(crate) struct RedbBackend {
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    registry: StateRegistry,
    /// What was written since the last snapshot.
    open: Option<WriteTransaction>,
    database: Database,
    edit: EditBuffer,
    /// What reads hand out.
    read: Vec<u8>,
    /// Grows with each snapshot: what was written in an epoch up to a snapshot's is part of it.
    epoch: u64,
    safe_epoch: u64,
    pending: BTreeMap<CheckpointId, u64>,
}

/// All keys from `prefix` on that begin with it.
fn keys_in(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    prefix: &[u8],
) -> Result<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    for cell in table.range::<&[u8]>(prefix..).map_err(failed)? {
        let (key, _) = cell.map_err(failed)?;
        if !key.value().starts_with(prefix) {
            break;
        }
        keys.push(key.value().to_vec());
    }
    Ok(keys)
}

fn begin(database: &Database) -> Result<WriteTransaction> {
    let mut open = database.begin_write().map_err(failed)?;
    open.set_durability(Durability::None).map_err(failed)?;
    // Made here, so that every reader finds it.
    open.open_table(STATE).map_err(failed)?;
    Ok(open)
}

impl RedbBackend {
    fn open(context: &BackendContext) -> Result<Self> {
        let (key_groups, max_parallelism) = (context.key_groups, context.max_parallelism);
        if !max_parallelism.full_range().contains_range(key_groups) {
            return Err(invalid(format!("key groups {key_groups} are not below the limit")));
        }
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        let database = database.map_err(failed)?;
        Ok(Self {
            key_groups,
            max_parallelism,
            registry: StateRegistry::new(),
            open: Some(begin(&database)?),
            database,
            edit: EditBuffer::new(),
            read: Vec::new(),
            epoch: 1,
            safe_epoch: 0,
            pending: BTreeMap::new(),
        })
    }

    fn check(&self, state: StateId, at: EntryKey<'_>, map: bool) -> Result<()> {
        self.registry.check_map(state, map)?;
        self.check_group(at.group())
    }

    fn check_group(&self, group: KeyGroup) -> Result<()> {
        if self.key_groups.contains(group) {
            return Ok(());
        }
        Err(invalid(format!("key group {group} is outside the backend's {}", self.key_groups)))
    }

    fn transaction(&self) -> Result<&WriteTransaction> {
        self.open.as_ref().ok_or_else(|| StateError::new(ErrorKind::Io, "an earlier write failed"))
    }

    /// Appends the value of `key` to `out`; false if there is none.
    fn read_into(&self, key: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        let table = self.transaction()?.open_table(STATE).map_err(failed)?;
        let Some(cell) = table.get(key).map_err(failed)? else { return Ok(false) };
        out.extend_from_slice(split_cell(cell.value())?.1);
        Ok(true)
    }

    /// The value of `key`, in the buffer of reads.
    fn read(&mut self, key: &[u8]) -> Result<Option<&[u8]>> {
        let mut read = core::mem::take(&mut self.read);
        read.clear();
        let found = self.read_into(key, &mut read);
        self.read = read;
        Ok(found?.then_some(self.read.as_slice()))
    }

    fn write(&self, key: &[u8], value: &[u8]) -> Result<()> {
        check_value_len(value.len())?;
        let cell = [&self.epoch.to_be_bytes(), value].concat();
        let mut table = self.transaction()?.open_table(STATE).map_err(failed)?;
        table.insert(key, cell.as_slice()).map_err(failed)?;
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        let mut table = self.transaction()?.open_table(STATE).map_err(failed)?;
        table.remove(key).map_err(failed)?;
        Ok(())
    }

    /// All keys that begin with `prefix`.
    fn keys(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>> {
        keys_in(&self.transaction()?.open_table(STATE).map_err(failed)?, prefix)
    }

    /// Carries out what the visitor of the present edit decided.
    fn apply_edit(&self, key: &[u8]) -> Result<()> {
        match self.edit.decision() {
            Decision::Keep => Ok(()),
            Decision::Replace => self.write(key, self.edit.bytes()),
            Decision::Remove => self.remove(key),
        }
    }

    /// One place of each entry of a state in some key groups, in canonical order.
    fn entries_of(&self, state: StateId, groups: KeyGroupRange) -> Result<Vec<Place>> {
        let Some(groups) = groups.intersection(self.key_groups) else { return Ok(Vec::new()) };
        let table = self.transaction()?.open_table(STATE).map_err(failed)?;
        let mut entries: Vec<Place> = Vec::new();
        for group in groups.first().get()..=groups.last().get() {
            let prefix = [group.to_be_bytes(), state.get().to_be_bytes()].concat();
            for key in keys_in(&table, &prefix)? {
                let place = Place::decode(&key)?;
                if !entries.last().is_some_and(|last| last.is_entry_of(&place)) {
                    entries.push(place);
                }
            }
        }
        Ok(entries)
    }
}

impl KeyedBackend for RedbBackend {
    fn key_groups(&self) -> KeyGroupRange {
        self.key_groups
    }

    fn max_parallelism(&self) -> MaxParallelism {
        self.max_parallelism
    }

    fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        self.registry.register(descriptor)
    }

    fn states(&self) -> &[StateDescriptor] {
        self.registry.descriptors()
    }

    fn get<'a>(&'a mut self, state: StateId, at: EntryKey<'_>) -> Result<Option<&'a [u8]>> {
        self.check(state, at, false)?;
        self.read(&prefix(state, at))
    }

    fn put(&mut self, state: StateId, at: EntryKey<'_>, value: &[u8]) -> Result<()> {
        self.check(state, at, false)?;
        at.check_lengths()?;
        self.write(&prefix(state, at), value)
    }

    fn delete(&mut self, state: StateId, at: EntryKey<'_>) -> Result<()> {
        self.registry.get(state)?;
        self.check_group(at.group())?;
        let mut table = self.transaction()?.open_table(STATE).map_err(failed)?;
        for key in keys_in(&table, &prefix(state, at))? {
            table.remove(key.as_slice()).map_err(failed)?;
        }
        Ok(())
    }

    fn append(&mut self, state: StateId, at: EntryKey<'_>, bytes: &[u8]) -> Result<()> {
        self.check(state, at, false)?;
        at.check_lengths()?;
        let (key, mut value) = (prefix(state, at), Vec::new());
        self.read_into(&key, &mut value)?;
        value.extend_from_slice(bytes);
        self.write(&key, &value)
    }

    fn get_many<'a>(
        &'a mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        self.registry.check_map(state, false)?;
        check_same_len(entries.len(), out.len())?;
        let (mut read, mut places) = (core::mem::take(&mut self.read), Vec::new());
        read.clear();
        for at in entries {
            self.check_group(at.group())?;
            let start = read.len();
            let found = self.read_into(&prefix(state, *at), &mut read)?;
            places.push(found.then_some(start..read.len()));
        }
        self.read = read;
        for (out, place) in out.iter_mut().zip(places) {
            *out = place.and_then(|place| self.read.get(place));
        }
        Ok(())
    }

    fn put_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        values: &[&[u8]],
    ) -> Result<()> {
        self.registry.check_map(state, false)?;
        check_same_len(entries.len(), values.len())?;
        entries.iter().zip(values).try_for_each(|(at, value)| self.put(state, *at, value))
    }

    fn update_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        self.registry.check_map(state, false)?;
        for (index, at) in entries.iter().enumerate() {
            self.check_group(at.group())?;
            at.check_lengths()?;
            let (key, mut value) = (prefix(state, *at), Vec::new());
            let found = self.read_into(&key, &mut value)?;
            change(index, &mut self.edit.begin(found.then_some(&value)))?;
            self.apply_edit(&key)?;
        }
        Ok(())
    }

    fn map_get<'a>(
        &'a mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
    ) -> Result<Option<&'a [u8]>> {
        self.check(state, at, true)?;
        self.read(&with_user_key(prefix(state, at), user_key))
    }

    fn map_put(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        self.check(state, at, true)?;
        at.check_lengths()?;
        check_user_key_len(user_key.len())?;
        self.write(&with_user_key(prefix(state, at), user_key), value)
    }

    fn map_remove(&mut self, state: StateId, at: EntryKey<'_>, user_key: &[u8]) -> Result<()> {
        self.check(state, at, true)?;
        self.remove(&with_user_key(prefix(state, at), user_key))
    }

    fn map_visit(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        visit: &mut MapVisitor<'_>,
    ) -> Result<()> {
        self.check(state, at, true)?;
        let prefix = prefix(state, at);
        for key in self.keys(&prefix)? {
            let (user_key, mut value) = (key.get(prefix.len()..).unwrap_or_default(), Vec::new());
            self.read_into(&key, &mut value)?;
            let flow = visit(user_key, &mut self.edit.begin(Some(&value)))?;
            self.apply_edit(&key)?;
            if flow == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn visit_entries(
        &mut self,
        state: StateId,
        groups: KeyGroupRange,
        namespace: Option<&[u8]>,
        visit: &mut EntryVisitor<'_>,
    ) -> Result<()> {
        self.registry.get(state)?;
        let wanted = |place: &Place| namespace.is_none_or(|wanted| wanted == place.namespace);
        for place in self.entries_of(state, groups)?.into_iter().filter(wanted) {
            if visit(place.group, &place.key, &place.namespace)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn entry_count(&mut self, state: StateId) -> Result<u64> {
        self.registry.get(state)?;
        Ok(self.entries_of(state, self.key_groups)?.len() as u64)
    }

    /// Not what redb holds: it does not say.
    fn memory_bytes(&self) -> u64 {
        self.read.capacity() as u64
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> Result<Box<dyn SnapshotTask>> {
        let open = self.open.take();
        open.map_or(Ok(()), WriteTransaction::commit).map_err(failed)?;
        let state = self.database.begin_read().map_err(failed)?;
        self.open = Some(begin(&self.database)?);
        self.pending.insert(request.checkpoint, self.epoch);
        self.epoch += 1;
        let (states, safe_epoch) = (self.registry.persisted_descriptors(), self.safe_epoch);
        Ok(self.registry.filter_snapshot(Box::new(RedbTask { states, state, safe_epoch })))
    }

    fn checkpoint_completed(&mut self, checkpoint: CheckpointId) {
        if let Some(epoch) = self.pending.remove(&checkpoint) {
            self.safe_epoch = self.safe_epoch.max(epoch);
        }
    }

    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        self.pending.remove(&checkpoint);
    }

    fn restore(&mut self, source: &mut dyn EntrySource) -> Result<u64> {
        let states = source.states().to_vec();
        let ids = states.iter().map(|state| self.register(state)).collect::<Result<Vec<_>>>()?;
        let mut restored = 0;
        while let Some(entry) = source.next_entry()? {
            let id = ids.get(usize::from(entry.state)).ok_or_else(damaged)?;
            self.check_group(entry.group)?;
            let at = EntryKey::in_group(entry.key, entry.group).in_namespace(entry.namespace);
            self.write(&with_user_key(prefix(*id, at), entry.user_key), entry.value)?;
            restored += 1;
        }
        Ok(restored)
    }
}

/// The table as it was at the snapshot.
struct RedbTask {
    states: Vec<StateDescriptor>,
    state: ReadTransaction,
    safe_epoch: u64,
}

impl SnapshotTask for RedbTask {
    fn run(
        self: Box<Self>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary> {
        cancel.check()?;
        sink.begin(&self.states)?;
        let table = self.state.open_table(STATE).map_err(failed)?;
        let mut summary = SnapshotSummary::default();
        for cell in table.iter().map_err(failed)? {
            cancel.check()?;
            let (key, cell) = cell.map_err(failed)?;
            let place = Place::decode(key.value())?;
            let (epoch, value) = split_cell(cell.value())?;
            sink.entry(&SnapshotEntry {
                group: place.group,
                state: place.state,
                key: &place.key,
                namespace: &place.namespace,
                user_key: &place.user_key,
                value,
            })?;
            summary.entries += 1;
            summary.entries_changed += u64::from(epoch > self.safe_epoch);
        }
        Ok(summary)
    }
}

fn check_same_len(entries: usize, others: usize) -> Result<()> {
    if entries == others {
        return Ok(());
    }
    Err(invalid(format!("a batch of {entries} entries came with {others} values")))
}
