//! Damage to any file of a checkpoint is found without restoring it, and named: each bit of a small
//! checkpoint, a sample of a large one, cut and missing files.

#![allow(clippy::panic, reason = "this is all test: a panic is how it reports")]

use std::sync::Arc;

use millpond_checkpoint::ErrorKind;
use millpond_checkpoint::driver::{CheckpointFolder, CheckpointStorage};
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::{CheckpointId, MaxParallelism};
use millpond_storage::{MemoryStore, ObjectInfo, Store, StoreExt, StorePath};
use millpond_testkit::SplitMix64;
use millpond_testkit::double::FlipStore;
use millpond_tests::{Cluster, Fallible};

/// A store with a checkpoint of 3 subtasks, in a folder of its own.
fn checkpoint(keys: u64, compression_level: i32) -> Fallible<(Arc<dyn Store>, StorePath)> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let storage = CheckpointStorage::new(Arc::clone(&store));
    let factory = MemoryBackendFactory::new(MemoryOptions::new());
    let mut cluster = Cluster::open(&factory, MaxParallelism::new(16)?, 3)?;
    cluster.fill(keys)?;
    cluster.checkpoint(&storage, 7, compression_level)?;
    let folder = StorePath::new("chk-7")?;
    let report = storage.folder(CheckpointId::new(7))?.verify()?;
    assert!(report.is_whole(), "{:?}", report.damage);
    Ok((store, folder))
}

/// Whether `verify` finds the damage, in that file and at that place or before it.
fn assert_found(store: Arc<dyn Store>, folder: &StorePath, file: &ObjectInfo, bit: u64) {
    let shown: Arc<dyn Store> = Arc::new(FlipStore::new(store, file.path.clone(), bit));
    let place = format!("bit {bit} of {}", file.path);
    let report = CheckpointFolder::new(shown, Some(folder.clone())).verify();
    let report = report.unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(!report.is_whole(), "{place}: not found");
    let named = report.damage.iter().any(|damage| damage.file.ends_with(file.path.name()));
    assert!(named, "{place}: another file is blamed: {:?}", report.damage);
}

#[test]
fn each_flipped_bit_of_a_small_checkpoint_is_found() -> Fallible<()> {
    for compression_level in [0, 1] {
        let (store, folder) = checkpoint(6, compression_level)?;
        let files = store.list(Some(&folder))?;
        assert_eq!(files.len(), 4, "metadata and 3 subtasks");
        for file in &files {
            for bit in 0..file.len * 8 {
                assert_found(Arc::clone(&store), &folder, file, bit);
            }
        }
    }
    Ok(())
}

#[test]
fn flipped_bits_of_a_large_checkpoint_are_found() -> Fallible<()> {
    let (store, folder) = checkpoint(20_000, 1)?;
    let files = store.list(Some(&folder))?;
    let bytes: u64 = files.iter().map(|file| file.len).sum();
    assert!(bytes > 400_000, "{bytes} bytes are not large");
    let mut random = SplitMix64::new(0xF11B);
    for file in &files {
        for _ in 0..40 {
            let bit = random.next_u64() % (file.len * 8);
            assert_found(Arc::clone(&store), &folder, file, bit);
        }
    }
    Ok(())
}

/// The checkpoint with one file replaced, or missing.
fn with_file(
    store: &dyn Store,
    folder: &StorePath,
    path: &StorePath,
    bytes: Option<&[u8]>,
) -> Fallible<CheckpointFolder> {
    let copy = MemoryStore::new();
    for other in store.list(Some(folder))?.iter().filter(|other| other.path != *path) {
        copy.put_if_absent(&other.path, &store.read_all(&other.path)?)?;
    }
    if let Some(bytes) = bytes {
        copy.put_if_absent(path, bytes)?;
    }
    Ok(CheckpointFolder::new(Arc::new(copy), Some(folder.clone())))
}

#[test]
fn a_file_cut_anywhere_or_with_something_behind_it_is_found() -> Fallible<()> {
    let (store, folder) = checkpoint(6, 1)?;
    for file in store.list(Some(&folder))? {
        let bytes = store.read_all(&file.path)?;
        let whole = with_file(&store, &folder, &file.path, Some(&bytes))?.verify()?;
        assert!(whole.is_whole(), "{}: {:?}", file.path, whole.damage);
        for len in 0..bytes.len() {
            let cut = with_file(&store, &folder, &file.path, Some(&bytes[..len]))?.verify()?;
            assert!(!cut.is_whole(), "{} cut to {len} bytes: not found", file.path);
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        let longer = with_file(&store, &folder, &file.path, Some(&longer))?.verify()?;
        assert!(!longer.is_whole(), "{} with a byte more: not found", file.path);
    }
    Ok(())
}

#[test]
fn a_missing_file_is_found_and_named() -> Fallible<()> {
    let (store, folder) = checkpoint(6, 1)?;
    for file in store.list(Some(&folder))? {
        let without = with_file(&store, &folder, &file.path, None)?;
        if file.path.name() == "_metadata" {
            assert_eq!(without.verify().map_err(|error| error.kind()), Err(ErrorKind::NotFound));
            continue;
        }
        let report = without.verify()?;
        let named = report.damage.iter().any(|damage| damage.file.ends_with(file.path.name()));
        assert!(named, "{}: {:?}", file.path, report.damage);
    }
    Ok(())
}
