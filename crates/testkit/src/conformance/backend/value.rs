//! Values: put, get, delete.

use millpond_state::{ErrorKind, StateKind};

use super::subject::{BackendUnderTest, at_group, describe};
use crate::violation::{Verdict, ensure, ensure_eq};

/// An entry that was never written has no value, and reading it creates none.
pub fn an_absent_entry_reads_as_none(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    ensure_eq!(backend.get(state, subject.at(b"key"))?, None, "absent entry");
    ensure_eq!(backend.entry_count(state)?, 0, "entries after a read");
    Ok(())
}

/// A value stays until it is replaced or deleted.
pub fn a_value_stays_until_it_is_replaced_or_deleted(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let at = subject.at(b"key");
    backend.put(state, at, b"first")?;
    ensure_eq!(backend.get(state, at)?, Some(b"first".as_slice()), "after put");
    ensure_eq!(backend.get(state, at)?, Some(b"first".as_slice()), "read again");
    backend.put(state, at, b"2nd")?;
    ensure_eq!(backend.get(state, at)?, Some(b"2nd".as_slice()), "after a second put");
    backend.delete(state, at)?;
    ensure_eq!(backend.get(state, at)?, None, "after delete");
    backend.put(state, at, b"third")?;
    ensure_eq!(backend.get(state, at)?, Some(b"third".as_slice()), "put after delete");
    Ok(())
}

/// Deleting what is not there does nothing, also right after another delete.
pub fn deleting_an_absent_entry_does_nothing(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    backend.put(state, subject.at(b"kept"), b"v")?;
    backend.put(state, subject.at(b"gone"), b"v")?;
    backend.delete(state, subject.at(b"never"))?;
    backend.delete(state, subject.at(b"gone"))?;
    backend.delete(state, subject.at(b"gone"))?;
    ensure_eq!(backend.get(state, subject.at(b"kept"))?, Some(b"v".as_slice()), "other entry");
    ensure_eq!(backend.entry_count(state)?, 1, "entries");
    Ok(())
}

/// An entry with an empty value is an entry.
pub fn an_empty_value_differs_from_an_absent_entry(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let at = subject.at(b"key");
    backend.put(state, at, b"")?;
    ensure_eq!(backend.get(state, at)?, Some(b"".as_slice()), "empty value");
    ensure_eq!(backend.entry_count(state)?, 1, "entries with an empty value");
    backend.put(state, at, b"longer")?;
    backend.put(state, at, b"")?;
    ensure_eq!(backend.get(state, at)?, Some(b"".as_slice()), "emptied value");
    backend.delete(state, at)?;
    ensure_eq!(backend.get(state, at)?, None, "deleted empty value");
    Ok(())
}

/// The empty key is a key, and not that of one zero byte.
pub fn the_empty_key_is_a_key(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let (empty, zero) = (at_group(b"", 3), at_group(&[0], 3));
    ensure_eq!(backend.get(state, empty)?, None, "before it is written");
    backend.put(state, empty, b"empty")?;
    ensure_eq!(backend.get(state, zero)?, None, "key of one zero byte");
    backend.put(state, zero, b"zero")?;
    ensure_eq!(backend.get(state, empty)?, Some(b"empty".as_slice()), "empty key");
    ensure_eq!(backend.get(state, zero)?, Some(b"zero".as_slice()), "key of one zero byte");
    Ok(())
}

/// Reading and writing one key does not touch another, whatever their lengths.
pub fn keys_are_independent(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    // All prefixes of one string: each key is the start of the next.
    let text: Vec<u8> = (0..600u32).map(|i| (i % 251) as u8).collect();
    let keys = || (0..text.len()).filter_map(|len| text.get(..len));
    for key in keys() {
        backend.put(state, subject.at(key), &key.len().to_string().into_bytes())?;
    }
    for key in keys().filter(|key| key.len() % 3 == 0) {
        backend.delete(state, subject.at(key))?;
    }
    for key in keys() {
        let value = key.len().to_string().into_bytes();
        let expected = (key.len() % 3 != 0).then_some(value.as_slice());
        ensure_eq!(backend.get(state, subject.at(key))?, expected, "key of {} bytes", key.len());
    }
    Ok(())
}

/// Several states of one backend hold different values under one key.
pub fn states_of_one_backend_are_independent(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let first = backend.register(&describe("first", StateKind::Value)?)?;
    let second = backend.register(&describe("second", StateKind::Value)?)?;
    let third = backend.register(&describe("third", StateKind::List)?)?;
    let at = subject.at(b"key");
    backend.put(first, at, b"1")?;
    ensure_eq!(backend.get(second, at)?, None, "second state, not yet written");
    backend.put(second, at, b"2")?;
    backend.append(third, at, b"3")?;
    ensure_eq!(backend.get(first, at)?, Some(b"1".as_slice()), "first state");
    backend.delete(first, at)?;
    ensure_eq!(backend.get(first, at)?, None, "first state, deleted");
    ensure_eq!(backend.get(second, at)?, Some(b"2".as_slice()), "second state");
    ensure_eq!(backend.get(third, at)?, Some(b"3".as_slice()), "third state");
    Ok(())
}

