//! When a checkpoint is triggered and when it is not.

use millpond_checkpoint::{CheckpointMode, CoordinatorSettings, Event, Shutdown, SubtaskState};

use crate::engine::{Engine, id, pipeline, settings};

fn every(interval_ms: u64) -> CoordinatorSettings {
    CoordinatorSettings { interval_ms: Some(interval_ms), ..settings() }
}

// C-1
#[test]
fn no_checkpoint_is_triggered_before_every_subtask_runs() {
    let mut engine = Engine::starting(pipeline(), every(100));
    engine.state("src[0]", SubtaskState::Running);
    assert!(engine.until(1_000).is_empty());
    assert_eq!(
        engine.manual(1),
        ["request 1: refused NotRunning { subtask: SubtaskId { vertex: \"sum\", index: \
          SubtaskIndex(0) }, state: Starting }"]
    );
    engine.state("sum[0]", SubtaskState::Running);
    assert!(engine.until(1_099).is_empty());
    assert_eq!(engine.until(1_100), ["barriers 1 periodic -> src[0]"]);
}

// C-1
#[test]
fn no_checkpoint_is_triggered_while_a_subtask_has_failed() {
    let mut engine = Engine::pipeline(every(100));
    engine.state("sum[0]", SubtaskState::Failed);
    assert!(engine.until(1_000).is_empty());
    engine.state("sum[0]", SubtaskState::Running);
    assert_eq!(engine.until(1_100), ["barriers 1 periodic -> src[0]"]);
}

// C-1
#[test]
fn a_finished_subtask_prevents_checkpoints_unless_that_is_allowed() {
    let strict = CoordinatorSettings {
        allow_finished_subtasks: false,
        final_checkpoint: false,
        ..every(100)
    };
    let mut engine = Engine::pipeline(strict.clone());
    engine.state("src[0]", SubtaskState::Finished);
    assert!(engine.until(1_000).is_empty());
    assert_eq!(engine.manual(1).len(), 1);
    assert_eq!(engine.coordinator.stats().totals().refused, 1);

    let lenient = CoordinatorSettings { allow_finished_subtasks: true, ..strict };
    let mut engine = Engine::pipeline(lenient);
    engine.state("src[0]", SubtaskState::Finished);
    assert_eq!(engine.until(100), ["barriers 1 periodic -> sum[0]"]);
    assert_eq!(engine.ack(1, "sum[0]"), ["store 1"]);
}

// C-1
#[test]
fn a_job_whose_subtasks_have_all_finished_takes_no_more_checkpoints() {
    let mut engine =
        Engine::pipeline(CoordinatorSettings { final_checkpoint: false, ..every(100) });
    engine.state("src[0]", SubtaskState::Finished);
    engine.state("sum[0]", SubtaskState::Finished);
    assert!(engine.until(1_000).is_empty());
    assert_eq!(engine.savepoint(1), ["request 1: refused AllFinished"]);
}

// C-1
#[test]
fn a_subtask_that_finishes_during_a_checkpoint_aborts_it_if_finished_ones_are_not_allowed() {
    let mut engine =
        Engine::pipeline(CoordinatorSettings { allow_finished_subtasks: false, ..settings() });
    engine.manual(1);
    engine.ack(1, "sum[0]");
    assert_eq!(
        engine.state("sum[0]", SubtaskState::Finished),
        [""; 0],
        "it had acknowledged before it finished"
    );
    assert_eq!(
        engine.state("src[0]", SubtaskState::Finished),
        [
            "abort 1: src[0] was not ready (latest none)",
            "discard 1: 1/sum[0]",
            "request 1: aborted 1",
            "barriers 2 final -> ",
            "store 2",
        ]
    );
}

// C-1
#[test]
fn nothing_is_triggered_once_the_coordinator_has_stopped() {
    let mut engine = Engine::pipeline(every(100));
    engine.shutdown(Shutdown::Suspended);
    assert!(engine.until(10_000).is_empty());
    assert_eq!(engine.manual(1), ["request 1: refused Stopped"]);
    assert_eq!(engine.coordinator.next_wake(), None);
}

#[test]
fn periodic_checkpoints_come_at_the_interval_and_do_not_make_up_for_missed_ones() {
    let mut engine = Engine::pipeline(every(100));
    assert_eq!(engine.until(100), ["barriers 1 periodic -> src[0]"]);
    engine.until(110);
    engine.complete(1);
    assert_eq!(engine.until(200), ["barriers 2 periodic -> src[0]"]);
    engine.until(555);
    assert_eq!(
        engine.complete(2),
        [
            "store 2",
            "complete 2",
            "discard completed 1 (Subsumed)",
            "barriers 3 periodic -> src[0]"
        ]
    );
    engine.complete(3);
    assert!(engine.until(654).is_empty());
    assert_eq!(engine.until(655), ["barriers 4 periodic -> src[0]"]);
}

#[test]
fn barriers_carry_the_mode_of_the_settings() {
    let mode = CheckpointMode::AtLeastOnce;
    let mut engine = Engine::pipeline(CoordinatorSettings { mode, ..settings() });
    assert_eq!(engine.manual(1), ["barriers 1 manual at-least-once -> src[0]"]);
}

// C-9
#[test]
fn a_trigger_that_fails_in_storage_or_id_counter_fails_only_itself_and_the_period_goes_on() {
    let tolerant = CoordinatorSettings { tolerable_consecutive_failures: Some(1), ..every(100) };
    let mut engine = Engine::pipeline(tolerant);
    engine.until(100);
    let reason = "no space".to_owned();
    let failed = Event::TriggerFailed { checkpoint: id(1), reason };
    assert_eq!(engine.handle(failed), ["abort 1: could not be triggered: no space (latest none)"]);
    assert_eq!(engine.coordinator.consecutive_failures(), 1);
    assert_eq!(engine.until(200), ["barriers 2 periodic -> src[0]"]);
    engine.complete(2);
    assert_eq!(engine.coordinator.consecutive_failures(), 0);
}

// C-9
#[test]
fn a_failed_trigger_of_a_request_is_answered_to_whoever_asked() {
    let mut engine = Engine::pipeline(settings());
    engine.savepoint(7);
    let failed = Event::TriggerFailed { checkpoint: id(1), reason: "denied".into() };
    assert_eq!(
        engine.handle(failed),
        ["abort 1: could not be triggered: denied (latest none)", "request 7: aborted 1"]
    );
}

#[test]
fn numbers_strictly_increase_also_over_failures_and_restarts() {
    let mut engine = Engine::pipeline(settings());
    engine.manual(1);
    engine.state("sum[0]", SubtaskState::Failed);
    engine.restart(2, pipeline(), None);
    engine.run_all();
    assert_eq!(engine.manual(2), ["barriers 2 manual -> src[0]"]);
    engine.complete(2);
    engine.restart(3, pipeline(), Some(40));
    engine.run_all();
    assert_eq!(engine.manual(3), ["barriers 41 manual -> src[0]"]);
}
