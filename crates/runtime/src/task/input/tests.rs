//! What a subtask does when its neighbours end before it.

#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use std::convert::Infallible;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use crossbeam_channel::{bounded, unbounded};
use millpond_checkpoint::driver::CheckpointStorage;
use millpond_checkpoint::registry::RegistrySettings;
use millpond_memory::MemoryBackendFactory;
use millpond_state::seam::ManualClock;
use millpond_state::{AttemptId, MaxParallelism, SubtaskId};
use millpond_storage::MemoryStore;

use super::*;
use crate::output::Outputs;
use crate::sink::{PreCommit, Sink};
use crate::threads::Pool;

/// Takes nothing and does nothing.
struct Idle;

impl InputOperator for Idle {
    type In = u64;
    type Broadcast = Infallible;
    type Out = u64;
    type Side = Infallible;

    fn on_batch(&mut self, _: Vec<u64>, _: &mut VertexOutputs<u64, Infallible>) -> Result<()> {
        Ok(())
    }

    fn on_broadcast(
        &mut self,
        _: Vec<Infallible>,
        _: &mut VertexOutputs<u64, Infallible>,
    ) -> Result<()> {
        Ok(())
    }

    fn on_watermark(&mut self, _: Timestamp, _: &mut VertexOutputs<u64, Infallible>) -> Result<()> {
        Ok(())
    }

    fn next_wake_ms(&self) -> Option<i64> {
        None
    }

    fn on_wake(&mut self, _: &mut VertexOutputs<u64, Infallible>) -> Result<()> {
        Ok(())
    }

    fn on_end(&mut self, _: &mut VertexOutputs<u64, Infallible>) -> Result<()> {
        Ok(())
    }

    fn snapshot(&mut self, _: &SnapshotRequest) -> Result<FrozenState> {
        Ok(FrozenState::default())
    }

    fn on_completed(&mut self, _: CheckpointId) {}

    fn on_aborted(&mut self, _: CheckpointId) {}
}

/// Notes what is committed.
struct Noting(Arc<Mutex<Vec<CheckpointId>>>);

impl Sink<u64> for Noting {
    fn write(&mut self, _: &u64) -> Result<()> {
        Ok(())
    }

    fn pre_commit(&mut self, _: CheckpointId) -> Result<PreCommit> {
        Ok(Box::new(|| Ok(Vec::new())))
    }

    fn commit(&mut self, checkpoint: CheckpointId) -> Result<()> {
        self.0.lock().unwrap().push(checkpoint);
        Ok(())
    }
}

#[test]
fn a_commit_that_the_job_has_ordered_is_carried_out_though_the_neighbours_have_ended() {
    let checkpoint = CheckpointId::new(7);
    let pool = Pool::new("pool", 1).unwrap();
    // Which of several ready channels is read first is left to chance: try often.
    for _ in 0..100 {
        let (control, orders) = unbounded();
        let (events, reports) = unbounded();
        for order in
            [Control::Start, Control::Completed { checkpoint, commit: true }, Control::Stop]
        {
            control.send(order).unwrap();
        }
        let storage = Arc::new(CheckpointStorage::new(Arc::new(MemoryStore::new())));
        let shared = storage.open_shared_files(RegistrySettings::default()).unwrap();
        let env = SubtaskEnv {
            id: SubtaskId::new("idle", 0),
            parallelism: 1,
            max_parallelism: MaxParallelism::new(8).unwrap(),
            attempt: AttemptId::new(1),
            mode: CheckpointMode::ExactlyOnce,
            batch_records: 1,
            compression_level: 0,
            control: orders,
            events,
            pool: pool.handle(),
            cancels: Arc::default(),
            storage,
            shared: Arc::new(shared),
            incremental: false,
            backends: Arc::new(MemoryBackendFactory::default()),
            clock: Arc::new(ManualClock::new()),
            records: Arc::new(AtomicU64::new(0)),
            late_records: Arc::new(AtomicU64::new(0)),
        };
        let committed = Arc::default();
        let sink: Box<dyn Sink<u64>> = Box::new(Noting(Arc::clone(&committed)));
        let main = Outputs::new(Vec::new(), vec![("noting".to_owned(), sink)]);
        let outputs = VertexOutputs { main, side: Outputs::none() };
        let (neighbour, input) = bounded(1);
        drop(neighbour);
        let ended = run_operator(env, Inputs::of(vec![input]), Idle, outputs, true);
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(*committed.lock().unwrap(), [checkpoint]);
        drop(reports);
    }
}
