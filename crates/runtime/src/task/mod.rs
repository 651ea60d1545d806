//! Subtasks: one thread each, reading its input channels or its source, running its operator, and
//! taking part in checkpoints.

mod control;
mod env;
mod input;
mod keyed;
mod snapshot;
mod source;
mod transform;

pub(crate) use control::{Control, JobEvent};
pub(crate) use env::{SubtaskEnv, SubtaskRestore};
pub(crate) use input::run_operator;
pub(crate) use keyed::KeyedTask;
pub(crate) use snapshot::{CancelBoard, SubtaskPayload};
pub(crate) use source::run_source;
pub(crate) use transform::TransformTask;

/// Name of the operator-state list with a source's positions.
pub(crate) const SOURCE_POSITIONS: &str = "source-positions";

/// Name of the operator-state list with the committables of the sink called `sink`.
pub(crate) fn sink_list(sink: &str) -> String {
    format!("sink-committables:{sink}")
}
