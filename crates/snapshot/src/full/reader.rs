//! Reading a full snapshot file, whole or by key groups.

use core::slice;

use millpond_state::{EntrySource, KeyGroupRange, SnapshotEntry, StateDescriptor, StateError};

use crate::error::{Result, SnapshotError};
use crate::frame::{BlockLoader, FileKind, Footer};
use crate::full::{
    ChangeKind, EntryCursor, EntryRules, GroupProgress, KeyGroupSummary, Last, StateSummary,
    check_file_bytes, first_of_block, read_footer, read_header, read_index, read_schema_at,
    summarize_states, wrong_length,
};
use crate::io::ByteSource;
use crate::metadata::FileHandle;
use crate::version::FullVersion;

/// An open full snapshot file: its schema and index are read and checked, its entries are read
/// when asked for. Many readers may share one file; `Send` and `Sync` as its source is.
pub struct FullReader<R> {
    source: R,
    /// Number of the format's version.
    version: u16,
    states: Vec<StateDescriptor>,
    rules: EntryRules,
    footer: Footer,
    groups: Vec<KeyGroupSummary>,
}

impl<R: ByteSource> FullReader<R> {
    /// Opens a file: reads header, footer, schema and index, no entries.
    ///
    /// # Errors
    /// [`Corrupt`](crate::SnapshotErrorKind::Corrupt) if any of these is damaged or the file is
    /// cut; [`Unsupported`](crate::SnapshotErrorKind::Unsupported) if a newer Millpond wrote it;
    /// [`Io`](crate::SnapshotErrorKind::Io) if it cannot be read.
    pub fn open(source: R) -> Result<Self> {
        Self::open_kind(FileKind::Full, source)
    }

    pub(crate) fn open_kind(kind: FileKind, source: R) -> Result<Self> {
        match Self::open_unnamed(kind, &source) {
            Ok((version, states, footer, groups)) => Ok(Self {
                rules: EntryRules::new(kind, &states),
                source,
                version,
                states,
                footer,
                groups,
            }),
            Err(error) => Err(error.in_file(source.name())),
        }
    }

    /// As [`Self::open`], for the file that `handle` refers to: also checks its length. The
    /// handle's checksum is over the whole file and is left to [`verify_full`](crate::verify_full);
    /// blocks have their own.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_handle(source: R, handle: &FileHandle) -> Result<Self> {
        if source.len() != handle.bytes() {
            return Err(wrong_length(source.len(), handle.bytes()).in_file(source.name()));
        }
        Self::open(source)
    }

    fn open_unnamed(
        kind: FileKind,
        source: &R,
    ) -> Result<(u16, Vec<StateDescriptor>, Footer, Vec<KeyGroupSummary>)> {
        check_file_bytes(kind, source.len())?;
        let version = read_header(kind, source)?;
        let footer = read_footer(kind, source)?;
        let mut loader = BlockLoader::default();
        let (states, schema_end) = read_schema_at(source, &mut loader, footer.blocks_offset())?;
        if schema_end != footer.blocks_offset() {
            return Err(SnapshotError::corrupt("the schema block and the blocks do not adjoin")
                .at(schema_end));
        }
        let groups = read_index(source, &mut loader, &footer, states.len())?;
        Ok((version, states, footer, groups))
    }

    /// The version of the format that the file has.
    #[must_use]
    pub fn version(&self) -> FullVersion {
        FullVersion::from_number(self.version).unwrap_or(FullVersion::CURRENT)
    }

    pub(crate) const fn version_number(&self) -> u16 {
        self.version
    }

    /// The states, which entries refer to by index.
    #[must_use]
    pub fn states(&self) -> &[StateDescriptor] {
        &self.states
    }

    /// The states with their numbers of entries.
    #[must_use]
    pub fn state_summaries(&self) -> Vec<StateSummary> {
        summarize_states(&self.states, &self.groups)
    }

    /// The key groups that have entries, ascending.
    #[must_use]
    pub fn key_groups(&self) -> &[KeyGroupSummary] {
        &self.groups
    }

    /// Number of entries.
    #[must_use]
    pub const fn entry_count(&self) -> u64 {
        self.footer.entries
    }

    /// Bytes of all entries blocks before compression.
    #[must_use]
    pub const fn raw_bytes(&self) -> u64 {
        self.footer.raw_bytes
    }

    /// The source, for its name and length.
    #[must_use]
    pub const fn source(&self) -> &R {
        &self.source
    }

    /// The entries of the key groups in `range`, in canonical order. Reads only the blocks of these
    /// key groups, each when its first entry is asked for.
    #[must_use]
    pub fn entries(&self, range: KeyGroupRange) -> FullEntries<'_, R> {
        let from = self.groups.partition_point(|group| group.group < range.first());
        let to = self.groups.partition_point(|group| group.group <= range.last());
        let groups = self.groups.get(from..to).unwrap_or_default();
        let limit = groups.last().map_or(0, |group| group.offset + group.file_bytes);
        FullEntries {
            reader: self,
            groups: groups.iter(),
            limit,
            loader: BlockLoader::default(),
            progress: None,
            cursor: EntryCursor::new(0),
            last: Last::default(),
            failed: false,
        }
    }
}

