//! Restore, at the same and at other parallelisms.

use millpond_state::{ErrorKind, StateKind};

use super::population::{ENTRIES_PER_KEY, Population};
use super::subject::{
    BackendUnderTest, at_group, describe, describe_with, groups, map_entries, opaque, restored,
    take_snapshot,
};
use crate::violation::{Verdict, Violation, ensure, ensure_eq, refused};

/// Snapshots at one parallelism, restores at another, checks every key in every instance.
fn rescale(subject: &BackendUnderTest, from: u32, to: u32) -> Verdict {
    let population = Population::new(600);
    let mut sources = Vec::new();
    for mut backend in subject.open_all(from)? {
        population.write(&mut *backend)?;
        sources.push((backend.key_groups(), take_snapshot(&mut *backend)?));
    }
    let mut entries = 0;
    for mut backend in subject.open_all(to)? {
        for (range, snapshot) in &sources {
            if let Some(overlap) = range.intersection(backend.key_groups()) {
                entries += backend.restore(&mut snapshot.source(overlap))?;
            }
        }
        population.check(&mut *backend).map_err(|violation| {
            Violation::new(format!("parallelism {from} restored at {to}: {violation}"))
        })?;
        let range = backend.key_groups();
        for entry in take_snapshot(&mut *backend)?.entries {
            ensure!(range.contains(entry.group), "{range} has an entry of group {}", entry.group);
        }
    }
    let expected = u64::from(population.keys) * ENTRIES_PER_KEY;
    ensure_eq!(entries, expected, "entries restored, from {from} to {to}");
    Ok(())
}

/// Restored at the same parallelism, each key is there exactly once.
pub fn restore_at_equal_parallelism_gives_each_key_once(subject: &BackendUnderTest) -> Verdict {
    rescale(subject, 1, 1)?;
    rescale(subject, 2, 2)?;
    rescale(subject, 5, 5)
}

/// Restored at a larger parallelism, each key is there exactly once, in its range.
pub fn restore_at_larger_parallelism_gives_each_key_once(subject: &BackendUnderTest) -> Verdict {
    rescale(subject, 1, 2)?;
    rescale(subject, 2, 8)?;
    rescale(subject, 1, 128)
}

/// Restored at a smaller parallelism, from several sources, each key is there exactly once.
pub fn restore_at_smaller_parallelism_gives_each_key_once(subject: &BackendUnderTest) -> Verdict {
    rescale(subject, 2, 1)?;
    rescale(subject, 8, 2)?;
    rescale(subject, 128, 1)
}

/// Restored where ranges overlap unevenly, each key is there exactly once, in its range.
pub fn restore_at_uneven_parallelism_gives_each_key_once(subject: &BackendUnderTest) -> Verdict {
    rescale(subject, 2, 3)?;
    rescale(subject, 3, 2)?;
    rescale(subject, 7, 3)?;
    rescale(subject, 3, 7)
}

/// A snapshot of nothing restores to nothing.
pub fn an_empty_snapshot_restores_to_an_empty_backend(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let nothing = take_snapshot(&mut *backend)?;
    ensure!(restored(subject, &nothing)?.states().is_empty(), "states came from nowhere");
    let value = describe("value", StateKind::Value)?;
    backend.register(&value)?;
    let untouched = take_snapshot(&mut *backend)?;
    let mut backend = restored(subject, &untouched)?;
    ensure_eq!(backend.states(), core::slice::from_ref(&value), "states");
    let state = backend.register(&value)?;
    ensure_eq!(backend.entry_count(state)?, 0, "entries");
    backend.put(state, subject.at(b"k"), b"v")?;
    ensure_eq!(backend.get(state, subject.at(b"k"))?, Some(b"v".as_slice()), "value");
    Ok(())
}

/// A snapshot of a restored backend equals the one it was restored from.
pub fn a_restored_backend_has_an_equal_snapshot(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    Population::new(400).write(&mut *backend)?;
    let snapshot = take_snapshot(&mut *backend)?;
    let again = take_snapshot(&mut *restored(subject, &snapshot)?)?;
    ensure!(again == snapshot, "the snapshot of the restored backend differs");
    Ok(())
}

