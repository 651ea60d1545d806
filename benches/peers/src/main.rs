//! The workloads of `millpond bench` on other engines that a Rust program can embed: keyed state in
//! `cobble` and `fjall` beside the memory backend, a job in `timely` beside the runtime and the job
//! written by hand. The keys, their order and the rounds are the same for all, and so are what is
//! read and the sums: a run in which they differ fails.
//!
//! Prints results as `millpond bench --json` does, for `millpond bench plot`. `keys` (500000),
//! `records` (10000000) and `rounds` (3) are arguments in this order.
//!
//! With `access` as the first argument, single accesses of the filesystem backend and `cobble` are
//! compared instead; `keys` (5000000), bytes of a value (100) and `rounds` (5) follow.

mod access;
mod dataflow;
mod store;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use access::AccessOptions;
use millpond_bench::job::{JobOptions, run_by_hand};
use millpond_bench::measure::timed;
use millpond_bench::state::{StateCase, StateOptions, keys_of_round, run_case};
use millpond_bench::{Backend, Record, key};
use millpond_checkpoint::driver::CheckpointStorage;
use millpond_state::seam::{Clock, SystemClock};
use millpond_storage::MemoryStore;
use store::{Cobble, Fjall, Store};

/// The cases that any store of keys and values has.
const CASES: &str = "value_add,value_update,value_get,map_update,map_get,map_iterator";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let is_access = std::env::args().nth(1).is_some_and(|it| it == "access");
    let numbers = std::env::args().skip(1 + usize::from(is_access));
    let arguments: Vec<u64> = numbers.map(|it| it.parse()).collect::<Result<_, _>>()?;
    let at = |index: usize, default| arguments.get(index).copied().unwrap_or(default);
    if is_access {
        let value_bytes = usize::try_from(at(1, 100))?.max(8);
        let (keys, rounds) = (at(0, 5_000_000), usize::try_from(at(2, 5))?);
        return access::access(AccessOptions { keys, value_bytes, rounds });
    }
    let (keys, records, rounds) = (at(0, 500_000), at(1, 10_000_000), at(2, 3));
    let rounds = u32::try_from(rounds)?;
    state(&StateOptions { keys, ops: keys.min(500_000), rounds, ..StateOptions::new() })?;
    job(&JobOptions { records, rounds, ..JobOptions::new() })
}

fn print(record: &Record) -> Outcome<()> {
    println!("{}", record.to_json()?);
    Ok(())
}

fn state(options: &StateOptions) -> Outcome<()> {
    let clock = SystemClock::new();
    for case in StateCase::parse_list(CASES, false)? {
        let folder = tempfile::tempdir()?;
        print(&run_case(Backend::find("memory")?, case, options, (folder.path(), &clock))?)?;
        let cobble =
            measure("cobble", case, options, &|folder| Ok(Box::new(Cobble::open(folder)?)))?;
        let fjall = measure("fjall", case, options, &|folder| Ok(Box::new(Fjall::open(folder)?)))?;
        if cobble != fjall {
            return Err(format!("{case}: cobble read {cobble:x} and fjall {fjall:x}").into());
        }
    }
    Ok(())
}

type Open<'o> = dyn Fn(&Path) -> Outcome<Box<dyn Store>> + 'o;

/// Measures one case; returns a checksum of what was read.
fn measure(name: &str, case: StateCase, options: &StateOptions, open: &Open<'_>) -> Outcome<u64> {
    let clock = SystemClock::new();
    let (mut seconds, mut sum) = (Vec::new(), 0u64);
    let bench = case.to_string();
    for round in 0..=u64::from(options.rounds) {
        let folder = tempfile::tempdir()?;
        let mut store = open(folder.path())?;
        store::preset(store.as_mut(), &bench, (0..options.keys).map(key))?;
        let keys = keys_of_round(case, options, round);
        let (took, read) = timed(&clock, || store::run(store.as_mut(), &bench, &keys))?;
        sum = sum.wrapping_add(read);
        if round > 0 {
            seconds.push(took.as_secs_f64());
        }
    }
    let mut record = Record::new(name, &bench, &clock);
    name.clone_into(&mut record.system);
    (record.keys, record.value_bytes, record.seed) = (options.keys, 8, options.seed);
    record.set_rounds(millpond_bench::state::operations(case, options), &seconds);
    print(&record)?;
    Ok(sum)
}

fn job(options: &JobOptions) -> Outcome<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let backend = Backend::find("memory")?;
    let folder = tempfile::tempdir()?;
    let factory = backend.factory(folder.path())?;
    let mut storage = || Ok(CheckpointStorage::new(Arc::new(MemoryStore::new())));
    let own = JobOptions { raw: true, ..*options };
    print(&millpond_bench::job::run(backend, &own, (&factory, &mut storage), &clock)?)?;
    let expected = run_by_hand(options)?;
    let mut seconds = Vec::new();
    for _ in 0..options.rounds {
        let (took, sum) = timed(clock.as_ref(), || dataflow::run(options))?;
        if sum != expected {
            return Err(format!("timely counted {sum:x} and the plain job {expected:x}").into());
        }
        seconds.push(took.as_secs_f64());
    }
    let mut record = Record::new("timely", "job", clock.as_ref());
    "timely".clone_into(&mut record.system);
    (record.keys, record.value_bytes, record.seed) = (options.keys, 8, options.seed);
    record.set_rounds(options.records, &seconds);
    record.job.records_per_s = Some(record.ops_per_s);
    (record.job.parallelism, record.job.interval_ms) = (Some(options.parallelism), Some(0));
    print(&record)
}