/// Each kind but map stores one value per entry.
pub fn every_kind_but_map_takes_plain_values(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    for kind in [StateKind::Value, StateKind::List, StateKind::Reducing, StateKind::Aggregating] {
        let state = backend.register(&describe(&kind.to_string(), kind)?)?;
        let at = subject.at(b"key");
        backend.put(state, at, b"abc")?;
        backend.append(state, at, b"de")?;
        ensure_eq!(backend.get(state, at)?, Some(b"abcde".as_slice()), "{kind} state");
        backend.delete(state, at)?;
        ensure_eq!(backend.get(state, at)?, None, "{kind} state, deleted");
    }
    Ok(())
}

/// Values shrink and grow under many keys without harming their neighbours.
pub fn values_change_their_length_at_will(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let bytes = |key: u32, round: u32| {
        let len = [0, 1, 7, 8, 9, 40, 300, 5_000].get((key + round * 3) as usize % 8);
        vec![(key ^ round) as u8; len.copied().unwrap_or_default()]
    };
    for round in 0..12 {
        for key in 0..64u32 {
            backend.put(state, subject.at(&key.to_be_bytes()), &bytes(key, round))?;
        }
        for key in 0..64u32 {
            let found = backend.get(state, subject.at(&key.to_be_bytes()))?;
            ensure_eq!(found, Some(bytes(key, round).as_slice()), "key {key}, round {round}");
        }
    }
    ensure_eq!(backend.entry_count(state)?, 64, "entries");
    Ok(())
}

/// Tens of thousands of keys are all found while the backend grows and after half are deleted.
pub fn many_keys_survive_growth_and_deletion(subject: &BackendUnderTest) -> Verdict {
    const KEYS: u64 = 50_000;
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    for key in 0..KEYS {
        backend.put(state, subject.at(&key.to_be_bytes()), &(key * 7).to_le_bytes())?;
    }
    for key in (0..KEYS).step_by(2) {
        backend.delete(state, subject.at(&key.to_be_bytes()))?;
    }
    for key in 0..KEYS + 1_000 {
        let value = (key * 7).to_le_bytes();
        let expected = (key < KEYS && key % 2 == 1).then_some(value.as_slice());
        ensure_eq!(backend.get(state, subject.at(&key.to_be_bytes()))?, expected, "key {key}");
    }
    ensure_eq!(backend.entry_count(state)?, KEYS / 2, "entries");
    Ok(())
}

/// A value of 8 MiB is stored, read, replaced and deleted like any other.
pub fn a_large_value_is_stored_like_any_other(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let large: Vec<u8> = (0..8u32 << 20).map(|i| (i >> 7) as u8).collect();
    backend.put(state, subject.at(b"small"), b"s")?;
    backend.put(state, subject.at(b"large"), &large)?;
    let found = backend.get(state, subject.at(b"large"))?;
    ensure!(found == Some(large.as_slice()), "the large value is not what was put");
    backend.put(state, subject.at(b"large"), b"now small")?;
    ensure_eq!(
        backend.get(state, subject.at(b"large"))?,
        Some(b"now small".as_slice()),
        "replaced"
    );
    ensure_eq!(backend.get(state, subject.at(b"small"))?, Some(b"s".as_slice()), "neighbour");
    Ok(())
}

/// Keys and namespaces of the greatest allowed length work; one byte more is refused, and the state
/// is unchanged.
pub fn keys_past_the_limit_are_refused_and_change_nothing(subject: &BackendUnderTest) -> Verdict {
    use crate::violation::refused;
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let long = vec![7; millpond_state::KEY_BYTES_MAX + 1];
    let fits = long.get(1..).unwrap_or_default();
    backend.put(state, subject.at(fits).in_namespace(fits), b"v")?;
    let found = backend.get(state, subject.at(fits).in_namespace(fits))?;
    ensure_eq!(found, Some(b"v".as_slice()), "longest key and namespace");
    for at in [subject.at(&long), subject.at(b"key").in_namespace(&long)] {
        let kind = ErrorKind::InvalidArgument;
        refused(backend.put(state, at, b"v"), kind, "put")?;
        refused(backend.append(state, at, b"v"), kind, "append")?;
        refused(backend.put_many(state, &[at], &[b"v"]), kind, "put_many")?;
        let replaced = backend.update_many(state, &[at], &mut |_, edit| {
            edit.replace(b"v");
            Ok(())
        });
        refused(replaced, kind, "update_many")?;
    }
    ensure_eq!(backend.entry_count(state)?, 1, "entries");
    Ok(())
}
