//! How fast is keyed access, measured against a raw hash map in the same run?
//!
//! A single access is measured in two ways. *Chained*: which key comes next depends on the value
//! just read, as in an operator that acts on what it found; that is what one access costs.
//! *Overlapped*: all keys are known beforehand, and the processor works on several accesses at once
//! by itself, which a raw map's few instructions leave most room for. Batches are compared with
//! both.
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
use millpond_state::{Edit, KeyedBackend, MaxParallelism, StateId};

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

/// How the accesses of a series follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Chained,
    Overlapped,
    Batched,
}

struct Series<V> {
    name: &'static str,
    floor: Floor,
    mode: Mode,
    run: Run<V>,
}

fn all_series<V: RawValue>() -> Vec<Series<V>> {
    use Floor::{Get, Update};
    use Mode::{Batched, Chained, Overlapped};
    let series = |name, floor, mode, run| Series { name, floor, mode, run };
    vec![
        series("raw get", Get, Chained, raw_get::<V, true>),
        series("raw update", Update, Chained, raw_update::<V, true>),
        series("get, virtual", Get, Chained, get_virtual::<V, true>),
        series("get, static", Get, Chained, get_static::<V, true>),
        series("update, virtual", Update, Chained, update_virtual::<V, true>),
        series("update, static", Update, Chained, update_static::<V, true>),
        series("raw get", Get, Overlapped, raw_get::<V, false>),
        series("raw update", Update, Overlapped, raw_update::<V, false>),
        series("get, virtual", Get, Overlapped, get_virtual::<V, false>),
        series("get, static", Get, Overlapped, get_static::<V, false>),
        series("update, virtual", Update, Overlapped, update_virtual::<V, false>),
        series("update, static", Update, Overlapped, update_static::<V, false>),
        series("put, virtual", Update, Overlapped, put_virtual),
        series("get_many 16", Get, Batched, get_batches::<V, 16>),
        series("get_many 64", Get, Batched, get_batches::<V, 64>),
        series("put_many 16", Update, Batched, put_batches::<V, 16>),
        series("put_many 64", Update, Batched, put_batches::<V, 64>),
        series("update_many 16", Update, Batched, update_batches::<V, 16>),
        series("update_many 64", Update, Batched, update_batches::<V, 64>),
    ]
}

/// Chooses keys; when chained, not before the last value is known.
struct Chain<const CHAINED: bool> {
    /// Always 0, which the compiler does not know.
    zero: u64,
    last: u64,
}

impl<const CHAINED: bool> Chain<CHAINED> {
    fn new() -> Self {
        Self { zero: black_box(0), last: 0 }
    }

    fn key(&self, number: u64) -> u64 {
        key(if CHAINED { number + (self.last & self.zero) } else { number })
    }
}

fn raw_get<V: RawValue, const CHAINED: bool>(
    s: &mut Subjects<V>,
    rng: &mut Rng,
    operations: usize,
) -> u64 {
    let (mut chain, mut sum) = (Chain::<CHAINED>::new(), 0u64);
    for _ in 0..operations {
        chain.last = s.raw.get(&chain.key(rng.below(s.keys))).unwrap().number();
        sum = sum.wrapping_add(chain.last);
    }
    sum
}

fn raw_update<V: RawValue, const CHAINED: bool>(
    s: &mut Subjects<V>,
    rng: &mut Rng,
    operations: usize,
) -> u64 {
    let mut chain = Chain::<CHAINED>::new();
    for _ in 0..operations {
        let value = s.raw.get_mut(&chain.key(rng.below(s.keys))).unwrap();
        value.increment();
        chain.last = value.number();
    }
    chain.last
}

fn get_virtual<V: RawValue, const CHAINED: bool>(
    s: &mut Subjects<V>,
    rng: &mut Rng,
    operations: usize,
) -> u64 {
    let (state, max, keys) = (s.state, s.max, s.keys);
    gets::<_, CHAINED>(s.virtual_backend(), (state, max, keys), rng, operations)
}

