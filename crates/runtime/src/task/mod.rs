//! Subtasks: one thread each, reading its input channels or its source, running its operator, and
//! taking part in checkpoints.

mod control;
mod env;
mod input;
mod keyed;
mod runner;
mod snapshot;
mod source;
mod transform;

pub(crate) use control::{Control, JobEvent};
pub(crate) use env::{SubtaskEnv, SubtaskRestore};
pub(crate) use input::{Inputs, run_operator};
pub(crate) use keyed::{BroadcastTask, KeyedTask, wall_ms};
pub(crate) use runner::{Emitters, KeyedCore, SubtaskState};
pub(crate) use snapshot::{CancelBoard, SubtaskPayload};
pub(crate) use source::run_source;
pub(crate) use transform::TransformTask;

/// Name of the operator-state list with a source's positions.
pub(crate) const SOURCE_POSITIONS: &str = "source-positions";

/// How the names of the lists begin that sinks keep.
const SINK_LISTS: &str = "sink-committables:";

/// Name of the operator-state list with the committables of the sink called `sink`.
pub(crate) fn sink_list(sink: &str) -> String {
    format!("{SINK_LISTS}{sink}")
}

fn is_sink_list(name: &str) -> bool {
    name.starts_with(SINK_LISTS)
}
