//! Acknowledgements, declines, and what becomes of their files.

use millpond_checkpoint::{CoordinatorSettings, DeclineReason};

use crate::engine::{Engine, settings};

fn tolerant() -> CoordinatorSettings {
    CoordinatorSettings { tolerable_consecutive_failures: None, ..settings() }
}

// C-2
#[test]
fn a_checkpoint_is_stored_when_every_subtask_acknowledged_and_complete_when_stored() {
    let mut engine = Engine::pipeline(settings());
    engine.manual(1);
    assert!(engine.ack(1, "src[0]").is_empty());
    assert_eq!(engine.ack(1, "sum[0]"), ["store 1"]);
    assert!(engine.retained().is_empty());
    assert_eq!(engine.stored(1), ["complete 1", "request 1: completed 1"]);
    assert_eq!(engine.retained(), [1]);
    assert_eq!(engine.stored[&1], ["1/src[0]", "1/sum[0]"]);
}

// C-2
#[test]
fn an_acknowledgement_counts_once_and_its_repetition_deletes_nothing() {
    let mut engine = Engine::pipeline(settings());
    engine.manual(1);
    engine.ack(1, "src[0]");
    assert_eq!(engine.ack(1, "src[0]"), ["leave 1: 1/src[0] (Duplicate)"], "collecting");
    engine.ack(1, "sum[0]");
    assert_eq!(engine.ack(1, "src[0]"), ["leave 1: 1/src[0] (Duplicate)"], "storing");
    engine.stored(1);
    assert_eq!(engine.ack(1, "src[0]"), ["leave 1: 1/src[0] (Duplicate)"], "retained");
    assert_eq!(engine.coordinator.stats().totals().duplicate_acknowledgements, 3);
    assert!(engine.files.contains("1/src[0]"));
}

// C-2
#[test]
fn a_repeated_acknowledgement_of_an_older_savepoint_deletes_nothing() {
    let mut engine = Engine::pipeline(settings());
    for (request, savepoint) in [(1, 1), (2, 2)] {
        engine.savepoint(request);
        engine.complete(savepoint);
    }
    assert_eq!(engine.ack(1, "src[0]"), ["leave 1: 1/src[0] (Duplicate)"]);
}

// C-2
#[test]
fn files_of_an_unknown_subtask_or_checkpoint_are_deleted_and_nothing_else_happens() {
    let mut engine = Engine::pipeline(settings());
    engine.manual(1);
    assert_eq!(engine.ack(1, "sum[1]"), ["discard 1: 1/sum[1]"]);
    assert_eq!(engine.ack(1, "other[0]"), ["discard 1: 1/other[0]"]);
    assert_eq!(engine.ack(9, "src[0]"), ["discard 9: 9/src[0]"]);
    assert!(engine.files.is_empty());
    assert_eq!(engine.coordinator.stats().totals().unexpected, 3);
    engine.ack(1, "src[0]");
    assert_eq!(engine.ack(1, "sum[0]"), ["store 1"]);
}

// C-2
#[test]
fn files_of_a_late_acknowledgement_are_deleted() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.decline(1, "src[0]", DeclineReason::NotReady);
    assert_eq!(engine.ack(1, "sum[0]"), ["discard 1: 1/sum[0]"]);
    assert!(engine.files.is_empty());
    assert_eq!(engine.coordinator.stats().totals().late_acknowledgements, 1);
}

#[test]
fn files_of_a_checkpoint_from_before_this_coordinator_are_left_alone() {
    let mut first = Engine::pipeline(settings());
    first.take_checkpoint();
    let retained = first.coordinator.retention().iter().cloned().collect();
    let mut engine = Engine::restored(crate::engine::pipeline(), settings(), retained, Some(1));
    assert_eq!(engine.ack(1, "src[0]"), ["leave 1: 1/src[0] (Duplicate)"]);
    assert_eq!(engine.ack(0, "src[0]"), ["leave 0: 0/src[0] (Unexpected)"]);
}

// C-3
#[test]
fn a_decline_aborts_that_checkpoint_only_drops_its_files_and_is_told_to_all() {
    let two = CoordinatorSettings { max_concurrent: 2, ..tolerant() };
    for reason in [
        DeclineReason::NotReady,
        DeclineReason::Cancelled,
        DeclineReason::Failed("asynchronous part: disk full".into()),
    ] {
        let mut engine = Engine::pipeline(two.clone());
        engine.manual(1);
        engine.manual(2);
        engine.ack(1, "src[0]");
        engine.ack(2, "src[0]");
        let lines = engine.decline(1, "sum[0]", reason);
        assert!(lines[0].starts_with("abort 1: sum[0]"), "{lines:?}");
        assert_eq!(lines[1..], ["discard 1: 1/src[0]", "request 1: aborted 1"]);
        assert_eq!(engine.files.iter().collect::<Vec<_>>(), ["2/src[0]"]);
        assert_eq!(engine.ack(2, "sum[0]"), ["store 2"]);
    }
}

// C-3
#[test]
fn a_decline_that_fits_nothing_is_ignored() {
    let mut engine = Engine::pipeline(settings());
    let failed = || DeclineReason::Failed("x".into());
    assert!(engine.decline(5, "src[0]", failed()).is_empty());
    engine.manual(1);
    assert!(engine.decline(1, "other[0]", failed()).is_empty());
    engine.ack_all(1);
    assert!(engine.decline(1, "src[0]", failed()).is_empty(), "everything is durable already");
    assert_eq!(engine.stored(1).len(), 2);
    assert!(engine.decline(1, "src[0]", failed()).is_empty());
}

#[test]
fn answers_of_storage_that_fit_nothing_delete_nothing() {
    let mut engine = Engine::pipeline(settings());
    assert!(engine.stored(3).is_empty());
    engine.manual(1);
    assert!(engine.stored(1).is_empty(), "not asked to store yet");
    assert_eq!(engine.coordinator.stats().totals().unexpected, 2);
    engine.complete(1);
    assert!(engine.stored(1).is_empty(), "said twice");
    assert_eq!(engine.retained(), [1]);
}

// Simulator seed 188168: the metadata was still there when a file that it names was deleted.
#[test]
fn a_late_acknowledgement_of_a_checkpoint_that_was_discarded_deletes_nothing() {
    let mut engine = Engine::pipeline(CoordinatorSettings { retained_max: 1, ..settings() });
    for request in 1..3 {
        engine.manual(request);
        engine.complete(request);
    }
    assert_eq!(engine.retained(), [2]);
    assert_eq!(engine.ack(1, "sum[0]"), ["leave 1: 1/sum[0] (Duplicate)"]);
}
