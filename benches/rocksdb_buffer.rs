//! What does the hash buffer in front of RocksDB win, and what does a barrier cost with it?
//!
//! A raw database, the backend on RocksDB's own write buffers and the backend with hash buffers are
//! filled with the same entries and do the same operations, one after the other, each alone on the
//! machine. Times are wall-clock times of all operations of a series, so that waiting for flushes,
//! landings and compactions counts; each series begins when the one before it has left nothing to
//! be done. Keys are uniform, or of a Zipf distribution with exponent 1.
//!
//! `MILLPOND_BENCH_SUBJECTS` (raw,memtable,hash) and `MILLPOND_BENCH_SERIES` (parts of names, or
//! barrier) leave the others out.
//!
//! The second table shows how long the writer stands still at a barrier (the raw database: for the
//! flush that a checkpoint of it begins with), and the slowest operations while a snapshot is
//! written by another thread.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures, prints, and stops on errors"
)]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millpond_benches::{Rng, Sizes, at, is_wanted, key, max_parallelism, wait_until_idle};
use millpond_rocksdb::{RocksDbBackend, RocksDbBackendFactory, RocksDbOptions, WriteBuffer};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    BackendContext, CancelFlag, CheckpointId, EntrySink, KeyedBackend, MaxParallelism, Result,
    SnapshotEntry, SnapshotRequest, StateCodecs, StateDescriptor, StateId, StateKind,
};
use rocksdb::{ColumnFamilyDescriptor, DB, FlushOptions, ReadOptions, WriteBatch, WriteOptions};
use tempfile::TempDir;

/// User keys of each map.
const MAP_KEYS: u64 = 20;

/// Entries of a batch.
const BATCH: usize = 64;

/// What is measured.
trait Subject {
    fn get(&mut self, number: u64) -> u64;
    fn put(&mut self, number: u64, value: &[u8]);
    /// As many puts at once, as the runtime does for a batch of records.
    fn put_batch(&mut self, numbers: &[u64], value: &[u8]);
    fn update(&mut self, number: u64);
    fn append(&mut self, number: u64);
    fn map_put(&mut self, number: u64, value: &[u8]);
    fn map_sum(&mut self, number: u64) -> u64;
    /// The writer's part of a barrier; returns what is to be done elsewhere.
    fn barrier(&mut self) -> Box<dyn FnOnce() + Send>;
}

struct Raw {
    db: DB,
    write: WriteOptions,
    max: MaxParallelism,
    _dir: TempDir,
}

impl Raw {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = RocksDbOptions::new(dir.path()).with_write_buffer(WriteBuffer::Memtable);
        let options = RocksDbBackendFactory::create(options).unwrap().database_options().unwrap();
        let family = ColumnFamilyDescriptor::new("default", options.clone());
        let db = DB::open_cf_descriptors(&options, dir.path().join("raw"), [family]).unwrap();
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        Self { db, write, max: max_parallelism().unwrap(), _dir: dir }
    }

    /// Key group, state and key.
    fn key(&self, state: u16, number: u64) -> [u8; 12] {
        let (mut out, key) = ([0; 12], key(number).to_be_bytes());
        out[..2].copy_from_slice(&at(&key, self.max).group().get().to_be_bytes());
        out[2..4].copy_from_slice(&state.to_be_bytes());
        out[4..].copy_from_slice(&key);
        out
    }
}

impl Subject for Raw {
    fn get(&mut self, number: u64) -> u64 {
        self.db.get_pinned(self.key(0, number)).unwrap().map_or(0, |value| u64::from(value[0]))
    }

    fn put(&mut self, number: u64, value: &[u8]) {
        self.db.put_opt(self.key(0, number), value, &self.write).unwrap();
    }

    fn put_batch(&mut self, numbers: &[u64], value: &[u8]) {
        let mut batch = WriteBatch::default();
        numbers.iter().for_each(|number| batch.put(self.key(0, *number), value));
        self.db.write_opt(batch, &self.write).unwrap();
    }

    fn update(&mut self, number: u64) {
        let key = self.key(0, number);
        let mut value = self.db.get_pinned(key).unwrap().unwrap().to_vec();
        value[0] = value[0].wrapping_add(1);
        self.db.put_opt(key, value, &self.write).unwrap();
    }

    fn append(&mut self, number: u64) {
        self.db.merge_opt(self.key(1, number), b"8 bytes.", &self.write).unwrap();
    }

    fn map_put(&mut self, number: u64, value: &[u8]) {
        let mut element = [0; 20];
        element[..12].copy_from_slice(&self.key(2, number / MAP_KEYS));
        element[12..].copy_from_slice(&(number % MAP_KEYS).to_be_bytes());
        self.db.put_opt(element, value, &self.write).unwrap();
    }

