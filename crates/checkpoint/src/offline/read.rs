//! Iterating one state of one operator.

use core::cell::OnceCell;
use std::collections::VecDeque;

use millpond_snapshot::metadata::{KeyedStateHandle, VertexMetadata};
use millpond_state::{EntrySource, MaxParallelism, SnapshotEntry, StateDescriptor, key_hash};

use super::checkpoint::{OfflineCheckpoint, parts};
use super::dynamic::DynFormat;
use super::entry::{EntryFormat, StateType};
use super::state_error;
use crate::driver::{EntriesReader, StoredEntries};
use crate::error::{CheckpointError, ErrorKind, Result};

/// One state of one operator of a checkpoint, over all subtasks. Files are opened when they are
/// reached and stay open until this is dropped.
pub struct StateReader<'c> {
    checkpoint: &'c OfflineCheckpoint,
    vertex: &'c VertexMetadata,
    descriptor: &'c StateDescriptor,
    parts: Vec<Part<'c>>,
}

struct Part<'c> {
    handle: &'c KeyedStateHandle,
    reader: OnceCell<EntriesReader>,
}

impl<'c> StateReader<'c> {
    pub(super) fn new(
        checkpoint: &'c OfflineCheckpoint,
        vertex: &'c VertexMetadata,
        descriptor: &'c StateDescriptor,
    ) -> Result<Self> {
        let parts = parts(vertex)?;
        let parts = parts.into_iter().map(|handle| Part { handle, reader: OnceCell::new() });
        Ok(Self { checkpoint, vertex, descriptor, parts: parts.collect() })
    }

    /// Name, kind and codecs.
    #[must_use]
    pub const fn descriptor(&self) -> &'c StateDescriptor {
        self.descriptor
    }

    /// How many entries the state has; a list counts as one. From metadata, nothing is read; of
    /// incremental state, entries that have expired may count.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        let of_part = |part: &Part<'_>| part.handle.state_entries(self.descriptor.name());
        self.parts.iter().map(of_part).fold(0, u64::saturating_add)
    }

    /// The entries, of a list state the elements, in canonical order: by key group, key, namespace
    /// and user key, each in the order of its bytes. One block and what is
    /// stored for one address (of a list state a whole list) are in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`], naming both sides, if the state has another kind or other
    /// codecs than `T`.
    pub fn entries<T: StateType>(&self) -> Result<Entries<'_, T>> {
        let format = T::default();
        let wanted = format.describe(self.descriptor.name()).map_err(state_error)?;
        check_same(&self.vertex.name, self.descriptor, &wanted)?;
        Ok(self.entries_as(format))
    }

    /// The same, untyped.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] if a codec is one that only its own program knows.
    pub fn dynamic(&self) -> Result<Entries<'_, DynFormat>> {
        Ok(self.entries_as(DynFormat::of(self.descriptor).map_err(state_error)?))
    }

    fn entries_as<F: EntryFormat>(&self, format: F) -> Entries<'_, F> {
        Entries {
            state: self,
            format,
            assigned: None,
            next_part: 0,
            current: None,
            queue: VecDeque::new(),
            failed: false,
        }
    }

    fn open<'s>(&'s self, part: &'s Part<'c>) -> Result<&'s EntriesReader> {
        if let Some(reader) = part.reader.get() {
            return Ok(reader);
        }
        let reader = self.checkpoint.folder().open_entries(part.handle)?;
        Ok(part.reader.get_or_init(|| reader))
    }
}

fn check_same(operator: &str, stored: &StateDescriptor, wanted: &StateDescriptor) -> Result<()> {
    if stored.kind() == wanted.kind() && stored.codecs() == wanted.codecs() {
        return Ok(());
    }
    Err(CheckpointError::new(
        ErrorKind::Incompatible,
        format!(
            "state {:?} of operator {operator:?} is a {}, not a {}: name the types it was written \
             with",
            stored.name(),
            described(stored),
            described(wanted)
        ),
    ))
}

fn described(state: &StateDescriptor) -> String {
    let codecs = state.codecs();
    let user_key = codecs.user_key.as_ref().map(|it| format!(", user key {it}"));
    format!(
        "{} state of key {}, namespace {}{}, value {}",
        state.kind(),
        codecs.key,
        codecs.namespace,
        user_key.unwrap_or_default(),
        codecs.value
    )
}

/// Checks that an entry is in the key group that its key's hash gives.
pub(super) fn check_assigned(
    operator: &str,
    state: &str,
    entry: &SnapshotEntry<'_>,
    max_parallelism: MaxParallelism,
) -> Result<()> {
    let group = max_parallelism.group_of_hash(key_hash(entry.key));
    if group == entry.group {
        return Ok(());
    }
    Err(CheckpointError::new(
        ErrorKind::Incompatible,
        format!(
            "state {state:?} of operator {operator:?} has a key in key group {} that belongs to \
             {group} by its hash: the engine assigned keys to key groups in its own way, which \
             only it can do anew",
            entry.group
        ),
    ))
}

/// Iterates over the entries of a [`StateReader`]. After an error it ends.
pub struct Entries<'r, F: EntryFormat> {
    state: &'r StateReader<'r>,
    format: F,
    /// Whether to check key groups, and by how many.
    assigned: Option<MaxParallelism>,
    next_part: usize,
    current: Option<(StoredEntries<'r>, Option<u16>)>,
    queue: VecDeque<F::Entry>,
    failed: bool,
}

impl<F: EntryFormat> Entries<'_, F> {
    /// Fails at an entry that is in another key group than the hash of its key gives.
    pub(super) fn checking_assignment(mut self) -> Self {
        self.assigned = Some(self.state.vertex.max_parallelism);
        self
    }

    /// Decodes the next stored entry into the queue; false at the end.
    fn fill(&mut self) -> Result<bool> {
        loop {
            let Some((entries, wanted)) = &mut self.current else {
                if !self.open_next()? {
                    return Ok(false);
                }
                continue;
            };
            match entries.next_entry().map_err(state_error)? {
                None => self.current = None,
                Some(entry) if Some(entry.state) == *wanted => {
                    let (operator, state) = (&self.state.vertex.name, self.state.descriptor.name());
                    if let Some(max_parallelism) = self.assigned {
                        check_assigned(operator, state, &entry, max_parallelism)?;
                    }
                    let group = entry.group;
                    self.format.decode_into(&entry, &mut self.queue).map_err(|error| {
                        let place =
                            format!("state {state:?} of operator {operator:?}, key group {group}");
                        state_error(error.context(place))
                    })?;
                    return Ok(true);
                }
                Some(_) => {}
            }
        }
    }

    fn open_next(&mut self) -> Result<bool> {
        let Some(part) = self.state.parts.get(self.next_part) else { return Ok(false) };
        self.next_part += 1;
        let reader = self.state.open(part)?;
        let name = self.state.descriptor.name();
        let wanted = reader.states().iter().position(|state| state.name() == name);
        let wanted = wanted.and_then(|at| u16::try_from(at).ok());
        self.current = Some((reader.entries(part.handle.key_groups()), wanted));
        Ok(true)
    }
}

impl<F: EntryFormat> Iterator for Entries<'_, F> {
    type Item = Result<F::Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.queue.pop_front() {
                return Some(Ok(entry));
            }
            if self.failed {
                return None;
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    self.queue.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}
