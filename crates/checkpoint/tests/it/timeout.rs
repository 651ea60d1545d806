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
fn the_timeout_covers_storing_and_a_late_store_is_discarded_once_a_later_one_is_complete() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.ack_all(1);
    assert_eq!(
        engine.until(1_000),
        ["abort 1: timed out while being stored (latest none)", "request 1: aborted 1"]
    );
    assert_eq!(engine.files.len(), 2, "storage is still at it");
    assert_eq!(engine.ack(1, "src[0]"), ["leave 1: 1/src[0] (Duplicate)"]);
    assert!(engine.stored(1).is_empty(), "a process that takes over may begin from it");
    assert_eq!(engine.ack(1, "src[0]"), ["leave 1: 1/src[0] (Duplicate)"]);
    engine.manual(2);
    let lines = engine.complete(2);
    assert!(lines.contains(&"discard completed 1 (StoredTooLate)".to_owned()), "{lines:?}");
    assert_eq!(engine.retained(), [2]);
    assert_eq!(engine.files.len(), 2);
}

// C-6
#[test]
fn a_store_later_than_the_next_checkpoint_is_discarded_at_once() {
    let settings = CoordinatorSettings { max_concurrent: 2, ..tolerant() };
    for effect in [None, Some(StoreEffect::MayHaveHappened)] {
        let mut engine = Engine::pipeline(settings.clone());
        engine.manual(1);
        engine.manual(2);
        engine.ack_all(1);
        engine.complete(2);
        let lines = match effect {
            None => engine.stored(1),
            Some(effect) => engine.store_failed(1, effect),
        };
        let last = lines.last().map(String::as_str);
        assert_eq!(last, Some("discard completed 1 (StoredTooLate)"), "{effect:?}");
        assert_eq!(engine.retained(), [2]);
    }
}

// C-6
#[test]
fn a_savepoint_that_completes_leaves_what_may_exist_alone() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.ack_all(1);
    engine.store_failed(1, StoreEffect::MayHaveHappened);
    engine.savepoint(2);
    let lines = engine.complete(2);
    assert!(lines.iter().all(|line| !line.starts_with("discard")), "{lines:?}");
}

// C-6
#[test]
fn a_late_failure_to_store_hands_the_files_back_to_be_deleted() {
    for (effect, expected) in [
        (StoreEffect::DidNotHappen, "discard 1: 1/src[0] 1/sum[0]"),
        (StoreEffect::MayHaveHappened, "leave 1: 1/src[0] 1/sum[0] (InDoubt)"),
    ] {
        let mut engine = Engine::pipeline(tolerant());
        engine.manual(1);
        engine.ack_all(1);
        engine.until(1_000);
        assert_eq!(engine.store_failed(1, effect), [expected]);
        assert_eq!(engine.files.is_empty(), effect == StoreEffect::DidNotHappen);
    }
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
