//! What do RocksDB's own files save, in checkpoints and in restores at another parallelism?
//!
//! Checkpoints of a backend go to a folder through the real storage layer, after 0, 1, 10 and 100 %
//! of its keys were changed, all over or in one range of keys: how long the writer waits, how long
//! the rest takes, how many bytes are added, and how many the changed entries would take by
//! themselves: the others are what compactions have rewritten. Then the same while a writer goes
//! on, which puts, or puts and gets in turn: how fast it is during the asynchronous parts, of its
//! speed without checkpoints, and the slowest of its operations.
//!
//! Restores bring the files of 2 instances into 3 and of 3 into 2: by links to the files of the
//! checkpoint, and by copies, as from a store that has no files of this machine. They are held
//! against reading every entry of the running instances, which have nothing else to do by then, and
//! putting it again, through RocksDB's own write buffers and through the hash buffer. All files are
//! in the system's cache before. All must come to the same contents. All times are wall clock, one
//! instance after the other.
//!
//! `MILLPOND_BENCH_SUBJECTS` (memtable, hash) and `MILLPOND_BENCH_SERIES` (quiet, busy, rescale)
//! leave the others out.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures, prints, and stops on errors"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millpond_benches::{Rng, Sizes, at, is_wanted, key, max_parallelism, median};
use millpond_checkpoint::driver::{
    CheckpointFolder, CheckpointStorage, JobDescription, KeyedPart, KeyedStateSource, SharedFiles,
    SubtaskSnapshot, VertexDescription, WriteKeyedState, describe,
};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_checkpoint::{
    CheckpointHead, CheckpointKind, CheckpointMode, CheckpointToStore, SubtaskMetrics, SubtaskPart,
};
use millpond_rocksdb::{RocksDbBackend, RocksDbBackendFactory, RocksDbOptions, WriteBuffer};
use millpond_snapshot::metadata::KeyedStateHandle;
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    AttemptId, BackendContext, CancelFlag, CheckpointId, EntryKey, EntrySink, FilesTask,
    KeyGroupRange, KeyedBackend, Result, SnapshotEntry, SnapshotRequest, StateCodecs,
    StateDescriptor, StateId, StateKind, SubtaskId,
};
use millpond_storage::{LocalStore, ObjectInfo, Store, StorePath, StoreReader, StoreWriter};
use tempfile::TempDir;

const VERTEX: &str = "bench";

/// The one state.
const VALUES: StateId = StateId::new(0);

/// Checkpoints are taken until their asynchronous parts have lasted so long together, so that it
/// is no single wait that counts, or until there are so many.
const ASYNC_SECONDS_MIN: f64 = 3.0;
const CHECKPOINTS_MAX: usize = 200;

/// Longest that a put or a get may take.
const SLOW: Duration = Duration::from_millis(20);

/// Instances of one job and where their checkpoints go.
struct Job {
    factory: RocksDbBackendFactory,
    /// Of instances with RocksDB's own write buffers.
    plain: RocksDbBackendFactory,
    storage: CheckpointStorage,
    /// The same storage, without links to its files.
    remote: CheckpointStorage,
    shared: SharedFiles,
    instances: Vec<RocksDbBackend>,
    checkpoints: u64,
    dir: TempDir,
}

/// What a checkpoint cost.
struct Taken {
    handles: Vec<(KeyGroupRange, KeyedStateHandle)>,
    sync_seconds: f64,
    async_seconds: f64,
    bytes: u64,
}

fn register(backend: &mut RocksDbBackend) {
    let bytes = || CodecIdentity::new("bytes", 1);
    let codecs = StateCodecs { key: bytes(), namespace: bytes(), user_key: None, value: bytes() };
    let values = StateDescriptor::new("values", StateKind::Value, codecs).unwrap();
    assert_eq!(backend.register(&values).unwrap(), VALUES);
}

