//! The handful of file-system calls that a local store makes, behind a trait, so that tests can
//! record their order, fail each of them in turn, and see what a loss of power leaves of them.
//!
//! Invariant: a [`LocalStore`](crate::LocalStore) touches its folder through these calls only, as
//! does what else publishes files, and each is as small as the kernel's, so that whoever implements
//! them sees every step.

use core::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What is at a path. Symbolic links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskEntry {
    /// A regular file of `len` bytes.
    File {
        /// Length in bytes.
        len: u64,
    },
    /// A folder.
    Folder,
    /// Anything else: a symbolic link, a device, a socket.
    Other,
}

/// File-system calls. Shared by threads; every one may block. Errors are the kernel's.
#[expect(clippy::missing_errors_doc, reason = "each fails as the call of the kernel that it is")]
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates a file that must not exist yet.
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading.
    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file a second name, which must not exist yet; atomic.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name in the same folder, in place of the file that has it, if there is
    /// one; atomic. Where both are names of one file, nothing happens.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes one name of a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Creates one folder, which must not exist yet.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// What is at `path`; `None` if nothing is.
    fn entry(&self, path: &Path) -> io::Result<Option<DiskEntry>>;
    /// When the file at `path` was last written, or given a name.
    fn written_at(&self, path: &Path) -> io::Result<SystemTime>;
    /// `path`, absolute and without symbolic links.
    fn real_path(&self, path: &Path) -> io::Result<PathBuf>;
    /// The names in a folder, in no order; those that are no UTF-8 are left out.
    fn names(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Whether the operating system has the same files at the same paths, so that they may be
    /// linked to past this trait. Not if something stands between.
    fn has_real_files(&self) -> bool;
}

impl dyn Disk + '_ {
    /// Makes the folder `path` and those it is in, as far as they are missing, and all of their
    /// names durable. Looks through symbolic links.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::NotADirectory`] if `path` is there but no folder.
    pub fn create_folders(&self, path: &Path) -> io::Result<()> {
        let is_there = |folder: &Path| self.real_path(folder).is_ok();
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !is_there(folder))
            .collect();
        for folder in missing.iter().rev() {
            match self.create_folder(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.sync_folder(parent_of(folder))?,
            }
        }
        if missing.is_empty() {
            // It may have been made by a process that died before syncing. Where the parent is not
            // ours to open, somebody else made the folder, and long ago.
            match self.sync_folder(parent_of(path)) {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        match self.entry(&self.real_path(path)?)? {
            Some(DiskEntry::Folder) => Ok(()),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }
}

fn parent_of(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => folder,
    }
}

/// An open file.
#[expect(clippy::missing_errors_doc, reason = "each fails as the call of the kernel that it is")]
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Writes all of `bytes` at the current end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Current length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Box::new(OsFile(file)))
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OsFile(File::open(path)?)))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn entry(&self, path: &Path) -> io::Result<Option<DiskEntry>> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(DiskEntry::File { len: found.len() })),
            Ok(found) if found.is_dir() => Ok(Some(DiskEntry::Folder)),
            Ok(_) => Ok(Some(DiskEntry::Other)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn written_at(&self, path: &Path) -> io::Result<SystemTime> {
        let found = fs::symlink_metadata(path)?;
        // A link leaves the time of the last write as it was.
        let (seconds, nanos) = (found.ctime(), found.ctime_nsec());
        let since = Duration::new(seconds.try_into().unwrap_or(0), nanos.try_into().unwrap_or(0));
        Ok(found.modified()?.max(SystemTime::UNIX_EPOCH + since))
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    fn has_real_files(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

/// Whether the path, or a folder in it, is not there.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
