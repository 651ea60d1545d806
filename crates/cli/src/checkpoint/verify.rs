//! `millpond checkpoint verify`.

use millpond_snapshot::{Damage, Report};
use serde_json::json;

use super::target::{Found, find};
use crate::args::TargetArgs;
use crate::error::{CliError, Result};
use crate::{console, table};

/// Checks every byte of the checkpoints, all of them also after damage was found.
///
/// # Errors
/// If one is damaged or cannot be read.
pub(super) fn run(args: &TargetArgs) -> Result<()> {
    let found = find(&args.url, args.id)?;
    let mut damaged = Vec::new();
    for it in &found {
        let report = it.folder.verify().map_err(|error| {
            CliError::from(error).context(format!("cannot verify {}", it.name()))
        })?;
        show(args.json, it, &report)?;
        if !report.is_whole() {
            damaged.push(it.name());
        }
    }
    match damaged.first() {
        None => Ok(()),
        Some(_) => Err(CliError::new(format!("damaged: {}", damaged.join(", ")))
            .advice("restore another one; --restore latest takes the newest whole one")),
    }
}

fn show(json: bool, found: &Found, report: &Report) -> Result<()> {
    if json {
        let damage = |damage: &Damage| {
            json!({
                "file": damage.file,
                "offset": damage.offset,
                "key_group": damage.key_group.map(|group| group.get()),
                "what": damage.what,
            })
        };
        let line = json!({
            "id": found.id.map(|id| id.get()),
            "url": found.folder.url(),
            "whole": report.is_whole(),
            "bytes": report.bytes,
            "blocks": report.blocks,
            "entries": report.entries,
            "damage": report.damage.iter().map(damage).collect::<Vec<_>>(),
            "unlisted": report.unlisted,
        });
        return console::print(&line.to_string());
    }
    // What native files have is not counted.
    let entries = match report.entries {
        0 => String::new(),
        entries => format!(", {} entries", table::count(entries)),
    };
    let verdict = if report.is_whole() { "whole" } else { "DAMAGED" };
    console::print(&format!(
        "{}: {verdict} ({} checked{entries})",
        found.name(),
        table::bytes(report.bytes)
    ))?;
    for damage in &report.damage {
        console::print(&format!("  {damage}"))?;
    }
    if report.unlisted > 0 {
        console::print(&format!("  and {} more places", table::count(report.unlisted)))?;
    }
    Ok(())
}
