//! Settings of the memory backend, and the factory that opens instances with them.

use millpond_state::{BackendContext, BackendFactory, KeyedBackend, Result};

use crate::backend::MemoryBackend;

/// Settings of a memory backend instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// Most bytes of memory that one instance may hold for state and running snapshots; `None` for
    /// no bound. A write that might pass it fails with
    /// [`ErrorKind::ResourceExhausted`](millpond_state::ErrorKind::ResourceExhausted) and changes
    /// nothing; the check is on the safe side by about the size of a table segment, some 100 KiB.
    /// Overwriting a value in place always works, unless a snapshot shares its segment: then the
    /// copy must fit. Deleting always works, even if it has to copy a segment past the bound.
    pub memory_bytes_max: Option<u64>,
    /// How incremental snapshots are laid out.
    pub incremental: IncrementalOptions,
}

/// When an incremental snapshot is written as a new base instead of another delta. Restoring reads
/// the base and all deltas since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncrementalOptions {
    /// Most entries of all deltas together, deletions included, for each 100 of the base.
    pub delta_percent_max: u32,
    /// Most files of a checkpoint of one instance, the base included; above
    /// [`CHAIN_FILES_MAX`](millpond_snapshot::incremental::CHAIN_FILES_MAX) it counts as that.
    pub chain_files_max: u32,
    /// Most bytes of deletions that are remembered until a checkpoint is complete, for each 100
    /// bytes of state; past them the next snapshot is a base. 64 KiB are always remembered.
    pub tombstone_percent_max: u32,
}

impl IncrementalOptions {
    /// The default settings.
    #[must_use]
    pub const fn new() -> Self {
        Self { delta_percent_max: 50, chain_files_max: 32, tombstone_percent_max: 25 }
    }

    /// With another [`Self::delta_percent_max`].
    #[must_use]
    pub const fn with_delta_percent_max(mut self, percent: u32) -> Self {
        self.delta_percent_max = percent;
        self
    }

    /// With another [`Self::chain_files_max`].
    #[must_use]
    pub const fn with_chain_files_max(mut self, files: u32) -> Self {
        self.chain_files_max = files;
        self
    }
}

impl Default for IncrementalOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryOptions {
    /// The default settings: no bound.
    #[must_use]
    pub const fn new() -> Self {
        Self { memory_bytes_max: None, incremental: IncrementalOptions::new() }
    }

    /// Bounds the memory of one instance.
    #[must_use]
    pub const fn with_memory_bytes_max(mut self, bytes: u64) -> Self {
        self.memory_bytes_max = Some(bytes);
        self
    }

    /// With other settings of incremental snapshots.
    #[must_use]
    pub const fn with_incremental(mut self, incremental: IncrementalOptions) -> Self {
        self.incremental = incremental;
        self
    }
}

/// Opens [`MemoryBackend`]s. Shared between threads.
#[derive(Clone, Debug, Default)]
pub struct MemoryBackendFactory {
    options: MemoryOptions,
}

impl MemoryBackendFactory {
    /// A factory of instances with these settings.
    #[must_use]
    pub const fn new(options: MemoryOptions) -> Self {
        Self { options }
    }
}

impl BackendFactory for MemoryBackendFactory {
    fn name(&self) -> &str {
        "memory"
    }

    fn open(&self, context: &BackendContext) -> Result<Box<dyn KeyedBackend>> {
        let backend =
            MemoryBackend::create(context.key_groups, context.max_parallelism, self.options)?;
        Ok(Box::new(backend))
    }
}
