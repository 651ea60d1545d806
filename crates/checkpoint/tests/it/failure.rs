//! How many failed checkpoints a job endures.

use millpond_checkpoint::failure::{FailureCounter, Verdict};
use millpond_checkpoint::{CoordinatorSettings, DeclineReason, StoreEffect, SubtaskState};

use crate::engine::{Engine, id, pipeline, settings};

fn tolerating(failures: u32) -> CoordinatorSettings {
    CoordinatorSettings {
        tolerable_consecutive_failures: Some(failures),
        max_concurrent: 3,
        ..settings()
    }
}

fn failed() -> DeclineReason {
    DeclineReason::Failed("disk full".into())
}

// C-8
#[test]
fn the_job_fails_with_one_failure_in_a_row_more_than_tolerable() {
    let mut engine = Engine::pipeline(tolerating(2));
    for checkpoint in 1..=2 {
        engine.manual(checkpoint);
        let lines = engine.decline(checkpoint, "src[0]", failed());
        assert!(!lines.iter().any(|line| line.starts_with("fail job")), "{lines:?}");
    }
    engine.manual(3);
    let lines = engine.decline(3, "src[0]", failed());
    assert_eq!(lines.last().map(String::as_str), Some("fail job after 3"));
}

// C-8
#[test]
fn a_success_resets_the_count() {
    let mut engine = Engine::pipeline(tolerating(1));
    for round in 0..5 {
        engine.manual(round);
        let lines = engine.decline(2 * round + 1, "src[0]", failed());
        assert!(!lines.iter().any(|line| line.starts_with("fail job")), "{lines:?}");
        assert_eq!(engine.coordinator.consecutive_failures(), 1);
        engine.take_checkpoint();
        assert_eq!(engine.coordinator.consecutive_failures(), 0);
    }
}

// C-8
#[test]
fn timeouts_and_storage_failures_count_and_what_is_not_checkpointings_fault_does_not() {
    let mut engine = Engine::pipeline(tolerating(10));
    engine.manual(1);
    engine.until(1_000);
    assert_eq!(engine.coordinator.consecutive_failures(), 1, "timeout");
    engine.manual(2);
    engine.ack_all(2);
    engine.store_failed(2, StoreEffect::DidNotHappen);
    assert_eq!(engine.coordinator.consecutive_failures(), 2, "storage");
    engine.manual(3);
    engine.decline(3, "src[0]", DeclineReason::NotReady);
    engine.manual(4);
    engine.decline(4, "src[0]", DeclineReason::Cancelled);
    engine.manual(5);
    engine.state("sum[0]", SubtaskState::Failed);
    assert_eq!(engine.coordinator.consecutive_failures(), 2);
}

// C-8
#[test]
fn failed_savepoints_do_not_count_and_completed_ones_do_not_reset() {
    let mut engine = Engine::pipeline(tolerating(1));
    engine.manual(1);
    engine.decline(1, "src[0]", failed());
    for savepoint in 2..=6 {
        engine.savepoint(savepoint);
        engine.decline(savepoint, "src[0]", failed());
    }
    assert_eq!(engine.coordinator.consecutive_failures(), 1);
    engine.savepoint(7);
    engine.complete(7);
    assert_eq!(engine.coordinator.consecutive_failures(), 1);
}

// C-8
#[test]
fn failures_older_than_the_last_success_are_ignored_and_a_checkpoint_counts_once() {
    let mut counter = FailureCounter::new(Some(1));
    assert_eq!(counter.record_failure(id(3)), Verdict::Tolerated { consecutive: 1 });
    assert_eq!(counter.record_failure(id(3)), Verdict::Ignored);
    counter.record_success(id(5));
    assert_eq!(counter.record_failure(id(4)), Verdict::Ignored);
    assert_eq!(counter.record_failure(id(5)), Verdict::Ignored);
    assert_eq!(counter.record_failure(id(7)), Verdict::Tolerated { consecutive: 1 });
    assert_eq!(counter.record_failure(id(6)), Verdict::Exceeded { consecutive: 2 });
    counter.reset();
    assert_eq!(counter.record_failure(id(7)), Verdict::Ignored, "counted before the reset");
    assert_eq!(counter.record_failure(id(8)), Verdict::Tolerated { consecutive: 1 });
}

// C-8
#[test]
fn without_a_limit_any_number_of_failures_is_endured() {
    let mut counter = FailureCounter::new(None);
    for checkpoint in 1..=1_000_u32 {
        let verdict = counter.record_failure(id(checkpoint.into()));
        assert_eq!(verdict, Verdict::Tolerated { consecutive: checkpoint });
    }
}

#[test]
fn a_job_told_to_fail_gives_up_what_is_in_flight_and_waits_for_its_restart() {
    let mut engine = Engine::pipeline(CoordinatorSettings { max_concurrent: 2, ..tolerating(0) });
    for request in 1..=3 {
        engine.manual(request);
    }
    engine.ack(2, "src[0]");
    assert_eq!(
        engine.decline(1, "src[0]", failed()),
        [
            "abort 1: src[0] could not take its snapshot: disk full (latest none)",
            "request 1: aborted 1",
            "fail job after 1",
            "abort 2: the job is failing (latest none)",
            "discard 2: 2/src[0]",
            "request 2: aborted 2",
            "request 3: refused JobFailing",
        ]
    );
    assert_eq!(engine.manual(4), ["request 4: refused JobFailing"]);
    assert!(engine.until(5_000).is_empty());

    assert!(engine.restart(2, pipeline(), None).is_empty());
    engine.run_all();
    assert_eq!(engine.manual(5), ["barriers 3 manual -> src[0]"]);
    engine.decline(3, "src[0]", DeclineReason::NotReady);
    assert_eq!(engine.coordinator.consecutive_failures(), 0);
}

#[test]
fn a_failed_subtask_aborts_all_in_flight_and_refuses_all_that_wait() {
    let mut engine = Engine::pipeline(CoordinatorSettings { max_concurrent: 2, ..settings() });
    engine.manual(1);
    engine.savepoint(2);
    engine.manual(3);
    engine.ack(1, "sum[0]");
    assert_eq!(
        engine.state("sum[0]", SubtaskState::Failed),
        [
            "abort 1: sum[0] failed (latest none)",
            "discard 1: 1/sum[0]",
            "request 1: aborted 1",
            "abort 2: sum[0] failed (latest none)",
            "request 2: aborted 2",
            "request 3: refused JobFailing",
        ]
    );
}
