//! The workload that all benchmarks share: keys, order of access, states, sizes.
//!
//! Everything follows from fixed seeds: equal settings give equal work, and each series returns a
//! checksum of what it read so that its results can be compared with the floor's.
//!
//! Sizes come from the environment:
//! - `MILLPOND_BENCH_KEYS`: numbers of keys, comma-separated; 500000,5000000 by default
//! - `MILLPOND_BENCH_VALUE_BYTES`: value sizes; 8,100 by default
//! - `MILLPOND_BENCH_ROUNDS`: rounds over all series for the table of ratios; 9 by default
//!
//! Targets that measure all backends use the workloads of `millpond-bench`, as `millpond bench`
//! does; the heads of their files name more variables.
//!
//! Under `cargo test --benches` the input is tiny: the run shows that the benchmark works.

#[cfg(feature = "rocksdb")]
pub mod raw_rocksdb;

use std::path::Path;

use millpond_bench::Record;
pub use millpond_bench::{Rng, key};
use millpond_memory::{MemoryBackend, MemoryOptions};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    EntryKey, KeyedBackend, MaxParallelism, Result, StateCodecs, StateDescriptor, StateId,
    StateKind,
};

/// The sizes of a run.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Numbers of keys.
    pub keys: Vec<u64>,
    /// Bytes of a value.
    pub value_bytes: Vec<usize>,
    /// Rounds over all series.
    pub rounds: usize,
    /// Operations of a series in one round.
    pub operations: usize,
}

impl Sizes {
    /// The sizes that arguments and environment ask for.
    #[must_use]
    pub fn from_environment() -> Self {
        if !is_measuring() {
            return Self {
                keys: vec![3_000],
                value_bytes: vec![8, 100],
                rounds: 1,
                operations: 640,
            };
        }
        Self {
            keys: list("MILLPOND_BENCH_KEYS").unwrap_or_else(|| vec![500_000, 5_000_000]),
            value_bytes: list("MILLPOND_BENCH_VALUE_BYTES").unwrap_or_else(|| vec![8, 100]),
            rounds: list("MILLPOND_BENCH_ROUNDS").and_then(|l| l.first().copied()).unwrap_or(9),
            operations: 192_000,
        }
    }
}

/// Whether this run measures, and not merely tests that the benchmark works.
#[must_use]
pub fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Comma-separated numbers from the environment.
#[must_use]
pub fn list<T: std::str::FromStr>(variable: &str) -> Option<Vec<T>> {
    let text = std::env::var(variable).ok()?;
    text.split(',').map(|item| item.trim().parse().ok()).collect()
}

/// The job's number of key groups in all benchmarks.
///
/// # Errors
/// None that can happen.
pub fn max_parallelism() -> Result<MaxParallelism> {
    MaxParallelism::new(128)
}

/// The address of an encoded key.
#[inline]
#[must_use]
pub fn at(key: &[u8; 8], max: MaxParallelism) -> EntryKey<'_> {
    EntryKey::new(key, max)
}

/// A memory backend with one value state.
///
/// # Errors
/// What the backend reports.
pub fn memory_backend() -> Result<(MemoryBackend, StateId)> {
    let max = max_parallelism()?;
    let mut backend = MemoryBackend::create(max.full_range(), max, MemoryOptions::new())?;
    let identity = || CodecIdentity::new("bytes", 1);
    let codecs = StateCodecs {
        key: identity(),
        namespace: CodecIdentity::void(),
        user_key: None,
        value: identity(),
    };
    let state = backend.register(&StateDescriptor::new("totals", StateKind::Value, codecs)?)?;
    Ok((backend, state))
}

/// Puts `count` keys with values of `value_bytes` bytes: the key's number, then zeroes.
///
/// # Errors
/// What the backend reports.
pub fn fill(
    backend: &mut dyn KeyedBackend,
    state: StateId,
    count: u64,
    value_bytes: usize,
) -> Result<()> {
    let max = max_parallelism()?;
    let mut value = vec![0; value_bytes.max(8)];
    for number in 0..count {
        if let Some(place) = value.first_chunk_mut() {
            *place = number.to_le_bytes();
        }
        backend.put(state, at(&key(number).to_be_bytes(), max), &value)?;
    }
    Ok(())
}

/// The number in the first eight bytes of a value.
#[inline]
#[must_use]
pub fn number_in(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The middle of some figures; 0 of none.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "callers have no use for the figures afterwards")]
pub fn median(figures: Vec<f64>) -> f64 {
    millpond_bench::measure::median(&figures)
}

/// A number from the environment, or the default.
#[must_use]
pub fn setting(variable: &str, default: u64) -> u64 {
    list(variable).and_then(|numbers| numbers.first().copied()).unwrap_or(default)
}

/// Waits, half a minute at most, until the process does nothing any more, and has the system write
/// out what it holds back for the disk: what a series leaves to be done in the background is then
/// no part of the next one. Does nothing but on Linux.
pub fn wait_until_idle() {
    wait_until_process_is_idle();
    // Where there is no such command, the system's writes are part of the next series.
    let _ = std::process::Command::new("sync").status();
}

fn wait_until_process_is_idle() {
    let ticks = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let times = rest.split_ascii_whitespace().skip(11).take(2);
        Some(times.filter_map(|time| time.parse::<u64>().ok()).sum::<u64>())
    };
    let mut before = ticks();
    for _ in 0..100 {
        if before.is_none() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = ticks();
        // A hundredth of a second is what looking may take.
        if now.zip(before).is_some_and(|(now, before)| now - before <= 1) {
            return;
        }
        before = now;
    }
}

/// Whether the variable is not set, or one of its comma-separated parts is in the name.
#[must_use]
pub fn is_wanted(variable: &str, name: &str) -> bool {
    list::<String>(variable).is_none_or(|parts| parts.iter().any(|part| name.contains(&**part)))
}

/// A folder for the files of a benchmark, below the one that `MILLPOND_BENCH_DIR` names (the disk
/// to be measured) or the one for temporary files.
///
/// # Errors
/// If it cannot be made.
pub fn work_folder() -> std::io::Result<tempfile::TempDir> {
    match std::env::var_os("MILLPOND_BENCH_DIR") {
        Some(parent) => tempfile::tempdir_in(Path::new(&parent)),
        None => tempfile::tempdir(),
    }
}

/// A column of a table: its head, and what stands in it.
pub type Column = (&'static str, fn(&Record) -> String);

/// Runs a benchmark and prints its results, or says why there are none; the exit status.
#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
pub fn report(
    columns: &[Column],
    run: impl FnOnce(&mut dyn FnMut(Record)) -> millpond_bench::Result<()>,
) -> std::process::ExitCode {
    print!("{:<9} {:<22}", "backend", "bench");
    columns.iter().for_each(|(head, _)| print!(" {head:>13}"));
    println!();
    let outcome = run(&mut |record| {
        print!("{:<9} {:<22}", record.backend, record.bench);
        columns.iter().for_each(|(_, cell)| print!(" {:>13}", cell(&record)));
        println!();
    });
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// A figure that a record may not have.
#[must_use]
pub fn shown(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.3}"))
}
