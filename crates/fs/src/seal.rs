//! Turning a full piece of the log into a segment file: checksums, hints, key-group statistics.
//!
//! Runs on a background thread. The piece stays readable in memory until the file is mapped, and
//! for good if that fails.

use std::io::{self, BufWriter, Write};

use millpond_state::{ErrorKind, KeyGroup, Result, StateError};

use crate::error::corrupt;
use crate::format::{Footer, GroupStatistics, HEADER_BYTES, Hint, header};
use crate::map::NewFile;
use crate::record::{Item, checksum};
use crate::segment::Segment;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 256 << 10;

/// A hint on its way, sorted by key group, then address, the newest record first.
struct Found {
    group: KeyGroup,
    hint: Hint,
    bytes: u32,
}

/// Writes the piece `data` to `file`, which the disk may refuse, and maps it.
pub(crate) fn seal(data: &[u8], file: NewFile, name: String) -> Result<Segment> {
    let path = file.path().display().to_string();
    let mut out = BufWriter::with_capacity(WRITE_BYTES, file);
    write_segment(data, &name, &mut out)?;
    let failed = |error| StateError::from_io(format_args!("write {path}"), error);
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    Segment::open(file.map().map_err(failed)?, name)
}

/// Writes the piece `data`, whose front is left for the header, as a segment.
pub(crate) fn write_segment(data: &[u8], name: &str, out: &mut dyn Write) -> Result<()> {
    let failed = |error| StateError::from_io(format_args!("write {name}"), error);
    out.write_all(&header()).map_err(failed)?;
    let (mut found, items) = write_items(data, name, out)?;
    let mut tail = Vec::new();
    let groups = encode_hints(&mut found, &mut tail);
    let hints = groups.iter().map(|group| group.hints).sum();
    let groups_at = tail.len();
    groups.iter().for_each(|group| group.encode_into(&mut tail));
    let groups_crc32 = crc32fast::hash(tail.get(groups_at..).unwrap_or_default());
    let footer = Footer {
        items,
        hints,
        groups: groups.len() as u32,
        hints_offset: data.len() as u64,
        groups_crc32,
    };
    footer.encode_into(&mut tail);
    out.write_all(&tail).map_err(failed)
}

/// Writes all records with their checksums; returns their hints and how many items there are.
fn write_items(data: &[u8], name: &str, out: &mut dyn Write) -> Result<(Vec<Found>, u32)> {
    let mut found = Vec::new();
    let (mut at, mut items) = (HEADER_BYTES, 0);
    while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
        let item = Item::parse(rest).ok_or_else(|| corrupt(name, at, "no record in memory"))?;
        let bytes = rest.get(..item.size()).unwrap_or_default();
        write_item(bytes, out)
            .map_err(|error| StateError::from_io(format_args!("write {name}"), error))?;
        if let Some(record) = item.record() {
            let address = record.address();
            let identity = (record.state(), address.check());
            let hint = Hint::new(address.hash(), identity, at)
                .with_flags(record.is_tombstone, address.chunk() != 0);
            found.push(Found { group: address.group(), hint, bytes: record.size as u32 });
        }
        at += item.size();
        items += 1;
    }
    Ok((found, items))
}

fn write_item(bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&checksum(bytes).to_le_bytes())?;
    out.write_all(bytes.get(4..).unwrap_or_default())
}

/// Appends the hints of the newest records; returns what there is of each key group.
fn encode_hints(found: &mut Vec<Found>, out: &mut Vec<u8>) -> Vec<GroupStatistics> {
    let order = |one: &Found| (one.group, one.hint.address(), usize::MAX - one.hint.offset());
    found.sort_unstable_by_key(order);
    found.dedup_by_key(|one| (one.group, one.hint.address()));
    let mut groups = Vec::new();
    let mut first = 0;
    for of_group in found.chunk_by(|one, other| one.group == other.group) {
        let start = out.len();
        of_group.iter().for_each(|one| one.hint.encode_into(out));
        let Some(one) = of_group.first() else { continue };
        groups.push(GroupStatistics {
            group: one.group,
            hints: of_group.len() as u32,
            first,
            crc32: crc32fast::hash(out.get(start..).unwrap_or_default()),
            bytes: of_group.iter().map(|one| u64::from(one.bytes)).sum(),
        });
        first += of_group.len() as u32;
    }
    groups
}

/// The error of a file that was to be written when its thread ended.
#[cold]
pub(crate) fn gave_up(name: &str) -> StateError {
    StateError::new(ErrorKind::Io, format!("{name} was not written: its thread ended"))
}
