//! Maps: user keys within an entry.

use core::ops::ControlFlow;

use millpond_state::{ErrorKind, KeyedBackend, Result, StateError, StateId, StateKind};

use super::subject::{BackendUnderTest, describe, map_entries};
use crate::violation::{Verdict, ensure_eq, refused};

fn pairs(expected: &[(&[u8], &[u8])]) -> Vec<(Vec<u8>, Vec<u8>)> {
    expected.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

/// An instance with one map: a to 1, b to 2, c to 3, d to 4, written out of order.
fn with_four(subject: &BackendUnderTest) -> Result<(Box<dyn KeyedBackend>, StateId)> {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("map", StateKind::Map)?)?;
    for (user_key, value) in [(b"c", b"3"), (b"a", b"1"), (b"d", b"4"), (b"b", b"2")] {
        backend.map_put(state, subject.at(b"key"), user_key, value)?;
    }
    Ok((backend, state))
}

/// A user key's value stays until it is replaced or removed.
pub fn a_map_value_stays_until_it_is_replaced_or_removed(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("map", StateKind::Map)?)?;
    let at = subject.at(b"key");
    ensure_eq!(backend.map_get(state, at, b"a")?, None, "absent map");
    backend.map_put(state, at, b"a", b"1")?;
    backend.map_put(state, at, b"b", b"2")?;
    ensure_eq!(backend.map_get(state, at, b"a")?, Some(b"1".as_slice()), "after put");
    ensure_eq!(backend.map_get(state, at, b"c")?, None, "absent user key");
    backend.map_put(state, at, b"a", b"one")?;
    ensure_eq!(backend.map_get(state, at, b"a")?, Some(b"one".as_slice()), "replaced");
    backend.map_remove(state, at, b"a")?;
    ensure_eq!(backend.map_get(state, at, b"a")?, None, "removed");
    backend.map_remove(state, at, b"a")?;
    ensure_eq!(backend.map_get(state, at, b"b")?, Some(b"2".as_slice()), "other user key");
    Ok(())
}

/// The empty user key is one, and an empty value differs from an absent user key.
pub fn empty_user_keys_and_map_values_are_entries(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("map", StateKind::Map)?)?;
    let at = subject.at(b"key");
    backend.map_put(state, at, b"", b"value of the empty key")?;
    backend.map_put(state, at, b"u", b"")?;
    let expected = pairs(&[(b"", b"value of the empty key"), (b"u", b"")]);
    ensure_eq!(map_entries(&mut *backend, state, at)?, expected, "both entries");
    ensure_eq!(backend.map_get(state, at, b"u")?, Some(b"".as_slice()), "empty value");
    backend.map_remove(state, at, b"u")?;
    ensure_eq!(backend.map_get(state, at, b"u")?, None, "removed");
    backend.map_remove(state, at, b"")?;
    ensure_eq!(backend.entry_count(state)?, 0, "entries");
    Ok(())
}

/// A visit meets the user keys in ascending byte order, each once.
pub fn a_map_visit_ascends(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("map", StateKind::Map)?)?;
    let at = subject.at(b"key");
    let keys: [&[u8]; 7] = [b"", b"\x00", b"\x00\x00", b"\x01", b"a", b"aa", b"\xff"];
    for key in [4, 2, 6, 0, 3, 5, 1, 4, 0].iter().filter_map(|i| keys.get(*i)) {
        backend.map_put(state, at, key, b"v")?;
    }
    let seen: Vec<_> = map_entries(&mut *backend, state, at)?.into_iter().map(|e| e.0).collect();
    ensure_eq!(seen, keys, "user keys in order of the visit");
    Ok(())
}

