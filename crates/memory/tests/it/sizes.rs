//! Segments whose entries have one size, and what happens when another comes.

use std::collections::BTreeMap;

use millpond_memory::MemoryBackend;
use millpond_state::{EntryKey, KeyGroup, KeyedBackend, StateId, StateKind};

use crate::support::{backend, descriptor, run, snapshot};

/// A state with all entries in one key group, and what it must contain.
struct Case {
    backend: MemoryBackend,
    state: StateId,
    expected: BTreeMap<[u8; 8], Vec<u8>>,
}

impl Case {
    fn new() -> Self {
        let mut backend = backend();
        let state = backend.register(&descriptor("totals", StateKind::Value)).unwrap();
        Self { backend, state, expected: BTreeMap::new() }
    }

    fn at(key: &[u8; 8]) -> EntryKey<'_> {
        EntryKey::in_group(key, KeyGroup::new(3))
    }

    fn put(&mut self, number: u64, value: &[u8]) {
        let key = number.to_be_bytes();
        self.backend.put(self.state, Self::at(&key), value).unwrap();
        self.expected.insert(key, value.to_vec());
    }

    fn put_all(&mut self, numbers: impl Iterator<Item = u64>, value_bytes: usize) {
        numbers.for_each(|number| self.put(number, &vec![number as u8; value_bytes]));
    }

    fn delete(&mut self, number: u64) {
        let key = number.to_be_bytes();
        self.backend.delete(self.state, Self::at(&key)).unwrap();
        self.expected.remove(&key);
    }

    /// Increments the first byte of values, all in one batch.
    fn increment(&mut self, numbers: &[u64]) {
        let keys: Vec<_> = numbers.iter().map(|number| number.to_be_bytes()).collect();
        let entries: Vec<_> = keys.iter().map(Case::at).collect();
        let mut change = |_: usize, edit: &mut millpond_state::Edit<'_>| {
            let mut value = edit.current().unwrap_or(&[0]).to_vec();
            value[0] = value[0].wrapping_add(1);
            edit.replace(&value);
            Ok(())
        };
        self.backend.update_many(self.state, &entries, &mut change).unwrap();
        for key in keys {
            let value = self.expected.entry(key).or_insert_with(|| vec![0]);
            value[0] = value[0].wrapping_add(1);
        }
    }

    fn check(&mut self) {
        let keys: Vec<_> = self.expected.keys().copied().collect();
        let entries: Vec<_> = keys.iter().map(Case::at).collect();
        let mut out = vec![None; entries.len()];
        self.backend.get_many(self.state, &entries, &mut out).unwrap();
        assert!(out.iter().zip(self.expected.values()).all(|(a, b)| *a == Some(&b[..])));
        for (key, value) in &self.expected {
            let found = self.backend.get(self.state, Self::at(key)).unwrap();
            assert_eq!(found, Some(&value[..]), "{key:?}");
        }
        assert_eq!(self.backend.entry_count(self.state).unwrap(), self.expected.len() as u64);
    }

    fn check_snapshot(&self, written: &[crate::support::Owned]) {
        assert_eq!(written.len(), self.expected.len());
        for (entry, (key, value)) in written.iter().zip(&self.expected) {
            assert_eq!((&entry.key[..], &entry.value[..]), (&key[..], &value[..]));
        }
    }
}

#[test]
fn entries_of_other_sizes_come_and_go_among_many_of_one_size() {
    let mut case = Case::new();
    case.put_all(0..10_000, 8);
    case.check();
    case.put_all((0..10_000).step_by(1_999), 100);
    case.put_all(10_000..10_010, 3);
    case.check();
    let task = snapshot(&mut case.backend, 1);
    let before = case.expected.clone();
    case.put_all((0..10_000).step_by(777), 0);
    case.increment(&[1, 2, 2, 1_999, 3, 20_000, 20_000, 1]);
    case.check();
    let after = std::mem::replace(&mut case.expected, before);
    case.check_snapshot(&run(task).0.entries);
    case.expected = after;
    (0..10_100).filter(|number| number % 3 != 0).for_each(|number| case.delete(number));
    case.check();
    case.put_all(30_000..60_000, 8);
    case.check();
}

#[test]
fn a_large_value_takes_the_place_of_a_short_one_whose_entry_has_the_same_size() {
    let mut case = Case::new();
    case.put_all(0..3_000, 4);
    case.put_all((0..3_000).step_by(2), 2_000);
    case.check();
    case.put_all((0..3_000).step_by(4), 4);
    case.put_all(3_000..6_000, 4);
    case.check();
    case.put_all((0..3_000).step_by(2), 4);
    let bytes = case.backend.memory_bytes();
    assert!(bytes < 6_000 * 40 + 100_000, "{bytes}");
    let task = snapshot(&mut case.backend, 1);
    case.check_snapshot(&run(task).0.entries);
}

#[test]
fn slots_of_deleted_entries_are_used_again() {
    let mut case = Case::new();
    case.put_all(0..5_000, 8);
    let before = case.backend.memory_bytes();
    for round in 0..20 {
        (round * 1_000..round * 1_000 + 1_000).for_each(|number| case.delete(number));
        case.put_all((round + 5) * 1_000..(round + 6) * 1_000, 8);
    }
    case.check();
    let after = case.backend.memory_bytes();
    assert!(after < before + before / 4, "{before} {after}");
}

#[test]
fn a_batch_that_removes_an_entry_twice_finds_it_once() {
    let mut case = Case::new();
    case.put_all(0..100, 8);
    let key = 7u64.to_be_bytes();
    let mut seen = Vec::new();
    let mut change = |_: usize, edit: &mut millpond_state::Edit<'_>| {
        seen.push(edit.current().is_some());
        edit.remove();
        Ok(())
    };
    let entries = [Case::at(&key), Case::at(&key)];
    case.backend.update_many(case.state, &entries, &mut change).unwrap();
    assert_eq!(seen, [true, false]);
    case.expected.remove(&key);
    case.check();
}
