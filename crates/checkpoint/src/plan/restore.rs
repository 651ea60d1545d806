//! Which checkpoint a job starts from, whether it fits, and what each subtask reads.
//!
//! Damage is never silent: a damaged checkpoint that was passed over is named in the plan or in the
//! refusal. A checkpoint that is whole but does not fit the job is a refusal too; an older one is
//! never taken in its place, since the job would lose progress without anybody having asked.

use core::fmt;
use std::collections::BTreeMap;

use millpond_state::{CheckpointId, KeyGroupRange, MaxParallelism, SubtaskIndex};

use super::facts::{CheckpointFact, CheckpointFacts, Redistribution, VertexFacts};
use super::rescale::{ItemSelection, KeyedSource, plan_keyed, plan_operator};
use crate::error::{CheckpointError, ErrorKind};

/// Which checkpoint to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// The newest whole one.
    Latest,
    /// This one or none.
    Exactly(CheckpointId),
}

/// What the user allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Which checkpoint.
    pub select: Selection,
    /// Whether state of vertices that the job no longer has may be dropped.
    pub allow_dropped_state: bool,
}

/// A vertex of the job that is to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobVertex {
    /// Stable name; decides which state it gets.
    pub name: String,
    /// Number of subtasks, 1 to `max_parallelism`.
    pub parallelism: u32,
    /// Number of key groups.
    pub max_parallelism: MaxParallelism,
}

/// A damaged checkpoint that was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedCheckpoint {
    /// Its number.
    pub id: CheckpointId,
    /// What is wrong with it.
    pub reason: String,
}

/// How a job starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestorePlan {
    /// The checkpoint it starts from.
    pub checkpoint: CheckpointId,
    /// Newer ones that are damaged, newest first.
    pub skipped: Vec<SkippedCheckpoint>,
    /// One for each vertex of the job, in the job's order.
    pub vertices: Vec<VertexPlan>,
    /// Vertices whose state is dropped, as allowed, by name.
    pub dropped: Vec<String>,
}

/// How a vertex starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VertexPlan {
    /// Its name.
    pub name: String,
    /// From what.
    pub start: VertexStart,
    /// One for each subtask, by index.
    pub subtasks: Vec<SubtaskPlan>,
}

/// From what a vertex starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VertexStart {
    /// The checkpoint does not know it.
    Empty,
    /// Its state in the checkpoint, at the parallelism of then.
    Same,
    /// Its state in the checkpoint, spread over another number of subtasks.
    Rescaled {
        /// The number of subtasks then.
        from: u32,
    },
}

/// How a subtask starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubtaskPlan {
    /// Its index.
    pub index: SubtaskIndex,
    /// The key groups it owns.
    pub key_groups: KeyGroupRange,
    /// Whether it had finished, and so must not process anything again.
    pub finished: bool,
    /// Keyed state it reads.
    pub keyed: Vec<KeyedSource>,
    /// Operator state it reads, by name.
    pub operator: Vec<OperatorStatePlan>,
}

/// One operator state of one new subtask. All names of the vertex are listed on each subtask, also
/// with nothing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorStatePlan {
    /// Its name.
    pub name: String,
    /// How it was spread.
    pub redistribution: Redistribution,
    /// What to read, in order.
    pub items: Vec<ItemSelection>,
}

/// Why a job cannot start from what is there. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreRefusal {
    /// There is no checkpoint at all.
    NothingThere,
    /// There is none with this number.
    NoSuchCheckpoint {
        /// Asked for.
        id: CheckpointId,
        /// What there is, oldest first.
        available: Vec<CheckpointId>,
    },
    /// The one asked for is damaged, or all are.
    Damaged(Vec<SkippedCheckpoint>),
    /// Keyed state cannot be moved to another number of key groups.
    MaxParallelismChanged {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The vertex.
        vertex: String,
        /// In the checkpoint.
        stored: MaxParallelism,
        /// In the job.
        requested: MaxParallelism,
    },
    /// The checkpoint has state of vertices that the job does not have.
    StateWouldBeDropped {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The vertices, by name.
        vertices: Vec<String>,
    },
    /// Some subtasks of a vertex with operator state had finished and left none, so that its
    /// parts cannot be told apart at another parallelism.
    PartlyFinishedRescaled {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The vertex.
        vertex: String,
        /// In the checkpoint.
        stored_parallelism: u32,
        /// In the job.
        requested_parallelism: u32,
    },
    /// The job itself is wrong.
    InvalidJob(String),
}

