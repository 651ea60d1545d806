//! The invariants of metadata, checked before it is encoded and after it is decoded.

use std::collections::{BTreeMap, BTreeSet};

use millpond_state::{
    CheckpointId, KeyGroupRange, MaxParallelism, OperatorStatePart, Redistribution,
};

use crate::metadata::{
    CheckpointKind, CheckpointMetadata, FileHandle, FileScope, FullHandle, KeyedStateHandle,
    NAME_BYTES_MAX, OPERATOR_STATES_MAX, SubtaskMetadata, VERTICES_MAX, VertexMetadata,
    incremental,
};

/// What is wrong, in words.
pub(super) type Checked = Result<(), String>;

/// What a handle of keyed state is checked against.
pub(super) struct Enclosing<'a> {
    /// The checkpoint.
    pub(super) checkpoint: CheckpointId,
    /// The vertex's max parallelism.
    pub(super) max: MaxParallelism,
    /// Names of the states that the vertex has schemas of.
    pub(super) states: BTreeSet<&'a str>,
}

pub(super) fn check(metadata: &CheckpointMetadata) -> Checked {
    check_name("job name", &metadata.job_name)?;
    check_name("job kind", &metadata.job_kind)?;
    check_name("state backend", &metadata.state_backend)?;
    if metadata.vertices.len() > VERTICES_MAX {
        return Err(format!("more vertices than the limit {VERTICES_MAX}"));
    }
    check_unique("vertex", metadata.vertices.iter().map(|vertex| vertex.name.as_str()))?;
    for vertex in &metadata.vertices {
        check_vertex(vertex, metadata.checkpoint)
            .map_err(|what| format!("vertex {:?}: {what}", vertex.name))?;
    }
    check_files(metadata)
}

/// A savepoint needs no file outside its folder, and handles agree on the files they name.
fn check_files(metadata: &CheckpointMetadata) -> Checked {
    let mut known: BTreeMap<(FileScope, &str), &FileHandle> = BTreeMap::new();
    for file in metadata.files() {
        if file.is_shared() && metadata.kind == CheckpointKind::Savepoint {
            return Err(format!("a savepoint refers to the shared file {:?}", file.name()));
        }
        if *known.entry((file.scope(), file.name())).or_insert(file) != file {
            return Err(format!("two handles contradict each other on file {:?}", file.name()));
        }
    }
    Ok(())
}

pub(super) fn check_name(what: &str, name: &str) -> Checked {
    if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!(
            "{what} must have at most {NAME_BYTES_MAX} bytes and no control characters"
        ));
    }
    Ok(())
}

pub(super) fn check_unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Checked {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(format!("{what} {name:?} is there twice"));
        }
    }
    Ok(())
}

fn check_vertex(vertex: &VertexMetadata, checkpoint: CheckpointId) -> Checked {
    let max = vertex.max_parallelism;
    if vertex.name.is_empty() {
        return Err("a vertex must have a name".into());
    }
    check_name("vertex name", &vertex.name)?;
    if vertex.parallelism == 0 || vertex.parallelism > max.get() {
        return Err(format!("parallelism {} is not 1 to {max}", vertex.parallelism));
    }
    check_unique("state", vertex.states.iter().map(|state| state.name()))?;
    let states = vertex.states.iter().map(|state| state.name()).collect();
    let within = Enclosing { checkpoint, max, states };
    let mut next_index = 0;
    for subtask in &vertex.subtasks {
        let index = subtask.index.get();
        let placed = |what: String| format!("subtask {index}: {what}");
        if index < next_index || index >= vertex.parallelism {
            return Err(placed("is not in order below the parallelism".into()));
        }
        next_index = index + 1;
        check_subtask(subtask, &within).map_err(placed)?;
    }
    Ok(())
}

fn check_subtask(subtask: &SubtaskMetadata, within: &Enclosing<'_>) -> Checked {
    if let Some(range) = subtask.key_groups {
        check_range(range, within.max)?;
    } else if !subtask.keyed_state.is_empty() {
        return Err("has keyed state and no key groups".into());
    }
    for handle in &subtask.keyed_state {
        match handle {
            KeyedStateHandle::Full(full) => check_full(full, within)
                .map_err(|what| format!("file {}: {what}", full.file.name()))?,
            KeyedStateHandle::Incremental(handle) => incremental::check(handle, within)?,
        }
    }
    if subtask.operator_state.len() > OPERATOR_STATES_MAX {
        return Err(format!("more operator states than the limit {OPERATOR_STATES_MAX}"));
    }
    check_unique("operator state", subtask.operator_state.iter().map(|state| state.name.as_str()))?;
    for state in &subtask.operator_state {
        check_operator_state(state)?;
    }
    Ok(())
}

fn check_operator_state(state: &OperatorStatePart) -> Checked {
    if state.name.is_empty() {
        return Err("an operator state must have a name".into());
    }
    check_name("name of an operator state", &state.name)?;
    let Some(codecs) = &state.codecs else { return Ok(()) };
    if codecs.key.is_some() == (state.redistribution == Redistribution::Broadcast) {
        return Ok(());
    }
    Err(format!("operator state {:?}: broadcast state, and only that, has a key codec", state.name))
}

pub(super) fn check_range(range: KeyGroupRange, max: MaxParallelism) -> Checked {
    if max.full_range().contains_range(range) {
        return Ok(());
    }
    Err(format!("key groups {range} are not below the max parallelism {max}"))
}

fn check_full(full: &FullHandle, within: &Enclosing<'_>) -> Checked {
    if full.file.is_shared() {
        return Err("a full snapshot is never shared".into());
    }
    check_range(full.key_groups, within.max)?;
    check_unique("state", full.states.iter().map(|state| state.state.as_str()))?;
    if let Some(unknown) =
        full.states.iter().find(|state| !within.states.contains(state.state.as_str()))
    {
        return Err(format!("the vertex has no schema of state {:?}", unknown.state));
    }
    let ascending =
        full.sizes.iter().zip(full.sizes.iter().skip(1)).all(|(a, b)| a.group < b.group);
    let inside = full.sizes.iter().all(|size| full.key_groups.contains(size.group));
    if !ascending || !inside {
        return Err("sizes of key groups are not in order or outside its range".into());
    }
    let sum =
        |mut values: Box<dyn Iterator<Item = u64> + '_>| values.try_fold(0u64, u64::checked_add);
    let by_state = sum(Box::new(full.states.iter().map(|state| state.entries)));
    let by_group = sum(Box::new(full.sizes.iter().map(|size| size.entries)));
    if by_state != Some(full.entries) || by_group != Some(full.entries) {
        return Err("numbers of entries contradict each other".into());
    }
    Ok(())
}
