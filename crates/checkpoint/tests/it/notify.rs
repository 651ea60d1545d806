//! What listeners hear.

use millpond_checkpoint::{CoordinatorSettings, DeclineReason};

use crate::engine::{Engine, settings};

fn heard(lines: &[String]) -> Vec<&str> {
    let notices = lines.iter().filter(|it| it.starts_with("complete") || it.starts_with("abort"));
    notices.map(String::as_str).collect()
}

// C-15
#[test]
fn an_abort_tells_the_newest_completed_checkpoint_and_no_savepoint() {
    let mut engine = Engine::pipeline(settings());
    engine.take_checkpoint();
    engine.savepoint(1);
    engine.complete(2);
    engine.manual(3);
    let lines = engine.decline(3, "sum[0]", DeclineReason::NotReady);
    assert_eq!(lines[0], "abort 3: sum[0] was not ready (latest 1)");
}

// C-15
#[test]
fn each_checkpoint_is_told_complete_or_aborted_once_and_in_order() {
    let mut engine = Engine::pipeline(CoordinatorSettings { max_concurrent: 4, ..settings() });
    let mut lines = Vec::new();
    for request in 1..=4 {
        lines.extend(engine.manual(request));
    }
    lines.extend(engine.ack_all(2));
    lines.extend(engine.ack_all(3));
    lines.extend(engine.stored(3));
    lines.extend(engine.stored(2));
    lines.extend(engine.stored(2));
    lines.extend(engine.decline(1, "src[0]", DeclineReason::NotReady));
    lines.extend(engine.complete(4));
    lines.extend(engine.until(10_000));
    assert_eq!(
        heard(&lines),
        [
            "abort 1: checkpoint 3 completed first (latest none)",
            "abort 2: checkpoint 3 completed first (latest none)",
            "complete 3",
            "complete 4",
        ]
    );
}

// C-15
#[test]
fn listeners_commit_on_checkpoints_but_not_on_savepoints() {
    let mut engine = Engine::pipeline(settings());
    engine.savepoint(1);
    assert_eq!(heard(&engine.complete(1)), ["complete 1 without commit"]);
    engine.manual(2);
    assert_eq!(heard(&engine.complete(2)), ["complete 2"]);
}
