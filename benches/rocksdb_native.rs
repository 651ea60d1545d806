//! What do RocksDB's own files save, in checkpoints and in restores at another parallelism?
//!
//! Checkpoints of a backend go to a folder through the real storage layer, after 0, 1, 10 and 100 %
//! of its keys were changed: how long the writer waits, how long the rest takes, how many bytes
//! are added. Restores bring the files of 2 instances into 3 and of 3 into 2, and are held against
//! reading every entry and putting it again; both must come to the same contents. All times are
//! wall clock, one instance after the other.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures, prints, and stops on errors"
)]

use std::sync::Arc;
use std::time::Instant;

use millpond_benches::{Rng, Sizes, at, key, max_parallelism, median};
use millpond_checkpoint::driver::{
    CheckpointFolder, CheckpointStorage, JobDescription, KeyedPart, KeyedStateSource, SharedFiles,
    SubtaskSnapshot, VertexDescription, WriteKeyedState, describe,
};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_checkpoint::{
    CheckpointHead, CheckpointKind, CheckpointMode, CheckpointToStore, SubtaskMetrics, SubtaskPart,
};
use millpond_rocksdb::{RocksDbBackend, RocksDbBackendFactory, RocksDbOptions};
use millpond_snapshot::metadata::KeyedStateHandle;
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    AttemptId, BackendContext, CancelFlag, CheckpointId, EntryKey, EntrySink, KeyGroupRange,
    KeyedBackend, Result, SnapshotEntry, SnapshotRequest, StateCodecs, StateDescriptor, StateId,
    StateKind, SubtaskId,
};
use millpond_storage::LocalStore;
use tempfile::TempDir;

const VERTEX: &str = "bench";

/// Instances of one job and where their checkpoints go.
struct Job {
    factory: RocksDbBackendFactory,
    storage: CheckpointStorage,
    shared: SharedFiles,
    instances: Vec<RocksDbBackend>,
    checkpoints: u64,
    _dir: TempDir,
}

/// What a checkpoint cost.
struct Taken {
    handles: Vec<(KeyGroupRange, KeyedStateHandle)>,
    sync_seconds: f64,
    async_seconds: f64,
    bytes: u64,
}

fn register(backend: &mut RocksDbBackend) -> StateId {
    let bytes = || CodecIdentity::new("bytes", 1);
    let codecs = StateCodecs { key: bytes(), namespace: bytes(), user_key: None, value: bytes() };
    backend.register(&StateDescriptor::new("values", StateKind::Value, codecs).unwrap()).unwrap()
}

impl Job {
    fn new(parallelism: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = RocksDbOptions::new(dir.path().join("state"));
        let factory = RocksDbBackendFactory::create(options).unwrap();
        let store = LocalStore::create(dir.path().join("checkpoints")).unwrap();
        let storage = CheckpointStorage::new(Arc::new(store));
        let shared = storage.open_shared_files(RegistrySettings::default()).unwrap();
        let mut job =
            Self { factory, storage, shared, instances: Vec::new(), checkpoints: 0, _dir: dir };
        job.instances = job.open(parallelism);
        job
    }

    /// New, empty instances.
    fn open(&self, parallelism: u32) -> Vec<RocksDbBackend> {
        let max = max_parallelism().unwrap();
        let range = |index| max.range_of(index, parallelism).unwrap();
        let open = |range| {
            let mut backend =
                self.factory.open_backend(&BackendContext::new(VERTEX, range, max)).unwrap();
            register(&mut backend);
            backend
        };
        (0..parallelism).map(|index| open(range(index))).collect()
    }

    fn put(&mut self, number: u64, value: &[u8]) {
        let (key, max) = (key(number).to_be_bytes(), max_parallelism().unwrap());
        let at = at(&key, max);
        let owner = max.subtask_of(at.group(), self.instances.len() as u32);
        let backend = &mut self.instances[owner as usize];
        let state = register(backend);
        backend.put(state, at, value).unwrap();
    }

