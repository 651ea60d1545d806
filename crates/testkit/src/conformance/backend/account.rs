//! What a backend says about itself: changed entries, memory.

use millpond_state::{CheckpointId, KeyedBackend, StateKind};

use super::subject::{BackendUnderTest, begin_snapshot, describe, finish_snapshot};
use crate::violation::{Verdict, ensure, ensure_eq};

fn changed(backend: &mut dyn KeyedBackend, checkpoint: u64) -> Verdict<u64> {
    let task = begin_snapshot(backend, checkpoint)?;
    Ok(finish_snapshot(task)?.1.entries_changed)
}

/// A summary counts the entries that changed since the last completed checkpoint.
///
/// Needs `counts_changes`.
pub fn changes_are_counted_since_the_last_completed_checkpoint(
    subject: &BackendUnderTest,
) -> Verdict {
    if !subject.capabilities().counts_changes {
        return Ok(());
    }
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    for key in 0..100u8 {
        backend.put(state, subject.at(&[key]), b"old")?;
    }
    ensure_eq!(changed(&mut *backend, 1)?, 100, "before any checkpoint completed");
    ensure_eq!(changed(&mut *backend, 2)?, 100, "while none completed");
    backend.checkpoint_aborted(CheckpointId::new(1));
    ensure_eq!(changed(&mut *backend, 3)?, 100, "after one was aborted");
    backend.checkpoint_completed(CheckpointId::new(3));
    ensure_eq!(changed(&mut *backend, 4)?, 0, "after one completed");
    backend.put(state, subject.at(&[7]), b"new")?;
    backend.append(state, subject.at(&[8]), b"er")?;
    backend.put(state, subject.at(b"added"), b"new")?;
    backend.delete(state, subject.at(&[9]))?;
    ensure_eq!(changed(&mut *backend, 5)?, 3, "after two changes, an addition, a deletion");
    Ok(())
}

/// What changes between a snapshot and its completion is not taken for safe.
///
/// Needs `counts_changes`.
pub fn changes_after_a_snapshot_are_not_covered_by_its_completion(
    subject: &BackendUnderTest,
) -> Verdict {
    if !subject.capabilities().counts_changes {
        return Ok(());
    }
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    for key in 0..10u8 {
        backend.put(state, subject.at(&[key]), b"old")?;
    }
    let first = begin_snapshot(&mut *backend, 1)?;
    backend.put(state, subject.at(&[0]), b"new")?;
    let second = begin_snapshot(&mut *backend, 2)?;
    backend.put(state, subject.at(&[1]), b"new")?;
    backend.checkpoint_completed(CheckpointId::new(1));
    ensure_eq!(changed(&mut *backend, 3)?, 2, "after the first completed");
    backend.checkpoint_completed(CheckpointId::new(2));
    ensure_eq!(changed(&mut *backend, 4)?, 1, "after the second completed");
    ensure_eq!(finish_snapshot(first)?.1.entries, 10, "entries of the first, written late");
    drop(second);
    Ok(())
}

/// Being told of checkpoints that the instance knows nothing of does nothing.
pub fn unknown_checkpoints_are_ignored(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    backend.put(state, subject.at(b"k"), b"v")?;
    for checkpoint in [CheckpointId::new(1), CheckpointId::new(u64::MAX)] {
        backend.checkpoint_completed(checkpoint);
        backend.checkpoint_aborted(checkpoint);
    }
    let (snapshot, summary) = finish_snapshot(begin_snapshot(&mut *backend, 2)?)?;
    ensure_eq!(snapshot.entries.len(), 1, "entries");
    if subject.capabilities().counts_changes {
        ensure_eq!(summary.entries_changed, 1, "changed entries");
    }
    Ok(())
}

/// Reported memory grows with what is stored, and room that deletions make is used again.
///
/// Needs `reports_memory`.
pub fn reported_memory_follows_what_is_stored(subject: &BackendUnderTest) -> Verdict {
    const ENTRIES: u32 = 20_000;
    const VALUE_BYTES: usize = 100;
    if !subject.capabilities().reports_memory {
        return Ok(());
    }
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let empty = backend.memory_bytes();
    let mut peaks = Vec::new();
    for round in 0..8 {
        for key in 0..ENTRIES {
            let key = (key + round * ENTRIES).to_be_bytes();
            backend.put(state, subject.at(&key), &[round as u8; VALUE_BYTES])?;
        }
        peaks.push(backend.memory_bytes().saturating_sub(empty));
        for key in 0..ENTRIES {
            backend.delete(state, subject.at(&(key + round * ENTRIES).to_be_bytes()))?;
        }
    }
    let stored = u64::from(ENTRIES) * VALUE_BYTES as u64;
    let (first, last) = (peaks.first().copied(), peaks.last().copied());
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    ensure!(first >= stored / 2, "{first} bytes reported for {stored} bytes of values");
    ensure!(last <= first * 3, "room of deleted entries is not used again: {peaks:?}");
    Ok(())
}

/// Snapshots that were written out or dropped hold no memory any more.
///
/// Needs `reports_memory`.
pub fn ended_snapshots_hold_no_memory(subject: &BackendUnderTest) -> Verdict {
    const SPARE_BYTES: u64 = 1 << 20;
    if !subject.capabilities().reports_memory {
        return Ok(());
    }
    let mut backend = subject.open()?;
    let state = backend.register(&describe("value", StateKind::Value)?)?;
    let mut before = 0;
    for round in 0..200u64 {
        for key in 0..200u32 {
            backend.put(state, subject.at(&key.to_be_bytes()), &[round as u8; 100])?;
        }
        before = before.max(if round == 0 { backend.memory_bytes() } else { 0 });
        let task = begin_snapshot(&mut *backend, round + 1)?;
        if round % 2 == 0 {
            finish_snapshot(task)?;
        }
    }
    let after = backend.memory_bytes();
    let room = before * 3 + SPARE_BYTES;
    ensure!(after <= room, "{after} bytes after 200 snapshots ended, {before} before the first");
    Ok(())
}
