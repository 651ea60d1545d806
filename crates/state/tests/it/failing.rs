//! Migrations over a backend that fails to store.

use millpond_state::backend::{BatchVisitor, EntryVisitor, MapVisitor};
use millpond_state::{
    CancelFlag, CheckpointId, EntryKey, EntrySource, ErrorKind, KeyGroupRange, KeyedBackend,
    MapState, MaxParallelism, MigrationMode, Result, SnapshotRequest, SnapshotTask,
    StateDescriptor, StateError, StateId, StateOptions, ValueState,
};
use millpond_testkit::entries::CollectingSink;
use millpond_testkit::model::ModelBackend;

use crate::migration::{V1, V3, chain};
use crate::support::{key, open, refused, restored, snapshot};

/// Refuses writes once it has done a number of them, and then a number of times.
struct Failing {
    inner: ModelBackend,
    writes_before: usize,
    failures: usize,
}

impl Failing {
    fn write(&mut self) -> Result<&mut ModelBackend> {
        if self.writes_before > 0 {
            self.writes_before -= 1;
        } else if self.failures > 0 {
            self.failures -= 1;
            return Err(StateError::new(ErrorKind::ResourceExhausted, "no room"));
        }
        Ok(&mut self.inner)
    }
}

impl KeyedBackend for Failing {
    fn key_groups(&self) -> KeyGroupRange {
        self.inner.key_groups()
    }

    fn max_parallelism(&self) -> MaxParallelism {
        self.inner.max_parallelism()
    }

    fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        self.inner.register(descriptor)
    }

    fn states(&self) -> &[StateDescriptor] {
        self.inner.states()
    }

    fn get<'a>(&'a mut self, state: StateId, at: EntryKey<'_>) -> Result<Option<&'a [u8]>> {
        self.inner.get(state, at)
    }

    fn put(&mut self, state: StateId, at: EntryKey<'_>, value: &[u8]) -> Result<()> {
        self.write()?.put(state, at, value)
    }

    fn delete(&mut self, state: StateId, at: EntryKey<'_>) -> Result<()> {
        self.inner.delete(state, at)
    }

    fn append(&mut self, state: StateId, at: EntryKey<'_>, bytes: &[u8]) -> Result<()> {
        self.write()?.append(state, at, bytes)
    }

    fn get_many<'a>(
        &'a mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        self.inner.get_many(state, entries, out)
    }

    fn put_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        values: &[&[u8]],
    ) -> Result<()> {
        self.write()?.put_many(state, entries, values)
    }

    fn update_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        self.inner.update_many(state, entries, change)
    }

    fn map_get<'a>(
        &'a mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
    ) -> Result<Option<&'a [u8]>> {
        self.inner.map_get(state, at, user_key)
    }

    fn map_put(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        self.write()?.map_put(state, at, user_key, value)
    }

    fn map_remove(&mut self, state: StateId, at: EntryKey<'_>, user_key: &[u8]) -> Result<()> {
        self.inner.map_remove(state, at, user_key)
    }

    fn map_visit(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        visit: &mut MapVisitor<'_>,
    ) -> Result<()> {
        self.inner.map_visit(state, at, visit)
    }

    fn visit_entries(
        &mut self,
        state: StateId,
        groups: KeyGroupRange,
        namespace: Option<&[u8]>,
        visit: &mut EntryVisitor<'_>,
    ) -> Result<()> {
        self.inner.visit_entries(state, groups, namespace, visit)
    }

    fn entry_count(&mut self, state: StateId) -> Result<u64> {
        self.inner.entry_count(state)
    }

    fn memory_bytes(&self) -> u64 {
        self.inner.memory_bytes()
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> Result<Box<dyn SnapshotTask>> {
        self.inner.snapshot(request)
    }

    fn checkpoint_completed(&mut self, checkpoint: CheckpointId) {
        self.inner.checkpoint_completed(checkpoint);
    }

    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        self.inner.checkpoint_aborted(checkpoint);
    }

    fn restore(&mut self, source: &mut dyn EntrySource) -> Result<u64> {
        self.inner.restore(source)
    }
}

