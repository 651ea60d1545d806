//! Batched access: overlaps the cache misses of the entries of a batch.
//!
//! An access may miss the cache at the line of tags and does at the entry, one after the other. A
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

/// What is known of the entries of a window, by position in it.
struct Hints<'t> {
    /// Hash of key and namespace.
    hashes: [u64; WINDOW],
    segments: [Option<&'t Segment>; WINDOW],
}

/// Looks a window of at most [`WINDOW`] entries up, as far as that needs no waiting. Entries of
/// foreign key groups are no error here: the last pass meets them in order.
#[inline(always)]
fn look_up<'t>(
    table: &'t Table,
    entries: &[EntryKey<'_>],
    spots: &mut [Spot; WINDOW],
    hints: &mut Hints<'t>,
) {
    let Hints { hashes, segments } = hints;
    let hinted = spots.iter_mut().zip(&mut *hashes).zip(&mut *segments);
    for (at, ((spot, known), segment)) in entries.iter().zip(hinted) {
        let hash = address_hash(at);
        let (mut slot, mut found) = (0, None);
        if let Some(group) = table.group_if(at.group()) {
            slot = group.slot_index(hash);
            found = group.nth_segment(slot);
        }
        if let Some(segment) = found {
            segment.index.prefetch(hash);
        }
        *spot = Spot { slot: slot as u32, place: NOWHERE };
        (*known, *segment) = (hash, found);
    }
    let hinted = spots.iter_mut().zip(hashes).zip(segments);
    for (_, ((spot, hash), segment)) in entries.iter().zip(hinted) {
        if let Some(segment) = segment
            && let Some(place) = segment.first_place(*hash)
        {
            spot.place = place;
            // Both ends: the entry may lie across two cache lines.
            prefetch_index(&segment.arena, place as usize);
            prefetch_index(&segment.arena, place as usize + HEAD_BYTES - 1);
        }
    }
}

/// Reads many entries.
pub(crate) fn get_many<'t>(
    table: &'t Table,
    entries: &[EntryKey<'_>],
    out: &mut [Option<&'t [u8]>],
) -> Result<()> {
    let mut spots = [Spot::default(); WINDOW];
    let mut hints = Hints { hashes: [0; WINDOW], segments: [None; WINDOW] };
    for (entries, out) in entries.chunks(WINDOW).zip(out.chunks_mut(WINDOW)) {
        look_up(table, entries, &mut spots, &mut hints);
        let hinted = spots.iter().zip(&hints.segments);
        for ((at, out), (spot, segment)) in entries.iter().zip(out).zip(hinted) {
            *out = match segment {
                Some(segment) => short_key(at)
                    .and_then(|key| segment.short_at(key, spot.place))
                    .or_else(|| segment.get(at)),
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
    let mut spots = [Spot::default(); WINDOW];
    for (entries, values) in entries.chunks(WINDOW).zip(values.chunks(WINDOW)) {
        let mut hints = Hints { hashes: [0; WINDOW], segments: [None; WINDOW] };
        look_up(table, entries, &mut spots, &mut hints);
        let moves = env.moves;
        for ((at, value), spot) in entries.iter().zip(values).zip(&spots) {
            let group = table.group_mut(at.group(), env)?;
            let spot = (env.moves == moves).then_some(*spot);
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
    let (mut spots, mut index) = ([Spot::default(); WINDOW], 0);
    for entries in entries.chunks(WINDOW) {
        let mut hints = Hints { hashes: [0; WINDOW], segments: [None; WINDOW] };
        look_up(table, entries, &mut spots, &mut hints);
        let moves = env.moves;
        for (at, spot) in entries.iter().zip(&spots) {
            let group = table.group_mut(at.group(), env)?;
            let spot = (env.moves == moves).then_some(*spot);
            group.update((index, at), spot, change, buffer, env)?;
            index += 1;
        }
    }
    Ok(())
}
