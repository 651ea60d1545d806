//! What people are shown.

use millpond_checkpoint::stats::{CheckpointStatus, SubtaskStats};
use millpond_checkpoint::{
    AbortReason, CoordinatorSettings, DeclineReason, Shutdown, SubtaskMetrics, SubtaskState,
};

use crate::engine::{Engine, id, pipeline, settings};

fn status(engine: &Engine, number: u64) -> CheckpointStatus {
    engine.coordinator.stats().checkpoint(id(number)).expect("kept").status.clone()
}

// C-16
#[test]
fn a_completed_checkpoint_shows_what_each_subtask_took_and_wrote() {
    let mut engine = Engine::pipeline(settings());
    engine.until(100);
    engine.manual(1);
    assert_eq!(status(&engine, 1), CheckpointStatus::InProgress);
    engine.now_ms = 130;
    let metrics = SubtaskMetrics { sync_ms: 1, async_ms: 20, align_ms: 3, bytes: 400 };
    engine.ack_measured(1, "src[0]", &["a"], metrics);
    engine.now_ms = 150;
    engine.ack_measured(1, "sum[0]", &["b"], SubtaskMetrics { bytes: 50, ..metrics });
    engine.now_ms = 175;
    engine.stored(1);
    let stats = engine.coordinator.stats().checkpoint(id(1)).expect("kept");
    assert_eq!(stats.status, CheckpointStatus::Completed);
    assert_eq!((stats.triggered_wall_ms, stats.duration_ms), (1_000_100, Some(75)));
    assert_eq!(stats.bytes(), 450);
    let parts: Vec<(String, SubtaskStats)> =
        stats.subtasks().map(|(name, part)| (name.to_string(), *part)).collect();
    let first = SubtaskStats { acknowledged_after_ms: Some(30), late: false, metrics };
    assert_eq!(parts[0], ("src[0]".to_owned(), first));
    assert_eq!(parts[1].1.acknowledged_after_ms, Some(50));
    let completed = engine.coordinator.retention().latest().expect("retained");
    assert_eq!((completed.bytes, completed.completed_wall_ms), (450, 1_000_175));
}

// C-16
#[test]
fn failed_and_aborted_checkpoints_end_in_the_right_state() {
    let mut engine = Engine::pipeline(CoordinatorSettings {
        tolerable_consecutive_failures: None,
        max_concurrent: 2,
        ..settings()
    });
    engine.manual(1);
    engine.until(1_000);
    assert!(matches!(status(&engine, 1), CheckpointStatus::Failed(AbortReason::TimedOut(_))));
    engine.manual(2);
    engine.manual(3);
    engine.complete(3);
    assert!(matches!(status(&engine, 2), CheckpointStatus::Aborted(AbortReason::Subsumed { .. })));
    engine.manual(4);
    engine.decline(4, "src[0]", DeclineReason::Failed("x".into()));
    assert!(matches!(status(&engine, 4), CheckpointStatus::Failed(AbortReason::Declined { .. })));
    engine.manual(5);
    engine.state("src[0]", SubtaskState::Failed);
    let aborted =
        CheckpointStatus::Aborted(AbortReason::SubtaskFailed(crate::engine::subtask("src[0]")));
    assert_eq!(status(&engine, 5), aborted);
    engine.shutdown(Shutdown::Failed);
    let totals = engine.coordinator.stats().totals();
    assert_eq!((totals.triggered, totals.completed), (5, 1));
    assert_eq!((totals.failed, totals.aborted), (2, 2));
}

// C-16
#[test]
fn a_late_acknowledgement_is_shown_with_the_checkpoint_it_came_too_late_for() {
    let mut engine = Engine::pipeline(CoordinatorSettings {
        tolerable_consecutive_failures: None,
        ..settings()
    });
    engine.manual(1);
    engine.until(1_000);
    engine.now_ms = 1_700;
    let metrics = SubtaskMetrics { bytes: 9, ..SubtaskMetrics::default() };
    engine.ack_measured(1, "sum[0]", &["f"], metrics);
    let stats = engine.coordinator.stats().checkpoint(id(1)).expect("kept");
    assert_eq!((stats.late_acknowledgements, stats.bytes()), (1, 0));
    let late = stats.subtasks().find(|(_, part)| part.late).expect("one came late");
    assert_eq!(
        (late.0.to_string().as_str(), late.1.acknowledged_after_ms),
        ("sum[0]", Some(1_700))
    );
    assert!(matches!(stats.status, CheckpointStatus::Failed(_)), "the status stays");
}

// C-16
#[test]
fn a_late_acknowledgement_from_before_a_restart_is_counted_but_shown_for_no_other_subtask() {
    let mut engine = Engine::pipeline(settings());
    engine.manual(1);
    engine.state("sum[0]", SubtaskState::Failed);
    let mut reversed = pipeline();
    reversed.reverse();
    engine.restart(2, reversed, None);
    engine.ack(1, "sum[0]");
    let stats = engine.coordinator.stats().checkpoint(id(1)).expect("kept");
    assert_eq!(stats.late_acknowledgements, 1);
    assert!(stats.subtasks().all(|(_, part)| !part.late));
}

// C-16
#[test]
fn restores_are_recorded() {
    let mut engine = Engine::pipeline(settings());
    assert_eq!(engine.coordinator.stats().latest_restore(), None);
    engine.take_checkpoint();
    engine.now_ms = 50;
    engine.restart(2, pipeline(), Some(1));
    let restore = engine.coordinator.stats().latest_restore().expect("recorded");
    assert_eq!((restore.checkpoint, restore.attempt.get(), restore.wall_ms), (id(1), 2, 1_000_050));
    let retained = engine.coordinator.retention().iter().cloned().collect();
    let engine = Engine::restored(pipeline(), settings(), retained, Some(1));
    assert_eq!(engine.coordinator.stats().totals().restored, 1);
}

#[test]
fn statistics_keep_the_newest_and_what_is_in_progress() {
    let mut engine =
        Engine::pipeline(CoordinatorSettings { history_max: 2, max_concurrent: 2, ..settings() });
    engine.savepoint(1);
    for _ in 0..5 {
        engine.take_checkpoint();
    }
    let kept: Vec<u64> = engine.coordinator.stats().checkpoints().map(|it| it.id.get()).collect();
    assert_eq!(kept, [1, 5, 6]);
    assert_eq!(status(&engine, 1), CheckpointStatus::InProgress);
}
