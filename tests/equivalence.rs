//! A snapshot of any backend at any parallelism restores into any other at any other, through the
//! real files, with the same state.

use std::path::Path;
use std::sync::Arc;

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_checkpoint::registry::RegistrySettings;
use millpond_fs::{FsBackendFactory, FsOptions};
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::{BackendFactory, MaxParallelism};
use millpond_storage::LocalStore;
use millpond_testkit::model::ModelFactory;
use millpond_tests::{Cluster, Fallible, Taking};

const PARALLELISMS: [u32; 5] = [1, 2, 3, 7, 8];
const KEYS: u64 = 300;

/// Every backend there is, and the model that they are held against. State in files goes below
/// `state`, and is written and compacted all the time.
fn factories(state: &Path) -> Fallible<Vec<Box<dyn BackendFactory>>> {
    let files = FsOptions::new(state).with_segment_bytes(8 << 10).with_tail_bytes(16 << 10);
    Ok(vec![
        Box::new(MemoryBackendFactory::new(MemoryOptions::new())),
        Box::new(FsBackendFactory::new(files)?),
        Box::new(ModelFactory),
        #[cfg(feature = "rocksdb")]
        Box::new(rocksdb(state)?),
    ])
}

#[cfg(feature = "rocksdb")]
fn rocksdb(state: &Path) -> Fallible<millpond_rocksdb::RocksDbBackendFactory> {
    use millpond_rocksdb::{RocksDbBackendFactory, RocksDbOptions, RocksDbProfile};
    let folder = state.join("rocksdb");
    std::fs::create_dir(&folder)?;
    let options = RocksDbOptions::with_profile(folder, RocksDbProfile::SmallMemory);
    Ok(RocksDbBackendFactory::create(options.with_write_buffer_size(64 << 10))?)
}

