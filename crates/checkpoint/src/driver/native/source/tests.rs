//! Which files of storage are files of this machine.

#![allow(clippy::unwrap_used, reason = "tests stop on errors")]

use std::sync::Arc;

use millpond_state::{AttemptId, CheckpointId, MaxParallelism};
use millpond_storage::{LocalStore, MemoryStore, Store, StoreExt, StorePath};

use super::*;

const WHOLE: &str = "shared/whole";
const PACKED: &str = "shared/packed";

/// A store with an object of one file and one of two.
fn filled<S: Store>(store: S) -> S {
    for (name, bytes) in [(WHOLE, b"first".as_slice()), (PACKED, b"secondthird")] {
        store.put_if_absent(&StorePath::new(name).unwrap(), bytes).unwrap();
    }
    store
}

fn handle() -> IncrementalHandle {
    let file = |name: &str, object, offset, bytes: &[u8]| LogicalFile {
        name: name.to_owned(),
        attempt: AttemptId::new(1),
        checkpoint: CheckpointId::new(1),
        object,
        offset,
        bytes: bytes.len() as u64,
        crc32: crc32fast::hash(bytes),
    };
    let object = |name: &str, bytes: &[u8]| {
        FileHandle::shared(name.to_owned(), bytes.len() as u64, crc32fast::hash(bytes)).unwrap()
    };
    IncrementalHandle {
        backend: "test".to_owned(),
        key_groups: MaxParallelism::new(16).unwrap().full_range(),
        states: Vec::new(),
        objects: vec![object(WHOLE, b"first"), object(PACKED, b"secondthird")],
        logical_files: vec![
            file("a", 0, 0, b"first"),
            file("b", 1, 0, b"second"),
            file("c", 1, 6, b"third"),
        ],
        manifest: Vec::new(),
    }
}

fn folder(store: impl Store + 'static) -> CheckpointFolder {
    CheckpointFolder::new(Arc::new(store), Some(StorePath::new("chk-1").unwrap()))
}

fn local_path(folder: &CheckpointFolder, name: &str) -> Option<std::path::PathBuf> {
    let handle = handle();
    let reader = HandleFiles::new(folder, &handle).open(name).unwrap();
    reader.local_path().map(Path::to_path_buf)
}

#[test]
fn an_object_that_is_a_file_of_this_machine_and_nothing_else_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let stored = folder(filled(LocalStore::create(dir.path()).unwrap()));
    // Nobody compares checksums unless state is restored.
    assert_eq!(local_path(&stored, "a"), None);
    let restored = stored.for_restore(None);
    let path = local_path(&restored, "a").unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"first");
    for part in ["b", "c"] {
        assert_eq!(local_path(&restored, part), None);
    }
    let elsewhere = folder(filled(MemoryStore::new())).for_restore(None);
    assert_eq!(local_path(&elsewhere, "a"), None);
}

#[test]
fn a_damaged_file_is_not_told_of_and_named_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(filled(LocalStore::create(dir.path()).unwrap())).for_restore(None);
    std::fs::write(dir.path().join(WHOLE), b"firsT").unwrap();
    let handle = handle();
    let files = HandleFiles::new(&folder, &handle);
    assert_eq!(files.open("a").unwrap().local_path(), None);
    let error = files.settle().unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
    assert!(error.message().contains(WHOLE), "{error}");
}

#[test]
fn a_file_that_several_subtasks_need_is_read_for_its_checksum_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(filled(LocalStore::create(dir.path()).unwrap())).for_restore(None);
    let first = local_path(&folder, "a");
    assert!(first.is_some());
    // Who read it again would see that.
    std::fs::write(dir.path().join(WHOLE), b"other").unwrap();
    assert_eq!(local_path(&folder.clone(), "a"), first);
}
