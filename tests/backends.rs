//! The backends with a native form, with settings so small that little state fills several files.

use std::path::Path;

use millpond_fs::{FsBackendFactory, FsOptions};
use millpond_memory::{IncrementalOptions, MemoryBackendFactory, MemoryOptions};
use millpond_state::BackendFactory;
use millpond_tests::Fallible;

/// A backend and its name.
pub(crate) type Named = (&'static str, Box<dyn BackendFactory>);

/// The memory backend, whose incremental checkpoints are chains of deltas.
pub(crate) fn memory() -> Named {
    let options = IncrementalOptions::new().with_delta_percent_max(1_000);
    let factory = MemoryBackendFactory::new(MemoryOptions::new().with_incremental(options));
    ("memory", Box::new(factory))
}

/// The filesystem backend, below `state`.
pub(crate) fn fs(state: &Path) -> Fallible<Named> {
    let options = FsOptions::new(state.join("fs")).with_segment_bytes(4 << 10);
    Ok(("fs", Box::new(FsBackendFactory::new(options.with_tail_bytes(8 << 10))?)))
}

/// The RocksDB backend, below `state`.
#[cfg(feature = "rocksdb")]
pub(crate) fn rocksdb(state: &Path) -> Fallible<Named> {
    use millpond_rocksdb::{RocksDbBackendFactory, RocksDbOptions, RocksDbProfile};
    let folder = state.join("rocksdb");
    std::fs::create_dir(&folder)?;
    let options = RocksDbOptions::with_profile(folder, RocksDbProfile::SmallMemory);
    // Nothing depends on when the background has time for it.
    let options = options.with_rocksdb_options("disable_auto_compactions=true");
    let factory = RocksDbBackendFactory::create(options.with_write_buffer_size(64 << 10))?;
    Ok(("rocksdb", Box::new(factory)))
}

/// All of them.
pub(crate) fn native(state: &Path) -> Fallible<Vec<Named>> {
    Ok(vec![
        memory(),
        fs(state)?,
        #[cfg(feature = "rocksdb")]
        rocksdb(state)?,
    ])
}
