//! `millpond checkpoint rekey`, `drop-state` and `rename-state`.

use millpond_checkpoint::offline::{NewCheckpoint, OfflineCheckpoint, StateContent, rekey};
use millpond_state::MaxParallelism;
use serde_json::{Value, json};

use super::list::entries;
use super::out::{make, report};
use super::target::original;
use crate::args::{DropStateArgs, OutArgs, RekeyArgs, RenameStateArgs};
use crate::error::Result;
use crate::{console, table};

/// Copies a checkpoint for another max parallelism.
///
/// # Errors
/// If it does not exist, is damaged or cannot be moved, or if OUT cannot be written.
pub(super) fn rekey_to(args: &RekeyArgs) -> Result<()> {
    let checkpoint = original(&args.original)?;
    let (from, to) = (checkpoint.metadata().max_parallelism, args.max_parallelism);
    let max_parallelism = MaxParallelism::new(to)?;
    let rekeyed = make(&args.out, entries(checkpoint.metadata()), |target, options| {
        Ok(rekey(&checkpoint, max_parallelism, target, options)?)
    })?;
    let state = |it: &StateContent| {
        json!({
            "operator": it.operator,
            "state": it.state,
            "entries": it.entries,
            "checksum": format!("{:016x}", it.checksum),
        })
    };
    let states: Vec<Value> = rekeyed.states.iter().map(state).collect();
    let what = format!("max parallelism changed from {from} to {to}");
    let more = json!({"max_parallelism_before": from.get(), "states": states});
    report(&args.out, &rekeyed.checkpoint, &what, more)?;
    if args.out.json {
        return Ok(());
    }
    let heads = ["operator", "state", "entries", "checksum", "compared"];
    let mut rows = table::table(&heads, &["entries"]);
    for it in &rekeyed.states {
        rows.add_row(vec![
            it.operator.clone(),
            it.state.clone(),
            table::count(it.entries),
            format!("{:016x}", it.checksum),
            "same on both sides".to_owned(),
        ]);
    }
    console::print(&rows.trim_fmt())
}

/// Copies a checkpoint without one state.
///
/// # Errors
/// If there is no such state, the checkpoint is damaged, or OUT cannot be written.
pub(super) fn drop_state(args: &DropStateArgs) -> Result<()> {
    let checkpoint = original(&args.original)?;
    let (operator, state) = (&args.state.operator, &args.state.state);
    let count = checkpoint.state(operator, state)?.entry_count();
    let written = copy(&args.out, &checkpoint, |new| Ok(new.drop_state(operator, state)?))?;
    let what = format!("left out {operator}.{state} ({} entries)", table::count(count));
    report(&args.out, &written, &what, json!({"dropped_entries": count}))
}

/// Copies a checkpoint with one state under another name.
///
/// # Errors
/// If there is no such state, the name is taken, the checkpoint is damaged, or OUT cannot be
/// written.
pub(super) fn rename_state(args: &RenameStateArgs) -> Result<()> {
    let checkpoint = original(&args.original)?;
    let (operator, from, to) = (&args.operator, &args.from, &args.to);
    checkpoint.state(operator, from)?;
    let rename = |new: &mut NewCheckpoint<'_>| Ok(new.rename_state(operator, from, to)?);
    let written = copy(&args.out, &checkpoint, rename)?;
    let what = format!("renamed {operator}.{from} to {to}");
    report(&args.out, &written, &what, json!({"renamed_to": to}))
}

fn copy(
    out: &OutArgs,
    checkpoint: &OfflineCheckpoint,
    change: impl FnOnce(&mut NewCheckpoint<'_>) -> Result<()>,
) -> Result<OfflineCheckpoint> {
    make(out, entries(checkpoint.metadata()), |target, options| {
        let mut new = NewCheckpoint::copy_of(checkpoint, options);
        change(&mut new)?;
        Ok(new.write(target)?)
    })
}