/// A visitor removes and replaces values; what it leaves alone stays.
pub fn a_map_visitor_removes_and_replaces(subject: &BackendUnderTest) -> Verdict {
    let (mut backend, state) = with_four(subject)?;
    let at = subject.at(b"key");
    backend.map_visit(state, at, &mut |user_key, edit| {
        match user_key {
            b"a" | b"d" => edit.remove(),
            b"b" => edit.replace(b"a longer value than before, by far"),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let expected = pairs(&[(b"b", b"a longer value than before, by far"), (b"c", b"3")]);
    ensure_eq!(map_entries(&mut *backend, state, at)?, expected, "after the visit");
    ensure_eq!(backend.map_get(state, at, b"d")?, None, "removed by the visitor");
    Ok(())
}

/// Breaking ends the visit; the decision that came with it is still applied.
pub fn breaking_ends_a_map_visit(subject: &BackendUnderTest) -> Verdict {
    let (mut backend, state) = with_four(subject)?;
    let at = subject.at(b"key");
    let mut visited = 0;
    backend.map_visit(state, at, &mut |user_key, edit| {
        visited += 1;
        edit.remove();
        Ok(if user_key == b"b" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    ensure_eq!(visited, 2, "user keys visited");
    let expected = pairs(&[(b"c", b"3"), (b"d", b"4")]);
    ensure_eq!(map_entries(&mut *backend, state, at)?, expected, "after the visit");
    Ok(())
}

/// A visitor's error ends the visit and is handed on; decisions made before stay applied.
pub fn a_map_visitors_error_keeps_earlier_decisions(subject: &BackendUnderTest) -> Verdict {
    let (mut backend, state) = with_four(subject)?;
    let at = subject.at(b"key");
    let failed = backend.map_visit(state, at, &mut |user_key, edit| {
        edit.replace(b"new");
        if user_key == b"c" {
            return Err(StateError::new(ErrorKind::UserCode, "visitor gave up"));
        }
        Ok(ControlFlow::Continue(()))
    });
    refused(failed, ErrorKind::UserCode, "visit with a failing visitor")?;
    let expected = pairs(&[(b"a", b"new"), (b"b", b"new"), (b"c", b"3"), (b"d", b"4")]);
    ensure_eq!(map_entries(&mut *backend, state, at)?, expected, "after the failed visit");
    Ok(())
}

/// A map whose last user key is removed, by call or by visitor, is no entry any more.
pub fn an_empty_map_is_no_entry(subject: &BackendUnderTest) -> Verdict {
    let (mut backend, state) = with_four(subject)?;
    let (at, other) = (subject.at(b"key"), subject.at(b"other"));
    backend.map_put(state, other, b"u", b"v")?;
    ensure_eq!(backend.entry_count(state)?, 2, "maps");
    backend.map_remove(state, other, b"u")?;
    ensure_eq!(backend.entry_count(state)?, 1, "maps after the last removal");
    backend.map_visit(state, at, &mut |_, edit| {
        edit.remove();
        Ok(ControlFlow::Continue(()))
    })?;
    ensure_eq!(backend.entry_count(state)?, 0, "maps after a visitor removed all");
    let mut entries = 0;
    backend.visit_entries(
        state,
        subject.max_parallelism().full_range(),
        None,
        &mut |_, _, _| {
            entries += 1;
            Ok(ControlFlow::Continue(()))
        },
    )?;
    ensure_eq!(entries, 0, "entries visited");
    Ok(())
}

/// Deleting an entry of a map state removes all its user keys, and no other map's.
pub fn delete_removes_a_whole_map(subject: &BackendUnderTest) -> Verdict {
    let (mut backend, state) = with_four(subject)?;
    let (at, other) = (subject.at(b"key"), subject.at(b"other"));
    backend.map_put(state, other, b"a", b"kept")?;
    backend.delete(state, at)?;
    ensure_eq!(backend.map_get(state, at, b"a")?, None, "user key of the deleted map");
    ensure_eq!(map_entries(&mut *backend, state, at)?, pairs(&[]), "deleted map");
    ensure_eq!(map_entries(&mut *backend, state, other)?, pairs(&[(b"a", b"kept")]), "other map");
    backend.map_put(state, at, b"z", b"new")?;
    ensure_eq!(map_entries(&mut *backend, state, at)?, pairs(&[(b"z", b"new")]), "map begun anew");
    Ok(())
}

/// Maps of different keys and namespaces share no user keys.
pub fn maps_are_independent(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("map", StateKind::Map)?)?;
    let places: [(&[u8], &[u8]); 4] = [(b"k", b""), (b"k", b"n"), (b"kn", b""), (b"", b"kn")];
    for (i, (key, namespace)) in places.iter().enumerate() {
        backend.map_put(state, subject.at(key).in_namespace(namespace), b"u", &[i as u8])?;
    }
    for (i, (key, namespace)) in places.iter().enumerate() {
        let at = subject.at(key).in_namespace(namespace);
        let expected = pairs(&[(b"u", &[i as u8])]);
        ensure_eq!(map_entries(&mut *backend, state, at)?, expected, "map {i}");
    }
    Ok(())
}

/// A map of 100,000 user keys is found, visited in order and emptied.
pub fn a_map_of_a_hundred_thousand_user_keys_works(subject: &BackendUnderTest) -> Verdict {
    const USER_KEYS: u32 = 100_000;
    let mut backend = subject.open()?;
    let state = backend.register(&describe("map", StateKind::Map)?)?;
    let at = subject.at(b"key");
    // An odd step modulo a power of ten without common factor: each key once, not in order.
    for i in 0..USER_KEYS {
        let user_key = (i * 37 % USER_KEYS).to_be_bytes();
        backend.map_put(state, at, &user_key, &user_key)?;
    }
    let mut next = 0u32;
    let mut out_of_order = 0;
    backend.map_visit(state, at, &mut |user_key, edit| {
        out_of_order += u32::from(user_key != next.to_be_bytes());
        next += 1;
        if next.is_multiple_of(2) {
            edit.remove();
        }
        Ok(ControlFlow::Continue(()))
    })?;
    ensure_eq!((next, out_of_order), (USER_KEYS, 0), "user keys visited, and out of order");
    for i in (0..USER_KEYS).step_by(997) {
        let bytes = i.to_be_bytes();
        let expected = (i % 2 == 0).then_some(bytes.as_slice());
        ensure_eq!(backend.map_get(state, at, &bytes)?, expected, "user key {i}");
    }
    ensure_eq!(backend.entry_count(state)?, 1, "maps");
    Ok(())
}

/// A user key past the limit is refused, and the map is unchanged.
pub fn user_keys_past_the_limit_are_refused(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("map", StateKind::Map)?)?;
    let at = subject.at(b"key");
    let long = vec![7; millpond_state::KEY_BYTES_MAX + 1];
    let fits = long.get(1..).unwrap_or_default();
    let kind = ErrorKind::InvalidArgument;
    refused(backend.map_put(state, at, &long, b"v"), kind, "user key past the limit")?;
    refused(backend.map_put(state, subject.at(&long), b"u", b"v"), kind, "key past the limit")?;
    ensure_eq!(backend.entry_count(state)?, 0, "maps");
    backend.map_put(state, at, fits, b"v")?;
    ensure_eq!(backend.map_get(state, at, fits)?, Some(b"v".as_slice()), "longest user key");
    Ok(())
}
