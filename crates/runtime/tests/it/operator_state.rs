//! State without keys, of sources and operators, through a restart at another parallelism.

use std::sync::{Arc, Mutex};

use millpond_runtime::{
    JobOutcome, KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Result, Source,
    SourceStatus, StartFrom, SubtaskContext, Timestamp,
};
use millpond_state::{OperatorList, OperatorState};

use crate::gated::{Gate, Gated, graph, run, storage};

type Seen = Arc<Mutex<Vec<(u32, Vec<u32>)>>>;

/// A gated source that tells all subtasks, in a union list, which subtasks there were.
struct Counting {
    inner: Gated<u64>,
    index: u32,
    subtasks: Option<OperatorList<u32>>,
    seen: Seen,
}

impl Source for Counting {
    type Record = u64;
    type Position = u64;

    fn open(&mut self, state: &mut OperatorState) -> Result<()> {
        let subtasks = state.union_list("subtasks")?;
        self.seen.lock().unwrap().push((self.index, subtasks.get(state)?));
        self.subtasks = Some(subtasks);
        Ok(())
    }

    fn restore(&mut self, positions: Vec<u64>) -> Result<()> {
        self.inner.restore(positions)
    }

    fn poll(&mut self, out: &mut Vec<u64>, records_max: usize) -> Result<SourceStatus> {
        self.inner.poll(out, records_max)
    }

    fn watermark(&self) -> Option<Timestamp> {
        None
    }

    fn positions(&mut self) -> Result<Vec<u64>> {
        self.inner.positions()
    }

    fn snapshot(&mut self, state: &mut OperatorState) -> Result<()> {
        Ok(self.subtasks.as_ref().unwrap().replace(state, [&self.index])?)
    }
}

/// Keeps two items of its own in a split list.
struct Hoarder {
    index: u32,
    seen: Seen,
}

impl KeyedOperator for Hoarder {
    type In = u64;
    type Key = u64;
    type Out = u64;
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        let state = cx.operator_state();
        let hoard = state.split_list::<u32>("hoard")?;
        let restored = hoard.get(state)?;
        self.seen.lock().unwrap().push((self.index, restored.clone()));
        if restored.is_empty() {
            hoard.add_all(state, &[self.index * 10, self.index * 10 + 1])?;
        }
        Ok(())
    }

    fn process(
        &mut self,
        _: &KeyedBatch<'_, u64>,
        _: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        Ok(())
    }
}

#[test]
fn union_lists_go_to_all_subtasks_and_split_lists_are_dealt_out() {
    let (storage, gate) = (storage(), Gate::default());
    let job = |sources: u32, hoarders: u32| {
        let (from_sources, from_hoarders) = (Seen::default(), Seen::default());
        let (gate, items) = (gate.clone(), Arc::new(vec![1, 2, 3]));
        let mut graph = graph("lists");
        let seen = Arc::clone(&from_sources);
        let numbers = graph.source("numbers", sources, move |cx: SubtaskContext| {
            let (inner, seen) = (Gated::new(&items, &gate, |_| None), Arc::clone(&seen));
            Ok(Counting { inner, index: cx.index, subtasks: None, seen })
        });
        let seen = Arc::clone(&from_hoarders);
        let make =
            move |cx: SubtaskContext| Ok(Hoarder { index: cx.index, seen: Arc::clone(&seen) });
        graph.keyed("hoard", hoarders, &numbers, (|n: &u64| Some(*n), |n: &u64| *n, make));
        (graph, from_sources, from_hoarders)
    };
    let (graph, ..) = job(3, 3);
    let report = run(graph, &storage, StartFrom::Beginning, |handle| handle.stop());
    assert_eq!(report.outcome, JobOutcome::Stopped);
    let (graph, from_sources, from_hoarders) = job(2, 4);
    gate.open_to(3);
    run(graph, &storage, StartFrom::Latest, |_| {});
    let mut from_sources = from_sources.lock().unwrap().clone();
    from_sources.sort_unstable();
    assert_eq!(from_sources, [(0, vec![0, 1, 2]), (1, vec![0, 1, 2])]);
    let mut from_hoarders = from_hoarders.lock().unwrap().clone();
    from_hoarders.sort_unstable();
    let dealt = [(0, vec![0, 20]), (1, vec![1, 21]), (2, vec![10]), (3, vec![11])];
    assert_eq!(from_hoarders, dealt);
}
