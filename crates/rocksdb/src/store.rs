//! One instance's database.
//!
//! Shared between the backend and its snapshots under way; closed, and its folder removed, when the
//! last of them lets go. Says what failed in words of this crate.

use std::time::Duration;

use millpond_state::{ErrorKind, Result, StateError};
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBPinnableSlice, DBRawIterator,
    DEFAULT_COLUMN_FAMILY_NAME, IngestExternalFileOptions, Options, ReadOptions, Snapshot,
    WriteBatch, WriteOptions, properties,
};

use crate::error::rocksdb_error;
use crate::folder::InstanceFolder;
use crate::tuning::write_options;

/// Time between two tries of a write that RocksDB holds back: what it waits itself at least.
const STALL_PAUSE: Duration = Duration::from_millis(1);

/// A database and its folder.
pub(crate) struct Store {
    // Fields drop in this order: the database closes before its folder goes.
    db: DB,
    options: Options,
    read: ReadOptions,
    write: WriteOptions,
    file_bytes: u64,
    folder: InstanceFolder,
}

impl Store {
    /// Creates an empty database in `folder`, with files of `file_bytes`.
    pub(crate) fn create(
        folder: InstanceFolder,
        options: Options,
        file_bytes: u64,
    ) -> Result<Self> {
        // Opened by descriptor: otherwise the handle of the one column family is out of reach.
        let family = ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, options.clone());
        let db = DB::open_cf_descriptors(&options, folder.database(), [family])
            .map_err(|error| rocksdb_error("open a database", error))?;
        let (read, write) = (ReadOptions::default(), write_options());
        Ok(Self { db, options, read, write, file_bytes, folder })
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>> {
        self.db.get_pinned_opt(key, &self.read).map_err(|error| rocksdb_error("read", error))
    }

    /// Reads many keys, in their order.
    pub(crate) fn get_many<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<Option<DBPinnableSlice<'_>>>> {
        let found = self.db.batched_multi_get_cf_opt(self.family()?, keys, false, &self.read);
        let found: core::result::Result<_, _> = found.into_iter().collect();
        found.map_err(|error| rocksdb_error("read", error))
    }

    #[inline]
    pub(crate) fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.written(|| self.db.put_opt(key, value, &self.write))
    }

    #[inline]
    pub(crate) fn merge(&self, key: &[u8], operand: &[u8]) -> Result<()> {
        self.written(|| self.db.merge_opt(key, operand, &self.write))
    }

    #[inline]
    pub(crate) fn delete(&self, key: &[u8]) -> Result<()> {
        self.written(|| self.db.delete_opt(key, &self.write))
    }

    pub(crate) fn write(&self, batch: &WriteBatch) -> Result<()> {
        // A write takes its batch with it, and may have to be tried again.
        self.written(|| self.db.write_opt(WriteBatch::from_data(batch.data()), &self.write))
    }

    /// Writes, and waits as long as RocksDB holds writes back.
    #[inline]
    fn written(&self, write: impl Fn() -> core::result::Result<(), rocksdb::Error>) -> Result<()> {
        match write() {
            Ok(()) => Ok(()),
            Err(error) => wait_to_write(error, &write),
        }
    }

    /// An iterator over the present contents.
    pub(crate) fn iterator(&self, options: ReadOptions) -> DBRawIterator<'_> {
        self.db.raw_iterator_opt(options)
    }

    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        self.db.snapshot()
    }

    /// Bytes of write buffers and of what is kept in memory of open files. The block cache is not
    /// this instance's alone.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let parts = [properties::SIZE_ALL_MEM_TABLES, properties::ESTIMATE_TABLE_READERS_MEM];
        parts.iter().map(|name| self.db.property_int_value(*name).ok().flatten().unwrap_or(0)).sum()
    }

    /// What SST files are written with.
    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    /// Bytes of an SST file.
    pub(crate) const fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(crate) const fn folder(&self) -> &InstanceFolder {
        &self.folder
    }

    /// Takes SST files over. They must not overlap.
    pub(crate) fn ingest(&self, files: Vec<std::path::PathBuf>) -> Result<()> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.db
            .ingest_external_file_opts(&options, files)
            .map_err(|error| rocksdb_error("take restored files over", error))
    }

    fn family(&self) -> Result<&ColumnFamily> {
        self.db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME).ok_or_else(|| {
            StateError::new(ErrorKind::Io, "the database has lost its column family")
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // A compaction under way would be waited for; its result is not wanted.
        self.db.cancel_all_background_work(true);
    }
}

/// Tries a write again as long as RocksDB holds it back.
///
/// RocksDB would wait by itself, but then a writer that waits for a flush to make room stays in the
/// way of the recovery from a flush that failed on a full disk, for ever. A write that does not
/// wait is refused with that failure instead.
#[cold]
fn wait_to_write(
    mut error: rocksdb::Error,
    write: &dyn Fn() -> core::result::Result<(), rocksdb::Error>,
) -> Result<()> {
    while error.kind() == rocksdb::ErrorKind::Incomplete {
        std::thread::sleep(STALL_PAUSE);
        match write() {
            Ok(()) => return Ok(()),
            Err(next) => error = next,
        }
    }
    Err(rocksdb_error("write", error))
}

/// Fails if an iterator stopped for another reason than its end.
pub(crate) fn check_ended(iterator: &DBRawIterator<'_>) -> Result<()> {
    iterator.status().map_err(|error| rocksdb_error("walk over entries", error))
}
