//! Event-time windows in a job: results are exact and said when the watermark passes.

use std::sync::Arc;

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_memory::MemoryBackendFactory;
use millpond_runtime::sink::{PartFileFormat, PartFiles};
use millpond_runtime::{
    Collector, Job, JobEnvironment, JobGraph, JobOutcome, JobSettings, QuietListener, Result,
    StartFrom, SubtaskContext, Timestamp, WindowAggregate, WindowOperator, WindowResult,
    WindowTime, Windows,
};
use millpond_state::seam::SystemClock;
use millpond_state::{Aggregate, MaxParallelism};
use millpond_storage::MemoryStore;

use crate::fixture::Numbers;

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
        let start = row.window.start().as_ms();
        out.extend_from_slice(format!("{start},{},{}\n", row.key, row.result).as_bytes());
        Ok(())
    }
}

#[test]
fn each_window_and_key_is_said_once_with_the_exact_aggregate() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = JobSettings::new("windows", MaxParallelism::new(8).unwrap());
    settings.checkpoints.interval_ms = Some(3);
    let mut graph = JobGraph::new(settings);
    let numbers = graph.source("numbers", 1, |_| {
        let mut source = Numbers::new(10_000, 0, 1);
        source.pause_every = 500;
        Ok(source)
    });
    // Number n happens at n milliseconds, and there are three keys.
    let timed = graph.transform(
        "timed",
        3,
        &numbers,
        (
            |number: &u64| Some(*number),
            Some(|number: &u64| Some(Timestamp::from_ms(*number as i64))),
            |_: SubtaskContext| Ok(|number: u64, out: &mut dyn Collector<u64>| out.emit(&number)),
        ),
    );
    let windows = graph.keyed(
        "windows",
        2,
        &timed,
        (
            |number: &u64| Some(*number),
            |number: &u64| number % 3,
            |_| {
                let at = |number: &u64| Timestamp::from_ms(*number as i64);
                let (windows, time) = (Windows::tumbling(1_000)?, WindowTime::event(at));
                Ok(WindowOperator::new("sums", windows, time, WindowAggregate::new(Sum)))
            },
        ),
    );
    graph.sink(&windows, "rows", PartFiles::create(folder.path(), Rows).unwrap());
    let environment = JobEnvironment {
        storage: Arc::new(CheckpointStorage::new(Arc::new(MemoryStore::new()))),
        backends: Arc::new(MemoryBackendFactory::default()),
        clock: Arc::new(SystemClock::new()),
        listener: Arc::new(QuietListener),
    };
    let report = Job::new(graph, environment).unwrap().run(StartFrom::Beginning).unwrap();
    assert_eq!((report.outcome, report.late_records), (JobOutcome::Finished, 0));
    let mut rows: Vec<(u64, u64, u64)> = std::fs::read_dir(folder.path())
        .unwrap()
        .flat_map(|entry| {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        })
        .map(|line| {
            let mut cells = line.split(',').map(|cell| cell.parse().unwrap());
            (cells.next().unwrap(), cells.next().unwrap(), cells.next().unwrap())
        })
        .collect();
    rows.sort_unstable();
    let mut expected = Vec::new();
    for start in (0..10_000).step_by(1_000) {
        for key in 0..3 {
            let sum = (start..start + 1_000).filter(|number| number % 3 == key).sum();
            expected.push((start, key, sum));
        }
    }
    assert_eq!(rows, expected);
}
