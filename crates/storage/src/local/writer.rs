//! Writing one object: bytes go to a temporary file beside the final name, or a temporary name goes
//! to a file that has them; finishing syncs it, links it to the final name if that is free, and
//! syncs the folder.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::disk::DiskFile;
use super::folders::Folders;
use crate::error::{Effect, ErrorKind, Result, StorageError};
use crate::path::StorePath;
use crate::store::{ObjectInfo, StoreWriter};

/// Writes are gathered up to this many bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// The operating system's number for "operation not permitted": how `link` says that the file
/// system has no hard links (a lack of rights has another number).
const EPERM: i32 = 1;

/// A file under a temporary name, to be published under that of an object.
#[derive(Debug)]
pub(super) struct Unpublished {
    folders: Arc<Folders>,
    path: StorePath,
    temporary: PathBuf,
    file: Box<dyn DiskFile>,
    /// Whether the temporary name is still to be removed.
    is_temporary_left: bool,
}

impl Unpublished {
    pub(super) fn new(
        folders: Arc<Folders>,
        path: StorePath,
        (temporary, file): (PathBuf, Box<dyn DiskFile>),
    ) -> Self {
        Self { folders, path, temporary, file, is_temporary_left: true }
    }

    /// Makes the content durable, then the object visible, then its name durable.
    fn publish(&mut self) -> Result<()> {
        self.file.sync().map_err(|error| self.did_not(error, "cannot make the file durable"))?;
        let target = self.folders.locate(Some(&self.path));
        self.folders
            .disk
            .link(&self.temporary, &target)
            .map_err(|error| self.link_failed(error))?;
        // From here on the object is visible. A temporary name that stays does no harm.
        self.remove_temporary();
        let folder = self.folders.locate(self.path.parent().as_ref());
        self.folders.disk.sync_folder(&folder).map_err(|error| {
            let message = "cannot make the published name durable";
            self.folders.error(error, Effect::MayHaveHappened, message, Some(&self.path))
        })
    }

    fn link_failed(&self, error: io::Error) -> StorageError {
        let (kind, effect) = derive_link_failure(&error);
        let message = match kind {
            ErrorKind::AlreadyExists => "cannot publish: the name is taken",
            ErrorKind::Unsupported => "cannot publish: the file system has no hard links",
            _ => "cannot publish",
        };
        let error = StorageError::new(kind, effect, message).with_source(error);
        self.folders.placed(error, Some(&self.path))
    }

    fn did_not(&self, error: io::Error, message: &str) -> StorageError {
        self.folders.error(error, Effect::DidNotHappen, message, Some(&self.path))
    }

    fn remove_temporary(&mut self) {
        if core::mem::take(&mut self.is_temporary_left) {
            // What cannot be removed stays invisible until the temporaries are swept.
            let _ = self.folders.disk.remove_file(&self.temporary);
        }
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if self.is_temporary_left {
            self.remove_temporary();
            self.folders.prune(self.path.parent());
        }
    }
}

/// An object that is written.
#[derive(Debug)]
pub(super) struct LocalWriter {
    unpublished: Unpublished,
    buffer: Vec<u8>,
    len: u64,
    /// The first failure; the object can then never be published.
    failed: Option<(ErrorKind, String)>,
}

impl LocalWriter {
    pub(super) const fn new(unpublished: Unpublished) -> Self {
        Self { unpublished, buffer: Vec::new(), len: 0, failed: None }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len().saturating_add(bytes.len()) > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.append_to_file(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.len = self.len.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn append_to_file(&mut self, bytes: &[u8]) -> Result<()> {
        let appended = self.unpublished.file.append(bytes);
        appended.map_err(|error| self.unpublished.did_not(error, "cannot write"))
    }

    fn flush(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            let mut gathered = core::mem::take(&mut self.buffer);
            self.append_to_file(&gathered)?;
            gathered.clear();
            self.buffer = gathered;
        }
        Ok(())
    }

    fn check_not_failed(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some((kind, first)) => {
                let message = format!("an earlier write failed ({first}), nothing is published");
                let error = StorageError::new(*kind, Effect::DidNotHappen, message);
                let Unpublished { folders, path, .. } = &self.unpublished;
                Err(folders.placed(error, Some(path)))
            }
        }
    }
}

impl StoreWriter for LocalWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.check_not_failed()?;
        self.append(bytes).inspect_err(|error| {
            self.failed = Some((error.kind(), error.message().to_owned()));
        })
    }

    fn finish(mut self: Box<Self>) -> Result<ObjectInfo> {
        self.check_not_failed()?;
        self.flush()?;
        self.unpublished.publish()?;
        Ok(ObjectInfo { path: self.unpublished.path.clone(), len: self.len })
    }

    fn abort(self: Box<Self>) {}
}

/// An object that is another file too.
#[derive(Debug)]
pub(super) struct LinkedWriter {
    unpublished: Unpublished,
    len: u64,
}

impl LinkedWriter {
    pub(super) fn new(unpublished: Unpublished) -> io::Result<Self> {
        let len = unpublished.file.len()?;
        Ok(Self { unpublished, len })
    }
}

impl StoreWriter for LinkedWriter {
    fn write(&mut self, _: &[u8]) -> Result<()> {
        let message = "an object that is another file too takes no bytes";
        let error = StorageError::new(ErrorKind::Unsupported, Effect::DidNotHappen, message);
        let Unpublished { folders, path, .. } = &self.unpublished;
        Err(folders.placed(error, Some(path)))
    }

    fn finish(mut self: Box<Self>) -> Result<ObjectInfo> {
        self.unpublished.publish()?;
        Ok(ObjectInfo { path: self.unpublished.path.clone(), len: self.len })
    }

    fn abort(self: Box<Self>) {}
}

/// What a failed link means, and whether the name may be there all the same.
pub(super) fn derive_link_failure(error: &io::Error) -> (ErrorKind, Effect) {
    if error.raw_os_error() == Some(EPERM) {
        return (ErrorKind::Unsupported, Effect::DidNotHappen);
    }
    let kind = ErrorKind::of_io(error);
    match kind {
        // An answer of this kind comes instead of the effect; any other may come after it (a
        // network file system that lost the reply).
        ErrorKind::AlreadyExists
        | ErrorKind::NotFound
        | ErrorKind::NoSpace
        | ErrorKind::PermissionDenied
        | ErrorKind::Unsupported => (kind, Effect::DidNotHappen),
        _ => (kind, Effect::MayHaveHappened),
    }
}
