//! A thin, barrier-driven stream runtime over Millpond state backends: threads for subtasks, bounded
//! channels of batches, keyed exchange by key group, aligned checkpoints, two-phase-commit sinks,
//! restarts.
pub mod barrier;
mod channel;
mod error;
mod graph;
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
    Job, JobEnvironment, JobHandle, JobListener, JobNotice, JobOutcome, JobReport, QuietListener,
    StartFrom,
};
pub use operator::*;
pub use output::Collector;
pub use restart::*;
pub use settings::JobSettings;
pub use source::{Source, SourceStatus};
pub use watermark::{Timestamp, WatermarkTracker};
