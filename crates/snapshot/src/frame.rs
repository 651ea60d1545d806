//! The framing of a full snapshot file and of a delta: file header, checksummed blocks, footer.
//!
//! ```text
//! file header, 16 bytes                      block header, 28 bytes, then the stored bytes
//! +--------------------------------+         +----+----+---------+------------------+
//! | magic "MPDFULL\n"            8 |         |kind|enc.|group  2 | stored_bytes   4 |
//! +---------+---------+------------+         +----+----+---------+------------------+
//! |version 2| flags 2 | crc32    4 |         | raw_bytes       4 | count          4 |
//! +---------+---------+------------+         +-------------------+------------------+
//!                                            | file_offset                        8 |
//! footer, 64 bytes: see `Footer`             +-------------------+------------------+
//!                                            | crc32           4 |  stored bytes ...
//!                                            +-------------------+
//! ```
//!
//! A block's CRC-32 covers the 24 header bytes before it and the stored bytes after it. A block
//! repeats its own place in the file, so that parts written in the wrong order are found.

use core::fmt;

use crc32fast::Hasher;
use millpond_state::{KEY_BYTES_MAX, KeyGroup, VALUE_BYTES_MAX};
use zstd::bulk::{Compressor, Decompressor};

use crate::bytes::ByteReader;
use crate::error::{Result, SnapshotError};
use crate::io::{ByteSink, ByteSource, CountingSink, Window};
use crate::version::{
    DELTA_FOOTER_MAGIC, DELTA_MAGIC, DeltaVersion, FULL_FOOTER_MAGIC, FULL_MAGIC, FullVersion,
    newer,
};

pub(crate) const FILE_HEADER_BYTES: usize = 16;
pub(crate) const BLOCK_HEADER_BYTES: usize = 28;
pub(crate) const FOOTER_BYTES: usize = 64;

/// Largest block before compression: the largest entry and room for its lengths.
pub(crate) const BLOCK_RAW_BYTES_MAX: usize = VALUE_BYTES_MAX + 4 * (KEY_BYTES_MAX + 1);

/// A zstd block of 4 bytes can stand for 128 KiB and nothing stands for more, so a larger claim
/// is refused before memory is taken for it.
const RAW_BYTES_PER_STORED_MAX: u64 = 32 * 1024;

/// In the key-group field of blocks that belong to none.
const NO_GROUP: u16 = u16::MAX;

/// Which of the formats a file has that share this framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Full,
    Delta,
}

impl FileKind {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Full => FULL_MAGIC,
            Self::Delta => DELTA_MAGIC,
        }
    }

    const fn footer_magic(self) -> [u8; 8] {
        match self {
            Self::Full => FULL_FOOTER_MAGIC,
            Self::Delta => DELTA_FOOTER_MAGIC,
        }
    }

    const fn current_version(self) -> u16 {
        match self {
            Self::Full => FullVersion::CURRENT.number(),
            Self::Delta => DeltaVersion::CURRENT.number(),
        }
    }

    fn check_version(self, number: u16) -> Result<u16> {
        match self {
            Self::Full => FullVersion::from_number(number).map(FullVersion::number),
            Self::Delta => DeltaVersion::from_number(number).map(DeltaVersion::number),
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full snapshot",
            Self::Delta => "delta",
        })
    }
}

/// What a block is. The numbers are part of the format and never re-used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum BlockKind {
    Schema = 1,
    Entries = 2,
    Index = 3,
}

impl fmt::Display for BlockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Schema => "schema",
            Self::Entries => "entries",
            Self::Index => "index",
        })
    }
}

const STORED_AS_IS: u8 = 0;
const STORED_ZSTD: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    pub(crate) kind: u8,
    pub(crate) encoding: u8,
    pub(crate) group: u16,
    pub(crate) stored_bytes: u32,
    pub(crate) raw_bytes: u32,
    pub(crate) count: u32,
    pub(crate) file_offset: u64,
    pub(crate) crc32: u32,
}

impl BlockHeader {
    /// The header's first 24 bytes, which the checksum covers.
    fn checked_part(&self) -> [u8; BLOCK_HEADER_BYTES - 4] {
        let mut out = [0; BLOCK_HEADER_BYTES - 4];
        let fields = [self.kind, self.encoding]
            .into_iter()
            .chain(self.group.to_le_bytes())
            .chain(self.stored_bytes.to_le_bytes())
            .chain(self.raw_bytes.to_le_bytes())
            .chain(self.count.to_le_bytes())
            .chain(self.file_offset.to_le_bytes());
        for (slot, byte) in out.iter_mut().zip(fields) {
            *slot = byte;
        }
        out
    }

