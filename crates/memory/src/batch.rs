//! Batched access: overlaps the cache misses of the entries of a batch.
//!
//! An access misses the cache twice, one after the other: at the line of tags and at the entry. A
//! batch is worked on in windows, in three passes: hash all and prefetch their lines, match tags
//! and prefetch the entries, then finish one by one in order. Prefetches retire at once, so the
//! misses of a whole window are under way together; ordinary loads would fill the reorder buffer
//! after a few (about 1.5 times slower in a prototype).
//!
//! # Invariants
//! - What the first passes found is a hint. It is used only while no entry was moved since
//!   ([`Env::moves`](crate::env::Env::moves)), and only after key and namespace were compared.

use millpond_state::{BatchVisitor, EditBuffer, EntryKey, Result};
use prefetch_index::prefetch_index;

use crate::env::Env;
use crate::index::NOWHERE;
use crate::linear_table::Spot;
use crate::probe::address_hash;
use crate::segment::Segment;
use crate::short::short_key;
use crate::table::Table;

/// Entries of a window.
const WINDOW: usize = 32;

/// Bytes of an entry that are prefetched: those of one with an 8-byte key and value.
const HEAD_BYTES: usize = 24;

/// What the first passes learned about a window: by position in it.
struct Hints<'t> {
    spots: [Spot; WINDOW],
    segments: [Option<&'t Segment>; WINDOW],
}

/// Looks a window of at most [`WINDOW`] entries up, as far as that needs no waiting. Entries of
/// foreign key groups are no error here: the last pass meets them in order.
#[inline(always)]
fn look_up<'t>(table: &'t Table, entries: &[EntryKey<'_>]) -> Hints<'t> {
    let nowhere = Spot { hash: 0, slot: 0, place: NOWHERE };
    let mut hints = Hints { spots: [nowhere; WINDOW], segments: [None; WINDOW] };
    for ((at, spot), segment) in entries.iter().zip(&mut hints.spots).zip(&mut hints.segments) {
        spot.hash = address_hash(at);
        if let Some(group) = table.group_if(at.group()) {
            spot.slot = group.slot_index(spot.hash);
            *segment = group.nth_segment(spot.slot);
        }
        if let Some(segment) = segment {
            segment.index.prefetch(spot.hash);
        }
    }
    for (spot, segment) in hints.spots.iter_mut().zip(&hints.segments).take(entries.len()) {
        if let Some(segment) = segment
            && let Some(place) = segment.first_place(spot.hash)
        {
            spot.place = place;
            // Both ends: the entry may lie across two cache lines.
            prefetch_index(&segment.arena, place);
            prefetch_index(&segment.arena, place + HEAD_BYTES - 1);
        }
    }
    hints
}

/// Reads many entries.
pub(crate) fn get_many<'t>(
    table: &'t Table,
    entries: &[EntryKey<'_>],
    out: &mut [Option<&'t [u8]>],
) -> Result<()> {
    for (entries, out) in entries.chunks(WINDOW).zip(out.chunks_mut(WINDOW)) {
        let hints = look_up(table, entries);
        let hinted = hints.spots.iter().zip(&hints.segments);
        for (((spot, segment), at), out) in hinted.zip(entries).zip(out) {
            *out = match segment {
                Some(segment) => short_key(at)
                    .and_then(|key| segment.short_at(key, spot.place))
                    .or_else(|| segment.get(at, spot.hash)),
                None => table.group(at.group()).map(|_| None)?,
            };
        }
    }
    Ok(())
}

/// Writes many entries.
pub(crate) fn put_many(
    table: &mut Table,
    entries: &[EntryKey<'_>],
    values: &[&[u8]],
    env: &mut Env,
) -> Result<()> {
    for (entries, values) in entries.chunks(WINDOW).zip(values.chunks(WINDOW)) {
        let Hints { spots, .. } = look_up(table, entries);
        let moves = env.moves;
        for ((spot, at), value) in spots.iter().zip(entries).zip(values) {
            let group = table.group_mut(at.group(), env)?;
            let spot = if env.moves == moves { *spot } else { group.spot(spot.hash) };
            group.put(at, spot, value, env)?;
        }
    }
    Ok(())
}

/// Reads, modifies and writes many entries.
pub(crate) fn update_many(
    table: &mut Table,
    entries: &[EntryKey<'_>],
    change: &mut BatchVisitor<'_>,
    buffer: &mut EditBuffer,
    env: &mut Env,
) -> Result<()> {
    let mut index = 0;
    for entries in entries.chunks(WINDOW) {
        let Hints { spots, .. } = look_up(table, entries);
        let moves = env.moves;
        for (spot, at) in spots.iter().zip(entries) {
            let group = table.group_mut(at.group(), env)?;
            let spot = if env.moves == moves { *spot } else { group.spot(spot.hash) };
            group.update(at, spot, buffer, env, |edit| change(index, edit))?;
            index += 1;
        }
    }
    Ok(())
}
