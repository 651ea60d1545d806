//! Event-time windows in a job: results are exact and said when the watermark passes.

use std::sync::Arc;

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_memory::MemoryBackendFactory;
use millpond_runtime::sink::{PartFileFormat, PartFiles};
use millpond_runtime::{
    Collector, Job, JobEnvironment, JobGraph, JobOutcome, JobSettings, QuietListener,
    RestartStrategy, Result, StartFrom, SubtaskContext, Timestamp, WindowAggregate, WindowOperator,
    WindowResult, WindowTime, Windows,
};
use millpond_state::seam::SystemClock;
use millpond_state::{Aggregate, MaxParallelism};
use millpond_storage::MemoryStore;

use crate::fixture::{FailPlan, Numbers};

struct Sum;

impl Aggregate for Sum {
    type Input = u64;
    type Accumulator = u64;
    type Output = u64;

    fn create(&self) -> u64 {
        0
    }

    fn add(&self, sum: &mut u64, input: &u64) {
        *sum += input;
    }

    fn merge(&self, sum: &mut u64, other: u64) {
        *sum += other;
    }

    fn result(&self, sum: &u64) -> u64 {
        *sum
    }
}

struct Rows;

impl PartFileFormat<WindowResult<u64, u64>> for Rows {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        b"start,key,sum\n"
    }

    fn append(&self, row: &WindowResult<u64, u64>, out: &mut Vec<u8>) -> Result<()> {
        // Negative starts are written from a million on.
        let start = row.window.start().as_ms();
        let start = if start < 0 { 1_000_000 - start } else { start };
        out.extend_from_slice(format!("{start},{},{}\n", row.key, row.result).as_bytes());
        Ok(())
    }
}

const NUMBERS: u64 = 10_000;
const KEYS: u64 = 3;

/// Number n happens at n milliseconds, with half a second of nothing after each thousand.
fn at(number: &u64) -> Timestamp {
    Timestamp::from_ms((number + number / 1_000 * 500) as i64)
}

/// Runs a job of windows, with a failure in mid-stream; returns start, key and sum of each row that
/// was committed.
fn rows_of(windows: fn() -> Result<Windows>, fail_at: u64) -> Vec<(u64, u64, u64)> {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = JobSettings::new("windows", MaxParallelism::new(8).unwrap());
    settings.checkpoints.interval_ms = Some(3);
    settings.restart = RestartStrategy::FixedDelay { attempts_max: 1, delay_ms: 1 };
    let mut graph = JobGraph::new(settings);
    let numbers = graph.source("numbers", 1, |_| {
        let mut source = Numbers::new(NUMBERS, 0, 1);
        source.pause_every = 500;
        Ok(source)
    });
    let fail = FailPlan::at(fail_at);
    let make = move |_: SubtaskContext| {
        let fail = Arc::clone(&fail);
        Ok(move |number: u64, out: &mut dyn Collector<u64>| {
            fail.see(1);
            out.emit(&number)
        })
    };
    let functions = (|number: &u64| Some(*number), Some((|n: &u64| Some(at(n))) as _), make);
    let timed = graph.transform("timed", 3, &numbers, functions);
    let make = move |_| {
        let state = WindowAggregate::new(Sum);
        Ok(WindowOperator::new("sums", windows()?, WindowTime::event(at), state))
    };
    let functions = (|number: &u64| Some(*number), |number: &u64| number % KEYS, make);
    let sums = graph.keyed("windows", 2, &timed, functions);
    graph.sink(&sums, "rows", PartFiles::create(folder.path(), Rows).unwrap());
    let environment = JobEnvironment {
        storage: Arc::new(CheckpointStorage::new(Arc::new(MemoryStore::new()))),
        backends: Arc::new(MemoryBackendFactory::default()),
        clock: Arc::new(SystemClock::new()),
        listener: Arc::new(QuietListener),
    };
    let report = Job::new(graph, environment).unwrap().run(StartFrom::Beginning).unwrap();
    assert_eq!((report.outcome, report.late_records), (JobOutcome::Finished, 0));
    assert_eq!(report.restarts, u32::from(fail_at < NUMBERS));
    committed(folder.path())
}

fn committed(folder: &std::path::Path) -> Vec<(u64, u64, u64)> {
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines().skip(1) {
            let mut cells = line.split(',').map(|cell| cell.parse().unwrap());
            rows.push((cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap()));
        }
    }
    rows.sort_unstable();
    rows
}

/// The sums of windows of `size` milliseconds from each of `starts` on.
fn sums(starts: impl Iterator<Item = u64>, size: u64) -> Vec<(u64, u64, u64)> {
    let mut rows = Vec::new();
    for start in starts {
        for key in 0..KEYS {
            let inside =
                |number: &u64| (start..start + size).contains(&(at(number).as_ms() as u64));
            let numbers = (0..NUMBERS).filter(|number| number % KEYS == key).filter(inside);
            let sum = numbers.sum::<u64>();
            if sum > 0 {
                rows.push((start, key, sum));
            }
        }
    }
    rows
}

/// Without a failure, and with one early and late.
const FAILURES: [u64; 3] = [u64::MAX, 1_234, 8_765];

#[test]
fn each_tumbling_window_is_committed_once_with_the_exact_aggregate_through_a_failure() {
    let expected = sums((0..15_000).step_by(1_000), 1_000);
    for fail_at in FAILURES {
        assert_eq!(rows_of(|| Windows::tumbling(1_000), fail_at), expected, "fails at {fail_at}");
    }
}

#[test]
fn each_sliding_window_is_committed_once_with_the_exact_aggregate_through_a_failure() {
    let mut expected = sums((0..15_000).step_by(250), 1_000);
    // Those that begin before all numbers.
    for (start, size) in [(-250_i64, 750), (-500, 500), (-750, 250)] {
        expected.extend(
            sums(std::iter::once(0), size)
                .into_iter()
                .map(|(_, key, sum)| (start.unsigned_abs() + 1_000_000, key, sum)),
        );
    }
    expected.sort_unstable();
    for fail_at in FAILURES {
        let rows = rows_of(|| Windows::sliding(1_000, 250), fail_at);
        assert_eq!(rows, expected, "fails at {fail_at}");
    }
}

#[test]
fn each_session_is_committed_once_with_the_exact_aggregate_through_a_failure() {
    // Each key has a number every 3 ms; the first after a pause is the key's own.
    let mut expected = Vec::new();
    for begin in (0..NUMBERS).step_by(1_000) {
        for key in 0..KEYS {
            let numbers = || (begin..begin + 1_000).filter(|number| number % KEYS == key);
            let first = numbers().next().unwrap();
            expected.push((at(&first).as_ms() as u64, key, numbers().sum::<u64>()));
        }
    }
    expected.sort_unstable();
    for fail_at in FAILURES {
        assert_eq!(rows_of(|| Windows::session(100), fail_at), expected, "fails at {fail_at}");
    }
}
