//! A job from end to end: a source of random keys, an exchange by key, a count of each key in
//! state, a sink that adds up all counts.
//!
//! The floor is what a person would write by hand for just this job: as many producers and
//! consumers, bounded channels of batches, counts in a `hashbrown` map. Both have the same keys in
//! the same order for each producer, and their sums must agree.

mod graph;
mod plain;

use std::sync::{Arc, Mutex, PoisonError};

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_runtime::{JobListener, JobNotice};
use millpond_state::BackendFactory;
use millpond_state::seam::Clock;

use crate::backends::{Backend, max_parallelism};
use crate::distribution::{Distribution, Sampler};
use crate::error::{BenchError, ErrorKind, Result};
use crate::measure::{median, millis, peak_rss_bytes, percentile, reset_peak_rss, timed};
use crate::record::{Record, per_second};
use crate::rng::key;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JobOptions {
    /// Records of one run.
    pub records: u64,
    /// Number of keys.
    pub keys: u64,
    /// Which keys are used how often.
    pub distribution: Distribution,
    /// Subtasks of each vertex.
    pub parallelism: u32,
    /// Time from one checkpoint to the next; `None` for no checkpoints.
    pub interval_ms: Option<u64>,
    /// Whether checkpoints write only what changed.
    pub incremental: bool,
    /// Runs that count.
    pub rounds: u32,
    /// Whether the floor is measured, too.
    pub raw: bool,
    /// What the work follows from.
    pub seed: u64,
}

impl JobOptions {
    /// 10 million records, a million keys, uniform, parallelism 2, no checkpoints, 3 rounds.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            records: 10_000_000,
            keys: 1_000_000,
            distribution: Distribution::Uniform,
            parallelism: 2,
            interval_ms: None,
            incremental: false,
            rounds: 3,
            raw: false,
            seed: 1,
        }
    }

    fn check(&self) -> Result<()> {
        let most = max_parallelism()?.get();
        if self.parallelism == 0 || self.parallelism > most {
            return Err(BenchError::invalid(format!("a parallelism must be from 1 to {most}")));
        }
        if self.records == 0 || self.keys == 0 || self.rounds == 0 || self.interval_ms == Some(0) {
            let what = "records, keys, rounds and the interval must be above 0";
            return Err(BenchError::invalid(what));
        }
        Ok(())
    }
}

impl Default for JobOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The keys of one producer.
#[derive(Clone, Debug)]
struct Keys {
    sampler: Sampler,
    left: u64,
}

impl Keys {
    fn new(options: &JobOptions, index: u32) -> Self {
        let (index, parallelism) = (u64::from(index), u64::from(options.parallelism));
        let left = options.records / parallelism + u64::from(index < options.records % parallelism);
        let seed = options.seed.wrapping_add(index << 32);
        Self { sampler: Sampler::new(options.distribution, options.keys, seed), left }
    }

    #[inline]
    fn next_key(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        Some(key(self.sampler.next_number()))
    }
}

/// The keys that producer `index` of a run makes, in order: what an engine outside of this crate
/// does the same work with.
pub fn keys_of_producer(options: &JobOptions, index: u32) -> impl Iterator<Item = u64> + use<> {
    let mut keys = Keys::new(options, index);
    core::iter::from_fn(move || keys.next_key())
}

/// Runs the job written by hand and returns the sum of all counts: what others must come to.
///
/// # Errors
/// If a thread panicked.
pub fn run_by_hand(options: &JobOptions) -> Result<u64> {
    plain::run(options)
}

/// The durations of the checkpoints of a run.
#[derive(Debug, Default)]
struct Durations(Mutex<Vec<f64>>);

impl JobListener for Durations {
    fn on_notice(&self, notice: &JobNotice<'_>) {
        if let JobNotice::CheckpointCompleted { duration, .. } = notice {
            let mut durations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            durations.push(millis(*duration));
        }
    }
}

/// Measures a job on one backend, whose instances `factory` opens, with checkpoints in a storage
/// that `storage` makes anew for each run. Peak memory is that of this process up to the first run
/// of the floor.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for sizes that make no sense; [`ErrorKind::Disagreement`] if the
/// sums differ from the floor's or from run to run; what the job fails with.
pub fn run(
    backend: Backend,
    options: &JobOptions,
    (factory, storage): (&Arc<dyn BackendFactory>, &mut dyn FnMut() -> Result<CheckpointStorage>),
    clock: &Arc<dyn Clock>,
) -> Result<Record> {
    options.check()?;
    let listener = Arc::new(Durations::default());
    let (mut seconds, mut raw, mut expected) = (Vec::new(), Vec::new(), None);
    reset_peak_rss();
    let mut peak = None;
    for _ in 0..options.rounds {
        let storage = storage()?;
        let places = (Arc::clone(factory), storage, Arc::clone(clock));
        let listening = Arc::clone(&listener) as Arc<dyn JobListener>;
        let (took, sum) = timed(clock.as_ref(), || graph::run(options, places, listening))?;
        seconds.push(took.as_secs_f64());
        check_sum(&mut expected, sum)?;
        peak = peak.or_else(peak_rss_bytes);
        if options.raw {
            let (took, sum) = timed(clock.as_ref(), || plain::run(options))?;
            raw.push(took.as_secs_f64());
            check_sum(&mut expected, sum)?;
        }
    }
    let mut durations = listener.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    durations.sort_by(f64::total_cmp);
    let mut record = record(backend, options, (&seconds, &durations), clock.as_ref());
    record.peak_rss_bytes = peak;
    if options.raw {
        let rates: Vec<f64> = raw.iter().map(|it| per_second(options.records, *it)).collect();
        let ratios: Vec<f64> = seconds.iter().zip(&raw).map(|(own, raw)| raw / own).collect();
        record.raw_ops_per_s = Some(median(&rates));
        record.ratio_to_raw = Some(median(&ratios));
    }
    Ok(record)
}

fn check_sum(expected: &mut Option<u64>, sum: u64) -> Result<()> {
    let expected = *expected.get_or_insert(sum);
    if expected == sum {
        return Ok(());
    }
    let message = format!("the sums of all counts differ: {expected:x} and {sum:x}");
    Err(BenchError::new(ErrorKind::Disagreement, message))
}

fn record(
    backend: Backend,
    options: &JobOptions,
    (seconds, durations): (&[f64], &[f64]),
    clock: &dyn Clock,
) -> Record {
    let mut record = Record::new(backend.name, "job", clock);
    record.keys = options.keys;
    record.value_bytes = 8;
    record.distribution = options.distribution.to_string();
    record.seed = options.seed;
    record.set_rounds(options.records, seconds);
    record.job.records_per_s = Some(record.ops_per_s);
    record.job.checkpoints = Some(durations.len() as u64);
    record.job.checkpoint_ms_p50 = Some(percentile(durations, 0.5));
    record.job.checkpoint_ms_p99 = Some(percentile(durations, 0.99));
    record.job.parallelism = Some(options.parallelism);
    record.job.interval_ms = Some(options.interval_ms.unwrap_or(0));
    record.job.barriers = Some("aligned".to_owned());
    record
}
