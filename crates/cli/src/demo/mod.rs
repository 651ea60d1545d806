//! The demonstration and the kill test: runs a job in child processes, kills them with
//! SIGKILL at chosen moments, restores each time at another parallelism, and compares the committed
//! output with a computation that shares no code with the job.
//!
//! A run of the job is a *round*; many kills take several rounds, each compared. A child that
//! finishes before its kill counts as none.

mod child;
mod compare;
mod folder;
mod kill;
mod reference;
mod report;
mod round;

use std::path::PathBuf;

use millpond_state::seam::{Clock, SystemClock};

use crate::args::DemoArgs;
use crate::console;
use crate::error::{CliError, Result};
use compare::Difference;
pub(crate) use compare::compare;
use folder::Workplace;
use kill::Random;
pub(crate) use reference::Expected;
use round::{Pace, Round, RoundPlan};

/// Most kills in one run of the job.
const KILLS_A_ROUND: u32 = 10;

/// Up to so many kills it is shown at a pace that a person can follow.
const SHOWN_KILLS: u32 = 5;

/// Rounds in a row without a kill after which the input is too small for it.
const ROUNDS_WITHOUT_KILL_MAX: u32 = 20;

/// What all rounds came to.
#[derive(Debug, Default)]
struct Totals {
    rounds: u32,
    kills: u32,
    restores: u32,
    checkpoints: u64,
    /// Rounds in a row, the last included, in which every child finished before its kill.
    without_kill: u32,
    difference: Difference,
}

/// Runs the demonstration.
///
/// # Errors
/// If a run fails or its output differs.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    let clock = SystemClock::new();
    let seed = args.seed.unwrap_or_else(|| clock.wall_ms());
    let expected = Expected::compute(args.job, args.job_input())?;
    let workplace = Workplace::open(args.output.as_deref())?;
    let shown = args.kills <= SHOWN_KILLS;
    report::opening(args, &expected, seed, shown)?;
    let mut random = Random::new(seed);
    let mut totals = Totals::default();
    let mut last = None;
    while totals.rounds == 0 || totals.kills < args.kills {
        if let Some(done) =
            last.replace(play(args, &expected, &workplace, (&mut random, &mut totals))?)
            && !args.keep
        {
            folder::remove(&done)?;
        }
        if !totals.difference.is_none() {
            break;
        }
        if totals.without_kill >= ROUNDS_WITHOUT_KILL_MAX {
            return Err(CliError::new("the job always finished before it was killed")
                .advice("give a larger input"));
        }
    }
    let last = last.unwrap_or_default();
    report::closing(&totals, &expected, &last, (args, seed))?;
    if totals.difference.is_none() {
        return Ok(());
    }
    Err(CliError::new(format!(
        "the output in {} differs from the plain computation; repeat with --seed {seed}",
        last.display()
    )))
}

/// One round; returns its folder.
fn play(
    args: &DemoArgs,
    expected: &Expected,
    workplace: &Workplace,
    (random, totals): (&mut Random, &mut Totals),
) -> Result<PathBuf> {
    let shown = args.kills <= SHOWN_KILLS;
    totals.rounds += 1;
    let plan = RoundPlan {
        job: args.job,
        state_backend: args.state_backend,
        incremental: args.incremental,
        local_recovery: args.local_recovery,
        input: args.job_input().to_path_buf(),
        output: workplace.round(totals.rounds),
        records: expected.records,
        kills: args.kills.saturating_sub(totals.kills).min(KILLS_A_ROUND),
        pace: if shown { Pace::Shown } else { Pace::Fast },
        first_parallelism: random.below(4) as u32 + 1,
    };
    let round = Round::play(&plan, random)?;
    let difference = compare(expected, &plan.output)?;
    if !shown {
        console::print(&format!(
            "round {}: {} kills, {} checkpoints, {difference}",
            totals.rounds, round.kills, round.checkpoints
        ))?;
    }
    totals.without_kill = if round.kills == 0 { totals.without_kill + 1 } else { 0 };
    totals.kills += round.kills;
    totals.restores += round.restores;
    totals.checkpoints += round.checkpoints;
    totals.difference.add(difference);
    Ok(plan.output)
}
