//! What happens to files when a checkpoint cannot be stored or is aborted.

use millpond_checkpoint::{
    CoordinatorSettings, DeclineReason, Shutdown, StoreEffect, SubtaskState,
};

use crate::engine::{Engine, pipeline, settings};

fn tolerant() -> CoordinatorSettings {
    CoordinatorSettings { tolerable_consecutive_failures: None, ..settings() }
}

// C-10
#[test]
fn a_checkpoint_that_cannot_be_stored_is_aborted_counted_and_its_files_go_but_older_ones_stay() {
    let mut engine = Engine::pipeline(tolerant());
    engine.take_checkpoint();
    engine.manual(2);
    engine.ack_all(2);
    assert_eq!(
        engine.store_failed(2, StoreEffect::DidNotHappen),
        [
            "abort 2: could not be stored: disk full (latest 1)",
            "discard 2: 2/src[0] 2/sum[0]",
            "request 2: aborted 2",
        ]
    );
    assert_eq!(engine.coordinator.consecutive_failures(), 1);
    assert_eq!(engine.retained(), [1]);
    assert_eq!(engine.files.iter().collect::<Vec<_>>(), ["1/src[0]", "1/sum[0]"]);
}

// C-10
#[test]
fn a_checkpoint_that_may_exist_stays_with_its_files_until_a_later_one_is_complete() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.ack_all(1);
    let lines = engine.store_failed(1, StoreEffect::MayHaveHappened);
    assert_eq!(lines[1], "leave 1: 1/src[0] 1/sum[0] (InDoubt)");
    assert_eq!(engine.files.len(), 2);
    engine.manual(2);
    let lines = engine.complete(2);
    assert!(lines.contains(&"discard completed 1 (StoredTooLate)".to_owned()), "{lines:?}");
}

// C-10
#[test]
fn a_restart_from_a_checkpoint_that_may_exist_makes_it_a_retained_one() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.ack_all(1);
    engine.store_failed(1, StoreEffect::MayHaveHappened);
    engine.restart(2, pipeline(), Some(1));
    assert_eq!(engine.retained(), [1]);
    engine.run_all();
    engine.manual(2);
    let lines = engine.complete(2);
    assert!(!lines.contains(&"discard completed 1 (StoredTooLate)".to_owned()), "{lines:?}");
}

// C-10
#[test]
fn a_failed_store_of_something_never_asked_for_deletes_nothing() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.ack_all(1);
    let stranger = engine.storing.remove(&1).expect("being stored");
    let mut other = Engine::pipeline(tolerant());
    let lines = other.handle(millpond_checkpoint::Event::StoreFailed {
        checkpoint: stranger,
        effect: StoreEffect::DidNotHappen,
        reason: "x".into(),
    });
    assert_eq!(lines, ["leave 1: 1/src[0] 1/sum[0] (Unexpected)"]);
}

// C-11
#[test]
fn an_abort_hands_out_whole_payloads_so_that_shared_files_can_be_spared() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.ack_with(1, "src[0]", &["a"]);
    engine.ack_with(1, "sum[0]", &["shared.sst", "own-1"]);
    engine.stored(1);
    engine.manual(2);
    engine.ack_with(2, "sum[0]", &["shared.sst", "own-2"]);
    assert_eq!(
        engine.decline(2, "src[0]", DeclineReason::NotReady)[1],
        "discard 2: shared.sst own-2"
    );
    assert_eq!(engine.files.iter().collect::<Vec<_>>(), ["a", "own-1", "shared.sst"]);
}

// C-11
#[test]
fn a_subsumed_checkpoint_is_discarded_after_the_one_that_shares_its_files_is_retained() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.ack_with(1, "src[0]", &["a"]);
    engine.ack_with(1, "sum[0]", &["shared.sst"]);
    engine.stored(1);
    engine.manual(2);
    engine.ack_with(2, "src[0]", &["b"]);
    engine.ack_with(2, "sum[0]", &["shared.sst"]);
    engine.stored(2);
    assert_eq!(engine.files.iter().collect::<Vec<_>>(), ["b", "shared.sst"]);
}

#[test]
fn a_checkpoint_stored_too_late_is_kept_if_the_job_restarts_from_it() {
    let mut engine = Engine::pipeline(CoordinatorSettings { retained_max: 2, ..tolerant() });
    engine.take_checkpoint();
    engine.manual(2);
    engine.ack_all(2);
    engine.state("src[0]", SubtaskState::Failed);
    // Restore planning saw it in storage before the answer came.
    assert!(engine.restart(2, pipeline(), Some(2)).is_empty());
    assert_eq!(engine.retained(), [1, 2]);
    assert!(engine.stored(2).is_empty());
    assert_eq!(engine.files.len(), 4);
}

#[test]
fn a_job_restarted_from_a_checkpoint_whose_store_reports_failure_keeps_its_files() {
    let mut engine = Engine::pipeline(tolerant());
    engine.manual(1);
    engine.ack_all(1);
    engine.state("src[0]", SubtaskState::Failed);
    engine.restart(2, pipeline(), Some(1));
    assert_eq!(
        engine.store_failed(1, StoreEffect::MayHaveHappened),
        ["leave 1: 1/src[0] 1/sum[0] (Unexpected)"]
    );
}

#[test]
fn a_late_store_after_a_shutdown_that_retains_is_left_to_whoever_takes_over() {
    for (effect, expected) in [
        (None, Vec::new()),
        (Some(StoreEffect::MayHaveHappened), vec!["leave 1: 1/src[0] 1/sum[0] (InDoubt)"]),
        (Some(StoreEffect::DidNotHappen), vec!["discard 1: 1/src[0] 1/sum[0]"]),
    ] {
        let mut engine = Engine::pipeline(tolerant());
        engine.manual(1);
        engine.ack_all(1);
        engine.shutdown(Shutdown::Suspended);
        let lines = match effect {
            None => engine.stored(1),
            Some(effect) => engine.store_failed(1, effect),
        };
        assert_eq!(lines, expected, "{effect:?}");
    }
}
