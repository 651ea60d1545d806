//! What does the RocksDB backend cost above a raw database with the same options?
//!
//! With RocksDB's own write buffers: for hash buffers see `rocksdb_buffer`.
//!
//! Both are filled with the same entries and do the same operations in turn, round by round; the
//! table shows medians. The raw database has keys as one would put them together by hand for a
//! fixed-size key: key group, state, key and user key, 12 or 20 bytes, in the same order as the
//! backend's, so that neighbours in memory are the same on both sides. Times are processor times of
//! the calling thread where the system tells them, since both sides leave flushes and compactions
//! to the same threads and other work on the machine would drown the difference.
//!
//! `MILLPOND_BENCH_SERIES` (parts of names) leaves the others out.

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
use std::time::{Duration, Instant};

use millpond_benches::{Rng, Sizes, at, is_wanted, key, max_parallelism, median};
use millpond_rocksdb::{RocksDbBackend, RocksDbBackendFactory, RocksDbOptions, WriteBuffer};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    BackendContext, CancelFlag, CheckpointId, EntrySink, EntrySource, KeyGroup, KeyedBackend,
    MaxParallelism, Result, SnapshotEntry, SnapshotRequest, StateCodecs, StateDescriptor, StateId,
    StateKind,
};
use rocksdb::{ColumnFamilyDescriptor, DB, ReadOptions, WriteBatch, WriteOptions};
use tempfile::TempDir;

/// User keys of each map.
const MAP_KEYS: u64 = 20;

/// Entries of a batch.
const BATCH: usize = 64;

struct Subjects {
    raw: DB,
    write: WriteOptions,
    backend: RocksDbBackend,
    values: StateId,
    lists: StateId,
    maps: StateId,
    max: MaxParallelism,
    keys: u64,
    value: Vec<u8>,
    _dir: TempDir,
}

fn descriptor(name: &str, kind: StateKind) -> StateDescriptor {
    let bytes = || CodecIdentity::new("bytes", 1);
    let user_key = kind.is_map().then(bytes);
    let codecs = StateCodecs { key: bytes(), namespace: bytes(), user_key, value: bytes() };
    StateDescriptor::new(name, kind, codecs).unwrap()
}

impl Subjects {
    fn new(keys: u64, value_bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = |name: &str| {
            RocksDbOptions::new(dir.path().join(name)).with_write_buffer(WriteBuffer::Memtable)
        };
        let factory = RocksDbBackendFactory::create(options("backend")).unwrap();
        let max = max_parallelism().unwrap();
        let context = BackendContext::new("bench", max.full_range(), max);
        let mut backend = factory.open_backend(&context).unwrap();
        // With a budget of its own, of the same size.
        let raw = RocksDbBackendFactory::create(options("raw")).unwrap();
        let options = raw.database_options().unwrap();
        let family = ColumnFamilyDescriptor::new("default", options.clone());
        let raw = DB::open_cf_descriptors(&options, dir.path().join("raw/db"), [family]).unwrap();
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        let [values, lists, maps] =
            [("values", StateKind::Value), ("lists", StateKind::List), ("maps", StateKind::Map)]
                .map(|(name, kind)| backend.register(&descriptor(name, kind)).unwrap());
        let value = vec![0; value_bytes];
        Self { raw, write, backend, values, lists, maps, max, keys, value, _dir: dir }
    }

    fn fill(&mut self) {
        for number in 0..self.keys {
            let (key, value) = (key(number).to_be_bytes(), self.value_of(number));
            self.raw.put_opt(raw_key(self.max, 0, &key), &value, &self.write).unwrap();
            self.backend.put(self.values, at(&key, self.max), &value).unwrap();
        }
        for number in 0..self.keys / 100 {
            let map = key(number).to_be_bytes();
            for user_key in (0..MAP_KEYS).map(u64::to_be_bytes) {
                let element = raw_element(self.max, &map, &user_key);
                self.raw.put_opt(element, &self.value, &self.write).unwrap();
                self.backend
                    .map_put(self.maps, at(&map, self.max), &user_key, &self.value)
                    .unwrap();
            }
        }
    }

    /// Bytes that compress about as well as those of a real job.
    fn value_of(&self, number: u64) -> Vec<u8> {
        let mut value = self.value.clone();
        value[..8].copy_from_slice(&number.to_le_bytes());
        let half = value.len() / 2;
        let mut rng = Rng::new(number);
        value[8..half.max(8)].iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
        value
    }
}

