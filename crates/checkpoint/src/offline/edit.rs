//! Making a new checkpoint, from nothing or from a copy.

use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::{
    CheckpointKind, CheckpointMode as StoredMode, SubtaskMetadata, VertexMetadata,
};
use millpond_state::{
    AttemptId, CheckpointId, OperatorStatePart, StateDescriptor, SubtaskIndex, key_hash,
};

use super::checkpoint::{OfflineCheckpoint, no_operator};
use super::dynamic::{DynEntry, DynFormat};
use super::entry::{EncodedEntry, EntryFormat, StateType};
use super::options::{OfflineOptions, OfflinePhase};
use super::plan::{Rewrite, VertexPlan};
use super::target::Target;
use super::{invalid, state_error};
use crate::coordinator::CheckpointMode;
use crate::driver::{JobDescription, VertexDescription};
use crate::error::Result;

/// A checkpoint in the making. States are put, changed and dropped; nothing but temporary files
/// exists until [`Self::write`]. What is not touched is copied: files of operators whose states all
/// stay as they are byte by byte, entries of states that stay byte by byte.
///
/// After a failed call the state is as it was before.
pub struct NewCheckpoint<'a> {
    original: Option<&'a OfflineCheckpoint>,
    metadata: CheckpointMetadata,
    plans: Vec<VertexPlan<'a>>,
    options: OfflineOptions<'a>,
}

impl<'a> NewCheckpoint<'a> {
    /// A checkpoint of `job` without state, of number 1. A job that restores it starts sources
    /// without operator state from their beginning.
    #[must_use]
    pub fn create(job: &JobDescription, options: OfflineOptions<'a>) -> Self {
        let mode = match job.mode {
            CheckpointMode::ExactlyOnce => StoredMode::ExactlyOnce,
            CheckpointMode::AtLeastOnce => StoredMode::AtLeastOnce,
        };
        let at_ms = options.written_at_ms.unwrap_or_default();
        let metadata = CheckpointMetadata {
            job_name: job.name.clone(),
            job_kind: job.kind.clone(),
            attempt: AttemptId::new(0),
            checkpoint: CheckpointId::new(1),
            kind: CheckpointKind::Savepoint,
            triggered_at_ms: at_ms,
            completed_at_ms: at_ms,
            duration_ms: 0,
            mode,
            state_backend: job.state_backend.clone(),
            max_parallelism: job.max_parallelism,
            vertices: job.vertices.iter().map(|vertex| empty_vertex(job, vertex)).collect(),
        };
        Self { original: None, metadata, plans: Vec::new(), options }
    }

    /// A copy of `original`, as a savepoint.
    #[must_use]
    pub fn copy_of(original: &'a OfflineCheckpoint, options: OfflineOptions<'a>) -> Self {
        let mut metadata = original.metadata().clone();
        metadata.kind = CheckpointKind::Savepoint;
        if let Some(at_ms) = options.written_at_ms {
            metadata.triggered_at_ms = at_ms;
            metadata.completed_at_ms = at_ms;
            metadata.duration_ms = 0;
        }
        Self { original: Some(original), metadata, plans: Vec::new(), options }
    }

