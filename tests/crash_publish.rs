//! A checkpoint that dies at any call to its store, before or after the call's effect, leaves the
//! checkpoint before it whole, and is itself either whole or not there; one that is cancelled
//! leaves nothing.

use std::sync::Arc;

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::{BackendFactory, CheckpointId, MaxParallelism};
use millpond_storage::{MemoryStore, Store};
use millpond_testkit::double::{FaultPlan, FaultStore, FaultTime};
use millpond_testkit::entries::LogicalState;
use millpond_testkit::model::ModelFactory;
use millpond_tests::{Cluster, Fallible};

/// Takes checkpoint 1, then checkpoint 2 of more state with a store that fails after `skip` calls
/// and for ever after. Says whether it failed at all, and what may be restored afterwards.
fn die_after(skip: u64, time: FaultTime) -> Fallible<bool> {
    let factory = MemoryBackendFactory::new(MemoryOptions::new());
    let max = MaxParallelism::new(16)?;
    let store = Arc::new(FaultStore::new(MemoryStore::new()));
    let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
    let mut cluster = Cluster::open(&factory, max, 2)?;
    cluster.fill(20)?;
    cluster.checkpoint(&storage, 1, 1)?;
    let first: LogicalState = cluster.contents()?;
    cluster.fill(40)?;
    let second: LogicalState = cluster.contents()?;

    store.set_plan(FaultPlan::after(skip, time).lasting());
    let published = cluster.checkpoint(&storage, 2, 1).is_ok();
    let failed = store.has_fired();
    assert!(!published || !failed, "a failed call must not count as a success");
    store.clear_plan();

    let case = format!("dead after {skip} calls, {time:?} the effect");
    let mut found = Vec::new();
    for checkpoint in storage.list()? {
        assert!(checkpoint.folder.verify()?.is_whole(), "{case}: {}", checkpoint.id);
        found.push(checkpoint.id.get());
    }
    assert!(found == [1] || found == [1, 2], "{case}: found {found:?}");
    assert!(found.len() == 2 || !published, "{case}: an acknowledged checkpoint is lost");
    let newest = if found.len() == 2 { &second } else { &first };
    let restored = Cluster::restore(&factory, &storage, max, 3)?.contents()?;
    assert!(restored == *newest, "{case}: the wrong state was restored");

    // The next owner of the storage clears up; its numbers go on above everything used.
    storage.remove_incomplete(storage.next_id()?)?;
    let left = storage.list()?.len();
    assert_eq!(left, found.len(), "{case}: clearing up took a checkpoint away");
    let objects = store.list(None)?.len();
    assert_eq!(objects, 3 * left, "{case}: garbage is left, or state is missing");
    assert!(storage.next_id()? > CheckpointId::new(found.len() as u64), "{case}");
    Ok(failed)
}

#[test]
fn a_checkpoint_that_dies_at_any_call_is_whole_or_not_there() -> Fallible<()> {
    for time in [FaultTime::Before, FaultTime::After] {
        let mut calls = 0;
        while die_after(calls, time)? {
            calls += 1;
        }
        assert!(calls >= 6, "only {calls} calls to the store were tried");
    }
    Ok(())
}

#[test]
fn a_cancelled_snapshot_leaves_no_file() -> Fallible<()> {
    let factories: [Box<dyn BackendFactory>; 2] =
        [Box::new(MemoryBackendFactory::new(MemoryOptions::new())), Box::new(ModelFactory)];
    for factory in factories {
        let store = Arc::new(MemoryStore::new());
        let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
        let mut cluster = Cluster::open(factory.as_ref(), MaxParallelism::new(16)?, 1)?;
        // More entries than a task may write before it notices.
        cluster.fill(1_600)?;
        cluster.checkpoint(&storage, 1, 0)?;
        let before = store.list(None)?.len();
        for (id, entries_before) in [(2, 0), (3, 1), (4, 2_000)] {
            let cancelled = cluster.cancel_checkpoint(&storage, id, entries_before)?;
            assert_eq!(cancelled, 1, "{}: not cancelled", factory.name());
            assert_eq!(store.list(None)?.len(), before, "{}: a file is left", factory.name());
        }
        cluster.checkpoint(&storage, 5, 0)?;
    }
    Ok(())
}