const KEYS: u64 = 40;

/// A restored value state and map state with values of version 1.
fn old(writes_before: usize, failures: usize) -> Failing {
    let mut backend = open();
    let value = ValueState::<u64, V1>::register(&mut backend, "v").unwrap();
    let map = MapState::<u64, u8, V1>::register(&mut backend, "m").unwrap();
    for number in 0..KEYS {
        let old = V1 { minutes: number as i32 };
        value.put(&mut backend, key(number).at(), &old).unwrap();
        map.put_all(&mut backend, key(number).at(), [(&1, &old), (&2, &old)]).unwrap();
    }
    Failing { inner: restored(&snapshot(&mut backend)), writes_before, failures }
}

fn options(mode: MigrationMode) -> StateOptions {
    StateOptions::new().migrations(chain()).migration_mode(mode)
}

fn check_all(b: &mut Failing, value: &ValueState<u64, V3>, map: &MapState<u64, u8, V3>) {
    for number in 0..KEYS {
        let new = V3 { text: format!("{} ms", number * 60_000) };
        assert_eq!(value.get(b, key(number).at()).unwrap(), Some(new.clone()));
        assert_eq!(map.entries(b, key(number).at()).unwrap(), [(1, new.clone()), (2, new)]);
    }
}

#[test]
fn a_key_group_that_cannot_be_stored_is_taken_back_and_migrated_later() {
    for writes_before in 0..12 {
        let mut backend = old(writes_before, 1);
        let b = &mut backend;
        let lazy = MigrationMode::Lazy;
        let value = ValueState::<u64, V3>::register_with(b, "v", options(lazy)).unwrap();
        let map = MapState::<u64, u8, V3>::register_with(b, "m", options(lazy)).unwrap();
        let before = snapshot(&mut b.inner).logical();
        let failed = (0..KEYS).find_map(|number| {
            let error = value.get(b, key(number).at()).err()?;
            Some((number, error))
        });
        let (number, error) = failed.unwrap();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        let stored = b.get(value.id(), key(number).at().entry()).unwrap().unwrap();
        assert_eq!(stored.len(), 4, "an i32, as it was");
        assert_eq!(snapshot(&mut b.inner).logical(), before, "nothing can be told from outside");
        check_all(b, &value, &map);
    }
}

#[test]
fn an_eager_migration_that_cannot_store_goes_on_as_a_lazy_one() {
    for writes_before in [0, 1, 7, 20, 39] {
        let mut backend = old(writes_before, 1);
        let b = &mut backend;
        let eager = || options(MigrationMode::Eager);
        let result = ValueState::<u64, V3>::register_with(b, "v", eager());
        refused(result, ErrorKind::ResourceExhausted, &["\"v\"", "key group"]);
        let value = ValueState::<u64, V3>::register_with(b, "v", eager()).unwrap();
        let map = MapState::<u64, u8, V3>::register_with(b, "m", eager()).unwrap();
        check_all(b, &value, &map);
    }
}

#[test]
fn a_key_group_left_in_pieces_is_never_read() {
    let mut backend = old(2, 2);
    let b = &mut backend;
    let lazy = options(MigrationMode::Lazy);
    let map = MapState::<u64, u8, V3>::register_with(b, "m", lazy).unwrap();
    let at = key(1);
    refused(map.get(b, at.at(), &1), ErrorKind::ResourceExhausted, &["no room"]);
    for _ in 0..2 {
        refused(map.get(b, at.at(), &1), ErrorKind::InvalidArgument, &["\"m\"", "restore again"]);
    }
    let request = SnapshotRequest::full(CheckpointId::new(1));
    let task = b.snapshot(&request).unwrap();
    let result = task.run(&mut CollectingSink::new(), &CancelFlag::new());
    refused(result, ErrorKind::InvalidArgument, &["\"m\"", "restore again"]);
}