/// Key group, state and key.
fn raw_key(max: MaxParallelism, state: u16, key: &[u8; 8]) -> [u8; 12] {
    let mut out = [0; 12];
    out[..2].copy_from_slice(&at(key, max).group().get().to_be_bytes());
    out[2..4].copy_from_slice(&state.to_be_bytes());
    out[4..].copy_from_slice(key);
    out
}

fn raw_element(max: MaxParallelism, map: &[u8; 8], user_key: &[u8; 8]) -> [u8; 20] {
    let mut out = [0; 20];
    out[..12].copy_from_slice(&raw_key(max, 2, map));
    out[12..].copy_from_slice(user_key);
    out
}

/// Does that many operations on one side and returns a checksum.
type Run = fn(&mut Subjects, &mut Rng, usize) -> u64;

struct Series {
    name: &'static str,
    raw: Run,
    backend: Run,
    /// Reads everything, lists left out of account, instead of so many operations.
    whole: bool,
}

/// Those that only read come first: behind writes, how many files overlap on the first level is
/// chance, different on the two sides, and worth more than what is measured here.
fn all_series() -> Vec<Series> {
    let series = |name, raw, backend, whole| Series { name, raw, backend, whole };
    vec![
        series("get", raw_get, get, false),
        series("get_many 64", raw_get, get_many, false),
        series("get_many 64 / raw multi-get", raw_get_batch, get_many, false),
        series("iterate a map of 20", raw_iterate, map_visit, false),
        series("scan of everything (snapshot)", raw_scan, snapshot, true),
        series("put", raw_put, put, false),
        series("put_many 64", raw_put, put_many, false),
        series("put_many 64 / raw write batch", raw_put_batch, put_many, false),
        series("merge (append 8 B)", raw_merge, append, false),
        series("read-modify-write", raw_update, update, false),
        series("update_many 64", raw_update, update_many, false),
    ]
}

fn next_key(s: &Subjects, rng: &mut Rng) -> [u8; 8] {
    key(rng.below(s.keys)).to_be_bytes()
}

fn raw_get(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    let read = ReadOptions::default();
    let keys = (0..count).map(|_| raw_key(s.max, 0, &next_key(s, rng)));
    keys.map(|key| s.raw.get_pinned_opt(key, &read).unwrap().unwrap().len() as u64).sum()
}

fn raw_get_batch(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    let read = ReadOptions::default();
    let family = s.raw.cf_handle("default").unwrap();
    let mut sum = 0;
    for _ in 0..count / BATCH {
        let keys: [_; BATCH] = core::array::from_fn(|_| raw_key(s.max, 0, &next_key(s, rng)));
        let found = s.raw.batched_multi_get_cf_opt(family, keys.iter(), false, &read);
        sum +=
            found.iter().map(|it| it.as_ref().unwrap().as_ref().unwrap().len() as u64).sum::<u64>();
    }
    sum
}

fn get(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    let mut sum = 0;
    for _ in 0..count {
        let key = next_key(s, rng);
        sum += s.backend.get(s.values, at(&key, s.max)).unwrap().unwrap().len() as u64;
    }
    sum
}

fn get_many(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    let mut sum = 0;
    for _ in 0..count / BATCH {
        let keys: [_; BATCH] = core::array::from_fn(|_| next_key(s, rng));
        let entries: [_; BATCH] = core::array::from_fn(|index| at(&keys[index], s.max));
        let mut out = [None; BATCH];
        s.backend.get_many(s.values, &entries, &mut out).unwrap();
        sum += out.iter().map(|value| value.unwrap().len() as u64).sum::<u64>();
    }
    sum
}

fn raw_put(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    for _ in 0..count {
        let key = raw_key(s.max, 0, &next_key(s, rng));
        s.raw.put_opt(key, &s.value, &s.write).unwrap();
    }
    0
}

fn raw_put_batch(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    for _ in 0..count / BATCH {
        let mut batch = WriteBatch::default();
        for _ in 0..BATCH {
            batch.put(raw_key(s.max, 0, &next_key(s, rng)), &s.value);
        }
        s.raw.write_opt(batch, &s.write).unwrap();
    }
    0
}

fn put(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    for _ in 0..count {
        let key = next_key(s, rng);
        s.backend.put(s.values, at(&key, s.max), &s.value).unwrap();
    }
    0
}

fn put_many(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    for _ in 0..count / BATCH {
        let keys: [_; BATCH] = core::array::from_fn(|_| next_key(s, rng));
        let entries: [_; BATCH] = core::array::from_fn(|index| at(&keys[index], s.max));
        s.backend.put_many(s.values, &entries, &[&s.value[..]; BATCH]).unwrap();
    }
    0
}

