//! Checkpoints with shared files in a store: found, checked, and not deleted with one checkpoint.

use std::sync::Arc;

use millpond_checkpoint::driver::{CheckpointFolder, CheckpointStorage};
use millpond_checkpoint::registry::SharedFile;
use millpond_checkpoint::{ErrorKind, registry::shared_object_name};
use millpond_snapshot::metadata::FileHandle;
use millpond_state::{AttemptId, SubtaskId};
use millpond_storage::{MemoryStore, Store, StoreExt, StorePath};

use crate::shared_world::{id, metadata};

/// Bytes whose CRC-32 is the check value of that checksum.
const BYTES: &[u8] = b"123456789";
const CRC32: u32 = 0xcbf4_3926;

fn shared() -> SharedFile {
    let (attempt, checkpoint) = (AttemptId::new(1), id(1));
    let name = shared_object_name(attempt, checkpoint, &SubtaskId::new("sum", 0), 0);
    let bytes = BYTES.len() as u64;
    let object = Arc::new(FileHandle::shared(name, bytes, CRC32).unwrap());
    SharedFile { object, attempt, checkpoint, offset: 0, bytes, crc32: CRC32 }
}

/// Two checkpoints that share one file.
fn two_checkpoints() -> (Arc<dyn Store>, CheckpointStorage, StorePath) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let storage = CheckpointStorage::new(Arc::clone(&store));
    let path = StorePath::new(shared().object.name()).unwrap();
    store.put_if_absent(&path, BYTES).unwrap();
    for number in [1, 2] {
        storage.publish(&metadata(number, [&shared()])).unwrap();
    }
    (store, storage, path)
}

fn folders(storage: &CheckpointStorage) -> Vec<CheckpointFolder> {
    storage.list().unwrap().into_iter().map(|found| found.folder).collect()
}

#[test]
fn shared_files_are_found_from_the_root_of_the_storage() {
    let (_, storage, _) = two_checkpoints();
    for folder in folders(&storage) {
        folder.check_present(&folder.load().unwrap()).unwrap();
        let report = folder.verify().unwrap();
        assert!(report.is_whole() && report.blocks == 1, "{report:?}");
    }
}

#[test]
fn damage_to_a_shared_file_is_found_in_every_checkpoint_that_names_it() {
    let (store, storage, path) = two_checkpoints();
    store.delete(&path).unwrap();
    store.put_if_absent(&path, b"123456780").unwrap();
    for folder in folders(&storage) {
        folder.check_present(&folder.load().unwrap()).unwrap();
        let report = folder.verify().unwrap();
        assert!(report.damage[0].file.contains("shared/"), "{report:?}");
        assert!(report.damage[0].what.contains("logical file"), "{report:?}");
    }
    store.delete(&path).unwrap();
    for folder in folders(&storage) {
        let error = folder.check_present(&folder.load().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(!folder.verify().unwrap().is_whole());
    }
}

#[test]
fn discarding_one_checkpoint_leaves_what_it_shares() {
    let (store, storage, path) = two_checkpoints();
    storage.discard(id(1)).unwrap();
    assert_eq!(store.read_all(&path).unwrap(), BYTES);
    let left = folders(&storage);
    assert_eq!(left.len(), 1);
    assert!(left[0].verify().unwrap().is_whole());
}

#[test]
fn a_checkpoint_with_shared_files_is_not_whole_as_a_storage_of_its_own() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let path = StorePath::new("_metadata").unwrap();
    store.put_if_absent(&path, &metadata(1, [&shared()]).encode().unwrap()).unwrap();
    let folder = CheckpointFolder::new(store, None);
    let error = folder.check_present(&folder.load().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("shares"), "{error}");
}
