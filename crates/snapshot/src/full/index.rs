//! The index block: what each key group takes.
//!
//! ```text
//! index  = group*                        as many as the block's count, ascending
//! group  = step file_bytes raw_bytes blocks entries states state*     all varints
//!          step: the first key group itself, then the distance to the one before
//! state  = step entries                  as many as `states`, ascending, at least one
//! ```
//!
//! Offsets are not stored: key groups lie one after the other, so each begins where the one before
//! ends.

use millpond_state::{KeyGroup, MAX_PARALLELISM_LIMIT};

use crate::bytes::{ByteReader, put_varint};
use crate::error::{Result, SnapshotError};
use crate::frame::{BLOCK_HEADER_BYTES, Footer};
use crate::full::KeyGroupSummary;

pub(super) fn encode_index(groups: &[KeyGroupSummary]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut previous = 0;
    for group in groups {
        put_varint(&mut out, u64::from(group.group.get() - previous));
        previous = group.group.get();
        for value in [group.file_bytes, group.raw_bytes, group.blocks, group.entries] {
            put_varint(&mut out, value);
        }
        put_varint(&mut out, group.state_entries.len() as u64);
        let mut previous_state = 0;
        for (state, entries) in &group.state_entries {
            put_varint(&mut out, u64::from(state - previous_state));
            put_varint(&mut out, *entries);
            previous_state = *state;
        }
    }
    out
}

/// Decodes the index block and checks it against the footer's totals.
pub(crate) fn decode_index(
    raw: &[u8],
    count: u32,
    state_count: usize,
    footer: &Footer,
) -> Result<Vec<KeyGroupSummary>> {
    if count > MAX_PARALLELISM_LIMIT {
        return Err(SnapshotError::corrupt(format!("index claims {count} key groups")));
    }
    let mut reader = ByteReader::new(raw);
    let mut groups: Vec<KeyGroupSummary> = Vec::new();
    let mut offset = footer.blocks_offset();
    for _ in 0..count {
        let after = groups.last().map(|group| u64::from(group.group.get()));
        let group = step(&mut reader, after, u64::from(MAX_PARALLELISM_LIMIT), "key group")?;
        let room = footer.index_offset.saturating_sub(offset);
        let summary = KeyGroupSummary {
            group: KeyGroup::new(group),
            offset,
            file_bytes: reader.varint_to(room, "bytes of a key group")?,
            raw_bytes: reader.varint_to(footer.raw_bytes, "raw bytes of a key group")?,
            blocks: reader.varint_to(footer.blocks, "blocks of a key group")?,
            entries: reader.varint_to(footer.entries, "entries of a key group")?,
            state_entries: decode_states(&mut reader, state_count)?,
        };
        check_group(&summary)?;
        offset += summary.file_bytes;
        groups.push(summary);
    }
    reader.expect_end()?;
    check_totals(&groups, footer, offset)?;
    Ok(groups)
}

fn decode_states(reader: &mut ByteReader<'_>, state_count: usize) -> Result<Vec<(u16, u64)>> {
    let count = reader.varint_to(state_count as u64, "states of a key group")?;
    let mut states = Vec::new();
    for _ in 0..count {
        let after = states.last().map(|(state, _): &(u16, u64)| u64::from(*state));
        let state = step(reader, after, state_count as u64, "state")?;
        states.push((state, reader.varint()?));
    }
    Ok(states)
}

/// The next number of an ascending list, below `limit`.
fn step(reader: &mut ByteReader<'_>, after: Option<u64>, limit: u64, what: &str) -> Result<u16> {
    let step = reader.varint_to(limit, "step of the index")?;
    let next = after.unwrap_or(0) + step;
    if next >= limit || (step == 0 && after.is_some()) {
        return Err(SnapshotError::corrupt(format!("index: {what} {next} is not possible here")));
    }
    Ok(next as u16)
}

fn check_group(group: &KeyGroupSummary) -> Result<()> {
    let by_state = checked_sum(group.state_entries.iter().map(|(_, entries)| *entries));
    let whole = group.entries >= group.blocks
        && group.blocks >= 1
        && group.file_bytes / BLOCK_HEADER_BYTES as u64 >= group.blocks
        && by_state == Some(group.entries)
        && group.state_entries.iter().all(|(_, entries)| *entries > 0);
    if whole {
        return Ok(());
    }
    Err(SnapshotError::corrupt("index: the figures of a key group contradict each other")
        .in_key_group(group.group))
}

fn check_totals(groups: &[KeyGroupSummary], footer: &Footer, blocks_end: u64) -> Result<()> {
    let whole = blocks_end == footer.index_offset
        && checked_sum(groups.iter().map(|group| group.entries)) == Some(footer.entries)
        && checked_sum(groups.iter().map(|group| group.raw_bytes)) == Some(footer.raw_bytes)
        && checked_sum(groups.iter().map(|group| group.blocks)) == Some(footer.blocks);
    if whole {
        return Ok(());
    }
    Err(SnapshotError::corrupt("index: its sums are not the footer's totals"))
}

fn checked_sum(mut values: impl Iterator<Item = u64>) -> Option<u64> {
    values.try_fold(0u64, u64::checked_add)
}
