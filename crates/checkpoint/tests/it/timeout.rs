//! Checkpoints that take too long.

use millpond_checkpoint::{CoordinatorSettings, Event, StoreEffect};

use crate::engine::{Engine, settings};

fn tolerant() -> CoordinatorSettings {
    CoordinatorSettings { tolerable_consecutive_failures: None, max_concurrent: 2, ..settings() }
}

// C-6
#[test]
fn a_timeout_aborts_one_checkpoint_and_no_other() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.until(500);
    engine.manual(2);
    engine.ack(1, "src[0]");
    engine.ack(2, "src[0]");
    assert!(engine.until(999).is_empty());
    assert_eq!(
        engine.until(1_000),
        [
            "abort 1: timed out before every subtask acknowledged (latest none)",
            "discard 1: 1/src[0]",
            "request 1: aborted 1",
        ]
    );
    assert_eq!(engine.ack(2, "sum[0]"), ["store 2"]);
    assert_eq!(engine.stored(2), ["complete 2", "request 2: completed 2"]);
}

// C-6
#[test]
fn an_acknowledgement_after_the_timeout_changes_nothing_even_if_no_tick_came_in_between() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.ack(1, "src[0]");
    engine.now_ms = 1_000;
    assert_eq!(
        engine.ack(1, "sum[0]"),
        [
            "abort 1: timed out before every subtask acknowledged (latest none)",
            "discard 1: 1/src[0]",
            "request 1: aborted 1",
            "discard 1: 1/sum[0]",
        ]
    );
    assert!(engine.files.is_empty());
}

// C-6
#[test]
fn the_timeout_covers_storing_and_a_late_store_is_discarded() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.ack_all(1);
    assert_eq!(
        engine.until(1_000),
        ["abort 1: timed out while being stored (latest none)", "request 1: aborted 1"]
    );
    assert_eq!(engine.files.len(), 2, "storage is still at it");
    assert_eq!(engine.ack(1, "src[0]"), ["leave 1: 1/src[0] (Duplicate)"]);
    assert_eq!(engine.stored(1), ["discard completed 1 (StoredTooLate)"]);
    assert!(engine.files.is_empty() && engine.stored.is_empty());
}

// C-6
#[test]
fn a_late_failure_to_store_hands_the_files_back_to_be_deleted() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.ack_all(1);
    engine.until(1_000);
    assert_eq!(
        engine.store_failed(1, StoreEffect::MayHaveHappened),
        ["discard 1: 1/src[0] 1/sum[0] after its metadata"]
    );
    assert!(engine.files.is_empty());
}

#[test]
fn the_coordinator_asks_to_be_woken_at_the_earliest_deadline() {
    let mut engine = Engine::pipeline(tolerant());
    assert_eq!(engine.coordinator.next_wake(), None);
    engine.manual(1);
    engine.until(500);
    engine.manual(2);
    let wake = engine.coordinator.next_wake().map(|at| at.as_millis());
    assert_eq!(wake, Some(1_000));
    engine.now_ms = 1_000;
    engine.handle(Event::Tick);
    let wake = engine.coordinator.next_wake().map(|at| at.as_millis());
    assert_eq!(wake, Some(1_500));
}
