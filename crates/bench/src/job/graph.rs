//! The job on the runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_runtime::sink::{PreCommit, RecoverySummary, Sink, SinkFactory, SinkRecovery};
use millpond_runtime::{
    Job, JobEnvironment, JobGraph, JobListener, JobSettings, KeyedBatch, KeyedOperator,
    OpenContext, OperatorContext, RestartStrategy, Result, Source, SourceStatus, StartFrom,
    Timestamp,
};
use millpond_state::seam::Clock;
use millpond_state::{AttemptId, BackendFactory, CheckpointId, ValueState};

use super::{JobOptions, Keys};
use crate::backends::max_parallelism;

/// What opens backends, where checkpoints go, and what time it is.
type Places = (Arc<dyn BackendFactory>, CheckpointStorage, Arc<dyn Clock>);

/// Runs the job to its end and returns the sum of all counts.
///
/// # Errors
/// Why it failed. It is not restarted: a run that did work twice measures nothing.
pub(super) fn run(
    options: &JobOptions,
    (backends, storage, clock): Places,
    listener: Arc<dyn JobListener>,
) -> crate::Result<u64> {
    let mut settings = JobSettings::new("bench", max_parallelism()?);
    settings.checkpoints.interval_ms = options.interval_ms;
    settings.incremental = options.incremental;
    settings.restart = RestartStrategy::Never;
    let mut graph = JobGraph::new(settings);
    let (options, parallelism) = (*options, options.parallelism);
    let keys = graph.source("keys", parallelism, move |cx| Ok(Keys::new(&options, cx.index)));
    let functions = (|key: &u64| Some(*key), |key: &u64| *key, |_| Ok(Count::default()));
    let counts = graph.keyed("count", parallelism, &keys, functions);
    let adder = Adder::default();
    graph.sink(&counts, "sum", adder.clone());
    let environment = JobEnvironment { storage: Arc::new(storage), backends, clock, listener };
    Job::new(graph, environment)?.run(StartFrom::Beginning)?;
    Ok(adder.0.load(Ordering::Relaxed))
}

impl Source for Keys {
    type Record = u64;
    type Position = u64;

    fn restore(&mut self, _positions: Vec<u64>) -> Result<()> {
        Ok(())
    }

    fn poll(&mut self, out: &mut Vec<u64>, records_max: usize) -> Result<SourceStatus> {
        while out.len() < records_max {
            match self.next_key() {
                Some(key) => out.push(key),
                None => return Ok(SourceStatus::End),
            }
        }
        Ok(SourceStatus::Ready)
    }

    fn watermark(&self) -> Option<Timestamp> {
        None
    }

    fn positions(&mut self) -> Result<Vec<u64>> {
        Ok(vec![self.left])
    }
}

/// Counts records by key and emits each new count.
#[derive(Default)]
struct Count {
    state: Option<ValueState<u64, u64>>,
}

impl KeyedOperator for Count {
    type In = u64;
    type Key = u64;
    type Out = u64;
    type Side = ();
    type TimerNamespace = ();

    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.state = Some(ValueState::register(cx.backend(), "count")?);
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, u64>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        let mut counts = [0u64; KeyedBatch::<u64>::RECORDS_MAX];
        let mut slots = counts.iter_mut();
        state.update_many(cx.backend(), batch.entries(), |_, count| {
            let next = count.unwrap_or(0) + 1;
            if let Some(slot) = slots.next() {
                *slot = next;
            }
            Some(next)
        })?;
        cx.emit_all(counts.get(..batch.len()).unwrap_or_default())
    }
}

/// A sink that adds up what it gets.
#[derive(Clone, Default)]
struct Adder(Arc<AtomicU64>);

struct AdderSink {
    total: Arc<AtomicU64>,
    sum: u64,
}

impl Sink<u64> for AdderSink {
    fn write(&mut self, record: &u64) -> Result<()> {
        self.sum = self.sum.wrapping_add(*record);
        Ok(())
    }

    fn pre_commit(&mut self, _checkpoint: CheckpointId) -> Result<PreCommit> {
        Ok(Box::new(|| Ok(Vec::new())))
    }

    fn commit(&mut self, _checkpoint: CheckpointId) -> Result<()> {
        self.total.fetch_add(std::mem::take(&mut self.sum), Ordering::Relaxed);
        Ok(())
    }
}

impl SinkRecovery for Adder {
    fn recover(
        &self,
        _restored: Option<CheckpointId>,
        _committables: &[Vec<u8>],
    ) -> Result<RecoverySummary> {
        Ok(RecoverySummary::default())
    }
}

impl SinkFactory<u64> for Adder {
    fn open(&self, _attempt: AttemptId, _subtask: u32) -> Result<Box<dyn Sink<u64>>> {
        Ok(Box::new(AdderSink { total: Arc::clone(&self.0), sum: 0 }))
    }
}
