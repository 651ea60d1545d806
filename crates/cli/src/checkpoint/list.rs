//! `millpond checkpoint list`.

use millpond_checkpoint::CheckpointError;
use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::{CheckpointKind, CheckpointMode};
use serde_json::json;

use super::share::Share;
use super::target::{Found, find};
use crate::args::TargetArgs;
use crate::error::Result;
use crate::{console, table};

/// Lists the checkpoints.
///
/// # Errors
/// If there are none or they cannot be read.
pub(super) fn run(args: &TargetArgs) -> Result<()> {
    let found = find(&args.url, args.id)?;
    if args.json {
        return found.iter().try_for_each(|it| console::print(&json_line(it).to_string()));
    }
    let heads = [
        "id",
        "kind",
        "job",
        "completed (UTC)",
        "took",
        "size",
        "shared",
        "exclusive",
        "new",
        "re-used",
        "entries",
        "files",
    ];
    let numbers = ["id", "took", "size", "shared", "exclusive", "new", "re-used", "entries"];
    let mut rows = table::table(&heads, &numbers);
    for it in &found {
        rows.add_row(row(it));
    }
    console::print(&rows.trim_fmt())?;
    if found.iter().any(|it| defect(it).is_some()) {
        console::print("millpond checkpoint verify says what is damaged")?;
    }
    Ok(())
}

/// Why a checkpoint cannot be used, as far as that shows without reading its files.
fn defect(found: &Found) -> Option<String> {
    let checked: Result<(), &CheckpointError> = match &found.metadata {
        Ok(metadata) => {
            return found.folder.check_present(metadata).err().map(|error| error.to_string());
        }
        Err(error) => Err(error),
    };
    checked.err().map(ToString::to_string)
}

fn row(found: &Found) -> Vec<String> {
    let id = found.id.map_or_else(|| "?".to_owned(), |id| id.to_string());
    let files = match defect(found) {
        None => "all there".to_owned(),
        Some(_) => "DAMAGED".to_owned(),
    };
    let Ok(metadata) = &found.metadata else {
        let mut row = vec![id];
        row.resize(11, String::new());
        row.push(files);
        return row;
    };
    let share = Share::of(metadata);
    vec![
        id,
        kind_name(metadata.kind).to_owned(),
        metadata.job_name.clone(),
        table::time(metadata.completed_at_ms),
        table::millis(metadata.duration_ms),
        table::bytes(metadata.data_bytes()),
        table::bytes(share.shared),
        table::bytes(share.exclusive),
        table::bytes(share.new),
        table::bytes(share.reused),
        table::count(entries(metadata)),
        files,
    ]
}

fn json_line(found: &Found) -> serde_json::Value {
    let defect = defect(found);
    let id = found.id.map(|id| id.get());
    match &found.metadata {
        Err(_) => json!({"id": id, "url": found.folder.url(), "damaged": defect}),
        Ok(metadata) => {
            let share = Share::of(metadata);
            json!({
                "id": id,
                "url": found.folder.url(),
                "kind": kind_name(metadata.kind),
                "job": metadata.job_name,
                "triggered_at_ms": metadata.triggered_at_ms,
                "completed_at_ms": metadata.completed_at_ms,
                "duration_ms": metadata.duration_ms,
                "bytes": metadata.data_bytes(),
                "shared_bytes": share.shared,
                "exclusive_bytes": share.exclusive,
                "new_bytes": share.new,
                "reused_bytes": share.reused,
                "entries": entries(metadata),
                "damaged": defect,
            })
        }
    }
}

/// Entries of keyed state.
pub(super) fn entries(metadata: &CheckpointMetadata) -> u64 {
    metadata
        .vertices
        .iter()
        .flat_map(|vertex| &vertex.subtasks)
        .map(|subtask| subtask.stats.entries)
        .fold(0, u64::saturating_add)
}

pub(super) fn kind_name(kind: CheckpointKind) -> &'static str {
    match kind {
        CheckpointKind::Checkpoint => "checkpoint",
        CheckpointKind::Savepoint => "savepoint",
        CheckpointKind::Final => "final",
        _ => "other",
    }
}

pub(super) fn mode_name(mode: CheckpointMode) -> &'static str {
    match mode {
        CheckpointMode::ExactlyOnce => "exactly-once",
        CheckpointMode::AtLeastOnce => "at-least-once",
        _ => "other",
    }
}
