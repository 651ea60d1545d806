//! What an engine is configured with.

use std::sync::Arc;

use millpond_state::{
    BackendContext, BackendFactory, KeyedBackend, MAX_PARALLELISM_LIMIT, MaxParallelism, Result,
};

use crate::backend::RocksDbBackend;
use crate::budget::Budget;
use crate::buffer::{Buffer, Workers};
use crate::expiry::Expiries;
use crate::native::Native;
use crate::options::{RocksDbOptions, WriteBuffer};
use crate::store::Store;
use crate::tables::Tables;
use crate::tuning::database_options;
use millpond_state_folder::StateFolder;

/// Opens [`RocksDbBackend`]s that share one memory budget. Shared between threads; clones share the
/// budget too. Make one for a process.
#[derive(Clone)]
pub struct RocksDbBackendFactory {
    options: RocksDbOptions,
    budget: Budget,
    folder: StateFolder,
    workers: Workers,
}

impl core::fmt::Debug for RocksDbBackendFactory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RocksDbBackendFactory").field("options", &self.options).finish()
    }
}

impl RocksDbBackendFactory {
    /// Makes the state folder if it is missing, removes what killed processes left in it, and sets
    /// the memory budget up.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](millpond_state::ErrorKind) for a budget that is too small or
    /// options that RocksDB does not know; [`ErrorKind::Io`](millpond_state::ErrorKind) if the
    /// state folder cannot be used.
    pub fn create(options: RocksDbOptions) -> Result<Self> {
        let budget = Budget::new(&options)?;
        database_options(&options, &budget, &any_expiries()?)?;
        let folder = StateFolder::create(&options.state_dir)?;
        let threads = match options.write_buffer {
            WriteBuffer::Hash => options.landing_threads,
            WriteBuffer::Memtable => 0,
        };
        Ok(Self { options, budget, folder, workers: Workers::start(threads)? })
    }

    /// Opens an empty instance, to be called without virtual dispatch.
    ///
    /// # Errors
    /// As [`BackendFactory::open`].
    pub fn open_backend(&self, context: &BackendContext) -> Result<RocksDbBackend> {
        RocksDbBackend::check_context(context)?;
        let folder = Arc::new(self.folder.create_instance(context)?);
        let expiries = Expiries::new(context.key_groups);
        let options = database_options(&self.options, &self.budget, &expiries)?;
        let store = Store::create(&folder, options, self.options.target_file_size_base)?;
        let native = Native::new(self.options.transfer_threads);
        Ok(RocksDbBackend::new(context, self.tables(Arc::new(store)), expiries, native))
    }

    fn tables(&self, store: Arc<Store>) -> Tables {
        let buffer = (self.options.write_buffer == WriteBuffer::Hash).then(|| {
            let (pool, workers) = (&self.budget.pool, self.workers.clone());
            Box::new(Buffer::new(&store, pool, workers, self.options.write_buffer_size))
        });
        Tables { buffer, store }
    }

    /// The options that databases are opened with, for comparisons with databases opened by hand.
    /// Not stable: it speaks of RocksDB's binding.
    ///
    /// # Errors
    /// None once the factory was created.
    #[doc(hidden)]
    pub fn database_options(&self) -> Result<rocksdb::Options> {
        database_options(&self.options, &self.budget, &any_expiries()?)
    }

    /// The memory that all instances hold together.
    #[must_use]
    pub fn memory_usage(&self) -> MemoryUsage {
        MemoryUsage {
            budget_bytes: self.options.memory_bytes as u64,
            cache_bytes: self.budget.cache.get_usage() as u64,
            pinned_bytes: self.budget.cache.get_pinned_usage() as u64,
            write_buffer_bytes: self.budget.write_buffer_bytes() as u64,
        }
    }
}

/// Of an instance that owns whatever there is.
fn any_expiries() -> Result<Expiries> {
    let groups = MaxParallelism::new(MAX_PARALLELISM_LIMIT)?.full_range();
    Ok(Expiries::new(groups))
}

impl BackendFactory for RocksDbBackendFactory {
    fn name(&self) -> &str {
        crate::native::FORMAT
    }

    fn open(&self, context: &BackendContext) -> Result<Box<dyn KeyedBackend>> {
        Ok(Box::new(self.open_backend(context)?))
    }
}

/// What the instances of a factory hold of their [budget](RocksDbOptions::memory_bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// The budget.
    pub budget_bytes: u64,
    /// In the block cache: blocks, indexes, filters, and the write buffers that are charged to it.
    pub cache_bytes: u64,
    /// Of those, what is in use at this moment and cannot be evicted.
    pub pinned_bytes: u64,
    /// In write buffers, those included that are being flushed or that a snapshot still reads.
    pub write_buffer_bytes: u64,
}
