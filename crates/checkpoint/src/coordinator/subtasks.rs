//! How far each subtask of the current attempt is, with the counts that decide a trigger in
//! constant time.

use std::sync::Arc;

use millpond_state::SubtaskId;

use super::action::Refusal;
use super::topology::{Ordinal, SubtaskState, Topology};

#[derive(Debug)]
pub(crate) struct Subtasks {
    topology: Topology,
    names: Arc<[SubtaskId]>,
    states: Vec<SubtaskState>,
    is_source: Vec<bool>,
    not_running: usize,
    finished: usize,
    open_sources: usize,
}

impl Subtasks {
    /// All subtasks of `topology`, starting.
    pub(crate) fn new(topology: Topology) -> Self {
        let count = topology.subtask_count();
        let mut is_source = vec![false; count];
        for at in topology.sources() {
            if let Some(flag) = is_source.get_mut(at.0) {
                *flag = true;
            }
        }
        Self {
            names: topology.subtasks().collect(),
            states: vec![SubtaskState::Starting; count],
            not_running: count,
            finished: 0,
            open_sources: is_source.iter().filter(|&&source| source).count(),
            is_source,
            topology,
        }
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    pub(crate) fn names(&self) -> Arc<[SubtaskId]> {
        Arc::clone(&self.names)
    }

    pub(crate) fn ordinal(&self, subtask: &SubtaskId) -> Option<Ordinal> {
        self.topology.ordinal(subtask)
    }

    pub(crate) fn set(&mut self, at: Ordinal, state: SubtaskState) {
        let Some(slot) = self.states.get_mut(at.0) else {
            return;
        };
        let before = std::mem::replace(slot, state);
        let source = self.is_source.get(at.0).copied().unwrap_or(false);
        if !runs(before) {
            self.not_running -= 1;
        }
        if !runs(state) {
            self.not_running += 1;
        }
        self.finished -= usize::from(before == SubtaskState::Finished);
        self.finished += usize::from(state == SubtaskState::Finished);
        if source {
            self.open_sources -= usize::from(!at_end(before));
            self.open_sources += usize::from(!at_end(state));
        }
    }

    pub(crate) fn is_finished(&self, at: Ordinal) -> bool {
        self.states.get(at.0) == Some(&SubtaskState::Finished)
    }

    /// For each subtask in order, whether it has finished.
    pub(crate) fn finished(&self) -> impl Iterator<Item = bool> + '_ {
        self.states.iter().map(|state| *state == SubtaskState::Finished)
    }

    pub(crate) fn all_finished(&self) -> bool {
        self.finished == self.states.len()
    }

    /// Whether no source will send another record.
    pub(crate) fn end_of_input(&self) -> bool {
        self.open_sources == 0
    }

    /// Whether each subtask runs or has finished.
    pub(crate) fn none_missing(&self) -> bool {
        self.not_running == 0
    }

    /// Whether an ordinary checkpoint or savepoint can be triggered, and if not, why.
    pub(crate) fn readiness(&self, allow_finished: bool) -> Result<(), Refusal> {
        if self.is_ready(allow_finished) {
            return Ok(());
        }
        if self.all_finished() {
            return Err(Refusal::AllFinished);
        }
        let culprit = self.names.iter().zip(&self.states).find(|(_, state)| {
            !runs(**state) || (!allow_finished && **state == SubtaskState::Finished)
        });
        match culprit {
            Some((subtask, &state)) => Err(Refusal::NotRunning { subtask: subtask.clone(), state }),
            None => Ok(()),
        }
    }

    pub(crate) fn is_ready(&self, allow_finished: bool) -> bool {
        self.none_missing() && !self.all_finished() && (allow_finished || self.finished == 0)
    }
}

/// Whether a subtask is neither yet to come nor broken.
fn runs(state: SubtaskState) -> bool {
    match state {
        SubtaskState::Running | SubtaskState::AtEnd | SubtaskState::Finished => true,
        SubtaskState::Starting | SubtaskState::Failed => false,
    }
}

fn at_end(state: SubtaskState) -> bool {
    match state {
        SubtaskState::AtEnd | SubtaskState::Finished => true,
        SubtaskState::Starting | SubtaskState::Running | SubtaskState::Failed => false,
    }
}
