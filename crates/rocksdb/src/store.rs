//! One instance's database.
//!
//! Shared between the backend and its snapshots under way; closed, and its folder removed, when the
//! last of them lets go. Says what failed in words of this crate.
//!
//! Entries lie in one column family: the default one, or, once files of other databases were
//! imported, another, since RocksDB imports into new families only.

use std::sync::Arc;
use std::time::Duration;

use millpond_state::{ErrorKind, Result, StateError};
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBPinnableSlice, DBRawIterator,
    DEFAULT_COLUMN_FAMILY_NAME, IngestExternalFileOptions, Options, ReadOptions, Snapshot,
    WriteBatch, WriteOptions, properties,
};

use crate::error::rocksdb_error;
use crate::folder::DatabaseFolder;
use crate::tuning::write_options;
use millpond_state_folder::InstanceFolder;

/// Time between two tries of a write that RocksDB holds back: what it waits itself at least.
const STALL_PAUSE: Duration = Duration::from_millis(1);

/// The column family that files of other databases are imported into.
pub(crate) const IMPORTED_FAMILY: &str = "imported";

/// A database and its folder.
pub(crate) struct Store {
    // Fields drop in this order: the database closes before its folder goes.
    db: DB,
    family: String,
    options: Options,
    read: ReadOptions,
    write: WriteOptions,
    file_bytes: u64,
    folder: DatabaseFolder,
}

impl Store {
    /// Creates an empty database, with files of `file_bytes`.
    pub(crate) fn create(
        folder: &Arc<InstanceFolder>,
        options: Options,
        file_bytes: u64,
    ) -> Result<Self> {
        let database = DatabaseFolder::reserve(folder);
        Self::open_in(database, options, file_bytes, DEFAULT_COLUMN_FAMILY_NAME)
    }

    /// Opens the database whose files are in `folder`, with the settings of `like`.
    pub(crate) fn open(folder: DatabaseFolder, like: &Self, family: &str) -> Result<Self> {
        let mut options = like.options.clone();
        options.create_if_missing(false);
        options.set_error_if_exists(false);
        let mut store = Self::open_in(folder, options, like.file_bytes, family)?;
        store.options = like.options.clone();
        Ok(store)
    }

    fn open_in(
        folder: DatabaseFolder,
        options: Options,
        file_bytes: u64,
        family: &str,
    ) -> Result<Self> {
        let db = DB::open_cf_descriptors(&options, folder.path(), families(&options, family))
            .map_err(|error| rocksdb_error("open a database", error))?;
        let (read, write) = (ReadOptions::default(), write_options());
        Ok(Self { db, family: family.to_owned(), options, read, write, file_bytes, folder })
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>> {
        let found = self.db.get_pinned_cf_opt(self.family()?, key, &self.read);
        found.map_err(|error| rocksdb_error("read", error))
    }

    /// As [`Self::get`], with options of the caller's.
    pub(crate) fn get_with(
        &self,
        key: &[u8],
        options: &ReadOptions,
    ) -> Result<Option<DBPinnableSlice<'_>>> {
        let found = self.db.get_pinned_cf_opt(self.family()?, key, options);
        found.map_err(|error| rocksdb_error("read", error))
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
        let family = self.family()?;
        self.written(|| self.db.put_cf_opt(family, key, value, &self.write))
    }

    #[inline]
    pub(crate) fn merge(&self, key: &[u8], operand: &[u8]) -> Result<()> {
        let family = self.family()?;
        self.written(|| self.db.merge_cf_opt(family, key, operand, &self.write))
    }

    #[inline]
    pub(crate) fn delete(&self, key: &[u8]) -> Result<()> {
        let family = self.family()?;
        self.written(|| self.db.delete_cf_opt(family, key, &self.write))
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
    pub(crate) fn iterator(&self, options: ReadOptions) -> Result<DBRawIterator<'_>> {
        Ok(self.db.raw_iterator_cf_opt(self.family()?, options))
    }

    pub(crate) fn snapshot(&self) -> Snapshot<'_> {
        self.db.snapshot()
    }

    /// Bytes of write buffers and of what is kept in memory of open files. The block cache is not
    /// this instance's alone.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let parts = [properties::SIZE_ALL_MEM_TABLES, properties::ESTIMATE_TABLE_READERS_MEM];
        let Ok(family) = self.family() else { return 0 };
        let bytes = |name| self.db.property_int_value_cf(family, name).ok().flatten();
        parts.into_iter().map(|name| bytes(name).unwrap_or(0)).sum()
    }

    /// What SST files are written with.
    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    /// Bytes of an SST file.
    pub(crate) const fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The instance's folder.
    pub(crate) const fn folder(&self) -> &Arc<InstanceFolder> {
        self.folder.instance()
    }

    pub(crate) const fn db(&self) -> &DB {
        &self.db
    }

    /// The column family that entries lie in.
    pub(crate) fn family_name(&self) -> &str {
        &self.family
    }

    /// Files of the first level, where files overlap.
    pub(crate) fn first_level_files(&self) -> u64 {
        let Ok(family) = self.family() else { return 0 };
        let files = self.db.property_int_value_cf(family, properties::num_files_at_level(0));
        files.ok().flatten().unwrap_or(0)
    }

    /// Takes SST files over, all at once, over everything that is there. They must not overlap.
    /// Snapshots that exist do not show them.
    pub(crate) fn ingest(&self, files: Vec<std::path::PathBuf>) -> Result<()> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        options.set_snapshot_consistency(true);
        options.set_allow_global_seqno(true);
        self.db
            .ingest_external_file_cf_opts(self.family()?, &options, files)
            .map_err(|error| rocksdb_error("take sorted files over", error))
    }

    /// The column family that entries lie in.
    #[inline]
    pub(crate) fn family(&self) -> Result<&ColumnFamily> {
        self.db.cf_handle(&self.family).ok_or_else(|| {
            StateError::new(ErrorKind::Io, "the database has lost its column family")
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // A compaction under way would be waited for; its result is not wanted. Not waited for
        // here, where one that has not begun would count too: closing takes those from the queue,
        // which all databases of a process share.
        self.db.cancel_all_background_work(false);
    }
}

/// What to open a database with whose entries lie in `family`. RocksDB wants the default one named
/// too. Opened by descriptor: otherwise their handles are out of reach.
pub(crate) fn families(options: &Options, family: &str) -> Vec<ColumnFamilyDescriptor> {
    let mut names = vec![DEFAULT_COLUMN_FAMILY_NAME];
    if family != DEFAULT_COLUMN_FAMILY_NAME {
        names.push(family);
    }
    let describe = |name| ColumnFamilyDescriptor::new(name, options.clone());
    names.into_iter().map(describe).collect()
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
