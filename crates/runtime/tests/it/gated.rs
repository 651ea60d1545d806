//! Pieces for jobs whose course a test steers: a source that yields as much as it is allowed to,
//! and a sink that lists what was committed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_memory::MemoryBackendFactory;
use millpond_runtime::sink::{PreCommit, RecoverySummary, Sink, SinkFactory, SinkRecovery};
use millpond_runtime::{
    Job, JobEnvironment, JobGraph, JobHandle, JobReport, JobSettings, QuietListener, Result,
    Source, SourceStatus, StartFrom, Timestamp,
};
use millpond_state::seam::{Clock, SystemClock};
use millpond_state::{AttemptId, CheckpointId, MaxParallelism};
use millpond_storage::MemoryStore;

/// How many records a source may yield.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<AtomicU64>);

impl Gate {
    pub(crate) fn open_to(&self, records: u64) {
        self.0.store(records, Ordering::SeqCst);
    }
}

/// Yields a list, one by one, as far as its gate is open; then the watermark is the latest time.
pub(crate) struct Gated<T> {
    pub(crate) items: Arc<Vec<T>>,
    pub(crate) gate: Gate,
    pub(crate) time: fn(&T) -> Option<i64>,
    pub(crate) next: u64,
}

impl<T> Gated<T> {
    pub(crate) fn new(items: &Arc<Vec<T>>, gate: &Gate, time: fn(&T) -> Option<i64>) -> Self {
        Self { items: Arc::clone(items), gate: gate.clone(), time, next: 0 }
    }
}

impl<T: Clone + Send + Sync> Source for Gated<T> {
    type Record = T;
    type Position = u64;

    fn restore(&mut self, positions: Vec<u64>) -> Result<()> {
        self.next = positions.first().copied().unwrap_or(self.items.len() as u64);
        Ok(())
    }

    fn poll(&mut self, out: &mut Vec<T>, _records_max: usize) -> Result<SourceStatus> {
        if self.next == self.items.len() as u64 {
            return Ok(SourceStatus::End);
        }
        if self.next >= self.gate.0.load(Ordering::SeqCst) {
            return Ok(SourceStatus::Idle(Duration::from_millis(1)));
        }
        out.push(self.items[self.next as usize].clone());
        self.next += 1;
        Ok(SourceStatus::Ready)
    }

    fn watermark(&self) -> Option<Timestamp> {
        let yielded = &self.items[..self.next as usize];
        yielded.iter().filter_map(self.time).max().map(Timestamp::from_ms)
    }

    fn positions(&mut self) -> Result<Vec<u64>> {
        Ok(vec![self.next])
    }
}

/// Lists what was committed. What was written and not committed is forgotten with the attempt, as
/// it would be with a process that dies.
pub(crate) struct Committed<T>(pub(crate) Arc<Mutex<Vec<T>>>);

impl<T> Clone for Committed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Committed<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Ord> Committed<T> {
    pub(crate) fn sorted(&self) -> Vec<T> {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap());
        all.sort_unstable();
        all
    }
}

struct CommittedSink<T> {
    committed: Committed<T>,
    written: Vec<T>,
    prepared: Vec<T>,
}

impl<T: Clone + Send> Sink<T> for CommittedSink<T> {
    fn write(&mut self, record: &T) -> Result<()> {
        self.written.push(record.clone());
        Ok(())
    }

    fn pre_commit(&mut self, _: CheckpointId) -> Result<PreCommit> {
        self.prepared.append(&mut self.written);
        Ok(Box::new(|| Ok(Vec::new())))
    }

    fn commit(&mut self, _: CheckpointId) -> Result<()> {
        // With one checkpoint at a time nothing was prepared for a later one.
        self.committed.0.lock().unwrap().append(&mut self.prepared);
        Ok(())
    }
}

impl<T: Send> SinkRecovery for Committed<T> {
    fn recover(&self, _: Option<CheckpointId>, _: &[Vec<u8>]) -> Result<RecoverySummary> {
        Ok(RecoverySummary::default())
    }
}

impl<T: Clone + Send + 'static> SinkFactory<T> for Committed<T> {
    fn open(&self, _: AttemptId, _: u32) -> Result<Box<dyn Sink<T>>> {
        let (written, prepared) = (Vec::new(), Vec::new());
        Ok(Box::new(CommittedSink { committed: self.clone(), written, prepared }))
    }
}

/// A graph that takes checkpoints only when asked to, and in the end.
pub(crate) fn graph(name: &str) -> JobGraph {
    let mut settings = JobSettings::new(name, MaxParallelism::new(16).unwrap());
    settings.checkpoints.interval_ms = None;
    // Clocks that are moved by hand by hours must not time the last checkpoint out.
    settings.checkpoints.timeout_ms = 30 * 24 * 3_600_000;
    JobGraph::new(settings)
}

pub(crate) fn storage() -> Arc<CheckpointStorage> {
    Arc::new(CheckpointStorage::new(Arc::new(MemoryStore::new())))
}

/// Runs a job while `steer` steers it.
pub(crate) fn run(
    graph: JobGraph,
    storage: &Arc<CheckpointStorage>,
    start: StartFrom,
    steer: impl FnOnce(&JobHandle),
) -> JobReport {
    run_by(Arc::new(SystemClock::new()), graph, storage, start, steer)
}

pub(crate) fn run_by(
    clock: Arc<dyn Clock>,
    graph: JobGraph,
    storage: &Arc<CheckpointStorage>,
    start: StartFrom,
    steer: impl FnOnce(&JobHandle),
) -> JobReport {
    let environment = JobEnvironment {
        storage: Arc::clone(storage),
        backends: Arc::new(MemoryBackendFactory::default()),
        clock,
        listener: Arc::new(QuietListener),
    };
    let job = Job::new(graph, environment).unwrap();
    let handle = job.handle();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| job.run(start));
        steer(&handle);
        run.join().unwrap().unwrap()
    })
}
