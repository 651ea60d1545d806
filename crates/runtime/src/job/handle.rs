//! Watching and steering a running job.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::graph::JobGraph;

/// What another thread asks of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// End with a last checkpoint.
    Stop,
    /// Take a checkpoint now.
    Checkpoint,
    /// Look at the clock again.
    ClockMoved,
}

/// Watches and steers a job from any thread. Clones refer to the same job.
#[derive(Clone, Debug)]
pub struct JobHandle {
    requests: Sender<Request>,
    records: Arc<Vec<(String, Arc<AtomicU64>)>>,
    late_records: Arc<AtomicU64>,
}

impl JobHandle {
    pub(super) fn new(graph: &JobGraph) -> (Self, Receiver<Request>) {
        let (requests, receiver) = unbounded();
        let records = graph
            .vertices()
            .iter()
            .map(|vertex| (vertex.name.clone(), Arc::clone(&vertex.records)))
            .collect();
        let late_records = Arc::clone(graph.late_records());
        (Self { requests, records: Arc::new(records), late_records }, receiver)
    }

    /// Asks the job to stop reading, take a last checkpoint and end. A job that is over ignores it.
    pub fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
    }

    /// Asks for a checkpoint now; the listener hears how it ends.
    pub fn trigger_checkpoint(&self) {
        let _ = self.requests.send(Request::Checkpoint);
    }

    /// Makes the job look at its [clock](crate::JobEnvironment::clock) at once, so that timers of
    /// processing time fire that have become due. Of use only with a clock that is moved by hand:
    /// the job waits as long as the clock said when it last looked, in real time.
    pub fn clock_moved(&self) {
        let _ = self.requests.send(Request::ClockMoved);
    }

    /// Records that the vertex called `vertex` has taken in (a source: has read) in this run, over
    /// all its subtasks and attempts; records replayed after a failure count again. `None` for an
    /// unknown name.
    #[must_use]
    pub fn records(&self, vertex: &str) -> Option<u64> {
        let (_, records) = self.records.iter().find(|(name, _)| name == vertex)?;
        Some(records.load(Ordering::Relaxed))
    }

    /// Records left out so far because their window had closed before they came.
    #[must_use]
    pub fn late_records(&self) -> u64 {
        self.late_records.load(Ordering::Relaxed)
    }
}
