//! A job on the runtime: counts numbers by their last digit, with checkpoints, exactly once.
//!
//! A source at parallelism 2, a keyed count at parallelism 3, and CSV part files that become
//! visible when a checkpoint completes. At the end of input a final checkpoint commits the rest.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use millpond::runtime::sink::{PartFileFormat, PartFiles};
use millpond::runtime::{
    JobReport, KeyedBatch, KeyedOperator, OpenContext, OperatorContext, QuietListener, Result,
    Source, SourceStatus, Timestamp,
};
use millpond::state::codec::{Codec, DefaultCodec};
use millpond::state::seam::SystemClock;
use millpond::{
    CheckpointStorage, Job, JobEnvironment, JobGraph, JobSettings, KeyContext, LocalStore,
    MaxParallelism, MemoryBackendFactory, MemoryOptions, StartFrom, ValueState,
};

const SOURCES: u32 = 2;
const NUMBERS: u64 = 100_000;

/// Counts from its index up to [`NUMBERS`], in steps of [`SOURCES`].
struct Numbers {
    next: u64,
}

impl Source for Numbers {
    type Record = u64;
    type Position = u64;

    fn restore(&mut self, positions: Vec<u64>) -> Result<()> {
        // A subtask without a position has nothing left to read.
        self.next = positions.last().copied().unwrap_or(NUMBERS);
        Ok(())
    }

    fn poll(&mut self, out: &mut Vec<u64>, records_max: usize) -> Result<SourceStatus> {
        let end = NUMBERS.min(self.next.saturating_add(records_max as u64 * u64::from(SOURCES)));
        out.extend((self.next..end).step_by(SOURCES as usize));
        self.next += (out.len() as u64) * u64::from(SOURCES);
        Ok(if self.next < NUMBERS { SourceStatus::Ready } else { SourceStatus::End })
    }

    fn watermark(&self) -> Option<Timestamp> {
        None
    }

    fn positions(&mut self) -> Result<Vec<u64>> {
        Ok(vec![self.next])
    }
}

/// Counts records by key; says the counts when all input is processed.
#[derive(Default)]
struct Count {
    counts: Option<ValueState<u64, u64>>,
}

impl KeyedOperator for Count {
    type In = u64;
    type Key = u64;
    type Out = (u64, u64);
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.counts = Some(ValueState::register(cx.backend(), "counts")?);
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, u64>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        if let Some(counts) = &self.counts {
            // One call for the whole batch: the backend overlaps the cache misses.
            counts.update_many(cx.backend(), batch.entries(), |_, count| {
                Some(count.unwrap_or(0) + 1)
            })?;
        }
        Ok(())
    }

    fn on_end(&mut self, cx: &mut OperatorContext<'_, Self>) -> Result<()> {
        let Some(counts) = &self.counts else { return Ok(()) };
        let mut keys = Vec::new();
        let groups = cx.backend().key_groups();
        cx.backend().visit_entries(counts.id(), groups, None, &mut |_, key, _| {
            keys.push(DefaultCodec::<u64>::default().decode_all(key)?);
            Ok(ControlFlow::Continue(()))
        })?;
        for key in keys {
            let context = KeyContext::new(&key, cx.backend().max_parallelism())?;
            if let Some(count) = counts.get(cx.backend(), context.at())? {
                cx.emit(&(key, count))?;
            }
        }
        Ok(())
    }
}

/// `digit,count`, a line each.
struct Csv;

impl PartFileFormat<(u64, u64)> for Csv {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        b"digit,count\n"
    }

    fn append(&self, (digit, count): &(u64, u64), out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(format!("{digit},{count}\n").as_bytes());
        Ok(())
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    run(folder.path())?;
    Ok(())
}

/// Runs the job; its checkpoints and output go to `folder`.
fn run(folder: &Path) -> std::result::Result<JobReport, Box<dyn Error>> {
    let mut settings = JobSettings::new("count", MaxParallelism::new(128)?);
    settings.checkpoints.interval_ms = Some(10);
    let mut graph = JobGraph::new(settings);
    let numbers =
        graph.source("numbers", SOURCES, |subtask| Ok(Numbers { next: u64::from(subtask.index) }));
    let by_last_digit = |number: &u64| number % 10;
    let project = |number: &u64| Some(*number);
    let counts =
        graph.keyed("count", 3, &numbers, (project, by_last_digit, |_| Ok(Count::default())));
    graph.sink(&counts, "files", PartFiles::create(folder.join("out"), Csv)?);

    let store = LocalStore::create(folder.join("checkpoints"))?;
    let environment = JobEnvironment {
        storage: Arc::new(CheckpointStorage::new(Arc::new(store))),
        backends: Arc::new(MemoryBackendFactory::new(MemoryOptions::new())),
        clock: Arc::new(SystemClock::new()),
        listener: Arc::new(QuietListener),
    };
    Ok(Job::new(graph, environment)?.run(StartFrom::Latest)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond::runtime::JobOutcome;

    /// The committed lines without headers, sorted.
    fn committed(folder: &Path) -> std::result::Result<Vec<String>, Box<dyn Error>> {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "csv") {
                let text = std::fs::read_to_string(path)?;
                lines.extend(text.lines().skip(1).map(str::to_owned));
            }
        }
        lines.sort();
        Ok(lines)
    }

    #[test]
    fn every_number_is_counted_once_and_a_second_run_changes_nothing()
    -> std::result::Result<(), Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        assert_eq!(run(folder.path())?.outcome, JobOutcome::Finished);
        let expected: Vec<String> =
            (0..10).map(|digit| format!("{digit},{}", NUMBERS / 10)).collect();
        assert_eq!(committed(&folder.path().join("out"))?, expected);
        assert_eq!(run(folder.path())?.outcome, JobOutcome::AlreadyFinished);
        assert_eq!(committed(&folder.path().join("out"))?, expected);
        Ok(())
    }
}
