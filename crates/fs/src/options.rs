//! Settings.

use std::path::{Path, PathBuf};

use millpond_state::Result;

use crate::error::invalid;

/// Smallest segment that can be set.
const SEGMENT_BYTES_MIN: usize = 4 << 10;

/// Largest segment that can be set.
const SEGMENT_BYTES_MAX: usize = 256 << 20;

/// Settings of the filesystem backend. They hold for a factory and all instances it opens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FsOptions {
    /// The folder under which each instance has its own. Made if it is missing. Processes may share
    /// it; what a killed process left there is removed by the next.
    pub state_dir: PathBuf,
    /// Bytes of a segment file, 4 KiB to 256 MiB. A larger value has a segment of its own. All
    /// segments of an instance together can have 512 GiB.
    pub segment_bytes: usize,
    /// Bytes of the log's mutable end that one instance keeps in memory: entries in it are updated
    /// in place. Up to as many again wait to be written.
    pub tail_bytes: usize,
    /// Most bytes of the index of one instance; `None`: no bound. A write that might pass it is
    /// refused with [`ResourceExhausted`](millpond_state::ErrorKind), reads go on. An entry takes 9
    /// to 20 bytes.
    pub index_bytes_max: Option<u64>,
    /// How many times the bytes of the live entries all segments together may have, above 1; one
    /// segment and the tail come on top. Less room costs more rewriting.
    pub space_amplification_max: f64,
    /// Threads of the factory that write segments to files, at least 1.
    pub background_threads: usize,
    /// Files that are fetched at once in a restore, at least 1.
    pub restore_threads: usize,
}

impl FsOptions {
    /// The defaults: segments of 16 MiB, a tail of 64 MiB, space amplification of 2, one thread.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            segment_bytes: 16 << 20,
            tail_bytes: 64 << 20,
            index_bytes_max: None,
            space_amplification_max: 2.0,
            background_threads: 1,
            restore_threads: 4,
        }
    }

    /// Sets [`Self::segment_bytes`].
    #[must_use]
    pub const fn with_segment_bytes(mut self, bytes: usize) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Sets [`Self::tail_bytes`].
    #[must_use]
    pub const fn with_tail_bytes(mut self, bytes: usize) -> Self {
        self.tail_bytes = bytes;
        self
    }

    /// Sets [`Self::index_bytes_max`].
    #[must_use]
    pub const fn with_index_bytes_max(mut self, bytes: u64) -> Self {
        self.index_bytes_max = Some(bytes);
        self
    }

    /// Sets [`Self::space_amplification_max`].
    #[must_use]
    pub const fn with_space_amplification_max(mut self, times: f64) -> Self {
        self.space_amplification_max = times;
        self
    }

    /// Sets [`Self::background_threads`].
    #[must_use]
    pub const fn with_background_threads(mut self, threads: usize) -> Self {
        self.background_threads = threads;
        self
    }

    /// Sets [`Self::restore_threads`].
    #[must_use]
    pub const fn with_restore_threads(mut self, threads: usize) -> Self {
        self.restore_threads = threads;
        self
    }

    /// The folder under which each instance has its own.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Err(invalid(format!(
                "segments of {} bytes: set {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}",
                self.segment_bytes
            )));
        }
        if self.tail_bytes < self.segment_bytes {
            return Err(invalid("the tail must have room for a segment"));
        }
        let times = self.space_amplification_max;
        if !(times > 1.0 && times.is_finite()) {
            return Err(invalid(format!("space amplification {times}: set a number above 1")));
        }
        if self.background_threads == 0 || self.restore_threads == 0 {
            return Err(invalid("background_threads and restore_threads must be at least 1"));
        }
        Ok(())
    }
}
