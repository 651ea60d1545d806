//! The state backends that are measured: their names, how they are opened, and what their floor is.
//! A new backend gets a row here, and all benchmarks have it.

use std::path::Path;
use std::sync::Arc;

use millpond_fs::{FsBackendFactory, FsOptions};
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::{BackendContext, BackendFactory, KeyGroupRange, KeyedBackend, MaxParallelism};

use crate::error::{BenchError, Result};

/// A state backend.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// What users call it.
    pub name: &'static str,
    pub(crate) floor: Floor,
    open: Open,
}

/// Opens a backend whose files go to a folder.
type Open = fn(&Path) -> Result<Arc<dyn BackendFactory>>;

/// What does the same work without a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// A hash map in memory.
    HashMap,
    /// The raw crate, with the backend's own options.
    #[cfg(feature = "rocksdb")]
    RocksDb,
}

/// All backends that this build has, in the order in which results list them.
pub const BACKENDS: &[Backend] = &[
    Backend { name: "memory", floor: Floor::HashMap, open: memory },
    Backend { name: "fs", floor: Floor::HashMap, open: fs },
    #[cfg(feature = "rocksdb")]
    Backend { name: "rocksdb", floor: Floor::RocksDb, open: rocksdb },
];

/// Backends that a build may be without, and the feature that has them.
const OPTIONAL: &[(&str, &str)] = &[("rocksdb", "rocksdb")];

/// Number of key groups in all benchmarks.
const MAX_PARALLELISM: u32 = 128;

impl Backend {
    /// Finds the backend called `name`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if there is none, or none
    /// in this build; the message lists those that there are.
    pub fn find(name: &str) -> Result<Self> {
        if let Some(backend) = BACKENDS.iter().find(|backend| backend.name == name) {
            return Ok(*backend);
        }
        if let Some((_, feature)) = OPTIONAL.iter().find(|(backend, _)| *backend == name) {
            return Err(BenchError::invalid(format!(
                "this build has no state backend {name}: build it with --features {feature}"
            )));
        }
        let known: Vec<&str> = BACKENDS.iter().map(|backend| backend.name).collect();
        Err(BenchError::invalid(format!(
            "there is no state backend {name:?}; there are {}",
            known.join(", ")
        )))
    }

    /// A factory of instances that keep their files, if they have any, below `folder`.
    ///
    /// # Errors
    /// What opening the backend fails with.
    pub fn factory(&self, folder: &Path) -> Result<Arc<dyn BackendFactory>> {
        (self.open)(folder)
    }

    /// One empty instance of all key groups.
    ///
    /// # Errors
    /// As [`Self::factory`].
    pub fn open(&self, folder: &Path) -> Result<Box<dyn KeyedBackend>> {
        let groups = max_parallelism()?.full_range();
        open_range(self.factory(folder)?.as_ref(), groups)
    }
}

/// Number of key groups in all benchmarks: 128.
///
/// # Errors
/// None that can happen.
pub fn max_parallelism() -> Result<MaxParallelism> {
    Ok(MaxParallelism::new(MAX_PARALLELISM)?)
}

/// An empty instance of some key groups.
pub(crate) fn open_range(
    factory: &dyn BackendFactory,
    groups: KeyGroupRange,
) -> Result<Box<dyn KeyedBackend>> {
    Ok(factory.open(&BackendContext::new("bench", groups, max_parallelism()?))?)
}

fn memory(_: &Path) -> Result<Arc<dyn BackendFactory>> {
    Ok(Arc::new(MemoryBackendFactory::new(MemoryOptions::new())))
}

fn fs(folder: &Path) -> Result<Arc<dyn BackendFactory>> {
    Ok(Arc::new(FsBackendFactory::new(FsOptions::new(folder.join("fs")))?))
}

#[cfg(feature = "rocksdb")]
fn rocksdb(folder: &Path) -> Result<Arc<dyn BackendFactory>> {
    use millpond_rocksdb::{RocksDbBackendFactory, RocksDbOptions};
    Ok(Arc::new(RocksDbBackendFactory::create(RocksDbOptions::new(folder.join("rocksdb")))?))
}
