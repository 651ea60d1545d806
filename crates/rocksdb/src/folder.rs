//! Folders of instances under the state folder.
//!
//! ```text
//! <state folder>/
//!   .lock                          held while folders are made or removed
//!   <operator>-<first>-<last>.<n>/ one instance
//!     LOCKED                       held as long as the instance lives
//!     db-<n>/                      a database: the present one, or one that snapshots still read
//!     <what>-<n>/                  files on their way from and to storage
//! ```
//!
//! # Invariants
//! - A folder whose `LOCKED` can be locked belongs to nobody: its process is gone.
//! - Folders appear and vanish only under `.lock`, so that nobody meets one without its lock.
//!
//! Locks are the operating system's: they end with the process, however that ends.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_state::{BackendContext, ErrorKind, Result, StateError};

use crate::error::io_error;

/// Guards the state folder.
const STATE_LOCK: &str = ".lock";

/// Guards an instance's folder.
const INSTANCE_LOCK: &str = "LOCKED";

/// Databases within an instance's folder.
const DATABASE: &str = "db";

/// Longest part of an operator's name that goes into a folder's name.
const NAME_BYTES_MAX: usize = 64;

/// Folders of one name that may exist at once.
const NUMBERS_MAX: u32 = 100_000;

/// The state folder.
#[derive(Clone, Debug)]
pub(crate) struct StateFolder {
    path: PathBuf,
}

impl StateFolder {
    /// Makes the folder if it is missing and removes what dead processes left in it.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|error| {
            io_error(format!("make the state folder {}", path.display()), error)
        })?;
        let folder = Self { path: path.to_path_buf() };
        folder.remove_abandoned()?;
        Ok(folder)
    }

    /// Makes and locks the folder of a new instance.
    pub(crate) fn create_instance(&self, context: &BackendContext) -> Result<InstanceFolder> {
        let _guard = self.lock()?;
        let name = instance_name(context);
        for number in 0..NUMBERS_MAX {
            let path = self.path.join(format!("{name}.{number}"));
            match std::fs::create_dir(&path) {
                Ok(()) => return InstanceFolder::lock(self.clone(), path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io_error(format!("make {}", path.display()), error)),
            }
        }
        Err(StateError::new(
            ErrorKind::ResourceExhausted,
            format!("{} folders named {name} exist in {}", NUMBERS_MAX, self.path.display()),
        ))
    }

    fn lock(&self) -> Result<File> {
        let path = self.path.join(STATE_LOCK);
        let on_error = |error| io_error(format!("lock {}", path.display()), error);
        let file = open_lock(&path).map_err(on_error)?;
        file.lock().map_err(on_error)?;
        Ok(file)
    }

    fn remove_abandoned(&self) -> Result<()> {
        let _guard = self.lock()?;
        let on_error = |error| io_error(format!("read {}", self.path.display()), error);
        for entry in std::fs::read_dir(&self.path).map_err(on_error)? {
            let path = entry.map_err(on_error)?.path();
            let lock = path.join(INSTANCE_LOCK);
            // What has no such file is not ours to remove.
            if lock.is_file() && is_abandoned(&lock)? {
                std::fs::remove_dir_all(&path)
                    .map_err(|error| io_error(format!("remove {}", path.display()), error))?;
            }
        }
        Ok(())
    }
}

fn is_abandoned(lock: &Path) -> Result<bool> {
    let on_error = |error| io_error(format!("lock {}", lock.display()), error);
    match open_lock(lock).map_err(on_error)?.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(on_error(error)),
    }
}

fn open_lock(path: &Path) -> std::io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

/// A name that people recognise and any file system takes.
fn instance_name(context: &BackendContext) -> String {
    let usable = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let operator: String = context.operator.chars().map(usable).take(NAME_BYTES_MAX).collect();
    let groups = context.key_groups;
    format!("{operator}-{}-{}", groups.first(), groups.last())
}

/// An instance's folder; removed when dropped.
#[derive(Debug)]
pub(crate) struct InstanceFolder {
    parent: StateFolder,
    path: PathBuf,
    /// Numbers what lies in it.
    next: AtomicU64,
    /// Held for its lock.
    _locked: File,
}

impl InstanceFolder {
    fn lock(parent: StateFolder, path: PathBuf) -> Result<Self> {
        let lock = path.join(INSTANCE_LOCK);
        let on_error = |error| io_error(format!("lock {}", lock.display()), error);
        let file = open_lock(&lock).map_err(on_error)?;
        file.lock().map_err(on_error)?;
        Ok(Self { parent, path, next: AtomicU64::new(0), _locked: file })
    }

    /// A path on the same disk as the database that was never given out: nothing is there yet.
    pub(crate) fn unused(&self, what: &str) -> PathBuf {
        self.path.join(format!("{what}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for InstanceFolder {
    fn drop(&mut self) {
        let guard = self.parent.lock();
        // Nobody is left to tell: what stays is removed by the next process.
        let _ = std::fs::remove_dir_all(&self.path);
        drop(guard);
    }
}

/// A folder within an instance's folder; removed when dropped.
#[derive(Debug)]
pub(crate) struct TemporaryFolder {
    path: PathBuf,
    instance: Arc<InstanceFolder>,
}

impl TemporaryFolder {
    /// A path for a folder that something else will make.
    pub(crate) fn reserve(instance: &Arc<InstanceFolder>, what: &str) -> Self {
        Self { path: instance.unused(what), instance: Arc::clone(instance) }
    }

    /// Makes a folder.
    pub(crate) fn create(instance: &Arc<InstanceFolder>, what: &str) -> Result<Self> {
        let folder = Self::reserve(instance, what);
        std::fs::create_dir(&folder.path)
            .map_err(|error| io_error(format!("make {}", folder.path.display()), error))?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // It may never have been made. What stays goes with the instance's folder.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// The folder of a database; removed when dropped.
#[derive(Debug)]
pub(crate) struct DatabaseFolder(TemporaryFolder);

impl DatabaseFolder {
    /// A path for a database that RocksDB will make.
    pub(crate) fn reserve(instance: &Arc<InstanceFolder>) -> Self {
        Self(TemporaryFolder::reserve(instance, DATABASE))
    }

    /// Makes a folder for the files of a database.
    pub(crate) fn create(instance: &Arc<InstanceFolder>) -> Result<Self> {
        TemporaryFolder::create(instance, DATABASE).map(Self)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) const fn instance(&self) -> &Arc<InstanceFolder> {
        &self.0.instance
    }
}

#[cfg(test)]
mod tests;
