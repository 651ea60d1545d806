//! What tests of the shared-file registry are made with.

use std::collections::BTreeMap;
use std::sync::Arc;

use millpond_checkpoint::CheckpointKind;
use millpond_checkpoint::registry::{
    Deletion, RegistrySettings, ReportedFile, SharedFile, SharedFileRegistry, StoredCheckpoint,
    shared_object_name,
};
use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::{
    CheckpointKind as StoredKind, CheckpointMode, FileHandle, IncrementalHandle, KeyedStateHandle,
    LogicalFile, SubtaskMetadata, VertexMetadata,
};
use millpond_state::{AttemptId, CheckpointId, MaxParallelism, SubtaskId, SubtaskIndex};

pub(crate) fn id(number: u64) -> CheckpointId {
    CheckpointId::new(number)
}

/// An object with so many logical files, a hundred bytes each, written for checkpoint `number`.
pub(crate) fn merged(number: u64, index: u32, count: u64) -> Vec<SharedFile> {
    let name = shared_object_name(AttemptId::new(1), id(number), &SubtaskId::new("sum", 0), index);
    let bytes = 100 * count;
    let object = Arc::new(FileHandle::shared(name, bytes, 0x0b).unwrap());
    let file = |at: u64| SharedFile {
        object: Arc::clone(&object),
        attempt: AttemptId::new(1),
        checkpoint: id(number),
        offset: at * 100,
        bytes: 100,
        crc32: 0x0b,
    };
    (0..count).map(file).collect()
}

/// A logical file in an object of its own.
pub(crate) fn table(number: u64, index: u32) -> SharedFile {
    merged(number, index, 1).remove(0)
}

pub(crate) fn new<'a>(files: impl IntoIterator<Item = &'a SharedFile>) -> Vec<ReportedFile> {
    files.into_iter().cloned().map(ReportedFile::New).collect()
}

pub(crate) fn reused<'a>(files: impl IntoIterator<Item = &'a SharedFile>) -> Vec<ReportedFile> {
    files.into_iter().cloned().map(ReportedFile::Reused).collect()
}

/// Metadata of checkpoint `number` that names these files.
pub(crate) fn metadata<'a>(
    number: u64,
    files: impl IntoIterator<Item = &'a SharedFile>,
) -> CheckpointMetadata {
    metadata_of_kind(StoredKind::Checkpoint, number, files)
}

pub(crate) fn metadata_of_kind<'a>(
    kind: StoredKind,
    number: u64,
    files: impl IntoIterator<Item = &'a SharedFile>,
) -> CheckpointMetadata {
    let max = MaxParallelism::new(128).unwrap();
    let mut positions: BTreeMap<String, u32> = BTreeMap::new();
    let mut objects = Vec::new();
    let logical_files = files
        .into_iter()
        .map(|file| {
            let object = *positions.entry(file.object.name().to_owned()).or_insert_with(|| {
                objects.push(file.object.as_ref().clone());
                objects.len() as u32 - 1
            });
            let name = format!("{object:06}-{:06}.sst", file.offset);
            let (attempt, checkpoint) = (file.attempt, file.checkpoint);
            let (offset, bytes, crc32) = (file.offset, file.bytes, file.crc32);
            LogicalFile { name, attempt, checkpoint, object, offset, bytes, crc32 }
        })
        .collect();
    let handle = IncrementalHandle {
        backend: "rocksdb".into(),
        key_groups: max.full_range(),
        states: Vec::new(),
        objects,
        logical_files,
        manifest: Vec::new(),
    };
    let mut subtask = SubtaskMetadata::new(SubtaskIndex::new(0));
    subtask.key_groups = Some(max.full_range());
    subtask.keyed_state = vec![KeyedStateHandle::Incremental(handle)];
    CheckpointMetadata {
        job_name: "job".into(),
        job_kind: "job".into(),
        attempt: AttemptId::new(1),
        checkpoint: id(number),
        kind,
        triggered_at_ms: 0,
        completed_at_ms: 0,
        duration_ms: 0,
        mode: CheckpointMode::ExactlyOnce,
        state_backend: "rocksdb".into(),
        max_parallelism: max,
        vertices: vec![VertexMetadata {
            name: "sum".into(),
            parallelism: 1,
            max_parallelism: max,
            finished: false,
            states: Vec::new(),
            subtasks: vec![subtask],
        }],
    }
}

