//! The memory budget, measured as resident memory of a process of its own.

use millpond_rocksdb::{RocksDbBackend, RocksDbBackendFactory, RocksDbOptions, RocksDbProfile};
use millpond_state::{CancelFlag, CheckpointId, KeyedBackend, SnapshotRequest, StateId, StateKind};

use crate::folder_files::FolderFiles;
use crate::support::{MadeUp, Sum, VALUE_BYTES, at, context, descriptor, max, run_alone, value};

const INSTANCES: &str = "MILLPOND_TEST_INSTANCES";

const BUDGET: u64 = 64 << 20;

/// Code, threads, buffers of flushes and compactions.
const FIXED: u64 = 36 << 20;

/// An open database, whatever it holds.
const EACH_INSTANCE: u64 = 512 << 10;

const STATE_BYTES: u64 = 96 << 20;

#[test]
fn one_instance_stays_within_the_budget() {
    run_with(1);
}

#[test]
fn ten_instances_stay_within_the_budget_together() {
    run_with(10);
}

#[test]
fn two_hundred_instances_stay_within_the_budget_together() {
    run_with(200);
}

fn run_with(instances: u64) {
    let variables = [(INSTANCES, instances.to_string())];
    run_alone("memory::fills_instances_and_restores_them", &[], &variables);
}

/// A field of this process's status, in bytes.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn open(factory: &RocksDbBackendFactory) -> (RocksDbBackend, StateId) {
    let mut backend = factory.open_backend(&context(max().full_range())).unwrap();
    let state = backend.register(&descriptor("values", StateKind::Value)).unwrap();
    (backend, state)
}

/// Run by the other tests, in a process of its own.
#[test]
fn fills_instances_and_restores_them() {
    let Ok(instances) = std::env::var(INSTANCES) else { return };
    let instances: u64 = instances.parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = RocksDbOptions::with_profile(dir.path(), RocksDbProfile::SmallMemory);
    let factory = RocksDbBackendFactory::create(options).unwrap();
    let before = status("VmRSS");
    let bound = BUDGET + FIXED + instances * EACH_INSTANCE;
    let check = |phase: &str| {
        let usage = factory.memory_usage();
        let grown = status("VmHWM") - before;
        assert!(grown <= bound, "{phase}: {grown} bytes of {bound}, {usage:?}");
    };
    let keys = STATE_BYTES / VALUE_BYTES as u64;
    let mut backends: Vec<_> = (0..instances).map(|_| open(&factory)).collect();
    check("opened");
    for key in 0..keys {
        let (backend, state) = &mut backends[(key % instances) as usize];
        backend.put(*state, at(&key.to_be_bytes()), &value(key)).unwrap();
    }
    check("written");
    for step in 0..30_000u64 {
        let key = step.wrapping_mul(0x9E37_79B9_7F4A_7C15) % keys;
        let (backend, state) = &mut backends[(key % instances) as usize];
        assert!(backend.get(*state, at(&key.to_be_bytes())).unwrap() == Some(&value(key)));
    }
    check("read");
    let mut sum = Sum::default();
    for (backend, _) in &mut backends {
        let request = SnapshotRequest::full(CheckpointId::new(1));
        backend.snapshot(&request).unwrap().run(&mut sum, &CancelFlag::new()).unwrap();
    }
    assert_eq!((sum.entries, sum.numbers), (keys, keys * (keys - 1) / 2));
    check("snapshots");
    restore_files(&factory, backends, &check);
    let mut backends: Vec<_> = (0..instances).map(|_| open(&factory)).collect();
    for (backend, _) in &mut backends {
        let states = backend.states().to_vec();
        let count = keys / instances;
        assert_eq!(backend.restore(&mut MadeUp::new(states, count)).unwrap(), count);
    }
    check("restored");
}

/// Has new instances take over what the old ones hold, by way of files: each its own, and then one
/// of two halves of the key groups what all of them hold there.
fn restore_files(
    factory: &RocksDbBackendFactory,
    mut backends: Vec<(RocksDbBackend, StateId)>,
    check: &dyn Fn(&str),
) {
    let dir = tempfile::tempdir().unwrap();
    let groups = max().full_range();
    let mut stored = Vec::new();
    for (number, (backend, _)) in backends.iter_mut().enumerate() {
        let request = SnapshotRequest::incremental(CheckpointId::new(2));
        let mut files = FolderFiles::create(dir.path().join(number.to_string()), groups);
        let task = backend.snapshot_files(&request).unwrap().unwrap();
        files.manifest = task.run(&mut files, &CancelFlag::new()).unwrap().manifest;
        stored.push(files);
    }
    check("snapshots in files");
    let counts: Vec<u64> =
        backends.iter_mut().map(|(it, id)| it.entry_count(*id).unwrap()).collect();
    drop(backends);
    let mut restored: Vec<_> = stored.iter().map(|_| open(factory)).collect();
    for (files, (backend, _)) in stored.iter_mut().zip(&mut restored) {
        backend.restore_files(files, groups).unwrap();
    }
    check("restored from files");
    for ((backend, state), count) in restored.iter_mut().zip(counts) {
        assert_eq!(backend.entry_count(*state).unwrap(), count);
    }
    drop(restored);
    let half = max().range_of(0, 2).unwrap();
    for files in stored.iter_mut().take(10) {
        let mut backend = factory.open_backend(&context(half)).unwrap();
        backend.restore_files(files, half).unwrap();
        check("restored to half of the key groups");
    }
}
