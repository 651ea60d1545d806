//! Checkpoints of whole jobs: stop, restore, rescale, retention, damage.

use std::sync::atomic::Ordering;
use std::time::Duration;

use millpond_runtime::{JobErrorKind, JobOutcome, StartFrom};

use crate::fixture::Counting;

/// Runs until some input was read and two checkpoints are complete, then stops it.
pub(crate) fn run_and_stop(counting: &Counting<'_>, start: StartFrom) -> JobOutcome {
    let job = counting.job();
    let handle = job.handle();
    counting.hold.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| job.run(start));
        let enough = || {
            handle.records("numbers").unwrap() >= counting.numbers / 3
                && counting.notes.count("CheckpointCompleted") >= 2
        };
        while !enough() {
            std::thread::sleep(Duration::from_millis(1));
        }
        handle.stop();
        run.join().unwrap().unwrap().outcome
    })
}

#[test]
fn a_bounded_job_commits_everything_once_with_a_final_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let counting = Counting::new(folder.path());
    let report = counting.job().run(StartFrom::Beginning).unwrap();
    assert_eq!(report.outcome, JobOutcome::Finished);
    assert!(report.checkpoints_completed >= 1);
    assert_eq!(counting.committed(), counting.expected());
    assert_eq!(counting.notes.count("CleanupFailed"), 0);
}

#[test]
fn a_job_without_periodic_checkpoints_still_takes_the_final_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut counting = Counting::new(folder.path());
    counting.interval_ms = None;
    let report = counting.job().run(StartFrom::Beginning).unwrap();
    assert_eq!(report.checkpoints_completed, 1);
    assert_eq!(counting.committed(), counting.expected());
}

#[test]
fn a_stopped_job_goes_on_at_any_other_parallelism() {
    for (sources, counters) in [(1, 3), (3, 1), (2, 4), (4, 7)] {
        let folder = tempfile::tempdir().unwrap();
        let mut counting = Counting::new(folder.path());
        assert_eq!(run_and_stop(&counting, StartFrom::Beginning), JobOutcome::Stopped);
        assert!(counting.committed().is_empty(), "nothing is said before the end of input");
        counting.hold.store(false, Ordering::SeqCst);
        (counting.sources, counting.counters) = (sources, counters);
        let report = counting.job().run(StartFrom::Latest).unwrap();
        assert_eq!(report.outcome, JobOutcome::Finished);
        assert_eq!(counting.committed(), counting.expected(), "{sources} {counters}");
    }
}

#[test]
fn a_finished_job_restored_again_says_so_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let counting = Counting::new(folder.path());
    counting.job().run(StartFrom::Beginning).unwrap();
    let report = counting.job().run(StartFrom::Latest).unwrap();
    assert_eq!(report.outcome, JobOutcome::AlreadyFinished);
    assert_eq!(counting.committed(), counting.expected());
}

#[test]
fn latest_without_any_checkpoint_starts_at_the_beginning_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let counting = Counting::new(folder.path());
    counting.job().run(StartFrom::Latest).unwrap();
    assert_eq!(counting.notes.count("NothingToRestore"), 1);
    assert_eq!(counting.committed(), counting.expected());
}

#[test]
fn retention_keeps_the_last_n_checkpoints_and_no_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let counting = Counting::new(folder.path());
    let report = counting.job().run(StartFrom::Beginning).unwrap();
    let kept = counting.storage().list().unwrap();
    let ids: Vec<u64> = kept.iter().map(|found| found.id.get()).collect();
    let newest = report.last_checkpoint.unwrap().get();
    assert_eq!(ids.last(), Some(&newest));
    assert!(ids.len() <= 3, "{ids:?}");
    let named: usize =
        kept.iter().map(|found| 1 + found.metadata.as_ref().unwrap().files().count()).sum();
    let storage = folder.path().join("checkpoints");
    let objects = count_files(&storage) - count_files(&storage.join("log"));
    assert_eq!(objects, named, "every file belongs to a retained checkpoint");
}

fn count_files(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { count_files(&path) } else { 1 })
        .sum()
}

#[test]
fn a_changed_max_parallelism_is_refused_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut counting = Counting::new(folder.path());
    run_and_stop(&counting, StartFrom::Beginning);
    counting.max_parallelism = 32;
    let error = counting.job().run(StartFrom::Latest).unwrap_err();
    assert_eq!(error.kind(), JobErrorKind::Restore);
    let text = error.to_string();
    assert!(text.contains("16") && text.contains("32"), "{text}");
}

#[test]
fn at_least_once_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut counting = Counting::new(folder.path());
    counting.at_least_once = true;
    run_and_stop(&counting, StartFrom::Beginning);
    counting.hold.store(false, Ordering::SeqCst);
    counting.job().run(StartFrom::Latest).unwrap();
    let (committed, expected) = (counting.committed(), counting.expected());
    assert_eq!(committed.len(), expected.len());
    assert!(committed.iter().all(|(key, count)| *count >= expected[key]));
}

#[test]
fn a_damaged_newest_checkpoint_is_passed_over_for_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let counting = Counting::new(folder.path());
    run_and_stop(&counting, StartFrom::Beginning);
    let found = counting.storage().list().unwrap();
    assert!(found.len() >= 2, "two checkpoints are retained");
    let newest = &found[found.len() - 1];
    let name = newest.metadata.as_ref().unwrap().files().next().unwrap().name().to_owned();
    let path = folder.path().join("checkpoints").join(format!("chk-{}", newest.id)).join(name);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x10;
    std::fs::write(&path, bytes).unwrap();
    counting.hold.store(false, Ordering::SeqCst);
    let report = counting.job().run(StartFrom::Latest).unwrap();
    assert_eq!(report.outcome, JobOutcome::Finished);
    assert_eq!(counting.notes.count("SkippedDamaged"), 1);
    assert_eq!(counting.committed(), counting.expected());
}

#[test]
fn an_older_checkpoint_asked_for_by_name_makes_newer_ones_obsolete() {
    let folder = tempfile::tempdir().unwrap();
    let counting = Counting::new(folder.path());
    run_and_stop(&counting, StartFrom::Beginning);
    let oldest = counting.storage().list().unwrap().remove(0);
    let newest = counting.storage().list().unwrap().pop().unwrap().id;
    assert!(oldest.id < newest);
    counting.hold.store(false, Ordering::SeqCst);
    let report = counting.job().run(StartFrom::Folder(oldest.folder)).unwrap();
    assert_eq!(counting.committed(), counting.expected());
    assert!(report.last_checkpoint.unwrap() > newest, "numbers are never used twice");
}
