//! Decides when checkpoints are taken, when they are complete, which are kept and how a job starts
//! again from one: everything about a checkpoint but its bytes. Two modules touch storage:
//! [`driver`] reads and writes a job's checkpoints, [`offline`] makes new ones without a job.
//!
//! All the rest is pure. [`Coordinator`] is a state machine: an [`Event`] goes in with the time, a
//! list of [`Action`]s comes out. It does no I/O, reads no clock, takes no lock and starts no
//! thread, so any engine can drive it and a simulator can run millions of schedules.
//! [`plan`] turns the facts of a stored checkpoint and a new job into who reads what, or a
//! refusal that says what to do.
//!
//! ```
//! use std::time::Duration;
//! use millpond_checkpoint::{
//!     Action, Coordinator, CoordinatorSettings, CoordinatorStart, Event, Moment, SubtaskMetrics,
//!     SubtaskState, Topology, VertexSpec,
//! };
//! use millpond_state::{AttemptId, CheckpointId, SubtaskId};
//!
//! let source = VertexSpec { name: "source".into(), parallelism: 1, inputs: Vec::new() };
//! let settings = CoordinatorSettings { interval_ms: Some(1_000), ..Default::default() };
//! let mut coordinator: Coordinator<&str> = Coordinator::new(CoordinatorStart {
//!     settings: settings.validate()?,
//!     topology: Topology::new(vec![source])?,
//!     attempt: AttemptId::new(1),
//!     first_checkpoint: CheckpointId::new(1),
//!     retained: Vec::new(),
//!     restored: None,
//!     at: Moment::default(),
//! })?;
//!
//! let subtask = SubtaskId::new("source", 0);
//! let mut actions = Vec::new();
//! let at = |ms| Moment { now: Duration::from_millis(ms), wall_ms: ms };
//! let running = SubtaskState::Running;
//! let event = Event::SubtaskStateChanged { subtask: subtask.clone(), state: running };
//! coordinator.handle(at(0), event, &mut actions);
//! coordinator.handle(at(1_000), Event::Tick, &mut actions);
//! let Some(Action::SendBarriers { checkpoint, .. }) = actions.pop() else { panic!() };
//!
//! let metrics = SubtaskMetrics::default();
//! let event = Event::Acknowledged { checkpoint, subtask, payload: "file-1", metrics };
//! coordinator.handle(at(1_010), event, &mut actions);
//! assert!(matches!(actions.pop(), Some(Action::StoreMetadata(_))));
//!
//! coordinator.handle(at(1_020), Event::Stored { checkpoint }, &mut actions);
//! assert!(matches!(actions.pop(), Some(Action::NotifyComplete { .. })));
//! # Ok::<(), millpond_checkpoint::CheckpointError>(())
//! ```

pub mod completed;
pub mod coordinator;
pub mod driver;
pub mod error;
pub mod failure;
mod name;
pub mod offline;
pub mod pending;
pub mod plan;
pub mod registry;
pub mod retention;
pub mod stats;

pub use completed::CompletedCheckpoint;
pub use coordinator::{
    AbortReason, Action, BarrierOptions, CheckpointKind, CheckpointMode, Coordinator,
    CoordinatorSettings, CoordinatorStart, DeclineReason, DiscardReason, Event, Exchange,
    FailJobReason, InputSpec, LeaveReason, Moment, Refusal, RequestId, RequestResult, Shutdown,
    StoreEffect, SubtaskMetrics, SubtaskState, Topology, TriggerRequest, ValidSettings, VertexSpec,
};
pub use error::{CheckpointError, ErrorKind, Result};
pub use pending::{CheckpointHead, CheckpointToStore, SubtaskPart};

/// Whole milliseconds, rounded down, at most `u64::MAX`.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
