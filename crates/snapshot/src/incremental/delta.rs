//! Writing and reading one delta file.

use millpond_state::{EntrySink, KeyGroupRange, SnapshotEntry, StateDescriptor, StateError};

use crate::error::Result;
use crate::frame::FileKind;
use crate::full::{
    ChangeKind, FullEntries, FullOptions, FullReader, FullSummary, FullWriter, KeyGroupSummary,
};
use crate::io::{ByteSink, ByteSource};
use crate::version::DeltaVersion;

/// Writes one delta file to a [`ByteSink`]: begin it once, then add changes in canonical order, the
/// deletion of a whole map before the entries of that map. After an error the file is unusable and
/// every further call fails. Dropping a writer abandons the file. `Send` if its sink is.
pub struct DeltaWriter<W> {
    file: FullWriter<W>,
}

impl<W: ByteSink> DeltaWriter<W> {
    /// A writer of a new file. Nothing is written before [`Self::begin`].
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::SnapshotErrorKind::InvalidArgument) if `options` are out of their
    /// bounds.
    pub fn create(sink: W, options: FullOptions) -> Result<Self> {
        Ok(Self { file: FullWriter::create_kind(FileKind::Delta, sink, options)? })
    }

    /// Starts the file; `states` are the descriptors that changes refer to by index.
    ///
    /// # Errors
    /// As [`EntrySink::begin`].
    pub fn begin(&mut self, states: &[StateDescriptor]) -> Result<(), StateError> {
        self.file.begin(states)
    }

    /// Adds a change; `entry` has no value unless it was put.
    ///
    /// # Errors
    /// As [`EntrySink::entry`].
    pub fn change(
        &mut self,
        entry: &SnapshotEntry<'_>,
        change: ChangeKind,
    ) -> Result<(), StateError> {
        self.file.change(entry, change)
    }

    /// Writes what is left and ends the file. Deletions count as entries.
    ///
    /// # Errors
    /// As [`FullWriter::finish`].
    pub fn finish(self) -> Result<FullSummary> {
        self.file.finish()
    }
}

/// An open delta file. Many readers may share one file; `Send` and `Sync` as its source is.
pub struct DeltaReader<R> {
    pub(super) file: FullReader<R>,
}

impl<R: ByteSource> DeltaReader<R> {
    /// Opens a file: reads header, footer, schema and index, no changes.
    ///
    /// # Errors
    /// As [`FullReader::open`].
    pub fn open(source: R) -> Result<Self> {
        Ok(Self { file: FullReader::open_kind(FileKind::Delta, source)? })
    }

    /// The version of the format that the file has.
    #[must_use]
    pub fn version(&self) -> DeltaVersion {
        DeltaVersion::from_number(self.file.version_number()).unwrap_or(DeltaVersion::CURRENT)
    }

    /// The states, which changes refer to by index.
    #[must_use]
    pub fn states(&self) -> &[StateDescriptor] {
        self.file.states()
    }

    /// The key groups that have changes, ascending.
    #[must_use]
    pub fn key_groups(&self) -> &[KeyGroupSummary] {
        self.file.key_groups()
    }

    /// Number of changes, deletions included.
    #[must_use]
    pub const fn change_count(&self) -> u64 {
        self.file.entry_count()
    }

    /// The changes of the key groups in `range`, in canonical order.
    #[must_use]
    pub fn changes(&self, range: KeyGroupRange) -> DeltaChanges<'_, R> {
        DeltaChanges { entries: self.file.entries(range) }
    }
}

/// The changes of a range of key groups of one [`DeltaReader`].
pub struct DeltaChanges<'r, R> {
    entries: FullEntries<'r, R>,
}

impl<R: ByteSource> DeltaChanges<'_, R> {
    /// The next change in canonical order, or `None` at the end.
    ///
    /// # Errors
    /// As [`EntrySource::next_entry`](millpond_state::EntrySource::next_entry).
    pub fn next_change(&mut self) -> Result<Option<(SnapshotEntry<'_>, ChangeKind)>, StateError> {
        self.entries.next_change()
    }
}
