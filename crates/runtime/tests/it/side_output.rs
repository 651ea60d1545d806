//! The side output of a vertex: a stream of its own, in every checkpoint like the other one.

use std::sync::Arc;

use millpond_runtime::{
    Collector, StartFrom, SubtaskContext, Timestamp, WindowOperator, WindowReduce, WindowResult,
    WindowTime, Windows,
};

use crate::gated::{Committed, Gate, Gated, graph, run, storage};

#[test]
fn late_records_come_out_of_the_side_output_through_further_vertices_and_sinks() {
    let (windows, late, doubled) =
        (Committed::default(), Committed::default(), Committed::default());
    let gate = Gate::default();
    gate.open_to(u64::MAX);
    let items = Arc::new(vec![1_i64, 5, 12, 3, 14, 7, 30]);
    let mut graph = graph("late");
    let source = graph.source("times", 1, move |_| Ok(Gated::new(&items, &gate, |at| Some(*at))));
    let make = |_| {
        let time = WindowTime::event(|at: &i64| Timestamp::from_ms(*at));
        let state = WindowReduce::new(|a: i64, b: i64| a + b);
        Ok(WindowOperator::new("sums", Windows::tumbling(10)?, time, state))
    };
    let functions = (|at: &i64| Some(*at), |_: &i64| 0_u8, make);
    let (sums, too_late) = graph.keyed_with_side("sums", 2, &source, functions);
    let start = |said: &WindowResult<u8, i64>| Some((said.window.start().as_ms(), said.result));
    let make = |_: SubtaskContext| {
        Ok(|sum: (i64, i64), out: &mut dyn Collector<(i64, i64)>| out.emit(&sum))
    };
    let sums = graph.transform("plain", 1, &sums, (start, None, make));
    graph.sink(&sums, "windows", windows.clone());
    graph.sink(&too_late, "late", late.clone());
    let make = |_: SubtaskContext| Ok(|at: i64, out: &mut dyn Collector<i64>| out.emit(&(at * 2)));
    let twice = graph.transform("twice", 2, &too_late, (|at: &i64| Some(*at), None, make));
    graph.sink(&twice, "doubled", doubled.clone());
    let report = run(graph, &storage(), StartFrom::Beginning, |_| {});
    assert_eq!(report.late_records, 2);
    assert_eq!(windows.sorted(), [(0, 6), (10, 26), (30, 30)]);
    assert_eq!(late.sorted(), [3, 7]);
    assert_eq!(doubled.sorted(), [6, 14]);
}
