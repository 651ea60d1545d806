//! Folders of backends that keep state in local files.
//!
//! ```text
//! <state folder>/
//!   .lock                          held while folders are made or removed
//!   <operator>-<first>-<last>.<n>/ one instance: its operator and key groups
//!     LOCKED                       held as long as the instance lives
//!     ...                          what the backend keeps
//! ```
//!
//! # Invariants
//! - A folder whose `LOCKED` can be locked belongs to nobody: its process is gone.
//! - Folders appear and vanish only under `.lock`, so that nobody meets one without its lock.
//! - No other user may enter an instance's folder.
//!
//! Locks are the operating system's: they end with the process, however that ends. Failures are
//! [`StateError`]s that name the path; what is left behind by a failure is removed by the next
//! process that opens the state folder.
//!
//! ```
//! use millpond_state::{BackendContext, MaxParallelism};
//! use millpond_state_folder::StateFolder;
//!
//! # let dir = tempfile::tempdir()?;
//! let state = StateFolder::create(&dir.path().join("state"))?;
//! let max = MaxParallelism::new(128)?;
//! let instance = state.create_instance(&BackendContext::new("count", max.full_range(), max))?;
//! assert!(instance.file("LOCKED").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_state::{BackendContext, ErrorKind, Result, StateError};

/// Guards the state folder.
const STATE_LOCK: &str = ".lock";

/// Guards an instance's folder.
const INSTANCE_LOCK: &str = "LOCKED";

/// Longest part of an operator's name that goes into a folder's name.
const NAME_BYTES_MAX: usize = 64;

/// Folders of one name that may exist at once.
const NUMBERS_MAX: u32 = 100_000;

/// The state folder. Several processes may use one; clones are the same folder.
#[derive(Clone, Debug)]
pub struct StateFolder {
    path: PathBuf,
}

impl StateFolder {
    /// Makes the folder if it is missing and removes what dead processes left in it.
    ///
    /// # Errors
    /// The folder, or something in it, can't be made, read or removed.
    pub fn create(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|error| {
            StateError::from_io(format_args!("make the state folder {}", path.display()), error)
        })?;
        let folder = Self { path: path.to_path_buf() };
        folder.remove_abandoned()?;
        Ok(folder)
    }

    /// Makes and locks the folder of a new instance.
    ///
    /// # Errors
    /// The folder can't be made or locked; `ResourceExhausted` if the disk is full, or 100,000
    /// instances of the same operator and key groups are alive.
    pub fn create_instance(&self, context: &BackendContext) -> Result<InstanceFolder> {
        let _guard = self.lock()?;
        let name = instance_name(context);
        for number in 0..NUMBERS_MAX {
            let path = self.path.join(format!("{name}.{number}"));
            match create_private(&path) {
                Ok(()) => return InstanceFolder::lock(self.clone(), path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(StateError::from_io(
                        format_args!("make {}", path.display()),
                        error,
                    ));
                }
            }
        }
        Err(StateError::new(
            ErrorKind::ResourceExhausted,
            format!("{} folders named {name} exist in {}", NUMBERS_MAX, self.path.display()),
        ))
    }

    fn lock(&self) -> Result<File> {
        let path = self.path.join(STATE_LOCK);
        let on_error = |error| StateError::from_io(format_args!("lock {}", path.display()), error);
        let file = open_lock(&path).map_err(on_error)?;
        file.lock().map_err(on_error)?;
        Ok(file)
    }

    fn remove_abandoned(&self) -> Result<()> {
        let _guard = self.lock()?;
        let on_error =
            |error| StateError::from_io(format_args!("read {}", self.path.display()), error);
        for entry in std::fs::read_dir(&self.path).map_err(on_error)? {
            let path = entry.map_err(on_error)?.path();
            let lock = path.join(INSTANCE_LOCK);
            // What has no such file is not ours to remove.
            if lock.is_file() && is_abandoned(&lock)? {
                std::fs::remove_dir_all(&path).map_err(|error| {
                    StateError::from_io(format_args!("remove {}", path.display()), error)
                })?;
            }
        }
        Ok(())
    }
}

/// Makes a folder that no other user may enter: what is in it is mapped into memory, or trusted.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn is_abandoned(lock: &Path) -> Result<bool> {
    let on_error = |error| StateError::from_io(format_args!("lock {}", lock.display()), error);
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

/// An instance's folder; removed when dropped, with all that is in it.
#[derive(Debug)]
pub struct InstanceFolder {
    parent: StateFolder,
    path: PathBuf,
    /// Held for its lock.
    _locked: File,
    /// Numbers given out.
    numbers: AtomicU64,
}

impl InstanceFolder {
    fn lock(parent: StateFolder, path: PathBuf) -> Result<Self> {
        let lock = path.join(INSTANCE_LOCK);
        let on_error = |error| StateError::from_io(format_args!("lock {}", lock.display()), error);
        let file = open_lock(&lock).map_err(on_error)?;
        file.lock().map_err(on_error)?;
        Ok(Self { parent, path, _locked: file, numbers: AtomicU64::new(0) })
    }

    /// Where the instance's file `name` is, if there is one.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// `<what>-<number>` within the folder, with a number that no other call gets: nothing is there
    /// yet, and what will be is on one disk with all of the instance's files.
    #[must_use]
    pub fn unused(&self, what: &str) -> PathBuf {
        self.file(&format!("{what}-{}", self.numbers.fetch_add(1, Ordering::Relaxed)))
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

#[cfg(test)]
mod tests;
