//! How fast is keyed access, measured against a raw hash map in the same run?
//!
//! Series run in turn, round by round, so that what else the machine does hits all alike; the table
//! at the end shows medians and ratios. Criterion reports each series by itself besides.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures, prints, and stops on errors"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use millpond_benches::{
    Rng, Sizes, at, fill, key, max_parallelism, median, memory_backend, number_in,
};
use millpond_memory::MemoryBackend;
use millpond_state::{KeyedBackend, MaxParallelism, StateId};

/// A value of a fixed size, as the raw map stores it.
trait RawValue: Copy + 'static {
    fn new(number: u64) -> Self;
    fn number(&self) -> u64;
    fn increment(&mut self);
}

impl RawValue for u64 {
    fn new(number: u64) -> Self {
        number
    }
    fn number(&self) -> u64 {
        *self
    }
    fn increment(&mut self) {
        *self = self.wrapping_add(1);
    }
}

impl RawValue for [u8; 100] {
    fn new(number: u64) -> Self {
        let mut value = [0; 100];
        value[..8].copy_from_slice(&number.to_le_bytes());
        value
    }
    fn number(&self) -> u64 {
        number_in(self)
    }
    fn increment(&mut self) {
        let next = self.number().wrapping_add(1);
        self[..8].copy_from_slice(&next.to_le_bytes());
    }
}

/// What is compared: a raw map and a backend with the same contents.
struct Subjects<V> {
    raw: HashMap<u64, V, FixedState>,
    backend: MemoryBackend,
    state: StateId,
    max: MaxParallelism,
    keys: u64,
    value: Vec<u8>,
}

impl<V: RawValue> Subjects<V> {
    fn new(keys: u64) -> Self {
        let (mut backend, state) = memory_backend().unwrap();
        let value_bytes = size_of::<V>();
        fill(&mut backend, state, keys, value_bytes).unwrap();
        let mut raw = HashMap::with_hasher(FixedState::default());
        for number in 0..keys {
            raw.insert(key(number), V::new(number));
        }
        let max = max_parallelism().unwrap();
        Self { raw, backend, state, max, keys, value: vec![0; value_bytes] }
    }

    fn virtual_backend(&mut self) -> &mut dyn KeyedBackend {
        black_box(&mut self.backend as &mut dyn KeyedBackend)
    }
}

/// Does that many operations and returns a checksum of what it read.
type Run<V> = fn(&mut Subjects<V>, &mut Rng, usize) -> u64;

/// What a series is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Floor {
    Get,
    Update,
}

struct Series<V> {
    name: &'static str,
    floor: Floor,
    run: Run<V>,
}

fn all_series<V: RawValue>() -> Vec<Series<V>> {
    use Floor::{Get, Update};
    let series = |name, floor, run| Series { name, floor, run };
    vec![
        series("raw get", Get, raw_get),
        series("raw update", Update, raw_update),
        series("get, virtual", Get, get_virtual),
        series("get, static", Get, get_static),
        series("put, virtual", Update, put_virtual),
        series("put, static", Update, put_static),
        series("update, virtual", Update, update_batches::<V, 1>),
        series("get_many 16", Get, get_batches::<V, 16>),
        series("get_many 64", Get, get_batches::<V, 64>),
        series("put_many 16", Update, put_batches::<V, 16>),
        series("put_many 64", Update, put_batches::<V, 64>),
        series("update_many 16", Update, update_batches::<V, 16>),
        series("update_many 64", Update, update_batches::<V, 64>),
    ]
}

fn raw_get<V: RawValue>(s: &mut Subjects<V>, rng: &mut Rng, operations: usize) -> u64 {
    let mut sum = 0u64;
    for _ in 0..operations {
        sum = sum.wrapping_add(s.raw.get(&key(rng.below(s.keys))).unwrap().number());
    }
    sum
}

fn raw_update<V: RawValue>(s: &mut Subjects<V>, rng: &mut Rng, operations: usize) -> u64 {
    for _ in 0..operations {
        s.raw.get_mut(&key(rng.below(s.keys))).unwrap().increment();
    }
    0
}

