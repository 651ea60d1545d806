//! Runs in a temporary folder.

use core::cell::Cell;
use core::fmt;
use std::sync::Arc;

use millpond_snapshot::{FullOptions, FullReader, FullWriter};
use millpond_state::{EntrySink, StateDescriptor};
use millpond_storage::{Store, StorePath};

use super::RunWriter;
use crate::driver::{ObjectSink, ObjectSource};
use crate::error::Result;
use crate::offline::state_error;

/// Memory that one open run takes while it is merged, roughly.
const OPEN_RUN_BYTES: usize = 512 * 1024;

/// Most runs that are merged at once.
const FAN_IN_MAX: usize = 64;

/// Where and with how much memory entries are sorted.
pub struct Spill {
    store: Arc<dyn Store>,
    folder: Option<StorePath>,
    memory_bytes: usize,
    /// The number of the next run; `None` before the first.
    next: Cell<Option<u64>>,
}

impl Spill {
    /// Memory for sorting that does for most: 64 MiB.
    pub const MEMORY_BYTES_DEFAULT: usize = 64 * 1024 * 1024;

    /// Sorts with about `memory_bytes` of memory (a single larger entry takes what it takes), and
    /// beyond that with temporary files in `folder` of `store`, `None` for its root. The folder
    /// needs room for about all that is put at once, compressed. One process at a time may use it.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, folder: Option<StorePath>, memory_bytes: usize) -> Self {
        Self { store, folder, memory_bytes, next: Cell::new(None) }
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    pub(super) fn fan_in(&self) -> usize {
        (self.memory_bytes / OPEN_RUN_BYTES).clamp(2, FAN_IN_MAX)
    }

    /// Writes a run; on an error nothing is left of it.
    pub(super) fn write_run(
        &self,
        states: &[StateDescriptor],
        fill: impl FnOnce(&mut RunWriter<'_>) -> Result<()>,
    ) -> Result<Run> {
        let path = self.next_path()?;
        let mut sink = ObjectSink::create(self.store.as_ref(), &path)?;
        let mut writer = FullWriter::create(&mut sink, FullOptions::default())?;
        writer.begin(states).map_err(state_error)?;
        fill(&mut writer)?;
        writer.finish()?;
        sink.finish()?;
        Ok(Run { store: Arc::clone(&self.store), path })
    }

    /// A name that is free: remains of a process that died are passed over.
    fn next_path(&self) -> Result<StorePath> {
        let number = match self.next.get() {
            Some(number) => number,
            None => {
                let there =
                    self.store.list(self.folder.as_ref()).map_err(crate::driver::storage)?;
                let numbers = there.iter().filter_map(|object| parse_name(object.path.name()));
                numbers.max().map_or(0, |newest| newest.saturating_add(1))
            }
        };
        self.next.set(Some(number.saturating_add(1)));
        let name = format!("run-{number}.full");
        let path = match &self.folder {
            Some(folder) => folder.join(&name),
            None => StorePath::new(name),
        };
        path.map_err(crate::driver::storage)
    }
}

fn parse_name(name: &str) -> Option<u64> {
    name.strip_prefix("run-")?.strip_suffix(".full")?.parse().ok()
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spill")
            .field("store", &self.store.url())
            .field("folder", &self.folder)
            .field("memory_bytes", &self.memory_bytes)
            .finish_non_exhaustive()
    }
}

/// Sorted entries in a file, deleted with this.
pub(super) struct Run {
    store: Arc<dyn Store>,
    path: StorePath,
}

impl Run {
    pub(super) fn open(&self) -> Result<FullReader<ObjectSource>> {
        Ok(FullReader::open(ObjectSource::open(&self.store, &self.path)?)?)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // What cannot be deleted now is only in the way; the caller owns the folder.
        let _ = self.store.delete(&self.path);
    }
}
