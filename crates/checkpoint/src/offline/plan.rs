//! What becomes of the keyed state of one operator in a new checkpoint.

use core::cmp::Ordering;

use millpond_snapshot::ByteSource;
use millpond_snapshot::metadata::{
    FileHandle, FullHandle, KeyedStateHandle, SubtaskMetadata, SubtaskStats, VertexMetadata,
};
use millpond_state::{MaxParallelism, SnapshotEntry, StateDescriptor, SubtaskIndex, key_hash};

use super::checkpoint::{OfflineCheckpoint, no_state, parts};
use super::options::{OfflineOptions, OfflinePhase, Ticks};
use super::read::check_assigned;
use super::sort::{Merge, Sorter};
use super::target::Target;
use super::vertex_writer::{VertexFiles, VertexWriter};
use crate::error::{CheckpointError, ErrorKind, Result};

const COPY_BYTES: u64 = 1024 * 1024;

/// The states of one operator, old and new.
pub(super) struct VertexPlan<'a> {
    pub(super) operator: String,
    slots: Vec<Slot>,
    /// States that the original has: their numbers are their indexes there.
    originals: u16,
    sorter: Sorter<'a>,
    changed: bool,
}

/// A state that the new checkpoint has. In the order of their numbers.
struct Slot {
    number: u16,
    descriptor: StateDescriptor,
}

/// What is rewritten, from what to what.
pub(super) struct Rewrite<'r, 'a> {
    pub(super) original: &'r OfflineCheckpoint,
    /// Index of the operator in the metadata.
    pub(super) index: usize,
    pub(super) vertex: &'r VertexMetadata,
    pub(super) max_parallelism: MaxParallelism,
    pub(super) options: OfflineOptions<'a>,
}

impl<'a> VertexPlan<'a> {
    /// All states of `vertex`, as they are.
    pub(super) fn keeping(vertex: &VertexMetadata, options: &OfflineOptions<'a>) -> Result<Self> {
        let mut sorter = Sorter::new(options.spill);
        let mut slots = Vec::new();
        for state in &vertex.states {
            let number = sorter.add_state(&vertex.name, state)?;
            slots.push(Slot { number, descriptor: state.clone() });
        }
        let originals = slots.len() as u16;
        let operator = vertex.name.clone();
        Ok(Self { operator, slots, originals, sorter, changed: false })
    }

    /// The sorter, and the number of a state that is about to be put there.
    pub(super) fn start_put(&mut self, state: &StateDescriptor) -> Result<(u16, &mut Sorter<'a>)> {
        let number = self.sorter.add_state(&self.operator, state)?;
        Ok((number, &mut self.sorter))
    }

    /// What was put as `number` becomes the state of that name.
    pub(super) fn finish_put(&mut self, number: u16, descriptor: StateDescriptor) {
        if let Ok(at) = self.find(descriptor.name()) {
            self.remove(at);
        }
        self.slots.push(Slot { number, descriptor });
        self.changed = true;
    }

    /// What was put as `number` so far is left out.
    pub(super) fn abandon_put(&mut self, number: u16) {
        self.sorter.abandon_state(number);
    }

    pub(super) fn drop_state(&mut self, state: &str) -> Result<()> {
        let at = self.find(state)?;
        self.remove(at);
        self.changed = true;
        Ok(())
    }

    fn remove(&mut self, at: usize) {
        let slot = self.slots.remove(at);
        self.sorter.abandon_state(slot.number);
    }

    pub(super) fn rename_state(&mut self, from: &str, to: &str) -> Result<()> {
        let at = self.find(from)?;
        if from != to && self.find(to).is_ok() {
            return Err(super::invalid(format!(
                "operator {:?} has a state {to:?} already: drop it, or choose another name",
                self.operator
            )));
        }
        if let Some(slot) = self.slots.get_mut(at) {
            let (kind, codecs) = (slot.descriptor.kind(), slot.descriptor.codecs().clone());
            slot.descriptor = StateDescriptor::new(to, kind, codecs).map_err(super::state_error)?;
            self.changed = true;
        }
        Ok(())
    }

    /// The index in the original of a state that is kept; `None` if it was put here.
    pub(super) fn original_index(&self, state: &str) -> Result<Option<usize>> {
        let at = self.find(state)?;
        let number = self.slots.get(at).map(|slot| slot.number);
        Ok(number.filter(|number| *number < self.originals).map(usize::from))
    }

    fn find(&self, state: &str) -> Result<usize> {
        let found = self.slots.iter().position(|slot| slot.descriptor.name() == state);
        let states = self.slots.iter().map(|slot| &slot.descriptor);
        found.ok_or_else(|| no_state(&self.operator, states, state))
    }