/// New, empty instances.
fn open(factory: &RocksDbBackendFactory, parallelism: u32) -> Vec<RocksDbBackend> {
    let max = max_parallelism().unwrap();
    let range = |index| max.range_of(index, parallelism).unwrap();
    let open = |range| {
        let context = BackendContext::new(VERTEX, range, max);
        let mut backend = factory.open_backend(&context).unwrap();
        register(&mut backend);
        backend
    };
    (0..parallelism).map(|index| open(range(index))).collect()
}

impl Job {
    fn new(parallelism: u32, buffer: WriteBuffer) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let factory = |name, buffer| {
            let options = RocksDbOptions::new(dir.path().join(name)).with_write_buffer(buffer);
            RocksDbBackendFactory::create(options).unwrap()
        };
        let (factory, plain) = (factory("state", buffer), factory("plain", WriteBuffer::Memtable));
        let store = LocalStore::create(dir.path().join("checkpoints")).unwrap();
        let remote = CheckpointStorage::new(Arc::new(Remote(store.clone())));
        let storage = CheckpointStorage::new(Arc::new(store));
        let shared = storage.open_shared_files(RegistrySettings::default()).unwrap();
        let instances = open(&factory, parallelism);
        Self { factory, plain, storage, remote, shared, instances, checkpoints: 0, dir }
    }

    fn put(&mut self, number: u64, value: &[u8]) {
        let (key, max) = (key(number).to_be_bytes(), max_parallelism().unwrap());
        let at = at(&key, max);
        let owner = max.subtask_of(at.group(), self.instances.len() as u32);
        self.instances[owner as usize].put(VALUES, at, value).unwrap();
    }

    fn checkpoint(&mut self) -> Taken {
        self.checkpoint_while(|_| ()).0
    }

    /// Takes a checkpoint; `meanwhile` runs during its asynchronous part if there is one instance,
    /// and is given that and when to stop.
    fn checkpoint_while<T>(
        &mut self,
        meanwhile: impl Fn(Option<(&mut RocksDbBackend, &AtomicBool)>) -> T,
    ) -> (Taken, T) {
        self.checkpoints += 1;
        let checkpoint = CheckpointId::new(self.checkpoints);
        let kind = CheckpointKind::Periodic;
        self.shared.with(|registry| registry.begin(checkpoint, kind)).unwrap();
        let request = SnapshotRequest::incremental(checkpoint);
        let start = Instant::now();
        let freeze = |it: &mut RocksDbBackend| it.snapshot_files(&request).unwrap().unwrap();
        let tasks: Vec<_> = self.instances.iter_mut().map(freeze).collect();
        let sync_seconds = start.elapsed().as_secs_f64();
        let groups: Vec<_> = self.instances.iter().map(|it| it.key_groups()).collect();
        let done = AtomicBool::new(false);
        let (storage, shared) = (&self.storage, &self.shared);
        let ((parts, async_seconds), result) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let start = Instant::now();
                let parts = write_all(storage, shared, checkpoint, &groups, tasks);
                done.store(true, Ordering::Relaxed);
                (parts, start.elapsed().as_secs_f64())
            });
            let alone = match &mut self.instances[..] {
                [one] => Some((one, &done)),
                _ => None,
            };
            let result = meanwhile(alone);
            (writing.join().unwrap(), result)
        });
        let bytes = parts.iter().map(|part| part.bytes()).sum();
        let handles = parts.iter().map(|part| part.handle().clone());
        let handles = groups.iter().copied().zip(handles).collect();
        self.publish(checkpoint, AttemptId::new(1), parts);
        (Taken { handles, sync_seconds, async_seconds, bytes }, result)
    }

    fn publish(&mut self, id: CheckpointId, attempt: AttemptId, parts: Vec<KeyedPart>) {
        let kind = CheckpointKind::Periodic;
        let head = CheckpointHead { id, attempt, kind, target: None, triggered_wall_ms: 0 };
        let part = |(index, part): (u32, KeyedPart)| {
            let payload = SubtaskSnapshot { keyed: Some(part), ..Default::default() };
            let metrics = SubtaskMetrics::default();
            (SubtaskId::new(VERTEX, index), SubtaskPart::Acknowledged { payload, metrics })
        };
        let parts: Vec<_> = (0..).zip(parts).map(part).collect();
        let collected = CheckpointToStore { head, acknowledged_after_ms: 0, parts };
        let parallelism = self.instances.len() as u32;
        let job = JobDescription {
            name: "bench".to_owned(),
            kind: "bench".to_owned(),
            state_backend: "rocksdb".to_owned(),
            mode: CheckpointMode::ExactlyOnce,
            max_parallelism: max_parallelism().unwrap(),
            vertices: vec![VertexDescription { name: VERTEX.to_owned(), parallelism }],
        };
        let metadata = describe(&job, &collected, 0).unwrap();
        self.shared.with(|registry| registry.store(&metadata)).unwrap();
        self.storage.publish(&metadata).map_err(|failed| failed.error).unwrap();
        self.shared.with(|registry| registry.complete(id)).unwrap();
    }

    /// New instances with what `taken` holds, by its files.
    fn restore(
        &self,
        storage: &CheckpointStorage,
        taken: &Taken,
        parallelism: u32,
    ) -> Vec<RocksDbBackend> {
        let folder: CheckpointFolder = storage.list().unwrap().pop().unwrap().folder;
        let folder = folder.for_restore(None);
        let mut instances = open(&self.factory, parallelism);
        for instance in &mut instances {
            for (groups, handle) in &taken.handles {
                let overlap = groups.intersection(instance.key_groups());
                let Some(key_groups) = overlap else { continue };
                let (folder, handle) = (folder.clone(), Arc::new(handle.clone()));
                KeyedStateSource { folder, handle, key_groups }.restore_into(instance).unwrap();
            }
        }
        instances
    }
}

