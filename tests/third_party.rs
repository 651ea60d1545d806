//! The conformance kit as the author of another backend uses it: the backend of `redb_backend.rs`
//! passes every behaviour, random operations, and checkpoints on a store that fails at any call.
//! `docs/writing-a-backend.md` goes through it.

#![allow(clippy::panic, reason = "this is all test: a panic is how it reports")]

mod redb_backend;

use std::sync::Arc;

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::MaxParallelism;
use millpond_storage::{MemoryStore, Store};
use millpond_testkit::double::{FaultPlan, FaultStore, FaultTime};
use millpond_testkit::{ops, typed_ops};
use millpond_tests::{Cluster, Fallible};

use self::redb_backend::RedbFactory;

/// One test for each behaviour.
mod conformance {
    use millpond_testkit::conformance::backend::Capabilities;

    millpond_testkit::backend_conformance!(
        super::RedbFactory,
        Capabilities::all().without_reports_memory()
    );
}

#[test]
fn random_operations_agree_with_the_model() {
    for seed in 0..10 {
        ops::run_model_test(&RedbFactory, seed, 60).unwrap_or_else(|failure| panic!("{failure}"));
        typed_ops::run_model_test(&RedbFactory, seed, 60)
            .unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// Its checkpoints are those of any backend: another one restores them, at another parallelism, and
/// one that dies at any call to its store leaves the one before.
#[test]
fn checkpoints_survive_a_failing_store_and_restore_into_another_backend() -> Fallible<()> {
    let max = MaxParallelism::new(16)?;
    let memory = MemoryBackendFactory::new(MemoryOptions::new());
    for skip in 0..20 {
        let store = Arc::new(FaultStore::new(MemoryStore::new()));
        let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
        let mut cluster = Cluster::open(&RedbFactory, max, 2)?;
        cluster.fill(10)?;
        cluster.checkpoint(&storage, 1, 1)?;
        let first = cluster.contents()?;
        cluster.fill(20)?;
        let second = cluster.contents()?;
        store.set_plan(FaultPlan::after(skip, FaultTime::Before).lasting());
        let completed = cluster.checkpoint(&storage, 2, 1).is_ok();
        store.clear_plan();
        let mut restored = Cluster::restore_whole(&memory, &storage, max, 3)?;
        assert!(restored.checkpoint == 2 || !completed, "call {skip}: checkpoint 2 is lost");
        let expected = if restored.checkpoint == 2 { &second } else { &first };
        assert!(restored.cluster.contents()? == *expected, "call {skip}");
    }
    Ok(())
}
