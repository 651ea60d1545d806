//! The format of a segment file: what is read of it, and how the parts that are not records are
//! written. `docs/formats.md` specifies it.
//!
//! ```text
//! +--------+---------+-----+---------+-------+------------+--------+
//! | header | record  | ... | record  | hints | key groups | footer |
//! |     16 |         |     |         |       |            |     56 |
//! +--------+---------+-----+---------+-------+------------+--------+
//! ```
//!
//! # Invariants
//! - Of an address that the segment has several records of, the hints name the last.
//! - Hints lie by key group; within one they ascend by hash, then state and check bits.
//!
//! # Failures
//! Damage is [`ErrorKind::Corrupt`](millpond_state::ErrorKind) and names file and offset; a newer
//! version is [`ErrorKind::Incompatible`](millpond_state::ErrorKind). Whatever the bytes are,
//! reading neither panics nor takes memory beyond a small multiple of their length.

use millpond_state::{KeyGroup, KeyGroupRange, Result};

use crate::error::{corrupt, newer};
use crate::record::{ALIGNMENT, CHECK_BITS};

/// How a segment file begins.
const MAGIC: [u8; 8] = *b"MPDSEGM\n";

/// How it ends.
const END_MAGIC: [u8; 8] = *b"MPDSEGE\n";

/// The version that is written.
const VERSION: u16 = 1;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 16;

/// Bytes of a hint.
pub(crate) const HINT_BYTES: usize = 16;

/// Bytes of an entry of the table of key groups.
pub(crate) const GROUP_BYTES: usize = 24;

/// Bytes of the footer.
pub(crate) const FOOTER_BYTES: usize = 56;

/// In a hint's place: the entry was deleted.
const TOMBSTONE: u32 = 1 << 31;

/// In a hint's place: the record is a part of an entry, and not its first.
const PART: u32 = 1 << 30;

/// Where a segment has the newest of its records of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hint {
    /// The address's hash.
    pub(crate) hash: u64,
    /// The state's number, then the check bits.
    identity: u32,
    place: u32,
}

impl Hint {
    /// A hint at the record at `offset`.
    pub(crate) const fn new(hash: u64, (state, check): (u16, u32), offset: usize) -> Self {
        let identity = (state as u32) << CHECK_BITS | check;
        Self { hash, identity, place: (offset / ALIGNMENT) as u32 }
    }

    /// The same of a record that says that the entry is gone, or of a part of an entry.
    pub(crate) const fn with_flags(mut self, is_tombstone: bool, is_part: bool) -> Self {
        if is_tombstone {
            self.place |= TOMBSTONE;
        }
        if is_part {
            self.place |= PART;
        }
        self
    }

    /// What tells addresses apart.
    pub(crate) const fn address(&self) -> (u64, u32) {
        (self.hash, self.identity)
    }

    /// The state's number.
    pub(crate) const fn state(&self) -> u16 {
        (self.identity >> CHECK_BITS) as u16
    }

    /// Whether the entry is gone.
    pub(crate) const fn is_tombstone(&self) -> bool {
        self.place & TOMBSTONE != 0
    }

    /// Whether this is a part of an entry that is not its first.
    pub(crate) const fn is_part(&self) -> bool {
        self.place & PART != 0
    }

    /// Where the record begins.
    pub(crate) const fn offset(&self) -> usize {
        (self.place & (PART - 1)) as usize * ALIGNMENT
    }

    /// Appends the hint's bytes.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.to_le_bytes());
        out.extend_from_slice(&self.identity.to_le_bytes());
        out.extend_from_slice(&self.place.to_le_bytes());
    }

    fn decode_from(bytes: &[u8; HINT_BYTES]) -> Self {
        let all = u128::from_le_bytes(*bytes);
        Self { hash: all as u64, identity: (all >> 64) as u32, place: (all >> 96) as u32 }
    }
}

/// What a segment has of one key group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupStatistics {
    pub(crate) group: KeyGroup,
    /// Hints.
    pub(crate) hints: u32,
    /// Position of the first.
    pub(crate) first: u32,
    /// CRC-32 of the hints.
    pub(crate) crc32: u32,
    /// Bytes of the records that the hints are of.
    pub(crate) bytes: u64,
}

