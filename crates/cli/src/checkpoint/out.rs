//! Where new checkpoints go, and what is said about them.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use millpond_checkpoint::offline::{
    OfflineCheckpoint, OfflineOptions, OfflinePhase, OfflineProgress, Spill, Target,
};
use millpond_state::CancelFlag;
use millpond_state::seam::{Clock, SystemClock};
use millpond_storage::{StorePath, open_url};
use serde_json::{Value, json};

use super::list::entries;
use crate::args::OutArgs;
use crate::error::{CliError, Result};
use crate::{console, signals, table};

/// Folder in OUT for what is being sorted, gone in the end.
const SORTING: &str = "sorting";

/// Makes a new checkpoint as `args` say: `make` gets the target and options.
///
/// # Errors
/// If OUT is not empty or cannot be written, and what `make` reports; nothing is left in OUT then.
pub(super) fn make<T>(
    args: &OutArgs,
    entries: u64,
    make: impl FnOnce(Target, OfflineOptions<'_>) -> Result<T>,
) -> Result<T> {
    let folder = local(&args.out)?;
    let fresh = !folder.exists();
    let made = make_in(args, entries, make);
    if made.is_err() && fresh {
        // Only if it is empty, as it is unless something else is at work there.
        let _ = std::fs::remove_dir(folder);
    }
    made.map_err(|error| error.context(format!("cannot write {}", args.out)))
}

fn make_in<T>(
    args: &OutArgs,
    entries: u64,
    make: impl FnOnce(Target, OfflineOptions<'_>) -> Result<T>,
) -> Result<T> {
    let store = open_url(&args.out, true)?;
    let target = Target::create(store.clone(), None)?;
    let memory_bytes = usize::try_from(u64::from(args.memory_mib) << 20).unwrap_or(usize::MAX);
    let spill = Spill::new(store, Some(StorePath::new(SORTING)?), memory_bytes);
    let progress = Progress::new(args, entries);
    let on_progress = |at| progress.tell(at);
    let cancel = CancelFlag::new();
    let interrupted = cancel.clone();
    signals::on_first(move || interrupted.cancel())?;
    let options = OfflineOptions {
        written_at_ms: Some(SystemClock::new().wall_ms()),
        on_progress: &on_progress,
        cancel: Some(&cancel),
        ..OfflineOptions::new(&spill)
    };
    make(target, options).map_err(|error| {
        if cancel.is_cancelled() {
            CliError::new("interrupted; nothing is left there")
        } else {
            error
        }
    })
}

/// The folder that OUT names.
fn local(out: &str) -> Result<PathBuf> {
    match out.split_once("://") {
        None => Ok(PathBuf::from(out)),
        Some(("file", path)) => Ok(PathBuf::from(path)),
        Some(_) => {
            Err(CliError::Usage(format!("OUT must be a folder or file:///folder, not {out}")))
        }
    }
}

/// Says what was written: `what` in a line, `more` as fields of the JSON object.
///
/// # Errors
/// If nobody can be told.
pub(super) fn report(
    args: &OutArgs,
    checkpoint: &OfflineCheckpoint,
    what: &str,
    more: Value,
) -> Result<()> {
    let metadata = checkpoint.metadata();
    let (entries, bytes) = (entries(metadata), metadata.data_bytes());
    if args.json {
        let mut line = json!({
            "id": metadata.checkpoint.get(),
            "url": checkpoint.folder().url(),
            "job": metadata.job_name,
            "max_parallelism": metadata.max_parallelism.get(),
            "entries": entries,
            "bytes": bytes,
        });
        if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        return console::print(&line.to_string());
    }
    console::print(&format!(
        "{what}: checkpoint {} of job {} with {} entries, {}, in {}",
        metadata.checkpoint,
        metadata.job_name,
        table::count(entries),
        table::bytes(bytes),
        checkpoint.folder().url()
    ))?;
    let out = shown(Path::new(&args.out));
    console::print(&format!("start a job from it with --restore {out}"))
}

fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains(' ') { format!("{text:?}") } else { text }
}

/// A bar on a terminal, nothing elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    phase: RefCell<Option<OfflinePhase>>,
}

impl Progress {
    fn new(args: &OutArgs, entries: u64) -> Self {
        let shown = !args.json && std::io::stderr().is_terminal();
        let bar = shown.then(|| {
            let style =
                ProgressStyle::with_template("{msg:>8} {human_pos} of {human_len} {wide_bar}");
            let bar = ProgressBar::new(entries);
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self { bar, phase: RefCell::new(None) }
    }

    fn tell(&self, at: OfflineProgress) {
        let Some(bar) = &self.bar else { return };
        if self.phase.replace(Some(at.phase)) != Some(at.phase) {
            bar.set_message(match at.phase {
                OfflinePhase::Read => "reading",
                OfflinePhase::Write => "writing",
                OfflinePhase::Compare => "comparing",
                _ => "working",
            });
        }
        bar.set_length(bar.length().unwrap_or(0).max(at.entries));
        bar.set_position(at.entries);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