/// States that the program no longer declares survive the next snapshot and restore.
pub fn undeclared_states_survive_the_next_snapshot(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let population = Population::new(50);
    population.write(&mut *backend)?;
    let snapshot = take_snapshot(&mut *backend)?;
    let mut second = restored(subject, &snapshot)?;
    let new = second.register(&describe("new", StateKind::Value)?)?;
    second.put(new, subject.at(b"k"), b"v")?;
    let snapshot = take_snapshot(&mut *second)?;
    let mut third = restored(subject, &snapshot)?;
    population.check(&mut *third)?;
    let new = third.register(&describe("new", StateKind::Value)?)?;
    ensure_eq!(third.get(new, subject.at(b"k"))?, Some(b"v".as_slice()), "value of the new state");
    Ok(())
}

/// States are matched by name: their order of registration may change between runs.
pub fn states_are_restored_by_name(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let first = backend.register(&describe("first", StateKind::Value)?)?;
    let second = backend.register(&describe("second", StateKind::Value)?)?;
    backend.put(first, subject.at(b"k"), b"1")?;
    backend.put(second, subject.at(b"k"), b"2")?;
    let snapshot = take_snapshot(&mut *backend)?;
    let mut backend = subject.open()?;
    let second = backend.register(&describe("second", StateKind::Value)?)?;
    backend.restore(&mut snapshot.source(subject.max_parallelism().full_range()))?;
    let first = backend.register(&describe("first", StateKind::Value)?)?;
    ensure_eq!(backend.get(first, subject.at(b"k"))?, Some(b"1".as_slice()), "first state");
    ensure_eq!(backend.get(second, subject.at(b"k"))?, Some(b"2".as_slice()), "second state");
    let snapshot = take_snapshot(&mut *backend)?;
    ensure!(snapshot.entries.is_sorted(), "entries are not in canonical order");
    Ok(())
}

/// Sources whose states come in different orders are merged by name.
pub fn sources_with_different_state_orders_are_merged(subject: &BackendUnderTest) -> Verdict {
    let mut halves = Vec::new();
    for (range, names) in [(groups(0, 63)?, ["a", "b"]), (groups(64, 127)?, ["b", "a"])] {
        let mut backend = subject.open_range(range)?;
        for name in names {
            let state = backend.register(&describe(name, StateKind::Value)?)?;
            let group = range.first().get();
            backend.put(state, at_group(b"k", group), format!("{name}{group}").as_bytes())?;
        }
        halves.push((range, take_snapshot(&mut *backend)?));
    }
    let mut backend = subject.open()?;
    for (range, snapshot) in &halves {
        backend.restore(&mut snapshot.source(*range))?;
    }
    for (name, group) in [("a", 0), ("b", 0), ("a", 64), ("b", 64)] {
        let state = backend.register(&describe(name, StateKind::Value)?)?;
        let found = backend.get(state, at_group(b"k", group))?;
        ensure_eq!(found, Some(format!("{name}{group}").as_bytes()), "state {name}, group {group}");
    }
    Ok(())
}

/// Declaring a restored state with another kind or codec is refused, and the message names both.
pub fn a_restored_state_declared_otherwise_is_refused(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    for (name, kind) in [("v", StateKind::Value), ("l", StateKind::List), ("m", StateKind::Map)] {
        backend.register(&describe(name, kind)?)?;
    }
    let snapshot = take_snapshot(&mut *backend)?;
    let mut backend = restored(subject, &snapshot)?;
    for (name, kind) in [("v", StateKind::Value), ("l", StateKind::List), ("m", StateKind::Map)] {
        let other = describe_with(name, kind, &opaque("other"))?;
        names_both(backend.register(&other), "testkit:value", "testkit:other")?;
    }
    let kind = describe("v", StateKind::Reducing)?;
    names_both(backend.register(&kind), "value state", "reducing state")?;
    backend.register(&describe("v", StateKind::Value)?)?;
    Ok(())
}