#[test]
fn state_of_any_backend_and_parallelism_restores_into_any_other() -> Fallible<()> {
    let max = MaxParallelism::new(32)?;
    let mut model = Cluster::open(&ModelFactory, max, 1)?;
    model.fill(KEYS)?;
    let expected = model.contents()?;
    assert!(expected.len() > KEYS as usize * 3, "only {} entries: too thin", expected.len());

    let mut due: Vec<(i64, u64)> = (0..KEYS).map(|key| ((key % 10) as i64, key)).collect();
    due.sort_unstable();

    let state = tempfile::tempdir()?;
    let factories = factories(state.path())?;
    for from in &factories {
        for p in PARALLELISMS {
            let folder = tempfile::tempdir()?;
            let store = LocalStore::create(folder.path())?;
            let storage = CheckpointStorage::new(Arc::new(store));
            let mut old = Cluster::open(from.as_ref(), max, p)?;
            old.fill(KEYS)?;
            let metadata = old.checkpoint(&storage, 1, i32::from(p % 2 == 0))?;
            drop(old);
            assert_eq!(metadata.files().count(), p as usize);
            for to in &factories {
                for q in PARALLELISMS {
                    let case = format!("{} at {p} to {} at {q}", from.name(), to.name());
                    let mut new = Cluster::restore(to.as_ref(), &storage, max, q)?;
                    assert!(new.contents()? == expected, "{case}");
                    for key in [0, 1, 2, KEYS - 1, KEYS] {
                        let mean = (key < KEYS).then_some(key + 1);
                        assert_eq!(new.mean(key, -3_600_000)?, mean, "{case}, key {key}");
                    }
                    assert!(new.fire(9)? == due, "{case}: timers");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn restored_state_can_be_checkpointed_and_restored_again() -> Fallible<()> {
    let state = tempfile::tempdir()?;
    for factory in factories(state.path())? {
        restored_again_and_again(factory.as_ref())?;
    }
    Ok(())
}

fn restored_again_and_again(factory: &dyn BackendFactory) -> Fallible<()> {
    let max = MaxParallelism::new(32)?;
    let folder = tempfile::tempdir()?;
    let storage = CheckpointStorage::new(Arc::new(LocalStore::create(folder.path())?));
    let mut cluster = Cluster::open(factory, max, 4)?;
    cluster.fill(KEYS)?;
    let expected = cluster.contents()?;
    for (id, q) in [(1, 3), (2, 8), (3, 1), (4, 4)] {
        cluster.checkpoint(&storage, id, 1)?;
        cluster = Cluster::restore(factory, &storage, max, q)?;
        assert!(cluster.contents()? == expected, "checkpoint {id} at {q}");
    }
    // What the restored subtasks write counts, over what was restored.
    cluster.fill(KEYS + 10)?;
    let mut model = Cluster::open(&ModelFactory, max, 1)?;
    model.fill(KEYS)?;
    model.fill(KEYS + 10)?;
    assert!(cluster.contents()? == model.contents()?);
    Ok(())
}

/// Backends with a native form.
fn native_factories(state: &Path) -> Fallible<Vec<Box<dyn BackendFactory>>> {
    let mut factories = factories(state)?;
    factories.retain(|factory| factory.name() != ModelFactory.name());
    Ok(factories)
}

#[test]
fn incremental_checkpoints_restore_at_any_parallelism_and_are_built_upon() -> Fallible<()> {
    let max = MaxParallelism::new(32)?;
    let state = tempfile::tempdir()?;
    for factory in native_factories(state.path())? {
        for p in PARALLELISMS {
            for q in PARALLELISMS {
                let case = format!("{} at {p} to {q}", factory.name());
                let folder = tempfile::tempdir()?;
                let storage = CheckpointStorage::new(Arc::new(LocalStore::create(folder.path())?));
                let shared = storage.open_shared_files(RegistrySettings::default())?;
                let mut model = Cluster::open(&ModelFactory, max, 1)?;
                let mut cluster = Cluster::open(factory.as_ref(), max, p)?;
                for (id, keys) in [(1, KEYS), (2, KEYS / 10), (3, KEYS + 20)] {
                    model.fill(keys)?;
                    cluster.fill(keys)?;
                    cluster.take(&Taking::full(&storage, id).incremental(&shared))?;
                }
                let expected = model.contents()?;
                for id in 4..6 {
                    cluster = Cluster::restore(factory.as_ref(), &storage, max, q)?;
                    assert!(cluster.contents()? == expected, "{case}");
                    // What was restored is the base of what comes, and restores again.
                    cluster.take(&Taking::full(&storage, id).incremental(&shared))?;
                }
                model.fill(KEYS / 2)?;
                cluster.fill(KEYS / 2)?;
                assert!(cluster.contents()? == model.contents()?, "{case}, written to");
            }
        }
    }
    Ok(())
}

#[test]
fn a_checkpoint_of_nothing_but_deletions_brings_nothing_back() -> Fallible<()> {
    let max = MaxParallelism::new(32)?;
    let state = tempfile::tempdir()?;
    for factory in native_factories(state.path())? {
        for q in [2, 3] {
            let folder = tempfile::tempdir()?;
            let storage = CheckpointStorage::new(Arc::new(LocalStore::create(folder.path())?));
            let shared = storage.open_shared_files(RegistrySettings::default())?;
            let mut cluster = Cluster::open(factory.as_ref(), max, 2)?;
            cluster.put_blob(b"gone soon")?;
            cluster.take(&Taking::full(&storage, 1).incremental(&shared))?;
            let before = cluster.contents()?.len();
            cluster.delete_half_the_blobs()?;
            cluster.take(&Taking::full(&storage, 2).incremental(&shared))?;
            let left = cluster.contents()?;
            assert_eq!(left.len(), before / 2, "{}", factory.name());
            let mut restored = Cluster::restore(factory.as_ref(), &storage, max, q)?;
            assert_eq!(restored.contents()?, left, "{} at {q}", factory.name());
        }
    }
    Ok(())
}
