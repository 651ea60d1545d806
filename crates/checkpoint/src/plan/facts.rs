//! What is known of stored checkpoints, without any of their bytes.

use std::collections::BTreeMap;

pub use millpond_state::Redistribution;
use millpond_state::{CheckpointId, KeyGroup, KeyGroupRange, MaxParallelism, SubtaskIndex};

use crate::coordinator::CheckpointKind;

/// A checkpoint found in storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointFact {
    /// Read and, as far as the caller wanted, verified.
    Whole(CheckpointFacts),
    /// Its metadata or a file it names is missing or damaged.
    Damaged {
        /// Its number.
        id: CheckpointId,
        /// What is wrong: file, offset, key group.
        reason: String,
    },
}

impl CheckpointFact {
    /// The checkpoint's number.
    #[must_use]
    pub fn id(&self) -> CheckpointId {
        match self {
            Self::Whole(facts) => facts.id,
            Self::Damaged { id, .. } => *id,
        }
    }
}

/// A checkpoint that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFacts {
    /// Its number.
    pub id: CheckpointId,
    /// Why it was taken.
    pub kind: CheckpointKind,
    /// Its vertices, names unique.
    pub vertices: Vec<VertexFacts>,
}

/// A vertex as it was when the checkpoint was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VertexFacts {
    /// Stable name.
    pub name: String,
    /// Number of key groups.
    pub max_parallelism: MaxParallelism,
    /// One for each subtask, by index.
    pub subtasks: Vec<SubtaskFacts>,
}

/// A subtask as it was when the checkpoint was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubtaskFacts {
    /// Whether it had finished. It has no state then.
    pub finished: bool,
    /// The key groups each of its keyed state handles covers.
    pub keyed: Vec<KeyGroupRange>,
    /// Its operator states, names unique within the subtask.
    pub operator: Vec<OperatorStateFacts>,
}

/// One operator state of one subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorStateFacts {
    /// Name, the same on all subtasks.
    pub name: String,
    /// How it is spread when the parallelism changes, the same on all subtasks.
    pub redistribution: Redistribution,
    /// Number of list items.
    pub items: u32,
}

impl SubtaskFacts {
    fn has_state(&self) -> bool {
        !self.keyed.is_empty() || self.operator.iter().any(|state| state.items > 0)
    }
}

impl VertexFacts {
    /// Number of subtasks.
    #[must_use]
    pub fn parallelism(&self) -> u32 {
        u32::try_from(self.subtasks.len()).unwrap_or(u32::MAX)
    }

    /// Whether there is anything to restore.
    #[must_use]
    pub fn has_state(&self) -> bool {
        self.subtasks.iter().any(SubtaskFacts::has_state)
    }

    /// Whether any subtask has keyed state.
    #[must_use]
    pub fn has_keyed_state(&self) -> bool {
        self.subtasks.iter().any(|subtask| !subtask.keyed.is_empty())
    }

    /// Whether any subtask has operator state.
    #[must_use]
    pub fn has_operator_state(&self) -> bool {
        self.subtasks.iter().any(|subtask| subtask.operator.iter().any(|state| state.items > 0))
    }

    /// The subtasks with their indexes.
    pub fn indexed(&self) -> impl Iterator<Item = (SubtaskIndex, &SubtaskFacts)> {
        (0_u32..).map(SubtaskIndex::new).zip(&self.subtasks)
    }
}

impl CheckpointFacts {
    /// Looks for contradictions that reading alone does not show; says what is wrong.
    ///
    /// # Errors
    /// The contradiction, in words.
    pub fn check(&self) -> Result<(), String> {
        let mut names = std::collections::BTreeSet::new();
        for vertex in &self.vertices {
            if !names.insert(&vertex.name) {
                return Err(format!("two vertices are named {:?}", vertex.name));
            }
            check_vertex(vertex).map_err(|what| format!("vertex {:?}: {what}", vertex.name))?;
        }
        Ok(())
    }
}

fn check_vertex(vertex: &VertexFacts) -> Result<(), String> {
    if vertex.subtasks.is_empty() || vertex.parallelism() > vertex.max_parallelism.get() {
        return Err(format!(
            "{} subtasks do not fit the max parallelism {}",
            vertex.parallelism(),
            vertex.max_parallelism
        ));
    }
    for (index, subtask) in vertex.indexed() {
        if subtask.finished && subtask.has_state() {
            return Err(format!("subtask {index} has finished but has state"));
        }
    }
    check_keyed(vertex)?;
    check_operator(vertex)
}

/// Each key group has one owner: ranges of different subtasks do not overlap. One sweep over the
/// ranges by their first group, remembering the furthest end so far.
fn check_keyed(vertex: &VertexFacts) -> Result<(), String> {
    let all = vertex.max_parallelism.full_range();
    let mut ranges: Vec<(KeyGroupRange, SubtaskIndex)> = vertex
        .indexed()
        .flat_map(|(index, subtask)| subtask.keyed.iter().map(move |range| (*range, index)))
        .collect();
    ranges.sort_unstable();
    let mut furthest: Option<(KeyGroup, SubtaskIndex)> = None;
    for (range, index) in ranges {
        if !all.contains_range(range) {
            return Err(format!("subtask {index} has key groups {range}, beyond {all}"));
        }
        match furthest {
            Some((last, other)) if range.first() <= last && other != index => {
                return Err(format!("subtasks {other} and {index} both have key groups {range}"));
            }
            Some((last, _)) if range.last() <= last => {}
            _ => furthest = Some((range.last(), index)),
        }
    }
    Ok(())
}

/// A state is spread in one way. Copies of broadcast state are not compared: those of an
/// at-least-once checkpoint may differ by records between the barriers.
fn check_operator(vertex: &VertexFacts) -> Result<(), String> {
    let mut ways: BTreeMap<&str, Redistribution> = BTreeMap::new();
    for (index, subtask) in vertex.indexed() {
        let mut own = std::collections::BTreeSet::new();
        for state in &subtask.operator {
            if !own.insert(&state.name) {
                return Err(format!("subtask {index} has operator state {:?} twice", state.name));
            }
            let known = *ways.entry(&state.name).or_insert(state.redistribution);
            if known != state.redistribution {
                return Err(format!(
                    "operator state {:?} is {} state on subtask {index} and {known} state on \
                     others",
                    state.name, state.redistribution
                ));
            }
        }
    }
    Ok(())
}
