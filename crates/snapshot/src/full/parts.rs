//! The parts of a full snapshot file that reading and verification share: its two ends, schema,
//! index, and the blocks of one key group.

use millpond_state::{KeyGroup, StateDescriptor};

use crate::error::{Result, SnapshotError};
use crate::frame::{
    BLOCK_HEADER_BYTES, BlockKind, BlockLoader, FILE_HEADER_BYTES, FOOTER_BYTES, FileKind, Footer,
    check_file_header,
};
use crate::full::index::decode_index;
use crate::full::schema::decode_schema;
use crate::full::{EntryCursor, EntryRules, KeyGroupSummary, Last};
use crate::io::ByteSource;

const FILE_BYTES_MIN: u64 = (FILE_HEADER_BYTES + 2 * BLOCK_HEADER_BYTES + FOOTER_BYTES) as u64;

#[cold]
pub(crate) fn wrong_length(found: u64, expected: u64) -> SnapshotError {
    SnapshotError::corrupt(format!("the file has {found} bytes, expected {expected}"))
        .at(found.min(expected))
}

/// Checks that a file is long enough for the parts that every one has.
pub(crate) fn check_file_bytes(kind: FileKind, len: u64) -> Result<()> {
    if len >= FILE_BYTES_MIN {
        return Ok(());
    }
    Err(SnapshotError::corrupt(format!(
        "a file of {len} bytes is no {kind}: at least {FILE_BYTES_MIN} are needed"
    ))
    .at(len))
}

pub(crate) fn read_header<R: ByteSource>(kind: FileKind, source: &R) -> Result<u16> {
    let mut header = [0; FILE_HEADER_BYTES];
    source.read_exact_at(0, &mut header)?;
    check_file_header(kind, &header).map_err(|error| error.at(0))
}

pub(crate) fn read_footer<R: ByteSource>(kind: FileKind, source: &R) -> Result<Footer> {
    let offset = source.len().saturating_sub(FOOTER_BYTES as u64);
    let mut bytes = [0; FOOTER_BYTES];
    source.read_exact_at(offset, &mut bytes)?;
    Footer::decode_from(kind, &bytes)
        .and_then(|footer| footer.check_layout(source.len()).map(|()| footer))
        .map_err(|error| error.at(offset))
}

/// The states, and where the schema block ends: at or before `limit`.
pub(crate) fn read_schema_at<R: ByteSource>(
    source: &R,
    loader: &mut BlockLoader,
    limit: u64,
) -> Result<(Vec<StateDescriptor>, u64)> {
    let offset = FILE_HEADER_BYTES as u64;
    let block = loader.load(source, offset, limit, BlockKind::Schema)?;
    let states = decode_schema(loader.raw(), block.count).map_err(|error| error.at(offset))?;
    Ok((states, offset + block.file_bytes()))
}

pub(crate) fn read_index<R: ByteSource>(
    source: &R,
    loader: &mut BlockLoader,
    footer: &Footer,
    state_count: usize,
) -> Result<Vec<KeyGroupSummary>> {
    let offset = footer.index_offset;
    let end = offset + u64::from(footer.index_bytes);
    let block = loader.load(source, offset, end, BlockKind::Index)?;
    if offset + block.file_bytes() != end {
        return Err(
            SnapshotError::corrupt("the index block and the footer do not adjoin").at(offset)
        );
    }
    decode_index(loader.raw(), block.count, state_count, footer).map_err(|error| error.at(offset))
}

/// How far a key group has been read, against what the index says of it.
pub(crate) struct GroupProgress<'r> {
    pub(crate) index: &'r KeyGroupSummary,
    /// Of the next block.
    pub(crate) offset: u64,
    /// Of the block that is loaded.
    pub(crate) block_offset: u64,
    raw_bytes: u64,
    blocks: u64,
    entries: u64,
}

impl<'r> GroupProgress<'r> {
    pub(crate) const fn new(index: &'r KeyGroupSummary) -> Self {
        let offset = index.offset;
        Self { index, offset, block_offset: offset, raw_bytes: 0, blocks: 0, entries: 0 }
    }

    pub(crate) const fn end(&self) -> u64 {
        self.index.offset + self.index.file_bytes
    }

    /// Loads the next block and checks that it belongs here; the number of its entries.
    pub(crate) fn load_next<R: ByteSource>(
        &mut self,
        source: &R,
        loader: &mut BlockLoader,
        limit: u64,
    ) -> Result<u32> {
        let offset = self.offset;
        let placed = |error: SnapshotError| error.at(offset).in_key_group(self.index.group);
        // Reading ahead may pass the end of the key group, a block may not.
        let header = loader.peek(source, offset, limit).map_err(placed)?;
        let room = self.end().saturating_sub(offset);
        let limit = if header.file_bytes() > room { self.end() } else { limit };
        let header = loader.load(source, offset, limit, BlockKind::Entries).map_err(placed)?;
        if header.key_group() != Some(self.index.group) || header.count == 0 {
            return Err(placed(SnapshotError::corrupt(format!(
                "the block is of key group {} with {} entries, the index has another",
                header.group, header.count
            ))));
        }
        self.block_offset = offset;
        self.offset += header.file_bytes();
        self.raw_bytes += u64::from(header.raw_bytes);
        self.blocks += 1;
        self.entries += u64::from(header.count);
        Ok(header.count)
    }

    /// Whether all blocks were loaded; then their sums must be those of the index.
    pub(crate) fn is_done(&self) -> Result<bool> {
        if self.offset < self.end() {
            return Ok(false);
        }
        let index = self.index;
        if (self.raw_bytes, self.blocks, self.entries)
            == (index.raw_bytes, index.blocks, index.entries)
        {
            return Ok(true);
        }
        Err(SnapshotError::corrupt(format!(
            "the key group's blocks have {} entries in {} blocks of {} bytes, the index says {} in \
             {} of {}",
            self.entries, self.blocks, self.raw_bytes, index.entries, index.blocks, index.raw_bytes
        ))
        .at(index.offset)
        .in_key_group(index.group))
    }
}

/// Moves to the first entry of a block just loaded, which must come after `last`.
pub(crate) fn first_of_block(
    cursor: &mut EntryCursor,
    loader: &BlockLoader,
    rules: &EntryRules,
    last: &Last,
    group: KeyGroup,
) -> Result<()> {
    cursor.advance(loader.raw(), rules)?;
    if last.is_before(&cursor.change(loader.raw(), group)) {
        return Ok(());
    }
    Err(SnapshotError::corrupt("the block's first entry is not after the block before"))
}