/// New instances with what `old` hold, entry by entry.
fn put_again(
    old: &mut [RocksDbBackend],
    factory: &RocksDbBackendFactory,
    parallelism: u32,
) -> Vec<RocksDbBackend> {
    let mut instances = open(factory, parallelism);
    for old in old {
        let task = old.snapshot(&SnapshotRequest::full(CheckpointId::new(1))).unwrap();
        let mut sink = Puts { instances: &mut instances };
        task.run(&mut sink, &CancelFlag::new()).unwrap();
    }
    instances
}

/// A store whose objects are no files of this machine.
#[derive(Debug)]
struct Remote(LocalStore);

#[deny(clippy::missing_trait_methods)]
impl Store for Remote {
    fn create(&self, path: &StorePath) -> millpond_storage::Result<Box<dyn StoreWriter>> {
        self.0.create(path)
    }

    fn create_linked(&self, _: &StorePath, _: &Path) -> Option<Box<dyn StoreWriter>> {
        None
    }

    fn open(&self, path: &StorePath) -> millpond_storage::Result<Box<dyn StoreReader>> {
        Ok(Box::new(RemoteReader(self.0.open(path)?)))
    }

    fn list(&self, prefix: Option<&StorePath>) -> millpond_storage::Result<Vec<ObjectInfo>> {
        self.0.list(prefix)
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> millpond_storage::Result<Vec<StorePath>> {
        self.0.list_folders(prefix)
    }

    fn written_wall_ms(&self, path: &StorePath) -> millpond_storage::Result<Option<u64>> {
        self.0.written_wall_ms(path)
    }

    fn delete(&self, path: &StorePath) -> millpond_storage::Result<()> {
        self.0.delete(path)
    }

    fn url(&self) -> &str {
        self.0.url()
    }
}

#[derive(Debug)]
struct RemoteReader(Box<dyn StoreReader>);

#[deny(clippy::missing_trait_methods)]
impl StoreReader for RemoteReader {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> millpond_storage::Result<()> {
        self.0.read_exact_at(offset, buffer)
    }

