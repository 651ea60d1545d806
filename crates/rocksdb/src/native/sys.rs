//! The calls that the binding does not wrap: live files with their sequence numbers, and the import
//! of files into a new column family.
//!
//! # Invariants
//! - Each object that RocksDB hands out or takes over has one owner here, which frees it.
//! - Pointers into such an object are copied from before it is freed.

use core::ffi::{CStr, c_char, c_int};
use core::ptr::NonNull;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use librocksdb_sys as ffi;
use millpond_state::{ErrorKind, Result, StateError};
use rocksdb::{AsRawPtr, DB, Options};

use super::sst::SstFile;
use crate::error::rocksdb_message;

/// The order of keys in all databases of this crate.
const COMPARATOR: &CStr = c"leveldb.BytewiseComparator";

/// The SST files that a column family of `db` consists of.
pub(super) fn live_files(db: &DB, family: &str) -> Result<Vec<SstFile>> {
    let list = LiveFiles::of(db)?;
    let mut files = Vec::new();
    for index in 0..list.count() {
        if list.family(index) == family.as_bytes() {
            files.push(list.file(index)?);
        }
    }
    Ok(files)
}

/// The live files of a database.
struct LiveFiles(NonNull<ffi::rocksdb_livefiles_t>);

impl LiveFiles {
    fn of(db: &DB) -> Result<Self> {
        // SAFETY: the borrow of `db` keeps the database open during the call. The list that comes
        // back is a copy that belongs to the caller.
        let list = unsafe { ffi::rocksdb_livefiles(db.as_raw_ptr()) };
        NonNull::new(list.cast_mut()).map(Self).ok_or_else(|| nothing("live files"))
    }

    fn count(&self) -> c_int {
        // SAFETY: the list lives as long as `self`.
        unsafe { ffi::rocksdb_livefiles_count(self.0.as_ptr()) }
    }

    fn family(&self, index: c_int) -> &[u8] {
        // SAFETY: callers pass indexes below `count`; the string ends in a zero and lives in the
        // list, which `self` keeps.
        unsafe { CStr::from_ptr(ffi::rocksdb_livefiles_column_family_name(self.0.as_ptr(), index)) }
            .to_bytes()
    }

    fn file(&self, index: c_int) -> Result<SstFile> {
        let list = self.0.as_ptr().cast_const();
        // SAFETY: as for `family`.
        let name = unsafe { CStr::from_ptr(ffi::rocksdb_livefiles_name(list, index)) };
        let name = name.to_string_lossy().trim_start_matches('/').to_owned();
        // SAFETY: callers pass indexes below `count`, and the list lives as long as `self`.
        let (level, smallest_seqno, largest_seqno) = unsafe {
            (
                ffi::rocksdb_livefiles_level(list, index),
                ffi::rocksdb_livefiles_smallest_seqno(list, index),
                ffi::rocksdb_livefiles_largest_seqno(list, index),
            )
        };
        // SAFETY: as above.
        let (entries, deletions) = unsafe {
            (
                ffi::rocksdb_livefiles_entries(list, index),
                ffi::rocksdb_livefiles_deletions(list, index),
            )
        };
        Ok(SstFile {
            name,
            level: u32::try_from(level).map_err(|_| nothing("the level of a file"))?,
            smallest: self.key(index, ffi::rocksdb_livefiles_smallestkey)?,
            largest: self.key(index, ffi::rocksdb_livefiles_largestkey)?,
            smallest_seqno,
            largest_seqno,
            entries,
            deletions,
        })
    }

    /// One of the two keys of a file.
    fn key(&self, index: c_int, which: KeyOfFile) -> Result<Vec<u8>> {
        let mut len = 0;
        // SAFETY: callers pass one of the two functions of this type and an index below `count`;
        // `len` outlives the call.
        let start = unsafe { which(self.0.as_ptr(), index, &raw mut len) };
        if start.is_null() {
            return Err(nothing("a key of a file"));
        }
        // SAFETY: `start` is the front of a string of `len` bytes in the list, which `self` keeps.
        Ok(unsafe { core::slice::from_raw_parts(start.cast::<u8>(), len) }.to_vec())
    }
}

impl Drop for LiveFiles {
    fn drop(&mut self) {
        // SAFETY: the list belongs to `self`, and nothing borrows from it any more.
        unsafe { ffi::rocksdb_livefiles_destroy(self.0.as_ptr()) }
    }
}

/// `rocksdb_livefiles_smallestkey` and its like.
// SAFETY: a type only; the call says why it may.
type KeyOfFile =
    unsafe extern "C" fn(*const ffi::rocksdb_livefiles_t, c_int, *mut usize) -> *const c_char;

/// A file to import: where it lies, how long it is, and what it was in its database.
pub(super) struct FileToImport<'f> {
    pub(super) folder: &'f Path,
    pub(super) bytes: u64,
    pub(super) file: &'f SstFile,
}

