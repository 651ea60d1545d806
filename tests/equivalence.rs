//! A snapshot of any backend at any parallelism restores into any other at any other, through the
//! real files, with the same state.

use std::path::Path;
use std::sync::Arc;

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_fs::{FsBackendFactory, FsOptions};
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::{BackendFactory, MaxParallelism};
use millpond_storage::LocalStore;
use millpond_testkit::model::ModelFactory;
use millpond_tests::{Cluster, Fallible};

const PARALLELISMS: [u32; 5] = [1, 2, 3, 7, 8];
const KEYS: u64 = 300;

/// Every backend that needs no C++ library, and the model that they are held against. State in
/// files goes below `state`, and is written and compacted all the time.
fn factories(state: &Path) -> Fallible<Vec<Box<dyn BackendFactory>>> {
    let files = FsOptions::new(state).with_segment_bytes(8 << 10).with_tail_bytes(16 << 10);
    Ok(vec![
        Box::new(MemoryBackendFactory::new(MemoryOptions::new())),
        Box::new(FsBackendFactory::new(files)?),
        Box::new(ModelFactory),
    ])
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
