//! An open checkpoint.

use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::{KeyedStateHandle, VertexMetadata};
use millpond_state::{EntrySource, SnapshotEntry, StateDescriptor};

use super::content::{StateContent, Summing};
use super::read::StateReader;
use super::state_error;
use crate::driver::CheckpointFolder;
use crate::error::{CheckpointError, ErrorKind, Result};

/// A checkpoint that no job is running from: its metadata is read, its state when asked for.
#[derive(Clone, Debug)]
pub struct OfflineCheckpoint {
    folder: CheckpointFolder,
    metadata: CheckpointMetadata,
}

impl OfflineCheckpoint {
    /// Opens the checkpoint in `folder`.
    ///
    /// # Errors
    /// As [`CheckpointFolder::load`].
    pub fn open(folder: CheckpointFolder) -> Result<Self> {
        let metadata = folder.load()?;
        Ok(Self { folder, metadata })
    }

    /// The files in `folder`, which `metadata` is not or not yet published for.
    pub(super) const fn unpublished(
        folder: CheckpointFolder,
        metadata: CheckpointMetadata,
    ) -> Self {
        Self { folder, metadata }
    }

    /// Where it is.
    #[must_use]
    pub const fn folder(&self) -> &CheckpointFolder {
        &self.folder
    }

    /// What it says of itself.
    #[must_use]
    pub const fn metadata(&self) -> &CheckpointMetadata {
        &self.metadata
    }

    /// The operator (vertex) called `name`, with the states it has.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] naming those there are.
    pub fn operator(&self, name: &str) -> Result<&VertexMetadata> {
        self.metadata.vertex(name).ok_or_else(|| no_operator(&self.metadata, name))
    }

    /// One state of one operator, over all its subtasks.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] naming those there are; [`ErrorKind::Incompatible`] if parts of the
    /// operator's state overlap.
    pub fn state(&self, operator: &str, state: &str) -> Result<StateReader<'_>> {
        let vertex = self.operator(operator)?;
        let descriptor = find_state(vertex, state)?;
        StateReader::new(self, vertex, descriptor)
    }

    /// Reads everything and sums it up, state by state: equal content, however it is spread over
    /// key groups, subtasks and files, has equal sums.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if a file is missing or damaged; [`ErrorKind::Storage`] if one cannot
    /// be read.
    pub fn contents(&self) -> Result<Vec<StateContent>> {
        self.contents_with(&mut |_| Ok(()))
    }

    pub(super) fn contents_with(
        &self,
        on_entry: &mut dyn FnMut(&SnapshotEntry<'_>) -> Result<()>,
    ) -> Result<Vec<StateContent>> {
        let mut contents = Vec::new();
        for vertex in &self.metadata.vertices {
            let mut summing = Summing::new(vertex);
            self.visit(vertex, &mut |entry| {
                summing.add(entry);
                on_entry(entry)
            })?;
            contents.extend(summing.finish());
        }
        Ok(contents)
    }

    /// Calls `visit` with every entry of `vertex`, file by file in the order of key groups. The
    /// entry's state is its index in the vertex's states; within a key group, entries of one state
    /// are in canonical order, and states come in the order of the file.
    pub(super) fn visit(
        &self,
        vertex: &VertexMetadata,
        visit: &mut dyn FnMut(&SnapshotEntry<'_>) -> Result<()>,
    ) -> Result<()> {
        for handle in parts(vertex)? {
            let reader = self.folder.open_entries(handle)?;
            let states = indexes(reader.states(), vertex)?;
            let mut entries = reader.entries(handle.key_groups());
            while let Some(mut entry) = entries.next_entry().map_err(state_error)? {
                entry.state = states.get(usize::from(entry.state)).copied().unwrap_or(u16::MAX);
                visit(&entry)?;
            }
        }
        Ok(())
    }
}

/// The parts of a vertex's keyed state, in the order of their key groups.
pub(super) fn parts(vertex: &VertexMetadata) -> Result<Vec<&KeyedStateHandle>> {
    let mut parts: Vec<&KeyedStateHandle> =
        vertex.subtasks.iter().flat_map(|subtask| &subtask.keyed_state).collect();
    parts.sort_by_key(|handle| handle.key_groups().first());
    for (part, next) in parts.iter().zip(parts.iter().skip(1)) {
        if next.key_groups().first() <= part.key_groups().last() {
            return Err(CheckpointError::new(
                ErrorKind::Incompatible,
                format!(
                    "two parts of operator {:?} hold key groups {} and {}: take a savepoint of \
                     the job and use that",
                    vertex.name,
                    part.key_groups(),
                    next.key_groups()
                ),
            ));
        }
    }
    Ok(parts)
}

/// For each state of a file its index in the vertex's states.
fn indexes(states: &[StateDescriptor], vertex: &VertexMetadata) -> Result<Vec<u16>> {
    let index = |state: &StateDescriptor| {
        let found = vertex.states.iter().position(|known| known == state);
        found.and_then(|at| u16::try_from(at).ok()).ok_or_else(|| {
            CheckpointError::new(
                ErrorKind::Corrupt,
                format!(
                    "a file of operator {:?} has state {:?}, the metadata does not describe it so",
                    vertex.name,
                    state.name()
                ),
            )
        })
    };
    states.iter().map(index).collect()
}

#[cold]
pub(super) fn no_operator(metadata: &CheckpointMetadata, name: &str) -> CheckpointError {
    let names = listed(metadata.vertices.iter().map(|vertex| vertex.name.as_str()));
    let message = format!("there is no operator {name:?}; there are: {names}");
    CheckpointError::new(ErrorKind::NotFound, message)
}

fn find_state<'m>(vertex: &'m VertexMetadata, state: &str) -> Result<&'m StateDescriptor> {
    let found = vertex.states.iter().find(|known| known.name() == state);
    found.ok_or_else(|| no_state(&vertex.name, vertex.states.iter(), state))
}

#[cold]
pub(super) fn no_state<'a>(
    operator: &str,
    states: impl Iterator<Item = &'a StateDescriptor>,
    state: &str,
) -> CheckpointError {
    let names = listed(states.map(StateDescriptor::name));
    let message = format!("operator {operator:?} has no state {state:?}; it has: {names}");
    CheckpointError::new(ErrorKind::NotFound, message)
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