/// Moves `files` into a new column family of `db`, with their levels and sequence numbers. They
/// must not overlap on levels but the first.
pub(super) fn import(
    db: &DB,
    options: &Options,
    family: &str,
    files: &[FileToImport<'_>],
) -> Result<()> {
    let family = CString::new(family).map_err(|_| nothing("a name for the column family"))?;
    let metadata = ImportMetadata::new(files)?;
    let settings = ImportSettings::new()?;
    let mut error: *mut c_char = core::ptr::null_mut();
    // SAFETY: `db`, `options`, `family`, `settings` and `metadata` outlive the call, which copies
    // what it keeps of them; `error` is a null pointer that it may set.
    let handle = unsafe {
        ffi::rocksdb_create_column_family_with_import(
            db.as_raw_ptr(),
            options.as_raw_ptr(),
            family.as_ptr(),
            settings.0.as_ptr(),
            metadata.0.as_ptr(),
            &raw mut error,
        )
    };
    if let Some(error) = NonNull::new(error) {
        return Err(rocksdb_message("import files", &take_message(error)));
    }
    if handle.is_null() {
        return Err(nothing("the imported column family"));
    }
    // SAFETY: the handle belongs to the caller and is used nowhere else; the family stays.
    unsafe { ffi::rocksdb_column_family_handle_destroy(handle) }
    Ok(())
}

/// Copies and frees a message.
fn take_message(message: NonNull<c_char>) -> String {
    // SAFETY: RocksDB's messages end in a zero.
    let text = unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned();
    // SAFETY: the message belongs to the caller, was allocated by RocksDB, and was copied.
    unsafe { ffi::rocksdb_free(message.as_ptr().cast()) }
    text
}

struct ImportSettings(NonNull<ffi::rocksdb_import_column_family_options_t>);

impl ImportSettings {
    fn new() -> Result<Self> {
        // SAFETY: takes nothing; what comes back belongs to the caller.
        let settings = unsafe { ffi::rocksdb_import_column_family_options_create() };
        let settings = Self(NonNull::new(settings).ok_or_else(|| nothing("import options"))?);
        // SAFETY: the object lives as long as `settings`.
        unsafe {
            ffi::rocksdb_import_column_family_options_set_move_files(settings.0.as_ptr(), 1);
        }
        Ok(settings)
    }
}

impl Drop for ImportSettings {
    fn drop(&mut self) {
        // SAFETY: the object belongs to `self`.
        unsafe { ffi::rocksdb_import_column_family_options_destroy(self.0.as_ptr()) }
    }
}

struct ImportMetadata(NonNull<ffi::rocksdb_export_import_files_metadata_t>);

impl ImportMetadata {
    fn new(files: &[FileToImport<'_>]) -> Result<Self> {
        // SAFETY: takes nothing; what comes back belongs to the caller.
        let metadata = unsafe { ffi::rocksdb_export_import_files_metadata_create() };
        let metadata = Self(NonNull::new(metadata).ok_or_else(|| nothing("import metadata"))?);
        // SAFETY: both live during the call, which copies the name.
        unsafe {
            ffi::rocksdb_export_import_files_metadata_set_db_comparator_name(
                metadata.0.as_ptr(),
                COMPARATOR.as_ptr().cast_mut(),
            );
        }
        // SAFETY: takes nothing; what comes back belongs to the caller.
        let list = unsafe { ffi::rocksdb_livefiles_create() };
        let list = LiveFiles(NonNull::new(list).ok_or_else(|| nothing("a list of files"))?);
        for file in files {
            add(&list, file)?;
        }
        let list = core::mem::ManuallyDrop::new(list);
        // SAFETY: the call takes the list over and frees it, so `list` must not: it is not dropped.
        unsafe {
            ffi::rocksdb_export_import_files_metadata_set_files(
                metadata.0.as_ptr(),
                list.0.as_ptr(),
            );
        }
        Ok(metadata)
    }
}

impl Drop for ImportMetadata {
    fn drop(&mut self) {
        // SAFETY: the object belongs to `self`.
        unsafe { ffi::rocksdb_export_import_files_metadata_destroy(self.0.as_ptr()) }
    }
}

/// Adds a file to a list that this crate made.
fn add(list: &LiveFiles, to_import: &FileToImport<'_>) -> Result<()> {
    let file = to_import.file;
    let folder = CString::new(to_import.folder.as_os_str().as_bytes());
    let folder = folder.map_err(|_| nothing("a path without zeros"))?;
    let name = CString::new(file.name.as_str()).map_err(|_| nothing("a name without zeros"))?;
    let level = c_int::try_from(file.level).map_err(|_| nothing("the level of a file"))?;
    let bytes = usize::try_from(to_import.bytes).map_err(|_| nothing("the size of a file"))?;
    // SAFETY: takes nothing; what comes back belongs to the caller.
    let entry = NonNull::new(unsafe { ffi::rocksdb_livefile_create() });
    let entry = entry.ok_or_else(|| nothing("a place in the list"))?.as_ptr();
    // SAFETY: `entry` was just made and is freed by the last call, which moves it into the list;
    // nothing between can fail. Strings and keys live during the calls, which copy them.
    unsafe {
        ffi::rocksdb_livefile_set_directory(entry, folder.as_ptr());
        ffi::rocksdb_livefile_set_name(entry, name.as_ptr());
        ffi::rocksdb_livefile_set_level(entry, level);
        ffi::rocksdb_livefile_set_size(entry, bytes);
        let (smallest, largest) = (&file.smallest, &file.largest);
        ffi::rocksdb_livefile_set_smallest_key(entry, smallest.as_ptr().cast(), smallest.len());
        ffi::rocksdb_livefile_set_largest_key(entry, largest.as_ptr().cast(), largest.len());
        ffi::rocksdb_livefile_set_smallest_seqno(entry, file.smallest_seqno);
        ffi::rocksdb_livefile_set_largest_seqno(entry, file.largest_seqno);
        ffi::rocksdb_livefile_set_num_entries(entry, file.entries);
        ffi::rocksdb_livefile_set_num_deletions(entry, file.deletions);
        ffi::rocksdb_livefiles_add(list.0.as_ptr(), entry);
    }
    Ok(())
}

#[cold]
fn nothing(what: &str) -> StateError {
    StateError::new(ErrorKind::Io, format!("RocksDB has not given {what}"))
}
