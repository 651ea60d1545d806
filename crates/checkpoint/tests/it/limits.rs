//! How many at once, how soon after one another, and who goes first.

use millpond_checkpoint::{CoordinatorSettings, Event};

use crate::engine::{Engine, settings};

fn at_most(max_concurrent: u32) -> CoordinatorSettings {
    CoordinatorSettings { max_concurrent, interval_ms: Some(10), retained_max: 10, ..settings() }
}

// C-5
#[test]
fn no_more_than_the_limit_are_in_flight_and_the_next_starts_when_one_ends() {
    for limit in [1, 2, 5] {
        let mut engine = Engine::pipeline(at_most(limit));
        let barriers = engine.until(200);
        assert_eq!(barriers.len(), limit as usize, "{barriers:?}");
        assert_eq!(engine.coordinator.in_flight().count(), limit as usize);
        let lines = engine.complete(1);
        let next = format!("barriers {} periodic -> src[0]", limit + 1);
        assert_eq!(lines.last(), Some(&next));
        assert_eq!(engine.coordinator.in_flight().count(), limit as usize);
    }
}

// C-5
#[test]
fn several_in_flight_complete_independently() {
    let mut engine = Engine::pipeline(at_most(2));
    engine.until(20);
    engine.ack(1, "src[0]");
    engine.ack(2, "src[0]");
    assert_eq!(engine.ack(1, "sum[0]"), ["store 1"]);
    assert_eq!(engine.ack(2, "sum[0]"), ["store 2"]);
    assert_eq!(engine.stored(1), ["complete 1"]);
    assert_eq!(engine.stored(2), ["complete 2"]);
}

// C-7
#[test]
fn the_minimum_pause_counts_from_the_end_of_the_last_checkpoint() {
    let paused = CoordinatorSettings { min_pause_ms: 70, ..at_most(1) };
    let mut engine = Engine::pipeline(paused);
    assert_eq!(engine.until(10), ["barriers 1 periodic -> src[0]"]);
    engine.until(200);
    engine.complete(1);
    assert!(engine.until(269).is_empty());
    assert_eq!(engine.until(270), ["barriers 2 periodic -> src[0]"]);
}

// C-7
#[test]
fn the_minimum_pause_counts_from_an_abort_as_well() {
    let paused = CoordinatorSettings {
        min_pause_ms: 70,
        tolerable_consecutive_failures: None,
        ..at_most(1)
    };
    let mut engine = Engine::pipeline(paused);
    engine.until(10);
    engine.until(1_009);
    assert_eq!(engine.until(1_010).len(), 1, "timed out");
    assert!(engine.until(1_079).is_empty());
    assert_eq!(engine.until(1_080), ["barriers 2 periodic -> src[0]"]);
}

// C-7
#[test]
fn a_minimum_pause_implies_one_checkpoint_at_a_time() {
    let mut engine = Engine::pipeline(CoordinatorSettings { min_pause_ms: 1, ..at_most(5) });
    assert_eq!(engine.until(500), ["barriers 1 periodic -> src[0]"]);
}

// C-7
#[test]
fn requests_do_not_wait_for_the_minimum_pause() {
    let mut engine = Engine::pipeline(CoordinatorSettings { min_pause_ms: 1_000, ..at_most(1) });
    engine.until(10);
    engine.complete(1);
    assert_eq!(engine.manual(1), ["barriers 2 manual -> src[0]"]);
    engine.complete(2);
    assert_eq!(engine.savepoint(2), ["barriers 3 savepoint -> src[0]"]);
}

// C-7
#[test]
fn requests_wait_for_a_free_place_and_savepoints_go_first() {
    let mut engine = Engine::pipeline(CoordinatorSettings { interval_ms: Some(10), ..settings() });
    engine.until(10);
    assert!(engine.manual(1).is_empty());
    assert!(engine.manual(2).is_empty());
    assert!(engine.savepoint(3).is_empty());
    assert!(engine.savepoint(4).is_empty());
    let steps: Vec<Vec<String>> = (1..=5)
        .map(|checkpoint| {
            let mut lines = engine.complete(checkpoint);
            lines.retain(|line| line.starts_with("request") || line.starts_with("barriers"));
            lines
        })
        .collect();
    assert_eq!(
        steps,
        [
            vec!["barriers 2 savepoint -> src[0]"],
            vec!["request 3: completed 2", "barriers 3 savepoint -> src[0]"],
            vec!["request 4: completed 3", "barriers 4 manual -> src[0]"],
            vec!["request 1: completed 4", "barriers 5 manual -> src[0]"],
            vec!["request 2: completed 5"],
        ]
    );
}

// C-7
#[test]
fn the_queue_is_bounded_and_a_savepoint_takes_the_place_of_the_newest_checkpoint_request() {
    let mut engine = Engine::pipeline(CoordinatorSettings { queued_requests_max: 2, ..settings() });
    engine.manual(1);
    assert!(engine.manual(2).is_empty());
    assert!(engine.manual(3).is_empty());
    assert_eq!(engine.manual(4), ["request 4: refused QueueFull"]);
    assert_eq!(engine.savepoint(5), ["request 3: refused QueueFull"]);
    assert_eq!(engine.savepoint(6), ["request 2: refused QueueFull"]);
    assert_eq!(engine.savepoint(7), ["request 7: refused QueueFull"]);
    assert_eq!(engine.coordinator.queued_requests(), 2);
}

#[test]
fn a_storage_that_never_answers_does_not_pile_up_checkpoints_but_counts_as_failing() {
    let tolerant = CoordinatorSettings {
        tolerable_consecutive_failures: Some(2),
        interval_ms: Some(10_000),
        ..settings()
    };
    let mut engine = Engine::pipeline(tolerant);
    engine.until(10_000);
    assert_eq!(engine.ack_all(1), ["store 1"]);
    assert_eq!(engine.until(11_000), ["abort 1: timed out while being stored (latest none)"]);
    let stalled = "checkpoint storage has not answered for earlier checkpoints (latest none)";
    assert_eq!(engine.until(20_000), [format!("abort 2: {stalled}")]);
    assert_eq!(engine.manual(1), ["request 1: refused StorageStalled"]);
    assert_eq!(
        engine.until(30_000),
        [format!("abort 3: {stalled}"), "fail job after 3".to_owned()]
    );
}

#[test]
fn ticks_at_any_time_do_no_harm() {
    let mut engine = Engine::pipeline(at_most(1));
    let mut lines = Vec::new();
    for now_ms in 0..=10 {
        engine.now_ms = now_ms;
        lines.extend(engine.handle(Event::Tick));
        lines.extend(engine.handle(Event::Tick));
    }
    assert_eq!(lines, ["barriers 1 periodic -> src[0]"]);
}

#[test]
fn time_that_goes_back_counts_as_standing_still() {
    let mut engine = Engine::pipeline(at_most(1));
    engine.until(10);
    engine.now_ms = 0;
    engine.manual(1);
    engine.complete(1);
    engine.now_ms = 1_009;
    assert!(engine.handle(Event::Tick).is_empty(), "checkpoint 2 was triggered at 10, not at 0");
    engine.now_ms = 1_010;
    assert_eq!(
        engine.handle(Event::Tick)[0],
        "abort 2: timed out before every subtask acknowledged (latest 1)"
    );
}