    /// The operator without an original.
    pub(super) fn write_new(
        self,
        index: usize,
        vertex: &VertexMetadata,
        options: &OfflineOptions<'a>,
        target: &mut Target,
    ) -> Result<VertexMetadata> {
        if self.slots.is_empty() {
            return Ok(vertex.clone());
        }
        let (states, positions) = (self.states(), self.positions());
        let files = files(index, vertex, &states, vertex.max_parallelism, options);
        let runs = self.sorter.finish()?;
        let open = runs.open()?;
        let merge = open.merge(runs.states())?;
        let ticks = options.ticks(OfflinePhase::Write);
        let mut output =
            Output { writer: VertexWriter::new(target, files), merge, positions, ticks };
        output.drain(None)?;
        let handles = output.writer.finish()?;
        with_files(vertex, vertex.max_parallelism, &states, handles)
    }

    /// The operator with what is kept of its original.
    pub(super) fn write(
        mut self,
        rewrite: &Rewrite<'_, 'a>,
        target: &mut Target,
        on_entry: &mut dyn FnMut(&SnapshotEntry<'_>),
    ) -> Result<VertexMetadata> {
        let (vertex, to) = (rewrite.vertex, rewrite.max_parallelism);
        let moved = to != vertex.max_parallelism;
        if !moved && !self.changed && is_full(vertex) {
            copy_files(rewrite.original, vertex, target)?;
            return Ok(vertex.clone());
        }
        if self.slots.is_empty() {
            return Ok(without_states(vertex, to));
        }
        let (states, positions) = (self.states(), self.positions());
        let put = self.slots.iter().any(|slot| slot.number >= self.originals);
        let resort = moved || !is_ordered(vertex)?;
        let check = |entry: &SnapshotEntry<'_>| {
            let state = vertex.states.get(usize::from(entry.state)).map_or("", |it| it.name());
            check_assigned(&vertex.name, state, entry, vertex.max_parallelism)
        };
        if resort {
            let mut ticks = rewrite.options.ticks(OfflinePhase::Read);
            rewrite.original.visit(vertex, &mut |entry| {
                if moved || put {
                    check(entry)?;
                }
                on_entry(entry);
                ticks.entry()?;
                let hash = || to.group_of_hash(key_hash(entry.key));
                let group = if moved { hash() } else { entry.group };
                self.sorter.push(&SnapshotEntry { group, ..*entry })
            })?;
        }
        let runs = self.sorter.finish()?;
        let open = runs.open()?;
        let merge = open.merge(runs.states())?;
        let files = files(rewrite.index, vertex, &states, to, &rewrite.options);
        let ticks = rewrite.options.ticks(OfflinePhase::Write);
        let mut output =
            Output { writer: VertexWriter::new(target, files), merge, positions, ticks };
        if !resort {
            rewrite.original.visit(vertex, &mut |entry| {
                if put {
                    check(entry)?;
                }
                on_entry(entry);
                output.kept(entry)
            })?;
        }
        output.drain(None)?;
        let handles = output.writer.finish()?;
        with_files(vertex, to, &states, handles)
    }

    fn states(&self) -> Vec<StateDescriptor> {
        self.slots.iter().map(|slot| slot.descriptor.clone()).collect()
    }

    /// For each number the index among the new states, `None` for those that are left out.
    fn positions(&self) -> Vec<Option<u16>> {
        let last = self.slots.last().map_or(0, |slot| usize::from(slot.number) + 1);
        let mut positions = vec![None; last];
        for (at, slot) in self.slots.iter().enumerate() {
            if let Some(position) = positions.get_mut(usize::from(slot.number)) {
                *position = Some(at as u16);
            }
        }
        positions
    }
}

fn files<'f>(
    index: usize,
    vertex: &'f VertexMetadata,
    states: &'f [StateDescriptor],
    max_parallelism: MaxParallelism,
    options: &OfflineOptions<'_>,
) -> VertexFiles<'f> {
    VertexFiles {
        index,
        name: &vertex.name,
        states,
        parallelism: vertex.parallelism,
        max_parallelism,
        options: options.full_options(),
    }
}

/// Kept and sorted entries on their way to files. Their states are numbers of the plan.
struct Output<'o> {
    writer: VertexWriter<'o>,
    merge: Merge<'o>,
    positions: Vec<Option<u16>>,
    ticks: Ticks<'o>,
}

impl Output<'_> {
    /// Writes an entry of the original after the sorted ones that come before it.
    fn kept(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        self.drain(Some(entry))?;
        self.write(entry)
    }

    /// Writes the sorted entries before `until`.
    fn drain(&mut self, until: Option<&SnapshotEntry<'_>>) -> Result<()> {
        let Self { writer, merge, positions, ticks } = self;
        while let Some(entry) = merge.current() {
            if until.is_some_and(|until| compare(&entry, until) != Ordering::Less) {
                break;
            }
            write(writer, positions, ticks, &entry)?;
            merge.advance()?;
        }
        Ok(())
    }

    fn write(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        write(&mut self.writer, &self.positions, &mut self.ticks, entry)
    }
}

