//! Failures of whole jobs: panics, restarts, storage that goes away.

use std::sync::atomic::Ordering;

use millpond_runtime::{JobErrorKind, JobOutcome, RestartStrategy, StartFrom};

use crate::fixture::{Counting, FailPlan};

#[test]
fn a_panic_in_user_code_is_reported_and_the_job_restarts_exactly_once() {
    for at in [0, 7_777, 19_999] {
        let folder = tempfile::tempdir().unwrap();
        let mut counting = Counting::new(folder.path());
        counting.restart = RestartStrategy::FixedDelay { attempts_max: 1, delay_ms: 1 };
        counting.fail = FailPlan::at(at);
        let report = counting.job().run(StartFrom::Beginning).unwrap();
        assert_eq!((report.outcome, report.restarts), (JobOutcome::Finished, 1));
        assert_eq!(counting.committed(), counting.expected(), "failed at {at}");
        let notes = counting.notes.0.lock().unwrap();
        let restarting = notes.iter().find(|note| note.starts_with("Restarting")).unwrap();
        assert!(restarting.contains(&format!("user code fails at record {at}")), "{restarting}");
        assert!(restarting.contains("count["), "the subtask is named: {restarting}");
    }
}

#[test]
fn without_restarts_a_panic_ends_the_job_and_a_later_run_completes_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut counting = Counting::new(folder.path());
    counting.fail = FailPlan::at(9_000);
    let error = counting.job().run(StartFrom::Beginning).unwrap_err();
    assert_eq!(error.kind(), JobErrorKind::UserCode);
    assert!(error.to_string().contains("user code fails at record 9000"), "{error}");
    counting.counters = 3;
    counting.job().run(StartFrom::Latest).unwrap();
    assert_eq!(counting.committed(), counting.expected());
}

#[test]
fn a_failure_after_a_checkpoint_restarts_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut counting = Counting::new(folder.path());
    counting.restart = RestartStrategy::FixedDelay { attempts_max: 1, delay_ms: 1 };
    counting.interval_ms = Some(1);
    counting.pause_every = 200;
    counting.fail = FailPlan::at(15_000);
    counting.job().run(StartFrom::Beginning).unwrap();
    assert_eq!(counting.committed(), counting.expected());
    assert_eq!(counting.notes.count("Restored"), 1);
}

#[test]
fn storage_that_cannot_be_written_fails_the_job_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let counting = Counting::new(folder.path());
    counting.hold.store(true, Ordering::SeqCst);
    let job = counting.job();
    let checkpoints = folder.path().join("checkpoints");
    std::fs::remove_dir_all(&checkpoints).unwrap();
    std::fs::write(&checkpoints, b"in the way").unwrap();
    let error = job.run(StartFrom::Beginning).unwrap_err();
    assert!(error.to_string().contains("checkpoints"), "{error}");
}