/// Restoring a state that is already declared with another kind or codec is refused likewise.
pub fn a_snapshot_that_contradicts_declared_states_is_refused(
    subject: &BackendUnderTest,
) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("s", StateKind::Value)?)?;
    backend.put(state, subject.at(b"k"), b"v")?;
    let snapshot = take_snapshot(&mut *backend)?;
    let all = subject.max_parallelism().full_range();
    let mut backend = subject.open()?;
    backend.register(&describe_with("s", StateKind::Value, &opaque("other"))?)?;
    names_both(backend.restore(&mut snapshot.source(all)), "testkit:value", "testkit:other")?;
    let mut backend = subject.open()?;
    backend.register(&describe("s", StateKind::List)?)?;
    names_both(backend.restore(&mut snapshot.source(all)), "value state", "list state")
}

#[track_caller]
fn names_both<T>(result: millpond_state::Result<T>, written: &str, declared: &str) -> Verdict {
    let message = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
    refused(result, ErrorKind::Incompatible, "contradicting declaration")?;
    if !(message.contains(written) && message.contains(declared)) {
        return Err(Violation::new(format!("{message:?} does not name {written} and {declared}")));
    }
    Ok(())
}

/// Entries of key groups that the instance does not own are refused.
pub fn restoring_foreign_key_groups_is_refused(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    Population::new(100).write(&mut *backend)?;
    let snapshot = take_snapshot(&mut *backend)?;
    let mut backend = subject.open_range(groups(0, 63)?)?;
    let all = subject.max_parallelism().full_range();
    let result = backend.restore(&mut snapshot.source(all));
    refused(result, ErrorKind::InvalidArgument, "restore of a source that is not restricted")
}

/// Restored entries are changed, extended and deleted like others.
pub fn a_restored_backend_is_written_like_any_other(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let population = Population::new(100);
    population.write(&mut *backend)?;
    let snapshot = take_snapshot(&mut *backend)?;
    let mut backend = restored(subject, &snapshot)?;
    let list = backend.register(&describe("list", StateKind::List)?)?;
    let map = backend.register(&describe("map", StateKind::Map)?)?;
    let key = 7u32.to_be_bytes();
    let at = subject.at(&key);
    backend.append(list, at, b"x")?;
    ensure_eq!(backend.get(list, at)?, Some([0, 1, 2, b'x'].as_slice()), "append after restore");
    backend.map_put(map, at, &[9], b"x")?;
    backend.map_remove(map, at, &[1])?;
    let user_keys: Vec<_> =
        map_entries(&mut *backend, map, at)?.into_iter().map(|entry| entry.0).collect();
    ensure_eq!(user_keys, [[0], [2], [9]], "user keys after restore");
    population.changed().write(&mut *backend)?;
    population.changed().check(&mut *backend)
}

/// Large values, long lists and large maps come through snapshot and restore.
pub fn large_entries_survive_restore(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let value = backend.register(&describe("value", StateKind::Value)?)?;
    let map = backend.register(&describe("map", StateKind::Map)?)?;
    let large: Vec<u8> = (0..8u32 << 20).map(|i| (i >> 3) as u8).collect();
    let long = vec![9; millpond_state::KEY_BYTES_MAX];
    backend.put(value, subject.at(&long).in_namespace(&long), &large)?;
    for user_key in (0..30_000u32).map(u32::to_be_bytes) {
        backend.map_put(map, subject.at(b"k"), &user_key, &user_key)?;
    }
    backend.map_put(map, subject.at(b"k"), &long, &large)?;
    let snapshot = take_snapshot(&mut *backend)?;
    ensure_eq!(snapshot.entries.len(), 30_002, "entries");
    let mut backend = restored(subject, &snapshot)?;
    let found = backend.get(value, subject.at(&long).in_namespace(&long))?;
    ensure!(found == Some(large.as_slice()), "the large value is not what was put");
    let found = backend.map_get(map, subject.at(b"k"), &long)?;
    ensure!(found == Some(large.as_slice()), "the large map value is not what was put");
    ensure_eq!(map_entries(&mut *backend, map, subject.at(b"k"))?.len(), 30_001, "user keys");
    Ok(())
}
