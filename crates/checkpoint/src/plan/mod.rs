//! Restore and rescale plans: from the facts of stored checkpoints and a new job to who reads
//! what. Pure functions; the same facts always give the same plan.
//!
//! - [`facts`]: what is known of stored checkpoints.
//! - [`restore`]: which checkpoint, whether the job fits it, and the plan for each subtask.
//! - [`rescale`]: how keyed and operator state of one vertex is spread over new subtasks.

pub mod facts;
pub mod rescale;
pub mod restore;

pub use facts::{
    CheckpointFact, CheckpointFacts, OperatorStateFacts, Redistribution, SubtaskFacts, VertexFacts,
};
pub use rescale::{ItemSelection, KeyedSource};
pub use restore::{
    JobVertex, OperatorStatePlan, RestoreOptions, RestorePlan, RestoreRefusal, Selection,
    SkippedCheckpoint, SubtaskPlan, VertexPlan, VertexStart, plan_restore,
};