    fn map_sum(&mut self, number: u64) -> u64 {
        let start = self.key(2, number);
        let mut end = start.to_vec();
        end.push(0xFF);
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(end);
        let mut elements = self.db.raw_iterator_opt(read);
        elements.seek(start);
        let mut sum = 0;
        while let Some(value) = elements.value() {
            sum += u64::from(value[0]);
            elements.next();
        }
        sum
    }

    fn barrier(&mut self) -> Box<dyn FnOnce() + Send> {
        self.db.flush_opt(&FlushOptions::default()).unwrap();
        Box::new(|| {})
    }
}

struct Backend {
    backend: RocksDbBackend,
    states: [StateId; 3],
    max: MaxParallelism,
    _dir: TempDir,
}

fn descriptor(name: &str, kind: StateKind) -> StateDescriptor {
    let bytes = || CodecIdentity::new("bytes", 1);
    let user_key = kind.is_map().then(bytes);
    let codecs = StateCodecs { key: bytes(), namespace: bytes(), user_key, value: bytes() };
    StateDescriptor::new(name, kind, codecs).unwrap()
}

impl Backend {
    fn new(buffer: WriteBuffer) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = RocksDbOptions::new(dir.path()).with_write_buffer(buffer);
        let factory = RocksDbBackendFactory::create(options).unwrap();
        let max = max_parallelism().unwrap();
        let context = BackendContext::new("bench", max.full_range(), max);
        let mut backend = factory.open_backend(&context).unwrap();
        let kinds =
            [("values", StateKind::Value), ("lists", StateKind::List), ("maps", StateKind::Map)];
        let states = kinds.map(|(name, kind)| backend.register(&descriptor(name, kind)).unwrap());
        Self { backend, states, max, _dir: dir }
    }
}

impl Subject for Backend {
    fn get(&mut self, number: u64) -> u64 {
        let key = key(number).to_be_bytes();
        let value = self.backend.get(self.states[0], at(&key, self.max)).unwrap();
        value.map_or(0, |value| u64::from(value[0]))
    }

    fn put(&mut self, number: u64, value: &[u8]) {
        let key = key(number).to_be_bytes();
        self.backend.put(self.states[0], at(&key, self.max), value).unwrap();
    }

    fn put_batch(&mut self, numbers: &[u64], value: &[u8]) {
        let mut keys = [[0; 8]; BATCH];
        keys.iter_mut().zip(numbers).for_each(|(to, number)| *to = key(*number).to_be_bytes());
        let (entries, values) = (keys.each_ref().map(|key| at(key, self.max)), [value; BATCH]);
        let count = numbers.len();
        self.backend.put_many(self.states[0], &entries[..count], &values[..count]).unwrap();
    }

    fn update(&mut self, number: u64) {
        let key = key(number).to_be_bytes();
        let entry = at(&key, self.max);
        let mut value = self.backend.get(self.states[0], entry).unwrap().unwrap().to_vec();
        value[0] = value[0].wrapping_add(1);
        self.backend.put(self.states[0], entry, &value).unwrap();
    }

    fn append(&mut self, number: u64) {
        let key = key(number).to_be_bytes();
        self.backend.append(self.states[1], at(&key, self.max), b"8 bytes.").unwrap();
    }

    fn map_put(&mut self, number: u64, value: &[u8]) {
        let key = key(number / MAP_KEYS).to_be_bytes();
        let user_key = (number % MAP_KEYS).to_be_bytes();
        self.backend.map_put(self.states[2], at(&key, self.max), &user_key, value).unwrap();
    }

    fn map_sum(&mut self, number: u64) -> u64 {
        let key = key(number).to_be_bytes();
        let mut sum = 0;
        let visit = &mut |_: &[u8], edit: &mut millpond_state::Edit<'_>| {
            sum += u64::from(edit.current().unwrap()[0]);
            Ok(ControlFlow::Continue(()))
        };
        self.backend.map_visit(self.states[2], at(&key, self.max), visit).unwrap();
        sum
    }

    fn barrier(&mut self) -> Box<dyn FnOnce() + Send> {
        let request = SnapshotRequest::full(CheckpointId::new(1));
        let task = self.backend.snapshot(&request).unwrap();
        Box::new(move || {
            let mut bytes = Bytes(0);
            task.run(&mut bytes, &CancelFlag::new()).unwrap();
            black_box(bytes.0);
        })
    }
}

/// Counts bytes of values.
struct Bytes(u64);

impl EntrySink for Bytes {
    fn begin(&mut self, _: &[StateDescriptor]) -> Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        self.0 += entry.value.len() as u64;
        Ok(())
    }
}