    fn checkpoint(&mut self) -> Taken {
        self.checkpoints += 1;
        let (checkpoint, attempt) = (CheckpointId::new(self.checkpoints), AttemptId::new(1));
        let kind = CheckpointKind::Periodic;
        self.shared.with(|registry| registry.begin(checkpoint, kind)).unwrap();
        let request = SnapshotRequest::incremental(checkpoint);
        let start = Instant::now();
        let freeze = |it: &mut RocksDbBackend| it.snapshot_files(&request).unwrap().unwrap();
        let tasks: Vec<_> = self.instances.iter_mut().map(freeze).collect();
        let sync_seconds = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let mut parts = Vec::new();
        for (index, (task, backend)) in (0..).zip(tasks.into_iter().zip(&self.instances)) {
            let subtask = SubtaskId::new(VERTEX, index);
            let key_groups = backend.key_groups();
            let write = WriteKeyedState {
                checkpoint,
                attempt,
                subtask: &subtask,
                key_groups,
                compression_level: 1,
            };
            let files = (&write, "rocksdb");
            parts.push(
                self.storage.write_files(files, task, &self.shared, &CancelFlag::new()).unwrap(),
            );
        }
        let async_seconds = start.elapsed().as_secs_f64();
        let bytes = parts.iter().map(|part| part.bytes()).sum();
        let groups = self.instances.iter().map(|it| it.key_groups());
        let handles = groups.zip(parts.iter().map(|part| part.handle().clone())).collect();
        self.publish(checkpoint, attempt, parts);
        Taken { handles, sync_seconds, async_seconds, bytes }
    }

    fn publish(&mut self, id: CheckpointId, attempt: AttemptId, parts: Vec<KeyedPart>) {
        let kind = CheckpointKind::Periodic;
        let head = CheckpointHead { id, attempt, kind, target: None, triggered_wall_ms: 0 };
        let part = |(index, part): (u32, KeyedPart)| {
            let payload = SubtaskSnapshot { keyed: Some(part), ..Default::default() };
            let metrics = SubtaskMetrics::default();
            (SubtaskId::new(VERTEX, index), SubtaskPart::Acknowledged { payload, metrics })
        };
        let parts: Vec<_> = (0..).zip(parts).map(part).collect();
        let collected = CheckpointToStore { head, acknowledged_after_ms: 0, parts };
        let parallelism = self.instances.len() as u32;
        let job = JobDescription {
            name: "bench".to_owned(),
            kind: "bench".to_owned(),
            state_backend: "rocksdb".to_owned(),
            mode: CheckpointMode::ExactlyOnce,
            max_parallelism: max_parallelism().unwrap(),
            vertices: vec![VertexDescription { name: VERTEX.to_owned(), parallelism }],
        };
        let metadata = describe(&job, &collected, 0).unwrap();
        self.shared.with(|registry| registry.store(&metadata)).unwrap();
        self.storage.publish(&metadata).map_err(|failed| failed.error).unwrap();
        self.shared.with(|registry| registry.complete(id)).unwrap();
    }

    /// New instances with what `taken` holds, by its files.
    fn restore(&self, taken: &Taken, parallelism: u32) -> Vec<RocksDbBackend> {
        let folder: CheckpointFolder = self.storage.list().unwrap().pop().unwrap().folder;
        let mut instances = self.open(parallelism);
        for instance in &mut instances {
            for (groups, handle) in &taken.handles {
                let overlap = groups.intersection(instance.key_groups());
                let Some(key_groups) = overlap else { continue };
                let (folder, handle) = (folder.clone(), Arc::new(handle.clone()));
                KeyedStateSource { folder, handle, key_groups }.restore_into(instance).unwrap();
            }
        }
        instances
    }

    /// New instances with what the present ones hold, entry by entry.
    fn put_again(&mut self, parallelism: u32) -> Vec<RocksDbBackend> {
        let mut instances = self.open(parallelism);
        for old in &mut self.instances {
            let task = old.snapshot(&SnapshotRequest::full(CheckpointId::new(1))).unwrap();
            let mut sink = Puts { instances: &mut instances };
            task.run(&mut sink, &CancelFlag::new()).unwrap();
        }
        instances
    }
}

/// Puts entries into the instances that own them.
struct Puts<'i> {
    instances: &'i mut [RocksDbBackend],
}

impl EntrySink for Puts<'_> {
    fn begin(&mut self, _: &[StateDescriptor]) -> Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        let owns = |it: &&mut RocksDbBackend| it.key_groups().contains(entry.group);
        let owner = self.instances.iter_mut().find(owns).unwrap();
        let at = EntryKey::in_group(entry.key, entry.group);
        owner.put(StateId::new(entry.state), at, entry.value)
    }
}

