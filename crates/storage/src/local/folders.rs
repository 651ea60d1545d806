//! The folder tree of a local store: makes folders durably, prunes empty ones, and lets nothing
//! look through symbolic links.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskEntry, is_missing};
use crate::error::{Effect, ErrorKind, Result, StorageError};
use crate::path::StorePath;

/// A store's folder and what is known about the folders in it. Shared by a store and its writers.
#[derive(Debug)]
pub(super) struct Folders {
    pub(super) disk: Box<dyn Disk>,
    pub(super) root: PathBuf,
    pub(super) url: String,
    /// Folders whose own names this process has made durable. A folder that merely exists may
    /// have been made by someone who has not synced its parent yet. The lock is held while folders
    /// are made and pruned, so that no entry outlives its folder.
    durable: Mutex<BTreeSet<StorePath>>,
}

impl Folders {
    pub(super) fn new(disk: Box<dyn Disk>, root: PathBuf) -> Self {
        let url = crate::url::file_url(&root);
        Self { disk, root, url, durable: Mutex::default() }
    }

    /// Where `path` (`None`: the top of the store) is on disk.
    pub(super) fn locate(&self, path: Option<&StorePath>) -> PathBuf {
        path.map_or_else(|| self.root.clone(), |path| self.root.join(path.as_str()))
    }

    /// A storage error about `path` from one of the operating system.
    pub(super) fn error(
        &self,
        error: io::Error,
        effect: Effect,
        message: &str,
        path: Option<&StorePath>,
    ) -> StorageError {
        self.placed(StorageError::from_io(error, effect, message), path)
    }

    /// Adds to `error` where it happened.
    pub(super) fn placed(&self, error: StorageError, path: Option<&StorePath>) -> StorageError {
        let error = error.with_store(&self.url);
        match path {
            Some(path) => error.with_path(path),
            None => error,
        }
    }

    /// Makes `folder` and the folders it is in, durably.
    ///
    /// Fails with [`ErrorKind::NotFound`] if one was pruned meanwhile: then try again.
    pub(super) fn ensure(&self, folder: &StorePath) -> Result<()> {
        let mut durable = self.lock();
        if durable.contains(folder) {
            return Ok(());
        }
        for folder in folder.with_ancestors() {
            if !durable.contains(&folder) {
                self.make(&folder)?;
                durable.insert(folder);
            }
        }
        Ok(())
    }

    fn make(&self, folder: &StorePath) -> Result<()> {
        let failed =
            |error, message| self.error(error, Effect::DidNotHappen, message, Some(folder));
        let at = self.locate(Some(folder));
        match self.disk.create_folder(&at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.check_is(folder)?,
            Err(error) => return Err(failed(error, "cannot make the folder")),
        }
        self.disk
            .sync_folder(&self.locate(folder.parent().as_ref()))
            .map_err(|error| failed(error, "cannot make the new folder durable"))
    }

    fn check_is(&self, folder: &StorePath) -> Result<()> {
        let (kind, message) = match self.entry(folder)? {
            Some(DiskEntry::Folder) => return Ok(()),
            None => (ErrorKind::NotFound, "the folder has just been removed"),
            Some(_) => (ErrorKind::AlreadyExists, "the name is taken by something not a folder"),
        };
        let error = StorageError::new(kind, Effect::DidNotHappen, message);
        Err(self.placed(error, Some(folder)))
    }

    /// Forgets that `folder` and the folders it is in exist: one was found missing.
    pub(super) fn forget(&self, folder: &StorePath) {
        let mut durable = self.lock();
        for folder in folder.with_ancestors() {
            durable.remove(&folder);
        }
    }

    /// Removes `folder` and then the folders it is in, as long as they are empty; never the root.
    /// An empty folder that stays is harmless, so nothing here fails.
    pub(super) fn prune(&self, folder: Option<StorePath>) {
        let mut durable = self.lock();
        let mut next = folder;
        while let Some(folder) = next {
            match self.disk.remove_folder(&self.locate(Some(&folder))) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => return,
            }
            durable.remove(&folder);
            next = folder.parent();
        }
    }

    /// Makes the names in `folder` durable. One that has been pruned has none.
    pub(super) fn sync(&self, folder: Option<&StorePath>) -> io::Result<()> {
        match self.disk.sync_folder(&self.locate(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether `folder` is one, reached through no symbolic link. Fails if the root has gone.
    pub(super) fn is_inside(&self, folder: Option<&StorePath>) -> Result<bool> {
        for folder in folder.iter().flat_map(|folder| folder.with_ancestors()) {
            if self.entry(&folder)? != Some(DiskEntry::Folder) {
                self.check_root()?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is at `path` itself.
    pub(super) fn entry(&self, path: &StorePath) -> Result<Option<DiskEntry>> {
        self.disk.entry(&self.locate(Some(path))).map_err(|error| {
            self.error(error, Effect::DidNotHappen, "cannot look the name up", Some(path))
        })
    }

    /// The names in `folder`; none if it has gone, but an error if the root has.
    pub(super) fn names(&self, folder: Option<&StorePath>) -> Result<Vec<String>> {
        match self.disk.names(&self.locate(folder)) {
            Ok(names) => Ok(names),
            Err(error) if is_missing(&error) => self.check_root().map(|()| Vec::new()),
            Err(error) => {
                Err(self.error(error, Effect::DidNotHappen, "cannot list the folder", folder))
            }
        }
    }

    /// Fails if the store's folder is not there (any more): an unmounted disk is no empty store.
    pub(super) fn check_root(&self) -> Result<()> {
        let message = match self.disk.entry(&self.root) {
            Ok(Some(DiskEntry::Folder)) => return Ok(()),
            Ok(_) => "the store's folder has gone",
            Err(_) => "the store's folder cannot be reached",
        };
        let error = StorageError::new(ErrorKind::Unavailable, Effect::DidNotHappen, message);
        Err(self.placed(error, None))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<StorePath>> {
        // Entries are added only after the fact, so a panic elsewhere leaves nothing wrong.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
