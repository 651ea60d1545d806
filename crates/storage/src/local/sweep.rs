//! Putting a store's folder in order after processes that died in it.

use std::io;

use super::{LocalStore, TEMPORARY_PREFIX};
use crate::error::{Effect, ErrorKind, Result, StorageError};
use crate::folder_lock::FolderLock;
use crate::path::StorePath;

impl LocalStore {
    /// Removes the temporary files of unfinished writes and folders left empty, and makes every
    /// visible name durable (a process may have died between publishing one and syncing its
    /// folder). Returns how many files were removed.
    ///
    /// To be called before anything found in the store is relied on. `lock` shows that no other
    /// process uses the folder; an unfinished writer of this process would fail to finish.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`] if `lock` is of another folder; else what kept a file from being
    /// removed or a folder from being synced.
    pub fn sweep_temporaries(&self, lock: &FolderLock) -> Result<usize> {
        if lock.folder() != self.root() {
            let message = format!("the lock is of another folder, {}", lock.folder().display());
            let error = StorageError::new(ErrorKind::InvalidName, Effect::DidNotHappen, message);
            return Err(self.folders.placed(error, None));
        }
        let mut removed = 0;
        let mut pending = vec![None];
        while let Some(folder) = pending.pop() {
            let names = self.folders.names(folder.as_ref())?;
            for name in names.iter().filter(|name| name.starts_with(TEMPORARY_PREFIX)) {
                removed += self.remove_temporary(folder.as_ref(), name)?;
            }
            let subfolders = self.subfolders(folder.as_ref(), &names)?;
            pending.extend(subfolders.into_iter().map(Some));
            self.folders.sync(folder.as_ref()).map_err(|error| {
                let message = "cannot make the names in the folder durable";
                self.folders.error(error, Effect::MayHaveHappened, message, folder.as_ref())
            })?;
            self.folders.prune(folder);
        }
        Ok(removed)
    }

    /// Removes one temporary file; returns how many there were.
    fn remove_temporary(&self, folder: Option<&StorePath>, name: &str) -> Result<usize> {
        let at = self.folders.locate(folder).join(name);
        match self.folders.disk.remove_file(&at) {
            Ok(()) => Ok(1),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => {
                let message = format!("cannot remove the temporary file {name}");
                Err(self.folders.error(error, Effect::MayHaveHappened, &message, folder))
            }
        }
    }
}