    fn local_file(&self) -> Option<&Path> {
        None
    }
}

/// The asynchronous parts, one after the other.
fn write_all(
    storage: &CheckpointStorage,
    shared: &SharedFiles,
    checkpoint: CheckpointId,
    groups: &[KeyGroupRange],
    tasks: Vec<Box<dyn FilesTask>>,
) -> Vec<KeyedPart> {
    let write = |(index, (task, key_groups))| {
        let subtask = SubtaskId::new(VERTEX, index);
        let attempt = AttemptId::new(1);
        let write = WriteKeyedState {
            checkpoint,
            attempt,
            subtask: &subtask,
            key_groups,
            compression_level: 1,
        };
        storage.write_files((&write, "rocksdb"), task, shared, &CancelFlag::new()).unwrap()
    };
    (0..).zip(tasks.into_iter().zip(groups.iter().copied())).map(write).collect()
}

/// Puts entries into the instances that own them.
struct Puts<'i> {
    instances: &'i mut [RocksDbBackend],
}

impl EntrySink for Puts<'_> {
    fn begin(&mut self, _: &[StateDescriptor]) -> Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        let owns = |it: &&mut RocksDbBackend| it.key_groups().contains(entry.group);
        let owner = self.instances.iter_mut().find(owns).unwrap();
        let at = EntryKey::in_group(entry.key, entry.group);
        owner.put(StateId::new(entry.state), at, entry.value)
    }
}

/// Tells contents apart.
#[derive(Default, Debug, PartialEq, Eq)]
struct Sum {
    entries: u64,
    sum: u64,
}

impl EntrySink for Sum {
    fn begin(&mut self, _: &[StateDescriptor]) -> Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        self.entries += 1;
        let hash = |bytes| millpond_state::key_hash(bytes);
        self.sum = self.sum.wrapping_add(hash(entry.key) ^ hash(entry.value).rotate_left(17));
        Ok(())
    }
}

fn sum(instances: &mut [RocksDbBackend]) -> Sum {
    let mut sum = Sum::default();
    for instance in instances {
        let task = instance.snapshot(&SnapshotRequest::full(CheckpointId::new(1))).unwrap();
        task.run(&mut sum, &CancelFlag::new()).unwrap();
    }
    sum
}

/// Half of it compresses.
fn value_of(number: u64, value_bytes: usize) -> Vec<u8> {
    let mut rng = Rng::new(number);
    let mut value = vec![0; value_bytes];
    value[..value_bytes.div_ceil(2)].iter_mut().for_each(|it| *it = rng.next_u64() as u8);
    value
}

fn filled(keys: u64, value_bytes: usize, parallelism: u32, buffer: WriteBuffer) -> Job {
    let mut job = Job::new(parallelism, buffer);
    for number in 0..keys {
        job.put(number, &value_of(number, value_bytes));
    }
    // Versions on several levels.
    let mut rng = Rng::new(7);
    for number in 0..keys / 5 {
        job.put(rng.below(keys), &value_of(keys + number, value_bytes));
    }
    job
}

/// Which keys change.
#[derive(Clone, Copy)]
enum Spread {
    Uniform,
    /// Neighbours in the database.
    OneRange,
}

/// Numbers of keys in the order in which the database has them.
fn in_order(keys: u64) -> Vec<u64> {
    let max = max_parallelism().unwrap();
    let mut order: Vec<u64> = (0..keys).collect();
    order.sort_by_cached_key(|number| {
        let key = key(*number).to_be_bytes();
        (at(&key, max).group(), key)
    });
    order
}

fn change(job: &mut Job, order: &[u64], spread: Spread, count: u64, round: u64, bytes: usize) {
    let keys = order.len() as u64;
    let mut rng = Rng::new(count ^ (round << 32));
    let start = rng.below(keys);
    for index in 0..count {
        let number = match spread {
            Spread::Uniform => rng.below(keys),
            Spread::OneRange => order[((start + index) % keys) as usize],
        };
        job.put(number, &value_of(index ^ (round << 40), bytes));
    }
}

