//! A thin, barrier-driven stream runtime over Millpond state backends, for jobs on one machine.
//!
//! - A [`JobGraph`] has sources, stateless and keyed operators, and sinks; each vertex has its own
//!   parallelism. Every subtask is a thread; bounded channels carry batches between them, so a slow
//!   consumer slows its producers.
//! - Barriers and watermarks travel in band. Barriers are aligned by pure state machines
//!   ([`barrier`]); a snapshot's asynchronous part runs on a pool of threads.
//! - Keyed records go to the subtask that owns their key group, and reach the operator in batches
//!   with the addresses of their keys, ready for batched state access.
//! - Operators have [timers](OperatorTimers) of event and processing time, on top of them
//!   [windows](WindowOperator), a side output, and a [second input](BroadcastOperator) that goes to
//!   all subtasks. A [`harness`] drives an operator without a job.
//! - Sinks commit in two phases ([`sink`]); with a source that can be read again from a position,
//!   every record is in the output exactly once, whatever process or machine dies.
//! - A [`Job`] restarts after failures as its [`RestartStrategy`] says, from the newest whole
//!   checkpoint, and can be restored at another parallelism.
//!
//! The runtime never names a backend or a store: the caller brings both. Engines with a runtime of
//! their own embed `millpond-state`, `millpond-snapshot`, `millpond-storage` and
//! `millpond-checkpoint` without this crate.
//!
//! ```
//! use std::sync::Arc;
//!
//! use millpond_checkpoint::driver::CheckpointStorage;
//! use millpond_memory::MemoryBackendFactory;
//! use millpond_runtime::{
//!     Job, JobEnvironment, JobGraph, JobOutcome, JobSettings, KeyedBatch, KeyedOperator,
//!     OpenContext, OperatorContext, QuietListener, Result, Source, SourceStatus, StartFrom,
//!     Timestamp,
//! };
//! use millpond_state::seam::SystemClock;
//! use millpond_state::{MaxParallelism, ReducingState};
//! use millpond_storage::MemoryStore;
//!
//! /// Yields the numbers from 0 to 999.
//! struct Numbers(u64);
//! impl Source for Numbers {
//!     type Record = u64;
//!     type Position = u64;
//!     fn restore(&mut self, positions: Vec<u64>) -> Result<()> {
//!         self.0 = positions.first().copied().unwrap_or(1_000);
//!         Ok(())
//!     }
//!     fn poll(&mut self, out: &mut Vec<u64>, records_max: usize) -> Result<SourceStatus> {
//!         let end = 1_000.min(self.0 + records_max as u64);
//!         out.extend(self.0..end);
//!         self.0 = end;
//!         Ok(if end == 1_000 { SourceStatus::End } else { SourceStatus::Ready })
//!     }
//!     fn watermark(&self) -> Option<Timestamp> {
//!         None
//!     }
//!     fn positions(&mut self) -> Result<Vec<u64>> {
//!         Ok(vec![self.0])
//!     }
//! }
//!
//! /// Adds up the numbers of each key.
//! #[derive(Default)]
//! struct Sums(Option<ReducingState<u64, u64>>);
//! impl KeyedOperator for Sums {
//!     type In = u64;
//!     type Key = u64;
//!     type Out = u64;
//!     type Side = ();
//!     type TimerNamespace = ();
//!     fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
//!         self.0 = Some(ReducingState::register(cx.backend(), "sum", |a, b| a + b)?);
//!         Ok(())
//!     }
//!     fn process(
//!         &mut self,
//!         batch: &KeyedBatch<'_, u64>,
//!         cx: &mut OperatorContext<'_, Self>,
//!     ) -> Result<()> {
//!         if let Some(sum) = &self.0 {
//!             let number = |index| batch.record(index).copied().unwrap_or(0);
//!             sum.add_many(cx.backend(), batch.entries(), number)?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let mut graph = JobGraph::new(JobSettings::new("sums", MaxParallelism::new(128)?));
//! let numbers = graph.source("numbers", 1, |_| Ok(Numbers(0)));
//! let by_last_digit = (|n: &u64| Some(*n), |n: &u64| n % 10, |_| Ok(Sums::default()));
//! graph.keyed("sums", 2, &numbers, by_last_digit);
//! let environment = JobEnvironment {
//!     storage: Arc::new(CheckpointStorage::new(Arc::new(MemoryStore::new()))),
//!     backends: Arc::new(MemoryBackendFactory::default()),
//!     clock: Arc::new(SystemClock::new()),
//!     listener: Arc::new(QuietListener),
//! };
//! let report = Job::new(graph, environment)?.run(StartFrom::Beginning)?;
//! assert_eq!(report.outcome, JobOutcome::Finished);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod barrier;
mod channel;
mod error;
mod graph;
pub mod harness;
mod job;
mod operator;
mod output;
mod restart;
mod settings;
pub mod sink;
mod source;
mod task;
mod threads;
mod watermark;

pub use error::{JobError, JobErrorKind, Result};
pub use graph::{JobGraph, Stream, SubtaskContext, TimestampOf};
pub use job::{
    Job, JobEnvironment, JobHandle, JobListener, JobNotice, JobOutcome, JobReport,
    PendingSavepoint, QuietListener, Savepoint, StartFrom,
};
pub use operator::{
    BroadcastOperator, KeyedBatch, KeyedOperator, OpenContext, OperatorContext, OperatorTimers,
    Timer, Window, WindowAggregate, WindowList, WindowOperator, WindowReduce, WindowResult,
    WindowState, WindowTime, Windows,
};
pub use output::Collector;
pub use restart::{RestartDecision, RestartPolicy, RestartStrategy};
pub use settings::JobSettings;
pub use source::{Source, SourceStatus};
pub use watermark::{Timestamp, WatermarkTracker};
