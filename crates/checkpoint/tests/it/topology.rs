//! Where barriers enter a job, and which jobs are refused.

use millpond_checkpoint::{ErrorKind, Exchange, SubtaskState, Topology, VertexSpec};

use crate::engine::{Engine, settings, vertex};

fn barriers(engine: &mut Engine) -> String {
    engine.manual(1).remove(0)
}

#[test]
fn barriers_enter_at_the_sources_that_have_not_finished() {
    let job = vec![
        vertex("a", 2, &[]),
        vertex("b", 1, &[]),
        vertex("c", 1, &[("a", Exchange::AllToAll), ("b", Exchange::AllToAll)]),
    ];
    let mut engine = Engine::running(job, settings());
    engine.state("a[0]", SubtaskState::Finished);
    engine.state("b[0]", SubtaskState::AtEnd);
    assert_eq!(barriers(&mut engine), "barriers 1 manual -> a[1] b[0]");
}

#[test]
fn barriers_enter_behind_a_finished_source_only_where_no_other_input_brings_them() {
    let job = || {
        vec![
            vertex("src", 2, &[]),
            vertex("map", 2, &[("src", Exchange::Forward)]),
            vertex("sum", 2, &[("map", Exchange::AllToAll)]),
        ]
    };
    let mut engine = Engine::running(job(), settings());
    engine.state("src[1]", SubtaskState::Finished);
    assert_eq!(barriers(&mut engine), "barriers 1 manual -> src[0] map[1]");

    let mut engine = Engine::running(job(), settings());
    for who in ["src[0]", "src[1]", "map[0]"] {
        engine.state(who, SubtaskState::Finished);
    }
    engine.complete(1);
    assert_eq!(barriers(&mut engine), "barriers 2 manual -> map[1]");
}

#[test]
fn a_job_graph_that_cannot_be_is_refused() {
    let refused: Vec<(&str, Vec<VertexSpec>)> = vec![
        ("source", vec![]),
        ("source", vec![vertex("a", 1, &[("a", Exchange::AllToAll)])]),
        ("parallelism 0", vec![vertex("a", 0, &[])]),
        ("two vertices", vec![vertex("a", 1, &[]), vertex("a", 1, &[])]),
        ("does not exist", vec![vertex("a", 1, &[]), vertex("b", 1, &[("x", Exchange::AllToAll)])]),
        ("forward", vec![vertex("a", 2, &[]), vertex("b", 1, &[("a", Exchange::Forward)])]),
        ("subtasks", vec![vertex("a", u32::MAX, &[])]),
    ];
    for (word, job) in refused {
        let error = Topology::new(job).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(word), "{word}: {error}");
    }
}

#[test]
fn news_of_an_unknown_subtask_is_counted_and_ignored() {
    let mut engine = Engine::pipeline(settings());
    assert!(engine.state("sum[1]", SubtaskState::Failed).is_empty());
    assert_eq!(engine.coordinator.stats().totals().unexpected, 1);
    assert_eq!(barriers(&mut engine), "barriers 1 manual -> src[0]");
}
