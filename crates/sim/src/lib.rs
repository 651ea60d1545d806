//! A deterministic simulator of the checkpoint protocol: a whole job with its coordinator, registry
//! of shared files, barrier handling, state backends and storage, on one thread, with simulated
//! time, under faults that follow from a seed.
//!
//! What is simulated is time, messages, storage and processes. What is run is the product: the
//! [coordinator](millpond_checkpoint::Coordinator), the
//! [registry](millpond_checkpoint::registry), publication, fencing, restore plans and garbage
//! collection over a [`Store`](millpond_storage::Store), the runtime's
//! [barrier handling](millpond_runtime::barrier), and the memory backend with its incremental
//! snapshots. Sources, a counter for each key and sinks with two-phase commit make up the job,
//! whose parallelism changes from attempt to attempt.
//!
//! It is a crate of its own because it needs a backend and the runtime, which the kit that third
//! parties test with must not know.
//!
//! # What is checked, at each step
//! - A checkpoint exists, or is told complete, only when all that it names is there, from every
//!   subtask.
//! - No object that an existing checkpoint refers to is deleted, nor is the newest checkpoint.
//! - A restored checkpoint is a consistent cut: as many records counted as read.
//! - Output is committed once, and in the end all of it.
//! - Once faults have stopped the job ends within a bound of simulated time.
//! - After garbage collection nothing is left that no checkpoint refers to.
//!
//! # Invariants
//! Equal plans give equal histories: nothing depends on the machine, its clock or its threads.
//!
//! ```
//! use millpond_sim::{Plan, Profile, simulate};
//!
//! let plan = Plan::new(42, Profile::Mixed);
//! let run = simulate(&plan, None);
//! assert!(run.violation.is_none());
//! assert_eq!(run.hash, simulate(&plan, None).hash);
//! ```

mod attempt;
mod breakage;
mod check;
mod disk;
mod fault;
mod message;
mod output;
mod plan;
mod random;
mod shrink;
mod start;
mod store;
mod subtask;
mod trace;
mod world;

pub use breakage::Breakage;
pub use fault::{Fault, FaultTable};
pub use plan::{Plan, Profile};
pub use shrink::shrink;
pub use world::Counts;

use world::World;

/// Something that must never happen, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// At which event.
    pub event: u64,
    /// What.
    pub what: String,
}

/// A schedule that was run.
#[derive(Clone, Debug)]
pub struct Run {
    /// What went wrong with the product; `None` if all held.
    pub violation: Option<Violation>,
    /// What happened, in numbers.
    pub counts: Counts,
    /// A hash of the whole history.
    pub hash: u64,
    /// The history as text, if asked for: number of the event, simulated time, what.
    pub trace: Vec<String>,
}

/// Runs a schedule, with a deliberate mistake if asked for.
#[must_use]
pub fn simulate(plan: &Plan, breakage: Option<Breakage>) -> Run {
    run(plan, breakage, false)
}

/// As [`simulate`], with the history as text.
#[must_use]
pub fn simulate_with_trace(plan: &Plan, breakage: Option<Breakage>) -> Run {
    run(plan, breakage, true)
}

fn run(plan: &Plan, breakage: Option<Breakage>, text: bool) -> Run {
    let world = World::new(plan, breakage, text);
    world.run();
    if !world.has_violation() {
        world.end_faults();
        let collected = check::collect_garbage(&world);
        world.check(collected);
    }
    world.end_all();
    World::leave();
    let (violation, counts, hash, trace) = world.report();
    Run { violation, counts, hash, trace }
}
