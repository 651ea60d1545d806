//! Operator state on its way out of a checkpoint's metadata.

use std::collections::BTreeMap;

use millpond_snapshot::metadata::VertexMetadata;
use millpond_state::{OperatorStateCodecs, OperatorStatePart};

use crate::error::{CheckpointError, ErrorKind, Result};
use crate::plan::{OperatorStatePlan, SubtaskPlan};

/// The operator state that a subtask starts with: what `plan` gives it of `vertex`, as it was in
/// the checkpoint that was planned for. There is one part for each name of the vertex, also with no
/// items; [`OperatorState::restore`](millpond_state::OperatorState::restore) takes them.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] if the plan is not one for this vertex;
/// [`ErrorKind::Incompatible`] if the subtasks wrote a state with different codecs.
pub fn operator_state_parts(
    vertex: &VertexMetadata,
    plan: &SubtaskPlan,
) -> Result<Vec<OperatorStatePart>> {
    check_same(vertex).map_err(|what| {
        let message = format!(
            "subtasks of vertex {:?} disagree: {what}; restore an older checkpoint",
            vertex.name
        );
        CheckpointError::new(ErrorKind::Incompatible, message)
    })?;
    plan.operator.iter().map(|state| part(vertex, state)).collect()
}

fn part(vertex: &VertexMetadata, plan: &OperatorStatePlan) -> Result<OperatorStatePart> {
    let mut items = Vec::new();
    for selection in &plan.items {
        let stored = state_of(vertex, selection.from.get() as usize, &plan.name);
        for position in selection.positions() {
            let item = stored.and_then(|stored| stored.items.get(position as usize));
            items.push(item.ok_or_else(|| foreign(vertex, plan))?.clone());
        }
    }
    let stored = states_of(vertex).find(|state| state.name == plan.name);
    let stored = stored.ok_or_else(|| foreign(vertex, plan))?;
    Ok(OperatorStatePart {
        name: plan.name.clone(),
        redistribution: stored.redistribution,
        codecs: stored.codecs.clone(),
        items,
    })
}

fn state_of<'a>(
    vertex: &'a VertexMetadata,
    subtask: usize,
    name: &str,
) -> Option<&'a OperatorStatePart> {
    vertex.subtasks.get(subtask)?.operator_state.iter().find(|state| state.name == name)
}

fn states_of(vertex: &VertexMetadata) -> impl Iterator<Item = &OperatorStatePart> {
    vertex.subtasks.iter().flat_map(|subtask| &subtask.operator_state)
}

/// Whether all subtasks wrote each state in one way; if not, says which.
pub(super) fn check_same(vertex: &VertexMetadata) -> Result<(), String> {
    let mut known: BTreeMap<&str, &OperatorStatePart> = BTreeMap::new();
    for state in states_of(vertex) {
        let first = *known.entry(&state.name).or_insert(state);
        if first.redistribution != state.redistribution || first.codecs != state.codecs {
            return Err(format!(
                "operator state {:?} is {} state with {} on one and {} state with {} on another",
                state.name,
                first.redistribution,
                shown(first.codecs.as_ref()),
                state.redistribution,
                shown(state.codecs.as_ref())
            ));
        }
    }
    Ok(())
}

fn shown(codecs: Option<&OperatorStateCodecs>) -> String {
    match codecs {
        None => "no codec".to_owned(),
        Some(OperatorStateCodecs { key: None, value }) => format!("codec {value}"),
        Some(OperatorStateCodecs { key: Some(key), value }) => {
            format!("codecs {key} and {value}")
        }
    }
}

#[cold]
fn foreign(vertex: &VertexMetadata, plan: &OperatorStatePlan) -> CheckpointError {
    CheckpointError::new(
        ErrorKind::InvalidArgument,
        format!(
            "vertex {:?} has not what the plan takes of its operator state {:?}: use the plan with \
             the checkpoint that it was made for",
            vertex.name, plan.name
        ),
    )
}
