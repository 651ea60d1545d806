//! A store in a folder of a local (or locally mounted) file system. Every publication and deletion
//! is durable before it is acknowledged.
//!
//! **Publishing**, in this order: write a temporary file in the object's own folder, sync the
//! file, link it to its final name (which fails if that exists: the atomic create-if-absent),
//! remove the temporary name, sync the folder. A file of this machine that will never change is
//! linked to the temporary name instead of written. Folders are made on the way, each made durable
//! by syncing the one it is in. **Deleting**: remove the name, sync the folder, remove folders that
//! have become empty.
//!
//! Invariants:
//! - Names that start with a dot are the store's own: `.tmp-<tag>-<process>-<number>` for
//!   unfinished writes, and the lock file of [`FolderLock`](crate::FolderLock). They are never
//!   listed, opened or deleted as objects; nor is anything that no [`StorePath`] can name.
//! - Only regular files in real folders are objects. Symbolic links inside the store are not
//!   followed; the store's own folder may be reached through one.
//! - Any number of processes may publish and delete at once. One gap: if one of them (or another
//!   handle that was opened on its own) prunes and remakes a folder at the very moment another
//!   publishes into it, that publication is safe against crashes of processes but, until the first
//!   has synced the parent, not against a loss of power. Give each checkpoint a folder of its own
//!   and let one process delete, or use a [`FolderLock`](crate::FolderLock).
//!
//! How it fails: a file system without hard links cannot publish ([`ErrorKind::Unsupported`]); a
//! folder sync that fails after the link leaves the object visible but perhaps not durable
//! ([`Effect::MayHaveHappened`]). Processes that die leave temporary files, and
//! perhaps a published name not yet durable: [`LocalStore::sweep_temporaries`] sees to both.

pub(crate) mod disk;
mod folders;
mod reader;
mod sweep;
#[cfg(test)]
mod tests;
mod writer;

use core::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use self::disk::{Disk, DiskEntry, DiskFile, OsDisk};
use self::folders::Folders;
use self::reader::LocalReader;
use self::writer::{LinkedWriter, LocalWriter, Unpublished};
use crate::error::{Effect, ErrorKind, Result, StorageError};
use crate::path::{StorePath, segment_defect};
use crate::store::{ObjectInfo, Store, StoreReader, StoreWriter};

const TEMPORARY_PREFIX: &str = ".tmp-";

/// Longest writer tag, in bytes.
const TAG_BYTES_MAX: usize = 64;

/// How often a creation that lost its folder to a concurrent deletion starts again.
const CREATE_ATTEMPTS_MAX: u32 = 64;

/// How many temporary names are tried before giving up on a folder full of dead processes' files.
const TEMPORARY_NAMES_MAX: u32 = 100_000;

/// Numbers this process's temporary files, over all stores: even a name freed by a sweep is never
/// taken by a second writer, which could publish the other's bytes.
static NEXT_TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Objects as files of a folder. Cheap to clone; clones and their writers share what they know of
/// the folder.
#[derive(Clone)]
pub struct LocalStore {
    folders: Arc<Folders>,
    tag: String,
}