fn raw_merge(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    for _ in 0..count {
        let key = raw_key(s.max, 1, &next_key(s, rng));
        s.raw.merge_opt(key, b"8 bytes.", &s.write).unwrap();
    }
    0
}

fn append(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    for _ in 0..count {
        let key = next_key(s, rng);
        s.backend.append(s.lists, at(&key, s.max), b"8 bytes.").unwrap();
    }
    0
}

fn raw_update(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    let read = ReadOptions::default();
    for _ in 0..count {
        let key = raw_key(s.max, 0, &next_key(s, rng));
        let mut value = s.raw.get_pinned_opt(key, &read).unwrap().unwrap().to_vec();
        value[0] = value[0].wrapping_add(1);
        s.raw.put_opt(key, value, &s.write).unwrap();
    }
    0
}

fn update(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    for _ in 0..count {
        let key = next_key(s, rng);
        let mut value = [0; 1_024];
        let entry = at(&key, s.max);
        let found = s.backend.get(s.values, entry).unwrap().unwrap();
        let value = &mut value[..found.len()];
        value.copy_from_slice(found);
        value[0] = value[0].wrapping_add(1);
        s.backend.put(s.values, entry, value).unwrap();
    }
    0
}

fn update_many(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    let mut value = s.value.clone();
    for _ in 0..count / BATCH {
        let keys: [_; BATCH] = core::array::from_fn(|_| next_key(s, rng));
        let entries: [_; BATCH] = core::array::from_fn(|index| at(&keys[index], s.max));
        s.backend
            .update_many(s.values, &entries, &mut |_, edit| {
                value.copy_from_slice(edit.current().unwrap());
                value[0] = value[0].wrapping_add(1);
                edit.replace(&value);
                Ok(())
            })
            .unwrap();
    }
    0
}

fn next_map(s: &Subjects, rng: &mut Rng) -> [u8; 8] {
    key(rng.below(s.keys / 100)).to_be_bytes()
}

fn raw_iterate(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    let mut sum = 0;
    for _ in 0..count / MAP_KEYS as usize {
        let start = raw_key(s.max, 2, &next_map(s, rng));
        let mut end = start;
        end[11] = end[11].wrapping_add(1);
        let mut read = ReadOptions::default();
        if end > start {
            read.set_iterate_upper_bound(end);
        }
        let mut elements = s.raw.raw_iterator_opt(read);
        elements.seek(start);
        while let Some((key, value)) = elements.item().filter(|(key, _)| key.starts_with(&start)) {
            sum += (key.len() - 12 + value.len()) as u64;
            elements.next();
        }
    }
    sum
}

