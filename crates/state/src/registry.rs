//! The states of one backend instance. Written once here, so that every backend treats repeated
//! registration, restored but not yet declared states, and incompatible declarations alike.

use crate::descriptor::StateDescriptor;
use crate::error::{ErrorKind, Result, StateError};
use crate::id::StateId;
use crate::snapshot_api::SnapshotTask;
use crate::snapshot_filter::{self, SnapshotFilter};

/// Most states that one backend instance can hold.
pub const STATES_MAX: usize = 4_096;

/// The states that a backend knows, in order of registration. [`StateId`]s index it.
#[derive(Debug, Default, Clone)]
pub struct StateRegistry {
    states: Vec<StateDescriptor>,
}

impl StateRegistry {
    /// An empty registry.
    #[must_use]
    pub const fn new() -> Self {
        Self { states: Vec::new() }
    }

    /// Registers `descriptor`, or finds the state of that name, be it registered before or restored
    /// from a snapshot, and checks that it can be read as declared. What typed handles put into
    /// `descriptor` beside that is taken over.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] if a state of that name has another kind or codec;
    /// [`ErrorKind::InvalidArgument`] if it was declared with another time to live;
    /// [`ErrorKind::ResourceExhausted`] past [`STATES_MAX`] states.
    pub fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        if let Some(id) = self.find(descriptor.name()) {
            if let Some(known) = self.states.get_mut(id.index()) {
                known.adopt(descriptor)?;
            }
            return Ok(id);
        }
        if self.states.len() >= STATES_MAX {
            return Err(StateError::new(
                ErrorKind::ResourceExhausted,
                format!("a backend holds at most {STATES_MAX} states: use map state or namespaces"),
            ));
        }
        let id = StateId::new(self.states.len() as u16);
        self.states.push(descriptor.clone());
        Ok(id)
    }

    /// The id of the state called `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<StateId> {
        let index = self.states.iter().position(|state| state.name() == name)?;
        Some(StateId::new(index as u16))
    }

    /// The descriptor of `state`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if this registry never handed out that id.
    pub fn get(&self, state: StateId) -> Result<&StateDescriptor> {
        self.states.get(state.index()).ok_or_else(|| unknown(state))
    }

    /// Checks that `state` is a map state (`map`) or is not one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] if the id is unknown or the state is of the other sort.
    pub fn check_map(&self, state: StateId, map: bool) -> Result<()> {
        let descriptor = self.get(state)?;
        if descriptor.kind().is_map() == map {
            return Ok(());
        }
        Err(StateError::new(
            ErrorKind::InvalidArgument,
            format!(
                "state {:?} is a {} state: {} operations do not apply to it",
                descriptor.name(),
                descriptor.kind(),
                if map { "map" } else { "plain value" }
            ),
        ))
    }

    /// Wraps the task of a snapshot so that expired entries are left out and entries that await
    /// migration are converted, both as of now. Every backend passes its tasks through this in
    /// [`KeyedBackend::snapshot`](crate::KeyedBackend::snapshot); where there is nothing to do it
    /// returns the task itself.
    #[must_use]
    pub fn filter_snapshot(&self, task: Box<dyn SnapshotTask>) -> Box<dyn SnapshotTask> {
        snapshot_filter::wrap(&self.states, task)
    }

    /// What [`Self::filter_snapshot`] does to each entry, as of now: for snapshots that hold less
    /// than all entries.
    #[must_use]
    pub fn freeze_filter(&self) -> SnapshotFilter {
        SnapshotFilter::freeze(&self.states)
    }

    /// All descriptors as snapshots list them, in order of their ids.
    #[must_use]
    pub fn persisted_descriptors(&self) -> Vec<StateDescriptor> {
        self.states.iter().map(StateDescriptor::to_persisted).collect()
    }

    /// All descriptors, in order of their ids.
    #[must_use]
    pub fn descriptors(&self) -> &[StateDescriptor] {
        &self.states
    }
}

#[cold]
fn unknown(state: StateId) -> StateError {
    StateError::new(
        ErrorKind::InvalidArgument,
        format!("{state} is not registered with this backend: ids are not valid across backends"),
    )
}
