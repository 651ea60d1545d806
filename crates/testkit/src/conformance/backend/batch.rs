//! Batches behave as if their entries were processed one by one, in order.

use millpond_state::{EntryKey, ErrorKind, StateError, StateKind};

use super::subject::{BackendUnderTest, describe};
use crate::violation::{Verdict, ensure, ensure_eq, refused};

/// A batch that is not a multiple of any likely look-ahead, and some that are.
const BATCH_SIZES: &[usize] = &[0, 1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 1_000];

fn keys(count: usize) -> Vec<[u8; 4]> {
    (0..count as u32).map(u32::to_be_bytes).collect()
}

fn addresses<'k>(subject: &BackendUnderTest, keys: &'k [[u8; 4]]) -> Vec<EntryKey<'k>> {
    keys.iter().map(|key| subject.at(key)).collect()
}

/// Batches of any size write and read what single calls would.
pub fn batches_of_any_size_match_single_calls(subject: &BackendUnderTest) -> Verdict {
    for size in BATCH_SIZES {
        let mut backend = subject.open()?;
        let state = backend.register(&describe("value", StateKind::Value)?)?;
        let keys = keys(*size);
        let entries = addresses(subject, &keys);
        let values: Vec<Vec<u8>> = keys.iter().map(|key| key.repeat(3)).collect();
        let borrowed: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        backend.put_many(state, &entries, &borrowed)?;
        for at in entries.iter().step_by(3) {
            backend.delete(state, *at)?;
        }
        let mut expected: Vec<Option<Vec<u8>>> = Vec::new();
        for at in &entries {
            expected.push(backend.get(state, *at)?.map(<[u8]>::to_vec));
        }
        for (i, found) in expected.iter().enumerate() {
            let wanted = (i % 3 != 0).then(|| borrowed.get(i).copied()).flatten();
            ensure_eq!(found.as_deref(), wanted, "single get of entry {i} of {size}");
        }
        let mut out: Vec<Option<&[u8]>> = vec![Some(b"left over".as_slice()); *size];
        backend.get_many(state, &entries, &mut out)?;
        for (i, (found, expected)) in out.iter().zip(&expected).enumerate() {
            ensure_eq!(*found, expected.as_deref(), "get_many, entry {i} of {size}");
        }
    }
    Ok(())
}

/// An entry that occurs several times in a read is read each time.
pub fn get_many_reads_repeated_entries_each_time(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let (a, b, absent) = (subject.at(b"a"), subject.at(b"b"), subject.at(b"absent"));
    let spaced = a.in_namespace(b"n");
    backend.put(state, a, b"1")?;
    backend.put(state, b, b"2")?;
    backend.put(state, spaced, b"3")?;
    let mut out = [None; 7];
    backend.get_many(state, &[a, b, a, absent, spaced, absent, b], &mut out)?;
    let found = out.map(|value| value.map(<[u8]>::to_vec));
    let expected = [Some("1"), Some("2"), Some("1"), None, Some("3"), None, Some("2")];
    ensure_eq!(found, expected.map(|value| value.map(|v| v.as_bytes().to_vec())), "values");
    Ok(())
}

/// Of several writes of one entry in a batch the last stays.
pub fn put_many_lets_the_last_write_of_an_entry_win(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let (a, b) = (subject.at(b"a"), subject.at(b"b"));
    let values: [&[u8]; 5] = [b"1", b"2", b"a rather long value", b"4", b"5"];
    backend.put_many(state, &[a, b, a, b, a], &values)?;
    ensure_eq!(backend.get(state, a)?, Some(b"5".as_slice()), "entry written three times");
    ensure_eq!(backend.get(state, b)?, Some(b"4".as_slice()), "entry written twice");
    ensure_eq!(backend.entry_count(state)?, 2, "entries");
    Ok(())
}

/// A visitor keeps, replaces and removes; it sees the value of each entry, in order.
pub fn update_many_keeps_replaces_and_removes(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let keys = keys(200);
    let entries = addresses(subject, &keys);
    for (i, at) in entries.iter().enumerate().filter(|(i, _)| i % 4 != 3) {
        backend.put(state, *at, &[i as u8])?;
    }
    let mut seen = Vec::new();
    backend.update_many(state, &entries, &mut |i, edit| {
        seen.push((i, edit.current().map(<[u8]>::to_vec)));
        match i % 4 {
            0 => {}
            1 => edit.replace(&[9; 70]),
            2 => edit.remove(),
            _ => edit.replace_with(|out| {
                out.push(i as u8);
                Ok(())
            })?,
        }
        Ok(())
    })?;
    let expected: Vec<_> = (0..200).map(|i| (i, (i % 4 != 3).then(|| vec![i as u8]))).collect();
    ensure_eq!(seen, expected, "positions and values seen");
    for (i, at) in entries.iter().enumerate() {
        let own = [i as u8];
        let expected = match i % 4 {
            1 => Some([9; 70].as_slice()),
            2 => None,
            _ => Some(own.as_slice()),
        };
        ensure_eq!(backend.get(state, *at)?, expected, "entry {i}");
    }
    Ok(())
}

