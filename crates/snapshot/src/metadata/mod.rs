//! Checkpoint metadata: the one file that makes a checkpoint exist. It says what was checkpointed
//! and names every data file that a restore needs, by name, length and checksum, together with the
//! figures that tools show without opening those files.
//!
//! ```text
//! +------------------------------------------+
//! | magic "MPDMETA\n"                      8 |
//! +-----------+------------+-----------------+
//! | version 2 | flags    2 | file_bytes    4 |
//! +-----------+------------+-----------------+
//! | fields of `CheckpointMetadata` ...       |
//! +-----------------------------+------------+
//! | ...                         | crc32    4 |   of all bytes before it
//! +-----------------------------+------------+
//!
//! field = tag:u16 bytes:u32 content
//! ```
//!
//! A tag whose top bit is set must be understood: a reader that does not know it refuses the file
//! as written by a newer Millpond. Other unknown tags are skipped. Messages within messages are
//! fields again. Fields stand in ascending order of their tag (without the top bit), so equal
//! metadata has equal bytes; a field that may repeat repeats in place.
//!
//! Invariants, checked alike before encoding and after decoding (`validate`): names of files are
//! relative and safe; vertices, subtasks, states and key groups are unique and in order; key groups
//! are below the max parallelism. Metadata is a plain value: it has no handle on any store.

mod decode;
mod encode;
mod field;
mod handle;
mod incremental;
mod tag;
mod validate;

use std::collections::BTreeSet;

use millpond_state::{
    AttemptId, CheckpointId, KeyGroupRange, MaxParallelism, OperatorStatePart, StateDescriptor,
    SubtaskIndex,
};

use crate::error::{Result, SnapshotError};
pub use handle::{FileHandle, FullHandle, KeyGroupSize, KeyedStateHandle, Skew, StateEntries};
pub use incremental::{FileScope, IncrementalHandle, LogicalFile};

/// Largest metadata file, in bytes.
pub const METADATA_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Longest name of a job, vertex, operator state or backend, in bytes.
pub const NAME_BYTES_MAX: usize = 1_024;

/// Most operator states of a subtask.
pub const OPERATOR_STATES_MAX: usize = 4_096;

/// Most vertices of a job.
pub const VERTICES_MAX: usize = 65_536;

/// What a checkpoint was taken for. The numbers are part of the format and never re-used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum CheckpointKind {
    /// Taken for recovery; subsumed by later ones.
    Checkpoint = 1,
    /// Taken by a person; kept until a person deletes it, self-contained and movable.
    Savepoint = 2,
    /// Taken at the end of input, so that the last output is committed.
    Final = 3,
}

/// What a checkpoint guarantees. The numbers are part of the format and never re-used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum CheckpointMode {
    /// Each record has affected the state exactly once.
    ExactlyOnce = 1,
    /// Records between the barriers of different channels may affect it twice after a restore.
    AtLeastOnce = 2,
}

impl CheckpointKind {
    /// The number in the file.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Checkpoint),
            2 => Some(Self::Savepoint),
            3 => Some(Self::Final),
            _ => None,
        }
    }
}

impl CheckpointMode {
    /// The number in the file.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::ExactlyOnce),
            2 => Some(Self::AtLeastOnce),
            _ => None,
        }
    }
}

/// Everything that one completed checkpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointMetadata {
    /// The job's name, as its user calls it.
    pub job_name: String,
    /// What sort of job it is: jobs of different kinds do not restore each other's checkpoints.
    pub job_kind: String,
    /// The execution attempt that took the checkpoint.
    pub attempt: AttemptId,
    /// The checkpoint's number.
    pub checkpoint: CheckpointId,
    /// What it was taken for.
    pub kind: CheckpointKind,
    /// Wall-clock time of the trigger, in milliseconds since 1970-01-01T00:00Z.
    pub triggered_at_ms: u64,
    /// Wall-clock time of the last acknowledgement, likewise.
    pub completed_at_ms: u64,
    /// From trigger to last acknowledgement by a monotonic clock, in milliseconds.
    pub duration_ms: u64,
    /// What it guarantees.
    pub mode: CheckpointMode,
    /// Name of the state backend that the job ran with.
    pub state_backend: String,
    /// The job's max parallelism; fixed for its life.
    pub max_parallelism: MaxParallelism,
    /// The vertices, each name once.
    pub vertices: Vec<VertexMetadata>,
}

/// One vertex of the job graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VertexMetadata {
    /// The vertex's stable name.
    pub name: String,
    /// How many subtasks it had.
    pub parallelism: u32,
    /// The vertex's max parallelism.
    pub max_parallelism: MaxParallelism,
    /// Whether all its subtasks had finished: a restored job does not run them again.
    pub finished: bool,
    /// Schemas of the keyed states that any of its subtasks has, each name once.
    pub states: Vec<StateDescriptor>,
    /// The subtasks, ascending by index.
    pub subtasks: Vec<SubtaskMetadata>,
}

