//! How fast is state that is three times the memory allowed, in the filesystem backend and (with
//! the feature `rocksdb`) in a raw RocksDB under the same limit?
//!
//! Each store runs in a process of its own in a control group (version 1 or 2) whose limit counts
//! all it has: heap, page cache, index. Making one takes the rights of an administrator; without
//! them the benchmark says so and ends.
//!
//! The state is filled, then read and updated one key at a time; keys are chosen uniformly, and by
//! Zipf's law with exponent 1. Half of a value's bytes do not compress. Settings:
//! - `MILLPOND_BENCH_STATE_MB`: keys and values, 1000 by default; the limit is a third of that
//! - `MILLPOND_BENCH_VALUE_BYTES`: value sizes; 100,1000 by default
//! - `MILLPOND_BENCH_SECONDS`: for each figure, 10 by default
//! - `MILLPOND_BENCH_DIR`: a folder on the disk to be measured

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures, prints, and stops on errors"
)]

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use millpond_bench::{Distribution, Rng, Sampler, key};
use millpond_benches::{at, is_measuring, list, max_parallelism, number_in, setting, work_folder};
use millpond_fs::{FsBackend, FsBackendFactory, FsOptions};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    BackendContext, KeyedBackend, MaxParallelism, StateCodecs, StateDescriptor, StateId, StateKind,
};

/// Tells a process that it is the one with the limit, and of which store: `store value_bytes`.
const CHILD: &str = "MILLPOND_BENCH_LIMITED";

/// Accesses between two looks at the clock.
const BETWEEN_LOOKS: u64 = 256;

