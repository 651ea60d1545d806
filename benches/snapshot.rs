//! What does a snapshot cost the writer: the pause, the rate of updates while it is written, and
//! the wait of single updates, against a control without a snapshot?
//!
//! Rounds alternate between control and snapshot, so that what else the machine does hits both
//! alike. Figures are medians over the rounds; worst waits are also given for the quietest round,
//! since a shared machine preempts at will, as the control shows.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures, prints, and stops on errors"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use criterion::Criterion;
use millpond_benches::{
    Rng, Sizes, at, fill, is_measuring, key, max_parallelism, median, memory_backend,
};
use millpond_memory::MemoryBackend;
use millpond_state::{
    CancelFlag, CheckpointId, EntrySink, KeyedBackend, MaxParallelism, Result, SnapshotEntry,
    SnapshotRequest, SnapshotTask, StateDescriptor, StateId,
};

/// Takes entries and copies their bytes into a block, as a writer of files does first.
#[derive(Default)]
struct CopyingSink {
    block: Vec<u8>,
    entries: u64,
}

impl EntrySink for CopyingSink {
    fn begin(&mut self, _: &[StateDescriptor]) -> Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        if self.block.len() > 64 * 1024 {
            black_box(&self.block);
            self.block.clear();
        }
        self.block.extend_from_slice(entry.key);
        self.block.extend_from_slice(entry.value);
        self.entries += 1;
        Ok(())
    }
}

struct Writer {
    backend: MemoryBackend,
    state: StateId,
    max: MaxParallelism,
    keys: u64,
    value: Vec<u8>,
    rng: Rng,
    snapshots: u64,
}

impl Writer {
    fn new(keys: u64, value_bytes: usize) -> Self {
        let (mut backend, state) = memory_backend().unwrap();
        fill(&mut backend, state, keys, value_bytes).unwrap();
        let max = max_parallelism().unwrap();
        let (value, rng) = (vec![1; value_bytes], Rng::new(11));
        Self { backend, state, max, keys, value, rng, snapshots: 0 }
    }

    #[inline]
    fn update(&mut self) {
        let key = key(self.rng.below(self.keys)).to_be_bytes();
        let (backend, value) = (&mut self.backend as &mut dyn KeyedBackend, &self.value);
        black_box(backend).put(self.state, at(&key, self.max), value).unwrap();
    }

    /// Writes into every segment, so that none is shared with a past snapshot.
    fn own_everything(&mut self) {
        for number in 0..self.keys {
            let key = key(number).to_be_bytes();
            self.backend.put(self.state, at(&key, self.max), &self.value).unwrap();
        }
    }

    fn snapshot(&mut self) -> (Box<dyn SnapshotTask>, Duration) {
        self.snapshots += 1;
        let request = SnapshotRequest::full(CheckpointId::new(self.snapshots));
        let start = Instant::now();
        let task = self.backend.snapshot(&request).unwrap();
        (task, start.elapsed())
    }
}

/// A snapshot that is being written by a thread of its own.
struct Writing {
    thread: JoinHandle<u64>,
    done: Arc<AtomicBool>,
}

impl Writing {
    fn start(task: Box<dyn SnapshotTask>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            let mut sink = CopyingSink::default();
            let summary = task.run(&mut sink, &CancelFlag::new()).unwrap();
            flag.store(true, Ordering::Release);
            assert_eq!(summary.entries, sink.entries);
            sink.entries
        });
        Self { thread, done }
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    fn finish(self, keys: u64) {
        assert_eq!(self.thread.join().unwrap(), keys);
    }
}

/// How fast updates went.
#[derive(Clone, Copy)]
struct Rate {
    per_s: f64,
    /// By the time that the writer really had a processor; 0 where the system doesn't tell.
    per_cpu_s: f64,
}

/// Seconds that this thread has run on a processor, if the system tells.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok());
    ns.unwrap_or_default() / 1e9
}

/// The rate of updates until `stop` says so, and their number; `operations` at a time.
fn rate(writer: &mut Writer, operations: u64, mut stop: impl FnMut(u64) -> bool) -> (Rate, u64) {
    let (start, cpu, mut count) = (Instant::now(), cpu_s(), 0);
    while !stop(count) {
        for _ in 0..operations {
            writer.update();
        }
        count += operations;
    }
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_s() - cpu);
    let per_cpu_s = if cpu > 0.0 { count as f64 / cpu } else { 0.0 };
    (Rate { per_s: count as f64 / elapsed, per_cpu_s }, count)
}

