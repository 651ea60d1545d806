//! Snapshots while the database underneath changes: flushes, compactions, closing.

use millpond_rocksdb::RocksDbBackend;
use millpond_state::{
    CancelFlag, CheckpointId, KeyedBackend, SnapshotRequest, SnapshotTask, StateId, StateKind,
};

use crate::support::{Sum, TemporaryFactory, at, descriptor};

const KEYS: u64 = 20_000;

fn overwrite(backend: &mut RocksDbBackend, state: StateId, number: u64) {
    for key in 0..KEYS {
        backend.put(state, at(&key.to_be_bytes()), &number.to_le_bytes()).unwrap();
    }
}

fn snapshot(backend: &mut RocksDbBackend, id: u64) -> Box<dyn SnapshotTask> {
    backend.snapshot(&SnapshotRequest::full(CheckpointId::new(id))).unwrap()
}

fn sum(task: Box<dyn SnapshotTask>) -> Sum {
    let mut sum = Sum::default();
    let summary = task.run(&mut sum, &CancelFlag::new()).unwrap();
    assert_eq!((summary.entries, summary.entries_changed), (sum.entries, sum.entries));
    sum
}

#[test]
fn a_snapshot_is_written_on_another_thread_while_flushes_and_compactions_go_on() {
    let factory = TemporaryFactory::tiny_buffers();
    let mut backend = factory.backend();
    let state = backend.register(&descriptor("values", StateKind::Value)).unwrap();
    overwrite(&mut backend, state, 1);
    for round in 2..6 {
        let task = snapshot(&mut backend, round);
        let writing = std::thread::spawn(move || sum(task));
        overwrite(&mut backend, state, round);
        let written = writing.join().unwrap();
        assert_eq!((written.entries, written.numbers), (KEYS, KEYS * (round - 1)));
    }
    assert!(!factory.sst_files().is_empty(), "nothing was flushed");
}

#[test]
fn snapshots_under_way_at_once_each_show_their_instant() {
    let factory = TemporaryFactory::tiny_buffers();
    let mut backend = factory.backend();
    let state = backend.register(&descriptor("values", StateKind::Value)).unwrap();
    let tasks: Vec<_> = (1..=4)
        .map(|number| {
            overwrite(&mut backend, state, number);
            (number, snapshot(&mut backend, number))
        })
        .collect();
    overwrite(&mut backend, state, 9);
    for (number, task) in tasks.into_iter().rev() {
        assert_eq!(sum(task).numbers, KEYS * number);
    }
}

#[test]
fn the_folder_stays_until_the_last_snapshot_ends_and_then_goes() {
    let factory = TemporaryFactory::tiny_buffers();
    let mut backend = factory.backend();
    let state = backend.register(&descriptor("values", StateKind::Value)).unwrap();
    overwrite(&mut backend, state, 3);
    let (run, dropped) = (snapshot(&mut backend, 1), snapshot(&mut backend, 2));
    drop(backend);
    assert!(!factory.sst_files().is_empty(), "nothing was flushed");
    assert_eq!(sum(run).numbers, KEYS * 3);
    assert!(!factory.sst_files().is_empty(), "the folder went too early");
    drop(dropped);
    assert!(factory.sst_files().is_empty());
}

#[test]
fn a_snapshot_of_more_than_one_iterator_can_hold_has_each_entry_once() {
    let factory = TemporaryFactory::usual();
    let mut backend = factory.backend();
    let state = backend.register(&descriptor("values", StateKind::Value)).unwrap();
    let mut value = vec![0; 1 << 20];
    for number in 0..150u64 {
        value[..8].copy_from_slice(&number.to_le_bytes());
        backend.put(state, at(&number.to_be_bytes()), &value).unwrap();
    }
    let written = sum(snapshot(&mut backend, 1));
    assert_eq!((written.entries, written.numbers), (150, 149 * 150 / 2));
}
