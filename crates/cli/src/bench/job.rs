//! `millpond bench job`.

use std::sync::Arc;
use std::time::Duration;

use millpond_bench::job::{JobOptions, run as measure};
use millpond_bench::{Backend, BenchError, Record};
use millpond_state::seam::{Clock, SystemClock};

use super::output::{Column, Output, maybe, ms, rate, ratio, spread};
use super::storage::Storage;
use super::workplace::Workplace;
use super::{backends, child, storage};
use crate::args::{Barriers, BenchJobArgs};
use crate::error::{CliError, Result};
use crate::table::{bytes, count};

const COLUMNS: [Column; 9] = [
    Column { head: "interval", cell: |it| maybe(it.job.interval_ms, interval_text) },
    Column { head: "records/s", cell: |it| rate(it.ops_per_s) },
    Column { head: "spread", cell: spread },
    Column { head: "checkpoints", cell: |it| maybe(it.job.checkpoints, count) },
    Column { head: "p50", cell: |it| maybe(it.job.checkpoint_ms_p50, ms) },
    Column { head: "p99", cell: |it| maybe(it.job.checkpoint_ms_p99, ms) },
    Column { head: "raw records/s", cell: |it| maybe(it.raw_ops_per_s, rate) },
    Column { head: "of raw", cell: |it| maybe(it.ratio_to_raw, ratio) },
    Column { head: "peak memory", cell: |it| maybe(it.peak_rss_bytes, bytes) },
];

fn interval_text(ms: u64) -> String {
    if ms == 0 { "off".to_owned() } else { format!("{ms} ms") }
}

/// Measures the job on all backends with all intervals.
///
/// # Errors
/// If a backend is not known, or fails; if barriers cannot be what was asked for.
pub(super) fn run(args: &BenchJobArgs) -> Result<()> {
    if args.barriers == Barriers::Unaligned {
        return Err(CliError::Usage(
            "--barriers unaligned cannot be measured: the runtime aligns barriers and has no \
             channel state in checkpoints yet; use --barriers aligned"
                .to_owned(),
        ));
    }
    let backends = backends(&args.common)?;
    let mut output = Output::new(&args.common, &COLUMNS, backends.len() * args.interval.len());
    for backend in backends {
        for interval in &args.interval {
            output.step(&format!("the job on {}", backend.name));
            let records = if args.common.in_process {
                vec![in_process(args, backend, interval.0)?]
            } else {
                child::measure(&child_args(args, backend.name, interval.0))?
            };
            output.add(records)?;
        }
    }
    output.finish()
}

fn in_process(args: &BenchJobArgs, backend: Backend, interval: Option<Duration>) -> Result<Record> {
    let options = JobOptions {
        records: args.records,
        keys: args.keys,
        distribution: args.distribution,
        parallelism: args.parallelism,
        interval_ms: interval.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
        incremental: args.incremental,
        rounds: args.common.rounds,
        raw: args.raw,
        seed: args.common.seed,
    };
    let workplace = Workplace::create(args.common.state_dir.as_deref())?;
    let storage = Storage::open(&args.storage)?;
    let factory = backend.factory(workplace.path())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut run = 0;
    let mut next_storage = || {
        storage.remove(&format!("run-{run}"));
        run += 1;
        let opened = storage.checkpoints(&format!("run-{run}"));
        opened.map_err(|error| BenchError::failed(error.message().unwrap_or_default()))
    };
    Ok(measure(backend, &options, (&factory, &mut next_storage), &clock)?)
}

fn child_args(args: &BenchJobArgs, backend: &str, interval: Option<Duration>) -> Vec<String> {
    let mut child = super::child_args("job", &args.common, backend);
    let interval = interval.map_or("off".to_owned(), |it| format!("{}ms", it.as_millis()));
    for (option, value) in [
        ("--records", args.records.to_string()),
        ("--keys", args.keys.to_string()),
        ("--distribution", args.distribution.to_string()),
        ("--parallelism", args.parallelism.to_string()),
        ("--interval", interval),
        ("--incremental", args.incremental.to_string()),
    ] {
        child.extend([option.to_owned(), value]);
    }
    child.extend(args.raw.then(|| "--raw".to_owned()));
    child.extend(storage::child_args(&args.storage));
    child
}