fn map_visit(s: &mut Subjects, rng: &mut Rng, count: usize) -> u64 {
    let mut sum = 0;
    for _ in 0..count / MAP_KEYS as usize {
        let map = next_map(s, rng);
        s.backend
            .map_visit(s.maps, at(&map, s.max), &mut |user_key, edit| {
                sum += (user_key.len() + edit.current().unwrap().len()) as u64;
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
    }
    sum
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

fn raw_scan(s: &mut Subjects, _: &mut Rng, _: usize) -> u64 {
    let mut read = ReadOptions::default();
    read.set_total_order_seek(true);
    read.fill_cache(false);
    read.set_readahead_size(1 << 20);
    let mut items = s.raw.raw_iterator_opt(read);
    items.seek_to_first();
    let mut sum = 0;
    while let Some((_, value)) = items.item() {
        sum += value.len() as u64;
        items.next();
    }
    sum
}

fn snapshot(s: &mut Subjects, _: &mut Rng, _: usize) -> u64 {
    let request = SnapshotRequest::full(CheckpointId::new(1));
    let mut bytes = Bytes(0);
    s.backend.snapshot(&request).unwrap().run(&mut bytes, &CancelFlag::new()).unwrap();
    bytes.0
}

/// Values of two states, in canonical order.
struct Sorted {
    states: Vec<StateDescriptor>,
    entries: Vec<(KeyGroup, u16, [u8; 8])>,
    value: Vec<u8>,
    next: usize,
}

impl Sorted {
    fn new(keys: u64, value_bytes: usize, states: [&str; 2], max: MaxParallelism) -> Self {
        let states = states.map(|name| descriptor(name, StateKind::Value)).to_vec();
        let mut entries: Vec<_> = (0..keys)
            .map(|number| {
                let key = key(number).to_be_bytes();
                (at(&key, max).group(), (number % 2) as u16, key)
            })
            .collect();
        entries.sort_unstable();
        Self { states, entries, value: vec![7; value_bytes], next: 0 }
    }
}

impl EntrySource for Sorted {
    fn states(&self) -> &[StateDescriptor] {
        &self.states
    }

    fn next_entry(&mut self) -> Result<Option<SnapshotEntry<'_>>> {
        let entry = self.entries.get(self.next);
        self.next += 1;
        let value = &self.value[..];
        Ok(entry.map(|(group, state, key)| SnapshotEntry {
            group: *group,
            state: *state,
            key,
            namespace: &[],
            user_key: &[],
            value,
        }))
    }
}

/// Restores into files, and, since the source has its states in another order, into write buffers.
fn compare_restores(keys: u64, value_bytes: usize, rounds: usize) {
    for (how, states) in [("into files", ["a", "b"]), ("into write buffers", ["b", "a"])] {
        let mut times = Vec::new();
        for _ in 0..rounds.min(3) {
            let mut subjects = Subjects::new(keys, value_bytes);
            for name in ["a", "b"] {
                subjects.backend.register(&descriptor(name, StateKind::Value)).unwrap();
            }
            let mut source = Sorted::new(keys, value_bytes, states, subjects.max);
            let start = Instant::now();
            assert_eq!(subjects.backend.restore(&mut source).unwrap(), keys);
            times.push(start.elapsed().as_secs_f64());
        }
        let rate = keys as f64 / median(times) / 1e6;
        println!("  {:32} {rate:17.3}", format!("restore {how}, wall clock"));
    }
}

/// How long the synchronous part of a snapshot takes after that many writes.
fn time_barriers(s: &mut Subjects, writes: usize, rounds: usize) {
    let request = SnapshotRequest::full(CheckpointId::new(1));
    let mut rng = Rng::new(1);
    for count in [0, writes / 10, writes] {
        let times = (0..rounds).map(|_| {
            put(s, &mut rng, count);
            let start = Instant::now();
            black_box(s.backend.snapshot(&request).unwrap());
            start.elapsed().as_secs_f64() * 1e6
        });
        let (times, what) = (median(times.collect()), format!("barrier after {count} writes"));
        println!("  {what:32} {times:14.1} us");
    }
}

/// Processor time of this thread, if the system tells.
fn thread_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

fn measure(run: impl FnOnce() -> u64) -> (f64, u64) {
    let (before, start) = (thread_time(), Instant::now());
    let checksum = black_box(run());
    let elapsed = start.elapsed();
    let used = before.and_then(|before| Some(thread_time()? - before));
    (used.unwrap_or(elapsed).as_secs_f64(), checksum)
}

fn compare(keys: u64, value_bytes: usize, sizes: &Sizes) {
    let mut subjects = Subjects::new(keys, value_bytes);
    subjects.fill();
    println!("{keys} keys of {value_bytes} B   raw M/s  backend M/s  ratio");
    let operations = (sizes.operations / 2).max(BATCH);
    let is_wanted = |series: &Series| is_wanted("MILLPOND_BENCH_SERIES", series.name);
    for series in all_series().into_iter().filter(is_wanted) {
        let (mut raw_times, mut times) = (Vec::new(), Vec::new());
        for round in 0..sizes.rounds as u64 {
            let rng = Rng::new(round);
            let raw = || (series.raw)(&mut subjects, &mut rng.clone(), operations);
            let (raw_time, raw_sum) = measure(raw);
            let backend = || (series.backend)(&mut subjects, &mut rng.clone(), operations);
            let (time, sum) = measure(backend);
            assert_eq!(sum, raw_sum, "{}", series.name);
            raw_times.push(raw_time);
            times.push(time);
        }
        let (raw, backend) = (median(raw_times), median(times));
        let done = if series.whole { keys as usize / 5 * 6 } else { operations };
        let rate = |time: f64| done as f64 / time / 1e6;
        let (raw_rate, backend_rate, ratio) = (rate(raw), rate(backend), raw / backend);
        println!("  {:32} {raw_rate:8.3} {backend_rate:8.3} {ratio:6.2}", series.name);
    }
    time_barriers(&mut subjects, operations, sizes.rounds);
    compare_restores(keys, value_bytes, sizes.rounds);
}

fn main() {
    let sizes = Sizes::from_environment();
    for &keys in &sizes.keys {
        for &value_bytes in &sizes.value_bytes {
            compare(keys, value_bytes.max(8), &sizes);
        }
    }
}
