//! How new checkpoints are written.

use core::fmt;

use millpond_snapshot::{Compression, FullOptions};
use millpond_state::CancelFlag;

use super::sort::Spill;
use super::state_error;
use crate::error::Result;

/// What an offline tool is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OfflinePhase {
    /// Reads and sorts entries.
    Read,
    /// Writes the new files.
    Write,
    /// Reads the new files and compares.
    Compare,
}

/// How far an offline tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OfflineProgress {
    /// What it is doing.
    pub phase: OfflinePhase,
    /// Entries done in this phase, of the operator at hand.
    pub entries: u64,
}

/// Settings of [`NewCheckpoint`](super::NewCheckpoint) and [`rekey`](super::rekey).
#[derive(Clone, Copy)]
pub struct OfflineOptions<'a> {
    /// Where entries are sorted.
    pub spill: &'a Spill,
    /// zstd level of the new files; 0 for no compression.
    pub compression_level: i32,
    /// Wall-clock time to note as the time of the new checkpoint, in milliseconds since
    /// 1970-01-01T00:00Z. `None`: 0, for copies the time of the original.
    pub written_at_ms: Option<u64>,
    /// Called now and then, in the calling thread.
    pub on_progress: &'a dyn Fn(OfflineProgress),
    /// Once it is set, also by another thread or a signal, the work fails within 10,000 entries
    /// and leaves nothing behind.
    pub cancel: Option<&'a CancelFlag>,
}

impl<'a> OfflineOptions<'a> {
    /// The defaults: zstd level 1, nobody is told of progress or cancels.
    #[must_use]
    pub fn new(spill: &'a Spill) -> Self {
        Self {
            spill,
            compression_level: 1,
            written_at_ms: None,
            on_progress: &|_| {},
            cancel: None,
        }
    }

    pub(super) fn full_options(&self) -> FullOptions {
        let compression = match self.compression_level {
            0 => Compression::None,
            level => Compression::Zstd { level },
        };
        FullOptions { compression, ..FullOptions::default() }
    }

    pub(super) fn ticks(&self, phase: OfflinePhase) -> Ticks<'a> {
        let progress = OfflineProgress { phase, entries: 0 };
        Ticks { on_progress: self.on_progress, cancel: self.cancel, progress }
    }
}

impl fmt::Debug for OfflineOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfflineOptions")
            .field("spill", &self.spill)
            .field("compression_level", &self.compression_level)
            .field("written_at_ms", &self.written_at_ms)
            .finish_non_exhaustive()
    }
}

/// Entries between two calls.
const ENTRIES_PER_TICK: u64 = 8_192;

/// Counts entries and tells of it.
pub(super) struct Ticks<'a> {
    on_progress: &'a dyn Fn(OfflineProgress),
    cancel: Option<&'a CancelFlag>,
    progress: OfflineProgress,
}

impl Ticks<'_> {
    /// Counts an entry; fails if the work was cancelled.
    pub(super) fn entry(&mut self) -> Result<()> {
        self.progress.entries += 1;
        if self.progress.entries.is_multiple_of(ENTRIES_PER_TICK) {
            (self.on_progress)(self.progress);
            self.cancel.map_or(Ok(()), CancelFlag::check).map_err(state_error)?;
        }
        Ok(())
    }

    pub(super) const fn entries(&self) -> u64 {
        self.progress.entries
    }
}

impl Drop for Ticks<'_> {
    fn drop(&mut self) {
        (self.on_progress)(self.progress);
    }
}
