//! How fast is keyed access of the filesystem backend, measured against a raw hash map in the same
//! run, and with the feature `rocksdb` against a raw RocksDB?
//!
//! The state is first overwritten twice, so that compaction goes on at its usual pace while writes
//! are measured. Keys are chosen uniformly, and by Zipf's law with exponent 1; which keys a round
//! accesses is decided before it is timed. *Chained*: the next key depends on the value just read,
//! which is what one access costs; *overlapped*: the processor works on several by itself.
//!
//! Series run in turn, round by round, so that what else the machine does hits all alike; the table
//! shows medians and ratios.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures, prints, and stops on errors"
)]

use std::hint::black_box;
use std::time::Instant;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use millpond_bench::{Distribution, Sampler};
#[cfg(feature = "rocksdb")]
use millpond_benches::raw_rocksdb::RawRocksDb;
use millpond_benches::{Rng, Sizes, at, fill, key, max_parallelism, median, number_in};
use millpond_fs::{FsBackend, FsBackendFactory, FsOptions};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    BackendContext, Edit, KeyedBackend, MaxParallelism, StateCodecs, StateDescriptor, StateId,
    StateKind,
};
use tempfile::TempDir;

/// Entries of a batch.
const BATCH: usize = 64;

/// A value of a fixed size, as the raw map stores it.
type Value<const N: usize> = [u8; N];

fn value<const N: usize>(number: u64) -> Value<N> {
    let mut value = [0; N];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

/// What is compared: stores with the same contents.
struct Subjects<const N: usize> {
    raw: HashMap<u64, Value<N>, FixedState>,
    backend: FsBackend,
    state: StateId,
    max: MaxParallelism,
    #[cfg(feature = "rocksdb")]
    rocksdb: RawRocksDb,
    _dir: TempDir,
}

impl<const N: usize> Subjects<N> {
    fn new(keys: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let factory = FsBackendFactory::new(FsOptions::new(dir.path().join("fs"))).unwrap();
        let max = max_parallelism().unwrap();
        let context = BackendContext::new("bench", max.full_range(), max);
        let mut backend = factory.open_backend(&context).unwrap();
        let state = backend.register(&descriptor()).unwrap();
        fill(&mut backend, state, keys, N).unwrap();
        let mut rng = Rng::new(1);
        for _ in 0..2 * keys {
            let number = rng.below(keys);
            let place = key(number).to_be_bytes();
            backend.put(state, at(&place, max), &value::<N>(number)).unwrap();
        }
        let mut raw = HashMap::with_hasher(FixedState::default());
        raw.extend((0..keys).map(|number| (key(number), value(number))));
        Self {
            raw,
            backend,
            state,
            max,
            #[cfg(feature = "rocksdb")]
            rocksdb: filled_rocksdb(&dir.path().join("rocksdb"), keys, N),
            _dir: dir,
        }
    }
}

/// Not overwritten: that would only make it slower.
#[cfg(feature = "rocksdb")]
fn filled_rocksdb(folder: &std::path::Path, keys: u64, value_bytes: usize) -> RawRocksDb {
    let database = RawRocksDb::create(folder, None).unwrap();
    let mut value = vec![0; value_bytes];
    for number in 0..keys {
        value[..8].copy_from_slice(&number.to_le_bytes());
        database.put_value(key(number), &value).unwrap();
    }
    database
}

fn descriptor() -> StateDescriptor {
    let identity = || CodecIdentity::new("bytes", 1);
    let (key, namespace, value) = (identity(), CodecIdentity::void(), identity());
    let codecs = StateCodecs { key, namespace, user_key: None, value };
    StateDescriptor::new("totals", StateKind::Value, codecs).unwrap()
}

/// Accesses these keys and returns a checksum of what was read.
type Run<const N: usize> = fn(&mut Subjects<N>, &[u64]) -> u64;

/// What a series is compared with: a raw series of the same kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Floor {
    Get,
    GetChained,
    Update,
    UpdateChained,
}

struct Series<const N: usize> {
    name: &'static str,
    floor: Floor,
    run: Run<N>,
}

