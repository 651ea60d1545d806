//! How the coordinator ends.

use millpond_checkpoint::{CoordinatorSettings, Shutdown, SubtaskState};

use crate::engine::{Engine, pipeline, settings};

fn with_two_retained(settings: CoordinatorSettings) -> Engine {
    let mut engine = Engine::pipeline(CoordinatorSettings { retained_max: 2, ..settings });
    engine.take_checkpoint();
    engine.take_checkpoint();
    engine
}

// C-13
#[test]
fn a_final_state_discards_or_retains_by_setting() {
    let discarding = CoordinatorSettings {
        retain_on_cancel: false,
        retain_on_failure: false,
        retain_on_finish: false,
        ..settings()
    };
    for how in [Shutdown::Finished, Shutdown::Cancelled, Shutdown::Failed] {
        let mut engine = with_two_retained(discarding.clone());
        assert_eq!(
            engine.shutdown(how),
            ["discard completed 1 (JobEnded)", "discard completed 2 (JobEnded)"]
        );
        assert!(engine.files.is_empty() && engine.retained().is_empty());

        let mut engine = with_two_retained(settings());
        assert!(engine.shutdown(how).is_empty());
        assert_eq!((engine.retained(), engine.files.len()), (vec![1, 2], 4));
    }
}

// C-13
#[test]
fn a_suspension_discards_no_completed_checkpoint() {
    let discarding = CoordinatorSettings { retain_on_cancel: false, ..settings() };
    let mut engine = with_two_retained(discarding);
    assert!(engine.shutdown(Shutdown::Suspended).is_empty());
    assert_eq!(engine.retained(), [1, 2]);
}

// C-13
#[test]
fn savepoints_outlive_every_end() {
    let discarding = CoordinatorSettings { retain_on_cancel: false, ..settings() };
    let mut engine = Engine::pipeline(discarding);
    engine.savepoint(1);
    engine.complete(1);
    assert!(engine.shutdown(Shutdown::Cancelled).is_empty());
    assert!(engine.stored.contains_key(&1));
}

// C-13
#[test]
fn the_end_aborts_what_is_in_flight_and_refuses_what_waits() {
    let mut engine = Engine::pipeline(settings());
    engine.manual(1);
    engine.manual(2);
    engine.ack(1, "src[0]");
    assert_eq!(
        engine.shutdown(Shutdown::Cancelled),
        [
            "abort 1: the coordinator ended (Cancelled) (latest none)",
            "discard 1: 1/src[0]",
            "request 1: aborted 1",
            "request 2: refused Stopped",
        ]
    );
}

// C-13
#[test]
fn nothing_can_be_added_after_the_end() {
    let mut engine =
        Engine::pipeline(CoordinatorSettings { retain_on_cancel: false, ..settings() });
    engine.manual(1);
    engine.ack_all(1);
    engine.shutdown(Shutdown::Cancelled);
    assert_eq!(engine.stored(1), ["discard completed 1 (JobEnded)"]);
    assert!(engine.retained().is_empty() && engine.files.is_empty());
    assert_eq!(engine.ack(7, "src[0]"), ["discard 7: 7/src[0]"]);
    assert!(engine.state("src[0]", SubtaskState::AtEnd).is_empty());
    assert!(engine.restart(2, pipeline(), None).is_empty());
    assert!(engine.shutdown(Shutdown::Finished).is_empty());
    assert!(engine.until(100_000).is_empty());
}
