//! How much of a checkpoint is its own.

use std::collections::BTreeSet;

use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::{FileHandle, KeyedStateHandle};

/// Bytes of keyed state by who else may need them, and by who wrote them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Of objects that other checkpoints may refer to.
    pub(super) shared: u64,
    /// Of files that go with the checkpoint.
    pub(super) exclusive: u64,
    /// Written for this checkpoint.
    pub(super) new: u64,
    /// Written for an earlier one.
    pub(super) reused: u64,
}

impl Share {
    /// The bytes of one checkpoint.
    pub(super) fn of(metadata: &CheckpointMetadata) -> Self {
        let mut share = Self::default();
        let mut seen = BTreeSet::new();
        for file in metadata.files().filter(|it| seen.insert((it.is_shared(), it.name()))) {
            let sum = if file.is_shared() { &mut share.shared } else { &mut share.exclusive };
            *sum = sum.saturating_add(file.bytes());
        }
        let subtasks = metadata.vertices.iter().flat_map(|vertex| &vertex.subtasks);
        for handle in subtasks.flat_map(|subtask| &subtask.keyed_state) {
            match handle {
                KeyedStateHandle::Incremental(native) => {
                    let (new, reused) = native.new_and_reused_bytes(metadata.checkpoint);
                    share.new = share.new.saturating_add(new);
                    share.reused = share.reused.saturating_add(reused);
                }
                _ => {
                    let bytes = handle.files().map(FileHandle::bytes);
                    share.new = bytes.fold(share.new, u64::saturating_add);
                }
            }
        }
        share
    }
}