impl GroupStatistics {
    /// Appends the statistics' bytes.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&u32::from(self.group.get()).to_le_bytes());
        for field in [self.hints, self.first, self.crc32] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.bytes.to_le_bytes());
    }

    fn decode_from(bytes: &[u8; GROUP_BYTES]) -> Option<Self> {
        let group = u16::try_from(u32_at(bytes, 0)?).ok()?;
        Some(Self {
            group: KeyGroup::new(group),
            hints: u32_at(bytes, 4)?,
            first: u32_at(bytes, 8)?,
            crc32: u32_at(bytes, 12)?,
            bytes: u64_at(bytes, 16)?,
        })
    }
}

/// Where the parts of a segment lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Records, fillers included.
    pub(crate) items: u32,
    /// Hints.
    pub(crate) hints: u32,
    /// Key groups that have hints.
    pub(crate) groups: u32,
    /// Where records end and hints begin.
    pub(crate) hints_offset: u64,
    /// CRC-32 of the table of key groups.
    pub(crate) groups_crc32: u32,
}

impl Footer {
    const fn groups_offset(&self) -> u64 {
        self.hints_offset + self.hints as u64 * HINT_BYTES as u64
    }

    /// Bytes of the whole file.
    pub(crate) const fn file_bytes(&self) -> u64 {
        self.groups_offset() + (self.groups as u64 * GROUP_BYTES as u64) + FOOTER_BYTES as u64
    }

    /// Appends the footer's bytes.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for field in [self.hints_offset, self.groups_offset(), self.file_bytes()] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for field in [self.groups, self.items, self.groups_crc32, self.hints, 0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let crc32 = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&crc32.to_le_bytes());
        out.extend_from_slice(&END_MAGIC);
    }

    fn decode_from(bytes: &[u8], file: &str) -> Result<Self> {
        let at = bytes.len().saturating_sub(FOOTER_BYTES);
        let damaged = |what| corrupt(file, at, what);
        let footer = bytes.get(at..).filter(|footer| footer.len() == FOOTER_BYTES);
        let footer = footer.ok_or_else(|| damaged("the file ends early"))?;
        if !footer.ends_with(&END_MAGIC) {
            return Err(damaged("the file does not end like a segment: it was cut short"));
        }
        let crc32 = crc32fast::hash(footer.get(..44).unwrap_or_default());
        if u32_at(footer, 44) != Some(crc32) {
            return Err(damaged("the footer does not match its checksum"));
        }
        if let Some(flags) = u32_at(footer, 40).filter(|flags| *flags != 0) {
            return Err(newer(file, &format!("segment flags {flags:#x}")));
        }
        let parsed = (|| {
            let footer = Self {
                hints_offset: u64_at(footer, 0)?,
                groups: u32_at(footer, 24)?,
                items: u32_at(footer, 28)?,
                groups_crc32: u32_at(footer, 32)?,
                hints: u32_at(footer, 36)?,
            };
            let most = bytes.len() as u64;
            (footer.hints_offset >= HEADER_BYTES as u64 && footer.hints_offset <= most)
                .then_some(footer)
        })();
        let parsed = parsed.ok_or_else(|| damaged("the footer is wrong"))?;
        let [groups_offset, file_bytes] = [8, 16].map(|at| u64_at(footer, at));
        if file_bytes != Some(bytes.len() as u64)
            || file_bytes != Some(parsed.file_bytes())
            || groups_offset != Some(parsed.groups_offset())
        {
            return Err(damaged("the footer is that of a file of another length"));
        }
        Ok(parsed)
    }
}

/// The bytes that a segment file begins with.
pub(crate) fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (front, crc32) = header.split_at_mut(12);
    front.iter_mut().zip(MAGIC.iter().chain(&VERSION.to_le_bytes())).for_each(|(to, b)| *to = *b);
    crc32.copy_from_slice(&crc32fast::hash(front).to_le_bytes());
    header
}

fn check_header(bytes: &[u8], file: &str) -> Result<()> {
    let header =
        bytes.get(..HEADER_BYTES).ok_or_else(|| corrupt(file, 0, "no segment: too short"))?;
    if !header.starts_with(&MAGIC) {
        return Err(corrupt(file, 0, "this is no segment file"));
    }
    let crc32 = crc32fast::hash(header.get(..12).unwrap_or_default());
    if u32_at(header, 12) != Some(crc32) {
        return Err(corrupt(file, 0, "the header does not match its checksum"));
    }
    let fields = u32_at(header, 8).unwrap_or(0);
    if fields != u32::from(VERSION) {
        let (version, flags) = (fields as u16, fields >> 16);
        return Err(newer(file, &format!("segment version {version}, flags {flags:#x}")));
    }
    Ok(())
}

