//! What the tests share: factories over temporary folders.

use millpond_rocksdb::{RocksDbBackendFactory, RocksDbOptions, RocksDbProfile};
use millpond_state::{BackendContext, BackendFactory, KeyedBackend, Result};
use tempfile::TempDir;

/// Instances in a folder that goes with the factory.
pub(crate) struct TemporaryFactory {
    inner: RocksDbBackendFactory,
    dir: TempDir,
}

impl TemporaryFactory {
    pub(crate) fn new(settings: impl FnOnce(RocksDbOptions) -> RocksDbOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = RocksDbOptions::with_profile(dir.path(), RocksDbProfile::SmallMemory);
        Self { inner: RocksDbBackendFactory::create(settings(options)).unwrap(), dir }
    }

    pub(crate) fn usual() -> Self {
        Self::new(|options| options)
    }

    /// Flushes every 16 KiB and compacts as often: entries are found in memtables, in files, and
    /// spread over both.
    pub(crate) fn tiny_buffers() -> Self {
        Self::new(|options| {
            options
                .with_write_buffer_size(16 << 10)
                .with_rocksdb_options("level0_file_num_compaction_trigger=2;arena_block_size=4096")
        })
    }

    #[allow(dead_code, reason = "soon")]
    pub(crate) fn path(&self) -> &std::path::Path {
        self.dir.path()
    }
}

impl BackendFactory for TemporaryFactory {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn open(&self, context: &BackendContext) -> Result<Box<dyn KeyedBackend>> {
        self.inner.open(context)
    }
}
