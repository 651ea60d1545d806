//! Handles: what metadata says of a data file.

use millpond_state::{KeyGroup, KeyGroupRange};

use crate::error::Result;
use crate::full::FullSummary;
use crate::metadata::incremental::{FileScope, IncrementalHandle};
use crate::name::check_relative_name;

/// A reference to one immutable file: its name, relative to where its scope begins, its length and
/// its checksum.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileHandle {
    name: String,
    bytes: u64,
    crc32: u32,
    scope: FileScope,
}

impl FileHandle {
    /// Refers to the file `name` of `bytes` bytes in the metadata's folder; `crc32` is over all of
    /// them.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::SnapshotErrorKind::InvalidArgument) if the name is not relative
    /// and safe, see [`check_relative_name`].
    pub fn new(name: impl Into<String>, bytes: u64, crc32: u32) -> Result<Self> {
        let name = name.into();
        check_relative_name(&name)?;
        Ok(Self { name, bytes, crc32, scope: FileScope::Exclusive })
    }

    /// Likewise, with a name relative to the root of the checkpoint storage.
    ///
    /// # Errors
    /// As of [`FileHandle::new`].
    pub fn shared(name: impl Into<String>, bytes: u64, crc32: u32) -> Result<Self> {
        let exclusive = Self::new(name, bytes, crc32)?;
        Ok(Self { scope: FileScope::Shared, ..exclusive })
    }

    /// The same file in another scope, for a decoder.
    pub(super) fn with_scope(self, scope: FileScope) -> Self {
        Self { scope, ..self }
    }

    /// Where the name begins.
    #[must_use]
    pub const fn scope(&self) -> FileScope {
        self.scope
    }

    /// Whether it is shared with other checkpoints.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.scope, FileScope::Shared)
    }

    /// The name, relative to where [its scope](Self::scope) begins.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The length.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// CRC-32 of the whole file.
    #[must_use]
    pub const fn crc32(&self) -> u32 {
        self.crc32
    }
}

/// Where keyed state of a subtask is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyedStateHandle {
    /// In a [full snapshot](crate::full) file.
    Full(FullHandle),
    /// In native files of a backend, some of them shared with other checkpoints.
    Incremental(IncrementalHandle),
}

impl KeyedStateHandle {
    /// The key groups that it has state of.
    #[must_use]
    pub fn key_groups(&self) -> KeyGroupRange {
        match self {
            Self::Full(full) => full.key_groups,
            Self::Incremental(incremental) => incremental.key_groups,
        }
    }

    /// How many entries it has of the state of this name, as far as that is known without reading
    /// files: of native files of unknown backends 0.
    #[must_use]
    pub fn state_entries(&self, state: &str) -> u64 {
        match self {
            Self::Full(full) => {
                full.states.iter().filter(|it| it.state == state).map(|it| it.entries).sum()
            }
            Self::Incremental(incremental) => {
                crate::incremental::chain_state_entries(incremental, state)
            }
        }
    }

    /// The files that it needs, as storage knows them.
    pub fn files(&self) -> impl Iterator<Item = &FileHandle> {
        match self {
            Self::Full(full) => core::slice::from_ref(&full.file).iter(),
            Self::Incremental(incremental) => incremental.objects.iter(),
        }
    }
}

/// A full snapshot file and the figures that tools show of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullHandle {
    /// The file; exclusive.
    pub file: FileHandle,
    /// The key groups that the snapshot was taken of, with or without entries.
    pub key_groups: KeyGroupRange,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// Entries.
    pub entries: u64,
    /// Entries by state, in the order of the file's descriptors.
    pub states: Vec<StateEntries>,
    /// Key groups that have entries, ascending.
    pub sizes: Vec<KeyGroupSize>,
}

/// Number of entries of one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntries {
    /// Name of the state; the vertex has its schema.
    pub state: String,
    /// Its entries.
    pub entries: u64,
}

/// What one key group takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyGroupSize {
    /// The key group.
    pub group: KeyGroup,
    /// Its entries, at least 1.
    pub entries: u64,
    /// Its bytes in the file.
    pub bytes: u64,
}

impl FullHandle {
    /// Refers to a file just written as `name`, of the key groups `key_groups`.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::SnapshotErrorKind::InvalidArgument) if the name is not relative
    /// and safe.
    pub fn new(
        name: impl Into<String>,
        key_groups: KeyGroupRange,
        summary: &FullSummary,
    ) -> Result<Self> {
        let states = summary.states.iter().map(|state| StateEntries {
            state: state.descriptor.name().to_owned(),
            entries: state.entries,
        });
        let sizes = summary.key_groups.iter().map(|group| KeyGroupSize {
            group: group.group,
            entries: group.entries,
            bytes: group.file_bytes,
        });
        Ok(Self {
            file: FileHandle::new(name, summary.bytes, summary.crc32)?,
            key_groups,
            raw_bytes: summary.raw_bytes,
            entries: summary.entries,
            states: states.collect(),
            sizes: sizes.collect(),
        })
    }

    /// How unevenly entries lie over the handle's key groups, empty ones included.
    #[must_use]
    pub fn entry_skew(&self) -> Skew {
        self.skew(|size| size.entries)
    }

    /// How unevenly bytes lie over the handle's key groups, empty ones included.
    #[must_use]
    pub fn byte_skew(&self) -> Skew {
        self.skew(|size| size.bytes)
    }

    fn skew(&self, of: fn(&KeyGroupSize) -> u64) -> Skew {
        let mut values: Vec<u64> = self.sizes.iter().map(of).collect();
        values.resize(values.len().max(self.key_groups.count()), 0);
        Skew::of(values)
    }
}

/// The spread of a figure over key groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Skew {
    /// The smallest.
    pub min: u64,
    /// The one in the middle; of an even number, the upper of the two.
    pub median: u64,
    /// The largest.
    pub max: u64,
}

impl Skew {
    /// The spread of `values`, one for each key group; all 0 if there are none.
    #[must_use]
    pub fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        Self {
            min: values.first().copied().unwrap_or(0),
            median: values.get(values.len() / 2).copied().unwrap_or(0),
            max: values.last().copied().unwrap_or(0),
        }
    }
}