impl LocalStore {
    /// Opens the store in the folder `root`, which must exist. Writes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such folder; [`ErrorKind::InvalidName`] if it is no
    /// folder; else what kept it from being looked at.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_on(Box::new(OsDisk), root.as_ref())
    }

    /// Opens the store in the folder `root`, after making it, and those it is in, where missing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`] if `root` is there but no folder; else what kept it from being
    /// made.
    pub fn create(root: impl AsRef<Path>) -> Result<Self> {
        Self::create_on(Box::new(OsDisk), root.as_ref())
    }

    /// As [`Self::create`], on another file system than the kernel's.
    ///
    /// # Errors
    /// As of [`Self::create`].
    pub fn create_on(disk: Box<dyn Disk>, root: &Path) -> Result<Self> {
        disk.create_folders(root)
            .map_err(|error| root_error(error, "cannot make the store's folder", root))?;
        Self::open_on(disk, root)
    }

    /// As [`Self::open`], on another file system than the kernel's.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub fn open_on(disk: Box<dyn Disk>, root: &Path) -> Result<Self> {
        let failed = |error| root_error(error, "cannot open the store's folder", root);
        // Absolute and free of links, so that neither a change of the current folder nor of a
        // link moves the store.
        let real = disk.real_path(root).map_err(failed)?;
        if disk.entry(&real).map_err(failed)? != Some(DiskEntry::Folder) {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self { folders: Arc::new(Folders::new(disk, real)), tag: "w".to_owned() })
    }

    /// Marks this handle's temporary files with `tag`: 1 to 64 characters of `A-Z a-z 0-9 . _ = -`,
    /// not starting with a dot. Tells writers apart in a listing; it must differ between machines
    /// that write to one network folder, since process numbers may not.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`] if `tag` breaks these rules.
    pub fn with_writer_tag(mut self, tag: &str) -> Result<Self> {
        let too_long = (tag.len() > TAG_BYTES_MAX).then_some("it is longer than 64 bytes");
        if let Some(defect) = segment_defect(tag).or(too_long) {
            let message = format!("{tag:?} cannot be a writer tag: {defect}");
            return Err(StorageError::new(ErrorKind::InvalidName, Effect::DidNotHappen, message));
        }
        tag.clone_into(&mut self.tag);
        Ok(self)
    }

    /// The store's folder, absolute and without symbolic links.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.folders.root
    }

    /// The folders among `names` in `folder`.
    fn subfolders(&self, folder: Option<&StorePath>, names: &[String]) -> Result<Vec<StorePath>> {
        let mut found = Vec::new();
        for path in names.iter().filter_map(|name| StorePath::child(folder, name).ok()) {
            if self.folders.entry(&path)? == Some(DiskEntry::Folder) {
                found.push(path);
            }
        }
        Ok(found)
    }

    /// Walks the objects below `prefix`, in no order, until `visit` says stop (`false`).
    fn walk(
        &self,
        prefix: Option<&StorePath>,
        visit: &mut dyn FnMut(ObjectInfo) -> bool,
    ) -> Result<()> {
        let mut pending = vec![prefix.cloned()];
        while let Some(folder) = pending.pop() {
            for name in self.folders.names(folder.as_ref())? {
                // What no path can name is not an object of this store.
                let Ok(path) = StorePath::child(folder.as_ref(), &name) else {
                    continue;
                };
                let go_on = match self.folders.entry(&path)? {
                    Some(DiskEntry::File { len }) => visit(ObjectInfo { path, len }),
                    Some(DiskEntry::Folder) => {
                        pending.push(Some(path));
                        true
                    }
                    // Links and devices are not followed; `None` was deleted meanwhile.
                    _ => true,
                };
                if !go_on {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn has_objects(&self, folder: &StorePath) -> Result<bool> {
        let mut found = false;
        self.walk(Some(folder), &mut |_| {
            found = true;
            false
        })?;
        Ok(found)
    }

    /// Makes the folder of `path` and, in it, a temporary file.
    fn create_temporary(&self, path: &StorePath) -> Result<LocalWriter> {
        if let Some(folder) = path.parent() {
            self.folders.ensure(&folder)?;
        }
        let folder = self.folders.locate(path.parent().as_ref());
        let disk = &self.folders.disk;
        let create = |temporary: &Path| disk.create_file(temporary);
        let file = self.at_temporary_name(&folder, create).map_err(|error| {
            let message = "cannot create a temporary file";
            self.folders.error(error, Effect::DidNotHappen, message, Some(path))
        })?;
        Ok(LocalWriter::new(self.unpublished(path, file)))
    }

    /// Makes the folder of `path` and, in it, a temporary name of `file`.
    fn link_temporary(&self, path: &StorePath, file: &Path) -> Result<Option<LinkedWriter>> {
        if let Some(folder) = path.parent() {
            self.folders.ensure(&folder)?;
        }
        let folder = self.folders.locate(path.parent().as_ref());
        let disk = &self.folders.disk;
        let link = |temporary: &Path| {
            disk.link(file, temporary)?;
            disk.open_file(temporary)
        };
        let Ok(file) = self.at_temporary_name(&folder, link) else {
            self.folders.prune(path.parent());
            return Ok(None);
        };
        Ok(LinkedWriter::new(self.unpublished(path, file)).ok())
    }

    fn unpublished(&self, path: &StorePath, file: (PathBuf, Box<dyn DiskFile>)) -> Unpublished {
        Unpublished::new(Arc::clone(&self.folders), path.clone(), file)
    }

    /// Has `make` make a file of a new temporary name in `folder`.
    fn at_temporary_name(
        &self,
        folder: &Path,
        make: impl Fn(&Path) -> io::Result<Box<dyn DiskFile>>,
    ) -> io::Result<(PathBuf, Box<dyn DiskFile>)> {
        let process = std::process::id();
        for _ in 0..TEMPORARY_NAMES_MAX {
            let number = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
            let name = format!("{TEMPORARY_PREFIX}{}-{process}-{number}", self.tag);
            let temporary = folder.join(name);
            match make(&temporary) {
                Ok(file) => return Ok((temporary, file)),
                // Left by a dead process that had our number (in a container they recur).
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    // It may be there in spite of the error.
                    let _ = self.folders.disk.remove_file(&temporary);
                    return Err(error);
                }
            }
        }
        Err(io::Error::other("too many temporary files of dead processes: sweep them"))
    }

    fn check_free(&self, path: &StorePath) -> Result<()> {
        if self.folders.entry(path)?.is_none() {
            return Ok(());
        }
        let message = "the name is taken";
        let error = StorageError::new(ErrorKind::AlreadyExists, Effect::DidNotHappen, message);
        Err(self.folders.placed(error, Some(path)))
    }

    /// Removes the file of an object, if it is still there.
    fn remove(&self, path: &StorePath) -> Result<()> {
        let at = self.folders.locate(Some(path));
        let Err(error) = self.folders.disk.remove_file(&at) else {
            return Ok(());
        };
        let effect = match error.kind() {
            io::ErrorKind::NotFound => return Ok(()),
            io::ErrorKind::PermissionDenied => Effect::DidNotHappen,
            _ => Effect::MayHaveHappened,
        };
        Err(self.folders.error(error, effect, "cannot delete", Some(path)))
    }

    fn not_found(&self, path: &StorePath) -> StorageError {
        if let Err(gone) = self.folders.check_root() {
            return gone;
        }
        let error = StorageError::new(ErrorKind::NotFound, Effect::DidNotHappen, "no such object");
        self.folders.placed(error, Some(path))
    }
}

impl Store for LocalStore {
    fn create(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        self.check_free(path)?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.create_temporary(path) {
                Ok(writer) => return Ok(Box::new(writer)),
                Err(error) => error,
            };
            // Somebody pruned the folder between our making and using it.
            let is_pruned = error.kind() == ErrorKind::NotFound;
            let parent = path.parent();
            if !is_pruned || attempts == CREATE_ATTEMPTS_MAX {
                self.folders.prune(parent);
                return Err(error);
            }
            self.folders.check_root()?;
            if let Some(folder) = parent {
                self.folders.forget(&folder);
            }
        }
    }

    fn create_linked(&self, path: &StorePath, file: &Path) -> Option<Box<dyn StoreWriter>> {
        if !self.folders.disk.has_real_files() || self.check_free(path).is_err() {
            return None;
        }
        let writer = self.link_temporary(path, file).ok()??;
        Some(Box::new(writer))
    }

    fn open(&self, path: &StorePath) -> Result<Box<dyn StoreReader>> {
        let is_object = self.folders.is_inside(path.parent().as_ref())?
            && matches!(self.folders.entry(path)?, Some(DiskEntry::File { .. }));
        if !is_object {
            return Err(self.not_found(path));
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => self.not_found(path),
            _ => self.folders.error(error, Effect::DidNotHappen, "cannot open", Some(path)),
        };
        let place = self.folders.locate(Some(path));
        let file = self.folders.disk.open_file(&place).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        let place = self.folders.disk.has_real_files().then_some(place);
        let (folders, path) = (Arc::clone(&self.folders), path.clone());
        Ok(Box::new(LocalReader { folders, path, file, len, place }))
    }

    fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectInfo>> {
        let mut objects = Vec::new();
        if self.folders.is_inside(prefix)? {
            self.walk(prefix, &mut |object| {
                objects.push(object);
                true
            })?;
        }
        objects.sort();
        Ok(objects)
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> Result<Vec<StorePath>> {
        let mut folders = Vec::new();
        if self.folders.is_inside(prefix)? {
            let names = self.folders.names(prefix)?;
            for folder in self.subfolders(prefix, &names)? {
                if self.has_objects(&folder)? {
                    folders.push(folder);
                }
            }
        }
        folders.sort();
        Ok(folders)
    }

    fn written_wall_ms(&self, path: &StorePath) -> Result<Option<u64>> {
        let written = match self.folders.disk.written_at(&self.folders.locate(Some(path))) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let message = "cannot find out when the object was written";
                let path = Some(path);
                return Err(self.folders.error(error, Effect::DidNotHappen, message, path));
            }
        };
        let since = written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).ok())
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        let folder = path.parent();
        if !self.folders.is_inside(folder.as_ref())? {
            return Ok(());
        }
        match self.folders.entry(path)? {
            Some(DiskEntry::File { .. }) => self.remove(path)?,
            Some(_) => return Ok(()),
            // Perhaps deleted by a call whose sync failed: this one makes it durable.
            None => self.folders.check_root()?,
        }
        self.folders.sync(folder.as_ref()).map_err(|error| {
            let message = "cannot make the deletion durable";
            self.folders.error(error, Effect::MayHaveHappened, message, Some(path))
        })?;
        self.folders.prune(folder);
        Ok(())
    }

    fn url(&self) -> &str {
        &self.folders.url
    }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.folders.url)
    }
}

fn root_error(error: io::Error, message: &str, root: &Path) -> StorageError {
    let error = match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            let message = format!("{message}: it, or a part of its path, is not a folder");
            StorageError::new(ErrorKind::InvalidName, Effect::DidNotHappen, message)
                .with_source(error)
        }
        _ => StorageError::from_io(error, Effect::DidNotHappen, message),
    };
    error.with_path(root.display())
}
