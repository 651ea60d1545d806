//! What the demonstration tells a newcomer.

use std::path::Path;

use super::Totals;
use super::reference::Expected;
use crate::args::DemoArgs;
use crate::error::Result;
use crate::{console, table};

/// What is going to happen.
///
/// # Errors
/// If standard output has gone.
pub(super) fn opening(args: &DemoArgs, expected: &Expected, seed: u64, shown: bool) -> Result<()> {
    let records = table::count(expected.records);
    console::print(&format!("{records} flights from {}", args.input.display()))?;
    let what = "counted by aircraft, and by carrier and hour";
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
    let rows = |rows: usize| table::count(rows as u64);
    let verdict = if totals.difference.is_none() {
        "every flight counted exactly once"
    } else {
        "THE OUTPUT IS NOT WHAT IT MUST BE"
    };
    let lines = [
        String::new(),
        "Committed output against a plain single pass over the file".to_owned(),
        format!("  records      {}", table::count(expected.records)),
        format!(
            "  output rows  {} aircraft, {} carrier hours",
            rows(expected.aircraft.len()),
            rows(expected.carrier_hours.len())
        ),
        format!("  runs         {}", totals.rounds),
        format!("  kills        {}", totals.kills),
        format!("  restores     {}", totals.restores),
        format!("  checkpoints  {}", totals.checkpoints),
        format!("  {}: {verdict}", totals.difference),
        String::new(),
        "Where to look next".to_owned(),
        format!("  the output           {}", last.join("aircraft").display()),
        format!("  its checkpoints      millpond checkpoint list {}", storage(last)),
        format!("  what is in one       millpond checkpoint show {}", storage(last)),
        format!(
            "  its state            millpond checkpoint export {} --operator aircraft --state \
             totals --format csv",
            storage(last)
        ),
        format!(
            "  the same once more   millpond demo --kills {} --seed {seed} --input {}",
            args.kills,
            args.input.display()
        ),
    ];
    lines.iter().try_for_each(|line| console::print(line))
}

fn storage(output: &Path) -> String {
    output.join("checkpoints").display().to_string()
}
