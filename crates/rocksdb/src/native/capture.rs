//! The files of a database as they are now, hard-linked into a folder of the instance.
//!
//! RocksDB flushes its memtable first: that is what a capture costs, beside some 20 us for a file.
//! The links keep the files when compactions delete them.

use std::collections::BTreeSet;

use millpond_state::{ErrorKind, Result, StateError};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, Options};

use super::sst::{CURRENT, SstFile, file_number, is_manifest};
use super::sys;
use crate::error::rocksdb_error;
use crate::folder::TemporaryFolder;
use crate::store::{Store, families};

/// Files that are open at once while a capture is listed.
const OPEN_FILES: i32 = 16;

/// A folder of linked files; removed when dropped.
pub(crate) struct Captured {
    folder: TemporaryFolder,
    options: Options,
    family: String,
}

/// What a capture consists of.
pub(crate) struct CapturedFiles {
    /// The SST files.
    pub(crate) tables: Vec<SstFile>,
    /// What else belongs to the database, by name: new in every capture.
    pub(crate) others: Vec<String>,
}

/// Captures what `store` holds now. Writes during the call may be in it or not.
pub(crate) fn capture(store: &Store) -> Result<Captured> {
    let folder = TemporaryFolder::reserve(store.folder(), "capture");
    let failed = |error| rocksdb_error("link the files of a snapshot", error);
    let checkpoint = Checkpoint::new(store.db()).map_err(failed)?;
    // By default with a flush, without which unlogged writes would be missing.
    checkpoint.create_checkpoint(folder.path()).map_err(failed)?;
    let family = store.family_name().to_owned();
    Ok(Captured { folder, options: store.options().clone(), family })
}

impl Captured {
    /// Where the files are.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The column family that entries lie in.
    pub(crate) fn family(&self) -> &str {
        &self.family
    }

    /// Lists the files; `db` is opened from them.
    pub(crate) fn files(&self, db: &DB) -> Result<CapturedFiles> {
        let (tables_there, others) = self.names()?;
        let tables = sys::live_files(db, &self.family)?;
        let named: BTreeSet<&str> = tables.iter().map(|file| file.name.as_str()).collect();
        let there: BTreeSet<&str> = tables_there.iter().map(String::as_str).collect();
        if named == there {
            return Ok(CapturedFiles { tables, others });
        }
        let missing: Vec<&&str> = named.symmetric_difference(&there).collect();
        let message = format!("the MANIFEST of a snapshot disagrees with its files: {missing:?}");
        Err(StateError::new(ErrorKind::Corrupt, message))
    }

    /// Names of SST files, and of the others that a database cannot do without.
    fn names(&self) -> Result<(Vec<String>, Vec<String>)> {
        let (mut tables, mut others) = (Vec::new(), Vec::new());
        let on_error =
            |error| StateError::from_io(format_args!("read {}", self.path().display()), error);
        for entry in std::fs::read_dir(self.path()).map_err(on_error)? {
            let name = entry.map_err(on_error)?.file_name().to_string_lossy().into_owned();
            if file_number(&name).is_some() {
                tables.push(name);
            } else if name == CURRENT || is_manifest(&name) {
                others.push(name);
            }
        }
        others.sort_unstable();
        Ok((tables, others))
    }

    /// Opens the files as a database. Reads the MANIFEST.
    pub(crate) fn open(&self) -> Result<DB> {
        open_read_only(self.path(), &self.options, &self.family)
    }
}

/// Opens the database at `path` to look at it.
pub(super) fn open_read_only(path: &std::path::Path, like: &Options, family: &str) -> Result<DB> {
    let mut options = like.clone();
    options.set_max_open_files(OPEN_FILES);
    DB::open_cf_descriptors_read_only(&options, path, families(&options, family), false)
        .map_err(|error| rocksdb_error("open the files of a snapshot", error))
}
