//! Finding every damaged place of a file without restoring it.
//!
//! Each checksum is computed, each block decoded, each entry's order checked, and all counts
//! compared with index and footer. Damage does not end the search: it goes on at the next block or
//! key group that can be found. Errors are only returned where nothing can be said of the file: it
//! cannot be read, or a newer Millpond wrote it.

mod object;

use core::fmt;

use millpond_state::{KeyGroup, StateDescriptor};

use crate::error::{Result, SnapshotError, SnapshotErrorKind};
use crate::frame::{
    BlockHeader, BlockKind, BlockLoader, FILE_HEADER_BYTES, FOOTER_BYTES, FileKind, Footer,
};
use crate::full::{
    EntryCursor, EntryRules, GroupProgress, KeyGroupSummary, Last, check_file_bytes,
    first_of_block, read_footer, read_header, read_index, read_schema_at, wrong_length,
};
use crate::io::{ByteSource, HashingSource};
use crate::metadata::{CheckpointMetadata, FileHandle};

pub use object::verify_object;

/// Most damaged places that one [`Report`] lists.
pub const DAMAGE_LISTED_MAX: usize = 1_000;

/// One damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in the file the damaged part begins.
    pub offset: u64,
    /// The key group whose state is lost, if it is only one.
    pub key_group: Option<KeyGroup>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}, offset {}", self.file, self.offset)?;
        if let Some(group) = self.key_group {
            write!(f, ", key group {group}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Report {
    /// Damaged places, at most [`DAMAGE_LISTED_MAX`].
    pub damage: Vec<Damage>,
    /// Damaged places past that number.
    pub unlisted: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Whole blocks of entries, or whole logical files of an object.
    pub blocks: u64,
    /// Entries in them.
    pub entries: u64,
}

impl Report {
    /// Whether no damage was found.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }

    /// Keeps a finding; an error that is none is passed on.
    fn note(&mut self, file: &str, error: SnapshotError) -> Result<()> {
        if error.kind() != SnapshotErrorKind::Corrupt {
            return Err(error.in_file(file));
        }
        if self.damage.len() >= DAMAGE_LISTED_MAX {
            self.unlisted += 1;
            return Ok(());
        }
        self.damage.push(Damage {
            file: error.file().unwrap_or(file).to_owned(),
            offset: error.offset().unwrap_or(0),
            key_group: error.key_group(),
            what: error.message().to_owned(),
        });
        Ok(())
    }
}

/// Checks a metadata file; `name` is what findings call it. The files it refers to are not looked
/// at.
///
/// # Errors
/// [`Unsupported`](SnapshotErrorKind::Unsupported) if a newer Millpond wrote it.
pub fn verify_metadata(name: &str, bytes: &[u8]) -> Result<Report> {
    let mut report = Report { bytes: bytes.len() as u64, ..Report::default() };
    if let Err(error) = CheckpointMetadata::decode_from(name, bytes) {
        report.note(name, error)?;
    }
    Ok(report)
}

/// Checks every byte of a full snapshot file, and its length and checksum against `handle` if
/// there is one. Reads the file about once, front to back; memory as for reading.
///
/// # Errors
/// [`Io`](SnapshotErrorKind::Io) if the file cannot be read;
/// [`Unsupported`](SnapshotErrorKind::Unsupported) if a newer Millpond wrote it.
pub fn verify_full<R: ByteSource>(source: &R, handle: Option<&FileHandle>) -> Result<Report> {
    verify_kind(FileKind::Full, source, handle)
}

/// As [`verify_full`], for a delta file.
///
/// # Errors
/// As of [`verify_full`].
pub fn verify_delta<R: ByteSource>(source: &R, handle: Option<&FileHandle>) -> Result<Report> {
    verify_kind(FileKind::Delta, source, handle)
}

fn verify_kind<R: ByteSource>(
    kind: FileKind,
    source: &R,
    handle: Option<&FileHandle>,
) -> Result<Report> {
    let source = HashingSource::new(source);
    let report = Report { bytes: source.len(), ..Report::default() };
    let (rules, loader) = (EntryRules::unknown(kind), BlockLoader::default());
    let mut verifier = Verifier { kind, source: &source, loader, report, rules };
    verifier.run(handle).map_err(|error| error.in_file(source.name()))?;
    Ok(verifier.report)
}

struct Verifier<'s, R> {
    kind: FileKind,
    source: &'s HashingSource<R>,
    loader: BlockLoader,
    report: Report,
    rules: EntryRules,
}

