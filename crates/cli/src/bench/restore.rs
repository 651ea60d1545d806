//! `millpond bench restore`.

use millpond_bench::restore::{RestoreOptions, run as measure};
use millpond_state::seam::SystemClock;

use super::output::{Column, Output, maybe, ms, rate, ratio, spread};
use super::storage::Storage;
use super::workplace::Workplace;
use super::{backends, child, storage};
use crate::args::BenchRestoreArgs;
use crate::error::Result;
use crate::table::{bytes, count};

const COLUMNS: [Column; 9] = [
    Column { head: "keys", cell: |it| count(it.keys) },
    Column { head: "restore", cell: |it| maybe(it.restore.restore_ms, ms) },
    Column { head: "spread", cell: spread },
    Column { head: "keys/s", cell: |it| rate(it.ops_per_s) },
    Column { head: "bytes", cell: |it| maybe(it.snapshot.bytes_total, bytes) },
    Column { head: "zstd", cell: |it| maybe(it.snapshot.zstd_ms, ms) },
    Column { head: "disk", cell: |it| maybe(it.snapshot.disk_ms, ms) },
    Column { head: "of floor", cell: |it| maybe(it.snapshot.ratio_to_floor, ratio) },
    Column { head: "peak memory", cell: |it| maybe(it.peak_rss_bytes, bytes) },
];

/// Measures restores on all backends.
///
/// # Errors
/// If a backend is not known, or fails.
pub(super) fn run(args: &BenchRestoreArgs) -> Result<()> {
    let backends = backends(&args.common)?;
    let mut output = Output::new(&args.common, &COLUMNS, backends.len() * args.keys.len());
    for backend in backends {
        for keys in &args.keys {
            output.step(&format!("restores of {} with {keys} keys", backend.name));
            let records = if args.common.in_process {
                let workplace = Workplace::create(args.common.state_dir.as_deref())?;
                let storage = Storage::open(&args.storage)?;
                let at = (workplace.path(), &SystemClock::new() as _);
                measure(backend, &options(args, *keys), &storage.store("checkpoints")?, at)?
            } else {
                child::measure(&child_args(args, backend.name, *keys))?
            };
            output.add(records)?;
        }
    }
    output.finish()
}

fn options(args: &BenchRestoreArgs, keys: u64) -> RestoreOptions {
    RestoreOptions {
        keys,
        value_bytes: args.value_bytes as usize,
        from: args.from,
        to: args.to,
        rounds: args.common.rounds,
        seed: args.common.seed,
    }
}

fn child_args(args: &BenchRestoreArgs, backend: &str, keys: u64) -> Vec<String> {
    let mut child = super::child_args("restore", &args.common, backend);
    for (option, value) in [
        ("--keys", keys.to_string()),
        ("--value-bytes", args.value_bytes.to_string()),
        ("--from", args.from.to_string()),
        ("--to", args.to.to_string()),
    ] {
        child.extend([option.to_owned(), value]);
    }
    child.extend(storage::child_args(&args.storage));
    child
}
