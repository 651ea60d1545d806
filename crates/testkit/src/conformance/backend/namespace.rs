//! Namespaces within a key.

use millpond_state::StateKind;

use super::subject::{BackendUnderTest, describe};
use crate::violation::{Verdict, ensure_eq};

/// One key in two namespaces is two entries.
pub fn namespaces_of_one_key_are_independent(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let at = subject.at(b"key");
    backend.put(state, at, b"void")?;
    backend.put(state, at.in_namespace(b"w1"), b"one")?;
    backend.put(state, at.in_namespace(b"w2"), b"two")?;
    ensure_eq!(backend.entry_count(state)?, 3, "entries");
    backend.delete(state, at.in_namespace(b"w1"))?;
    ensure_eq!(backend.get(state, at)?, Some(b"void".as_slice()), "void namespace");
    ensure_eq!(backend.get(state, at.in_namespace(b"w1"))?, None, "deleted namespace");
    ensure_eq!(backend.get(state, at.in_namespace(b"w2"))?, Some(b"two".as_slice()), "other one");
    ensure_eq!(backend.get(state, at.in_namespace(b"w"))?, None, "prefix of a namespace");
    Ok(())
}

/// Where the key ends and the namespace begins matters, also in one key group.
pub fn the_border_of_key_and_namespace_matters(subject: &BackendUnderTest) -> Verdict {
    use super::subject::at_group;
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let bytes: Vec<u8> = vec![0, 1, 0, 0, 2, 0xff, 0, 0, 0, 3, 97, 98];
    let places = || (0..=bytes.len()).filter_map(|border| bytes.split_at_checked(border));
    for (key, namespace) in places() {
        let at = at_group(key, 5).in_namespace(namespace);
        ensure_eq!(backend.get(state, at)?, None, "border {} before it is written", key.len());
        backend.put(state, at, &[key.len() as u8])?;
    }
    for (key, namespace) in places() {
        let at = at_group(key, 5).in_namespace(namespace);
        let expected = [key.len() as u8];
        ensure_eq!(backend.get(state, at)?, Some(expected.as_slice()), "border {}", key.len());
    }
    ensure_eq!(backend.entry_count(state)?, bytes.len() as u64 + 1, "entries");
    Ok(())
}

/// Where the namespace ends and a map's user key begins matters.
pub fn the_border_of_namespace_and_user_key_matters(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("map", StateKind::Map)?)?;
    let bytes = b"abab";
    let places = || (0..=bytes.len()).filter_map(|border| bytes.split_at_checked(border));
    for (namespace, user_key) in places() {
        let at = subject.at(b"k").in_namespace(namespace);
        backend.map_put(state, at, user_key, &[namespace.len() as u8])?;
    }
    for (namespace, user_key) in places() {
        let at = subject.at(b"k").in_namespace(namespace);
        let expected = [namespace.len() as u8];
        let found = backend.map_get(state, at, user_key)?;
        ensure_eq!(found, Some(expected.as_slice()), "border {}", namespace.len());
    }
    ensure_eq!(backend.entry_count(state)?, bytes.len() as u64 + 1, "maps");
    Ok(())
}

/// One hot key has thousands of namespaces.
pub fn one_key_has_thousands_of_namespaces(subject: &BackendUnderTest) -> Verdict {
    const NAMESPACES: u32 = 20_000;
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let at = subject.at(b"hot");
    for i in 0..NAMESPACES {
        backend.put(state, at.in_namespace(&i.to_be_bytes()), &i.to_le_bytes())?;
    }
    for i in (0..NAMESPACES).step_by(2) {
        backend.delete(state, at.in_namespace(&i.to_be_bytes()))?;
    }
    for i in 0..NAMESPACES {
        let value = i.to_le_bytes();
        let expected = (i % 2 == 1).then_some(value.as_slice());
        ensure_eq!(backend.get(state, at.in_namespace(&i.to_be_bytes()))?, expected, "window {i}");
    }
    ensure_eq!(backend.entry_count(state)?, u64::from(NAMESPACES / 2), "entries");
    Ok(())
}
