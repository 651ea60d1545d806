//! Enumeration and counting of entries.

use core::ops::ControlFlow;

use millpond_state::{
    ErrorKind, KeyGroupRange, KeyedBackend, Result, StateError, StateId, StateKind,
};

use super::subject::{BackendUnderTest, at_group, describe, groups, restore_parts, take_parts};
use crate::violation::{Verdict, ensure, ensure_eq, refused};

type Seen = (u16, Vec<u8>, Vec<u8>);

fn visit(
    backend: &mut dyn KeyedBackend,
    state: StateId,
    range: KeyGroupRange,
    namespace: Option<&[u8]>,
) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    backend.visit_entries(state, range, namespace, &mut |group, key, namespace| {
        seen.push((group.get(), key.to_vec(), namespace.to_vec()));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(seen)
}

/// An instance of all groups whose value state has, in each of the groups 0 to 63, three keys in
/// two namespaces, and a second state that must not show.
fn populated(subject: &BackendUnderTest) -> Result<(Box<dyn KeyedBackend>, StateId)> {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let other = backend.register(&describe("other", StateKind::Value)?)?;
    for group in (0..64u16).rev() {
        for key in 0..3u8 {
            for namespace in [b"x".as_slice(), b"xy"] {
                let key = [group as u8, key];
                backend.put(state, at_group(&key, group).in_namespace(namespace), b"v")?;
                backend.put(other, at_group(&key, group).in_namespace(b"z"), b"v")?;
            }
        }
    }
    Ok((backend, state))
}

fn expected(range: core::ops::RangeInclusive<u16>, namespaces: &[&[u8]]) -> Vec<Seen> {
    let mut all = Vec::new();
    for group in range {
        for key in 0..3u8 {
            for namespace in namespaces {
                all.push((group, vec![group as u8, key], namespace.to_vec()));
            }
        }
    }
    all.sort();
    all
}

/// A visit meets each entry of the asked key groups once, key groups ascending.
pub fn a_visit_meets_the_entries_of_a_range_by_key_group(subject: &BackendUnderTest) -> Verdict {
    let (mut backend, state) = populated(subject)?;
    for (first, last) in [(0, 127), (0, 0), (5, 17), (63, 63), (60, 90), (64, 127)] {
        let mut seen = visit(&mut *backend, state, groups(first, last)?, None)?;
        ensure!(seen.is_sorted_by_key(|entry| entry.0), "key groups {first}..={last} descend");
        seen.sort();
        let expected = expected(first..=last.min(63), &[b"x", b"xy"]);
        ensure_eq!(seen, expected, "entries of {first}..={last}");
    }
    Ok(())
}

/// With a namespace, a visit meets the entries of exactly that one.
pub fn a_visit_meets_one_namespace_if_asked(subject: &BackendUnderTest) -> Verdict {
    let (mut backend, state) = populated(subject)?;
    let mut seen = visit(&mut *backend, state, groups(2, 40)?, Some(b"x"))?;
    ensure!(seen.is_sorted_by_key(|entry| entry.0), "key groups descend");
    seen.sort();
    ensure_eq!(seen, expected(2..=40, &[b"x"]), "entries of namespace x");
    for absent in [b"".as_slice(), b"z", b"xyz"] {
        let seen = visit(&mut *backend, state, groups(0, 127)?, Some(absent))?;
        ensure!(seen.is_empty(), "namespace {absent:?} has entries: {seen:?}");
    }
    Ok(())
}

/// A visit over more groups than the instance owns meets those it owns.
pub fn a_visit_is_confined_to_the_instances_groups(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open_range(groups(10, 20)?)?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    for group in 10..=20 {
        backend.put(state, at_group(b"k", group), b"v")?;
    }
    for (first, last, met) in [(0, 127, 11), (0, 9, 0), (21, 127, 0), (15, 127, 6), (0, 10, 1)] {
        let range = groups(first, last)?;
        let seen = visit(&mut *backend, state, range, None)?;
        ensure_eq!(seen.len(), met, "entries met in {first}..={last}");
    }
    Ok(())
}

/// Breaking ends a visit, an error ends it and is handed on; either way nothing else happens.
pub fn breaking_or_failing_ends_a_visit(subject: &BackendUnderTest) -> Verdict {
    let (mut backend, state) = populated(subject)?;
    let all = subject.max_parallelism().full_range();
    let mut met = 0;
    backend.visit_entries(state, all, None, &mut |_, _, _| {
        met += 1;
        Ok(if met == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    ensure_eq!(met, 10, "entries met before the break");
    let failed = backend.visit_entries(state, all, None, &mut |_, _, _| {
        met += 1;
        Err(StateError::new(ErrorKind::UserCode, "visitor gave up"))
    });
    refused(failed, ErrorKind::UserCode, "visit with a failing visitor")?;
    ensure_eq!(met, 11, "entries met before the error");
    Ok(())
}

/// A map counts as one entry and is visited once, whatever its number of user keys.
pub fn a_map_is_one_entry(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("map", StateKind::Map)?)?;
    for namespace in [b"n".as_slice(), b"m"] {
        for user_key in 0..100u8 {
            backend.map_put(state, at_group(b"k", 4).in_namespace(namespace), &[user_key], b"v")?;
        }
    }
    ensure_eq!(backend.entry_count(state)?, 2, "entries");
    let mut seen = visit(&mut *backend, state, groups(0, 127)?, None)?;
    seen.sort();
    let expected = [(4, b"k".to_vec(), b"m".to_vec()), (4, b"k".to_vec(), b"n".to_vec())];
    ensure_eq!(seen, expected, "entries visited");
    Ok(())
}

/// The entry count follows every kind of write.
pub fn the_entry_count_follows_every_write(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("list", StateKind::List)?)?;
    let other = backend.register(&describe("other", StateKind::Value)?)?;
    let keys: Vec<[u8; 2]> = (0..500u16).map(u16::to_be_bytes).collect();
    let entries: Vec<_> = keys.iter().map(|key| subject.at(key)).collect();
    for at in entries.iter().take(100) {
        backend.put(state, *at, b"v")?;
        backend.put(state, *at, b"w")?;
    }
    ensure_eq!(backend.entry_count(state)?, 100, "after put");
    for at in entries.iter().take(200) {
        backend.append(state, *at, b"v")?;
    }
    ensure_eq!(backend.entry_count(state)?, 200, "after append");
    backend.put_many(state, &entries, &vec![b"v".as_slice(); entries.len()])?;
    ensure_eq!(backend.entry_count(state)?, 500, "after put_many");
    backend.update_many(state, &entries, &mut |index, edit| {
        if index % 5 == 0 {
            edit.remove();
        }
        Ok(())
    })?;
    ensure_eq!(backend.entry_count(state)?, 400, "after update_many");
    for at in &entries {
        backend.delete(state, *at)?;
    }
    ensure_eq!(backend.entry_count(state)?, 0, "after delete");
    ensure_eq!(backend.entry_count(other)?, 0, "of another state");
    Ok(())
}

/// Keys whose groups the engine assigned in its own way are found and enumerated in those groups.
pub fn the_engine_may_assign_key_groups_itself(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let keys: Vec<[u8; 2]> = (0..500u16).map(u16::to_be_bytes).collect();
    for (i, key) in keys.iter().enumerate() {
        backend.put(state, at_group(key, (i % 3) as u16), key)?;
    }
    for (i, key) in keys.iter().enumerate() {
        let found = backend.get(state, at_group(key, (i % 3) as u16))?;
        ensure_eq!(found, Some(key.as_slice()), "key {i}");
    }
    let seen = visit(&mut *backend, state, groups(1, 1)?, None)?;
    ensure_eq!(seen.len(), 167, "entries of group 1");
    Ok(())
}

/// The entry count is right after a restore, in every instance, and follows writes from there.
pub fn the_entry_count_is_right_after_restore(subject: &BackendUnderTest) -> Verdict {
    let mut old = vec![subject.open()?];
    for backend in &mut old {
        let value = backend.register(&describe("value", StateKind::Value)?)?;
        let map = backend.register(&describe("map", StateKind::Map)?)?;
        for key in (0..300u16).map(u16::to_be_bytes) {
            backend.put(value, subject.at(&key), b"v")?;
            backend.map_put(map, subject.at(&key), b"a", b"v")?;
            backend.map_put(map, subject.at(&key), b"b", b"v")?;
        }
    }
    let parts = take_parts(&mut old)?;
    for parallelism in [1, 3, 128] {
        let mut new = subject.open_all(parallelism)?;
        restore_parts(&parts, &mut new)?;
        let mut counts = [0, 0];
        for backend in &mut new {
            let value = backend.register(&describe("value", StateKind::Value)?)?;
            let map = backend.register(&describe("map", StateKind::Map)?)?;
            for key in (0..100u16).map(u16::to_be_bytes) {
                let at = subject.at(&key);
                if backend.key_groups().contains(at.group()) {
                    backend.put(value, at, b"again")?;
                    backend.map_remove(map, at, b"a")?;
                    backend.map_remove(map, at, b"b")?;
                }
            }
            counts[0] += backend.entry_count(value)?;
            counts[1] += backend.entry_count(map)?;
        }
        ensure_eq!(counts, [300, 200], "entries of {parallelism} instances");
    }
    Ok(())
}
