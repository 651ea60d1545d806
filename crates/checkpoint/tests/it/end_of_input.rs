//! Subtasks that finish, and the final checkpoint.

use millpond_checkpoint::{
    CoordinatorSettings, DeclineReason, Exchange, SubtaskPart, SubtaskState, VertexSpec,
};

use crate::engine::{Engine, pipeline, settings, vertex};

fn two_sources() -> Vec<VertexSpec> {
    vec![vertex("src", 2, &[]), vertex("sum", 1, &[("src", Exchange::AllToAll)])]
}

#[test]
fn a_final_checkpoint_is_taken_as_soon_as_all_sources_are_at_their_end() {
    let mut engine = Engine::running(two_sources(), settings());
    assert!(engine.state("src[0]", SubtaskState::AtEnd).is_empty());
    assert_eq!(engine.state("src[1]", SubtaskState::AtEnd), ["barriers 1 final -> src[0] src[1]"]);
    assert_eq!(engine.complete(1), ["store 1", "complete 1"]);
    assert!(engine.coordinator.final_checkpoint_completed());
    for who in ["src[0]", "src[1]", "sum[0]"] {
        assert!(engine.state(who, SubtaskState::Finished).is_empty());
    }
    assert!(engine.until(100_000).is_empty());
}

#[test]
fn the_final_checkpoint_ignores_the_minimum_pause_and_ends_the_period() {
    let paused = CoordinatorSettings { min_pause_ms: 5_000, interval_ms: Some(100), ..settings() };
    let mut engine = Engine::pipeline(paused);
    engine.until(100);
    engine.complete(1);
    assert_eq!(engine.state("src[0]", SubtaskState::AtEnd), ["barriers 2 final -> src[0]"]);
    engine.complete(2);
    assert!(engine.until(100_000).is_empty());
}

#[test]
fn the_final_checkpoint_goes_along_with_others_and_subsumes_them() {
    let mut engine = Engine::pipeline(CoordinatorSettings { max_concurrent: 2, ..settings() });
    engine.manual(1);
    engine.state("src[0]", SubtaskState::AtEnd);
    assert_eq!(
        engine.complete(2),
        [
            "store 2",
            "abort 1: checkpoint 2 completed first (latest none)",
            "request 1: aborted 1",
            "complete 2",
        ]
    );
}

#[test]
fn without_a_free_place_the_final_checkpoint_is_next_before_any_other_but_savepoints() {
    let mut engine = Engine::pipeline(CoordinatorSettings { interval_ms: Some(10), ..settings() });
    engine.until(10);
    engine.manual(1);
    engine.savepoint(2);
    assert!(engine.state("src[0]", SubtaskState::AtEnd).is_empty());
    assert_eq!(engine.complete(1).last().unwrap(), "barriers 2 savepoint -> src[0]");
    assert_eq!(engine.complete(2).last().unwrap(), "barriers 3 final -> src[0]");
    assert_eq!(engine.complete(3).last().unwrap(), "barriers 4 manual -> src[0]");
}

#[test]
fn no_later_checkpoint_can_subsume_the_final_one() {
    let mut engine = Engine::pipeline(CoordinatorSettings { max_concurrent: 3, ..settings() });
    engine.state("src[0]", SubtaskState::AtEnd);
    assert!(engine.manual(1).is_empty(), "waits until the final one is decided");
    assert_eq!(engine.savepoint(2), ["barriers 2 savepoint -> src[0]"]);
    assert_eq!(engine.complete(1), ["store 1", "complete 1", "barriers 3 manual -> src[0]"]);
}

#[test]
fn a_final_checkpoint_that_fails_is_tried_again_after_a_pause() {
    let patient = CoordinatorSettings {
        tolerable_consecutive_failures: Some(1),
        final_retry_pause_ms: 300,
        ..settings()
    };
    let mut engine = Engine::pipeline(patient);
    engine.state("src[0]", SubtaskState::AtEnd);
    engine.decline(1, "sum[0]", DeclineReason::Failed("x".into()));
    assert!(engine.until(299).is_empty());
    assert_eq!(engine.until(300), ["barriers 2 final -> src[0]"]);
    let lines = engine.decline(2, "sum[0]", DeclineReason::Failed("x".into()));
    assert_eq!(lines.last().unwrap(), "fail job after 2");
    assert!(engine.until(10_000).is_empty());
}

#[test]
fn a_restart_takes_back_the_end_of_input() {
    let mut engine = Engine::pipeline(settings());
    engine.state("src[0]", SubtaskState::AtEnd);
    engine.state("sum[0]", SubtaskState::Failed);
    engine.restart(2, pipeline(), None);
    assert!(engine.run_all().is_empty());
    assert_eq!(engine.state("src[0]", SubtaskState::AtEnd), ["barriers 2 final -> src[0]"]);
}

#[test]
fn the_final_checkpoint_can_be_switched_off() {
    let mut engine =
        Engine::pipeline(CoordinatorSettings { final_checkpoint: false, ..settings() });
    assert!(engine.state("src[0]", SubtaskState::AtEnd).is_empty());
    assert!(engine.until(100_000).is_empty());
}

#[test]
fn subtasks_that_have_finished_count_as_acknowledged_without_a_payload() {
    let mut engine = Engine::running(two_sources(), settings());
    engine.state("src[0]", SubtaskState::Finished);
    engine.manual(1);
    engine.ack(1, "sum[0]");
    assert_eq!(engine.ack(1, "src[1]"), ["store 1"]);
    let parts = &engine.storing[&1].parts;
    let finished: Vec<String> = parts
        .iter()
        .filter(|(_, part)| matches!(part, SubtaskPart::Finished))
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!(finished, ["src[0]"]);
    assert_eq!(parts.len(), 3);
}

#[test]
fn a_subtask_that_finishes_during_a_checkpoint_is_waited_for_no_longer() {
    let mut engine = Engine::running(two_sources(), settings());
    engine.manual(1);
    engine.ack(1, "sum[0]");
    engine.ack(1, "src[0]");
    assert!(engine.state("src[0]", SubtaskState::Finished).is_empty());
    let lines = engine.state("src[1]", SubtaskState::Finished);
    assert_eq!(lines, ["store 1"]);
    let with_payload = engine.storing[&1]
        .parts
        .iter()
        .filter(|(_, part)| matches!(part, SubtaskPart::Acknowledged { .. }));
    assert_eq!(with_payload.count(), 2, "an acknowledgement before the end keeps its payload");
}

#[test]
fn an_acknowledgement_that_comes_behind_the_end_of_its_subtask_is_taken() {
    let mut engine = Engine::running(two_sources(), settings());
    engine.manual(1);
    engine.state("src[0]", SubtaskState::Finished);
    assert!(engine.ack(1, "src[0]").is_empty());
    engine.ack(1, "src[1]");
    assert_eq!(engine.ack(1, "sum[0]"), ["store 1"]);
    assert_eq!(engine.storing.remove(&1).unwrap().into_payloads().len(), 3);
}

#[test]
fn a_job_that_finished_as_a_whole_still_gets_its_final_checkpoint() {
    let mut engine = Engine::pipeline(settings());
    engine.state("sum[0]", SubtaskState::Finished);
    assert_eq!(engine.state("src[0]", SubtaskState::Finished), ["barriers 1 final -> ", "store 1"]);
    assert_eq!(engine.stored(1), ["complete 1"]);
}
