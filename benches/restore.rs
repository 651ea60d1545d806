//! How long does a restore take on each backend, at the same parallelism and at others, against
//! zstd and the disk in the same run?
//!
//! `MILLPOND_BENCH_KEYS`, `MILLPOND_BENCH_VALUE_BYTES` and `MILLPOND_BENCH_ROUNDS` set the size:
//! the first of each list counts. `MILLPOND_BENCH_DIR` names a folder on the disk to be measured.

use std::process::ExitCode;
use std::sync::Arc;

use millpond_bench::restore::{RestoreOptions, run};
use millpond_bench::snapshot::CheckpointStore;
use millpond_bench::{BACKENDS, Record};
use millpond_benches::{Column, is_measuring, report, setting, shown, work_folder};
use millpond_state::seam::SystemClock;
use millpond_storage::LocalStore;

const COLUMNS: [Column; 6] = [
    ("from", |it| it.restore.from_parallelism.unwrap_or(0).to_string()),
    ("to", |it| it.restore.to_parallelism.unwrap_or(0).to_string()),
    ("restore ms", |it| shown(it.restore.restore_ms)),
    ("zstd ms", |it| shown(it.snapshot.zstd_ms)),
    ("disk ms", |it| shown(it.snapshot.disk_ms)),
    ("of floor", |it| shown(it.snapshot.ratio_to_floor)),
];

fn options() -> RestoreOptions {
    let defaults = RestoreOptions::new();
    if !is_measuring() {
        return RestoreOptions { keys: 1_000, rounds: 1, ..defaults };
    }
    RestoreOptions {
        keys: setting("MILLPOND_BENCH_KEYS", defaults.keys),
        value_bytes: setting("MILLPOND_BENCH_VALUE_BYTES", 100) as usize,
        rounds: setting("MILLPOND_BENCH_ROUNDS", 5) as u32,
        ..defaults
    }
}

fn measure(out: &mut dyn FnMut(Record)) -> millpond_bench::Result<()> {
    for backend in BACKENDS {
        for (from, to) in [(1, 1), (2, 2), (2, 3), (4, 2)] {
            let folder = work_folder()?;
            let store = LocalStore::create(folder.path().join("checkpoints"))?;
            let folder_of_disk = Some(folder.path().to_path_buf());
            let store = CheckpointStore { store: Arc::new(store), folder: folder_of_disk };
            let at = (folder.path(), &SystemClock::new() as _);
            let options = RestoreOptions { from, to, ..options() };
            run(*backend, &options, &store, at)?.into_iter().for_each(&mut *out);
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    report(&COLUMNS, measure)
}
