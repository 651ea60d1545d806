//! How many keyed records a second go through the runtime: source, exchange by key, stateful count,
//! sink, at parallelism 2, on each backend, with and without a checkpoint each second, against a
//! plain pipeline of two producers and two consumers in the same run?
//!
//! `MILLPOND_BENCH_RECORDS` (10000000), `MILLPOND_BENCH_JOB_KEYS` (1000000) and
//! `MILLPOND_BENCH_JOB_ROUNDS` (5) set the size. `cost` is what a checkpoint each second takes of
//! the records a second without, both medians.

use std::process::ExitCode;
use std::sync::Arc;

use millpond_bench::job::{JobOptions, run};
use millpond_bench::{BACKENDS, BenchError, Record};
use millpond_benches::{Column, is_measuring, report, setting, shown, work_folder};
use millpond_checkpoint::driver::CheckpointStorage;
use millpond_state::seam::{Clock, SystemClock};
use millpond_storage::LocalStore;

const COLUMNS: [Column; 7] = [
    ("interval ms", |it| it.job.interval_ms.unwrap_or(0).to_string()),
    ("records/s", |it| format!("{:.0}", it.ops_per_s)),
    ("plain", |it| shown(it.raw_ops_per_s)),
    ("of plain", |it| shown(it.ratio_to_raw)),
    ("checkpoints", |it| it.job.checkpoints.unwrap_or(0).to_string()),
    ("p50 ms", |it| shown(it.job.checkpoint_ms_p50)),
    ("p99 ms", |it| shown(it.job.checkpoint_ms_p99)),
];

fn options() -> JobOptions {
    if !is_measuring() {
        return JobOptions {
            records: 20_000,
            keys: 1_000,
            rounds: 1,
            raw: true,
            ..JobOptions::new()
        };
    }
    JobOptions {
        records: setting("MILLPOND_BENCH_RECORDS", 10_000_000),
        keys: setting("MILLPOND_BENCH_JOB_KEYS", 1_000_000),
        rounds: setting("MILLPOND_BENCH_JOB_ROUNDS", 5) as u32,
        raw: true,
        ..JobOptions::new()
    }
}

fn measure(out: &mut dyn FnMut(Record)) -> millpond_bench::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    for backend in BACKENDS {
        for interval_ms in [None, Some(1_000)] {
            let folder = work_folder()?;
            let factory = backend.factory(folder.path())?;
            let mut runs = 0;
            let mut storage = || {
                runs += 1;
                let store = LocalStore::create(folder.path().join(format!("run-{runs}")))?;
                Ok::<_, BenchError>(CheckpointStorage::new(Arc::new(store)))
            };
            let options = JobOptions { interval_ms, ..options() };
            out(run(*backend, &options, (&factory, &mut storage), &clock)?);
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    report(&COLUMNS, measure)
}
