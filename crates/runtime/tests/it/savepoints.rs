//! Savepoints of running jobs: taken, kept, restored.

use std::sync::atomic::Ordering;
use std::time::Duration;

use millpond_checkpoint::driver::{AttemptStart, CheckpointFolder};
use millpond_runtime::{JobErrorKind, JobOutcome, Savepoint, StartFrom};
use millpond_snapshot::metadata::{CheckpointKind, KeyedStateHandle};

use crate::checkpoints::run_and_stop;
use crate::fixture::Counting;

/// Long enough that it only ends a test that hangs.
const WAIT: Duration = Duration::from_secs(120);

/// Runs until some checkpoints are complete, takes `count` savepoints, and lets `then` end it.
fn with_savepoints(counting: &Counting<'_>, count: usize, stop: bool) -> Vec<Savepoint> {
    let job = counting.job();
    let handle = job.handle();
    counting.hold.store(true, Ordering::SeqCst);
    let savepoints = std::thread::scope(|scope| {
        let run = scope.spawn(|| job.run(StartFrom::Beginning));
        while counting.notes.count("CheckpointCompleted") < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let savepoints: Vec<Savepoint> = (0..count)
            .map(|at| handle.savepoint(stop && at + 1 == count).wait(WAIT).unwrap())
            .collect();
        let before = counting.notes.count("CheckpointCompleted");
        while !stop && counting.notes.count("CheckpointCompleted") < before + 8 {
            std::thread::sleep(Duration::from_millis(1));
        }
        handle.stop();
        assert_eq!(run.join().unwrap().unwrap().outcome, JobOutcome::Stopped);
        let late = handle.savepoint(false).wait(WAIT).unwrap_err();
        assert_eq!(late.kind(), JobErrorKind::Cancelled);
        savepoints
    });
    counting.hold.store(false, Ordering::SeqCst);
    savepoints
}

fn folder_of(counting: &Counting<'_>, savepoint: &Savepoint) -> CheckpointFolder {
    let found = counting.storage().list().unwrap();
    let found = found.into_iter().find(|it| it.id == savepoint.checkpoint).unwrap();
    assert_eq!(found.folder.url(), savepoint.url);
    found.folder
}

#[test]
fn a_savepoint_is_canonical_and_whole_and_outlives_retention_and_is_restored() {
    for incremental in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut counting = Counting::new(folder.path());
        counting.incremental = incremental;
        (counting.interval_ms, counting.pause_every) = (Some(2), 100);
        let savepoints = with_savepoints(&counting, 2, false);
        let oldest = folder_of(&counting, &savepoints[0]);
        let metadata = oldest.load().unwrap();
        assert_eq!(metadata.kind, CheckpointKind::Savepoint);
        assert_eq!(metadata.data_bytes(), savepoints[0].bytes);
        let subtasks = metadata.vertices.iter().flat_map(|vertex| &vertex.subtasks);
        let handles: Vec<_> = subtasks.flat_map(|subtask| &subtask.keyed_state).collect();
        assert_eq!(handles.len(), 2);
        assert!(handles.iter().all(|it| matches!(it, KeyedStateHandle::Full(_))));
        assert!(metadata.files().all(|file| !file.is_shared()));
        assert!(oldest.verify().unwrap().is_whole());
        // Going back to it abandons checkpoints after it, and no savepoint.
        counting.counters = 3;
        let report = counting.job().run(StartFrom::Folder(oldest)).unwrap();
        assert_eq!(report.outcome, JobOutcome::Finished);
        assert_eq!(counting.committed(), counting.expected(), "{incremental}");
        for savepoint in &savepoints {
            assert!(folder_of(&counting, savepoint).verify().unwrap().is_whole());
        }
        let kinds = counting.storage().list().unwrap();
        let savepoint = |it: &millpond_checkpoint::driver::FoundCheckpoint| {
            it.metadata.as_ref().unwrap().kind == CheckpointKind::Savepoint
        };
        assert_eq!(kinds.iter().filter(|it| savepoint(it)).count(), 2);
    }
}

#[test]
fn a_savepoint_of_a_history_that_was_given_up_is_not_the_latest() {
    let folder = tempfile::tempdir().unwrap();
    let counting = Counting::new(folder.path());
    let savepoints = with_savepoints(&counting, 2, true);
    let storage = counting.storage();
    // As a job does that is restored from the first and dies before its first checkpoint.
    let first = folder_of(&counting, &savepoints[0]).load().unwrap();
    let history = storage.history().unwrap();
    let log = storage.begin_attempt(&history, AttemptStart::Here(&first)).unwrap().unwrap();
    assert!(!log.found().any(|id| id > first.checkpoint));
    assert!(storage.history().unwrap().is_abandoned(savepoints[1].checkpoint));
    let report = counting.job().run(StartFrom::Latest).unwrap();
    assert_eq!(report.outcome, JobOutcome::Finished);
    let first = format!("checkpoint: CheckpointId({})", savepoints[0].checkpoint);
    let restored = counting.notes.all("Restored");
    assert!(restored.last().unwrap().contains(&first), "{first}: {restored:?}");
    assert_eq!(counting.committed(), counting.expected());
    // By name it can be gone back to all the same.
    let folder = folder_of(&counting, &savepoints[1]);
    counting.job().run(StartFrom::Folder(folder)).unwrap();
    assert!(!storage.history().unwrap().is_abandoned(savepoints[1].checkpoint));
    assert_eq!(counting.committed(), counting.expected());
}

#[test]
fn a_job_stopped_with_a_savepoint_has_read_nothing_after_it() {
    for incremental in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut counting = Counting::new(folder.path());
        (counting.incremental, counting.pause_every) = (incremental, 100);
        let savepoint = with_savepoints(&counting, 1, true).remove(0);
        let storage = counting.storage();
        let found = storage.list().unwrap();
        let entries = |id| {
            let it = found.iter().find(|it| it.id == id).unwrap();
            let metadata = it.metadata.as_ref().unwrap();
            let numbers = metadata.vertex("numbers").unwrap();
            let positions: Vec<_> =
                numbers.subtasks.iter().map(|subtask| subtask.operator_state.clone()).collect();
            positions
        };
        let last = found.last().unwrap();
        assert_eq!(last.metadata.as_ref().unwrap().kind, CheckpointKind::Final);
        assert_eq!(entries(last.id), entries(savepoint.checkpoint));
        let folder = folder_of(&counting, &savepoint);
        counting.job().run(StartFrom::Folder(folder)).unwrap();
        assert_eq!(counting.committed(), counting.expected());
    }
}

#[test]
fn checkpoints_restored_without_claim_stay_when_the_job_goes_back_to_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let counting = Counting::new(folder.path());
    run_and_stop(&counting, StartFrom::Beginning);
    counting.hold.store(false, Ordering::SeqCst);
    let storage = counting.storage();
    let mut found = storage.list().unwrap();
    assert!(found.len() >= 2);
    let (kept, first) = (found.pop().unwrap(), found.remove(0));
    let shared = storage.open_shared_files(Default::default()).unwrap();
    let metadata = kept.metadata.as_ref().unwrap();
    let place = storage.relative_folder(&kept.folder).unwrap();
    let mode = millpond_checkpoint::registry::RestoreMode::NoClaim;
    storage.restore_shared_files(&shared, (&place, metadata), mode).unwrap();
    counting.job().run(StartFrom::Folder(first.folder)).unwrap();
    assert_eq!(counting.committed(), counting.expected());
    assert!(kept.folder.verify().unwrap().is_whole());
    assert!(storage.history().unwrap().is_abandoned(kept.id));
}