impl fmt::Display for RestoreRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingThere => {
                f.write_str("there is no checkpoint yet: start without a restore")
            }
            Self::NoSuchCheckpoint { id, available } => {
                write!(f, "there is no checkpoint {id}; available: {}", Listed(available))
            }
            Self::Damaged(skipped) => {
                f.write_str("no checkpoint that can be used is whole:")?;
                for skip in skipped {
                    write!(f, " {} ({});", skip.id, skip.reason)?;
                }
                f.write_str(" name an older or another one, or start without a restore")
            }
            Self::MaxParallelismChanged { checkpoint, vertex, stored, requested } => write!(
                f,
                "vertex {vertex:?} has keyed state for max parallelism {stored} in checkpoint \
                 {checkpoint}, but the job asks for {requested}: set it back to {stored}"
            ),
            Self::StateWouldBeDropped { checkpoint, vertices } => write!(
                f,
                "checkpoint {checkpoint} has state of {}, which the job does not have: give the \
                 vertices their old names, or allow dropped state",
                Listed(vertices)
            ),
            Self::PartlyFinishedRescaled {
                checkpoint,
                vertex,
                stored_parallelism,
                requested_parallelism,
            } => write!(
                f,
                "some of the {stored_parallelism} subtasks of {vertex:?} had finished in \
                 checkpoint {checkpoint}, so it cannot start with {requested_parallelism}: set \
                 the parallelism back to {stored_parallelism}, or restore an older checkpoint"
            ),
            Self::InvalidJob(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for RestoreRefusal {}

impl From<RestoreRefusal> for CheckpointError {
    fn from(refusal: RestoreRefusal) -> Self {
        let kind = match refusal {
            RestoreRefusal::NothingThere | RestoreRefusal::NoSuchCheckpoint { .. } => {
                ErrorKind::NotFound
            }
            RestoreRefusal::Damaged(_) => ErrorKind::Corrupt,
            RestoreRefusal::MaxParallelismChanged { .. }
            | RestoreRefusal::StateWouldBeDropped { .. }
            | RestoreRefusal::PartlyFinishedRescaled { .. } => ErrorKind::Incompatible,
            RestoreRefusal::InvalidJob(_) => ErrorKind::InvalidArgument,
        };
        Self::new(kind, refusal.to_string())
    }
}

struct Listed<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (i, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Plans how `job` starts from one of the checkpoints in `found`, which may be in any order.
///
/// # Errors
/// A [`RestoreRefusal`] that says what to do. It converts into a [`CheckpointError`].
pub fn plan_restore(
    found: &[CheckpointFact],
    job: &[JobVertex],
    options: RestoreOptions,
) -> Result<RestorePlan, RestoreRefusal> {
    let (facts, skipped) = select(found, options.select)?;
    let mut stored: BTreeMap<&str, &VertexFacts> =
        facts.vertices.iter().map(|vertex| (vertex.name.as_str(), vertex)).collect();
    let mut planned = BTreeMap::new();
    let mut vertices = Vec::with_capacity(job.len());
    for vertex in job {
        if planned.insert(vertex.name.as_str(), ()).is_some() {
            let what = format!("two vertices of the job are named {:?}", vertex.name);
            return Err(RestoreRefusal::InvalidJob(what));
        }
        vertices.push(plan_vertex(facts.id, stored.remove(vertex.name.as_str()), vertex)?);
    }
    let left = stored.into_values().filter(|vertex| vertex.has_state());
    let dropped: Vec<String> = left.map(|vertex| vertex.name.clone()).collect();
    if !dropped.is_empty() && !options.allow_dropped_state {
        let checkpoint = facts.id;
        return Err(RestoreRefusal::StateWouldBeDropped { checkpoint, vertices: dropped });
    }
    Ok(RestorePlan { checkpoint: facts.id, skipped, vertices, dropped })
}

/// The checkpoint to use, and the damaged ones that are newer.
fn select(
    found: &[CheckpointFact],
    select: Selection,
) -> Result<(&CheckpointFacts, Vec<SkippedCheckpoint>), RestoreRefusal> {
    let mut newest_first: Vec<&CheckpointFact> = found.iter().collect();
    newest_first.sort_by_key(|fact| std::cmp::Reverse(fact.id()));
    if let Selection::Exactly(id) = select {
        let available: Vec<_> = newest_first.iter().rev().map(|fact| fact.id()).collect();
        newest_first.retain(|fact| fact.id() == id);
        if newest_first.is_empty() {
            return Err(RestoreRefusal::NoSuchCheckpoint { id, available });
        }
    }
    let mut skipped = Vec::new();
    for fact in newest_first {
        match whole(fact) {
            Ok(facts) => return Ok((facts, skipped)),
            Err(reason) => skipped.push(SkippedCheckpoint { id: fact.id(), reason }),
        }
    }
    if skipped.is_empty() {
        return Err(RestoreRefusal::NothingThere);
    }
    Err(RestoreRefusal::Damaged(skipped))
}

fn whole(fact: &CheckpointFact) -> Result<&CheckpointFacts, String> {
    match fact {
        CheckpointFact::Whole(facts) => facts.check().map(|()| facts),
        CheckpointFact::Damaged { reason, .. } => Err(reason.clone()),
    }
}

fn plan_vertex(
    checkpoint: CheckpointId,
    stored: Option<&VertexFacts>,
    job: &JobVertex,
) -> Result<VertexPlan, RestoreRefusal> {
    let mut subtasks = empty_subtasks(job)?;
    let name = job.name.clone();
    let Some(stored) = stored else {
        return Ok(VertexPlan { name, start: VertexStart::Empty, subtasks });
    };
    if stored.has_keyed_state() && stored.max_parallelism != job.max_parallelism {
        return Err(RestoreRefusal::MaxParallelismChanged {
            checkpoint,
            vertex: name,
            stored: stored.max_parallelism,
            requested: job.max_parallelism,
        });
    }
    let same = stored.parallelism() == job.parallelism;
    let all_finished = stored.subtasks.iter().all(|subtask| subtask.finished);
    let some_finished = stored.subtasks.iter().any(|subtask| subtask.finished);
    if !same && some_finished && !all_finished && stored.has_operator_state() {
        return Err(RestoreRefusal::PartlyFinishedRescaled {
            checkpoint,
            vertex: name,
            stored_parallelism: stored.parallelism(),
            requested_parallelism: job.parallelism,
        });
    }
    let operator = plan_operator(stored, job.parallelism);
    for (at, plan) in subtasks.iter_mut().enumerate() {
        let own = stored.subtasks.get(at).filter(|_| same);
        plan.finished = all_finished || own.is_some_and(|subtask| subtask.finished);
        plan.keyed = plan_keyed(stored, plan.key_groups);
        plan.operator = operator
            .iter()
            .map(|(name, (redistribution, shares))| OperatorStatePlan {
                name: name.clone(),
                redistribution: *redistribution,
                items: shares.get(at).cloned().unwrap_or_default(),
            })
            .collect();
    }
    let from = stored.parallelism();
    let start = if same { VertexStart::Same } else { VertexStart::Rescaled { from } };
    Ok(VertexPlan { name, start, subtasks })
}

fn empty_subtasks(job: &JobVertex) -> Result<Vec<SubtaskPlan>, RestoreRefusal> {
    if job.parallelism == 0 {
        let what = format!("vertex {:?} of the job has parallelism 0", job.name);
        return Err(RestoreRefusal::InvalidJob(what));
    }
    (0..job.parallelism)
        .map(|index| {
            let range = job.max_parallelism.range_of(index, job.parallelism);
            let key_groups = range.map_err(|error| {
                RestoreRefusal::InvalidJob(format!("vertex {:?}: {}", job.name, error.message()))
            })?;
            Ok(SubtaskPlan {
                index: SubtaskIndex::new(index),
                key_groups,
                finished: false,
                keyed: Vec::new(),
                operator: Vec::new(),
            })
        })
        .collect()
}