fn get_virtual<V: RawValue>(s: &mut Subjects<V>, rng: &mut Rng, operations: usize) -> u64 {
    let (state, max, keys) = (s.state, s.max, s.keys);
    let backend = s.virtual_backend();
    let mut sum = 0u64;
    for _ in 0..operations {
        let key = key(rng.below(keys)).to_be_bytes();
        sum = sum.wrapping_add(number_in(backend.get(state, at(&key, max)).unwrap().unwrap()));
    }
    sum
}

fn get_static<V: RawValue>(s: &mut Subjects<V>, rng: &mut Rng, operations: usize) -> u64 {
    let mut sum = 0u64;
    for _ in 0..operations {
        let key = key(rng.below(s.keys)).to_be_bytes();
        sum =
            sum.wrapping_add(number_in(s.backend.get(s.state, at(&key, s.max)).unwrap().unwrap()));
    }
    sum
}

fn put_virtual<V: RawValue>(s: &mut Subjects<V>, rng: &mut Rng, operations: usize) -> u64 {
    let (state, max, keys) = (s.state, s.max, s.keys);
    let mut value = s.value.clone();
    let backend = s.virtual_backend();
    for _ in 0..operations {
        let number = rng.below(keys);
        value[..8].copy_from_slice(&number.to_le_bytes());
        backend.put(state, at(&key(number).to_be_bytes(), max), &value).unwrap();
    }
    0
}

fn put_static<V: RawValue>(s: &mut Subjects<V>, rng: &mut Rng, operations: usize) -> u64 {
    let mut value = s.value.clone();
    for _ in 0..operations {
        let number = rng.below(s.keys);
        value[..8].copy_from_slice(&number.to_le_bytes());
        s.backend.put(s.state, at(&key(number).to_be_bytes(), s.max), &value).unwrap();
    }
    0
}

fn get_batches<V: RawValue, const N: usize>(
    s: &mut Subjects<V>,
    rng: &mut Rng,
    operations: usize,
) -> u64 {
    let (state, max, keys) = (s.state, s.max, s.keys);
    let backend = s.virtual_backend();
    let mut sum = 0u64;
    for _ in 0..operations / N {
        let keys: [[u8; 8]; N] = std::array::from_fn(|_| key(rng.below(keys)).to_be_bytes());
        let entries = keys.each_ref().map(|key| at(key, max));
        let mut out = [None; N];
        backend.get_many(state, &entries, &mut out).unwrap();
        for value in out {
            sum = sum.wrapping_add(number_in(value.unwrap()));
        }
    }
    sum
}

fn put_batches<V: RawValue, const N: usize>(
    s: &mut Subjects<V>,
    rng: &mut Rng,
    operations: usize,
) -> u64 {
    let (state, max, keys) = (s.state, s.max, s.keys);
    let mut values: [Vec<u8>; N] = std::array::from_fn(|_| s.value.clone());
    let backend = s.virtual_backend();
    for _ in 0..operations / N {
        let numbers: [u64; N] = std::array::from_fn(|_| rng.below(keys));
        for (value, number) in values.iter_mut().zip(numbers) {
            value[..8].copy_from_slice(&number.to_le_bytes());
        }
        let keys = numbers.map(|number| key(number).to_be_bytes());
        let entries = keys.each_ref().map(|key| at(key, max));
        let values = values.each_ref().map(|value| &value[..]);
        backend.put_many(state, &entries, &values).unwrap();
    }
    0
}

