//! Processing time in a job: the clock of the job decides, and a job that waits notices.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use millpond_runtime::{
    JobOutcome, KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Result, StartFrom, Timer,
};
use millpond_state::seam::{Clock, ManualClock};
use millpond_state::{At, TimeDomain};

use crate::gated::{Gate, Gated, graph, run_by, storage};

/// Sets a timer a minute of processing time after each record. An hour passes while it hears that
/// its input has ended.
struct Reminder {
    clock: Arc<ManualClock>,
    heard: Sender<(&'static str, u64, i64)>,
}

impl KeyedOperator for Reminder {
    type In = u64;
    type Key = u64;
    type Out = u64;
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, _: &mut OpenContext<'_>) -> Result<()> {
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, u64>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        for (key, entry) in batch.records().zip(batch.entries()) {
            let due = cx.processing_ms() + 60_000;
            cx.timers().add(TimeDomain::Processing, At::from_entry(*entry), due)?;
            self.heard.send(("set", *key, due)).unwrap();
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: &Timer<u64>, _: &mut OperatorContext<'_, Self>) -> Result<()> {
        self.heard.send(("fired", timer.key()?, timer.time_ms())).unwrap();
        Ok(())
    }

    fn on_end(&mut self, _: &mut OperatorContext<'_, Self>) -> Result<()> {
        self.clock.advance(Duration::from_secs(3_600));
        Ok(())
    }
}

#[test]
fn a_job_that_waits_for_input_fires_processing_timers_when_its_clock_says_so() {
    let (clock, storage) = (Arc::new(ManualClock::new()), storage());
    let gate = Gate::default();
    let items = Arc::new(vec![1, 2, 3, 4]);
    let reminders = || {
        let (heard, hearing) = channel();
        let mut graph = graph("reminders");
        let (items, gate) = (Arc::clone(&items), gate.clone());
        let numbers = graph.source("numbers", 1, move |_| Ok(Gated::new(&items, &gate, |_| None)));
        let clock = Arc::clone(&clock);
        let make = move |_| Ok(Reminder { clock: Arc::clone(&clock), heard: heard.clone() });
        graph.keyed("remind", 1, &numbers, (|n: &u64| Some(*n), |n: &u64| *n, make));
        (graph, hearing)
    };
    let (graph, heard) = reminders();
    let by: Arc<dyn Clock> = clock.clone();
    let report = run_by(by.clone(), graph, &storage, StartFrom::Beginning, |handle| {
        gate.open_to(1);
        assert_eq!(heard.recv().unwrap(), ("set", 1, 60_000));
        clock.advance(Duration::from_secs(30));
        gate.open_to(2);
        assert_eq!(heard.recv().unwrap(), ("set", 2, 90_000));
        clock.advance(Duration::from_secs(31));
        handle.clock_moved();
        assert_eq!(heard.recv().unwrap(), ("fired", 1, 60_000));
        gate.open_to(3);
        assert_eq!(heard.recv().unwrap(), ("set", 3, 121_000));
        handle.stop();
    });
    assert_eq!(report.outcome, JobOutcome::Stopped);
    // While the job is down time goes on; at its next start what is due fires, in order.
    clock.advance(Duration::from_secs(3_600));
    let (graph, heard) = reminders();
    let report = run_by(by, graph, &storage, StartFrom::Latest, |_| {
        let mut fired = [heard.recv().unwrap(), heard.recv().unwrap()];
        fired.sort_unstable();
        assert_eq!(fired, [("fired", 2, 90_000), ("fired", 3, 121_000)]);
        gate.open_to(4);
    });
    assert_eq!(report.outcome, JobOutcome::Finished);
    let due = 60_000 + 61_000 + 3_600_000;
    assert_eq!(heard.iter().collect::<Vec<_>>(), [("set", 4, due)], "the end does not fire it");
}
