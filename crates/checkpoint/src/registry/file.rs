//! What the registry speaks of: shared files, reports, deletions, stored checkpoints.

use std::sync::Arc;

use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::{CheckpointKind, FileHandle, LogicalFile};
use millpond_state::{AttemptId, CheckpointId};

use crate::error::{CheckpointError, ErrorKind, Result};

/// A logical file and its place in an object of the checkpoint storage.
///
/// Two are the same file only if all of it is equal: this is its identity. The object's name holds
/// the attempt and the checkpoint that wrote it, so it is never given to other bytes; length and
/// checksums catch whoever breaks that rule. What a backend calls the file is no part of it: after
/// a rescale several do, each by a name of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedFile {
    /// The object; its name is relative to the root of the checkpoint storage.
    pub object: Arc<FileHandle>,
    /// The execution attempt that wrote it.
    pub attempt: AttemptId,
    /// The checkpoint it was written for.
    pub checkpoint: CheckpointId,
    /// Where it begins in the object, in bytes.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// CRC-32 of its bytes.
    pub crc32: u32,
}

/// Where a shared file is: name of the object, offset.
pub(super) type Place = (Arc<str>, u64);

impl SharedFile {
    /// The file that metadata describes as `logical` in `object`.
    #[must_use]
    pub fn new(logical: &LogicalFile, object: Arc<FileHandle>) -> Self {
        Self {
            object,
            attempt: logical.attempt,
            checkpoint: logical.checkpoint,
            offset: logical.offset,
            bytes: logical.bytes,
            crc32: logical.crc32,
        }
    }

    /// One past its last byte.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }

    pub(super) fn place(&self) -> Place {
        (Arc::from(self.object.name()), self.offset)
    }

    /// Whether it can be what it says.
    pub(super) fn check(&self) -> Result<()> {
        let whole = self.bytes == self.object.bytes();
        let what = if !self.object.is_shared() {
            "is in an exclusive object"
        } else if self.offset.checked_add(self.bytes).is_none_or(|end| end > self.object.bytes()) {
            "reaches beyond the end of its object"
        } else if whole && self.crc32 != self.object.crc32() {
            "contradicts the checksum of its object"
        } else {
            return Ok(());
        };
        Err(self.wrong(what))
    }

    #[cold]
    pub(super) fn wrong(&self, what: &str) -> CheckpointError {
        CheckpointError::new(
            ErrorKind::InvalidArgument,
            format!("shared file at {} of {}: it {what}", self.offset, self.object.name()),
        )
    }
}

/// What a subtask says of a shared file that its part of a checkpoint names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportedFile {
    /// It was uploaded for this checkpoint, and is durable.
    New(SharedFile),
    /// It is one that the registry offered.
    Reused(SharedFile),
}

impl ReportedFile {
    /// The file.
    #[must_use]
    pub const fn file(&self) -> &SharedFile {
        match self {
            Self::New(file) | Self::Reused(file) => file,
        }
    }
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reported {
    /// The checkpoint is under way: its files stay until it is decided.
    Counted,
    /// The checkpoint was decided before. What was uploaded for it is offered to later ones, or is
    /// deletable if a later one completed without it.
    Late,
    /// The checkpoint is not of this registry's life: nothing is known of it, nothing was done. If
    /// nothing refers to the files, garbage collection finds them.
    Left,
}

/// Something in the checkpoint storage that may be deleted now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Deletion {
    /// A checkpoint with all that lies in its folder, metadata first.
    Folder {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The folder, relative to the root of the checkpoint storage.
        folder: String,
    },
    /// An object that nothing refers to.
    Object(FileHandle),
}

/// Who may delete the checkpoint that a job starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestoreMode {
    /// We: it is one of our own retained checkpoints from now on.
    Claim,
    /// Not we: nothing that it refers to is ever deleted or re-used by us.
    NoClaim,
}

/// A checkpoint that exists in the checkpoint storage of the registry.
#[derive(Clone, Copy, Debug)]
pub struct StoredCheckpoint<'a> {
    /// Its folder, relative to the root of the checkpoint storage.
    pub folder: &'a str,
    /// Its metadata.
    pub metadata: &'a CheckpointMetadata,
}

impl StoredCheckpoint<'_> {
    pub(super) fn id(&self) -> CheckpointId {
        self.metadata.checkpoint
    }

    /// Whether its native files lie in its own folder and are re-used from there once it is ours.
    pub(super) fn is_home(&self) -> bool {
        self.metadata.kind == CheckpointKind::Savepoint
    }

    /// The shared files it refers to; with `own`, also the logical files in its folder, by their
    /// names relative to the root.
    pub(super) fn shared_files(&self, own: bool) -> Result<Vec<SharedFile>> {
        let mut files = Vec::new();
        for handle in self.metadata.incremental_handles() {
            let objects = handle
                .objects
                .iter()
                .map(|object| self.rooted(object).map(Arc::new))
                .collect::<Result<Vec<_>>>()?;
            for (logical, object) in handle.placed_files() {
                if let Some(rooted) = objects.get(logical.object as usize)
                    && (own || object.is_shared())
                {
                    files.push(SharedFile::new(logical, Arc::clone(rooted)));
                }
            }
        }
        Ok(files)
    }

    /// The object by its name relative to the root.
    fn rooted(&self, object: &FileHandle) -> Result<FileHandle> {
        if object.is_shared() {
            return Ok(object.clone());
        }
        let name = format!("{}/{}", self.folder, object.name());
        Ok(FileHandle::shared(name, object.bytes(), object.crc32())?)
    }
}