fn update_batches<V: RawValue, const N: usize>(
    s: &mut Subjects<V>,
    rng: &mut Rng,
    operations: usize,
) -> u64 {
    let (state, max, keys) = (s.state, s.max, s.keys);
    let backend = s.virtual_backend();
    for _ in 0..operations / N {
        let keys: [[u8; 8]; N] = std::array::from_fn(|_| key(rng.below(keys)).to_be_bytes());
        let entries = keys.each_ref().map(|key| at(key, max));
        backend
            .update_many(state, &entries, &mut |_, edit| {
                let current = edit.current().unwrap();
                let next = number_in(current).wrapping_add(1).to_le_bytes();
                edit.replace_with(|out| {
                    out.extend_from_slice(&next);
                    out.extend_from_slice(&current[8..]);
                    Ok(())
                })
            })
            .unwrap();
    }
    0
}

fn time<V>(subjects: &mut Subjects<V>, run: Run<V>, seed: u64, operations: usize) -> Duration {
    let start = Instant::now();
    black_box(run(subjects, &mut Rng::new(seed), operations));
    start.elapsed()
}

/// Checks that all ways of reading see what the raw map has.
fn check<V: RawValue>(subjects: &mut Subjects<V>) {
    let series = all_series::<V>();
    let mut expected = None;
    for series in series.iter().filter(|series| series.floor == Floor::Get) {
        let sum = (series.run)(subjects, &mut Rng::new(3), 6_400);
        assert_eq!(*expected.get_or_insert(sum), sum, "{}", series.name);
    }
}

/// Runs all series in turn and prints medians, ratios to the floor, and bytes an entry.
fn compare<V: RawValue>(subjects: &mut Subjects<V>, sizes: &Sizes) {
    let series = all_series::<V>();
    let mut figures = vec![Vec::new(); series.len()];
    for round in 0..=sizes.rounds {
        for (series, figures) in series.iter().zip(&mut figures) {
            let took = time(subjects, series.run, round as u64 + 100, sizes.operations);
            if round > 0 || sizes.rounds == 1 {
                figures.push(took.as_nanos() as f64 / sizes.operations as f64);
            }
        }
    }
    let medians: Vec<f64> = figures.into_iter().map(median).collect();
    println!("\n{} keys, {} bytes a value", subjects.keys, size_of::<V>());
    println!("  {:<18} {:>8} {:>12}", "series", "ns", "of raw");
    for (series, ns) in series.iter().zip(&medians) {
        let floor = if series.floor == Floor::Get { medians[0] } else { medians[1] };
        println!("  {:<18} {:>8.1} {:>12.2}", series.name, ns, floor / ns);
    }
    let entries = subjects.keys as f64;
    let buckets = (subjects.keys * 8 / 7).next_power_of_two() as f64;
    let raw = buckets * (size_of::<(u64, V)>() + 1) as f64 / entries;
    let own = subjects.backend.memory_bytes() as f64 / entries;
    println!("  bytes an entry: raw {raw:.1}, backend {own:.1}, {:.2} of raw\n", own / raw);
}

fn measure<V: RawValue>(criterion: &mut Criterion, keys: u64, sizes: &Sizes) {
    let mut subjects = Subjects::<V>::new(keys);
    check(&mut subjects);
    compare(&mut subjects, sizes);
    let mut group = criterion.benchmark_group(format!("access/{keys} keys/{} B", size_of::<V>()));
    let block = 6_400;
    group.throughput(Throughput::Elements(block as u64));
    group.sample_size(10).warm_up_time(Duration::from_millis(150));
    group.measurement_time(Duration::from_millis(600));
    let mut seed = 0;
    for series in all_series::<V>() {
        group.bench_function(BenchmarkId::from_parameter(series.name), |bencher| {
            bencher.iter_custom(|blocks| {
                seed += 1;
                time(&mut subjects, series.run, seed, block * blocks as usize)
            });
        });
    }
    group.finish();
}

fn main() {
    let sizes = Sizes::from_environment();
    let mut criterion = Criterion::default().configure_from_args();
    for keys in &sizes.keys {
        for value_bytes in &sizes.value_bytes {
            match value_bytes {
                8 => measure::<u64>(&mut criterion, *keys, &sizes),
                _ => measure::<[u8; 100]>(&mut criterion, *keys, &sizes),
            }
        }
    }
    criterion.final_summary();
}