/// Waits of single updates in nanoseconds, ascending.
fn waits(writer: &mut Writer, mut stop: impl FnMut(usize) -> bool) -> Vec<u64> {
    let mut waits = Vec::with_capacity(1 << 22);
    let mut last = Instant::now();
    while !stop(waits.len()) && waits.len() < waits.capacity() {
        writer.update();
        let now = Instant::now();
        waits.push((now - last).as_nanos() as u64);
        last = now;
    }
    waits.sort_unstable();
    waits
}

/// Median, 99th, 99.99th percentile and maximum, in microseconds.
fn percentiles(waits: &[u64]) -> [f64; 4] {
    [0.5, 0.99, 0.9999, 1.0].map(|part| {
        let index = (waits.len() as f64 * part) as usize;
        waits[index.min(waits.len() - 1)] as f64 / 1e3
    })
}

/// One round's figures.
struct Round {
    pause_us: f64,
    idle: Rate,
    busy: Rate,
    control: [f64; 4],
    during: [f64; 4],
}

fn round(writer: &mut Writer) -> Round {
    let block = writer.keys.min(1_000);
    writer.own_everything();
    let (task, pause) = writer.snapshot();
    let writing = Writing::start(task);
    let (busy, count) = rate(writer, block, |_| writing.is_done());
    writing.finish(writer.keys);
    writer.own_everything();
    let (idle, _) = rate(writer, block, |done| done >= count);

    let (task, _) = writer.snapshot();
    let writing = Writing::start(task);
    let during = waits(writer, |done| done > 0 && writing.is_done());
    writing.finish(writer.keys);
    writer.own_everything();
    let control = waits(writer, |done| done >= during.len());
    Round {
        pause_us: pause.as_nanos() as f64 / 1e3,
        idle,
        busy,
        control: percentiles(&control),
        during: percentiles(&during),
    }
}

fn report(writer: &mut Writer, rounds: usize) {
    let rounds: Vec<Round> = (0..rounds).map(|_| round(writer)).collect();
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    println!("\n{} keys, {} bytes a value", writer.keys, writer.value.len());
    println!("  pause                    {:>10.1} us", of(&|r| r.pause_us));
    println!("  updates a second         {:>10} {:>12}", "wall clock", "of CPU time");
    let (idle, busy) = (of(&|r| r.idle.per_s), of(&|r| r.busy.per_s));
    let (idle_cpu, busy_cpu) = (of(&|r| r.idle.per_cpu_s), of(&|r| r.busy.per_cpu_s));
    println!("    idle                   {idle:>10.0} {idle_cpu:>12.0}");
    println!("    during a snapshot      {busy:>10.0} {busy_cpu:>12.0}");
    let ratio_cpu = of(&|r| r.busy.per_cpu_s / r.idle.per_cpu_s);
    println!(
        "    ratio                  {:>10.2} {ratio_cpu:>12.2}",
        of(&|r| r.busy.per_s / r.idle.per_s)
    );
    println!("  wait in us      p50      p99   p99.99      max   (quietest: p99.99, max)");
    for name in ["control", "snapshot"] {
        let figures = |r: &Round| if name == "control" { r.control } else { r.during };
        let least = |i: usize| rounds.iter().map(|r| figures(r)[i]).fold(f64::MAX, f64::min);
        let [p50, p99, p9999, max] = [0, 1, 2, 3].map(|i| of(&|r| figures(r)[i]));
        println!(
            "  {name:<9} {p50:>9.2}{p99:>9.2}{p9999:>9.1}{max:>9.1}   ({:.1}, {:.1})",
            least(2),
            least(3)
        );
    }
    println!();
}

fn main() {
    let sizes = Sizes::from_environment();
    let mut criterion = Criterion::default().configure_from_args();
    let rounds = if is_measuring() { sizes.rounds.min(5) } else { 1 };
    for keys in &sizes.keys {
        for value_bytes in &sizes.value_bytes {
            let mut writer = Writer::new(*keys, *value_bytes);
            report(&mut writer, rounds);
            let mut group =
                criterion.benchmark_group(format!("snapshot/{keys} keys/{value_bytes} B"));
            group.sample_size(10).warm_up_time(Duration::from_millis(1));
            group.measurement_time(Duration::from_millis(500));
            group.bench_function("pause", |bencher| {
                bencher.iter_custom(|snapshots| {
                    let pauses = (0..snapshots).map(|_| {
                        writer.own_everything();
                        writer.snapshot().1
                    });
                    pauses.sum()
                });
            });
            group.finish();
        }
    }
    criterion.final_summary();
}
