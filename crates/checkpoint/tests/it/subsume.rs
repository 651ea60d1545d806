//! A later success makes earlier checkpoints in flight superfluous.

use millpond_checkpoint::{CoordinatorSettings, StoreEffect};

use crate::engine::{Engine, settings};

fn three() -> CoordinatorSettings {
    CoordinatorSettings { max_concurrent: 3, ..settings() }
}

// C-4
#[test]
fn a_completed_checkpoint_subsumes_earlier_ones_in_flight_and_not_later_ones() {
    let mut engine = Engine::pipeline(three());
    for request in 1..=3 {
        engine.manual(request);
    }
    engine.ack(1, "src[0]");
    engine.ack(3, "src[0]");
    engine.ack_all(2);
    assert_eq!(
        engine.stored(2),
        [
            "abort 1: checkpoint 2 completed first (latest none)",
            "discard 1: 1/src[0]",
            "request 1: aborted 1",
            "complete 2",
            "request 2: completed 2",
        ]
    );
    assert_eq!(engine.ack(3, "sum[0]"), ["store 3"]);
    assert_eq!(engine.coordinator.consecutive_failures(), 0);
}

// C-4
#[test]
fn savepoints_are_not_subsumed() {
    let mut engine = Engine::pipeline(three());
    engine.savepoint(1);
    engine.manual(2);
    assert_eq!(engine.complete(2), ["store 2", "complete 2", "request 2: completed 2"]);
    assert_eq!(
        engine.complete(1),
        ["store 1", "complete 1 without commit", "request 1: completed 1"]
    );
}

// C-4
#[test]
fn savepoints_do_not_subsume() {
    let mut engine = Engine::pipeline(three());
    engine.manual(1);
    engine.savepoint(2);
    engine.complete(2);
    assert_eq!(engine.complete(1), ["store 1", "complete 1", "request 1: completed 1"]);
}

// C-4
#[test]
fn a_checkpoint_subsumed_while_it_is_stored_is_discarded_when_storage_answers() {
    let mut engine = Engine::pipeline(three());
    engine.manual(1);
    engine.manual(2);
    engine.ack_all(1);
    engine.ack_all(2);
    assert_eq!(
        engine.stored(2)[..2],
        ["abort 1: checkpoint 2 completed first (latest none)", "request 1: aborted 1"]
    );
    assert_eq!(engine.stored(1), ["discard completed 1 (StoredTooLate)"]);
    assert_eq!(engine.files.iter().collect::<Vec<_>>(), ["2/src[0]", "2/sum[0]"]);

    engine.manual(3);
    engine.manual(4);
    engine.ack_all(3);
    engine.complete(4);
    assert_eq!(engine.store_failed(3, StoreEffect::DidNotHappen), ["discard 3: 3/src[0] 3/sum[0]"]);
}
