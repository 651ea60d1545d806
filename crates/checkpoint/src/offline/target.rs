//! The folder of a new checkpoint.

use core::fmt;
use std::sync::Arc;

use millpond_snapshot::CheckpointMetadata;
use millpond_storage::{Effect, Store, StoreExt, StorePath};

use super::invalid;
use crate::driver::{CheckpointFolder, CheckpointStorage, ObjectSink, storage};
use crate::error::Result;
use crate::name;

/// The file that makes a checkpoint exist.
const METADATA: &str = "_metadata";

/// An empty folder that a new checkpoint is written to. Until the metadata is published, as the
/// last step, there is no checkpoint in it; dropped before, it deletes what was written.
pub struct Target {
    store: Arc<dyn Store>,
    folder: Option<StorePath>,
    created: Vec<StorePath>,
    published: bool,
}

impl Target {
    /// The folder `folder` of `store`, `None` for the store's root.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if it is not empty;
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if that cannot be found out.
    pub fn create(store: Arc<dyn Store>, folder: Option<StorePath>) -> Result<Self> {
        let there = store.list(folder.as_ref()).map_err(storage)?;
        let target = Self { store, folder, created: Vec::new(), published: false };
        match there.first() {
            None => Ok(target),
            Some(object) => Err(invalid(format!(
                "{} is not empty (it holds {}): give a folder that is empty or not there",
                target.folder().url(),
                object.path
            ))),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> CheckpointFolder {
        CheckpointFolder::new(Arc::clone(&self.store), self.folder.clone())
    }

    fn path(&self, name: &str) -> Result<StorePath> {
        match &self.folder {
            Some(folder) => folder.join(name),
            None => StorePath::new(name),
        }
        .map_err(storage)
    }

    /// Starts a new file.
    pub(super) fn file(&mut self, name: &str) -> Result<ObjectSink> {
        let path = self.path(name)?;
        let sink = ObjectSink::create(self.store.as_ref(), &path)?;
        self.created.push(path);
        Ok(sink)
    }

    /// Makes the checkpoint exist.
    pub(super) fn publish(mut self, metadata: &CheckpointMetadata) -> Result<CheckpointFolder> {
        let bytes = metadata.encode()?;
        let path = self.path(METADATA)?;
        if let Err(error) = self.store.put_if_absent(&path, &bytes) {
            // It may be there all the same: it goes first, and if it stays its files do too.
            self.published =
                error.effect() != Effect::DidNotHappen && self.store.delete(&path).is_err();
            return Err(storage(error));
        }
        self.published = true;
        if let Some(folder) = &self.folder
            && name::parse_folder(folder.as_str()) == Some(metadata.checkpoint)
        {
            // It is in a checkpoint storage, perhaps a job's.
            CheckpointStorage::new(Arc::clone(&self.store)).enter(metadata)?;
        }
        Ok(self.folder())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.published {
            for path in &self.created {
                // There is no metadata, so what is left is only in the way.
                let _ = self.store.delete(path);
            }
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("folder", &self.folder().url()).finish_non_exhaustive()
    }
}