    pub(crate) fn decode_from(bytes: &[u8]) -> Result<Self> {
        let mut reader = ByteReader::new(bytes);
        Ok(Self {
            kind: reader.u8()?,
            encoding: reader.u8()?,
            group: reader.u16()?,
            stored_bytes: reader.u32()?,
            raw_bytes: reader.u32()?,
            count: reader.u32()?,
            file_offset: reader.u64()?,
            crc32: reader.u32()?,
        })
    }

    fn crc32_of(&self, stored: &[u8]) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(&self.checked_part());
        hasher.update(stored);
        hasher.finalize()
    }

    /// Header and stored bytes together.
    pub(crate) const fn file_bytes(&self) -> u64 {
        BLOCK_HEADER_BYTES as u64 + self.stored_bytes as u64
    }

    pub(crate) fn key_group(&self) -> Option<KeyGroup> {
        (self.group != NO_GROUP).then_some(KeyGroup::new(self.group))
    }
}

/// Writes blocks to a sink, compressing each that gains from it.
pub(crate) struct BlockWriter<W> {
    sink: CountingSink<W>,
    compressor: Option<Compressor<'static>>,
    compressed: Vec<u8>,
}

impl<W: ByteSink> BlockWriter<W> {
    pub(crate) fn new(sink: W, zstd_level: Option<i32>) -> Result<Self> {
        let compressor = match zstd_level {
            None => None,
            Some(level) => Some(Compressor::new(level).map_err(|error| {
                SnapshotError::invalid(format!("zstd level {level} cannot be used: {error}"))
            })?),
        };
        Ok(Self { sink: CountingSink::new(sink), compressor, compressed: Vec::new() })
    }

    pub(crate) fn write_plain(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write(bytes)
    }

    pub(crate) const fn offset(&self) -> u64 {
        self.sink.offset()
    }

    pub(crate) fn crc32(&self) -> u32 {
        self.sink.crc32()
    }

    /// Writes one block and returns how many bytes of the file it takes.
    pub(crate) fn write_block(
        &mut self,
        kind: BlockKind,
        group: Option<KeyGroup>,
        count: u32,
        raw: &[u8],
    ) -> Result<u64> {
        if raw.len() > BLOCK_RAW_BYTES_MAX {
            return Err(SnapshotError::invalid(format!(
                "the {kind} block has {} bytes, more than the limit {BLOCK_RAW_BYTES_MAX}: use \
                 fewer states or key groups",
                raw.len()
            )));
        }
        let compressed = self.compress(raw)?;
        let stored = if compressed { self.compressed.as_slice() } else { raw };
        let mut header = BlockHeader {
            kind: kind as u8,
            encoding: if compressed { STORED_ZSTD } else { STORED_AS_IS },
            group: group.map_or(NO_GROUP, KeyGroup::get),
            stored_bytes: stored.len() as u32,
            raw_bytes: raw.len() as u32,
            count,
            file_offset: self.sink.offset(),
            crc32: 0,
        };
        header.crc32 = header.crc32_of(stored);
        self.sink.write(&header.checked_part())?;
        self.sink.write(&header.crc32.to_le_bytes())?;
        self.sink.write(stored)?;
        Ok(header.file_bytes())
    }

    /// Compresses into `self.compressed`; false if that does not make it smaller.
    fn compress(&mut self, raw: &[u8]) -> Result<bool> {
        let Some(compressor) = &mut self.compressor else {
            return Ok(false);
        };
        let bound = zstd::zstd_safe::compress_bound(raw.len());
        if self.compressed.capacity() > 4 * bound {
            self.compressed = Vec::new();
        }
        self.compressed.clear();
        self.compressed.reserve(bound);
        let len = compressor
            .compress_to_buffer(raw, &mut self.compressed)
            .map_err(|error| SnapshotError::io("zstd cannot compress a block", error))?;
        Ok(len < raw.len())
    }
}

/// Reads blocks: checks and decompresses one at a time into its own buffer.
#[derive(Default)]
pub(crate) struct BlockLoader {
    window: Window,
    raw: Vec<u8>,
    decompressor: Option<Decompressor<'static>>,
}