/// A savepoint whose native file `name` lies in its own folder.
pub(crate) fn native_savepoint(number: u64, names: &[&str]) -> CheckpointMetadata {
    let files: Vec<SharedFile> = names
        .iter()
        .map(|name| SharedFile {
            object: Arc::new(FileHandle::new(*name, 100, 0x0b).unwrap()),
            attempt: AttemptId::new(1),
            checkpoint: id(number),
            offset: 0,
            bytes: 100,
            crc32: 0x0b,
        })
        .collect();
    metadata_of_kind(StoredKind::Savepoint, number, &files)
}

/// The file of a native savepoint as it is offered to others.
pub(crate) fn in_folder(number: u64, folder: &str, name: &str) -> SharedFile {
    SharedFile {
        object: Arc::new(FileHandle::shared(format!("{folder}/{name}"), 100, 0x0b).unwrap()),
        attempt: AttemptId::new(1),
        checkpoint: id(number),
        offset: 0,
        bytes: 100,
        crc32: 0x0b,
    }
}

pub(crate) fn stored<'a>(
    folder: &'a str,
    metadata: &'a CheckpointMetadata,
) -> StoredCheckpoint<'a> {
    StoredCheckpoint { folder, metadata }
}

pub(crate) fn registry() -> SharedFileRegistry {
    SharedFileRegistry::new(RegistrySettings::default())
}

pub(crate) fn begin(registry: &mut SharedFileRegistry, number: u64) {
    registry.begin(id(number), CheckpointKind::Periodic).unwrap();
}

/// A checkpoint from its begin to its completion.
pub(crate) fn take<'a>(
    registry: &mut SharedFileRegistry,
    number: u64,
    uploads: impl IntoIterator<Item = &'a SharedFile>,
    reuses: impl IntoIterator<Item = &'a SharedFile>,
) {
    begin(registry, number);
    finish(registry, number, uploads, reuses);
}

/// A checkpoint under way from its reports to its completion.
pub(crate) fn finish<'a>(
    registry: &mut SharedFileRegistry,
    number: u64,
    uploads: impl IntoIterator<Item = &'a SharedFile>,
    reuses: impl IntoIterator<Item = &'a SharedFile>,
) {
    let (uploads, reuses) = (new(uploads), reused(reuses));
    let metadata = metadata(number, uploads.iter().chain(&reuses).map(ReportedFile::file));
    registry.report(id(number), uploads).unwrap();
    registry.report(id(number), reuses).unwrap();
    registry.store(&metadata).unwrap();
    registry.complete(id(number)).unwrap();
}

/// Names of what is deletable, in order: `chk-1/` for a folder.
pub(crate) fn deletable(registry: &mut SharedFileRegistry) -> Vec<String> {
    let deletions = registry.take_deletions().into_iter();
    deletions
        .map(|deletion| match deletion {
            Deletion::Folder { folder, .. } => format!("{folder}/"),
            Deletion::Object(object) => object.name().to_owned(),
        })
        .collect()
}

pub(crate) fn names<'a>(files: impl IntoIterator<Item = &'a SharedFile>) -> Vec<String> {
    files.into_iter().map(|file| file.object.name().to_owned()).collect()
}

/// Who refers to what, for retained checkpoints.
pub(crate) fn references(registry: &SharedFileRegistry) -> Vec<(u64, Vec<SharedFile>)> {
    registry
        .retained()
        .map(|checkpoint| (checkpoint.get(), registry.files_of(checkpoint).cloned().collect()))
        .collect()
}
