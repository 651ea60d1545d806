//! Snapshots are cancelled and dropped at any time, and outlive their backend.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use millpond_state::{
    CancelFlag, CheckpointId, EntrySink, ErrorKind, KeyedBackend, Result, SnapshotEntry,
    SnapshotTask, StateDescriptor, StateError,
};

use super::population::Population;
use super::subject::{BackendUnderTest, begin_snapshot, finish_snapshot, take_snapshot};
use crate::entries::{CollectedSnapshot, CollectingSink};
use crate::violation::{Verdict, Violation, ensure, ensure_eq, refused};

/// How long the sink of a running snapshot waits for the other thread. Passed only if one side
/// waits for the other for good.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon a cancelled task must stop: "soon" is counted in entries.
const ENTRIES_AFTER_CANCEL_MAX: usize = 10_000;

/// Takes so many entries, then fails; with `None` it fails at once.
pub(super) struct FailingSink {
    pub(super) entries_left: Option<usize>,
}

impl EntrySink for FailingSink {
    fn begin(&mut self, _states: &[StateDescriptor]) -> Result<()> {
        if self.entries_left.is_none() {
            return Err(StateError::new(ErrorKind::Io, "the sink failed to begin"));
        }
        Ok(())
    }

    fn entry(&mut self, _entry: &SnapshotEntry<'_>) -> Result<()> {
        match &mut self.entries_left {
            None | Some(0) => Err(StateError::new(ErrorKind::Io, "the sink is full")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

/// Sets the cancel flag after some entries, and counts those that come nevertheless.
struct CancellingSink {
    cancel: CancelFlag,
    entries_before: usize,
    entries: usize,
}

impl EntrySink for CancellingSink {
    fn begin(&mut self, _states: &[StateDescriptor]) -> Result<()> {
        Ok(())
    }

    fn entry(&mut self, _entry: &SnapshotEntry<'_>) -> Result<()> {
        self.entries += 1;
        if self.entries == self.entries_before {
            self.cancel.cancel();
        }
        Ok(())
    }
}

/// Stops in the middle of a snapshot until the other thread says go on.
struct PausingSink {
    inner: CollectingSink,
    entries_before: usize,
    paused: Sender<()>,
    resume: Receiver<()>,
}

impl EntrySink for PausingSink {
    fn begin(&mut self, states: &[StateDescriptor]) -> Result<()> {
        self.inner.begin(states)
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        self.inner.entry(entry)?;
        if self.entries_before == 0 {
            return Ok(());
        }
        self.entries_before -= 1;
        if self.entries_before == 0 {
            let gone = |_| StateError::new(ErrorKind::Io, "the other thread did not answer");
            self.paused.send(()).map_err(|_| StateError::new(ErrorKind::Io, "nobody listens"))?;
            self.resume.recv_timeout(PATIENCE).map_err(gone)?;
        }
        Ok(())
    }
}

/// Runs `task` on a second thread and does `meanwhile` after it has written some entries.
fn interrupt(
    task: Box<dyn SnapshotTask>,
    entries_before: usize,
    meanwhile: impl FnOnce() -> Verdict,
) -> Verdict<CollectedSnapshot> {
    let (paused, on_paused) = channel();
    let (go_on, resume) = channel();
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let inner = CollectingSink::new();
            let mut sink = PausingSink { inner, entries_before, paused, resume };
            task.run(&mut sink, &CancelFlag::new()).map(|_| sink.inner.into_snapshot())
        });
        let interrupted = match on_paused.recv_timeout(PATIENCE) {
            Ok(()) => meanwhile(),
            Err(_) => Err(Violation::new("the task ended or hung before it wrote its entries")),
        };
        let resumed = go_on.send(());
        let written = worker.join().map_err(|_| Violation::new("the snapshot task panicked"))?;
        interrupted?;
        ensure!(
            resumed.is_ok(),
            "the task gave up while the other thread was writing: {written:?}"
        );
        Ok(written?)
    })
}

/// A task whose flag is set before it runs writes nothing and says that it was cancelled.
pub fn a_snapshot_cancelled_before_it_runs_writes_nothing(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let population = Population::new(100);
    population.write(&mut *backend)?;
    let cancel = CancelFlag::new();
    cancel.cancel();
    let mut sink = CollectingSink::new();
    let task = begin_snapshot(&mut *backend, 1)?;
    refused(task.run(&mut sink, &cancel), ErrorKind::Cancelled, "cancelled snapshot")?;
    let written = sink.into_snapshot().entries.len();
    ensure_eq!(written, 0, "entries of a snapshot cancelled before it ran");
    population.check(&mut *backend)
}

/// A running task stops soon after its flag is set; the backend and later snapshots are unharmed.
pub fn a_running_snapshot_stops_soon_after_it_is_cancelled(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let population = Population::new(10_000);
    population.write(&mut *backend)?;
    for entries_before in [1, 5_000] {
        let task = begin_snapshot(&mut *backend, 1)?;
        let cancel = CancelFlag::new();
        let mut sink = CancellingSink { cancel: cancel.clone(), entries_before, entries: 0 };
        refused(task.run(&mut sink, &cancel), ErrorKind::Cancelled, "cancelled snapshot")?;
        let after = sink.entries - entries_before;
        ensure!(after <= ENTRIES_AFTER_CANCEL_MAX, "{after} entries came after the cancellation");
    }
    population.check(&mut *backend)?;
    ensure_eq!(take_snapshot(&mut *backend)?.entries.len(), 60_000, "entries of a later snapshot");
    Ok(())
}