fn get_static<V: RawValue, const CHAINED: bool>(
    s: &mut Subjects<V>,
    rng: &mut Rng,
    operations: usize,
) -> u64 {
    let (state, max, keys) = (s.state, s.max, s.keys);
    gets::<_, CHAINED>(&mut s.backend, (state, max, keys), rng, operations)
}

#[inline(always)]
fn gets<B: KeyedBackend + ?Sized, const CHAINED: bool>(
    backend: &mut B,
    (state, max, keys): (StateId, MaxParallelism, u64),
    rng: &mut Rng,
    operations: usize,
) -> u64 {
    let (mut chain, mut sum) = (Chain::<CHAINED>::new(), 0u64);
    for _ in 0..operations {
        let key = chain.key(rng.below(keys)).to_be_bytes();
        chain.last = number_in(backend.get(state, at(&key, max)).unwrap().unwrap());
        sum = sum.wrapping_add(chain.last);
    }
    sum
}

fn update_virtual<V: RawValue, const CHAINED: bool>(
    s: &mut Subjects<V>,
    rng: &mut Rng,
    operations: usize,
) -> u64 {
    let (state, max, keys) = (s.state, s.max, s.keys);
    updates::<_, CHAINED>(s.virtual_backend(), (state, max, keys), rng, operations)
}

fn update_static<V: RawValue, const CHAINED: bool>(
    s: &mut Subjects<V>,
    rng: &mut Rng,
    operations: usize,
) -> u64 {
    let (state, max, keys) = (s.state, s.max, s.keys);
    updates::<_, CHAINED>(&mut s.backend, (state, max, keys), rng, operations)
}

#[inline(always)]
fn updates<B: KeyedBackend + ?Sized, const CHAINED: bool>(
    backend: &mut B,
    (state, max, keys): (StateId, MaxParallelism, u64),
    rng: &mut Rng,
    operations: usize,
) -> u64 {
    let mut chain = Chain::<CHAINED>::new();
    for _ in 0..operations {
        let key = chain.key(rng.below(keys)).to_be_bytes();
        let last = &mut chain.last;
        backend
            .update_many(state, &[at(&key, max)], &mut |_, edit| {
                *last = increment(edit)?;
                Ok(())
            })
            .unwrap();
    }
    chain.last
}

/// Adds 1 to a value and returns it.
#[inline(always)]
fn increment(edit: &mut Edit<'_>) -> millpond_state::Result<u64> {
    let current = edit.current().unwrap();
    let next = number_in(current).wrapping_add(1);
    edit.replace_with(|out| {
        out.extend_from_slice(&next.to_le_bytes());
        // Not for a value of eight bytes: the codec of an integer writes once.
        if current.len() > 8 {
            out.extend_from_slice(&current[8..]);
        }
        Ok(())
    })?;
    Ok(next)
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
        backend.update_many(state, &entries, &mut |_, edit| increment(edit).map(|_| ())).unwrap();
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
    let floor_of = |floor: Floor, mode: Mode| {
        let raw =
            |it: &Series<V>| it.floor == floor && it.mode == mode && it.name.starts_with("raw");
        series.iter().position(raw).map_or(f64::NAN, |index| medians[index])
    };
    println!("\n{} keys, {} bytes a value", subjects.keys, size_of::<V>());
    println!("  {:<11} {:<16} {:>8}  of raw chained  of raw overlapped", "", "series", "ns");
    for (series, ns) in series.iter().zip(&medians) {
        let ratio = |mode: Mode| format!("{:.2}", floor_of(series.floor, mode) / ns);
        let (mode, chained, overlapped) = match series.mode {
            Mode::Chained => ("chained", ratio(Mode::Chained), String::new()),
            Mode::Overlapped => ("overlapped", String::new(), ratio(Mode::Overlapped)),
            Mode::Batched => ("batched", ratio(Mode::Chained), ratio(Mode::Overlapped)),
        };
        println!("  {mode:<11} {:<16} {ns:>8.1} {chained:>15} {overlapped:>18}", series.name);
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
        let mode = match series.mode {
            Mode::Chained => "chained ",
            Mode::Overlapped => "overlapped ",
            Mode::Batched => "",
        };
        let name = format!("{mode}{}", series.name);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
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
