//! Instances that share a job's key groups, what they must hold, and checkpoints of them in files.

use millpond_rocksdb::RocksDbBackend;
use millpond_state::{
    CancelFlag, CheckpointId, EntryKey, FilesSummary, FilesTask, KeyGroupRange, KeyedBackend,
    SnapshotRequest, StateId, StateKind,
};
use millpond_testkit::SplitMix64;
use millpond_testkit::entries::{CollectedSnapshot, CollectingSink, LogicalState};
use millpond_testkit::model::ModelFactory;
use millpond_testkit::native::{MemoryFiles, MemorySnapshot};

use crate::support::{TemporaryFactory, at, context, descriptor, max};

/// Different keys that a cluster uses.
const KEYS: u64 = 1_200;

/// User keys of a large map: deleting one leaves a range tombstone.
const LARGE_MAP: u64 = 700;

/// The states of a job.
#[derive(Clone, Copy)]
struct States {
    values: StateId,
    lists: StateId,
    maps: StateId,
}

fn register(backend: &mut dyn KeyedBackend) -> States {
    let mut state = |name, kind| backend.register(&descriptor(name, kind)).unwrap();
    States {
        values: state("values", StateKind::Value),
        lists: state("lists", StateKind::List),
        maps: state("maps", StateKind::Map),
    }
}

/// One operation on one key.
fn operate(backend: &mut dyn KeyedBackend, key: EntryKey<'_>, kind: u64, number: u64) {
    let states = register(backend);
    let value = number.to_le_bytes().repeat(1 + (number % 7) as usize);
    match kind {
        0..=3 => backend.put(states.values, key, &value).unwrap(),
        4 => backend.delete(states.values, key).unwrap(),
        5..=8 => backend.append(states.lists, key, &number.to_le_bytes()).unwrap(),
        9 => backend.delete(states.lists, key).unwrap(),
        10 => backend.put(states.lists, key, &value).unwrap(),
        11..=13 => {
            let user_key = (number % 20).to_be_bytes();
            backend.map_put(states.maps, key, &user_key, &value).unwrap();
        }
        14 => backend.map_remove(states.maps, key, &(number % 20).to_be_bytes()).unwrap(),
        _ => backend.delete(states.maps, key).unwrap(),
    }
}

/// Kinds of operations.
const KINDS: u64 = 16;

fn collected(backend: &mut dyn KeyedBackend) -> CollectedSnapshot {
    let request = SnapshotRequest::full(CheckpointId::new(1_000));
    let mut sink = CollectingSink::new();
    backend.snapshot(&request).unwrap().run(&mut sink, &CancelFlag::new()).unwrap();
    sink.into_snapshot()
}

pub(crate) fn logical(backend: &mut dyn KeyedBackend) -> LogicalState {
    collected(backend).logical()
}

/// A checkpoint of one instance.
pub(crate) struct Taken {
    pub(crate) groups: KeyGroupRange,
    pub(crate) snapshot: MemorySnapshot,
    pub(crate) summary: FilesSummary,
    pub(crate) added_bytes: u64,
}

impl Taken {
    pub(crate) fn tables(&self) -> Vec<&str> {
        let names = self.snapshot.files.iter().map(|file| file.name.as_str());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".sst")).collect();
        names.sort_unstable();
        names
    }
}

pub(crate) fn freeze(backend: &mut RocksDbBackend, id: u64) -> Box<dyn FilesTask> {
    let request = SnapshotRequest::incremental(CheckpointId::new(id));
    backend.snapshot_files(&request).unwrap().unwrap()
}

pub(crate) fn finish(
    files: &MemoryFiles,
    groups: KeyGroupRange,
    task: Box<dyn FilesTask>,
) -> Taken {
    let mut transfer = files.transfer();
    let summary = task.run(&mut transfer, &CancelFlag::new()).unwrap();
    let added_bytes = transfer.added_bytes();
    let snapshot = transfer.finish(summary.manifest.clone());
    Taken { groups, snapshot, summary, added_bytes }
}

/// The instances of a job, and the model that says what they must hold together.
pub(crate) struct Cluster {
    /// Each restore goes on with the next of them.
    factories: Vec<TemporaryFactory>,
    restores: usize,
    pub(crate) instances: Vec<RocksDbBackend>,
    model: Box<dyn KeyedBackend>,
    pub(crate) files: MemoryFiles,
    rng: SplitMix64,
    checkpoints: u64,
}

impl Cluster {
    pub(crate) fn new(factories: Vec<TemporaryFactory>, parallelism: u32, seed: u64) -> Self {
        use millpond_state::BackendFactory;
        let mut model = ModelFactory.open(&context(max().full_range())).unwrap();
        register(&mut *model);
        let instances = open_all(&factories[0], parallelism);
        let (files, rng) = (MemoryFiles::new(), SplitMix64::new(seed));
        let mut cluster =
            Self { factories, restores: 0, instances, model, files, rng, checkpoints: 0 };
        cluster.instances.iter_mut().for_each(|instance| {
            register(instance);
        });
        cluster
    }