/// A task that is dropped instead of run changes nothing, also between others under way.
pub fn dropping_a_snapshot_task_changes_nothing(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let population = Population::new(200);
    population.write(&mut *backend)?;
    let first = begin_snapshot(&mut *backend, 1)?;
    let dropped = begin_snapshot(&mut *backend, 2)?;
    population.changed().write(&mut *backend)?;
    let third = begin_snapshot(&mut *backend, 3)?;
    drop(dropped);
    population.changed().changed().write(&mut *backend)?;
    for (task, expected) in [(first, population), (third, population.changed())] {
        let mut restored = subject.open()?;
        let (snapshot, _) = finish_snapshot(task)?;
        restored.restore(&mut snapshot.source(subject.max_parallelism().full_range()))?;
        expected.check(&mut *restored)?;
    }
    population.changed().changed().check(&mut *backend)
}

/// Many snapshots that are taken and dropped leave room for more.
pub fn dropped_snapshots_release_their_resources(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let population = Population::new(50);
    for checkpoint in 1..=500 {
        population.write(&mut *backend)?;
        drop(begin_snapshot(&mut *backend, checkpoint)?);
    }
    population.check(&mut *backend)?;
    ensure_eq!(take_snapshot(&mut *backend)?.entries.len(), 300, "entries of a later snapshot");
    Ok(())
}

/// A task that runs after its backend is gone still writes the instant it was taken.
pub fn a_snapshot_outlives_its_backend(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let population = Population::new(500);
    population.write(&mut *backend)?;
    let task = begin_snapshot(&mut *backend, 1)?;
    population.changed().write(&mut *backend)?;
    drop(backend);
    let (snapshot, _) = finish_snapshot(task)?;
    let mut restored = subject.open()?;
    restored.restore(&mut snapshot.source(subject.max_parallelism().full_range()))?;
    population.check(&mut *restored)
}

/// Dropping the backend while a task runs on another thread is safe, and the snapshot stays right.
pub fn a_backend_may_be_dropped_while_its_snapshot_runs(subject: &BackendUnderTest) -> Verdict {
    for entries_before in [1, 700] {
        let mut backend = subject.open()?;
        let population = Population::new(500);
        population.write(&mut *backend)?;
        let task = begin_snapshot(&mut *backend, 1)?;
        let snapshot = interrupt(task, entries_before, || {
            drop(backend);
            Ok(())
        })?;
        let mut restored = subject.open()?;
        restored.restore(&mut snapshot.source(subject.max_parallelism().full_range()))?;
        population.check(&mut *restored)?;
    }
    Ok(())
}

/// Writes while a task runs on another thread neither wait for it nor show in its snapshot.
pub fn writes_do_not_wait_for_a_running_snapshot(subject: &BackendUnderTest) -> Verdict {
    for entries_before in [1, 700, 2_900] {
        let mut backend = subject.open()?;
        let population = Population::new(500);
        population.write(&mut *backend)?;
        let before = take_snapshot(&mut *backend)?;
        let task = begin_snapshot(&mut *backend, 2)?;
        let later = Population::new(600).changed();
        let snapshot = interrupt(task, entries_before, || Ok(later.write(&mut *backend)?))?;
        ensure!(snapshot == before, "the snapshot differs from one written out at once");
        later.check(&mut *backend)?;
    }
    Ok(())
}

/// While a task runs, another snapshot is taken and written in full.
pub fn a_snapshot_may_be_taken_while_another_runs(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let population = Population::new(300);
    population.write(&mut *backend)?;
    let before = take_snapshot(&mut *backend)?;
    let task = begin_snapshot(&mut *backend, 2)?;
    let backend: &mut dyn KeyedBackend = &mut *backend;
    let snapshot = interrupt(task, 900, || {
        population.changed().write(backend)?;
        let second = take_snapshot(backend)?;
        let mut restored = subject.open()?;
        restored.restore(&mut second.source(subject.max_parallelism().full_range()))?;
        population.changed().check(&mut *restored)
    })?;
    ensure!(snapshot == before, "the first snapshot differs from one written out at once");
    Ok(())
}

/// A snapshot that is cancelled in the middle releases what it held, time after time.
pub fn cancelled_snapshots_release_what_they_held(subject: &BackendUnderTest) -> Verdict {
    const SPARE_BYTES: u64 = 1 << 20;
    let mut backend = subject.open()?;
    let population = Population::new(400);
    population.write(&mut *backend)?;
    let before = backend.memory_bytes();
    for checkpoint in 1..=200 {
        population.write(&mut *backend)?;
        let task = begin_snapshot(&mut *backend, checkpoint)?;
        let cancel = CancelFlag::new();
        let mut sink = CancellingSink { cancel: cancel.clone(), entries_before: 5, entries: 0 };
        match task.run(&mut sink, &cancel) {
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            other => drop(other?),
        }
        backend.checkpoint_aborted(CheckpointId::new(checkpoint));
    }
    population.check(&mut *backend)?;
    ensure_eq!(take_snapshot(&mut *backend)?.entries.len(), 2_400, "entries of a later snapshot");
    if subject.capabilities().reports_memory {
        let after = backend.memory_bytes();
        let room = before * 3 + SPARE_BYTES;
        ensure!(after <= room, "{after} bytes after 200 cancelled snapshots, {before} before");
    }
    Ok(())
}
