//! A wall clock that jumps, both ways: checkpoints, timeouts and restores do not go by it, and
//! timers of processing time fire once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use millpond_runtime::{
    JobOutcome, KeyedBatch, KeyedOperator, OpenContext, OperatorContext, Result, StartFrom, Timer,
};
use millpond_state::seam::{Clock, SystemClock};
use millpond_state::{At, TimeDomain};

use crate::checkpoints::run_and_stop;
use crate::fixture::Counting;
use crate::gated::{Gate, Gated, graph, run_by, storage};

const DAY_MS: u64 = 24 * 3_600_000;

/// Where the clock of a test stands: far enough from 0 to go back.
const NOON_MS: u64 = 20_000 * DAY_MS;

/// Intervals are those of the system; the time of day is what it is set to.
struct SetClock {
    system: SystemClock,
    wall_ms: AtomicU64,
}

impl SetClock {
    fn at(wall_ms: u64) -> Arc<Self> {
        Arc::new(Self { system: SystemClock::new(), wall_ms: AtomicU64::new(wall_ms) })
    }

    fn set(&self, wall_ms: u64) {
        self.wall_ms.store(wall_ms, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }
}

/// Intervals are those of the system; the time of day is another each time somebody asks.
struct RestlessClock {
    system: SystemClock,
    asked: AtomicU64,
}

impl Clock for RestlessClock {
    fn wall_ms(&self) -> u64 {
        let jumps = [NOON_MS, NOON_MS + 400 * DAY_MS, NOON_MS - DAY_MS, 0, NOON_MS + 1];
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        jumps[(asked % jumps.len() as u64) as usize]
    }

    fn monotonic(&self) -> Duration {
        self.system.monotonic()
    }
}

#[test]
fn a_clock_that_jumps_each_time_it_is_read_disturbs_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut counting = Counting::new(folder.path());
    counting.clock =
        Arc::new(RestlessClock { system: SystemClock::new(), asked: AtomicU64::new(0) });
    counting.incremental = true;
    assert_eq!(run_and_stop(&counting, StartFrom::Beginning), JobOutcome::Stopped);
    counting.hold.store(false, Ordering::SeqCst);
    let report = counting.job().run(StartFrom::Latest).unwrap();
    assert_eq!(report.outcome, JobOutcome::Finished);
    assert_eq!(counting.notes.count("CheckpointAborted"), 0);
    assert_eq!(counting.committed(), counting.expected());
}

#[test]
fn the_newest_checkpoint_is_the_one_of_the_highest_number_whatever_the_clock_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut counting = Counting::new(folder.path());
    let clock = SetClock::at(NOON_MS);
    counting.clock = clock.clone();
    checkpoint_and_stop(&counting, StartFrom::Beginning);
    let newest = || counting.storage().list().unwrap().pop().unwrap();
    for wall_ms in [NOON_MS - 30 * DAY_MS, NOON_MS + 30 * DAY_MS, 0] {
        let before = newest().id;
        clock.set(wall_ms);
        checkpoint_and_stop(&counting, StartFrom::Latest);
        let restored = counting.notes.all("Restored").pop().unwrap();
        assert!(restored.contains(&format!("CheckpointId({before})")), "{before}: {restored}");
        assert!(newest().id > before);
        let told = newest().metadata.unwrap().completed_at_ms;
        assert_eq!(told, wall_ms, "it is what people are told");
    }
    counting.hold.store(false, Ordering::SeqCst);
    counting.job().run(StartFrom::Latest).unwrap();
    assert_eq!(counting.committed(), counting.expected());
}

/// Runs until one more checkpoint is complete, then stops the job.
fn checkpoint_and_stop(counting: &Counting<'_>, start: StartFrom) {
    let job = counting.job();
    let handle = job.handle();
    counting.hold.store(true, Ordering::SeqCst);
    let before = counting.notes.count("CheckpointCompleted");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| job.run(start));
        while counting.notes.count("CheckpointCompleted") == before {
            std::thread::sleep(Duration::from_millis(1));
        }
        handle.stop();
        assert_eq!(run.join().unwrap().unwrap().outcome, JobOutcome::Stopped);
    });
}

/// Sets a timer a minute of processing time after each record.
struct Reminder(Sender<(&'static str, u64, i64)>);

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
            self.0.send(("set", *key, due)).unwrap();
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: &Timer<u64>, _: &mut OperatorContext<'_, Self>) -> Result<()> {
        self.0.send(("fired", timer.key()?, timer.time_ms())).unwrap();
        Ok(())
    }
}

#[test]
fn a_timer_fires_once_over_jumps_of_the_clock_and_of_a_restore() {
    let (clock, storage) = (SetClock::at(NOON_MS), storage());
    let gate = Gate::default();
    let items = Arc::new(vec![1, 2, 3, 4]);
    let reminders = || {
        let (heard, hearing) = channel();
        let mut graph = graph("reminders");
        let (items, gate) = (Arc::clone(&items), gate.clone());
        let numbers = graph.source("numbers", 1, move |_| Ok(Gated::new(&items, &gate, |_| None)));
        let make = move |_| Ok(Reminder(heard.clone()));
        graph.keyed("remind", 1, &numbers, (|n: &u64| Some(*n), |n: &u64| *n, make));
        (graph, hearing)
    };
    let due = |wall_ms: u64| i64::try_from(wall_ms + 60_000).unwrap();
    let (graph, heard) = reminders();
    run_by(clock.clone(), graph, &storage, StartFrom::Beginning, |handle| {
        gate.open_to(1);
        assert_eq!(heard.recv().unwrap(), ("set", 1, due(NOON_MS)));
        // Back by a day: processing time stands still until the clock has caught up.
        clock.set(NOON_MS - DAY_MS);
        handle.clock_moved();
        gate.open_to(2);
        assert_eq!(heard.recv().unwrap(), ("set", 2, due(NOON_MS)));
        // Forward past both, and back again: they have fired and stay so.
        clock.set(NOON_MS + DAY_MS);
        handle.clock_moved();
        let mut fired = [heard.recv().unwrap(), heard.recv().unwrap()];
        fired.sort_unstable();
        assert_eq!(fired, [("fired", 1, due(NOON_MS)), ("fired", 2, due(NOON_MS))]);
        clock.set(NOON_MS);
        handle.clock_moved();
        gate.open_to(3);
        assert_eq!(heard.recv().unwrap(), ("set", 3, due(NOON_MS + DAY_MS)));
        handle.stop();
    });
    // The next process finds the clock before all that; then it is put right.
    clock.set(0);
    let (graph, heard) = reminders();
    run_by(clock.clone(), graph, &storage, StartFrom::Latest, |handle| {
        clock.set(NOON_MS + 2 * DAY_MS);
        handle.clock_moved();
        assert_eq!(heard.recv().unwrap(), ("fired", 3, due(NOON_MS + DAY_MS)));
        handle.stop();
    });
    assert_eq!(heard.iter().next(), None, "nothing fires twice");
}