    /// Puts a state of `operator` called `name`, in place of one of that name. Entries come in any
    /// order, each key (and namespace, and user key) once; elements of one list come in the list's
    /// order, and one timer may come twice. Returns how many came.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such operator;
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if a key comes twice (also
    /// from [`Self::write`]), passes a limit, or cannot be encoded; what `entries` yields, and what
    /// the temporary files fail with.
    pub fn put_state<T: StateType>(
        &mut self,
        operator: &str,
        name: &str,
        entries: impl IntoIterator<Item = Result<T::Entry>>,
    ) -> Result<u64> {
        let format = T::default();
        let descriptor = format.describe(name).map_err(state_error)?;
        self.put(operator, descriptor, &format, entries)
    }

    /// As [`Self::put_state`], of the types that `descriptor` names.
    ///
    /// # Errors
    /// As [`Self::put_state`], and [`ErrorKind::Incompatible`](crate::ErrorKind::Incompatible) if a
    /// codec is one that only its own program knows.
    pub fn put_dynamic(
        &mut self,
        operator: &str,
        descriptor: StateDescriptor,
        entries: impl IntoIterator<Item = Result<DynEntry>>,
    ) -> Result<u64> {
        let format = DynFormat::of(&descriptor).map_err(state_error)?;
        self.put(operator, descriptor, &format, entries)
    }

    /// Replaces each entry of a state (of a list each element) by what `change` makes of it, `None`
    /// to leave it out. Kind, types and codecs may change, and so may the key.
    ///
    /// # Errors
    /// As [`Self::put_state`] and [`StateReader::entries`](super::StateReader::entries), what
    /// `change` returns, and [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if
    /// the state is not one of the original.
    pub fn transform<A: StateType, B: StateType>(
        &mut self,
        operator: &str,
        state: &str,
        mut change: impl FnMut(A::Entry) -> Result<Option<B::Entry>>,
    ) -> Result<u64> {
        let at = self.plan_index(operator)?;
        let index = self.plans.get(at).map(|plan| plan.original_index(state)).transpose()?;
        let (Some(original), Some(index)) = (self.original, index.flatten()) else {
            return Err(invalid(format!(
                "state {state:?} of operator {operator:?} was put here: write the checkpoint, and \
                 transform that"
            )));
        };
        let stored = original.operator(operator)?.states.get(index);
        let stored = stored.map_or(state, StateDescriptor::name);
        let reader = original.state(operator, stored)?;
        let entries = reader.entries::<A>()?.checking_assignment();
        let changed = entries.filter_map(|entry| entry.and_then(&mut change).transpose());
        self.put_state::<B>(operator, state, changed)
    }

    /// Leaves a state out.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), naming those there are.
    pub fn drop_state(&mut self, operator: &str, state: &str) -> Result<()> {
        self.plan(operator)?.drop_state(state)
    }

    /// Gives a state another name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), naming those there are;
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the new name is none or
    /// taken.
    pub fn rename_state(&mut self, operator: &str, from: &str, to: &str) -> Result<()> {
        self.plan(operator)?.rename_state(from, to)
    }

    /// Replaces all operator state of one subtask.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such operator,
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if it has no such subtask.
    pub fn set_operator_state(
        &mut self,
        operator: &str,
        subtask: SubtaskIndex,
        states: Vec<OperatorStatePart>,
    ) -> Result<()> {
        let at = self.plan_index(operator)?;
        let Some(vertex) = self.metadata.vertices.get_mut(at) else { return Ok(()) };
        if subtask.get() >= vertex.parallelism {
            let message = format!("{operator:?} has {} subtasks, no {subtask}", vertex.parallelism);
            return Err(invalid(message));
        }
        let place = match vertex.subtasks.binary_search_by_key(&subtask, |it| it.index) {
            Ok(place) => place,
            Err(place) => {
                vertex.subtasks.insert(place, SubtaskMetadata::new(subtask));
                place
            }
        };
        if let Some(subtask) = vertex.subtasks.get_mut(place) {
            subtask.operator_state = states;
        }
        Ok(())
    }

    /// Writes the checkpoint, its metadata last. On an error nothing is left in the target.
    ///
    /// # Errors
    /// As [`Self::put_state`]; [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if a file of the
    /// original is damaged; [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the target cannot
    /// be written.
    pub fn write(mut self, mut target: Target) -> Result<OfflineCheckpoint> {
        self.make_plans()?;
        let Self { original, mut metadata, plans, options } = self;
        for (index, plan) in plans.into_iter().enumerate() {
            let Some(vertex) = metadata.vertices.get(index) else { continue };
            let max_parallelism = vertex.max_parallelism;
            let written = match original {
                None => plan.write_new(index, vertex, &options, &mut target)?,
                Some(original) => {
                    let rewrite = Rewrite { original, index, vertex, max_parallelism, options };
                    plan.write(&rewrite, &mut target, &mut |_| {})?
                }
            };
            if let Some(vertex) = metadata.vertices.get_mut(index) {
                *vertex = written;
            }
        }
        let folder = target.publish(&metadata)?;
        Ok(OfflineCheckpoint::unpublished(folder, metadata))
    }

    fn put<F: EntryFormat>(
        &mut self,
        operator: &str,
        descriptor: StateDescriptor,
        format: &F,
        entries: impl IntoIterator<Item = Result<F::Entry>>,
    ) -> Result<u64> {
        let mut ticks = self.options.ticks(OfflinePhase::Read);
        let max_parallelism = self.metadata.vertex(operator).map(|it| it.max_parallelism);
        let max_parallelism = max_parallelism.unwrap_or(self.metadata.max_parallelism);
        let plan = self.plan(operator)?;
        let (number, sorter) = plan.start_put(&descriptor)?;
        let put = || -> Result<()> {
            let mut bytes = EncodedEntry::default();
            for entry in entries {
                bytes.clear();
                format.encode_into(&entry?, &mut bytes).map_err(state_error)?;
                let group = max_parallelism.group_of_hash(key_hash(bytes.key.as_slice()));
                sorter.push(&bytes.as_entry(group, number))?;
                ticks.entry()?;
            }
            sorter.spill()
        };
        if let Err(error) = put() {
            plan.abandon_put(number);
            return Err(error);
        }
        plan.finish_put(number, descriptor);
        Ok(ticks.entries())
    }

    fn plan(&mut self, operator: &str) -> Result<&mut VertexPlan<'a>> {
        let at = self.plan_index(operator)?;
        let plan = self.plans.get_mut(at);
        plan.ok_or_else(|| invalid(format!("operator {operator:?} has no plan")))
    }

    fn plan_index(&mut self, operator: &str) -> Result<usize> {
        self.make_plans()?;
        let found = self.plans.iter().position(|plan| plan.operator == operator);
        found.ok_or_else(|| no_operator(&self.metadata, operator))
    }

    /// One for each operator, in the order of the metadata.
    fn make_plans(&mut self) -> Result<()> {
        if self.plans.is_empty() {
            let vertices = self.metadata.vertices.iter();
            let plans = vertices.map(|vertex| VertexPlan::keeping(vertex, &self.options));
            self.plans = plans.collect::<Result<_>>()?;
        }
        Ok(())
    }
}

fn empty_vertex(job: &JobDescription, vertex: &VertexDescription) -> VertexMetadata {
    let indexes = (0..vertex.parallelism).map(SubtaskIndex::new);
    VertexMetadata {
        name: vertex.name.clone(),
        parallelism: vertex.parallelism,
        max_parallelism: job.max_parallelism,
        finished: false,
        states: Vec::new(),
        subtasks: indexes.map(SubtaskMetadata::new).collect(),
    }
}
