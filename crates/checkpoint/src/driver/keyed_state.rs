//! Keyed state on its way out of and into backends.

use std::sync::Arc;

use millpond_snapshot::metadata::{FileHandle, FullHandle, KeyedStateHandle};
use millpond_snapshot::{Compression, FullOptions, FullWriter};
use millpond_state::{
    AttemptId, CancelFlag, CheckpointId, KeyGroupRange, KeyedBackend, OperatorStatePart,
    SnapshotTask, StateDescriptor, SubtaskId,
};

use super::CheckpointStorage;
use super::adapter::ObjectSink;
use super::folder::CheckpointFolder;
use super::native::{HandleFiles, place};
use crate::error::{ErrorKind, Result};
use crate::name;

/// What a subtask acknowledges a checkpoint with.
#[derive(Clone, Debug, Default)]
pub struct SubtaskSnapshot {
    /// Its keyed state, if it has any.
    pub keyed: Option<KeyedPart>,
    /// Its operator state, each name once; it goes into the checkpoint's metadata.
    pub operator_state: Vec<OperatorStatePart>,
    /// Whether it had processed all its input before the barrier.
    pub at_end: bool,
    /// How long processing stood still, in microseconds.
    pub sync_us: u64,
}

impl SubtaskSnapshot {
    /// The files written for it.
    pub fn files(&self) -> impl Iterator<Item = &FileHandle> {
        self.keyed.iter().flat_map(|keyed| keyed.handle.files())
    }
}

/// Keyed state of a subtask, durable in storage.
#[derive(Clone, Debug)]
pub struct KeyedPart {
    pub(super) handle: KeyedStateHandle,
    pub(super) key_groups: KeyGroupRange,
    pub(super) states: Vec<StateDescriptor>,
    pub(super) entries: u64,
    pub(super) entries_changed: u64,
    pub(super) bytes: u64,
}

impl KeyedPart {
    /// Bytes written.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it is.
    #[must_use]
    pub const fn handle(&self) -> &KeyedStateHandle {
        &self.handle
    }
}

/// For whom keyed state is written, and how.
#[derive(Clone, Copy, Debug)]
pub struct WriteKeyedState<'a> {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// The execution attempt.
    pub attempt: AttemptId,
    /// The subtask.
    pub subtask: &'a SubtaskId,
    /// The key groups that the subtask owns.
    pub key_groups: KeyGroupRange,
    /// zstd level; 0 for no compression.
    pub compression_level: i32,
}

impl CheckpointStorage {
    /// Runs the asynchronous part of a snapshot into a new file. On an error or a cancellation
    /// nothing is left behind.
    ///
    /// # Errors
    /// What the task or the store reports.
    pub fn write_keyed_state(
        &self,
        write: &WriteKeyedState<'_>,
        task: Box<dyn SnapshotTask>,
        cancel: &CancelFlag,
    ) -> Result<KeyedPart> {
        let folder = self.folder(write.checkpoint)?;
        let file = name::keyed_state(write.attempt, write.subtask);
        let path = folder.path(&file)?;
        let draft = self.copies.as_ref().and_then(|copies| copies.draft(write.checkpoint));
        let sink = ObjectSink::create(folder.store().as_ref(), &path)?;
        let mut sink = sink.with_draft(draft);
        let compression = match write.compression_level {
            0 => Compression::None,
            level => Compression::Zstd { level },
        };
        let options = FullOptions { compression, ..FullOptions::default() };
        let mut writer = FullWriter::create(&mut sink, options)?;
        let snapshot = task.run(&mut writer, cancel).map_err(super::describe::state)?;
        let summary = writer.finish()?;
        sink.finish_at(&place(path.as_str(), 0))?;
        let handle = FullHandle::new(file, write.key_groups, &summary)?;
        Ok(KeyedPart {
            handle: KeyedStateHandle::Full(handle),
            key_groups: write.key_groups,
            states: summary.states.into_iter().map(|state| state.descriptor).collect(),
            entries: snapshot.entries,
            entries_changed: snapshot.entries_changed,
            bytes: summary.bytes,
        })
    }
}

/// A part of a checkpoint's keyed state, to be restored.
#[derive(Clone, Debug)]
pub struct KeyedStateSource {
    /// The checkpoint's folder.
    pub folder: CheckpointFolder,
    /// Which of its snapshots.
    pub handle: Arc<KeyedStateHandle>,
    /// The key groups that are wanted of it.
    pub key_groups: KeyGroupRange,
}

impl KeyedStateSource {
    /// Adds the wanted key groups to `backend`; returns how many entries there were.
    ///
    /// # Errors
    /// What reading or the backend reports; [`ErrorKind::Corrupt`] also if the checksum of a file
    /// that was read is not that of the metadata. The backend must then be dropped.
    pub fn restore_into(&self, backend: &mut dyn KeyedBackend) -> Result<u64> {
        // Without a restore that others take part in, it is one of its own.
        let alone = (!self.folder.is_for_restore()).then(|| self.folder.for_restore(None));
        let folder = alone.as_ref().unwrap_or(&self.folder);
        if let KeyedStateHandle::Incremental(native) = &*self.handle
            && backend.opens_files_of(&native.backend)
        {
            let mut files = HandleFiles::new(folder, native);
            let restored = backend.restore_files(&mut files, self.key_groups);
            return settled(restored, || files.settle());
        }
        let reader = folder.open_entries(&self.handle)?;
        let mut entries = reader.entries(self.key_groups);
        let restored = backend.restore(&mut entries);
        settled(restored, || reader.settle())
    }
}

/// What a restore came to, once the files that it read are known to be the right ones. If they are
/// not, that says more than what the backend made of them, unless it found the place.
fn settled(
    restored: millpond_state::Result<u64>,
    settle: impl FnOnce() -> Result<()>,
) -> Result<u64> {
    let restored = restored.map_err(super::describe::state);
    match &restored {
        Err(error) if matches!(error.kind(), ErrorKind::Storage | ErrorKind::Corrupt) => restored,
        _ => settle().and(restored),
    }
}
