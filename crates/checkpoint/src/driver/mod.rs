//! The only I/O of this crate: checkpoints in a [`Store`].
//!
//! ```text
//! <root>/_job                                                who owns the folder (text)
//! <root>/log/<i>                                             which checkpoints exist (text)
//! <root>/shared/<attempt>-<n>-<vertex>-<hash>-<subtask>-<i>  objects that checkpoints share
//! <root>/chk-<n>/<attempt>-<vertex>-<hash>-<subtask>.full    keyed state of one subtask
//! <root>/chk-<n>/_metadata                                   published last but for the log
//! ```
//!
//! `docs/formats.md` has the spelling of each part. File names carry the execution attempt, so that
//! no name is ever used twice: a late writer of an earlier attempt overwrites nothing. Metadata and
//! entries of the log are created only if absent: of two coordinators only the one whose attempt
//! began last completes a checkpoint, see [`AttemptLog`].
//!
//! Deletion goes the other way round: metadata first, so that no checkpoint ever exists whose files
//! are gone.

mod adapter;
mod coverage;
mod describe;
mod folder;
mod garbage;
mod keyed_state;
mod local;
mod log;
mod native;
mod operator_state;
mod reads;
mod shared_files;
mod threads;

pub use adapter::{ObjectSink, ObjectSource};
pub use describe::{JobDescription, VertexDescription, describe, facts_of};
pub use folder::{CheckpointFolder, EntriesReader, StoredEntries};
pub use garbage::{FoundObject, Garbage};
pub use keyed_state::{KeyedPart, KeyedStateSource, SubtaskSnapshot, WriteKeyedState};
pub use local::{LocalCopies, LocalCopiesListener, LocalProblem};
pub use log::{AttemptLog, AttemptStart, CheckpointHistory};
pub use native::ObjectPart;
pub use operator_state::operator_state_parts;
pub use reads::RestoredBytes;
pub use shared_files::SharedFiles;

use std::sync::Arc;

use millpond_snapshot::{CheckpointMetadata, SnapshotError, SnapshotErrorKind};
use millpond_state::CheckpointId;
use millpond_storage::{Effect, StorageError, Store, StoreExt, StorePath};

use self::adapter::read_small;
use crate::coordinator::StoreEffect;
use crate::error::{CheckpointError, ErrorKind, Result};
use crate::name;

/// Most bytes of the text that says whose checkpoints these are.
const OWNER_BYTES_MAX: usize = 64 * 1024;

/// The checkpoints of one job in a store. Shared by threads; every method may block on I/O.
#[derive(Clone, Debug)]
pub struct CheckpointStorage {
    store: Arc<dyn Store>,
    upload_threads: usize,
    copies: Option<Arc<LocalCopies>>,
}

/// Without being told, so many objects of a snapshot are written at once.
const UPLOAD_THREADS_DEFAULT: usize = 4;

/// Metadata could not be published.
#[derive(Debug)]
pub struct PublishError {
    /// Whether it may be there all the same.
    pub effect: StoreEffect,
    /// What failed.
    pub error: CheckpointError,
}

/// A checkpoint folder as a listing finds it.
#[derive(Debug)]
pub struct FoundCheckpoint {
    /// Its number.
    pub id: CheckpointId,
    /// Its folder.
    pub folder: CheckpointFolder,
    /// Its metadata, or why that cannot be read. A folder without metadata is not listed.
    pub metadata: Result<CheckpointMetadata>,
}

impl FoundCheckpoint {
    /// Whether it is known never to have come to exist.
    fn is_void(&self, history: &CheckpointHistory) -> bool {
        self.metadata.as_ref().is_ok_and(|metadata| history.is_void(self.id, metadata.attempt))
    }
}