fn show_checkpoints(keys: u64, value_bytes: usize, rounds: usize, buffer: WriteBuffer) {
    let mut job = filled(keys, value_bytes, 1, buffer);
    let order = in_order(keys);
    println!(
        "{keys} keys of {value_bytes} B, {buffer:?}: checkpoint {:11} sync ms   worst  async ms \
         bytes added  of entries",
        ""
    );
    let first = job.checkpoint();
    let row = |what: &str, sync: (f64, f64), after: f64, bytes: f64, own: f64| {
        let (sync, worst, after) = (sync.0 * 1e3, sync.1 * 1e3, after * 1e3);
        println!("  {what:44} {sync:10.3} {worst:7.3} {after:9.1} {bytes:11.0} {own:11.0}");
    };
    let all = first.bytes as f64;
    row("the first", (first.sync_seconds, first.sync_seconds), first.async_seconds, all, all);
    let changes = [
        (0, Spread::Uniform, "0 %"),
        (1, Spread::Uniform, "1 %, uniform"),
        (1, Spread::OneRange, "1 %, one range"),
        (10, Spread::Uniform, "10 %, uniform"),
        (10, Spread::OneRange, "10 %, one range"),
        (100, Spread::Uniform, "100 %, uniform"),
    ];
    for (percent, spread, what) in changes {
        let (mut sync, mut after, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        let count = keys * percent / 100;
        for round in 0..rounds.min(5) as u64 {
            change(&mut job, &order, spread, count, round, value_bytes);
            let taken = job.checkpoint();
            sync.push(taken.sync_seconds);
            after.push(taken.async_seconds);
            bytes.push(taken.bytes as f64);
        }
        let worst = sync.iter().copied().fold(0.0, f64::max);
        let own = all * count as f64 / keys as f64;
        row(what, (median(sync), worst), median(after), median(bytes), own);
    }
}

/// What the writer does all the time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Puts,
    /// A put and a get in turn.
    PutsAndGets,
}

/// What a writer did, in one go or several.
#[derive(Default)]
struct Pace {
    puts: u64,
    seconds: f64,
    /// Of these, in puts.
    put_seconds: f64,
    put_worst: Duration,
    get_worst: Duration,
    /// Operations that took more than [`SLOW`].
    slow: u64,
}

impl Pace {
    /// Rounds of the writer per second.
    fn rounds_per_s(&self) -> f64 {
        self.puts as f64 / self.seconds.max(1e-9)
    }

    /// Puts per second of the time in them.
    fn puts_per_s(&self) -> f64 {
        self.puts as f64 / self.put_seconds.max(1e-9)
    }

    /// Goes on until `is_over` of the puts of this call.
    fn write_until(
        &mut self,
        (backend, writer): (&mut RocksDbBackend, Writer),
        rng: &mut Rng,
        (keys, value): (u64, &[u8]),
        mut is_over: impl FnMut(u64) -> bool,
    ) {
        let max = max_parallelism().unwrap();
        let (start, mut puts, mut putting) = (Instant::now(), 0, Duration::ZERO);
        let mut before = start;
        while !is_over(puts) {
            let put = key(rng.below(keys)).to_be_bytes();
            backend.put(VALUES, at(&put, max), value).unwrap();
            let mut after = Instant::now();
            putting += after - before;
            self.put_worst = self.put_worst.max(after - before);
            self.slow += u64::from(after - before > SLOW);
            if writer == Writer::PutsAndGets {
                let get = key(rng.below(keys)).to_be_bytes();
                backend.get(VALUES, at(&get, max)).unwrap();
                let between = std::mem::replace(&mut after, Instant::now());
                self.get_worst = self.get_worst.max(after - between);
                self.slow += u64::from(after - between > SLOW);
            }
            before = after;
            puts += 1;
        }
        self.puts += puts;
        self.seconds += start.elapsed().as_secs_f64();
        self.put_seconds += putting.as_secs_f64();
    }

    fn add(&mut self, more: &Self) {
        self.puts += more.puts;
        self.seconds += more.seconds;
        self.put_seconds += more.put_seconds;
        self.put_worst = self.put_worst.max(more.put_worst);
        self.get_worst = self.get_worst.max(more.get_worst);
        self.slow += more.slow;
    }
}

