//! A database as the RocksDB backend would configure it, used by hand.

use std::path::Path;

use millpond_rocksdb::{RocksDbBackendFactory, RocksDbOptions, WriteBuffer};
use millpond_state::{ErrorKind, MaxParallelism, Result, StateError};
use rocksdb::{ColumnFamilyDescriptor, DB, ReadOptions, WriteOptions};

use crate::{at, max_parallelism};

/// Numbers as keys, in the backend's layout: key group, state and key, 12 bytes.
pub struct RawRocksDb {
    db: DB,
    write: WriteOptions,
    read: ReadOptions,
    max: MaxParallelism,
}

impl core::fmt::Debug for RawRocksDb {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RawRocksDb").finish_non_exhaustive()
    }
}

impl RawRocksDb {
    /// Creates one in `folder`. The cache, with the write buffers that are charged to it, has
    /// `memory_bytes`, or what the backend gives it by default.
    ///
    /// # Errors
    /// What the backend reports about its options, and what RocksDB does.
    pub fn create(folder: &Path, memory_bytes: Option<usize>) -> Result<Self> {
        let mut options = RocksDbOptions::new(folder).with_write_buffer(WriteBuffer::Memtable);
        options.memory_bytes = memory_bytes.unwrap_or(options.memory_bytes);
        let options = RocksDbBackendFactory::create(options)?.database_options()?;
        let family = ColumnFamilyDescriptor::new("default", options.clone());
        let db = DB::open_cf_descriptors(&options, folder.join("db"), [family]).map_err(failed)?;
        let (mut write, max) = (WriteOptions::default(), max_parallelism()?);
        write.disable_wal(true);
        Ok(Self { db, write, read: ReadOptions::default(), max })
    }

    fn raw_key(&self, key: u64) -> [u8; 12] {
        let key = key.to_be_bytes();
        let [high, low] = at(&key, self.max).group().get().to_be_bytes();
        let [a, b, c, d, e, f, g, h] = key;
        [high, low, 0, 0, a, b, c, d, e, f, g, h]
    }

    /// The value of a key.
    ///
    /// # Errors
    /// What RocksDB reports.
    pub fn value(&self, key: u64) -> Result<Option<impl AsRef<[u8]> + '_>> {
        self.db.get_pinned_opt(self.raw_key(key), &self.read).map_err(failed)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// What RocksDB reports.
    pub fn put_value(&self, key: u64, value: &[u8]) -> Result<()> {
        self.db.put_opt(self.raw_key(key), value, &self.write).map_err(failed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: rocksdb::Error) -> StateError {
    StateError::new(ErrorKind::Io, format!("RocksDB: {error}"))
}
