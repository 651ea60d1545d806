//! The job as the coordinator sees it: subtasks, who feeds whom, and how far each has come.
//!
//! Barriers enter a job at its sources. Once sources have finished they enter at the first
//! subtasks that still run: those all of whose inputs have finished. That is the only reason the
//! edges are known here.

use std::collections::HashMap;
use std::ops::Range;

use millpond_state::{SubtaskId, SubtaskIndex};

use crate::error::{CheckpointError, ErrorKind, Result};

/// Most subtasks of a job.
pub const SUBTASKS_LIMIT: u32 = 1 << 20;

/// How records reach a vertex from one of its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exchange {
    /// Subtask i reads from subtask i only; both sides have the same parallelism.
    Forward,
    /// Each subtask reads from every subtask of the input: keyed, broadcast, rebalanced.
    AllToAll,
}

/// One input of a vertex.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InputSpec {
    /// Name of the vertex that is read from.
    pub vertex: String,
    /// How its records are spread.
    pub exchange: Exchange,
}

/// One vertex (operator or chain of operators) of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VertexSpec {
    /// Stable name, unique in the job.
    pub name: String,
    /// Number of parallel subtasks, at least 1.
    pub parallelism: u32,
    /// What it reads; empty for a source.
    pub inputs: Vec<InputSpec>,
}

/// How far a subtask has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubtaskState {
    /// Not yet processing: scheduled, deploying or restoring.
    Starting,
    /// Processing records.
    Running,
    /// Has no more records to process, but still takes part in checkpoints: it waits for the final
    /// one. A source reports this at its end of input.
    AtEnd,
    /// Ended in good order and gone. It counts as acknowledged in every checkpoint, without a
    /// payload: nothing of its state is carried over. A subtask whose state still matters (a
    /// source's offsets) therefore stays [`Self::AtEnd`] until the final checkpoint is complete.
    Finished,
    /// Ended in failure.
    Failed,
}

/// Position of a subtask in the topology's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ordinal(pub(crate) usize);

/// The checked job graph: every input exists, no cycles are looked for (a cycle only means that
/// barriers never enter it from here).
#[derive(Clone, Debug)]
pub struct Topology {
    vertices: Vec<Vertex>,
    by_name: HashMap<String, usize>,
    subtasks: usize,
}

#[derive(Clone, Debug)]
struct Vertex {
    name: String,
    ordinals: Range<usize>,
    inputs: Vec<(usize, Exchange)>,
}

impl Topology {
    /// Checks and indexes the vertices of a job.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if there is no source, a name occurs twice, an input does
    /// not exist, a parallelism is 0, a forward input has another parallelism, or there are more
    /// than [`SUBTASKS_LIMIT`] subtasks.
    pub fn new(specs: Vec<VertexSpec>) -> Result<Self> {
        let (mut by_name, mut next) = (HashMap::new(), 0_usize);
        let mut vertices = Vec::with_capacity(specs.len());
        for spec in &specs {
            let end = next.saturating_add(spec.parallelism as usize);
            if spec.parallelism == 0 || end > SUBTASKS_LIMIT as usize {
                return Err(invalid(format!(
                    "vertex {:?} has parallelism {}; a job has 1 to {SUBTASKS_LIMIT} subtasks",
                    spec.name, spec.parallelism
                )));
            }
            if by_name.insert(spec.name.clone(), vertices.len()).is_some() {
                return Err(invalid(format!("two vertices are named {:?}", spec.name)));
            }
            vertices.push(Vertex {
                name: spec.name.clone(),
                ordinals: next..end,
                inputs: Vec::new(),
            });
            next = end;
        }
        let mut topology = Self { vertices, by_name, subtasks: next };
        for spec in specs {
            topology.connect(spec)?;
        }
        if topology.sources().next().is_none() {
            return Err(invalid("a job needs a vertex without inputs: a source".into()));
        }
        Ok(topology)
    }

    fn connect(&mut self, spec: VertexSpec) -> Result<()> {
        let mut inputs = Vec::with_capacity(spec.inputs.len());
        for input in &spec.inputs {
            let Some(&at) = self.by_name.get(&input.vertex) else {
                return Err(invalid(format!(
                    "vertex {:?} reads from {:?}, which does not exist",
                    spec.name, input.vertex
                )));
            };
            let width = self.vertices.get(at).map_or(0, |vertex| vertex.ordinals.len());
            if input.exchange == Exchange::Forward && width != spec.parallelism as usize {
                return Err(invalid(format!(
                    "vertex {:?} has parallelism {} but reads forward from {:?} with {width}",
                    spec.name, spec.parallelism, input.vertex
                )));
            }
            inputs.push((at, input.exchange));
        }
        let at = self.by_name.get(&spec.name).copied();
        if let Some(vertex) = at.and_then(|at| self.vertices.get_mut(at)) {
            vertex.inputs = inputs;
        }
        Ok(())
    }

    /// Number of subtasks of all vertices.
    #[must_use]
    pub fn subtask_count(&self) -> usize {
        self.subtasks
    }

    /// All subtasks, vertex by vertex in the order given, by index within.
    pub fn subtasks(&self) -> impl Iterator<Item = SubtaskId> + '_ {
        self.vertices.iter().flat_map(|vertex| {
            (0_u32..).take(vertex.ordinals.len()).map(|index| SubtaskId {
                vertex: vertex.name.clone(),
                index: SubtaskIndex::new(index),
            })
        })
    }

    pub(crate) fn ordinal(&self, subtask: &SubtaskId) -> Option<Ordinal> {
        let vertex = self.vertices.get(*self.by_name.get(&subtask.vertex)?)?;
        let at = vertex.ordinals.start.checked_add(subtask.index.get() as usize)?;
        vertex.ordinals.contains(&at).then_some(Ordinal(at))
    }

    pub(crate) fn subtask(&self, at: Ordinal) -> Option<SubtaskId> {
        let vertex = self.vertices.iter().find(|vertex| vertex.ordinals.contains(&at.0))?;
        let index = u32::try_from(at.0 - vertex.ordinals.start).ok()?;
        Some(SubtaskId::new(vertex.name.clone(), index))
    }

    /// The subtasks of vertices without inputs.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Ordinal> + '_ {
        self.vertices
            .iter()
            .filter(|vertex| vertex.inputs.is_empty())
            .flat_map(|vertex| vertex.ordinals.clone().map(Ordinal))
    }

    /// The subtasks where barriers enter: not finished themselves, all inputs finished.
    pub(crate) fn barrier_entries(&self, finished: impl Fn(Ordinal) -> bool) -> Vec<SubtaskId> {
        let whole: Vec<bool> = self
            .vertices
            .iter()
            .map(|vertex| vertex.ordinals.clone().all(|at| finished(Ordinal(at))))
            .collect();
        let mut entries = Vec::new();
        for vertex in &self.vertices {
            for (offset, at) in vertex.ordinals.clone().enumerate() {
                let fed = |&(input, exchange): &(usize, Exchange)| match exchange {
                    Exchange::AllToAll => !whole.get(input).copied().unwrap_or(false),
                    Exchange::Forward => self
                        .vertices
                        .get(input)
                        .is_some_and(|from| !finished(Ordinal(from.ordinals.start + offset))),
                };
                if !finished(Ordinal(at)) && !vertex.inputs.iter().any(fed) {
                    entries.extend(self.subtask(Ordinal(at)));
                }
            }
        }
        entries
    }
}

fn invalid(message: String) -> CheckpointError {
    CheckpointError::new(ErrorKind::InvalidArgument, message)
}