fn show_busy_checkpoints(keys: u64, value_bytes: usize, rounds: usize, buffer: WriteBuffer) {
    let mut job = filled(keys, value_bytes, 1, buffer);
    let order = in_order(keys);
    job.checkpoint();
    let value = value_of(1, value_bytes);
    let workload = (keys, &value[..]);
    println!("{keys} keys of {value_bytes} B, {buffer:?}: a writer goes on during checkpoints");
    for (writer, name) in [(Writer::Puts, "puts"), (Writer::PutsAndGets, "a put and a get in turn")]
    {
        let mut idle = Pace::default();
        let mut rng = Rng::new(11);
        // So many that a writer that only puts waits for landings and compactions as it must.
        let count = if writer == Writer::Puts { 4 * keys } else { keys / 5 };
        idle.write_until((&mut job.instances[0], writer), &mut rng, workload, |n| n >= count);
        println!(
            "  {name}: {:.0} rounds/s without, {:.0} puts per second in them, slowest {:.1} and \
             {:.1} ms",
            idle.rounds_per_s(),
            idle.puts_per_s(),
            idle.put_worst.as_secs_f64() * 1e3,
            idle.get_worst.as_secs_f64() * 1e3,
        );
        println!(
            "    changed before  checkpoints  sync ms   worst  async ms  seconds  puts and rounds \
             of speed  slowest put, get ms  over 20 ms  stolen ms"
        );
        for percent in [0, 1, 10, 100] {
            let (mut sync, mut after, mut pace) = (Vec::new(), Vec::new(), Pace::default());
            let stolen = stolen_ms();
            while after.len() < CHECKPOINTS_MAX
                && (after.len() < rounds.min(5) || after.iter().sum::<f64>() < ASYNC_SECONDS_MIN)
            {
                let round = after.len() as u64;
                change(&mut job, &order, Spread::Uniform, keys * percent / 100, round, value_bytes);
                let (taken, more) = job.checkpoint_while(|alone| {
                    let (backend, done) = alone?;
                    let (mut pace, mut rng) = (Pace::default(), Rng::new(round));
                    let is_over = |_| done.load(Ordering::Relaxed);
                    pace.write_until((backend, writer), &mut rng, workload, is_over);
                    Some(pace)
                });
                sync.push(taken.sync_seconds);
                after.push(taken.async_seconds);
                pace.add(&more.unwrap());
            }
            let worst = sync.iter().copied().fold(0.0, f64::max) * 1e3;
            println!(
                "    {percent:3} % {:19} {:8.3} {worst:7.3} {:9.1} {:8.2} {:9.2} {:10.2} {:17.2} \
                 {:8.2} {:11} {:10}",
                after.len(),
                median(sync) * 1e3,
                median(after.clone()) * 1e3,
                after.iter().sum::<f64>(),
                pace.puts_per_s() / idle.puts_per_s(),
                pace.rounds_per_s() / idle.rounds_per_s(),
                pace.put_worst.as_secs_f64() * 1e3,
                pace.get_worst.as_secs_f64() * 1e3,
                pace.slow,
                stolen_ms().saturating_sub(stolen),
            );
        }
    }
}

/// Milliseconds that the host of this virtual machine has kept from its processors so far: waits
/// of the writer that no code here is the cause of.
fn stolen_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().and_then(|cpu| cpu.split_whitespace().nth(8)?.parse().ok());
    10 * ticks.unwrap_or(0u64)
}

