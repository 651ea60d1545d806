//! What the demonstration tells a newcomer.

use std::path::Path;

use super::Totals;
use super::reference::Expected;
use crate::args::{DemoArgs, DemoJob};
use crate::error::Result;
use crate::{console, table};

/// What is going to happen.
///
/// # Errors
/// If standard output has gone.
pub(super) fn opening(args: &DemoArgs, expected: &Expected, seed: u64, shown: bool) -> Result<()> {
    let records = table::count(expected.records);
    let (what_in, what) = match args.job {
        DemoJob::Flights => ("flights", "counted by aircraft, and by carrier and hour"),
        DemoJob::AircraftDays => ("flights", "gathered to each aircraft's days of flying"),
        DemoJob::Timeouts => ("records", "each of which sets a timer"),
        DemoJob::Nexmark(_) => ("events of an auction site", "put to a query of NEXMark"),
    };
    console::print(&format!("{records} {what_in} from {}", args.job_input().display()))?;
    let kills = args.kills;
    console::print(&format!(
        "{what}, in a job that is killed {kills} times without warning (kill -9)"
    ))?;
    if shown { console::print("") } else { console::print(&format!("seed {seed}")) }
}

/// What happened, and where to look next.
///
/// # Errors
/// If standard output has gone.
pub(super) fn closing(
    totals: &Totals,
    expected: &Expected,
    last: &Path,
    (args, seed): (&DemoArgs, u64),
) -> Result<()> {
    let rows: Vec<String> = expected
        .sinks
        .iter()
        .map(|sink| format!("{} {}", table::count(sink.rows.values().sum()), sink.what))
        .collect();
    let first = expected.sinks.first().map_or("", |sink| sink.folder);
    let verdict = if totals.difference.is_none() {
        "every record counted exactly once"
    } else {
        "THE OUTPUT IS NOT WHAT IT MUST BE"
    };
    let lines = [
        String::new(),
        "Committed output against a plain single pass over the input".to_owned(),
        format!("  records      {}", table::count(expected.records)),
        format!("  output rows  {}", rows.join(", ")),
        format!("  runs         {}", totals.rounds),
        format!("  kills        {}", totals.kills),
        format!("  restores     {}", totals.restores),
        format!("  checkpoints  {}", totals.checkpoints),
        format!("  {}: {verdict}", totals.difference),
        String::new(),
        "Where to look next".to_owned(),
        format!("  the output           {}", last.join(first).display()),
        format!("  its checkpoints      millpond checkpoint list {}", storage(last)),
        format!("  what is in one       millpond checkpoint show {}", storage(last)),
        format!(
            "  its state            millpond checkpoint export {} --operator {first} --state {} \
             --format csv",
            storage(last),
            args.job.state()
        ),
        format!(
            "  the same once more   millpond demo --job {} --kills {} --seed {seed} \
             --state-backend {} --incremental {}{} --input {}",
            args.job.name(),
            args.kills,
            args.state_backend.name(),
            args.incremental,
            if args.local_recovery { " --local-recovery" } else { "" },
            args.job_input().display()
        ),
    ];
    lines.iter().try_for_each(|line| console::print(line))
}

fn storage(output: &Path) -> String {
    output.join("checkpoints").display().to_string()
}
