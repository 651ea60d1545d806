//! Random sequences of typed operations on memory and files agree with plain ordered maps, and so
//! do all sequences that once failed.
//!
//! `SEQUENCES=100000 cargo test --release -p millpond-tests --test sequences` runs that many
//! instead of a few thousand (of files a tenth), `FIRST_SEED` begins elsewhere. What fails is
//! shrunk and written to `tests/regressions/`, to be committed with the fix.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "that is how tests report, and they use all cores"
)]

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_fs::{FsBackendFactory, FsOptions};
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::BackendFactory;
use millpond_testkit::model::ModelFactory;
use millpond_testkit::ops::Failure;
use millpond_testkit::{ops, typed_ops};

const SEQUENCES_DEFAULT: u64 = 3_000;

/// Lengths of the sequences, in turn.
const OPERATIONS: [usize; 5] = [20, 40, 80, 160, 320];

/// Failures after which the rest of the sequences is left out.
const FAILURES_MAX: usize = 5;

fn number_from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

fn regressions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}

fn memory() -> MemoryBackendFactory {
    MemoryBackendFactory::new(MemoryOptions::new())
}

fn files(options: FsOptions) -> FsBackendFactory {
    FsBackendFactory::new(options).unwrap()
}

/// Runs one sequence of a seed and a number of operations.
type RunOne<'f> = dyn Fn(u64, usize) -> Result<(), Failure> + Sync + 'f;

/// Runs the sequences of `seeds` on all cores; gives what failed.
fn run(run_one: &RunOne<'_>, seeds: std::ops::Range<u64>) -> Vec<(u64, Failure)> {
    let (next, failures) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failures.lock().unwrap().len() >= FAILURES_MAX {
                        return;
                    }
                    let count = OPERATIONS[seed as usize % OPERATIONS.len()];
                    if let Err(failure) = run_one(seed, count) {
                        failures.lock().unwrap().push((seed, failure));
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

#[test]
fn random_sequences_agree_with_ordered_maps() {
    let memory = memory();
    agree_with_ordered_maps(&|seed, count| typed_ops::run_model_test(&memory, seed, count), 1);
}

#[test]
fn random_sequences_on_files_agree_with_ordered_maps() {
    let folder = tempfile::tempdir().unwrap();
    // Written and compacted all the time.
    let options = FsOptions::new(folder.path());
    let files = files(options.with_segment_bytes(4 << 10).with_tail_bytes(8 << 10));
    let run_one = |seed, count| typed_ops::run_model_test_of_cleaner(&files, seed, count);
    agree_with_ordered_maps(&run_one, 10);
}

fn agree_with_ordered_maps(run_one: &RunOne<'_>, part: u64) {
    let count = number_from_environment("SEQUENCES", SEQUENCES_DEFAULT) / part;
    let first = number_from_environment("FIRST_SEED", 1);
    let failures = run(run_one, first..first + count);
    println!("{count} sequences of 20 to 320 operations, {} failed", failures.len());
    for (seed, failure) in &failures {
        let file = regressions().join(format!("typed-{seed}.ops"));
        std::fs::write(&file, failure.minimal().unwrap()).unwrap();
        println!("{}: {failure}", file.display());
    }
    assert!(failures.is_empty(), "see above; the smallest sequences are in tests/regressions");
}

#[test]
fn sequences_that_once_failed_pass() {
    let folder = tempfile::tempdir().unwrap();
    let backends: [&dyn BackendFactory; 3] =
        [&memory(), &files(FsOptions::new(folder.path())), &ModelFactory];
    let mut replayed = 0;
    for file in std::fs::read_dir(regressions()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let replay = match name.split_once('-') {
            Some(("typed", _)) => typed_ops::replay_text,
            Some(("bytes", _)) => ops::replay_text,
            _ => panic!("{name} is neither typed-*.ops nor bytes-*.ops"),
        };
        for factory in backends {
            if let Err(failure) = replay(factory, &text) {
                panic!("{name} on {}: {failure}", factory.name());
            }
        }
        replayed += 1;
    }
    assert!(replayed >= 6, "only {replayed} sequences in tests/regressions");
}