/// Numbers of keys.
#[derive(Clone, Copy)]
enum Spread {
    Uniform,
    Zipf,
}

impl Spread {
    fn numbers(self, rng: &mut Rng, keys: u64, count: usize) -> Vec<u64> {
        let unit = |rng: &mut Rng| (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        (0..count)
            .map(|_| match self {
                Self::Uniform => rng.below(keys),
                // P(k) = ln(1 + 1/k) / ln(n + 1), which is 1/k but for the first few.
                Self::Zipf => {
                    let rank = (unit(rng) * ((keys + 1) as f64).ln()).exp() as u64;
                    (rank - 1).min(keys - 1)
                }
            })
            .collect()
    }
}

/// What is done with each number, or with some at once.
#[derive(Clone, Copy)]
enum Operation {
    Each(fn(&mut dyn Subject, u64, &[u8]) -> u64),
    Batch(fn(&mut dyn Subject, &[u64], &[u8])),
}

use Operation::{Batch, Each};

impl Operation {
    /// Returns a checksum of what was read.
    fn run(self, subject: &mut dyn Subject, numbers: &[u64], value: &[u8]) -> u64 {
        match self {
            Each(run) => {
                let sum = |sum: u64, number: &u64| sum.wrapping_add(run(subject, *number, value));
                numbers.iter().fold(0, sum)
            }
            Batch(run) => {
                numbers.chunks(BATCH).for_each(|numbers| run(subject, numbers, value));
                0
            }
        }
    }
}

/// Name, distribution, the part of the keys it is about, operation.
const SERIES: [(&str, Spread, u64, Operation); 13] = [
    ("update uniform", Spread::Uniform, 1, Each(put)),
    ("update zipf", Spread::Zipf, 1, Each(put)),
    ("update in batches uniform", Spread::Uniform, 1, Batch(put_batch)),
    ("update in batches zipf", Spread::Zipf, 1, Batch(put_batch)),
    ("get uniform", Spread::Uniform, 1, Each(get)),
    ("get zipf", Spread::Zipf, 1, Each(get)),
    ("read-modify-write uniform", Spread::Uniform, 1, Each(update)),
    ("read-modify-write zipf", Spread::Zipf, 1, Each(update)),
    ("append 8 B uniform", Spread::Uniform, 1, Each(append)),
    ("append 8 B zipf", Spread::Zipf, 1, Each(append)),
    ("map put uniform", Spread::Uniform, 1, Each(map_put)),
    ("iterate maps of 20 uniform", Spread::Uniform, MAP_KEYS, Each(map_sum)),
    ("iterate maps of 20 zipf", Spread::Zipf, MAP_KEYS, Each(map_sum)),
];

fn put(s: &mut dyn Subject, number: u64, value: &[u8]) -> u64 {
    s.put(number, value);
    0
}

fn put_batch(s: &mut dyn Subject, numbers: &[u64], value: &[u8]) {
    s.put_batch(numbers, value);
}

fn get(s: &mut dyn Subject, number: u64, _: &[u8]) -> u64 {
    s.get(number)
}

fn update(s: &mut dyn Subject, number: u64, _: &[u8]) -> u64 {
    s.update(number);
    0
}

fn append(s: &mut dyn Subject, number: u64, _: &[u8]) -> u64 {
    s.append(number);
    0
}

fn map_put(s: &mut dyn Subject, number: u64, value: &[u8]) -> u64 {
    s.map_put(number, value);
    0
}

fn map_sum(s: &mut dyn Subject, number: u64, _: &[u8]) -> u64 {
    s.map_sum(number)
}

/// Bytes that compress about as well as those of a real job.
fn value_of(number: u64, bytes: usize) -> Vec<u8> {
    let mut value = vec![0; bytes];
    value[..8].copy_from_slice(&number.to_le_bytes());
    let mut rng = Rng::new(number);
    value[8..(bytes / 2).max(8)].iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
    value
}

struct Figures {
    /// Million operations a second of each series, and checksums.
    rates: Vec<(f64, u64)>,
    barriers: Vec<Barrier>,
}

/// What a barrier after some changes costs.
struct Barrier {
    percent: u64,
    pause_median: Duration,
    pause_worst: Duration,
    task_median: Duration,
    get_worst: Duration,
    put_worst: Duration,
}

fn measure(subject: &mut dyn Subject, keys: u64, value_bytes: usize, sizes: &Sizes) -> Figures {
    for number in 0..keys {
        subject.put(number, &value_of(number, value_bytes));
    }
    let mut rates = Vec::new();
    for (index, (name, spread, part, operation)) in SERIES.iter().enumerate() {
        if !is_wanted("MILLPOND_BENCH_SERIES", name) {
            rates.push((f64::NAN, 0));
            continue;
        }
        wait_until_idle();
        let (mut elapsed, mut sum) = (Duration::ZERO, 0u64);
        // Updates go on for as long as it takes until flushes and compactions limit them.
        let is_long = name.starts_with("update") || name.starts_with("read-");
        let operations = if is_long { keys } else { keys / 5 };
        let count = (operations as usize).max(sizes.operations) / usize::try_from(*part).unwrap();
        for round in 0..sizes.rounds as u64 {
            let mut rng = Rng::new(round * 100 + index as u64);
            let numbers = spread.numbers(&mut rng, keys / part, count);
            let value = value_of(round, value_bytes);
            let start = Instant::now();
            sum = sum.wrapping_add(operation.run(subject, &numbers, &value));
            elapsed += start.elapsed();
        }
        let done = count * sizes.rounds * usize::try_from(*part).unwrap();
        rates.push((done as f64 / elapsed.as_secs_f64() / 1e6, sum));
    }
    let mut barriers = Vec::new();
    if is_wanted("MILLPOND_BENCH_SERIES", "barrier") {
        for percent in [0, 1, 10, 100] {
            barriers.push(barrier(subject, percent, keys, value_bytes, sizes));
        }
    }
    Figures { rates, barriers }
}

fn barrier(
    subject: &mut dyn Subject,
    percent: u64,
    keys: u64,
    value_bytes: usize,
    sizes: &Sizes,
) -> Barrier {
    let (mut pauses, mut tasks) = (Vec::new(), Vec::new());
    let (mut get_worst, mut put_worst) = (Duration::ZERO, Duration::ZERO);
    let mut rng = Rng::new(percent);
    let value = value_of(percent, value_bytes);
    for _ in 0..sizes.rounds {
        for _ in 0..keys * percent / 100 {
            subject.put(rng.below(keys), &value);
        }
        let start = Instant::now();
        let task = subject.barrier();
        pauses.push(start.elapsed());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let start = Instant::now();
                task();
                tasks.push(start.elapsed());
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                black_box(subject.get(rng.below(keys)));
                let between = Instant::now();
                subject.put(rng.below(keys), &value);
                get_worst = get_worst.max(between - start);
                put_worst = put_worst.max(between.elapsed());
            }
        });
    }
    pauses.sort_unstable();
    tasks.sort_unstable();
    Barrier {
        percent,
        pause_median: pauses[pauses.len() / 2],
        pause_worst: pauses[pauses.len() - 1],
        task_median: tasks[tasks.len() / 2],
        get_worst,
        put_worst,
    }
}

