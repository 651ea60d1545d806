//! The reference backend: one ordered map, nothing clever. It is the oracle that random tests
//! compare with, and the proof that the conformance suite can be passed.
//!
//! # Invariants
//! The map's order is the canonical order of entries. A map state's entry exists as long as it has
//! a user key. Each snapshot task owns a copy of everything.

use core::ops::ControlFlow;
use std::collections::BTreeMap;

use millpond_state::backend::{BatchVisitor, EntryVisitor, MapVisitor};
use millpond_state::{
    BackendContext, BackendFactory, CancelFlag, CheckpointId, Decision, EditBuffer, EntryKey,
    EntrySink, EntrySource, ErrorKind, KeyGroup, KeyGroupRange, KeyedBackend, MaxParallelism,
    Result, SnapshotEntry, SnapshotRequest, SnapshotSummary, SnapshotTask, StateDescriptor,
    StateError, StateId, StateRegistry, check_user_key_len, check_value_len,
};

/// What [`KeyedBackend::memory_bytes`] counts for an entry besides its bytes.
const ENTRY_OVERHEAD_BYTES: u64 = 64;

/// Opens [`ModelBackend`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelFactory;

impl BackendFactory for ModelFactory {
    fn name(&self) -> &str {
        "model"
    }

    fn open(&self, context: &BackendContext) -> Result<Box<dyn KeyedBackend>> {
        Ok(Box::new(ModelBackend::open(context.key_groups, context.max_parallelism)?))
    }
}

/// Where a value lives. The derived order is the canonical one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    group: KeyGroup,
    state: u16,
    key: Vec<u8>,
    namespace: Vec<u8>,
    user_key: Vec<u8>,
}

impl Place {
    fn new(state: StateId, at: EntryKey<'_>, user_key: &[u8]) -> Self {
        Self {
            group: at.group(),
            state: state.get(),
            key: at.key().to_vec(),
            namespace: at.namespace().to_vec(),
            user_key: user_key.to_vec(),
        }
    }

    /// Whether both are in one entry: only the user keys may differ.
    fn same_entry(&self, other: &Self) -> bool {
        (self.group, self.state) == (other.group, other.state)
            && self.key == other.key
            && self.namespace == other.namespace
    }
}

#[derive(Clone, Debug)]
struct Cell {
    value: Vec<u8>,
    /// The epoch in which the value last changed.
    epoch: u64,
}

type Cells = BTreeMap<Place, Cell>;

/// A keyed backend over an ordered map.
#[derive(Debug)]
pub struct ModelBackend {
    key_groups: KeyGroupRange,
    max_parallelism: MaxParallelism,
    registry: StateRegistry,
    cells: Cells,
    edit: EditBuffer,
    /// Grows with each snapshot: what was written in an epoch up to a snapshot's is part of it.
    epoch: u64,
    /// The epoch of the newest completed checkpoint's snapshot.
    safe_epoch: u64,
    /// Epochs of the snapshots whose checkpoints are undecided.
    pending: BTreeMap<CheckpointId, u64>,
}

