//! Any sequence of checkpoints, full and incremental, on a store of which any call fails, before or
//! after its effect, each failure followed by a crash: every acknowledged checkpoint that was not
//! given up stays whole, and a restore gives the state of the newest one.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use millpond_checkpoint::driver::{CheckpointStorage, SharedFiles};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::{CheckpointId, MaxParallelism};
use millpond_storage::{MemoryStore, Store};
use millpond_testkit::double::{FaultPlan, FaultStore, FaultTime};
use millpond_testkit::entries::LogicalState;
use millpond_tests::{Cluster, Fallible, Taking};

#[derive(Arbitrary, Debug)]
enum Step {
    Fill(u8),
    Take {
        incremental: bool,
    },
    DiscardOldest,
    CollectGarbage,
    /// From now on the call after so many fails.
    Fail {
        skip: u8,
        after: bool,
        lasting: bool,
    },
    Crash {
        parallelism: u8,
    },
}

struct World {
    store: Arc<FaultStore>,
    storage: CheckpointStorage,
    shared: SharedFiles,
    cluster: Cluster,
    /// What every checkpoint that was begun stands for.
    begun: BTreeMap<u64, LogicalState>,
    acknowledged: Vec<u64>,
}

fn factory() -> MemoryBackendFactory {
    MemoryBackendFactory::new(MemoryOptions::new())
}

fn max() -> Fallible<MaxParallelism> {
    Ok(MaxParallelism::new(8)?)
}

impl World {
    fn new() -> Fallible<Self> {
        let store = Arc::new(FaultStore::new(MemoryStore::new()));
        let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
        let shared = storage.open_shared_files(RegistrySettings::default())?;
        let cluster = Cluster::open(&factory(), max()?, 2)?;
        let (begun, acknowledged) = (BTreeMap::new(), Vec::new());
        Ok(Self { store, storage, shared, cluster, begun, acknowledged })
    }

    fn step(&mut self, step: &Step) -> Fallible<()> {
        match *step {
            Step::Fill(keys) => self.cluster.fill(u64::from(keys % 6)),
            Step::Take { incremental } => self.take(incremental),
            Step::DiscardOldest if self.acknowledged.len() > 1 => {
                let oldest = CheckpointId::new(self.acknowledged.remove(0));
                self.shared.with(|files| files.discard(oldest));
                if self.shared.collect_deletions() {
                    self.storage.execute_deletions(&self.shared)?;
                }
                Ok(())
            }
            Step::DiscardOldest => Ok(()),
            Step::CollectGarbage => {
                // A memory store does not know when objects were written: nothing is old enough.
                let garbage = self.storage.find_garbage(u64::MAX, 0)?;
                self.storage.delete_garbage(&garbage)?;
                Ok(())
            }
            Step::Fail { skip, after, lasting } => {
                let time = if after { FaultTime::After } else { FaultTime::Before };
                let plan = FaultPlan::after(u64::from(skip % 32), time);
                self.store.set_plan(if lasting { plan.lasting() } else { plan });
                Ok(())
            }
            Step::Crash { parallelism } => self.crash(u32::from(parallelism % 4) + 1),
        }
    }

    fn take(&mut self, incremental: bool) -> Fallible<()> {
        let id = self.storage.next_id()?.get();
        self.begun.insert(id, self.cluster.contents()?);
        let taking = Taking::full(&self.storage, id);
        let shared = &self.shared;
        self.cluster.take(&if incremental { taking.incremental(shared) } else { taking })?;
        self.acknowledged.push(id);
        if !incremental {
            // The registry learns of full checkpoints when the next process begins.
            self.crash(2)?;
        }
        Ok(())
    }

    /// Everything in memory is lost; the next process checks what it finds and goes on.
    fn crash(&mut self, parallelism: u32) -> Fallible<()> {
        self.store.clear_plan();
        let found = self.storage.list()?;
        let ids: Vec<u64> = found.iter().map(|found| found.id.get()).collect();
        for checkpoint in &found {
            let report = checkpoint.folder.verify()?;
            let known = self.acknowledged.contains(&checkpoint.id.get());
            assert!(report.is_whole() || !known, "{}: {:?}", checkpoint.id, report.damage);
        }
        for id in &self.acknowledged {
            assert!(ids.contains(id), "acknowledged checkpoint {id} is lost: {ids:?}");
        }
        self.storage.remove_incomplete(self.storage.next_id()?)?;
        self.shared = self.storage.open_shared_files(RegistrySettings::default())?;
        self.cluster = match ids.last() {
            None => Cluster::open(&factory(), max()?, parallelism)?,
            Some(_) => {
                let mut restored =
                    Cluster::restore_whole(&factory(), &self.storage, max()?, parallelism)?;
                let newest = self.acknowledged.last().copied().unwrap_or(0);
                assert!(restored.checkpoint >= newest, "{} < {newest}", restored.checkpoint);
                let contents = restored.cluster.contents()?;
                let expected = self.begun.get(&restored.checkpoint);
                assert!(expected == Some(&contents), "not the state of {}", restored.checkpoint);
                restored.cluster
            }
        };
        self.acknowledged = ids;
        Ok(())
    }
}

fn run(steps: &[Step]) -> Fallible<()> {
    let mut world = World::new()?;
    for step in steps {
        if let Err(error) = world.step(step) {
            // Only a planned failure is one.
            assert!(world.store.has_fired(), "{error}");
            world.crash(2)?;
        }
    }
    world.crash(3)
}

fuzz_target!(|steps: Vec<Step>| {
    let steps = &steps[..steps.len().min(40)];
    if let Err(error) = run(steps) {
        panic!("{error}");
    }
});
