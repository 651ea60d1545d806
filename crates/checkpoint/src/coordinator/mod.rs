//! The checkpoint coordinator: settings, events, actions and the machine between them.

pub mod action;
pub mod event;
mod job;
pub mod machine;
mod outcome;
mod requests;
pub mod settings;
mod subtasks;
pub mod topology;
mod trigger;

pub use action::{
    AbortReason, Action, BarrierOptions, CheckpointKind, DiscardReason, FailJobReason, LeaveReason,
    Phase, Refusal, RequestResult,
};
pub use event::{
    DeclineReason, Event, Moment, RequestId, Shutdown, StoreEffect, SubtaskMetrics, TriggerRequest,
};
pub use machine::{Coordinator, CoordinatorStart};
pub use settings::{CheckpointMode, CoordinatorSettings, ValidSettings};
pub use topology::{Exchange, InputSpec, SubtaskState, Topology, VertexSpec};