fn write(
    writer: &mut VertexWriter<'_>,
    positions: &[Option<u16>],
    ticks: &mut Ticks<'_>,
    entry: &SnapshotEntry<'_>,
) -> Result<()> {
    match positions.get(usize::from(entry.state)) {
        Some(Some(state)) => {
            ticks.entry()?;
            writer.push(&SnapshotEntry { state: *state, ..*entry })
        }
        _ => Ok(()),
    }
}

fn compare(entry: &SnapshotEntry<'_>, other: &SnapshotEntry<'_>) -> Ordering {
    (entry.group, entry.state, entry.key, entry.namespace, entry.user_key).cmp(&(
        other.group,
        other.state,
        other.key,
        other.namespace,
        other.user_key,
    ))
}

/// Whether all state is in full snapshots, which alone can be copied as they are: a copy must be
/// self-contained, and shares nothing.
fn is_full(vertex: &VertexMetadata) -> bool {
    let mut handles = vertex.subtasks.iter().flat_map(|subtask| &subtask.keyed_state);
    handles.all(|handle| matches!(handle, KeyedStateHandle::Full(_)))
}

/// Whether the files have the vertex's states in its order, so that nothing must be sorted.
fn is_ordered(vertex: &VertexMetadata) -> Result<bool> {
    let index = |name: &str| vertex.states.iter().position(|state| state.name() == name);
    let ordered = |handle: &&KeyedStateHandle| match handle {
        KeyedStateHandle::Full(full) => {
            full.states.iter().map(|state| index(&state.state)).is_sorted()
        }
        _ => false,
    };
    Ok(parts(vertex)?.iter().all(ordered))
}

fn without_states(vertex: &VertexMetadata, max_parallelism: MaxParallelism) -> VertexMetadata {
    let mut vertex = VertexMetadata { states: Vec::new(), max_parallelism, ..vertex.clone() };
    for subtask in &mut vertex.subtasks {
        subtask.key_groups = None;
        subtask.keyed_state.clear();
        subtask.stats = SubtaskStats::default();
    }
    vertex
}

/// `vertex` with new files, one for each subtask.
fn with_files(
    vertex: &VertexMetadata,
    max_parallelism: MaxParallelism,
    states: &[StateDescriptor],
    handles: Vec<FullHandle>,
) -> Result<VertexMetadata> {
    let mut subtasks = Vec::with_capacity(handles.len());
    for (index, handle) in handles.into_iter().enumerate() {
        let index = SubtaskIndex::new(index as u32);
        let old = vertex.subtasks.iter().find(|subtask| subtask.index == index);
        let mut subtask = old.cloned().unwrap_or_else(|| SubtaskMetadata::new(index));
        subtask.stats = SubtaskStats {
            entries: handle.entries,
            entries_changed: handle.entries,
            bytes: handle.file.bytes(),
            ..SubtaskStats::default()
        };
        subtask.key_groups = Some(handle.key_groups);
        subtask.keyed_state = vec![KeyedStateHandle::Full(handle)];
        subtasks.push(subtask);
    }
    let states = states.to_vec();
    Ok(VertexMetadata { states, subtasks, max_parallelism, ..vertex.clone() })
}

/// Copies the files of an operator byte by byte.
fn copy_files(
    original: &OfflineCheckpoint,
    vertex: &VertexMetadata,
    target: &mut Target,
) -> Result<()> {
    for handle in vertex.subtasks.iter().flat_map(|subtask| &subtask.keyed_state) {
        let reader = original.folder().open_full(handle)?;
        for file in handle.files() {
            copy_file(reader.source(), file, target)?;
        }
    }
    Ok(())
}

fn copy_file(source: &impl ByteSource, file: &FileHandle, target: &mut Target) -> Result<()> {
    use millpond_snapshot::ByteSink;
    let mut sink = target.file(file.name())?;
    let mut hasher = crc32fast::Hasher::new();
    let mut chunk = Vec::new();
    let mut offset = 0;
    while offset < source.len() {
        let len = (source.len() - offset).min(COPY_BYTES);
        chunk.resize(len as usize, 0);
        source.read_exact_at(offset, &mut chunk)?;
        hasher.update(&chunk);
        sink.write(&chunk)?;
        offset += len;
    }
    if hasher.finalize() != file.crc32() {
        let message = format!(
            "{} is damaged: its checksum is not that of the metadata (verify the checkpoint to \
             see where)",
            source.name()
        );
        return Err(CheckpointError::new(ErrorKind::Corrupt, message));
    }
    sink.finish()?;
    Ok(())
}