fn all_series<const N: usize>() -> Vec<Series<N>> {
    use Floor::{Get, GetChained, Update, UpdateChained};
    let series = |name, floor, run| Series { name, floor, run };
    vec![
        series("raw get, chained", GetChained, raw_get::<N, true>),
        series("raw get, overlapped", Get, raw_get::<N, false>),
        series("raw update, chained", UpdateChained, raw_update::<N, true>),
        series("raw update, overlapped", Update, raw_update::<N, false>),
        series("get, chained", GetChained, get::<N, true>),
        series("get, overlapped", Get, get::<N, false>),
        series("update, chained", UpdateChained, update::<N, true>),
        series("update, overlapped", Update, update::<N, false>),
        series("put", Update, put),
        series("get_many 64", Get, get_many),
        series("update_many 64", Update, update_many),
        series("put_many 64", Update, put_many),
        #[cfg(feature = "rocksdb")]
        series("raw RocksDB get", Get, rocksdb_get),
        #[cfg(feature = "rocksdb")]
        series("raw RocksDB update", Update, rocksdb_update),
    ]
}

/// A key; when chained, not known before the last value is. `zero` is 0.
#[inline(always)]
const fn next<const CHAINED: bool>(key: u64, last: u64, zero: u64) -> u64 {
    if CHAINED { key ^ (last & zero) } else { key }
}

fn raw_get<const N: usize, const CHAINED: bool>(s: &mut Subjects<N>, keys: &[u64]) -> u64 {
    let (zero, mut last, mut sum) = (black_box(0), 0, 0u64);
    for key in keys {
        last = number_in(&s.raw[&next::<CHAINED>(*key, last, zero)]);
        sum = sum.wrapping_add(last);
    }
    sum
}

fn raw_update<const N: usize, const CHAINED: bool>(s: &mut Subjects<N>, keys: &[u64]) -> u64 {
    let (zero, mut last) = (black_box(0), 0);
    for key in keys {
        let value = s.raw.get_mut(&next::<CHAINED>(*key, last, zero)).unwrap();
        last = number_in(value) ^ 1;
        value[..8].copy_from_slice(&last.to_le_bytes());
    }
    last
}

fn get<const N: usize, const CHAINED: bool>(s: &mut Subjects<N>, keys: &[u64]) -> u64 {
    let backend: &mut dyn KeyedBackend = black_box(&mut s.backend);
    let (zero, mut last, mut sum) = (black_box(0), 0, 0u64);
    for key in keys {
        let key = next::<CHAINED>(*key, last, zero).to_be_bytes();
        last = number_in(backend.get(s.state, at(&key, s.max)).unwrap().unwrap());
        sum = sum.wrapping_add(last);
    }
    sum
}

/// Changes the number in a value, and returns it.
#[inline(always)]
fn change(edit: &mut Edit<'_>) -> millpond_state::Result<u64> {
    let current = edit.current().unwrap();
    let next = number_in(current) ^ 1;
    edit.replace_with(|out| {
        out.extend_from_slice(&next.to_le_bytes());
        if current.len() > 8 {
            out.extend_from_slice(&current[8..]);
        }
        Ok(())
    })?;
    Ok(next)
}

fn update<const N: usize, const CHAINED: bool>(s: &mut Subjects<N>, keys: &[u64]) -> u64 {
    let backend: &mut dyn KeyedBackend = black_box(&mut s.backend);
    let (zero, mut last) = (black_box(0), 0);
    for key in keys {
        let key = next::<CHAINED>(*key, last, zero).to_be_bytes();
        let mut visit = |_: usize, edit: &mut Edit<'_>| {
            last = change(edit)?;
            Ok(())
        };
        backend.update_many(s.state, &[at(&key, s.max)], &mut visit).unwrap();
    }
    last
}

fn put<const N: usize>(s: &mut Subjects<N>, keys: &[u64]) -> u64 {
    let backend: &mut dyn KeyedBackend = black_box(&mut s.backend);
    let value = value::<N>(7);
    for key in keys {
        backend.put(s.state, at(&key.to_be_bytes(), s.max), &value).unwrap();
    }
    0
}

/// The keys of a batch, encoded.
fn encoded(keys: &[u64]) -> [[u8; 8]; BATCH] {
    std::array::from_fn(|index| keys[index].to_be_bytes())
}

fn get_many<const N: usize>(s: &mut Subjects<N>, keys: &[u64]) -> u64 {
    let backend: &mut dyn KeyedBackend = black_box(&mut s.backend);
    let mut sum = 0u64;
    for keys in keys.chunks_exact(BATCH).map(encoded) {
        let entries = keys.each_ref().map(|key| at(key, s.max));
        let mut out = [None; BATCH];
        backend.get_many(s.state, &entries, &mut out).unwrap();
        for value in out {
            sum = sum.wrapping_add(number_in(value.unwrap()));
        }
    }
    sum
}

fn update_many<const N: usize>(s: &mut Subjects<N>, keys: &[u64]) -> u64 {
    let backend: &mut dyn KeyedBackend = black_box(&mut s.backend);
    for keys in keys.chunks_exact(BATCH).map(encoded) {
        let entries = keys.each_ref().map(|key| at(key, s.max));
        backend.update_many(s.state, &entries, &mut |_, edit| change(edit).map(|_| ())).unwrap();
    }
    0
}

