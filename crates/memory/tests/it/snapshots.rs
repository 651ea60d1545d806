//! Snapshots and what they do to memory, to each other and to writers.

use millpond_memory::MemoryBackend;
use millpond_state::{
    CancelFlag, CheckpointId, EntrySink, ErrorKind, KeyedBackend, Result, SnapshotEntry,
    StateDescriptor, StateId, StateKind,
};

use crate::support::{Collected, at, backend, descriptor, run, snapshot};

const KEYS: u64 = 50_000;

fn filled() -> (MemoryBackend, StateId) {
    let mut backend = backend();
    let state = backend.register(&descriptor("totals", StateKind::Value)).unwrap();
    overwrite(&mut backend, state, 0..KEYS, 1);
    (backend, state)
}

fn overwrite(backend: &mut MemoryBackend, state: StateId, keys: std::ops::Range<u64>, value: u64) {
    for key in keys {
        backend.put(state, at(&key.to_be_bytes()), &value.to_le_bytes()).unwrap();
    }
}

fn values(collected: &Collected) -> impl Iterator<Item = u64> {
    collected.entries.iter().map(|entry| u64::from_le_bytes(entry.value[..].try_into().unwrap()))
}

#[test]
fn snapshots_under_way_at_once_each_show_their_instant() {
    let (mut backend, state) = filled();
    let first = snapshot(&mut backend, 1);
    overwrite(&mut backend, state, 0..KEYS / 2, 2);
    let second = snapshot(&mut backend, 2);
    overwrite(&mut backend, state, 0..KEYS, 3);
    let third = snapshot(&mut backend, 3);
    assert_eq!(values(&run(second).0).sum::<u64>(), KEYS / 2 * 3);
    assert_eq!(values(&run(first).0).sum::<u64>(), KEYS);
    assert_eq!(values(&run(third).0).sum::<u64>(), KEYS * 3);
}

#[test]
fn a_snapshot_is_written_on_another_thread_while_the_writer_goes_on() {
    let (mut backend, state) = filled();
    for round in 2..12 {
        let task = snapshot(&mut backend, round);
        let writing = std::thread::spawn(move || run(task).0);
        overwrite(&mut backend, state, 0..KEYS, round);
        let written = writing.join().unwrap();
        assert_eq!(written.entries.len() as u64, KEYS);
        assert!(values(&written).all(|value| value == round - 1));
    }
}

#[test]
fn memory_held_for_a_snapshot_is_reported_and_released_however_it_ends() {
    let (mut backend, state) = filled();
    let before = backend.memory_bytes();
    for ending in 0..3 {
        let task = snapshot(&mut backend, ending + 1);
        overwrite(&mut backend, state, 0..KEYS, 2);
        let during = backend.memory_bytes();
        assert!(during > before * 9 / 5, "{before} {during}");
        match ending {
            0 => drop(task),
            1 => drop(run(task)),
            _ => {
                let cancel = CancelFlag::new();
                let mut sink = Cancelling { cancel: cancel.clone(), entries: 0 };
                let error = task.run(&mut sink, &cancel).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Cancelled);
                assert!(sink.entries < 2_000, "{}", sink.entries);
            }
        }
        let after = backend.memory_bytes();
        assert!(after.abs_diff(before) < before / 10, "{before} {after}");
    }
}

/// Sets the cancel flag after a thousand entries.
struct Cancelling {
    cancel: CancelFlag,
    entries: u64,
}

impl EntrySink for Cancelling {
    fn begin(&mut self, _: &[StateDescriptor]) -> Result<()> {
        Ok(())
    }

    fn entry(&mut self, _: &SnapshotEntry<'_>) -> Result<()> {
        self.entries += 1;
        if self.entries == 1_000 {
            self.cancel.cancel();
        }
        Ok(())
    }
}

#[test]
fn segments_that_the_snapshot_let_go_of_are_not_copied() {
    let (mut backend, state) = filled();
    let before = backend.memory_bytes();
    run(snapshot(&mut backend, 1));
    let info = allocation_counter::measure(|| overwrite(&mut backend, state, 0..KEYS, 2));
    assert_eq!(info.count_total, 0);
    assert_eq!(backend.memory_bytes(), before);
}

#[test]
fn a_task_outlives_its_backend() {
    let (mut backend, _) = filled();
    let task = snapshot(&mut backend, 1);
    drop(backend);
    assert_eq!(values(&run(task).0).sum::<u64>(), KEYS);
}

#[test]
fn changes_count_from_the_last_completed_checkpoint() {
    let (mut backend, state) = filled();
    let changed = |backend: &mut MemoryBackend, id| run(snapshot(backend, id)).1.entries_changed;
    assert_eq!(changed(&mut backend, 1), KEYS);
    overwrite(&mut backend, state, 0..10, 2);
    assert_eq!(changed(&mut backend, 2), KEYS);
    backend.checkpoint_completed(CheckpointId::new(1));
    assert_eq!(changed(&mut backend, 3), 10);
    overwrite(&mut backend, state, 5..25, 2);
    backend.checkpoint_aborted(CheckpointId::new(2));
    backend.checkpoint_completed(CheckpointId::new(2));
    assert_eq!(changed(&mut backend, 4), 25);
    backend.checkpoint_completed(CheckpointId::new(4));
    backend.checkpoint_completed(CheckpointId::new(3));
    assert_eq!(changed(&mut backend, 5), 0);
}

#[test]
fn changes_of_a_map_count_by_user_key_and_reads_are_none() {
    let mut backend = backend();
    let maps = backend.register(&descriptor("maps", StateKind::Map)).unwrap();
    let lists = backend.register(&descriptor("lists", StateKind::List)).unwrap();
    for user_key in 0..1_000u32 {
        backend.map_put(maps, at(b"large"), &user_key.to_be_bytes(), b"value").unwrap();
        backend.append(lists, at(b"large"), &[0; 100]).unwrap();
    }
    for user_key in 0..3u32 {
        backend.map_put(maps, at(b"small"), &user_key.to_be_bytes(), b"value").unwrap();
    }
    run(snapshot(&mut backend, 1));
    backend.checkpoint_completed(CheckpointId::new(1));
    backend.get(lists, at(b"large")).unwrap();
    let mut keep =
        |_: &[u8], _: &mut millpond_state::Edit<'_>| Ok(std::ops::ControlFlow::Continue(()));
    backend.map_visit(maps, at(b"large"), &mut keep).unwrap();
    backend.map_visit(maps, at(b"small"), &mut keep).unwrap();
    assert_eq!(run(snapshot(&mut backend, 2)).1.entries_changed, 0);
    backend.map_put(maps, at(b"large"), &7u32.to_be_bytes(), b"other").unwrap();
    backend.map_put(maps, at(b"small"), &1u32.to_be_bytes(), b"longer value").unwrap();
    let summary = run(snapshot(&mut backend, 3)).1;
    assert_eq!((summary.entries, summary.entries_changed), (1_004, 2));
}
