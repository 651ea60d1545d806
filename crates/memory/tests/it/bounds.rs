//! Bounds on memory, and what happens to it.

use millpond_memory::{MemoryBackend, MemoryOptions};
use millpond_state::{EntryKey, ErrorKind, KeyGroup, KeyedBackend, StateKind};

use crate::support::{at, backend, descriptor, max, snapshot};

#[test]
fn a_write_past_the_bound_fails_and_leaves_state_readable() {
    let bound = 2_000_000;
    let options = MemoryOptions::new().with_memory_bytes_max(bound);
    let mut backend = MemoryBackend::create(max().full_range(), max(), options).unwrap();
    let state = backend.register(&descriptor("totals", StateKind::Value)).unwrap();
    let mut written = 0u64;
    let error = loop {
        let key = written.to_be_bytes();
        if let Err(error) = backend.put(state, at(&key), &[1; 100]) {
            break error;
        }
        assert!(backend.memory_bytes() <= bound);
        written += 1;
    };
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(written > 10_000, "{written}");
    assert_eq!(backend.entry_count(state).unwrap(), written);
    assert_eq!(backend.get(state, at(&written.to_be_bytes())).unwrap(), None);
    for key in 0..written {
        let key = key.to_be_bytes();
        assert_eq!(backend.get(state, at(&key)).unwrap(), Some(&[1; 100][..]));
        backend.put(state, at(&key), &[2; 100]).unwrap();
    }
    for key in 0..written / 2 {
        backend.delete(state, at(&key.to_be_bytes())).unwrap();
    }
    backend.put(state, at(b"now there is room"), &[3; 100]).unwrap();
}

#[test]
fn copies_for_a_snapshot_count_towards_the_bound_but_deleting_always_works() {
    let options = MemoryOptions::new().with_memory_bytes_max(2_000_000);
    let mut backend = MemoryBackend::create(max().full_range(), max(), options).unwrap();
    let state = backend.register(&descriptor("totals", StateKind::Value)).unwrap();
    for key in 0..40_000u64 {
        backend.put(state, at(&key.to_be_bytes()), &[1; 8]).unwrap();
    }
    let task = snapshot(&mut backend, 1);
    let refused = (0..40_000u64)
        .filter_map(|key| backend.put(state, at(&key.to_be_bytes()), &[2; 8]).err())
        .inspect(|error| assert_eq!(error.kind(), ErrorKind::ResourceExhausted))
        .count();
    assert!(refused > 0);
    assert!(backend.memory_bytes() <= 2_000_000);
    for key in 0..40_000u64 {
        backend.delete(state, at(&key.to_be_bytes())).unwrap();
    }
    assert_eq!(backend.entry_count(state).unwrap(), 0);
    drop(task);
}

#[test]
fn deleting_all_entries_gives_the_memory_back() {
    let mut backend = backend();
    let state = backend.register(&descriptor("windows", StateKind::Value)).unwrap();
    backend.put(state, at(b"one"), b"entry").unwrap();
    backend.delete(state, at(b"one")).unwrap();
    let before = backend.memory_bytes();
    for round in 0..3u64 {
        for key in 0..100_000u64 {
            let window = (round * 100_000 + key / 10).to_be_bytes();
            let place = at(&window[6..]).in_namespace(&window);
            backend.put(state, place, &[1; 50]).unwrap();
            backend.put(state, at(&key.to_be_bytes()), &[1; 2_000]).unwrap();
        }
        for key in 0..100_000u64 {
            let window = (round * 100_000 + key / 10).to_be_bytes();
            backend.delete(state, at(&window[6..]).in_namespace(&window)).unwrap();
            backend.delete(state, at(&key.to_be_bytes())).unwrap();
        }
        let after = backend.memory_bytes();
        assert!(after < before + 2_000_000, "{before} {after}");
    }
}

#[test]
fn bytes_an_entry_stay_near_those_of_the_entry_itself() {
    let mut backend = backend();
    let state = backend.register(&descriptor("totals", StateKind::Value)).unwrap();
    for key in 0..300_000u64 {
        backend.put(state, at(&key.to_be_bytes()), &[1; 8]).unwrap();
        if key >= 100_000 && key % 5_000 == 0 {
            let bytes = backend.memory_bytes() as f64 / key as f64;
            assert!(bytes < 34.2, "{bytes} bytes an entry at {key}");
        }
    }
}

#[test]
fn keys_of_a_group_that_the_engine_assigned_are_found() {
    let mut backend = backend();
    let state = backend.register(&descriptor("totals", StateKind::Value)).unwrap();
    let group = KeyGroup::new(3);
    for key in 0..20_000u64 {
        backend
            .put(state, EntryKey::in_group(&key.to_be_bytes(), group), &key.to_le_bytes())
            .unwrap();
    }
    for key in 0..20_000u64 {
        let value = backend.get(state, EntryKey::in_group(&key.to_be_bytes(), group)).unwrap();
        assert_eq!(value, Some(&key.to_le_bytes()[..]));
    }
}
