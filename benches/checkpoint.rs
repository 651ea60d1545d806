//! What does a checkpoint cost on each backend, full and incremental, at 0, 1 and 10 percent of the
//! keys changed: the pause, the time until it is durable against zstd and the disk in the same run,
//! the bytes, and the latency of single operations meanwhile?
//!
//! `MILLPOND_BENCH_KEYS`, `MILLPOND_BENCH_VALUE_BYTES` and `MILLPOND_BENCH_ROUNDS` set the size:
//! the first of each list counts. `MILLPOND_BENCH_DIR` names a folder on the disk to be measured.

use std::process::ExitCode;
use std::sync::Arc;

use millpond_bench::snapshot::{CheckpointStore, SnapshotOptions, run};
use millpond_bench::{BACKENDS, Record};
use millpond_benches::{Column, is_measuring, report, setting, shown, work_folder};
use millpond_state::seam::SystemClock;
use millpond_storage::LocalStore;

const COLUMNS: [Column; 9] = [
    ("changed %", |it| shown(it.snapshot.changed_percent)),
    ("sync ms", |it| shown(it.snapshot.sync_ms)),
    ("async ms", |it| shown(it.snapshot.async_ms)),
    ("bytes written", |it| it.snapshot.bytes_new.unwrap_or(0).to_string()),
    ("zstd ms", |it| shown(it.snapshot.zstd_ms)),
    ("disk ms", |it| shown(it.snapshot.disk_ms)),
    ("of floor", |it| shown(it.snapshot.ratio_to_floor)),
    ("p99.9 us", |it| shown(it.latency.p999_us)),
    ("during", |it| shown(it.latency.p999_during_us)),
];

fn options() -> SnapshotOptions {
    let defaults = SnapshotOptions::new();
    if !is_measuring() {
        return SnapshotOptions { keys: 1_000, rounds: 1, latency_ms: 10, ..defaults };
    }
    SnapshotOptions {
        keys: setting("MILLPOND_BENCH_KEYS", defaults.keys),
        value_bytes: setting("MILLPOND_BENCH_VALUE_BYTES", 100) as usize,
        rounds: setting("MILLPOND_BENCH_ROUNDS", 5) as u32,
        ..defaults
    }
}

fn measure(out: &mut dyn FnMut(Record)) -> millpond_bench::Result<()> {
    for backend in BACKENDS {
        let folder = work_folder()?;
        let store = LocalStore::create(folder.path().join("checkpoints"))?;
        let store =
            CheckpointStore { store: Arc::new(store), folder: Some(folder.path().to_path_buf()) };
        let at = (folder.path(), &SystemClock::new() as _);
        run(*backend, &options(), &store, at)?.into_iter().for_each(&mut *out);
    }
    Ok(())
}

fn main() -> ExitCode {
    report(&COLUMNS, measure)
}
