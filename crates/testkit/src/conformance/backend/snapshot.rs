//! Snapshots show one instant, whatever happens afterwards.

use millpond_state::{CancelFlag, ErrorKind, StateKind};

use super::population::{ENTRIES_PER_KEY, Population};
use super::subject::{
    BackendUnderTest, at_group, begin_snapshot, describe, finish_snapshot, take_snapshot,
};
use crate::entries::CollectingSink;
use crate::violation::{Verdict, ensure, ensure_eq};

/// A snapshot of a backend without states, or whose states were never written, has no entries; the
/// descriptors are there.
pub fn an_untouched_backend_has_an_empty_snapshot(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let task = begin_snapshot(&mut *backend, 1)?;
    let mut sink = CollectingSink::new();
    let summary = task.run(&mut sink, &CancelFlag::new())?;
    ensure!(sink.has_begun(), "the snapshot was not begun");
    ensure_eq!(summary.entries, 0, "entries of an empty backend");
    let described = [describe("value", StateKind::Value)?, describe("map", StateKind::Map)?];
    for descriptor in &described {
        backend.register(descriptor)?;
    }
    let snapshot = take_snapshot(&mut *backend)?;
    ensure!(snapshot.entries.is_empty(), "entries of untouched states: {:?}", snapshot.entries);
    ensure_eq!(snapshot.states, described, "descriptors");
    Ok(())
}

/// A snapshot has every entry once, in canonical order, with its key group; its summary counts
/// them.
pub fn a_snapshot_has_each_entry_once_in_canonical_order(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let population = Population::new(1_000);
    population.write(&mut *backend)?;
    let task = begin_snapshot(&mut *backend, 1)?;
    let (snapshot, summary) = finish_snapshot(task)?;
    let expected = u64::from(population.keys) * ENTRIES_PER_KEY;
    ensure_eq!(snapshot.entries.len() as u64, expected, "entries");
    ensure_eq!(summary.entries, expected, "entries that the summary counts");
    ensure!(snapshot.entries.is_sorted(), "entries are not in canonical order");
    for entry in &snapshot.entries {
        let group = subject.at(&entry.key).group();
        ensure_eq!(entry.group, group, "key group of {:?}", entry.key);
    }
    Ok(())
}

/// Order within a key group is by state, key, namespace and user key, as unsigned bytes.
pub fn canonical_order_is_by_state_key_namespace_and_user_key(
    subject: &BackendUnderTest,
) -> Verdict {
    let mut backend = subject.open()?;
    let map = backend.register(&describe("z", StateKind::Map)?)?;
    let value = backend.register(&describe("a", StateKind::Value)?)?;
    let parts: [&[u8]; 5] = [b"\xff", b"", b"\x00", b"a", b"ab"];
    for key in parts {
        for namespace in parts {
            let at = at_group(key, 9).in_namespace(namespace);
            backend.put(value, at, b"v")?;
            for user_key in parts {
                backend.map_put(map, at, user_key, b"v")?;
            }
        }
    }
    let snapshot = take_snapshot(&mut *backend)?;
    ensure_eq!(snapshot.entries.len(), 150, "entries");
    ensure!(snapshot.entries.is_sorted(), "entries are not in canonical order");
    let first = snapshot.entries.first().map(|entry| entry.state);
    ensure_eq!(first, Some(map.get()), "state that comes first");
    Ok(())
}

/// A snapshot shows the instant it was taken, whatever is written before its task runs.
pub fn a_snapshot_shows_its_instant_whatever_is_written_after(
    subject: &BackendUnderTest,
) -> Verdict {
    let mut backend = subject.open()?;
    let population = Population::new(500);
    population.write(&mut *backend)?;
    let before = take_snapshot(&mut *backend)?;
    let task = begin_snapshot(&mut *backend, 2)?;
    let later = Population::new(700).changed();
    later.write(&mut *backend)?;
    let new = backend.register(&describe("new", StateKind::Value)?)?;
    backend.put(new, subject.at(b"k"), b"v")?;
    let (snapshot, _) = finish_snapshot(task)?;
    ensure!(snapshot == before, "the snapshot differs from one written out at once");
    later.check(&mut *backend)
}

