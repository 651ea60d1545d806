//! External sort of entries: in memory up to a bound, then as sorted runs in a temporary folder,
//! which are merged.
//!
//! A run is a full snapshot file, so it is compressed and every block of it has a checksum. Runs
//! keep the order in which entries came: what is put for one address of a list is concatenated in
//! that order; one timer put twice is once; any other address may come only once.
//!
//! Runs are deleted when they are merged or dropped. A process that dies leaves them behind.

mod buffer;
mod merge;
mod owned;
mod run;

pub(super) use merge::{Merge, OpenRuns};
pub use run::Spill;

use millpond_snapshot::FullWriter;
use millpond_state::{EntrySink, SnapshotEntry, StateDescriptor, StateKind};

use self::buffer::Buffer;
use self::run::Run;
use super::state_error;
use crate::error::{CheckpointError, ErrorKind, Result};

/// A state that is sorted: what runs and messages call it.
pub(super) struct SortedState {
    /// For messages.
    name: String,
    kind: StateKind,
    /// Whether nobody wants its entries.
    abandoned: bool,
    /// For runs: states of one name may be sorted together.
    in_runs: StateDescriptor,
}

/// Sorts entries of several states.
pub(super) struct Sorter<'s> {
    spill: &'s Spill,
    states: Vec<SortedState>,
    buffer: Buffer,
    runs: Vec<Run>,
}

impl<'s> Sorter<'s> {
    pub(super) fn new(spill: &'s Spill) -> Self {
        Self { spill, states: Vec::new(), buffer: Buffer::default(), runs: Vec::new() }
    }

    /// Adds a state of `operator`: the number that its entries have. Numbers count up from 0, and
    /// decide about the order.
    pub(super) fn add_state(&mut self, operator: &str, state: &StateDescriptor) -> Result<u16> {
        let number = u16::try_from(self.states.len())
            .map_err(|_| super::invalid(format!("too many states of operator {operator:?}")))?;
        let in_runs =
            StateDescriptor::new(format!("s{number}"), state.kind(), state.codecs().clone());
        self.states.push(SortedState {
            name: format!("state {:?} of operator {operator:?}", state.name()),
            kind: state.kind(),
            abandoned: false,
            in_runs: in_runs.map_err(state_error)?,
        });
        Ok(number)
    }

    /// Whatever was added for a state, nothing is wrong with it.
    pub(super) fn abandon_state(&mut self, number: u16) {
        if let Some(state) = self.states.get_mut(usize::from(number)) {
            state.abandoned = true;
        }
    }

    /// Adds an entry.
    pub(super) fn push(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        if self.buffer.bytes_with(entry) > self.spill.memory_bytes() && !self.buffer.is_empty() {
            self.spill()?;
        }
        self.buffer.push(entry)
    }

    /// Writes what is in memory to a run.
    pub(super) fn spill(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.buffer.sort();
        let (buffer, states) = (&self.buffer, self.states.as_slice());
        let run = self.spill.write_run(&schema(states), |writer| {
            let mut combined = Vec::new();
            let mut entries = buffer.entries().peekable();
            while let Some(mut entry) = entries.next() {
                combined.clear();
                while let Some(more) = entries.next_if(|next| is_same_address(&entry, next)) {
                    if combined.is_empty() {
                        combined.extend_from_slice(entry.value);
                    }
                    combine(states, &more, &mut combined)?;
                }
                if !combined.is_empty() {
                    entry.value = &combined;
                }
                writer.entry(&entry).map_err(state_error)?;
            }
            Ok(())
        })?;
        self.runs.push(run);
        self.buffer.clear();
        Ok(())
    }

    /// Ends the input: few enough runs to be merged at once.
    pub(super) fn finish(mut self) -> Result<SortedRuns> {
        self.spill()?;
        self.buffer = Buffer::default();
        let fan_in = self.spill.fan_in();
        while self.runs.len() > fan_in {
            let mut merged = Vec::new();
            let mut rest = core::mem::take(&mut self.runs).into_iter();
            loop {
                let runs: Vec<Run> = rest.by_ref().take(fan_in).collect();
                if runs.is_empty() {
                    break;
                }
                merged.push(self.merge(runs)?);
            }
            self.runs = merged;
        }
        Ok(SortedRuns { states: self.states, runs: self.runs })
    }

    fn merge(&self, runs: Vec<Run>) -> Result<Run> {
        let open = OpenRuns::open(&runs)?;
        let mut merge = open.merge(&self.states)?;
        self.spill.write_run(&schema(&self.states), |writer| {
            while let Some(entry) = merge.current() {
                writer.entry(&entry).map_err(state_error)?;
                merge.advance()?;
            }
            Ok(())
        })
    }
}

/// Sorted entries on disk.
pub(super) struct SortedRuns {
    states: Vec<SortedState>,
    runs: Vec<Run>,
}

impl SortedRuns {
    pub(super) fn open(&self) -> Result<OpenRuns> {
        OpenRuns::open(&self.runs)
    }

    pub(super) fn states(&self) -> &[SortedState] {
        &self.states
    }
}

fn schema(states: &[SortedState]) -> Vec<StateDescriptor> {
    states.iter().map(|state| state.in_runs.clone()).collect()
}

fn is_same_address(entry: &SnapshotEntry<'_>, other: &SnapshotEntry<'_>) -> bool {
    (entry.group, entry.state, entry.key, entry.namespace, entry.user_key)
        == (other.group, other.state, other.key, other.namespace, other.user_key)
}

/// Adds a later entry of the same address to `value`.
fn combine(states: &[SortedState], later: &SnapshotEntry<'_>, value: &mut Vec<u8>) -> Result<()> {
    let Some(state) = states.get(usize::from(later.state)) else { return Ok(()) };
    match state.kind {
        StateKind::List => value.extend_from_slice(later.value),
        StateKind::Timer => {}
        _ if state.abandoned => {}
        _ => {
            return Err(CheckpointError::new(
                ErrorKind::InvalidArgument,
                format!(
                    "{} has two entries for the key of bytes {}: put each key, namespace and user \
                     key once",
                    state.name,
                    hex(later.key)
                ),
            ));
        }
    }
    Ok(())
}

/// The first bytes, for a message.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect()
}

type RunWriter<'w> = FullWriter<&'w mut crate::driver::ObjectSink>;
