//! How many keyed records a second go through the runtime: source, key_by, stateful count, sink, at
//! parallelism 2, against a plain pipeline of two producers and two consumers in the same run.
//!
//! Both count 64-bit keys drawn from the same generator and add up every count they emit; the sums
//! must agree. Series:
//! - `plain`: bounded channels of batches, straight into `hashbrown`
//! - `runtime`: no periodic checkpoints
//! - `runtime, checkpoint each second`: full snapshots into a folder meanwhile
//!
//! `MILLPOND_BENCH_RECORDS` (150000000), `MILLPOND_BENCH_JOB_KEYS` (1000000) and
//! `MILLPOND_BENCH_JOB_ROUNDS` (5) set the size.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use crossbeam_channel::bounded;
use hashbrown::HashMap;
use millpond_benches::{Rng, is_measuring, median};
use millpond_checkpoint::driver::CheckpointStorage;
use millpond_memory::MemoryBackendFactory;
use millpond_runtime::sink::{PreCommit, RecoverySummary, Sink, SinkFactory, SinkRecovery};
use millpond_runtime::{
    Job, JobEnvironment, JobGraph, JobSettings, KeyedBatch, KeyedOperator, OpenContext,
    OperatorContext, QuietListener, Result, Source, SourceStatus, StartFrom, Timestamp,
};
use millpond_state::seam::{Clock, SystemClock};
use millpond_state::{AttemptId, CheckpointId, MaxParallelism, ValueState};
use millpond_storage::LocalStore;

const PARALLELISM: u32 = 2;
const BATCH_RECORDS: usize = 1_024;
const CHANNEL_BATCHES: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Size {
    records: u64,
    keys: u64,
    rounds: usize,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn size(test: bool) -> Size {
    if test {
        return Size { records: 20_000, keys: 1_000, rounds: 1 };
    }
    Size {
        records: setting("MILLPOND_BENCH_RECORDS", 150_000_000),
        keys: setting("MILLPOND_BENCH_JOB_KEYS", 1_000_000),
        rounds: setting("MILLPOND_BENCH_JOB_ROUNDS", 5) as usize,
    }
}

/// The keys of one producer.
struct Keys {
    rng: Rng,
    left: u64,
    keys: u64,
}

impl Keys {
    fn new(size: Size, index: u32) -> Self {
        let left = size.records / u64::from(PARALLELISM);
        Self { rng: Rng::new(u64::from(index) + 1), left, keys: size.keys }
    }

    fn next_key(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        Some(self.rng.below(self.keys))
    }
}

/// The floor: what a person would write by hand for just this job. Returns the sum of all counts.
fn plain(size: Size) -> u64 {
    let consumers = PARALLELISM as usize;
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..consumers).map(|_| bounded::<Vec<u64>>(CHANNEL_BATCHES * consumers)).unzip();
    std::thread::scope(|scope| {
        for index in 0..PARALLELISM {
            let senders = senders.clone();
            scope.spawn(move || {
                let mut keys = Keys::new(size, index);
                let mut batches: Vec<Vec<u64>> =
                    senders.iter().map(|_| Vec::with_capacity(BATCH_RECORDS)).collect();
                while let Some(key) = keys.next_key() {
                    let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                    let target = (hash as usize * batches.len()) >> 32;
                    if let (Some(batch), Some(sender)) =
                        (batches.get_mut(target), senders.get(target))
                    {
                        batch.push(key);
                        if batch.len() == BATCH_RECORDS {
                            let full = std::mem::replace(batch, Vec::with_capacity(BATCH_RECORDS));
                            let _ = sender.send(full);
                        }
                    }
                }
                for (sender, batch) in senders.iter().zip(batches) {
                    let _ = sender.send(batch);
                }
            });
        }
        drop(senders);
        let counted: Vec<_> = receivers
            .into_iter()
            .map(|receiver| {
                scope.spawn(move || {
                    let mut counts: HashMap<u64, u64, foldhash::fast::RandomState> =
                        HashMap::default();
                    let mut sum = 0u64;
                    for batch in receiver {
                        for key in batch {
                            let count = counts.entry(key).or_insert(0);
                            *count += 1;
                            sum = sum.wrapping_add(*count);
                        }
                    }
                    sum
                })
            })
            .collect();
        counted.into_iter().map(|thread| thread.join().unwrap_or(0)).fold(0, u64::wrapping_add)
    })
}

impl Source for Keys {
    type Record = u64;
    type Position = u64;

    fn restore(&mut self, _positions: Vec<u64>) -> Result<()> {
        Ok(())
    }

    fn poll(&mut self, out: &mut Vec<u64>, records_max: usize) -> Result<SourceStatus> {
        while out.len() < records_max {
            match self.next_key() {
                Some(key) => out.push(key),
                None => return Ok(SourceStatus::End),
            }
        }
        Ok(SourceStatus::Ready)
    }

    fn watermark(&self) -> Option<Timestamp> {
        None
    }

    fn positions(&mut self) -> Result<Vec<u64>> {
        Ok(vec![self.left])
    }
}

/// Counts records by key and emits each new count.
#[derive(Default)]
struct Count {
    state: Option<ValueState<u64, u64>>,
}

impl KeyedOperator for Count {
    type In = u64;
    type Key = u64;
    type Out = u64;
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.state = Some(ValueState::register(cx.backend(), "count")?);
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, u64>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        let mut counts = [0u64; KeyedBatch::<u64>::RECORDS_MAX];
        let mut slots = counts.iter_mut();
        state.update_many(cx.backend(), batch.entries(), |_, count| {
            let next = count.unwrap_or(0) + 1;
            if let Some(slot) = slots.next() {
                *slot = next;
            }
            Some(next)
        })?;
        cx.emit_all(counts.get(..batch.len()).unwrap_or_default())
    }
}