impl VertexMetadata {
    /// Adds the schema of a keyed state, unless it is there already.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::SnapshotErrorKind::InvalidArgument) if another subtask has a
    /// state of that name with another kind or codec.
    pub fn add_state(&mut self, state: &StateDescriptor) -> Result<()> {
        match self.states.iter().find(|known| known.name() == state.name()) {
            None => self.states.push(state.clone()),
            Some(known) if known == state => {}
            Some(known) => {
                let error = known.check_readable_as(state).err();
                return Err(SnapshotError::invalid(format!(
                    "subtasks of vertex {:?} disagree: {}",
                    self.name,
                    error.as_ref().map_or("", |error| error.message())
                )));
            }
        }
        Ok(())
    }
}

/// What one subtask contributed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubtaskMetadata {
    /// Index within the vertex, below its parallelism.
    pub index: SubtaskIndex,
    /// The key groups it owned; `None` if it has no keyed state.
    pub key_groups: Option<KeyGroupRange>,
    /// Where its keyed state is: all of them together make it up.
    pub keyed_state: Vec<KeyedStateHandle>,
    /// Its operator state, each name once.
    pub operator_state: Vec<OperatorStatePart>,
    /// Whether it had finished.
    pub finished: bool,
    /// What it took.
    pub stats: SubtaskStats,
}

impl SubtaskMetadata {
    /// A subtask without state.
    #[must_use]
    pub fn new(index: SubtaskIndex) -> Self {
        Self {
            index,
            key_groups: None,
            keyed_state: Vec::new(),
            operator_state: Vec::new(),
            finished: false,
            stats: SubtaskStats::default(),
        }
    }
}

/// Figures of one subtask's part of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SubtaskStats {
    /// The synchronous part, in microseconds: how long processing stood still.
    pub sync_us: u64,
    /// The asynchronous part, in milliseconds.
    pub async_ms: u64,
    /// From the first barrier to the last, in milliseconds.
    pub alignment_ms: u64,
    /// Entries of keyed state.
    pub entries: u64,
    /// Of those, how many changed since the last completed checkpoint.
    pub entries_changed: u64,
    /// Bytes written for this checkpoint, operator state included.
    pub bytes: u64,
}

impl CheckpointMetadata {
    /// The bytes of the metadata file. Equal metadata has equal bytes.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::SnapshotErrorKind::InvalidArgument) if the metadata breaks an
    /// invariant of this module or passes [`METADATA_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        validate::check(self).map_err(SnapshotError::invalid)?;
        encode::encode(self)
    }

    /// Reads a metadata file; `name` is what errors call it.
    ///
    /// # Errors
    /// [`Corrupt`](crate::SnapshotErrorKind::Corrupt) if `bytes` are damaged, cut or break an
    /// invariant of this module; [`Unsupported`](crate::SnapshotErrorKind::Unsupported) if a newer
    /// Millpond wrote them.
    pub fn decode_from(name: &str, bytes: &[u8]) -> Result<Self> {
        decode::decode(bytes)
            .and_then(|metadata| {
                validate::check(&metadata).map_err(SnapshotError::corrupt)?;
                Ok(metadata)
            })
            .map_err(|error| error.in_file(name))
    }

    /// The vertex called `name`.
    #[must_use]
    pub fn vertex(&self, name: &str) -> Option<&VertexMetadata> {
        self.vertices.iter().find(|vertex| vertex.name == name)
    }

    /// All data files that the checkpoint refers to, in order of vertices and subtasks. A file that
    /// several subtasks refer to comes several times.
    pub fn files(&self) -> impl Iterator<Item = &FileHandle> {
        self.vertices
            .iter()
            .flat_map(|vertex| &vertex.subtasks)
            .flat_map(|subtask| &subtask.keyed_state)
            .flat_map(KeyedStateHandle::files)
    }

    /// The incremental parts of all keyed state, in order of vertices and subtasks.
    pub fn incremental_handles(&self) -> impl Iterator<Item = &IncrementalHandle> {
        self.vertices
            .iter()
            .flat_map(|vertex| &vertex.subtasks)
            .flat_map(|subtask| &subtask.keyed_state)
            .filter_map(|handle| match handle {
                KeyedStateHandle::Incremental(incremental) => Some(incremental),
                KeyedStateHandle::Full(_) => None,
            })
    }

    /// Bytes of all data files that the checkpoint refers to, each counted once; the metadata
    /// itself not counted.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        let mut seen = BTreeSet::new();
        self.files()
            .filter(|file| seen.insert((file.scope(), file.name())))
            .map(FileHandle::bytes)
            .fold(0, u64::saturating_add)
    }
}