/// The entries of a range of key groups of one [`FullReader`].
pub struct FullEntries<'r, R> {
    reader: &'r FullReader<R>,
    groups: slice::Iter<'r, KeyGroupSummary>,
    /// Where the last of the key groups ends: nothing is read past it.
    limit: u64,
    loader: BlockLoader,
    progress: Option<GroupProgress<'r>>,
    cursor: EntryCursor,
    /// The last entry of the block before.
    last: Last,
    failed: bool,
}

impl<R: ByteSource> FullEntries<'_, R> {
    /// Moves to the next entry, whichever block it is in; false at the end.
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        if let Some(progress) = &self.progress
            && self.cursor.advance(self.loader.raw(), &self.reader.rules).map_err(|error| {
                error.at(progress.block_offset).in_key_group(progress.index.group)
            })?
        {
            return Ok(true);
        }
        self.advance_block()
    }

    /// Moves to the first entry of the next block.
    fn advance_block(&mut self) -> Result<bool> {
        let done = match &self.progress {
            None => true,
            Some(progress) => {
                self.last.set(self.cursor.change(self.loader.raw(), progress.index.group));
                progress.is_done()?
            }
        };
        if done {
            self.last.clear();
            self.progress = self.groups.next().map(GroupProgress::new);
        }
        let Some(progress) = &mut self.progress else {
            return Ok(false);
        };
        let (offset, group) = (progress.offset, progress.index.group);
        let count = progress.load_next(&self.reader.source, &mut self.loader, self.limit)?;
        self.cursor = EntryCursor::new(count);
        first_of_block(&mut self.cursor, &self.loader, &self.reader.rules, &self.last, group)
            .map_err(|error| error.at(offset).in_key_group(group))?;
        Ok(true)
    }
}

impl<R: ByteSource> EntrySource for FullEntries<'_, R> {
    fn states(&self) -> &[StateDescriptor] {
        &self.reader.states
    }

    fn next_entry(&mut self) -> Result<Option<SnapshotEntry<'_>>, StateError> {
        Ok(self.next_change()?.map(|(entry, _)| entry))
    }
}

impl<R: ByteSource> FullEntries<'_, R> {
    /// The entry before which [`Self::next_change`] stands still, again.
    pub(crate) fn current(&self) -> Option<(SnapshotEntry<'_>, ChangeKind)> {
        let group = self.progress.as_ref()?.index.group;
        Some(self.cursor.change(self.loader.raw(), group))
    }

    pub(crate) fn next_change(
        &mut self,
    ) -> Result<Option<(SnapshotEntry<'_>, ChangeKind)>, StateError> {
        if self.failed {
            return Err(SnapshotError::corrupt("an earlier read of the file failed")
                .in_file(self.reader.source.name())
                .into());
        }
        match self.advance() {
            Ok(true) => {
                let group = self.progress.as_ref().map(|progress| progress.index.group);
                let block = self.loader.raw();
                Ok(group.map(|group| self.cursor.change(block, group)))
            }
            Ok(false) => Ok(None),
            Err(error) => {
                self.failed = true;
                Err(error.in_file(self.reader.source.name()).into())
            }
        }
    }
}