impl ModelBackend {
    /// Opens an empty instance.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if `key_groups` are not below `max_parallelism`.
    pub fn open(key_groups: KeyGroupRange, max_parallelism: MaxParallelism) -> Result<Self> {
        if !max_parallelism.full_range().contains_range(key_groups) {
            return Err(invalid(format!(
                "key groups {key_groups} are not below the max parallelism {max_parallelism}"
            )));
        }
        Ok(Self {
            key_groups,
            max_parallelism,
            registry: StateRegistry::new(),
            cells: Cells::new(),
            edit: EditBuffer::new(),
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

    fn set(&mut self, place: Place, value: Vec<u8>) -> Result<()> {
        check_value_len(value.len())?;
        self.cells.insert(place, Cell { value, epoch: self.epoch });
        Ok(())
    }

    /// Carries out what the visitor of the present edit decided.
    fn apply_edit(&mut self, place: Place) -> Result<()> {
        match self.edit.decision() {
            Decision::Keep => Ok(()),
            Decision::Replace => {
                let value = self.edit.bytes().to_vec();
                self.set(place, value)
            }
            Decision::Remove => {
                self.cells.remove(&place);
                Ok(())
            }
        }
    }

    /// The places of one entry, in order of their user keys.
    fn places_of(&self, state: StateId, at: EntryKey<'_>) -> Vec<Place> {
        let first = Place::new(state, at, &[]);
        let rest = self.cells.range(first.clone()..).map(|(place, _)| place);
        rest.take_while(|place| place.same_entry(&first)).cloned().collect()
    }

    /// One place of each entry of a state, in canonical order.
    fn entries_of(&self, state: StateId) -> Vec<&Place> {
        let mut entries: Vec<&Place> =
            self.cells.keys().filter(|place| place.state == state.get()).collect();
        entries.dedup_by(|next, last| next.same_entry(last));
        entries
    }

    fn restore_entry(&mut self, ids: &[StateId], entry: &SnapshotEntry<'_>) -> Result<()> {
        let Some(id) = ids.get(usize::from(entry.state)) else {
            return Err(corrupt(format!("entry of state index {}: no such state", entry.state)));
        };
        let kind = self.registry.get(*id)?.kind();
        if !kind.is_map() && !entry.user_key.is_empty() {
            return Err(corrupt(format!("entry of a {kind} state has a user key")));
        }
        self.check_group(entry.group)?;
        let at = EntryKey::in_group(entry.key, entry.group).in_namespace(entry.namespace);
        self.set(Place::new(*id, at, entry.user_key), entry.value.to_vec())
    }
}

impl KeyedBackend for ModelBackend {
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
        Ok(self.cells.get(&Place::new(state, at, &[])).map(|cell| cell.value.as_slice()))
    }

    fn put(&mut self, state: StateId, at: EntryKey<'_>, value: &[u8]) -> Result<()> {
        self.check(state, at, false)?;
        at.check_lengths()?;
        self.set(Place::new(state, at, &[]), value.to_vec())
    }

    fn delete(&mut self, state: StateId, at: EntryKey<'_>) -> Result<()> {
        self.registry.get(state)?;
        self.check_group(at.group())?;
        for place in self.places_of(state, at) {
            self.cells.remove(&place);
        }
        Ok(())
    }

    fn append(&mut self, state: StateId, at: EntryKey<'_>, bytes: &[u8]) -> Result<()> {
        self.check(state, at, false)?;
        at.check_lengths()?;
        let place = Place::new(state, at, &[]);
        let len = self.cells.get(&place).map_or(0, |cell| cell.value.len());
        check_value_len(len.saturating_add(bytes.len()))?;
        let empty = Cell { value: Vec::new(), epoch: self.epoch };
        let cell = self.cells.entry(place).or_insert(empty);
        cell.epoch = self.epoch;
        cell.value.extend_from_slice(bytes);
        Ok(())
    }

    fn get_many<'a>(
        &'a mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        self.registry.check_map(state, false)?;
        check_same_len(entries.len(), out.len())?;
        for (at, out) in entries.iter().zip(out) {
            self.check_group(at.group())?;
            *out = self.cells.get(&Place::new(state, *at, &[])).map(|cell| cell.value.as_slice());
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
            let place = Place::new(state, *at, &[]);
            let current = self.cells.get(&place).map(|cell| cell.value.as_slice());
            change(index, &mut self.edit.begin(current))?;
            self.apply_edit(place)?;
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
        Ok(self.cells.get(&Place::new(state, at, user_key)).map(|cell| cell.value.as_slice()))
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
        self.set(Place::new(state, at, user_key), value.to_vec())
    }

    fn map_remove(&mut self, state: StateId, at: EntryKey<'_>, user_key: &[u8]) -> Result<()> {
        self.check(state, at, true)?;
        self.cells.remove(&Place::new(state, at, user_key));
        Ok(())
    }

    fn map_visit(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        visit: &mut MapVisitor<'_>,
    ) -> Result<()> {
        self.check(state, at, true)?;
        for place in self.places_of(state, at) {
            let current = self.cells.get(&place).map(|cell| cell.value.as_slice());
            let flow = visit(&place.user_key, &mut self.edit.begin(current))?;
            self.apply_edit(place)?;
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
        let wanted = |place: &&Place| {
            groups.contains(place.group) && namespace.is_none_or(|wanted| wanted == place.namespace)
        };
        for place in self.entries_of(state).into_iter().filter(wanted) {
            if visit(place.group, &place.key, &place.namespace)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn entry_count(&mut self, state: StateId) -> Result<u64> {
        self.registry.get(state)?;
        Ok(self.entries_of(state).len() as u64)
    }

    fn memory_bytes(&self) -> u64 {
        let bytes = |(place, cell): (&Place, &Cell)| {
            let Place { key, namespace, user_key, .. } = place;
            let bytes = key.len() + namespace.len() + user_key.len() + cell.value.len();
            bytes as u64 + ENTRY_OVERHEAD_BYTES
        };
        self.cells.iter().map(bytes).sum()
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> Result<Box<dyn SnapshotTask>> {
        self.pending.insert(request.checkpoint, self.epoch);
        self.epoch += 1;
        Ok(self.registry.filter_snapshot(Box::new(ModelTask {
            states: self.registry.persisted_descriptors(),
            cells: self.cells.clone(),
            safe_epoch: self.safe_epoch,
        })))
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
            self.restore_entry(&ids, &entry)?;
            restored += 1;
        }
        Ok(restored)
    }
}

/// A copy of all entries, to be written out.
#[derive(Debug)]
struct ModelTask {
    states: Vec<StateDescriptor>,
    cells: Cells,
    safe_epoch: u64,
}

impl SnapshotTask for ModelTask {
    fn run(
        self: Box<Self>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary> {
        cancel.check()?;
        sink.begin(&self.states)?;
        let mut summary = SnapshotSummary::default();
        for (place, cell) in &self.cells {
            cancel.check()?;
            sink.entry(&SnapshotEntry {
                group: place.group,
                state: place.state,
                key: &place.key,
                namespace: &place.namespace,
                user_key: &place.user_key,
                value: &cell.value,
            })?;
            summary.entries += 1;
            summary.entries_changed += u64::from(cell.epoch > self.safe_epoch);
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

fn invalid(message: String) -> StateError {
    StateError::new(ErrorKind::InvalidArgument, message)
}

fn corrupt(message: String) -> StateError {
    StateError::new(ErrorKind::Corrupt, message)
}
