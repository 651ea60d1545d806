//! Checkpoint files that somebody else wrote or changed, on purpose: whole by their checksums, and
//! still nothing is read outside the storage, deleted that is not ours, allocated because a number
//! says so, or looped over for ever. The restore falls back to the checkpoint before.

#![allow(clippy::panic, reason = "this is all test: a panic is how it reports")]

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use millpond_checkpoint::ErrorKind;
use millpond_checkpoint::driver::CheckpointStorage;
use millpond_checkpoint::registry::RegistrySettings;
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_snapshot::incremental::{CHAIN_FILES_MAX, CHAIN_FORMAT, ChainReader};
use millpond_snapshot::metadata::{
    FileHandle, IncrementalHandle, KeyedStateHandle, LogicalFile, OPERATOR_STATES_MAX,
};
use millpond_snapshot::{CheckpointMetadata, SliceSource};
use millpond_state::{AttemptId, CheckpointId, MaxParallelism, OperatorStatePart, Redistribution};
use millpond_storage::{LocalStore, MemoryStore, Store, StoreExt, StorePath};
use millpond_tests::{Cluster, Fallible, Restored};

fn factory() -> MemoryBackendFactory {
    MemoryBackendFactory::new(MemoryOptions::new())
}

fn restore(storage: &CheckpointStorage) -> Fallible<Restored> {
    Cluster::restore_whole(&factory(), storage, MaxParallelism::new(4)?, 2)
}

/// Checkpoints 1 and 2 of two subtasks.
fn filled(store: Arc<dyn Store>) -> Fallible<(CheckpointStorage, CheckpointMetadata)> {
    let storage = CheckpointStorage::new(store);
    let mut cluster = Cluster::open(&factory(), MaxParallelism::new(4)?, 2)?;
    cluster.fill(4)?;
    cluster.checkpoint(&storage, 1, 1)?;
    let metadata = cluster.checkpoint(&storage, 2, 1)?;
    Ok((storage, metadata))
}

/// Checks that checkpoint 2 is passed over for a reason that has `what` in it.
fn assert_passed_over(storage: &CheckpointStorage, what: &str) -> Fallible<()> {
    let restored = restore(storage)?;
    let why = restored.skipped.get(&CheckpointId::new(2)).cloned().unwrap_or_default();
    assert_eq!(restored.checkpoint, 1, "checkpoint 2 was restored");
    assert!(why.contains(what), "{what:?} is not named: {why}");
    let report = storage.folder(CheckpointId::new(2))?.verify()?;
    assert!(!report.is_whole(), "verification finds nothing wrong");
    let text: String = report.damage.iter().map(ToString::to_string).collect();
    assert!(text.contains(what), "{what:?} is not named: {text}");
    Ok(())
}

/// Replaces the metadata of checkpoint 2.
fn publish(store: &dyn Store, metadata: &CheckpointMetadata) -> Fallible<()> {
    let path = StorePath::new("chk-2/_metadata")?;
    store.delete(&path)?;
    store.put_if_absent(&path, &metadata.encode()?)?;
    Ok(())
}

/// The first handle of keyed state.
fn first_handle(metadata: &mut CheckpointMetadata) -> Fallible<&mut KeyedStateHandle> {
    let vertex = metadata.vertices.first_mut().ok_or("no vertex")?;
    let subtask = vertex.subtasks.first_mut().ok_or("no subtask")?;
    Ok(subtask.keyed_state.first_mut().ok_or("no keyed state")?)
}

#[test]
fn a_link_in_the_place_of_a_file_or_folder_is_not_followed() -> Fallible<()> {
    let outside = tempfile::tempdir()?;
    for replaced in ["file", "metadata", "folder"] {
        let folder = tempfile::tempdir()?;
        let (storage, metadata) = filled(Arc::new(LocalStore::create(folder.path())?))?;
        let name = metadata.files().next().ok_or("no file")?.name().to_owned();
        let name = match replaced {
            "file" => format!("chk-2/{name}"),
            "metadata" => "chk-2/_metadata".to_owned(),
            _ => "chk-2".to_owned(),
        };
        let moved = outside.path().join(replaced);
        std::fs::rename(folder.path().join(&name), &moved)?;
        symlink(&moved, folder.path().join(&name))?;
        if replaced == "file" {
            assert_passed_over(&storage, &name)?;
            continue;
        }
        let restored = restore(&storage)?;
        assert_eq!(restored.checkpoint, 1, "{replaced}: a link was followed");
        // Nor is anything behind a link deleted.
        storage.remove_incomplete(storage.next_id()?)?;
        storage.discard(CheckpointId::new(2))?;
        assert!(moved.exists(), "{replaced}");
        let inside = |path: &Path| std::fs::read_dir(path).map(Iterator::count).unwrap_or(1);
        assert!(inside(&moved) > 0, "{replaced}");
    }
    Ok(())
}

#[test]
fn names_that_no_storage_can_hold_are_damage() -> Fallible<()> {
    let long = "a".repeat(250);
    for name in [".hidden", "a/.tmp-w-1-1", long.as_str()] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let (storage, mut metadata) = filled(Arc::clone(&store))?;
        let KeyedStateHandle::Full(full) = first_handle(&mut metadata)? else { continue };
        full.file = FileHandle::new(name, full.file.bytes(), full.file.crc32())?;
        publish(store.as_ref(), &metadata)?;
        assert_passed_over(&storage, &name.chars().take(40).collect::<String>())?;
    }
    Ok(())
}

