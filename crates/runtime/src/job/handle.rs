//! Watching and steering a running job.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use millpond_state::CheckpointId;

use crate::error::{JobError, JobErrorKind, Result};
use crate::graph::JobGraph;

/// A savepoint that exists: a canonical, self-contained snapshot that belongs to the user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Savepoint {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// Its folder.
    pub url: String,
    /// Bytes of state written for it.
    pub bytes: u64,
}

/// Where the answer to a savepoint's request goes.
pub(super) type SavepointAnswer = Sender<Result<Savepoint>>;

/// A savepoint that was asked for. Dropped, the savepoint is taken all the same.
#[derive(Debug)]
pub struct PendingSavepoint {
    answer: Receiver<Result<Savepoint>>,
}

impl PendingSavepoint {
    /// Waits for the savepoint to exist, at most so long.
    ///
    /// # Errors
    /// [`JobErrorKind::Cancelled`] if the job ended or failed before; [`JobErrorKind::State`] if
    /// the savepoint was refused or came to nothing, or if the time is over: it may then complete
    /// later.
    pub fn wait(self, timeout: Duration) -> Result<Savepoint> {
        match self.answer.recv_timeout(timeout) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(JobError::new(
                JobErrorKind::State,
                format!("the savepoint is not complete after {timeout:?}; it may be later"),
            )),
            Err(RecvTimeoutError::Disconnected) => Err(job_over()),
        }
    }
}

#[cold]
pub(super) fn job_over() -> JobError {
    JobError::new(JobErrorKind::Cancelled, "the job ended or failed before the savepoint was taken")
}

/// What another thread asks of a job.
#[derive(Debug)]
pub(super) enum Request {
    /// End with a last checkpoint.
    Stop,
    /// Take a checkpoint now.
    Checkpoint,
    /// Take a savepoint; with `stop`, of all that was read when the job was told to end.
    Savepoint { stop: bool, answer: SavepointAnswer },
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

    /// Asks for a savepoint in the job's checkpoint storage: canonical, whatever the settings say,
    /// so that any backend restores it; self-contained; and neither subsumed nor ever deleted by
    /// the job. With `stop` the job reads no more input, takes the savepoint and ends as after
    /// [`Self::stop`], also if the savepoint comes to nothing.
    #[must_use]
    pub fn savepoint(&self, stop: bool) -> PendingSavepoint {
        let (sender, answer) = bounded(1);
        // A job that is over drops the sender, which is an answer, too.
        let _ = self.requests.send(Request::Savepoint { stop, answer: sender });
        PendingSavepoint { answer }
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