impl CheckpointStorage {
    /// The checkpoints in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, upload_threads: UPLOAD_THREADS_DEFAULT, copies: None }
    }

    /// The same storage, where at most so many objects of one subtask's snapshot are written at
    /// once, each by a thread; at least 1.
    #[must_use]
    pub fn with_upload_threads(self, upload_threads: usize) -> Self {
        Self { upload_threads: upload_threads.max(1), ..self }
    }

    /// The same storage, where files written for checkpoints that `copies` was told of are kept
    /// there, too.
    #[must_use]
    pub fn with_local_copies(self, copies: Option<Arc<LocalCopies>>) -> Self {
        Self { copies, ..self }
    }

    /// Where this is, for messages.
    #[must_use]
    pub fn url(&self) -> &str {
        self.store.url()
    }

    /// The folder of checkpoint `id`, whether it exists or not.
    ///
    /// # Errors
    /// None in practice: the name is always valid.
    pub fn folder(&self, id: CheckpointId) -> Result<CheckpointFolder> {
        let path = StorePath::new(name::folder(id)).map_err(storage)?;
        Ok(CheckpointFolder::new(Arc::clone(&self.store), Some(path)))
    }

    /// All checkpoints that exist, as far as a listing shows them, oldest first. One whose metadata
    /// is damaged is listed as such. To choose where a job starts, use
    /// [`list_existing`](Self::list_existing), which believes no listing.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the store cannot be listed; as [`history`](Self::history).
    pub fn list(&self) -> Result<Vec<FoundCheckpoint>> {
        let mut found = self.list_metadata()?;
        if let Some(history) = self.read_log()? {
            found.retain(|it| !it.is_void(&history));
        }
        Ok(found)
    }

    /// Everything with metadata, whether it exists or not.
    fn list_metadata(&self) -> Result<Vec<FoundCheckpoint>> {
        let mut found = Vec::new();
        for (id, path) in self.numbered_folders()? {
            let folder = CheckpointFolder::new(Arc::clone(&self.store), Some(path));
            match folder.load() {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                metadata => found.push(FoundCheckpoint { id, folder, metadata }),
            }
        }
        Ok(found)
    }

    /// A number above that of every folder, complete or not, and of every shared object.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the store cannot be listed.
    pub fn next_id(&self) -> Result<CheckpointId> {
        let newest = self.numbered_folders()?.last().map(|(id, _)| *id);
        let shared = StorePath::new(name::SHARED_FOLDER).map_err(storage)?;
        let objects = self.store.list(Some(&shared)).map_err(storage)?;
        let written_for =
            objects.iter().filter_map(|object| match name::ObjectKind::of(object.path.as_ref()) {
                Some(name::ObjectKind::Data(checkpoint)) => Some(checkpoint),
                _ => None,
            });
        let newest = newest.max(written_for.max());
        Ok(newest.map_or(CheckpointId::new(1), CheckpointId::next))
    }

    /// Deletes the folders without metadata of checkpoints before `first`, the first number of the
    /// attempt that starts: what dead attempts left, and nothing refers to. Numbers from there on
    /// may be those of a successor, which may have begun by now. Returns how many objects were
    /// deleted.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the store cannot be listed or something cannot be deleted.
    pub fn remove_incomplete(&self, first: CheckpointId) -> Result<usize> {
        let mut removed = 0;
        for (_, path) in self.numbered_folders()?.into_iter().filter(|(id, _)| *id < first) {
            let metadata = path.join(name::METADATA).map_err(storage)?;
            if !self.store.exists(&metadata).map_err(storage)? {
                removed += self.store.delete_prefix(&path).map_err(storage)?;
            }
        }
        Ok(removed)
    }

    /// The name of `folder` relative to this storage's root; `None` if it lies in another storage.
    #[must_use]
    pub fn relative_folder(&self, folder: &CheckpointFolder) -> Option<String> {
        let same = folder.store().url().trim_end_matches('/') == self.url().trim_end_matches('/');
        folder.store_path().filter(|_| same).map(ToString::to_string)
    }

    /// Claims the store for the job that `owner` describes, or finds out whose it is: returns the
    /// owner's text as it stands in the store.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the text has more than 64 KiB; [`ErrorKind::Corrupt`] if
    /// the one in the store has; [`ErrorKind::Storage`] if the store fails.
    pub fn claim(&self, owner: &str) -> Result<String> {
        if owner.len() > OWNER_BYTES_MAX {
            let message = format!("the owner's text has more than {OWNER_BYTES_MAX} bytes");
            return Err(CheckpointError::new(ErrorKind::InvalidArgument, message));
        }
        let path = StorePath::new(name::OWNER).map_err(storage)?;
        match self.store.put_if_absent(&path, owner.as_bytes()) {
            Ok(_) => Ok(owner.to_owned()),
            Err(error) if error.kind() == millpond_storage::ErrorKind::AlreadyExists => {
                let bytes = read_small(&self.store, &path, OWNER_BYTES_MAX)?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Err(error) => Err(storage(error)),
        }
    }

    /// The text of the job that owns the store, if one has claimed it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it has more than 64 KiB; [`ErrorKind::Storage`] if the store
    /// fails.
    pub fn owner(&self) -> Result<Option<String>> {
        let path = StorePath::new(name::OWNER).map_err(storage)?;
        match read_small(&self.store, &path, OWNER_BYTES_MAX) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Publishes a checkpoint's metadata, atomically and only if absent: in a storage without a log
    /// the checkpoint exists from then on. A job publishes with [`AttemptLog::publish`], so that no
    /// process which it has superseded can.
    ///
    /// # Errors
    /// [`PublishError`], which says whether it may have happened.
    pub fn publish(&self, metadata: &CheckpointMetadata) -> Result<(), PublishError> {
        let not_written = |error| PublishError { effect: StoreEffect::DidNotHappen, error };
        let bytes = metadata.encode().map_err(|error| not_written(error.into()))?;
        let path = self
            .folder(metadata.checkpoint)
            .and_then(|folder| folder.path(name::METADATA))
            .map_err(not_written)?;
        match self.store.put_if_absent(&path, &bytes) {
            Ok(_) => Ok(()),
            Err(error) => Err(PublishError {
                effect: match error.effect() {
                    Effect::DidNotHappen => StoreEffect::DidNotHappen,
                    _ => StoreEffect::MayHaveHappened,
                },
                error: storage(error),
            }),
        }
    }

    /// Deletes a completed checkpoint, metadata first. One that is not there counts as deleted.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if something cannot be deleted: repeat it.
    pub fn discard(&self, id: CheckpointId) -> Result<()> {
        let folder = self.folder(id)?;
        let metadata = folder.path(name::METADATA)?;
        self.store.delete(&metadata).map_err(storage)?;
        if let Some(path) = folder.store_path() {
            self.store.delete_prefix(path).map_err(storage)?;
        }
        Ok(())
    }

    /// Deletes the files of snapshots that no checkpoint names. Files shared with other checkpoints
    /// stay: those are for the [registry](crate::registry) to decide on.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] for the first that cannot be deleted; all are tried.
    pub fn discard_snapshots(&self, id: CheckpointId, snapshots: &[SubtaskSnapshot]) -> Result<()> {
        let folder = self.folder(id)?;
        let mut outcome = Ok(());
        let files = snapshots.iter().flat_map(SubtaskSnapshot::files);
        for file in files.filter(|file| !file.is_shared()) {
            let deleted =
                folder.path(file.name()).and_then(|path| self.store.delete(&path).map_err(storage));
            outcome = outcome.and(deleted);
        }
        outcome
    }

    fn numbered_folders(&self) -> Result<Vec<(CheckpointId, StorePath)>> {
        let folders = self.store.list_folders(None).map_err(storage)?;
        let mut numbered: Vec<_> = folders
            .into_iter()
            .filter_map(|path| Some((name::parse_folder(path.name())?, path)))
            .collect();
        numbered.sort_unstable();
        Ok(numbered)
    }
}

/// Sorts a storage error by what the caller can do.
pub(crate) fn storage(error: StorageError) -> CheckpointError {
    use millpond_storage::ErrorKind as Stored;
    let kind = match error.kind() {
        Stored::NotFound => ErrorKind::NotFound,
        Stored::Truncated => ErrorKind::Corrupt,
        _ => ErrorKind::Storage,
    };
    CheckpointError::new(kind, error.to_string())
}

impl From<SnapshotError> for CheckpointError {
    fn from(error: SnapshotError) -> Self {
        let kind = match error.kind() {
            SnapshotErrorKind::Corrupt => ErrorKind::Corrupt,
            SnapshotErrorKind::Unsupported => ErrorKind::Incompatible,
            SnapshotErrorKind::InvalidArgument => ErrorKind::InvalidArgument,
            _ => ErrorKind::Storage,
        };
        Self::new(kind, error.to_string())
    }
}
