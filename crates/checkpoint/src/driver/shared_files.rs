//! The registry of a job's shared files, as the threads of a job use it, and the deletions that it
//! hands out.
//!
//! # Invariants
//! - Deletions are carried out one after the other in the order in which they were handed out; one
//!   that fails is tried again before any later one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::CheckpointKind;
use millpond_state::CheckpointId;
use millpond_storage::{StoreExt, StorePath};

use super::log::AttemptLog;
use super::{CheckpointStorage, FoundCheckpoint, storage};
use crate::completed::CompletedCheckpoint;
use crate::error::Result;
use crate::registry::{
    Deletion, FoundCheckpoints, RegistrySettings, RestoreMode, SharedFileRegistry, StoredCheckpoint,
};

/// The one [`SharedFileRegistry`] of a job's checkpoint storage. Shared by threads.
#[derive(Debug)]
pub struct SharedFiles {
    registry: Mutex<SharedFileRegistry>,
    /// Deletions that were handed out and are not carried out yet.
    deletions: Mutex<VecDeque<Deletion>>,
    /// Held by who carries them out.
    deleting: Mutex<()>,
}

impl SharedFiles {
    /// Tells the registry an event, or asks it something.
    pub fn with<R>(&self, event: impl FnOnce(&mut SharedFileRegistry) -> R) -> R {
        event(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a coordinator retains at the start of the attempt that `log` is of: the checkpoints in
    /// `storage` that exist, are the job's to delete, and are no savepoints.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if metadata cannot be read.
    pub fn owned(
        &self,
        storage: &CheckpointStorage,
        log: &AttemptLog,
    ) -> Result<Vec<CompletedCheckpoint>> {
        let ours: BTreeSet<CheckpointId> = self.with(|files| files.retained().collect());
        let mut owned = Vec::new();
        for id in log.found().filter(|id| ours.contains(id)) {
            let Ok(metadata) = storage.folder(id)?.load() else { continue };
            if metadata.kind != CheckpointKind::Savepoint {
                owned.push(CompletedCheckpoint {
                    id,
                    kind: super::facts_of(&metadata).kind,
                    triggered_wall_ms: metadata.triggered_at_ms,
                    completed_wall_ms: metadata.completed_at_ms,
                    bytes: metadata.data_bytes(),
                });
            }
        }
        Ok(owned)
    }

    /// Takes over what the registry says may be deleted; whether there is something to delete.
    #[must_use]
    pub fn collect_deletions(&self) -> bool {
        // The queue first, so that two callers keep the order of what they were handed.
        let mut queue = self.queue();
        queue.extend(self.with(SharedFileRegistry::take_deletions));
        !queue.is_empty()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Deletion>> {
        self.deletions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder with the checkpoint in it, as the registry wants it.
struct Stored {
    folder: String,
    metadata: CheckpointMetadata,
}

impl Stored {
    fn view(&self) -> StoredCheckpoint<'_> {
        StoredCheckpoint { folder: &self.folder, metadata: &self.metadata }
    }
}

impl CheckpointStorage {
    /// The shared files of the checkpoints that are in the storage now, for an engine that keeps no
    /// log. Savepoints among them are left alone, with all that they refer to. Call it once at the
    /// start of an execution attempt, when nothing else writes checkpoints here.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the storage cannot be listed;
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if checkpoints contradict
    /// each other on a file.
    pub fn open_shared_files(&self, settings: RegistrySettings) -> Result<SharedFiles> {
        self.shared_files_of(self.list()?, settings, None)
    }

    /// `offered`: the one checkpoint whose files may be used again, if not all.
    pub(super) fn shared_files_of(
        &self,
        found: Vec<FoundCheckpoint>,
        settings: RegistrySettings,
        offered: Option<&BTreeSet<CheckpointId>>,
    ) -> Result<SharedFiles> {
        let (mut owned, mut kept, mut unreadable) = (Vec::new(), Vec::new(), false);
        for found in found {
            let is_kept = self.is_kept(&found)?;
            let Ok(metadata) = found.metadata else {
                unreadable = true;
                continue;
            };
            let stored = Stored { folder: crate::name::folder(found.id), metadata };
            if is_kept { &mut kept } else { &mut owned }.push(stored);
        }
        let owned: Vec<StoredCheckpoint<'_>> = owned.iter().map(Stored::view).collect();
        let kept: Vec<StoredCheckpoint<'_>> = kept.iter().map(Stored::view).collect();
        let found = FoundCheckpoints { owned: &owned, kept: &kept, unreadable, offered };
        Ok(SharedFiles {
            registry: Mutex::new(SharedFileRegistry::rebuild(settings, &found)?),
            deletions: Mutex::default(),
            deleting: Mutex::default(),
        })
    }

    /// Tells `shared` that the job starts from the checkpoint `metadata`, which lies in the folder
    /// `folder` relative to this storage's root. Without claim, a marker in the folder says so to
    /// later starts.
    ///
    /// # Errors
    /// As [`SharedFileRegistry::restore`]; [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the
    /// marker cannot be set or removed.
    pub fn restore_shared_files(
        &self,
        shared: &SharedFiles,
        (folder, metadata): (&str, &CheckpointMetadata),
        mode: RestoreMode,
    ) -> Result<()> {
        let marker = StorePath::new(folder).and_then(|folder| folder.join(crate::name::KEPT));
        let marker = marker.map_err(storage)?;
        match mode {
            RestoreMode::Claim => self.store.delete(&marker).map_err(storage)?,
            RestoreMode::NoClaim => self.mark(&marker)?,
        }
        shared.with(|registry| registry.restore(&StoredCheckpoint { folder, metadata }, mode))
    }

    /// Whether a checkpoint is not the job's to delete: a savepoint, or one that the job was
    /// restored from without claim. Of one that cannot be read only the latter can be told.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the storage fails.
    pub fn is_kept(&self, found: &FoundCheckpoint) -> Result<bool> {
        let kind = found.metadata.as_ref().ok().map(|metadata| metadata.kind);
        if kind == Some(CheckpointKind::Savepoint) {
            return Ok(true);
        }
        self.store.exists(&found.folder.path(crate::name::KEPT)?).map_err(storage)
    }

    fn mark(&self, marker: &StorePath) -> Result<()> {
        match self.store.put_if_absent(marker, b"") {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == millpond_storage::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(storage(error)),
        }
    }

    /// Carries out the deletions that `shared` has collected, in order.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) for the first that fails: it and those
    /// after it are left for the next call.
    pub fn execute_deletions(&self, shared: &SharedFiles) -> Result<()> {
        // A second caller waits, so that the order is kept; who hands out deletions does not.
        let _deleting = shared.deleting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let next = shared.queue().front().cloned();
            let Some(next) = next else { return Ok(()) };
            self.execute_deletion(&next)?;
            shared.queue().pop_front();
        }
    }

    fn execute_deletion(&self, deletion: &Deletion) -> Result<()> {
        match deletion {
            Deletion::Folder { folder, .. } => {
                let folder = StorePath::new(folder).map_err(storage)?;
                let metadata = folder.join(crate::name::METADATA).map_err(storage)?;
                self.store.delete(&metadata).map_err(storage)?;
                self.store.delete_prefix(&folder).map_err(storage)?;
                Ok(())
            }
            // Names come from metadata, which others may have written: what is not a shared object
            // by its name is not ours to delete.
            Deletion::Object(object) if !crate::name::is_shared_object(object.name()) => Ok(()),
            Deletion::Object(object) => {
                let path = StorePath::new(object.name()).map_err(storage)?;
                self.store.delete(&path).map_err(storage)
            }
        }
    }
}
