//! `millpond bench state`.

use millpond_bench::state::{StateCase, StateOptions, run_case};
use millpond_state::seam::SystemClock;

use super::output::{Column, Output, maybe, rate, ratio, spread};
use super::workplace::Workplace;
use super::{backends, child};
use crate::args::BenchStateArgs;
use crate::error::Result;
use crate::table::bytes;

/// Accesses of a round that nobody asked for.
const OPS_DEFAULT_MAX: u64 = 500_000;

const COLUMNS: [Column; 5] = [
    Column { head: "ops/s", cell: |it| rate(it.ops_per_s) },
    Column { head: "spread", cell: spread },
    Column { head: "raw ops/s", cell: |it| maybe(it.raw_ops_per_s, rate) },
    Column { head: "of raw", cell: |it| maybe(it.ratio_to_raw, ratio) },
    Column { head: "peak memory", cell: |it| maybe(it.peak_rss_bytes, bytes) },
];

/// Measures all cases on all backends.
///
/// # Errors
/// If a case or backend is not known, or fails.
pub(super) fn run(args: &BenchStateArgs) -> Result<()> {
    let cases = StateCase::parse_list(&args.cases, args.ttl)?;
    let backends = backends(&args.common)?;
    let mut output = Output::new(&args.common, &COLUMNS, cases.len() * backends.len());
    for backend in backends {
        for case in &cases {
            output.step(&format!("{case} on {}", backend.name));
            let records = if args.common.in_process {
                let workplace = Workplace::create(args.common.state_dir.as_deref())?;
                let at = (workplace.path(), &SystemClock::new() as _);
                vec![run_case(backend, *case, &options(args), at)?]
            } else {
                child::measure(&child_args(args, backend.name, &case.to_string()))?
            };
            output.add(records)?;
        }
    }
    output.finish()
}

fn options(args: &BenchStateArgs) -> StateOptions {
    StateOptions {
        keys: args.keys,
        ops: args.ops.unwrap_or(args.keys.min(OPS_DEFAULT_MAX)),
        value_bytes: args.value_bytes as usize,
        distribution: args.distribution,
        rounds: args.common.rounds,
        raw: args.raw,
        seed: args.common.seed,
    }
}

/// The arguments of the process that measures one case.
fn child_args(args: &BenchStateArgs, backend: &str, case: &str) -> Vec<String> {
    let options = options(args);
    let mut child = super::child_args("state", &args.common, backend);
    for (option, value) in [
        ("--cases", case.to_owned()),
        ("--keys", options.keys.to_string()),
        ("--ops", options.ops.to_string()),
        ("--value-bytes", options.value_bytes.to_string()),
        ("--distribution", options.distribution.to_string()),
    ] {
        child.extend([option.to_owned(), value]);
    }
    child.extend(args.raw.then(|| "--raw".to_owned()));
    child
}