/// How far entries are checked: the last address, and entries by state in its key group.
#[derive(Default)]
struct Entries {
    last: Last,
    by_state: Vec<(u16, u64)>,
}

impl<R: ByteSource> Verifier<'_, R> {
    fn run(&mut self, handle: Option<&FileHandle>) -> Result<()> {
        let len = self.source.len();
        if let Some(handle) = handle
            && handle.bytes() != len
        {
            self.damaged(wrong_length(len, handle.bytes()))?;
        }
        let long_enough = check_file_bytes(self.kind, len);
        if self.whole(long_enough)?.is_none() {
            return Ok(());
        }
        let header = read_header(self.kind, self.source);
        self.whole(header)?;
        let footer = read_footer(self.kind, self.source);
        let footer = self.whole(footer)?;
        self.check_blocks(footer.as_ref())?;
        match handle {
            Some(handle) => self.check_crc32(handle),
            None => Ok(()),
        }
    }

    fn check_blocks(&mut self, footer: Option<&Footer>) -> Result<()> {
        let blocks_end =
            footer.map_or(self.source.len() - FOOTER_BYTES as u64, |footer| footer.index_offset);
        let schema_end = footer.map_or(blocks_end, Footer::blocks_offset);
        let schema = read_schema_at(self.source, &mut self.loader, schema_end);
        let schema = self.whole(schema)?;
        let states = schema.as_ref().map(|(states, _)| states.as_slice());
        if let Some(states) = states {
            self.rules = EntryRules::new(self.kind, states);
        }
        if let (Some(footer), Some((_, end))) = (footer, &schema)
            && *end != footer.blocks_offset()
        {
            self.damaged(
                SnapshotError::corrupt("the schema block ends where the footer has more of it")
                    .at(FILE_HEADER_BYTES as u64),
            )?;
        }
        let groups = self.check_index(footer, states)?;
        match (groups, footer, schema) {
            (Some(groups), ..) => {
                groups.iter().try_for_each(|group| self.check_group(group, blocks_end))
            }
            (None, Some(footer), _) => self.scan(footer.blocks_offset(), blocks_end),
            (None, None, Some((_, end))) => self.scan(end, blocks_end),
            (None, None, None) => Ok(()),
        }
    }

    fn check_index(
        &mut self,
        footer: Option<&Footer>,
        states: Option<&[StateDescriptor]>,
    ) -> Result<Option<Vec<KeyGroupSummary>>> {
        let Some(footer) = footer else {
            return Ok(None);
        };
        let state_count = states.map_or(self.rules.state_count(), <[_]>::len);
        let index = read_index(self.source, &mut self.loader, footer, state_count);
        self.whole(index)
    }

    /// Checks the blocks of one key group, going on after damaged ones.
    fn check_group(&mut self, index: &KeyGroupSummary, limit: u64) -> Result<()> {
        let mut progress = GroupProgress::new(index);
        let mut entries = Entries::default();
        let mut whole = true;
        while progress.offset < progress.end() {
            let offset = progress.offset;
            match progress.load_next(self.source, &mut self.loader, limit) {
                Ok(count) => {
                    whole &= self.check_entries(count, index.group, offset, &mut entries)?;
                }
                Err(error) => {
                    whole = false;
                    self.damaged(error)?;
                    progress.offset = self.resync(offset, progress.end(), Some(index.group))?;
                }
            }
        }
        if !whole {
            return Ok(());
        }
        let done = progress.is_done();
        self.whole(done)?;
        if entries.by_state != index.state_entries {
            self.damaged(
                SnapshotError::corrupt("entries by state are not as the index says")
                    .at(index.offset)
                    .in_key_group(index.group),
            )?;
        }
        Ok(())
    }

    /// Checks blocks one after the other where there is no index to go by.
    fn scan(&mut self, start: u64, end: u64) -> Result<()> {
        let mut offset = start;
        let mut entries = Entries::default();
        while offset < end {
            let header = match self.loader.peek(self.source, offset, end) {
                Ok(header) if header.kind == BlockKind::Index as u8 => {
                    let index = self.loader.load(self.source, offset, end, BlockKind::Index);
                    return self.whole(index).map(|_| ());
                }
                Ok(header) => header,
                Err(error) => return self.damaged(error),
            };
            match self.load_scanned(&header, offset, end) {
                Ok(group) => {
                    self.check_entries(header.count, group, offset, &mut entries)?;
                    offset += header.file_bytes();
                }
                Err(error) => {
                    self.damaged(error)?;
                    offset = self.resync(offset, end, None)?;
                }
            }
        }
        Ok(())
    }

    fn load_scanned(&mut self, header: &BlockHeader, offset: u64, end: u64) -> Result<KeyGroup> {
        let in_group = |error: SnapshotError| match header.key_group() {
            Some(group) => error.in_key_group(group),
            None => error,
        };
        self.loader.load(self.source, offset, end, BlockKind::Entries).map_err(in_group)?;
        header.key_group().filter(|_| header.count > 0).ok_or_else(|| {
            in_group(
                SnapshotError::corrupt("entries block without key group or entries").at(offset),
            )
        })
    }

    /// Checks the entries of the block just loaded; false if they are damaged.
    fn check_entries(
        &mut self,
        count: u32,
        group: KeyGroup,
        offset: u64,
        entries: &mut Entries,
    ) -> Result<bool> {
        let checked = walk_entries(&self.loader, &self.rules, count, group, entries)
            .map_err(|error| error.at(offset).in_key_group(group));
        if self.whole(checked)?.is_none() {
            return Ok(false);
        }
        self.report.blocks += 1;
        self.report.entries += u64::from(count);
        Ok(true)
    }

    /// Where to go on after the damaged block at `offset`: the next block if its header can be
    /// found, else `end`.
    fn resync(&mut self, offset: u64, end: u64, group: Option<KeyGroup>) -> Result<u64> {
        let next = match self.loader.peek(self.source, offset, end) {
            Ok(header) => offset + header.file_bytes(),
            Err(_) => return Ok(end),
        };
        if next == end {
            return Ok(end);
        }
        match self.loader.peek(self.source, next, end) {
            Ok(header) if header.file_offset == next => Ok(next),
            _ => {
                let error = SnapshotError::corrupt(format!(
                    "the length of the block is damaged, so that up to offset {end} nothing more \
                     can be checked"
                ))
                .at(offset);
                self.damaged(match group {
                    Some(group) => error.in_key_group(group),
                    None => error,
                })?;
                Ok(end)
            }
        }
    }

    fn check_crc32(&mut self, handle: &FileHandle) -> Result<()> {
        let found = self.source.finish_crc32()?;
        if found == handle.crc32() {
            return Ok(());
        }
        self.damaged(
            SnapshotError::corrupt(format!(
                "checksum of the whole file is {found:08x}, expected {:08x}",
                handle.crc32()
            ))
            .at(0),
        )
    }

    fn damaged(&mut self, error: SnapshotError) -> Result<()> {
        self.report.note(self.source.name(), error)
    }

    /// The value of a check that passed; one that found damage is noted.
    fn whole<T>(&mut self, checked: Result<T>) -> Result<Option<T>> {
        match checked {
            Ok(value) => Ok(Some(value)),
            Err(error) => self.damaged(error).map(|()| None),
        }
    }
}

fn walk_entries(
    loader: &BlockLoader,
    rules: &EntryRules,
    count: u32,
    group: KeyGroup,
    entries: &mut Entries,
) -> Result<()> {
    let mut cursor = EntryCursor::new(count);
    first_of_block(&mut cursor, loader, rules, &entries.last, group)?;
    loop {
        let entry = cursor.entry(loader.raw(), group);
        match entries.by_state.last_mut() {
            Some((last, count)) if *last == entry.state => *count += 1,
            _ => entries.by_state.push((entry.state, 1)),
        }
        if !cursor.advance(loader.raw(), rules)? {
            entries.last.set(cursor.change(loader.raw(), group));
            return Ok(());
        }
    }
}