/// A sparse file of 1 TiB: reading it whole would not end well.
#[test]
fn metadata_and_owner_texts_of_any_length_take_no_memory() -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let (storage, _) = filled(Arc::new(LocalStore::create(folder.path())?))?;
    for name in ["chk-2/_metadata", "_job"] {
        File::create(folder.path().join(name))?.set_len(1 << 40)?;
    }
    assert_passed_over(&storage, "chk-2/_metadata")?;
    assert_eq!(storage.owner().map_err(|error| error.kind()), Err(ErrorKind::Corrupt));
    assert_eq!(storage.claim("me").map_err(|error| error.kind()), Err(ErrorKind::Corrupt));
    Ok(())
}

#[test]
fn a_file_that_claims_another_length_than_the_metadata_takes_no_memory() -> Fallible<()> {
    let folder = tempfile::tempdir()?;
    let (storage, metadata) = filled(Arc::new(LocalStore::create(folder.path())?))?;
    let name = format!("chk-2/{}", metadata.files().next().ok_or("no file")?.name());
    File::options().write(true).open(folder.path().join(&name))?.set_len(1 << 40)?;
    let restored = restore(&storage)?;
    assert_eq!(restored.checkpoint, 1);
    Ok(())
}

/// Metadata that names what is not a shared object as one: whoever counts its references must not
/// delete that in the end.
#[test]
fn what_metadata_calls_a_shared_object_is_deleted_only_if_it_is_one() -> Fallible<()> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (storage, mut metadata) = filled(Arc::clone(&store))?;
    storage.claim("me")?;
    let victims = ["_job", "chk-1/_metadata", "shared/notes.txt"];
    store.put_if_absent(&StorePath::new("shared/notes.txt")?, b"notes")?;
    let mut objects = Vec::new();
    for name in victims {
        let bytes = store.read_all(&StorePath::new(name)?)?;
        objects.push(FileHandle::shared(name, bytes.len() as u64, crc32fast::hash(&bytes))?);
    }
    let logical_files = (0..).zip(&objects).map(|(object, file)| LogicalFile {
        name: format!("{object}.full"),
        attempt: AttemptId::new(1),
        checkpoint: CheckpointId::new(1),
        object,
        offset: 0,
        bytes: file.bytes(),
        crc32: file.crc32(),
    });
    let handle = first_handle(&mut metadata)?;
    *handle = KeyedStateHandle::Incremental(IncrementalHandle {
        backend: CHAIN_FORMAT.to_owned(),
        key_groups: handle.key_groups(),
        states: Vec::new(),
        logical_files: logical_files.collect(),
        objects,
        manifest: Vec::new(),
    });
    publish(store.as_ref(), &metadata)?;
    let shared = storage.open_shared_files(RegistrySettings::default())?;
    shared.with(|files| files.discard(CheckpointId::new(2)));
    assert!(shared.collect_deletions());
    storage.execute_deletions(&shared)?;
    assert!(!store.exists(&StorePath::new("chk-2/_metadata")?)?, "that one is ours");
    for name in victims {
        assert!(store.exists(&StorePath::new(name)?)?, "{name} was deleted");
    }
    Ok(())
}

#[test]
fn more_operator_states_than_a_subtask_can_have_are_refused() -> Fallible<()> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (_, mut metadata) = filled(store)?;
    let vertex = metadata.vertices.first_mut().ok_or("no vertex")?;
    let subtask = vertex.subtasks.first_mut().ok_or("no subtask")?;
    subtask.operator_state = (0..=OPERATOR_STATES_MAX)
        .map(|number| OperatorStatePart {
            name: number.to_string(),
            redistribution: Redistribution::Split,
            codecs: None,
            items: Vec::new(),
        })
        .collect();
    assert!(metadata.encode().is_err());
    let vertex = metadata.vertices.first_mut().ok_or("no vertex")?;
    vertex.subtasks.first_mut().ok_or("no subtask")?.operator_state.pop();
    assert!(metadata.encode().is_ok());
    Ok(())
}

#[test]
fn a_chain_longer_than_any_that_is_written_is_refused_before_its_files_are_read() {
    let names: Vec<String> = (0..=CHAIN_FILES_MAX).map(|it| format!("{it}.delta")).collect();
    let files = names.iter().map(|name| (name.as_str(), SliceSource::new(name, [0_u8; 0])));
    let error = ChainReader::open(files).map(|_| ()).unwrap_err();
    assert!(error.message().contains("longer than the limit"), "{error}");
}

#[test]
fn two_handles_that_contradict_each_other_on_a_file_are_refused() -> Fallible<()> {
    let (_, mut metadata) = filled(Arc::new(MemoryStore::new()))?;
    let name = metadata.files().nth(1).ok_or("no second file")?.name().to_owned();
    let KeyedStateHandle::Full(full) = first_handle(&mut metadata)? else {
        return Err("not a full snapshot".into());
    };
    full.file = FileHandle::new(name, 1, 1)?;
    let error = metadata.encode().unwrap_err();
    assert!(error.message().contains("contradict"), "{error}");
    Ok(())
}
