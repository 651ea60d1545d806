//! Keeps two processes from using one folder at the same time.
//!
//! The lock is the kernel's (an advisory lock on a file in the folder), so it ends with the
//! process, however that ends; the lock file itself stays and means nothing by itself. What is
//! written in it is only for the message to the one who comes second.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Effect, ErrorKind, Result, StorageError};

/// Name of the lock file in a locked folder. No [`StorePath`](crate::StorePath) can name it, so no
/// store shows or deletes it.
pub const LOCK_FILE_NAME: &str = ".millpond.lock";

/// Most of a lock file that is read for a message, in bytes.
const OWNER_BYTES_MAX: u64 = 200;

/// An exclusive hold on a folder, released on drop or when the process ends.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    file: File,
}

impl FolderLock {
    /// Takes the lock of `folder`, which must exist, without waiting. `purpose` (one line, like
    /// "checkpoint storage of job flights") is shown to whoever comes second.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if another process, or another lock of this process, holds it: the
    /// message names the holder. [`ErrorKind::NotFound`] if there is no such folder,
    /// [`ErrorKind::Unsupported`] if the file system has no locks, else what kept the lock file
    /// from being written.
    pub fn acquire(folder: impl AsRef<Path>, purpose: &str) -> Result<Self> {
        let folder = folder.as_ref();
        let failed = |message: &'static str| {
            move |error| {
                StorageError::from_io(error, Effect::DidNotHappen, message)
                    .with_path(folder.display())
            }
        };
        let folder = folder.canonicalize().map_err(failed("cannot lock the folder"))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(LOCK_FILE_NAME))
            .map_err(failed("cannot open the folder's lock file"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&folder, purpose, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed("cannot lock the folder")(error)),
        }
        let owner = format!("process {}, {}\n", std::process::id(), one_line(purpose));
        file.set_len(0)
            .and_then(|()| file.write_all(owner.as_bytes()))
            .map_err(failed("cannot write the folder's lock file"))?;
        Ok(Self { folder, file })
    }

    /// The locked folder, absolute and without symbolic links.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process just being started holds a copy of it
        // for a moment. Unlocking fails only where there is no lock.
        let _ = self.file.unlock();
    }
}

fn held(folder: &Path, purpose: &str, file: &mut File) -> StorageError {
    let mut owner = Vec::new();
    // The holder may be about to write it: a part, or nothing, is still a message.
    let _ = file.take(OWNER_BYTES_MAX).read_to_end(&mut owner);
    let owner = one_line(&String::from_utf8_lossy(&owner));
    let owner = if owner.is_empty() { "another process".to_owned() } else { owner };
    let purpose = one_line(purpose);
    let message = format!("cannot lock the folder ({purpose}): it is held by {owner}");
    StorageError::new(ErrorKind::Locked, Effect::DidNotHappen, message).with_path(folder.display())
}

fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