    fn owner(&mut self, key: EntryKey<'_>) -> &mut RocksDbBackend {
        let mut instances = self.instances.iter_mut();
        instances.find(|instance| instance.key_groups().contains(key.group())).unwrap()
    }

    /// Does as many random operations.
    pub(crate) fn operate(&mut self, count: u64) {
        for _ in 0..count {
            let (key, kind) = (self.rng.below(KEYS).to_be_bytes(), self.rng.below(KINDS));
            let number = self.rng.next_u64() >> 8;
            operate(&mut *self.model, at(&key), kind, number);
            operate(self.owner(at(&key)), at(&key), kind, number);
        }
    }

    /// Writes a large map and deletes it.
    pub(crate) fn delete_large_map(&mut self, number: u64) {
        let key = number.to_be_bytes();
        let states = register(&mut *self.model);
        let owner = self.owner(at(&key));
        for user_key in (0..LARGE_MAP).map(u64::to_be_bytes) {
            owner.map_put(states.maps, at(&key), &user_key, b"gone").unwrap();
        }
        owner.delete(states.maps, at(&key)).unwrap();
        self.model.delete(states.maps, at(&key)).unwrap();
    }

    /// Takes a checkpoint that completes.
    pub(crate) fn checkpoint(&mut self) -> Vec<Taken> {
        self.checkpoints += 1;
        let id = self.checkpoints;
        let tasks: Vec<_> =
            self.instances.iter_mut().map(|it| (it.key_groups(), freeze(it, id))).collect();
        let taken = tasks.into_iter().map(|(groups, task)| finish(&self.files, groups, task));
        let taken: Vec<Taken> = taken.collect();
        for instance in &mut self.instances {
            instance.checkpoint_completed(CheckpointId::new(id));
        }
        taken
    }

    fn open_next(&mut self, parallelism: u32) -> Vec<RocksDbBackend> {
        self.restores += 1;
        open_all(&self.factories[self.restores % self.factories.len()], parallelism)
    }

    /// Goes on from a checkpoint with another number of instances.
    pub(crate) fn restore(&mut self, taken: &[Taken], parallelism: u32) {
        let mut instances = self.open_next(parallelism);
        for instance in &mut instances {
            for part in taken {
                let Some(groups) = part.groups.intersection(instance.key_groups()) else {
                    continue;
                };
                let mut source = self.files.source("rocksdb", part.groups, &part.snapshot);
                instance.restore_files(&mut source, groups).unwrap();
            }
        }
        self.instances = instances;
    }

    /// Goes on from a checkpoint of which every other part is taken as canonical entries.
    pub(crate) fn restore_mixed(&mut self, taken: &[Taken], parallelism: u32, files_first: bool) {
        let canonical: Vec<_> = self.instances.iter_mut().map(|it| collected(it)).collect();
        let mut instances = self.open_next(parallelism);
        for instance in &mut instances {
            for (index, part) in taken.iter().enumerate() {
                let Some(groups) = part.groups.intersection(instance.key_groups()) else {
                    continue;
                };
                if (index % 2 == 0) == files_first {
                    let mut source = self.files.source("rocksdb", part.groups, &part.snapshot);
                    instance.restore_files(&mut source, groups).unwrap();
                } else {
                    instance.restore(&mut canonical[index].source(groups)).unwrap();
                }
            }
        }
        self.instances = instances;
    }

    /// Compares all contents with the model's.
    pub(crate) fn assert_equal(&mut self, when: &str) {
        let mut found = LogicalState::new();
        for instance in &mut self.instances {
            let part = logical(instance);
            let own = instance.key_groups();
            assert!(part.keys().all(|key| own.contains(key.group)), "{when}: foreign entries");
            found.extend(part);
        }
        let expected = logical(&mut *self.model);
        let differs = |(key, value): &(_, _)| found.get(*key) != Some(*value);
        let wrong = expected.iter().filter(differs).count();
        assert!(found == expected, "{when}: {wrong} of {} are wrong", expected.len());
        self.assert_counts(when);
    }

    /// Counts of entries do not see foreign key groups either.
    fn assert_counts(&mut self, when: &str) {
        let states = register(&mut *self.model);
        for state in [states.values, states.lists, states.maps] {
            let counts = self.instances.iter_mut().map(|it| {
                register(it);
                it.entry_count(state).unwrap()
            });
            assert_eq!(counts.sum::<u64>(), self.model.entry_count(state).unwrap(), "{when}");
        }
    }
}

fn open_all(factory: &TemporaryFactory, parallelism: u32) -> Vec<RocksDbBackend> {
    let range = |index| max().range_of(index, parallelism).unwrap();
    (0..parallelism).map(|index| factory.backend_of(range(index))).collect()
}