/// A sink that adds up what it gets.
#[derive(Clone, Default)]
struct Adder(Arc<AtomicU64>);

struct AdderSink {
    total: Arc<AtomicU64>,
    sum: u64,
}

impl Sink<u64> for AdderSink {
    fn write(&mut self, record: &u64) -> Result<()> {
        self.sum = self.sum.wrapping_add(*record);
        Ok(())
    }

    fn pre_commit(&mut self, _checkpoint: CheckpointId) -> Result<PreCommit> {
        Ok(Box::new(|| Ok(Vec::new())))
    }

    fn commit(&mut self, _checkpoint: CheckpointId) -> Result<()> {
        self.total.fetch_add(std::mem::take(&mut self.sum), Ordering::Relaxed);
        Ok(())
    }
}

impl SinkRecovery for Adder {
    fn recover(
        &self,
        _restored: Option<CheckpointId>,
        _committables: &[Vec<u8>],
    ) -> Result<RecoverySummary> {
        Ok(RecoverySummary::default())
    }
}

impl SinkFactory<u64> for Adder {
    fn open(&self, _attempt: AttemptId, _subtask: u32) -> Result<Box<dyn Sink<u64>>> {
        Ok(Box::new(AdderSink { total: Arc::clone(&self.0), sum: 0 }))
    }
}

/// The same job through the runtime. Returns the sum of all counts and the checkpoints completed.
fn runtime(size: Size, interval_ms: Option<u64>) -> Result<(u64, u64)> {
    let folder = tempfile::tempdir().map_err(|error| failure(&error))?;
    let store = LocalStore::create(folder.path())?;
    let mut settings = JobSettings::new("bench", MaxParallelism::new(128)?);
    settings.checkpoints.interval_ms = interval_ms;
    let mut graph = JobGraph::new(settings);
    let keys = graph.source("keys", PARALLELISM, move |cx| Ok(Keys::new(size, cx.index)));
    let functions = (|key: &u64| Some(*key), |key: &u64| *key, |_| Ok(Count::default()));
    let counts = graph.keyed("count", PARALLELISM, &keys, functions);
    let adder = Adder::default();
    graph.sink(&counts, "sum", adder.clone());
    let environment = JobEnvironment {
        storage: Arc::new(CheckpointStorage::new(Arc::new(store))),
        backends: Arc::new(MemoryBackendFactory::default()),
        clock: Arc::new(SystemClock::new()),
        listener: Arc::new(QuietListener),
    };
    let report = Job::new(graph, environment)?.run(StartFrom::Beginning)?;
    Ok((adder.0.load(Ordering::Relaxed), report.checkpoints_completed))
}

fn failure(error: &dyn std::fmt::Display) -> millpond_runtime::JobError {
    millpond_runtime::JobError::new(millpond_runtime::JobErrorKind::Output, error.to_string())
}

/// All series in turn, round by round, and their ratios: a machine whose speed drifts does so for
/// all of them.
fn compare(size: Size) -> Result<()> {
    let clock = SystemClock::new();
    let time = |work: &mut dyn FnMut() -> Result<u64>| -> Result<(Duration, u64)> {
        let start = clock.monotonic();
        let sum = work()?;
        Ok((clock.monotonic().saturating_sub(start), sum))
    };
    let (mut rates, mut checkpoints) = ([const { Vec::new() }; 3], 0);
    for _ in 0..size.rounds {
        let (floor, expected) = time(&mut || Ok(plain(size)))?;
        let (free, sum) = time(&mut || Ok(runtime(size, None)?.0))?;
        let (kept, kept_sum) = time(&mut || {
            let (sum, completed) = runtime(size, Some(1_000))?;
            checkpoints += completed;
            Ok(sum)
        })?;
        if sum != expected || kept_sum != expected {
            return Err(failure(&format!("sums differ: {expected} {sum} {kept_sum}")));
        }
        for (rates, took) in rates.iter_mut().zip([floor, free, kept]) {
            rates.push(size.records as f64 / took.as_secs_f64() / 1e6);
        }
    }
    let [floor, free, kept] = rates;
    let of = |over: &[f64], under: &[f64]| {
        median(over.iter().zip(under).map(|(over, under)| over / under).collect())
    };
    let mut lines = format!(
        "\n{} records, {} keys, medians of {} rounds\n",
        size.records, size.keys, size.rounds
    );
    lines +=
        &format!("plain pipeline                   {:6.2} M records/s\n", median(floor.clone()));
    lines += &format!(
        "runtime                          {:6.2} M records/s, {:.2} of plain\n",
        median(free.clone()),
        of(&free, &floor)
    );
    lines += &format!(
        "runtime, checkpoint each second  {:6.2} M records/s, {:.2} of runtime without \
         ({checkpoints} checkpoints)\n",
        median(kept.clone()),
        of(&kept, &free)
    );
    println!("{lines}");
    Ok(())
}

fn end_to_end(criterion: &mut Criterion) {
    let size = size(!is_measuring());
    if let Err(error) = compare(size) {
        println!("end_to_end failed: {error}");
        std::process::exit(1);
    }
    let once = Size { records: size.records / 10, ..size };
    let mut group = criterion.benchmark_group("end_to_end");
    group.sample_size(10).throughput(criterion::Throughput::Elements(once.records));
    group.bench_function("plain", |bencher| bencher.iter(|| black_box(plain(once))));
    group.bench_function("runtime", |bencher| {
        bencher.iter(|| black_box(runtime(once, None).map_or(0, |(sum, _)| sum)));
    });
    group.finish();
}

criterion_group!(benches, end_to_end);
criterion_main!(benches);