fn put_many<const N: usize>(s: &mut Subjects<N>, keys: &[u64]) -> u64 {
    let backend: &mut dyn KeyedBackend = black_box(&mut s.backend);
    let value = value::<N>(7);
    for keys in keys.chunks_exact(BATCH).map(encoded) {
        let entries = keys.each_ref().map(|key| at(key, s.max));
        backend.put_many(s.state, &entries, &[&value[..]; BATCH]).unwrap();
    }
    0
}

#[cfg(feature = "rocksdb")]
fn rocksdb_get<const N: usize>(s: &mut Subjects<N>, keys: &[u64]) -> u64 {
    let get = |key: &u64| number_in(s.rocksdb.value(*key).unwrap().unwrap().as_ref());
    keys.iter().fold(0u64, |sum, key| sum.wrapping_add(get(key)))
}

#[cfg(feature = "rocksdb")]
fn rocksdb_update<const N: usize>(s: &mut Subjects<N>, keys: &[u64]) -> u64 {
    for key in keys {
        let mut value = [0; N];
        value.copy_from_slice(s.rocksdb.value(*key).unwrap().unwrap().as_ref());
        value[0] ^= 1;
        s.rocksdb.put_value(*key, &value).unwrap();
    }
    0
}

/// Keys to be accessed.
fn choose(distribution: Distribution, count: usize, keys: u64, seed: u64) -> Vec<u64> {
    let mut sampler = Sampler::new(distribution, keys, seed);
    (0..count).map(|_| key(sampler.next_number())).collect()
}

/// Checks that all ways of reading see what the raw map has.
fn check<const N: usize>(subjects: &mut Subjects<N>, keys: u64) {
    let accessed = choose(Distribution::Uniform, 6_400, keys, 3);
    let mut expected = None;
    for series in all_series::<N>() {
        if matches!(series.floor, Floor::Get | Floor::GetChained) {
            let sum = (series.run)(subjects, &accessed);
            assert_eq!(*expected.get_or_insert(sum), sum, "{}", series.name);
        }
    }
}

/// Runs all series in turn and prints medians and ratios to the floor.
fn compare<const N: usize>(
    subjects: &mut Subjects<N>,
    keys: u64,
    distribution: Distribution,
    sizes: &Sizes,
) {
    let series = all_series::<N>();
    let mut figures = vec![Vec::new(); series.len()];
    for round in 0..=sizes.rounds {
        for (number, (series, figures)) in series.iter().zip(&mut figures).enumerate() {
            let seed = (round * 100 + number) as u64;
            let accessed = choose(distribution, sizes.operations, keys, seed);
            let start = Instant::now();
            black_box((series.run)(subjects, &accessed));
            if round > 0 || sizes.rounds == 1 {
                figures.push(start.elapsed().as_nanos() as f64 / accessed.len() as f64);
            }
        }
    }
    let medians: Vec<f64> = figures.into_iter().map(median).collect();
    println!("\n{keys} keys, {N} bytes a value, {distribution}");
    println!("  {:<24} {:>8}  of raw", "series", "ns");
    for (one, ns) in series.iter().zip(&medians) {
        let raw = series.iter().position(|it| it.floor == one.floor).map_or(0.0, |at| medians[at]);
        println!("  {:<24} {ns:>8.1} {:>7.2}", one.name, raw / ns);
    }
}

fn measure<const N: usize>(keys: u64, sizes: &Sizes) {
    let mut subjects = Subjects::<N>::new(keys);
    check(&mut subjects, keys);
    compare(&mut subjects, keys, Distribution::Uniform, sizes);
    compare(&mut subjects, keys, Distribution::Zipf(1.0), sizes);
    let it = subjects.backend.statistics();
    let own = it.appended_bytes - it.copied_bytes;
    println!(
        "  index bytes a key {:.1}, segments {}, sealed/live bytes {:.2}, write amplification \
         {:.2}",
        it.index_bytes as f64 / it.index_entries as f64,
        it.segments,
        it.sealed_bytes as f64 / it.live_bytes as f64,
        it.appended_bytes as f64 / own as f64,
    );
}

fn main() {
    let sizes = Sizes::from_environment();
    for keys in &sizes.keys {
        for value_bytes in &sizes.value_bytes {
            match value_bytes {
                8 => measure::<8>(*keys, &sizes),
                _ => measure::<100>(*keys, &sizes),
            }
        }
    }
}