fn main() -> ExitCode {
    if let Ok(store) = std::env::var(CHILD) {
        // Until it is in its group.
        io::stdin().read_exact(&mut [0]).unwrap();
        let (store, value_bytes) = store.split_once(' ').unwrap();
        measure(store, value_bytes.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let limit = state_bytes() / 3;
    let stores: &[&str] = if cfg!(feature = "rocksdb") { &["fs", "rocksdb"] } else { &["fs"] };
    for value_bytes in list("MILLPOND_BENCH_VALUE_BYTES").unwrap_or_else(|| vec![100, 1_000]) {
        for store in stores {
            println!(
                "\n{store}: {} MB of state in {} MB, {} keys, {value_bytes} bytes a value",
                state_bytes() / 1_000_000,
                limit / 1_000_000,
                keys_of(value_bytes)
            );
            match run_limited(&format!("{store} {value_bytes}"), limit) {
                Ok(status) if status.success() => {}
                Ok(status) => {
                    println!("  the process of the store failed: {status}");
                    return ExitCode::FAILURE;
                }
                Err(error) => {
                    println!("  left out: no control group with a limit can be made here: {error}");
                    return if is_measuring() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
                }
            }
        }
    }
    ExitCode::SUCCESS
}

fn state_bytes() -> u64 {
    // Under `cargo test` just enough for a process to start in a third of it.
    1_000_000 * setting("MILLPOND_BENCH_STATE_MB", if is_measuring() { 1_000 } else { 300 })
}

fn keys_of(value_bytes: u64) -> u64 {
    if is_measuring() { state_bytes() / (8 + value_bytes) } else { 3_000 }
}

/// Runs this program in a group that may have so many bytes.
fn run_limited(store: &str, limit: u64) -> io::Result<ExitStatus> {
    let group = Group::create(limit)?;
    let program = std::env::current_exe()?;
    let mut child = Command::new(program)
        .args(std::env::args().skip(1))
        .env(CHILD, store)
        .stdin(Stdio::piped())
        .spawn()?;
    let entered = group.enter(child.id());
    if entered.is_ok() {
        child.stdin.take().unwrap().write_all(b"\n")?;
    } else {
        drop(child.stdin.take());
    }
    let status = child.wait()?;
    entered.map(|()| status)
}

/// A control group. Removed when dropped, by when nothing may be in it.
struct Group {
    folder: PathBuf,
}

impl Group {
    fn create(limit: u64) -> io::Result<Self> {
        let (parent, file) = Self::parent(&std::fs::read_to_string("/proc/self/cgroup")?)?;
        let folder = parent.join(format!("millpond-bench-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let group = Self { folder };
        std::fs::write(group.folder.join(file), limit.to_string())?;
        Ok(group)
    }

    /// Where groups can be made, and the file that has a limit: within this process's own group of
    /// version 1, beside that of version 2, which may not have both processes and groups.
    fn parent(own: &str) -> io::Result<(PathBuf, &'static str)> {
        let lines = || own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let root = Path::new("/sys/fs/cgroup");
        if let Some((_, path)) = lines().find(|(of, _)| of.split(',').any(|it| it == "memory")) {
            let own = root.join("memory").join(path.trim_start_matches('/'));
            return Ok((own, "memory.limit_in_bytes"));
        }
        let (_, path) = lines().find(|(of, _)| of.is_empty()).ok_or(io::ErrorKind::NotFound)?;
        let own = root.join(path.trim_start_matches('/'));
        let parent = if own == root { root } else { own.parent().unwrap_or(root) };
        Ok((parent.to_owned(), "memory.max"))
    }

    fn enter(&self, process: u32) -> io::Result<()> {
        std::fs::write(self.folder.join("cgroup.procs"), process.to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has ended leaves its group a moment later.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("  not removed: {}", self.folder.display());
    }
}

/// A store of numbers with values around them.
trait Store {
    fn put(&mut self, key: u64, value: &[u8]);

    /// The number in the value.
    fn get(&mut self, key: u64) -> u64;

    /// Changes the number in the value.
    fn update(&mut self, key: u64);
}

struct Fs {
    backend: FsBackend,
    state: StateId,
    max: MaxParallelism,
}

impl Fs {
    /// With an end of the log in memory that leaves most to index and page cache.
    fn open(folder: &Path) -> Self {
        let options = FsOptions::new(folder).with_segment_bytes(4 << 20).with_tail_bytes(16 << 20);
        let max = max_parallelism().unwrap();
        let context = BackendContext::new("bench", max.full_range(), max);
        let mut backend = FsBackendFactory::new(options).unwrap().open_backend(&context).unwrap();
        let bytes = || CodecIdentity::new("bytes", 1);
        let (key, namespace, value) = (bytes(), CodecIdentity::void(), bytes());
        let codecs = StateCodecs { key, namespace, user_key: None, value };
        let descriptor = StateDescriptor::new("totals", StateKind::Value, codecs).unwrap();
        let state = backend.register(&descriptor).unwrap();
        Self { backend, state, max }
    }
}

impl Store for Fs {
    fn put(&mut self, key: u64, value: &[u8]) {
        self.backend.put(self.state, at(&key.to_be_bytes(), self.max), value).unwrap();
    }

    fn get(&mut self, key: u64) -> u64 {
        let key = key.to_be_bytes();
        number_in(self.backend.get(self.state, at(&key, self.max)).unwrap().unwrap())
    }

    fn update(&mut self, key: u64) {
        let key = key.to_be_bytes();
        let mut change = |_: usize, edit: &mut millpond_state::Edit<'_>| {
            let current = edit.current().unwrap();
            let next = number_in(current) ^ 1;
            edit.replace_with(|out| {
                out.extend_from_slice(&next.to_le_bytes());
                out.extend_from_slice(&current[8..]);
                Ok(())
            })
        };
        self.backend.update_many(self.state, &[at(&key, self.max)], &mut change).unwrap();
    }
}

#[cfg(feature = "rocksdb")]
mod raw_rocksdb {
    use std::path::Path;

    use millpond_benches::{number_in, raw_rocksdb::RawRocksDb};

    impl super::Store for RawRocksDb {
        fn put(&mut self, key: u64, value: &[u8]) {
            self.put_value(key, value).unwrap();
        }

        fn get(&mut self, key: u64) -> u64 {
            number_in(self.value(key).unwrap().unwrap().as_ref())
        }

        fn update(&mut self, key: u64) {
            let mut value = self.value(key).unwrap().unwrap().as_ref().to_vec();
            value[0] ^= 1;
            self.put_value(key, &value).unwrap();
        }
    }

    /// Half of the memory allowed is RocksDB's own, the rest the page cache's.
    pub(crate) fn open(folder: &Path) -> RawRocksDb {
        RawRocksDb::create(folder, Some((super::state_bytes() / 6) as usize)).unwrap()
    }
}

fn open(store: &str, folder: &Path) -> Box<dyn Store> {
    match store {
        #[cfg(feature = "rocksdb")]
        "rocksdb" => Box::new(raw_rocksdb::open(folder)),
        _ => Box::new(Fs::open(folder)),
    }
}

fn measure(name: &str, value_bytes: usize) {
    let folder = work_folder().unwrap();
    let mut store = open(name, folder.path());
    let keys = keys_of(value_bytes as u64);
    let mut value = vec![0; value_bytes.max(8)];
    let start = Instant::now();
    for number in 0..keys {
        let (front, rest) = value.split_at_mut(8);
        front.copy_from_slice(&number.to_le_bytes());
        let mut rng = Rng::new(number);
        let noise = rest.len() / 2;
        rest[..noise].iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
        store.put(key(number), &value);
    }
    println!("  filled in {:.0} s", start.elapsed().as_secs_f64());
    println!("  {:<16} {:>12} {:>18}", "series", "a second", "bytes read each");
    for distribution in [Distribution::Uniform, Distribution::Zipf(1.0)] {
        for is_update in [false, true] {
            let sampler = &mut Sampler::new(distribution, keys, 7 + u64::from(is_update));
            // Until what is accessed often is in memory.
            let _ = run(store.as_mut(), sampler, is_update, seconds() / 2);
            let read = read_bytes();
            let (count, took) = run(store.as_mut(), sampler, is_update, seconds());
            println!(
                "  {:<6} {:<9} {:>12.0} {:>18.0}",
                if is_update { "update" } else { "get" },
                distribution.to_string(),
                count as f64 / took.as_secs_f64(),
                read_bytes().saturating_sub(read) as f64 / count as f64
            );
        }
    }
}

fn seconds() -> Duration {
    if is_measuring() {
        Duration::from_secs(setting("MILLPOND_BENCH_SECONDS", 10))
    } else {
        Duration::from_millis(10)
    }
}

/// Accesses keys for so long; how many, and how long that took.
fn run(
    store: &mut dyn Store,
    sampler: &mut Sampler,
    is_update: bool,
    time: Duration,
) -> (u64, Duration) {
    let (start, mut count) = (Instant::now(), 0);
    loop {
        for _ in 0..BETWEEN_LOOKS {
            let number = sampler.next_number();
            if is_update {
                store.update(key(number));
            } else {
                assert_eq!(store.get(key(number)) & !1, number & !1);
            }
        }
        count += BETWEEN_LOOKS;
        if start.elapsed() >= time {
            return (count, start.elapsed());
        }
    }
}

/// Bytes that this process made the disk read, as Linux tells; 0 elsewhere.
fn read_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("read_bytes:"));
    line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}
