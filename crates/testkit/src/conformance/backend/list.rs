//! Lists: appended bytes.

use millpond_state::StateKind;

use super::subject::{BackendUnderTest, describe};
use crate::violation::{Verdict, ensure, ensure_eq};

/// Appended bytes are read back in the order in which they were appended.
pub fn appended_bytes_keep_their_order(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("list", StateKind::List)?)?;
    let at = subject.at(b"key");
    backend.append(state, at, b"a")?;
    ensure_eq!(backend.get(state, at)?, Some(b"a".as_slice()), "append to an absent entry");
    backend.append(state, at, b"bc")?;
    backend.append(state, at, b"")?;
    backend.append(state, at, b"d")?;
    ensure_eq!(backend.get(state, at)?, Some(b"abcd".as_slice()), "after four appends");
    ensure_eq!(backend.entry_count(state)?, 1, "entries");
    Ok(())
}

/// Putting replaces the whole list; later appends go behind the new one.
pub fn put_replaces_a_whole_list(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("list", StateKind::List)?)?;
    let at = subject.at(b"key");
    for _ in 0..10 {
        backend.append(state, at, b"old")?;
    }
    backend.put(state, at, b"new")?;
    ensure_eq!(backend.get(state, at)?, Some(b"new".as_slice()), "replaced");
    backend.append(state, at, b"er")?;
    ensure_eq!(backend.get(state, at)?, Some(b"newer".as_slice()), "appended after");
    Ok(())
}

/// Deleting removes the whole list; later appends start a new one.
pub fn delete_clears_a_whole_list(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("list", StateKind::List)?)?;
    let at = subject.at(b"key");
    for _ in 0..10 {
        backend.append(state, at, b"old")?;
    }
    backend.delete(state, at)?;
    ensure_eq!(backend.get(state, at)?, None, "deleted");
    ensure_eq!(backend.entry_count(state)?, 0, "entries");
    backend.append(state, at, b"new")?;
    ensure_eq!(backend.get(state, at)?, Some(b"new".as_slice()), "appended after");
    Ok(())
}

/// Lists of many appends keep every element, also when they grow side by side.
pub fn lists_of_ten_thousand_appends_grow_side_by_side(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("list", StateKind::List)?)?;
    let keys: [&[u8]; 3] = [b"a", b"b", b"c"];
    for i in 0..10_000u32 {
        for (k, key) in keys.iter().enumerate() {
            backend.append(state, subject.at(key), &(i * 3 + k as u32).to_be_bytes())?;
        }
    }
    for (k, key) in keys.iter().enumerate() {
        let expected: Vec<u8> =
            (0..10_000u32).flat_map(|i| (i * 3 + k as u32).to_be_bytes()).collect();
        let found = backend.get(state, subject.at(key))?;
        ensure!(found == Some(expected.as_slice()), "list {k} is not what was appended");
    }
    Ok(())
}
