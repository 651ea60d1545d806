//! `millpond bench snapshot`.

use millpond_bench::Record;
use millpond_bench::snapshot::{SnapshotOptions, run as measure};
use millpond_state::seam::SystemClock;

use super::output::{Column, Output, maybe, ms, ratio};
use super::storage::Storage;
use super::workplace::Workplace;
use super::{backends, child, storage};
use crate::args::BenchSnapshotArgs;
use crate::error::Result;
use crate::table::bytes;

const COLUMNS: [Column; 10] = [
    Column { head: "changed", cell: |it| maybe(it.snapshot.changed_percent, |p| format!("{p}%")) },
    Column { head: "sync", cell: |it| maybe(it.snapshot.sync_ms, ms) },
    Column { head: "async", cell: |it| maybe(it.snapshot.async_ms, ms) },
    Column { head: "written", cell: |it| maybe(it.snapshot.bytes_new, bytes) },
    Column { head: "in all", cell: |it| maybe(it.snapshot.bytes_total, bytes) },
    Column { head: "zstd", cell: |it| maybe(it.snapshot.zstd_ms, ms) },
    Column { head: "disk", cell: |it| maybe(it.snapshot.disk_ms, ms) },
    Column { head: "of floor", cell: |it| maybe(it.snapshot.ratio_to_floor, ratio) },
    Column { head: "p99.9 idle", cell: |it| maybe(it.latency.p999_us, us) },
    Column { head: "p99.9 during", cell: |it| maybe(it.latency.p999_during_us, us) },
];

fn us(us: f64) -> String {
    format!("{us:.1} us")
}

/// Measures snapshots on all backends.
///
/// # Errors
/// If a backend is not known, or fails.
pub(super) fn run(args: &BenchSnapshotArgs) -> Result<()> {
    let backends = backends(&args.common)?;
    let mut output = Output::new(&args.common, &COLUMNS, backends.len());
    for backend in backends {
        output.step(&format!("snapshots of {}", backend.name));
        let records = if args.common.in_process {
            let options = options(args);
            let workplace = Workplace::create(args.common.state_dir.as_deref())?;
            let storage = Storage::open(&args.storage)?;
            let at = (workplace.path(), &SystemClock::new() as _);
            measure(backend, &options, &storage.store("checkpoints")?, at)?
        } else {
            child::measure(&child_args(args, backend.name))?
        };
        tell_missing(&output, backend.name, &records);
        output.add(records)?;
    }
    output.finish()
}

/// A backend without incremental snapshots is no failure, but worth a word.
fn tell_missing(output: &Output<'_>, backend: &str, records: &[Record]) {
    if !records.iter().any(|record| record.bench == "snapshot_incremental") {
        output.note(&format!("{backend} has no incremental snapshots: only full ones are listed"));
    }
}

fn options(args: &BenchSnapshotArgs) -> SnapshotOptions {
    SnapshotOptions {
        keys: args.keys,
        value_bytes: args.value_bytes as usize,
        changed_percent: args.changed.clone(),
        rounds: args.common.rounds,
        latency_ms: u64::try_from(args.latency.as_millis()).unwrap_or(u64::MAX),
        seed: args.common.seed,
    }
}

fn child_args(args: &BenchSnapshotArgs, backend: &str) -> Vec<String> {
    let mut child = super::child_args("snapshot", &args.common, backend);
    let changed: Vec<String> = args.changed.iter().map(ToString::to_string).collect();
    for (option, value) in [
        ("--keys", args.keys.to_string()),
        ("--value-bytes", args.value_bytes.to_string()),
        ("--changed", changed.join(",")),
        ("--latency", format!("{}ms", args.latency.as_millis())),
    ] {
        child.extend([option.to_owned(), value]);
    }
    child.extend(storage::child_args(&args.storage));
    child
}