impl BlockLoader {
    /// The decoded bytes of the last block that was loaded.
    #[inline]
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The header at `offset`, not checked.
    pub(crate) fn peek<R: ByteSource>(
        &mut self,
        source: &R,
        offset: u64,
        limit: u64,
    ) -> Result<BlockHeader> {
        let bytes = self.window.slice(source, offset, BLOCK_HEADER_BYTES, limit)?;
        BlockHeader::decode_from(bytes)
    }

    /// Loads the block at `offset`, which must be of `kind` and end at or before `limit`.
    pub(crate) fn load<R: ByteSource>(
        &mut self,
        source: &R,
        offset: u64,
        limit: u64,
        kind: BlockKind,
    ) -> Result<BlockHeader> {
        self.raw.clear();
        self.load_unplaced(source, offset, limit, kind).map_err(|error| error.at(offset))
    }

    fn load_unplaced<R: ByteSource>(
        &mut self,
        source: &R,
        offset: u64,
        limit: u64,
        kind: BlockKind,
    ) -> Result<BlockHeader> {
        let header = self.peek(source, offset, limit)?;
        let damaged = |what: String| SnapshotError::corrupt(format!("{kind} block: {what}"));
        let room = limit.saturating_sub(offset);
        if header.file_bytes() > room {
            return Err(damaged(format!(
                "claims {} bytes where {room} are left; its header is damaged",
                header.file_bytes()
            )));
        }
        let len = header.file_bytes() as usize;
        let block = self.window.slice(source, offset, len, limit)?;
        let stored = block.get(BLOCK_HEADER_BYTES..).unwrap_or_default();
        let crc32 = header.crc32_of(stored);
        if crc32 != header.crc32 {
            return Err(damaged(format!(
                "checksum of its {len} bytes is {crc32:08x}, expected {:08x}",
                header.crc32
            )));
        }
        if header.kind != kind as u8 {
            return Err(damaged(format!("has kind {}, expected {}", header.kind, kind as u8)));
        }
        if header.file_offset != offset {
            return Err(damaged(format!(
                "was written for offset {}: parts of the file are in the wrong place",
                header.file_offset
            )));
        }
        decode_stored(&header, stored, &mut self.raw, &mut self.decompressor)?;
        Ok(header)
    }
}

fn decode_stored(
    header: &BlockHeader,
    stored: &[u8],
    raw: &mut Vec<u8>,
    decompressor: &mut Option<Decompressor<'static>>,
) -> Result<()> {
    let raw_bytes = header.raw_bytes as usize;
    let expansion_max = match header.encoding {
        STORED_AS_IS => 1,
        STORED_ZSTD => RAW_BYTES_PER_STORED_MAX,
        other => return Err(newer(&format!("block encoding {other}"))),
    };
    if raw_bytes > BLOCK_RAW_BYTES_MAX
        || raw_bytes as u64 > expansion_max.saturating_mul(stored.len() as u64)
    {
        return Err(SnapshotError::corrupt(format!(
            "block claims {raw_bytes} bytes, more than its {} stored bytes can hold",
            stored.len()
        )));
    }
    if raw.capacity() > (4 * raw_bytes).max(1 << 20) {
        *raw = Vec::new();
    }
    if header.encoding == STORED_AS_IS {
        if stored.len() != raw_bytes {
            return Err(SnapshotError::corrupt("block is stored as it is with two lengths"));
        }
        raw.extend_from_slice(stored);
        return Ok(());
    }
    let zstd_failed = |error: std::io::Error| {
        SnapshotError::corrupt(format!("zstd cannot decompress the block: {error}"))
    };
    let decompressor = match decompressor {
        Some(ready) => ready,
        None => decompressor.insert(Decompressor::new().map_err(zstd_failed)?),
    };
    raw.resize(raw_bytes, 0);
    let len = decompressor.decompress_to_buffer(stored, raw.as_mut_slice()).map_err(zstd_failed)?;
    if len == raw_bytes {
        return Ok(());
    }
    Err(SnapshotError::corrupt(format!("block decompresses to {len} bytes, not {raw_bytes}")))
}

