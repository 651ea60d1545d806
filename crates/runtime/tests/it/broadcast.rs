//! A stream of rules joined to a keyed stream: every subtask knows every rule, before and after a
//! restart at another parallelism.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_runtime::{
    BroadcastOperator, JobOutcome, KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Result,
    StartFrom,
};
use millpond_state::BroadcastState;

use crate::gated::{Committed, Gate, Gated, graph, run, storage};

/// Name of a rule, and its factor; `None` withdraws it.
type Rule = (String, Option<u64>);

/// Emits each number with the sum of the factors in force.
struct Scale {
    rules: Option<BroadcastState<String, u64>>,
    /// Hears of each rule that a subtask has taken.
    taken: Sender<()>,
}

impl KeyedOperator for Scale {
    type In = u64;
    type Key = u64;
    type Out = (u64, u64);
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.rules = Some(cx.operator_state().broadcast("rules")?);
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, u64>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let mut sum = 0;
        self.rules.as_ref().unwrap().for_each(cx.operator_state(), |_, factor| sum += factor)?;
        batch.records().try_for_each(|number| cx.emit(&(*number, sum)))
    }
}

impl BroadcastOperator for Scale {
    type Broadcast = Rule;

    fn on_broadcast(&mut self, rules: &[Rule], cx: &mut OperatorContext<'_, Self>) -> Result<()> {
        let state = self.rules.as_ref().unwrap();
        for (name, factor) in rules {
            match factor {
                Some(factor) => state.put(cx.operator_state_mut(), name, factor)?,
                None => state.remove(cx.operator_state_mut(), name)?,
            }
            self.taken.send(()).unwrap();
        }
        Ok(())
    }
}

struct Scaling {
    numbers: Arc<Vec<u64>>,
    rules: Arc<Vec<Rule>>,
    numbers_gate: Gate,
    rules_gate: Gate,
    scaled: Committed<(u64, u64)>,
    storage: Arc<CheckpointStorage>,
}

impl Scaling {
    fn new() -> Self {
        let rule = |name: &str, factor| (name.to_owned(), factor);
        let rules =
            [rule("a", Some(1)), rule("b", Some(10)), rule("a", None), rule("c", Some(100))];
        Self {
            numbers: Arc::new((0..300).collect()),
            rules: Arc::new(rules.to_vec()),
            numbers_gate: Gate::default(),
            rules_gate: Gate::default(),
            scaled: Committed::default(),
            storage: storage(),
        }
    }

    /// Runs the job at `parallelism`; `steer` opens the gates and is told of rules taken.
    fn run(
        &self,
        parallelism: u32,
        start: StartFrom,
        steer: impl FnOnce(&millpond_runtime::JobHandle, &Receiver<()>),
    ) -> JobOutcome {
        let mut graph = graph("scaling");
        let (items, gate) = (Arc::clone(&self.numbers), self.numbers_gate.clone());
        let numbers = graph.source("numbers", 1, move |_| Ok(Gated::new(&items, &gate, |_| None)));
        let (items, gate) = (Arc::clone(&self.rules), self.rules_gate.clone());
        let rules = graph.source("rules", 1, move |_| Ok(Gated::new(&items, &gate, |_| None)));
        let (taken, heard) = channel();
        let (scaled, _) = graph.keyed_with_broadcast(
            "scale",
            parallelism,
            (&numbers, &rules),
            (
                |number: &u64| Some(*number),
                |rule: &Rule| Some(rule.clone()),
                |number: &u64| *number,
                move |_| Ok(Scale { rules: None, taken: taken.clone() }),
            ),
        );
        graph.sink(&scaled, "scaled", self.scaled.clone());
        run(graph, &self.storage, start, |handle| steer(handle, &heard)).outcome
    }
}

fn wait_for_numbers(handle: &millpond_runtime::JobHandle, records: u64) {
    while handle.records("scale").unwrap() < records {
        std::thread::yield_now();
    }
}

#[test]
fn rules_change_in_mid_stream_and_are_restored_to_every_subtask_at_another_parallelism() {
    let scaling = Scaling::new();
    let outcome = scaling.run(2, StartFrom::Beginning, |handle, taken| {
        scaling.rules_gate.open_to(1);
        taken.iter().take(2).count();
        scaling.numbers_gate.open_to(100);
        wait_for_numbers(handle, 100 + 2);
        scaling.rules_gate.open_to(3);
        taken.iter().take(2 * 2).count();
        handle.stop();
    });
    assert_eq!(outcome, JobOutcome::Stopped);
    let outcome = scaling.run(5, StartFrom::Latest, |handle, taken| {
        scaling.numbers_gate.open_to(200);
        wait_for_numbers(handle, 100);
        scaling.rules_gate.open_to(4);
        taken.iter().take(5).count();
        scaling.numbers_gate.open_to(300);
    });
    assert_eq!(outcome, JobOutcome::Finished);
    let factor = |number: u64| match number {
        0..100 => 1,
        100..200 => 10,
        _ => 110,
    };
    let expected: Vec<(u64, u64)> = (0..300).map(|number| (number, factor(number))).collect();
    assert_eq!(scaling.scaled.sorted(), expected);
}

#[test]
fn barriers_wait_for_both_inputs() {
    let scaling = Scaling::new();
    // The rules end at once and the numbers go on: checkpoints complete all the same, with all that
    // came before on either input.
    let outcome = scaling.run(3, StartFrom::Beginning, |handle, taken| {
        scaling.rules_gate.open_to(4);
        taken.iter().take(4 * 3).count();
        scaling.numbers_gate.open_to(50);
        wait_for_numbers(handle, 4 * 3 + 50);
        handle.stop();
    });
    assert_eq!(outcome, JobOutcome::Stopped);
    assert_eq!(scaling.scaled.sorted(), (0..50).map(|number| (number, 110)).collect::<Vec<_>>());
    let outcome = scaling.run(1, StartFrom::Latest, |_, _| scaling.numbers_gate.open_to(300));
    assert_eq!(outcome, JobOutcome::Finished);
    assert_eq!(scaling.scaled.sorted(), (50..300).map(|number| (number, 110)).collect::<Vec<_>>());
}
