//! Batches: what is looked up ahead may have moved, or be gone, by the time its turn comes.

use std::collections::HashMap;

use millpond_fs::FsBackend;
use millpond_state::{Edit, EntryKey, KeyedBackend, StateId, StateKind};

use crate::support::{TemporaryFactory, at, descriptor};

/// Entries of a batch: more than are looked up ahead at once.
const BATCH: u64 = 100;

/// Different ones, so that many are met several times in a batch.
const KEYS: u64 = 150;

/// Keys that follow from a seed, the same ones again and again.
fn keys(seed: u64) -> Vec<[u8; 8]> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        ((state >> 33) % KEYS).to_be_bytes()
    };
    (0..BATCH).map(|_| next()).collect()
}

fn entries(keys: &[[u8; 8]]) -> Vec<EntryKey<'_>> {
    keys.iter().map(|key| at(key)).collect()
}

/// A value whose length is another each time.
fn value(round: u64, index: usize) -> Vec<u8> {
    vec![round as u8; (round as usize * 31 + index * 7) % 300]
}

type Model = HashMap<[u8; 8], Vec<u8>>;

fn check(backend: &mut FsBackend, state: StateId, model: &Model) {
    let all: Vec<[u8; 8]> = (0..KEYS).map(u64::to_be_bytes).collect();
    let mut out = vec![None; all.len()];
    backend.get_many(state, &entries(&all), &mut out).unwrap();
    for (key, found) in all.iter().zip(out) {
        assert_eq!(found, model.get(key).map(Vec::as_slice), "{key:?}");
    }
}

/// Removes every third entry that is there, changes what is left, adds what is missing.
fn change(edit: &mut Edit<'_>, index: usize, new: &[u8]) {
    if index.is_multiple_of(3) && edit.current().is_some() {
        edit.remove();
    } else {
        edit.replace(new);
    }
}

#[test]
fn entries_that_a_batch_has_several_times_are_seen_as_the_batch_left_them() {
    let factory = TemporaryFactory::tiny_segments();
    let mut backend = factory.backend();
    let state = backend.register(&descriptor("values", StateKind::Value)).unwrap();
    let mut model = Model::new();
    for round in 0..400u64 {
        let keys = keys(round);
        let values: Vec<Vec<u8>> = (0..keys.len()).map(|index| value(round, index)).collect();
        if round.is_multiple_of(2) {
            let slices: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            backend.put_many(state, &entries(&keys), &slices).unwrap();
            model.extend(keys.iter().copied().zip(values));
        } else {
            let expected: Vec<Option<Vec<u8>>> = keys
                .iter()
                .enumerate()
                .map(|(index, key)| {
                    let current = model.remove(key);
                    if !index.is_multiple_of(3) || current.is_none() {
                        model.insert(*key, values[index].clone());
                    }
                    current
                })
                .collect();
            let mut visit = |index: usize, edit: &mut Edit<'_>| {
                assert_eq!(edit.current(), expected[index].as_deref(), "round {round}, {index}");
                change(edit, index, &values[index]);
                Ok(())
            };
            backend.update_many(state, &entries(&keys), &mut visit).unwrap();
        }
        check(&mut backend, state, &model);
        assert_eq!(backend.entry_count(state).unwrap(), model.len() as u64);
    }
    let it = backend.statistics();
    assert!(it.copied_bytes > 0, "compaction went on: {it:?}");
}