/// The 16 bytes that begin a file of the current version.
pub(crate) fn file_header(kind: FileKind) -> Vec<u8> {
    let mut out = Vec::with_capacity(FILE_HEADER_BYTES);
    out.extend_from_slice(&kind.magic());
    out.extend_from_slice(&kind.current_version().to_le_bytes());
    out.extend_from_slice(&0u16.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out
}

/// Checks the header of a file; returns the number of its version, which this build reads.
pub(crate) fn check_file_header(kind: FileKind, bytes: &[u8]) -> Result<u16> {
    let mut reader = ByteReader::new(bytes);
    let magic = reader.magic()?;
    let (version, flags) = (reader.u16()?, reader.u16()?);
    let covered = bytes.get(..reader.position()).unwrap_or_default();
    let (found, expected) = (crc32fast::hash(covered), reader.u32()?);
    if magic != kind.magic() {
        return Err(SnapshotError::corrupt(format!(
            "not a {kind} file, or its first bytes are damaged: no magic"
        )));
    }
    if found != expected {
        return Err(SnapshotError::corrupt(format!(
            "file header: checksum is {found:08x}, expected {expected:08x}"
        )));
    }
    let version = kind.check_version(version)?;
    if flags != 0 {
        return Err(newer(&format!("{kind} flags {flags:#06x}")));
    }
    Ok(version)
}

/// The fixed end of a file; the magic is that of a full snapshot, of a delta `"MPDDEND\n"`.
///
/// ```text
/// +-------------------------------------------------+
/// | index_offset                                  8 |
/// +------------------------+------------------------+
/// | index_bytes          4 | schema_bytes         4 |
/// +------------------------+------------------------+
/// | entries                                       8 |
/// | raw_bytes: of all entries blocks              8 |
/// | blocks: of entries                            8 |
/// | file_bytes: this footer included              8 |
/// +-----------+------------+------------------------+
/// | version 2 | flags    2 | magic "MPDFEND\n"      |
/// +-----------+------------+------------------------+
/// |                      8 | crc32 of the above   4 |
/// +------------------------+------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) index_offset: u64,
    pub(crate) index_bytes: u32,
    pub(crate) schema_bytes: u32,
    pub(crate) entries: u64,
    pub(crate) raw_bytes: u64,
    pub(crate) blocks: u64,
    pub(crate) file_bytes: u64,
}

impl Footer {
    pub(crate) fn encode(&self, kind: FileKind) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(&self.index_offset.to_le_bytes());
        out.extend_from_slice(&self.index_bytes.to_le_bytes());
        out.extend_from_slice(&self.schema_bytes.to_le_bytes());
        for total in [self.entries, self.raw_bytes, self.blocks, self.file_bytes] {
            out.extend_from_slice(&total.to_le_bytes());
        }
        out.extend_from_slice(&kind.current_version().to_le_bytes());
        out.extend_from_slice(&0u16.to_le_bytes());
        out.extend_from_slice(&kind.footer_magic());
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    pub(crate) fn decode_from(kind: FileKind, bytes: &[u8]) -> Result<Self> {
        let mut reader = ByteReader::new(bytes);
        let footer = Self {
            index_offset: reader.u64()?,
            index_bytes: reader.u32()?,
            schema_bytes: reader.u32()?,
            entries: reader.u64()?,
            raw_bytes: reader.u64()?,
            blocks: reader.u64()?,
            file_bytes: reader.u64()?,
        };
        let (version, flags) = (reader.u16()?, reader.u16()?);
        let magic = reader.magic()?;
        let covered = bytes.get(..reader.position()).unwrap_or_default();
        let (found, expected) = (crc32fast::hash(covered), reader.u32()?);
        if magic != kind.footer_magic() {
            return Err(SnapshotError::corrupt(
                "no footer at the end: the tail of the file is missing or damaged",
            ));
        }
        if found != expected {
            return Err(SnapshotError::corrupt(format!(
                "footer: checksum is {found:08x}, expected {expected:08x}"
            )));
        }
        if kind.check_version(version).is_err() || flags != 0 {
            return Err(SnapshotError::corrupt(format!(
                "footer: version {version} and flags {flags:#06x} are not those of the header"
            )));
        }
        Ok(footer)
    }

    /// Checks the footer's places against the file's length.
    pub(crate) fn check_layout(&self, file_bytes: u64) -> Result<()> {
        if self.file_bytes != file_bytes {
            return Err(SnapshotError::corrupt(format!(
                "the file has {file_bytes} bytes, its footer says {}",
                self.file_bytes
            )));
        }
        let index_end = self.index_offset.checked_add(u64::from(self.index_bytes));
        let footer_offset = file_bytes.saturating_sub(FOOTER_BYTES as u64);
        if index_end != Some(footer_offset) || self.blocks_offset() > self.index_offset {
            return Err(SnapshotError::corrupt("footer: schema, index and footer do not adjoin"));
        }
        Ok(())
    }

    /// Where the first entries block begins.
    pub(crate) const fn blocks_offset(&self) -> u64 {
        FILE_HEADER_BYTES as u64 + self.schema_bytes as u64
    }
}