/// What is known of a segment from its ends, hints and records unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) footer: Footer,
    /// By key group.
    pub(crate) groups: Vec<GroupStatistics>,
}

impl Layout {
    /// Reads the ends of the segment file `bytes`, called `file`.
    pub(crate) fn read(bytes: &[u8], file: &str) -> Result<Self> {
        check_header(bytes, file)?;
        let footer = Footer::decode_from(bytes, file)?;
        let at = footer.groups_offset() as usize;
        let table = bytes.get(at..bytes.len() - FOOTER_BYTES).unwrap_or_default();
        if crc32fast::hash(table) != footer.groups_crc32 {
            return Err(corrupt(file, at, "the table of key groups does not match its checksum"));
        }
        let (entries, _) = table.as_chunks::<GROUP_BYTES>();
        let groups: Option<Vec<_>> = entries.iter().map(GroupStatistics::decode_from).collect();
        let groups =
            groups.filter(|groups| are_in_order(groups, footer.hints) && fit_in(groups, &footer));
        let groups = groups.ok_or_else(|| corrupt(file, at, "the table of key groups is wrong"))?;
        Ok(Self { footer, groups })
    }

    /// What the segment has of `group`.
    pub(crate) fn group(&self, group: KeyGroup) -> Option<&GroupStatistics> {
        let at = self.groups.binary_search_by_key(&group, |statistics| statistics.group).ok()?;
        self.groups.get(at)
    }

    /// The range from the first to the last of the key groups within `range` that the segment has
    /// something of.
    pub(crate) fn groups_within(&self, range: KeyGroupRange) -> Option<KeyGroupRange> {
        let mut within =
            self.groups.iter().map(|of| of.group).filter(|group| range.contains(*group));
        let first = within.next()?;
        KeyGroupRange::new(first, within.next_back().unwrap_or(first)).ok()
    }

    /// The hints of one key group of the segment file `bytes`, called `file`.
    pub(crate) fn hints<'b>(
        &self,
        of: &GroupStatistics,
        (bytes, file): (&'b [u8], &str),
    ) -> Result<impl Iterator<Item = Result<Hint>> + use<'b>> {
        let start = self.footer.hints_offset as usize + of.first as usize * HINT_BYTES;
        let end = start + of.hints as usize * HINT_BYTES;
        let hints = bytes.get(start..end).unwrap_or_default();
        if crc32fast::hash(hints) != of.crc32 {
            let what = format!("the hints of key group {} do not match their checksum", of.group);
            return Err(corrupt(file, start, &what));
        }
        let (hints, _) = hints.as_chunks::<HINT_BYTES>();
        let (file, data) = (file.to_owned(), HEADER_BYTES..self.footer.hints_offset as usize);
        Ok(hints.iter().map(move |bytes| {
            let hint = Hint::decode_from(bytes);
            if data.contains(&hint.offset()) {
                return Ok(hint);
            }
            Err(corrupt(&file, start, "a hint leads out of the records"))
        }))
    }
}

impl Layout {
    /// The hint of an address among those of one key group, found without checking them all; `None`
    /// outside if they are not in order.
    pub(crate) fn search(
        &self,
        of: &GroupStatistics,
        bytes: &[u8],
        address: (u64, u32),
    ) -> Option<Option<Hint>> {
        let start = self.footer.hints_offset as usize + of.first as usize * HINT_BYTES;
        let hints = bytes.get(start..start + of.hints as usize * HINT_BYTES)?;
        let (hints, _) = hints.as_chunks::<HINT_BYTES>();
        let at = hints.partition_point(|hint| Hint::decode_from(hint).address() < address);
        let hint = hints.get(at).map(Hint::decode_from);
        Some(hint.filter(|hint| hint.address() == address))
    }
}

/// Whether there is room for the records that the key groups say they have.
fn fit_in(groups: &[GroupStatistics], footer: &Footer) -> bool {
    let room = footer.hints_offset.saturating_sub(HEADER_BYTES as u64);
    let bytes = groups.iter().try_fold(0u64, |sum, group| sum.checked_add(group.bytes));
    bytes.is_some_and(|bytes| bytes <= room)
}

/// Whether key groups ascend and their hints adjoin and are `hints` in all.
fn are_in_order(groups: &[GroupStatistics], hints: u32) -> bool {
    let mut next = 0u32;
    let adjoin = groups.iter().all(|group| {
        let begins = group.first == next && group.hints > 0;
        next = next.saturating_add(group.hints);
        begins
    });
    adjoin && next == hints && groups.is_sorted_by(|one, other| one.group < other.group)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
