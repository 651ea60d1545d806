//! `millpond checkpoint gc`.

use millpond_checkpoint::driver::{CheckpointStorage, FoundObject, Garbage};
use millpond_checkpoint::registry::ObjectClass;
use millpond_state::seam::{Clock, SystemClock};
use millpond_storage::{FolderLock, open_url};
use serde_json::json;

use crate::args::GcArgs;
use crate::error::{CliError, Result};
use crate::run::file_folder;
use crate::{console, table};

/// Lists what no checkpoint refers to, and deletes it if told to.
///
/// # Errors
/// If the storage cannot be read, is in use, or something cannot be deleted; with `--delete` also
/// if it cannot be said what is garbage.
pub(super) fn run(args: &GcArgs) -> Result<()> {
    let store = open_url(&args.url, false)
        .map_err(|error| CliError::from(error).context(format!("cannot open {}", args.url)))?;
    // A job that runs may refer to an old upload in its next checkpoint.
    let _lock = match file_folder(store.url()).filter(|_| args.delete) {
        Some(folder) => Some(
            FolderLock::acquire(folder, "garbage collection")
                .map_err(|error| CliError::from(error).advice("stop the job, then try again"))?,
        ),
        None => None,
    };
    let storage = CheckpointStorage::new(store);
    let safe_age_ms = u64::try_from(args.older_than.as_millis()).unwrap_or(u64::MAX);
    let garbage = storage.find_garbage(SystemClock::new().wall_ms(), safe_age_ms)?;
    for object in garbage.objects.iter().filter(|it| it.class != ObjectClass::Referenced) {
        show(args.json, object)?;
    }
    if let Some(blocked) = garbage.blocked.first().filter(|_| args.delete) {
        return Err(CliError::new(format!("nothing was deleted: {blocked}"))
            .advice("mend or delete that checkpoint, then try again"));
    }
    let deleted = if args.delete { storage.delete_garbage(&garbage)? } else { 0 };
    sum_up(args, &garbage, deleted)
}

fn show(json: bool, object: &FoundObject) -> Result<()> {
    let class = class_name(object.class);
    if json {
        let (name, bytes, age_ms) = (&object.name, object.bytes, object.age_ms);
        let line = json!({"name": name, "bytes": bytes, "age_ms": age_ms, "class": class});
        return console::print(&line.to_string());
    }
    let size = table::bytes(object.bytes);
    console::print(&format!("{class:<12} {size:>10} {}", object.name))
}

const fn class_name(class: ObjectClass) -> &'static str {
    match class {
        ObjectClass::Referenced => "referenced",
        ObjectClass::TooYoung => "too young",
        ObjectClass::Orphan => "orphan",
        ObjectClass::UnknownName => "unknown name",
        // Also what later versions tell apart: never deleted.
        _ => "undecided",
    }
}

fn sum_up(args: &GcArgs, garbage: &Garbage, deleted: u64) -> Result<()> {
    let orphans = garbage.deletable().count() as u64;
    let bytes: u64 = garbage.deletable().map(|object| object.bytes).sum();
    if args.json {
        let line = json!({
            "objects": garbage.objects.len(),
            "orphans": orphans,
            "orphan_bytes": bytes,
            "deleted": deleted,
            "blocked": garbage.blocked,
        });
        return console::print(&line.to_string());
    }
    for blocked in &garbage.blocked {
        console::print(&format!("nothing can be deleted: {blocked}"))?;
    }
    let objects = table::count(garbage.objects.len() as u64);
    let (count, size) = (table::count(orphans), table::bytes(bytes));
    console::print(&match (args.delete, orphans) {
        (true, _) => {
            format!("{objects} objects, {} orphans deleted, {size}", table::count(deleted))
        }
        (false, 0) => format!("{objects} objects, no orphans"),
        (false, _) => format!("{objects} objects, {count} orphans, {size}; --delete deletes them"),
    })
}