/// Makes an empty subject.
type Open = fn() -> Box<dyn Subject>;

fn compare(keys: u64, value_bytes: usize, sizes: &Sizes) {
    let subjects: [(&str, Open); 3] = [
        ("raw", || Box::new(Raw::new())),
        ("memtable", || Box::new(Backend::new(WriteBuffer::Memtable))),
        ("hash", || Box::new(Backend::new(WriteBuffer::Hash))),
    ];
    let mut all = Vec::new();
    for (name, open) in subjects {
        if is_wanted("MILLPOND_BENCH_SUBJECTS", name) {
            all.push((name, measure(&mut *open(), keys, value_bytes, sizes)));
        }
    }
    println!("{keys} keys of {value_bytes} B, M/s (ratio to the first)");
    print!("  {:28}", "");
    all.iter().for_each(|(name, _)| print!(" {name:>16}"));
    println!();
    for (index, (series, ..)) in SERIES.iter().enumerate() {
        print!("  {series:28}");
        let (first, first_sum) = all[0].1.rates[index];
        for (name, figures) in &all {
            let (rate, sum) = figures.rates[index];
            assert_eq!(sum, first_sum, "{series} of {name}");
            print!(" {rate:8.3} ({:5.2})", rate / first);
        }
        println!();
    }
    for (name, figures) in &all {
        println!("  {name}: barrier, ms   median   worst   task   slowest get, put meanwhile");
        for it in &figures.barriers {
            let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
            let pauses = (ms(it.pause_median), ms(it.pause_worst), ms(it.task_median));
            let (get, put) = (ms(it.get_worst), ms(it.put_worst));
            let (percent, (median, worst, task)) = (it.percent, pauses);
            println!("  {percent:3} % {median:25.3} {worst:7.3} {task:6.0} {get:12.3} {put:7.3}");
        }
    }
}

fn main() {
    let sizes = Sizes::from_environment();
    for &keys in &sizes.keys {
        for &value_bytes in &sizes.value_bytes {
            compare(keys, value_bytes.max(8), &sizes);
        }
    }
}
