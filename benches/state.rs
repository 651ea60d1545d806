//! How fast is access to keyed state on each backend, in the shape of Flink's own benchmarks,
//! against a raw hash map or the raw rocksdb crate in the same run?
//!
//! `MILLPOND_BENCH_CASES` (all) names cases; `MILLPOND_BENCH_KEYS`, `MILLPOND_BENCH_VALUE_BYTES`
//! and `MILLPOND_BENCH_ROUNDS` set the size: the first of each list counts.

use std::process::ExitCode;

use millpond_bench::state::{StateCase, StateOptions, run_case};
use millpond_bench::{BACKENDS, Record};
use millpond_benches::{Column, is_measuring, report, setting, shown, work_folder};
use millpond_state::seam::SystemClock;

const COLUMNS: [Column; 5] = [
    ("ops/s", |it| format!("{:.0}", it.ops_per_s)),
    ("slowest", |it| format!("{:.0}", it.ops_per_s_min)),
    ("fastest", |it| format!("{:.0}", it.ops_per_s_max)),
    ("raw ops/s", |it| format!("{:.0}", it.raw_ops_per_s.unwrap_or(0.0))),
    ("of raw", |it| shown(it.ratio_to_raw)),
];

fn options() -> StateOptions {
    if !is_measuring() {
        return StateOptions { keys: 500, ops: 500, rounds: 1, raw: true, ..StateOptions::new() };
    }
    let keys = setting("MILLPOND_BENCH_KEYS", 500_000);
    StateOptions {
        keys,
        ops: keys.min(500_000),
        value_bytes: setting("MILLPOND_BENCH_VALUE_BYTES", 8) as usize,
        rounds: setting("MILLPOND_BENCH_ROUNDS", 5) as u32,
        raw: true,
        ..StateOptions::new()
    }
}

fn measure(out: &mut dyn FnMut(Record)) -> millpond_bench::Result<()> {
    let named = std::env::var("MILLPOND_BENCH_CASES");
    let cases = StateCase::parse_list(named.as_deref().unwrap_or("all"), false)?;
    for backend in BACKENDS {
        for case in &cases {
            let folder = work_folder()?;
            let at = (folder.path(), &SystemClock::new() as _);
            out(run_case(*backend, *case, &options(), at)?);
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    report(&COLUMNS, measure)
}