/// Tells contents apart.
#[derive(Default, Debug, PartialEq, Eq)]
struct Sum {
    entries: u64,
    sum: u64,
}

impl EntrySink for Sum {
    fn begin(&mut self, _: &[StateDescriptor]) -> Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        self.entries += 1;
        let hash = |bytes| millpond_state::key_hash(bytes);
        self.sum = self.sum.wrapping_add(hash(entry.key) ^ hash(entry.value).rotate_left(17));
        Ok(())
    }
}

fn sum(instances: &mut [RocksDbBackend]) -> Sum {
    let mut sum = Sum::default();
    for instance in instances {
        let task = instance.snapshot(&SnapshotRequest::full(CheckpointId::new(1))).unwrap();
        task.run(&mut sum, &CancelFlag::new()).unwrap();
    }
    sum
}

/// Half of it compresses.
fn value_of(number: u64, value_bytes: usize) -> Vec<u8> {
    let mut rng = Rng::new(number);
    let mut value = vec![0; value_bytes];
    value[..value_bytes.div_ceil(2)].iter_mut().for_each(|it| *it = rng.next_u64() as u8);
    value
}

fn filled(keys: u64, value_bytes: usize, parallelism: u32) -> Job {
    let mut job = Job::new(parallelism);
    for number in 0..keys {
        job.put(number, &value_of(number, value_bytes));
    }
    // Versions on several levels.
    let mut rng = Rng::new(7);
    for number in 0..keys / 5 {
        job.put(rng.below(keys), &value_of(keys + number, value_bytes));
    }
    job
}

fn show_checkpoints(keys: u64, value_bytes: usize, rounds: usize) {
    let mut job = filled(keys, value_bytes, 1);
    let mut rng = Rng::new(9);
    println!("{keys} keys of {value_bytes} B: checkpoint    sync ms  async ms        bytes");
    let first = job.checkpoint();
    let row = |what: &str, sync: f64, after: f64, bytes: f64| {
        println!("  {what:36} {:10.1} {:9.1} {bytes:12.0}", sync * 1e3, after * 1e3);
    };
    row("the first", first.sync_seconds, first.async_seconds, first.bytes as f64);
    for percent in [0, 1, 10, 100] {
        let (mut sync, mut after, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds.min(5) as u64 {
            for number in 0..keys * percent / 100 {
                job.put(rng.below(keys), &value_of(number ^ (round << 40), value_bytes));
            }
            let taken = job.checkpoint();
            sync.push(taken.sync_seconds);
            after.push(taken.async_seconds);
            bytes.push(taken.bytes as f64);
        }
        row(&format!("after {percent} % changed"), median(sync), median(after), median(bytes));
    }
}

fn show_rescale(keys: u64, value_bytes: usize, rounds: usize, (p, q): (u32, u32)) {
    let mut job = filled(keys, value_bytes, p);
    let taken = job.checkpoint();
    let expected = sum(&mut job.instances);
    let (mut imports, mut puts) = (Vec::new(), Vec::new());
    for _ in 0..rounds.min(3) {
        let start = Instant::now();
        let mut instances = job.restore(&taken, q);
        imports.push(start.elapsed().as_secs_f64());
        assert_eq!(sum(&mut instances), expected, "by files");
        drop(instances);
        let start = Instant::now();
        let mut instances = job.put_again(q);
        puts.push(start.elapsed().as_secs_f64());
        assert_eq!(sum(&mut instances), expected, "by entries");
    }
    let (imports, puts) = (median(imports), median(puts));
    let groups: KeyGroupRange = max_parallelism().unwrap().full_range();
    println!(
        "  {p} to {q}, {} key groups, {:5.0} MB {imports:9.3} s {puts:9.3} s {:7.1}",
        groups.count(),
        taken.bytes as f64 / 1e6,
        puts / imports
    );
}

fn main() {
    let sizes = Sizes::from_environment();
    for &keys in &sizes.keys {
        for &value_bytes in &sizes.value_bytes {
            show_checkpoints(keys, value_bytes, sizes.rounds);
            println!("  restore                            by files   by entries   ratio");
            for change in [(2, 3), (3, 2), (2, 2)] {
                show_rescale(keys, value_bytes, sizes.rounds, change);
            }
        }
    }
}