fn show_rescale(keys: u64, value_bytes: usize, rounds: usize, (p, q): (u32, u32)) {
    let mut job = filled(keys, value_bytes, p, WriteBuffer::default());
    let taken = job.checkpoint();
    let expected = sum(&mut job.instances);
    let before = resident();
    let ways = ["by links", "by copies", "by puts, memtable", "by puts, hash"];
    let mut seconds = [(); 4].map(|()| Vec::new());
    let mut restored = before;
    for _ in 0..rounds.min(3) {
        for (way, seconds) in ways.iter().zip(&mut seconds) {
            let mut running = std::mem::take(&mut job.instances);
            settle();
            let read = if way.contains("puts") { "state" } else { "checkpoints" };
            warm(&job.dir.path().join(read));
            let start = Instant::now();
            let mut instances = match *way {
                "by links" => job.restore(&job.storage, &taken, q),
                "by copies" => job.restore(&job.remote, &taken, q),
                "by puts, memtable" => put_again(&mut running, &job.plain, q),
                _ => put_again(&mut running, &job.factory, q),
            };
            seconds.push(start.elapsed().as_secs_f64());
            if way.contains("links") {
                restored = resident();
            }
            assert_eq!(sum(&mut instances), expected, "{way}");
            job.instances = running;
        }
    }
    let medians = seconds.map(median);
    let [links, copies, plain, hash] = medians;
    println!("  {p} to {q}, {:.0} MB", taken.bytes as f64 / 1e6);
    for (way, seconds) in ways.iter().zip(medians) {
        println!("    {way:20} {seconds:8.3} s");
    }
    println!(
        "    puts to links {:.1} and {:.1}, to copies {:.1} and {:.1}",
        plain / links,
        hash / links,
        plain / copies,
        hash / copies
    );
    println!("    resident before, restored by links, and at most: {before:?}, {restored:?} MB");
}

/// Has the system's cache have all files below a folder, on the disk too: what is compared is the
/// work, not the disk. Goes over them until they come at a speed that no disk has, since the cache
/// may lose the first ones before it has read the last.
fn warm(folder: &Path) {
    const PASSES_MAX: usize = 6;
    for _ in 0..PASSES_MAX {
        let start = Instant::now();
        let bytes = read_all(folder);
        if start.elapsed().as_secs_f64() < bytes as f64 / 1.5e9 {
            return;
        }
    }
    println!("    not all of {} is in the cache", folder.display());
}

fn read_all(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return read_all(&path);
        }
        let Ok(file) = std::fs::File::open(&path) else { return 0 };
        file.sync_data().unwrap();
        let mut file = std::io::BufReader::with_capacity(1 << 20, file);
        std::io::copy(&mut file, &mut std::io::sink()).unwrap()
    };
    entries.map(read).sum()
}

/// Waits until compactions that earlier work has left behind are over: a job that is restored has
/// none, and the threads for them are one pool for all instances of a process.
fn settle() {
    let busy_ms = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        // Hundredths of seconds in user mode and in the kernel.
        fields.skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum::<u64>() * 10
    };
    for _ in 0..300 {
        let before = busy_ms();
        std::thread::sleep(Duration::from_millis(400));
        if busy_ms() - before < 20 {
            return;
        }
    }
}

/// Resident memory of this process, now and at most, in MB; 0 where that is not told.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        number.unwrap_or(0) / 1_000
    };
    (field("VmRSS"), field("VmHWM"))
}

fn main() {
    let sizes = Sizes::from_environment();
    let is_series = |name: &str| is_wanted("MILLPOND_BENCH_SERIES", name);
    let buffers = [("hash", WriteBuffer::Hash), ("memtable", WriteBuffer::Memtable)];
    for &keys in &sizes.keys {
        for &value_bytes in &sizes.value_bytes {
            for (name, buffer) in buffers {
                if !is_wanted("MILLPOND_BENCH_SUBJECTS", name) {
                    continue;
                }
                if is_series("quiet") {
                    show_checkpoints(keys, value_bytes, sizes.rounds, buffer);
                }
                if is_series("busy") {
                    show_busy_checkpoints(keys, value_bytes, sizes.rounds, buffer);
                }
            }
            if is_series("rescale") {
                println!("{keys} keys of {value_bytes} B, restored at another parallelism");
                for change in [(2, 3), (3, 2), (2, 2)] {
                    show_rescale(keys, value_bytes, sizes.rounds, change);
                }
            }
        }
    }
}