/// Within a batch, an entry that occurs again shows what the batch did to it before.
pub fn update_many_shows_earlier_effects_of_the_batch(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let (a, b) = (subject.at(b"a"), subject.at(b"b"));
    let batch: Vec<EntryKey<'_>> = (0..99).map(|i| if i % 3 == 0 { b } else { a }).collect();
    backend.update_many(state, &batch, &mut |_, edit| {
        let mut grown = edit.current().unwrap_or_default().to_vec();
        grown.push(grown.len() as u8);
        edit.replace(&grown);
        Ok(())
    })?;
    let expected: Vec<u8> = (0..66).collect();
    ensure_eq!(backend.get(state, a)?, Some(expected.as_slice()), "entry changed 66 times");
    ensure_eq!(backend.get(state, b)?, expected.get(..33), "entry changed 33 times");
    let mut seen = Vec::new();
    backend.update_many(state, &[a, a, a], &mut |i, edit| {
        seen.push(edit.current().is_some());
        if i == 0 {
            edit.remove()
        } else {
            edit.replace(b"new")
        }
        Ok(())
    })?;
    ensure_eq!(seen, [true, false, true], "presence after remove and replace");
    Ok(())
}

/// When a visitor fails, the entries before it are changed, its own and those after are not.
pub fn a_failing_update_leaves_the_changed_prefix(subject: &BackendUnderTest) -> Verdict {
    let keys = keys(100);
    let entries = addresses(subject, &keys);
    for fail_at in [0, 1, 15, 16, 17, 50, 99] {
        let mut backend = subject.open()?;
        let state = backend.register(&describe("value", StateKind::Value)?)?;
        backend.put_many(state, &entries, &vec![b"old".as_slice(); entries.len()])?;
        let failed = backend.update_many(state, &entries, &mut |i, edit| {
            edit.replace(b"new");
            if i == fail_at {
                return Err(StateError::new(ErrorKind::UserCode, "visitor gave up"));
            }
            Ok(())
        });
        refused(failed, ErrorKind::UserCode, "batch with a failing visitor")?;
        for (i, at) in entries.iter().enumerate() {
            let expected = if i < fail_at { b"new".as_slice() } else { b"old" };
            ensure_eq!(backend.get(state, *at)?, Some(expected), "entry {i}, failure at {fail_at}");
        }
    }
    Ok(())
}

/// A batch that fails at one entry has applied a prefix that ends before it.
pub fn a_failing_put_many_has_applied_a_prefix(subject: &BackendUnderTest) -> Verdict {
    let keys = keys(40);
    let long = vec![1; millpond_state::KEY_BYTES_MAX + 1];
    for bad in [0, 1, 20, 39] {
        let mut backend = subject.open()?;
        let state = backend.register(&describe("value", StateKind::Value)?)?;
        let mut entries = addresses(subject, &keys);
        if let Some(entry) = entries.get_mut(bad) {
            *entry = subject.at(&long);
        }
        let failed = backend.put_many(state, &entries, &vec![b"new".as_slice(); entries.len()]);
        refused(failed, ErrorKind::InvalidArgument, "batch with a key past the limit")?;
        let mut written = Vec::new();
        for at in addresses(subject, &keys) {
            written.push(backend.get(state, at)?.is_some());
        }
        let prefix = written.iter().take_while(|written| **written).count();
        ensure!(prefix <= bad, "{prefix} entries written, but entry {bad} was refused");
        let all = written.iter().filter(|written| **written).count();
        ensure_eq!(all, prefix, "entries written in all, and in the prefix");
    }
    Ok(())
}

/// Slices of different lengths are refused, and nothing is written.
pub fn batches_of_unequal_lengths_are_refused(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let (a, b) = (subject.at(b"a"), subject.at(b"b"));
    let kind = ErrorKind::InvalidArgument;
    refused(backend.put_many(state, &[a, b], &[b"1"]), kind, "put_many, value missing")?;
    refused(backend.put_many(state, &[a], &[b"1", b"2"]), kind, "put_many, entry missing")?;
    refused(backend.get_many(state, &[a, b], &mut [None]), kind, "get_many, room missing")?;
    refused(backend.get_many(state, &[a], &mut [None; 2]), kind, "get_many, entry missing")?;
    ensure_eq!(backend.entry_count(state)?, 0, "entries");
    Ok(())
}
