//! Latency of single operations, one after the other, with a checkpoint in the middle.
//!
//! The operation after the barrier waits for the synchronous part, so that is in its latency. The
//! asynchronous part runs on a thread of its own meanwhile, as in a job.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millpond_state::KeyedBackend;
use millpond_state::seam::Clock;

use super::Row;
use crate::checkpoints::{Checkpoints, Form, Frozen};
use crate::error::{BenchError, Result};
use crate::fill::Filled;
use crate::measure::{peak_rss_bytes, percentile};
use crate::record::{LatencyFigures, Record};
use crate::rng::Rng;

/// Slices of time before and after the checkpoint.
const SLICES: u64 = 50;

/// A series is ended after so many operations, whatever time it is.
const OPERATIONS_MAX: usize = 20_000_000;

/// The operations that are measured.
const OPERATIONS: [(&str, Operation); 2] =
    [("latency_get", Operation::Get), ("latency_update", Operation::Update)];

#[derive(Clone, Copy)]
enum Operation {
    Get,
    Update,
}

/// One operation: when it ended, and how long it took, in nanoseconds.
#[derive(Clone, Copy)]
struct Sample {
    end: u64,
    took: u64,
}

/// Measures reads, then updates.
pub(super) fn measure(row: &mut Row<'_>) -> Result<Vec<Record>> {
    OPERATIONS.iter().map(|(name, operation)| series(row, name, *operation)).collect()
}

fn series(row: &mut Row<'_>, name: &str, operation: Operation) -> Result<Record> {
    let form = preferred_form(row)?;
    // Something for the checkpoint to write.
    row.change(10.0, row.options.seed)?;
    let id = row.checkpoints.begin()?;
    let Row { options, clock, instances, filled, checkpoints, .. } = row;
    let [instance] = instances.as_mut_slice() else {
        return Err(BenchError::failed("there is no instance to measure"));
    };
    let window = Duration::from_millis(options.latency_ms);
    let mut operations = Operations {
        instance: instance.as_mut(),
        filled,
        operation,
        rng: Rng::new(options.seed),
        keys: options.keys,
        clock: *clock,
        start: clock.monotonic(),
        last: Duration::ZERO,
        samples: Vec::new(),
    };
    operations.run(|now, _| now >= window)?;
    let begin = operations.last;
    let frozen = Checkpoints::freeze(operations.instance, (id, form), *clock)?;
    let Some(frozen) = frozen else { return Err(BenchError::failed("the form has gone")) };
    let written = during(&mut operations, checkpoints, (id, frozen), *clock)?;
    let end = operations.last;
    let until = end + window;
    operations.run(|now, _| now >= until)?;
    let samples = operations.samples;
    checkpoints.complete(id, vec![written], instances)?;
    Ok(record(row, name, (&samples, begin, end)))
}

/// Goes on with operations until the snapshot is written.
fn during(
    operations: &mut Operations<'_>,
    checkpoints: &Checkpoints,
    (id, frozen): (millpond_state::CheckpointId, Frozen),
    clock: &dyn Clock,
) -> Result<millpond_checkpoint::driver::KeyedPart> {
    let done = AtomicBool::new(false);
    let mut outcome = Ok(());
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let written = checkpoints.write((id, 0), frozen, clock);
            done.store(true, Ordering::Release);
            written
        });
        outcome = operations.run(|_, count| count > 0 && done.load(Ordering::Acquire));
        writer.join().unwrap_or_else(|_| Err(BenchError::failed("the snapshot panicked")))
    });
    outcome?;
    Ok(written?.part)
}

/// Incremental, where the backend has that form.
fn preferred_form(row: &mut Row<'_>) -> Result<Form> {
    let found = row.snapshot(Form::Incremental)?;
    Ok(if found.is_some() { Form::Incremental } else { Form::Full })
}

/// A loop of operations on random keys.
struct Operations<'a> {
    instance: &'a mut dyn KeyedBackend,
    filled: &'a mut Filled,
    operation: Operation,
    rng: Rng,
    keys: u64,
    clock: &'a dyn Clock,
    start: Duration,
    /// When the last operation ended, from the start.
    last: Duration,
    samples: Vec<Sample>,
}

impl Operations<'_> {
    /// Goes on until `stop`, which is told the time from the start and the operations of this call.
    fn run(&mut self, stop: impl Fn(Duration, usize) -> bool) -> Result<()> {
        let mut count = 0;
        while !stop(self.last, count) && self.samples.len() < OPERATIONS_MAX {
            let number = self.rng.below(self.keys);
            match self.operation {
                Operation::Get => {
                    std::hint::black_box(self.filled.get(self.instance, number)?);
                }
                Operation::Update => self.filled.update(self.instance, number)?,
            }
            let now = self.clock.monotonic().saturating_sub(self.start);
            let took = now.saturating_sub(self.last);
            self.samples.push(Sample { end: nanos(now), took: nanos(took) });
            self.last = now;
            count += 1;
        }
        Ok(())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn record(
    row: &Row<'_>,
    name: &str,
    (samples, begin, end): (&[Sample], Duration, Duration),
) -> Record {
    let mut record = Record::new(row.backend.name, name, row.clock);
    record.keys = row.options.keys;
    record.value_bytes = row.options.value_bytes as u64;
    record.seed = row.options.seed;
    record.peak_rss_bytes = peak_rss_bytes();
    let seconds = samples.last().map_or(0.0, |last| last.end as f64 / 1e9);
    record.set_rounds(samples.len() as u64, &[seconds]);
    let (begin, end) = (nanos(begin), nanos(end));
    let is_during = |sample: &Sample| sample.end > begin && sample.end <= end;
    let p999 = |part: &dyn Fn(&Sample) -> bool| percentiles(samples.iter().filter(|it| part(it))).1;
    record.latency = LatencyFigures {
        p999_us: Some(p999(&|it| !is_during(it))),
        p999_during_us: Some(p999(&is_during)),
        checkpoint_ms: Some((begin as f64 / 1e6, end as f64 / 1e6)),
        ..LatencyFigures::default()
    };
    let slice = (row.options.latency_ms * 1_000_000 / SLICES).max(1);
    for part in samples.chunk_by(|a, b| a.end / slice == b.end / slice) {
        let (p50, p999) = percentiles(part.iter());
        let at = part.last().map_or(0, |last| last.end);
        record.latency.slice_ms.push((at as f64 / 1e4).round() / 1e2);
        record.latency.slice_p50_us.push(p50);
        record.latency.slice_p999_us.push(p999);
    }
    record
}

/// Median and 99.9th percentile, in microseconds.
fn percentiles<'a>(samples: impl Iterator<Item = &'a Sample>) -> (f64, f64) {
    let mut took: Vec<f64> = samples.map(|sample| sample.took as f64 / 1e3).collect();
    took.sort_by(f64::total_cmp);
    (percentile(&took, 0.5), percentile(&took, 0.999))
}
