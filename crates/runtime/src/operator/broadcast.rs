//! Operators on a keyed stream and a stream that goes to all their subtasks, such as rules.

use super::context::OperatorContext;
use super::keyed::KeyedOperator;
use crate::error::Result;

/// A [`KeyedOperator`] with a second input whose records all go to every one of its subtasks.
/// What it must remember of them belongs into
/// [broadcast state](millpond_state::OperatorState::broadcast), which is restored at any
/// parallelism.
///
/// Records of one input keep their order as far as their channel keeps it; nothing is said of the
/// order between the two inputs, nor between subtasks of the second one. Event time is that of the
/// keyed input alone. Both inputs must end for the operator to end.
pub trait BroadcastOperator: KeyedOperator {
    /// What goes to every subtask.
    type Broadcast: Send;

    /// Takes records that every subtask gets. Change broadcast state here, and so that it depends
    /// on these records and on broadcast state alone.
    ///
    /// # Errors
    /// As [`KeyedOperator::process`].
    fn on_broadcast(
        &mut self,
        records: &[Self::Broadcast],
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()>;
}
