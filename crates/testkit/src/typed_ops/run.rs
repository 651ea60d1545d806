//! Runs sequences on a backend and on the oracle, side by side.

use std::panic::{AssertUnwindSafe, catch_unwind};

use millpond_state::{BackendFactory, StateError};

use super::generate::{WINDOWS, generate};
use super::op::{Access, KINDS, Op, Place};
use super::oracle::Oracle;
use super::system::System;
use super::text::{parse, print};
use crate::ops::{Failure, shrink};

/// Runs a random sequence of `count` operations, then a check of everything. A failing one is
/// shrunk; the failure has its text.
///
/// # Errors
/// How backend and oracle came apart.
pub fn run_model_test(
    factory: &dyn BackendFactory,
    seed: u64,
    count: usize,
) -> Result<(), Failure> {
    run(factory, (seed, count), generate(seed, count))
}

/// The same for a backend that drops what has expired by itself, when it likes: state whose expired
/// values are seen until they are cleaned is left out, since nobody can say what it shows.
///
/// # Errors
/// How backend and oracle came apart.
pub fn run_model_test_of_cleaner(
    factory: &dyn BackendFactory,
    seed: u64,
    count: usize,
) -> Result<(), Failure> {
    let mut ops = generate(seed, count);
    for op in &mut ops {
        if let Op::Open(_, program) | Op::Restore(_, _, program) = op
            && let Some(ttl) = &mut program.ttl
        {
            ttl.relaxed = false;
        }
    }
    run(factory, (seed, count), ops)
}

fn run(
    factory: &dyn BackendFactory,
    (seed, count): (u64, usize),
    mut ops: Vec<Op>,
) -> Result<(), Failure> {
    ops.push(Op::Check);
    let Err(failure) = replay(factory, &ops) else { return Ok(()) };
    let small = shrink(&ops, &mut |ops| replay(factory, ops).is_err());
    let head = format!("# typed operations, seed {seed}, {count} operations\n");
    let why = match replay(factory, &small) {
        Err(failure) => format!("# {:.300}\n", failure.message().replace('\n', " ")),
        Ok(()) => String::new(),
    };
    Err(failure.with_minimal(format!("{head}{why}{}", print(&small))))
}

/// Replays a sequence that was saved as text.
///
/// # Errors
/// A line that is no operation, or how backend and oracle came apart.
pub fn replay_text(factory: &dyn BackendFactory, text: &str) -> Result<(), Failure> {
    let ops = parse(text).map_err(|error| Failure::new(0, "parsing", error.to_string()))?;
    replay(factory, &ops)
}

/// Compares a backend with the oracle on a sequence.
///
/// # Errors
/// The first difference; an error or panic of the backend is one.
pub fn replay(factory: &dyn BackendFactory, ops: &[Op]) -> Result<(), Failure> {
    let mut step = 0;
    // A backend that panicked is not used again: it is dropped with its instances.
    let run = catch_unwind(AssertUnwindSafe(|| compare(factory, ops, &mut step)));
    let outcome = run.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("no message")))
    });
    outcome.map_err(|message| {
        let operation = ops.get(step).map(ToString::to_string).unwrap_or_default();
        Failure::new(step, operation, message)
    })
}

fn compare(factory: &dyn BackendFactory, ops: &[Op], step: &mut usize) -> Result<(), String> {
    let system = System::open(factory).map_err(|error| error.to_string())?;
    let mut pair = Pair { system, oracle: Oracle::new() };
    for (index, op) in ops.iter().enumerate() {
        *step = index;
        pair.apply(op)?;
    }
    Ok(())
}

struct Pair<'f> {
    system: System<'f>,
    oracle: Oracle,
}

fn failed(error: StateError) -> String {
    format!("failed: {error}")
}

fn same<T: PartialEq + core::fmt::Debug>(found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("the backend says {found:?}, the oracle {expected:?}"))
}

impl Pair<'_> {
    fn apply(&mut self, op: &Op) -> Result<(), String> {
        let Self { system, oracle } = self;
        match op {
            Op::Open(parallelism, program) => {
                oracle.open(*program);
                system.reopen(*parallelism, *program).map_err(failed)
            }
            Op::At(place, access) => self.access(*place, access),
            Op::Walk(kind) => same(&system.walk(*kind).map_err(failed)?, &oracle.walk(*kind)),
            Op::Count(kind) => {
                let (found, (least, most)) = (system.count(*kind), oracle.count(*kind));
                let found = found.map_err(failed)?;
                if (least..=most).contains(&found) {
                    return Ok(());
                }
                Err(format!("the backend has {found} entries, the oracle {least} to {most}"))
            }
            Op::Check => self.check(),
            Op::Fire(now) => same(&system.fire(*now).map_err(failed)?, &oracle.fire(*now)),
            Op::Pass(domain, millis) => {
                system.pass(*domain, *millis);
                oracle.pass(*domain, *millis);
                Ok(())
            }
            Op::Sweep(_) if oracle.is_relaxed() => self.sweep_all(),
            Op::Sweep(steps) => system.sweep(*steps).map_err(failed),
            Op::SweepAll => self.sweep_all(),
            Op::Snapshot(id) => {
                oracle.snapshot(*id);
                system.snapshot(*id).map_err(failed)
            }
            Op::Finish(id) => same(&system.finish(*id).map_err(failed)?, &oracle.finish(*id)),
            Op::Drop(id) => {
                system.drop_snapshot(*id);
                oracle.drop_snapshot(*id);
                Ok(())
            }
            Op::Restore(id, parallelism, program) => {
                let written = oracle.writer(*id);
                let found = system.restore(*id, *parallelism, *program, written);
                let (found, expected) = (found.map_err(failed)?, oracle.restore(*id, *program));
                same(&("readable", found), &("readable", expected))
            }
        }
    }

    fn access(&mut self, place: Place, access: &Access) -> Result<(), String> {
        let found = self.system.access(place, access).map_err(failed)?;
        same(&found, &self.oracle.access(place, access))
    }

    /// Reads everything everywhere; then there are no entries but those.
    fn check(&mut self) -> Result<(), String> {
        let reads = [
            Access::Get,
            Access::ListGet,
            Access::MapEntries,
            Access::Reduced,
            Access::Aggregated,
            Access::TimerTimes,
        ];
        let mut places: Vec<Place> = Vec::new();
        for kind in KINDS {
            let found = self.system.walk(kind).map_err(failed)?;
            same(&(kind, &found), &(kind, &self.oracle.walk(kind)))?;
            places.extend(found);
        }
        let keys: std::collections::BTreeSet<u8> = places.iter().map(|place| place.key).collect();
        for key in keys {
            for window in 0..WINDOWS {
                let place = Place { key, window };
                for read in &reads {
                    self.access(place, read).map_err(|why| format!("{place:?} {read}: {why}"))?;
                }
            }
        }
        Ok(())
    }

    fn sweep_all(&mut self) -> Result<(), String> {
        self.system.sweep_all().map_err(failed)?;
        self.oracle.swept();
        for kind in KINDS {
            let found = self.system.count(kind).map_err(failed)?;
            let (expected, _) = self.oracle.count(kind);
            same(&(kind, found), &(kind, expected))?;
        }
        Ok(())
    }
}
