//! `millpond sim`: runs simulated schedules of the checkpoint protocol under faults.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millpond_sim::{Breakage, Counts, Plan, Profile, Run, shrink, simulate, simulate_with_trace};
use millpond_state::seam::{Clock, SystemClock};

use crate::args::SimArgs;
use crate::background::{Ticker, start};
use crate::console;
use crate::error::{CliError, Result};
use crate::table;

/// Without being told, so many schedules are run.
const SCHEDULES_DEFAULT: u64 = 1_000;

/// How often a long run says how far it is.
const PROGRESS_PERIOD: Duration = Duration::from_secs(10);

/// What the threads of a run share.
struct Campaign {
    first: u64,
    schedules: u64,
    profile: Profile,
    breakage: Option<Breakage>,
    /// Schedules handed out so far.
    next: AtomicU64,
    /// The smallest seed that failed; `u64::MAX` if none has.
    failing: AtomicU64,
    totals: Mutex<(u64, Counts)>,
}

impl Campaign {
    /// Runs schedules until none is left or one has failed.
    fn work(&self) {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            if at >= self.schedules || self.failing.load(Ordering::Relaxed) != u64::MAX {
                return;
            }
            let seed = self.first.saturating_add(at);
            let run = simulate(&Plan::new(seed, self.profile), self.breakage);
            if run.violation.is_some() {
                self.failing.fetch_min(seed, Ordering::Relaxed);
            }
            let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
            totals.0 = totals.0.saturating_add(1);
            totals.1.add(&run.counts);
        }
    }

    fn totals(&self) -> (u64, Counts) {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the schedules that were asked for.
///
/// # Errors
/// If one of them fails, or the arguments make no sense together.
pub(crate) fn run(args: &SimArgs) -> Result<()> {
    let schedules = args.schedules.unwrap_or(if args.trace { 1 } else { SCHEDULES_DEFAULT });
    if args.trace {
        if schedules != 1 {
            let message = "--trace prints the history of one schedule: give --schedules 1";
            return Err(CliError::Usage(message.to_owned()));
        }
        let plan = Plan::new(args.seed, args.profile.into());
        let run = simulate_with_trace(&plan, args.breakage());
        print_history(&plan, &run)?;
    }
    let campaign = Arc::new(Campaign {
        first: args.seed,
        schedules,
        profile: args.profile.into(),
        breakage: args.breakage(),
        next: AtomicU64::new(0),
        failing: AtomicU64::new(u64::MAX),
        totals: Mutex::default(),
    });
    let threads = args.threads.map_or_else(available_threads, u64::from).clamp(1, schedules.max(1));
    let clock = SystemClock::new();
    let began = clock.monotonic();
    run_on(&campaign, threads)?;
    let took = clock.monotonic().saturating_sub(began);
    print_totals(&campaign, took, threads)?;
    match campaign.failing.load(Ordering::Relaxed) {
        u64::MAX => Ok(()),
        seed => explain(args, seed),
    }
}

fn available_threads() -> u64 {
    std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64)
}

fn run_on(campaign: &Arc<Campaign>, threads: u64) -> Result<()> {
    let watched = Arc::clone(campaign);
    let _progress = Ticker::start(PROGRESS_PERIOD, move || {
        let done = table::count(watched.totals().0);
        console::note(&format!("{done} of {} schedules", table::count(watched.schedules)));
    })?;
    let worker = || {
        let campaign = Arc::clone(campaign);
        start("schedules", move || campaign.work())
    };
    let workers = (0..threads).map(|_| worker()).collect::<Result<Vec<_>>>()?;
    for worker in workers {
        worker.join().map_err(|_| CliError::new("a schedule panicked: see above"))?;
    }
    Ok(())
}

fn print_totals(campaign: &Campaign, took: Duration, threads: u64) -> Result<()> {
    let (done, counts) = campaign.totals();
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    let per_second = done.saturating_mul(1_000).checked_div(took_ms).unwrap_or(0);
    let last = campaign.first.saturating_add(campaign.schedules.saturating_sub(1));
    console::print(&format!(
        "{} schedules of profile {} from seed {} to {last} in {}.{:03} s: {} a second on {threads} \
         threads",
        table::count(done),
        campaign.profile,
        campaign.first,
        took_ms / 1_000,
        took_ms % 1_000,
        table::count(per_second),
    ))?;
    let mut lines = vec![
        ("events".to_owned(), counts.events),
        ("checkpoints completed".to_owned(), counts.completed),
        ("checkpoints aborted".to_owned(), counts.aborted),
        ("restores".to_owned(), counts.restores),
        ("attempts fenced".to_owned(), counts.fenced),
    ];
    lines.extend(counts.faults.iter().map(|(fault, count)| (format!("fault: {fault}"), count)));
    for (name, count) in lines {
        console::print(&format!("  {name:<40} {:>16}", table::count(count)))?;
    }
    Ok(())
}

fn print_history(plan: &Plan, run: &Run) -> Result<()> {
    console::print(&plan.to_string())?;
    for line in &run.trace {
        console::print(line)?;
    }
    console::print(&format!("hash of the history: {:016x}", run.hash))
}

/// Shows the smallest schedule that can be found to fail as `seed` does.
fn explain(args: &SimArgs, seed: u64) -> Result<()> {
    let plan = Plan::new(seed, args.profile.into());
    let what = simulate(&plan, args.breakage()).violation.map(|it| it.what).unwrap_or_default();
    if let Some((smallest, _)) = shrink(&plan, args.breakage()) {
        console::print(&format!("seed {seed} fails. The smallest schedule found that fails:"))?;
        print_history(&smallest, &simulate_with_trace(&smallest, args.breakage()))?;
    }
    let mistake = args.breakage().map(|it| format!(" --mistake {it}")).unwrap_or_default();
    let profile = Profile::from(args.profile);
    Err(CliError::new(format!(
        "seed {seed}: {what}; run it again with: millpond sim --seed {seed} --profile {profile} \
         --trace{mistake}"
    )))
}
