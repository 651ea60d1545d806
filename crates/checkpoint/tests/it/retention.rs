//! Which completed checkpoints are kept.

use millpond_checkpoint::retention::Retention;
use millpond_checkpoint::{CheckpointKind, CompletedCheckpoint, CoordinatorSettings, ErrorKind};

use crate::engine::{Engine, id, pipeline, settings};

fn completed(number: u64, kind: CheckpointKind) -> CompletedCheckpoint {
    CompletedCheckpoint {
        id: id(number),
        kind,
        triggered_wall_ms: 0,
        completed_wall_ms: 0,
        bytes: 0,
    }
}

fn periodic(number: u64) -> CompletedCheckpoint {
    completed(number, CheckpointKind::Periodic)
}

fn numbers(retention: &Retention) -> Vec<u64> {
    retention.iter().map(|it| it.id.get()).collect()
}

// C-12
#[test]
fn the_newest_n_are_kept_and_the_oldest_is_subsumed() {
    let mut engine = Engine::pipeline(CoordinatorSettings { retained_max: 2, ..settings() });
    engine.take_checkpoint();
    engine.take_checkpoint();
    assert_eq!(engine.retained(), [1, 2]);
    engine.manual(1);
    assert_eq!(
        engine.complete(3),
        ["store 3", "complete 3", "discard completed 1 (Subsumed)", "request 1: completed 3"]
    );
    assert_eq!(engine.retained(), [2, 3]);
    assert!(engine.files.iter().all(|file| !file.starts_with("1/")));
}

// C-12
#[test]
fn at_least_one_is_always_kept() {
    let settings = CoordinatorSettings { retained_max: 0, ..settings() };
    assert_eq!(settings.validate().unwrap_err().kind(), ErrorKind::InvalidArgument);
    let mut retention = Retention::new(0);
    assert!(retention.add(periodic(1)).is_empty());
    assert_eq!(retention.add(periodic(2)), [id(1)]);
    assert_eq!(retention.set_max(0), []);
    assert_eq!(numbers(&retention), [2]);
}

// C-12
#[test]
fn a_savepoint_may_be_the_last_and_neither_counts_nor_pushes_out() {
    let mut engine = Engine::pipeline(settings());
    engine.take_checkpoint();
    engine.savepoint(1);
    engine.complete(2);
    let retention = engine.coordinator.retention();
    assert_eq!(numbers(retention), [1]);
    assert_eq!(retention.latest_checkpoint().map(|it| it.id), Some(id(1)));
    assert_eq!(retention.latest().map(|it| it.id), Some(id(2)));
    engine.take_checkpoint();
    assert_eq!(engine.coordinator.retention().latest().map(|it| it.id), Some(id(3)));
    assert!(engine.stored.contains_key(&2), "the savepoint is the user's");
}

// C-12
#[test]
fn the_order_is_restored_after_a_restart_whatever_the_order_of_listing() {
    let found =
        vec![periodic(9), periodic(2), completed(5, CheckpointKind::Savepoint), periodic(4)];
    let two = CoordinatorSettings { retained_max: 2, ..settings() };
    let mut engine = Engine::restored(pipeline(), two, found, Some(9));
    engine.run_all();
    assert_eq!(engine.retained(), [2, 4, 9], "the surplus goes with the next success, not before");
    engine.manual(1);
    assert_eq!(engine.complete(10)[1..3], ["complete 10", "discard completed 2 (Subsumed)"]);
    assert_eq!(engine.retained(), [9, 10]);
}

// C-12
#[test]
fn two_checkpoints_of_one_number_are_an_error() {
    let error = Retention::restore(3, [periodic(4), periodic(4)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains('4'), "{error}");
}