/// Deletions after the snapshot do not show in it, of values, lists, maps and user keys.
pub fn a_snapshot_keeps_what_is_deleted_after(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    Population::new(300).write(&mut *backend)?;
    let before = take_snapshot(&mut *backend)?;
    let task = begin_snapshot(&mut *backend, 2)?;
    let ids: Vec<_> = (0..3).map(millpond_state::StateId::new).collect();
    for key in (0..300u32).map(u32::to_be_bytes) {
        for state in &ids {
            backend.delete(*state, subject.at(&key))?;
            backend.delete(*state, subject.at(&key).in_namespace(b"window"))?;
        }
    }
    let (snapshot, _) = finish_snapshot(task)?;
    ensure!(snapshot == before, "the snapshot differs from one written out at once");
    let after = take_snapshot(&mut *backend)?;
    ensure_eq!(after.entries.len(), 0, "entries after everything was deleted");
    Ok(())
}

/// In-place changes (append, map writes, batch updates) after the snapshot do not show in it.
pub fn a_snapshot_is_not_changed_in_place(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let list = backend.register(&describe("list", StateKind::List)?)?;
    let map = backend.register(&describe("map", StateKind::Map)?)?;
    let at = subject.at(b"k");
    backend.put(list, at, b"0123456789")?;
    backend.map_put(map, at, b"a", b"1")?;
    backend.map_put(map, at, b"b", b"2")?;
    let before = take_snapshot(&mut *backend)?;
    let task = begin_snapshot(&mut *backend, 2)?;
    backend.update_many(list, &[at], &mut |_, edit| {
        edit.replace(b"9876543210");
        Ok(())
    })?;
    backend.append(list, at, b"x")?;
    backend.map_put(map, at, b"a", b"9")?;
    backend.map_put(map, at, b"aa", b"9")?;
    backend.map_remove(map, at, b"b")?;
    let (snapshot, _) = finish_snapshot(task)?;
    ensure_eq!(snapshot.logical(), before.logical(), "snapshot");
    Ok(())
}

/// Several snapshots under way each show their own instant, in whatever order they are written.
pub fn snapshots_under_way_are_independent(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let mut population = Population::new(200);
    let mut tasks = Vec::new();
    for checkpoint in 1..=4 {
        population.write(&mut *backend)?;
        tasks.push((population, begin_snapshot(&mut *backend, checkpoint)?));
        population = population.changed();
    }
    population.write(&mut *backend)?;
    tasks.swap(0, 2);
    for (population, task) in tasks {
        let (snapshot, _) = finish_snapshot(task)?;
        let mut restored = subject.open()?;
        restored.restore(&mut snapshot.source(subject.max_parallelism().full_range()))?;
        population.check(&mut *restored)?;
    }
    population.check(&mut *backend)
}

/// A sink's error ends the snapshot and is handed on; the backend is unharmed.
pub fn a_sinks_error_ends_the_snapshot(subject: &BackendUnderTest) -> Verdict {
    use super::cancel::FailingSink;
    let mut backend = subject.open()?;
    let population = Population::new(100);
    population.write(&mut *backend)?;
    for after in [None, Some(0), Some(7)] {
        let task = begin_snapshot(&mut *backend, 1)?;
        let mut sink = FailingSink { entries_left: after };
        let result = task.run(&mut sink, &CancelFlag::new());
        crate::violation::refused(result, ErrorKind::Io, "snapshot into a failing sink")?;
    }
    population.check(&mut *backend)?;
    ensure_eq!(take_snapshot(&mut *backend)?.entries.len(), 600, "entries of a later snapshot");
    Ok(())
}
