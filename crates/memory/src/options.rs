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
}

impl MemoryOptions {
    /// The default settings: no bound.
    #[must_use]
    pub const fn new() -> Self {
        Self { memory_bytes_max: None }
    }

    /// Bounds the memory of one instance.
    #[must_use]
    pub const fn with_memory_bytes_max(mut self, bytes: u64) -> Self {
        self.memory_bytes_max = Some(bytes);
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
