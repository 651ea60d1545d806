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

use millpond_state::{BatchVisitor, EntryKey, Result, check_value_len};
use prefetch_index::prefetch_index;

use crate::env::Env;
use crate::index::NOWHERE;
use crate::linear_table::Editing;
use crate::probe::address_hash;
use crate::segment::Segment;
use crate::table::Table;

/// Entries of a window.
const WINDOW: usize = 32;

/// Bytes of an entry that are prefetched: those of one with an 8-byte key and value.
const HEAD_BYTES: usize = 24;

/// What the first passes learned about a window: by position in it.
struct Hints<'t> {
    /// Hash of key and namespace.
    hashes: [u64; WINDOW],
    segments: [Option<&'t Segment>; WINDOW],
    /// Where in the segment's arena the entry may be.
    places: [usize; WINDOW],
}

/// Looks a window of at most [`WINDOW`] entries up, as far as that needs no waiting. Entries of
/// foreign key groups are no error here: the last pass meets them in order.
#[inline]
fn look_up<'t>(table: &'t Table, entries: &[EntryKey<'_>]) -> Hints<'t> {
    let mut hints =
        Hints { hashes: [0; WINDOW], segments: [None; WINDOW], places: [NOWHERE; WINDOW] };
    for ((at, hash), segment) in entries.iter().zip(&mut hints.hashes).zip(&mut hints.segments) {
        *hash = address_hash(at);
        *segment = table.group_if(at.group()).and_then(|group| group.segment_of(*hash));
        if let Some(segment) = segment {
            segment.index.prefetch(*hash);
        }
    }
    let hashed = hints.hashes.iter().zip(&hints.segments).take(entries.len());
    for ((hash, segment), place) in hashed.zip(&mut hints.places) {
        if let Some(segment) = segment
            && let Some(first) = segment.first_place(*hash)
        {
            *place = first;
            // Both ends: the entry may lie across two cache lines.
            prefetch_index(&segment.arena, first);
            prefetch_index(&segment.arena, first + HEAD_BYTES - 1);
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
        let hinted = hints.hashes.iter().zip(&hints.segments).zip(&hints.places);
        for ((((hash, segment), place), at), out) in hinted.zip(entries).zip(out) {
            *out = match segment {
                Some(segment) => segment.get_at(at, *hash, *place),
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
        let Hints { hashes, places, .. } = look_up(table, entries);
        let moves = env.moves;
        for (((hash, place), at), value) in hashes.iter().zip(&places).zip(entries).zip(values) {
            at.check_lengths()?;
            check_value_len(value.len())?;
            let place = (env.moves == moves).then_some(*place);
            table.group_mut(at.group(), env)?.put(at, *hash, place, value, env)?;
        }
    }
    Ok(())
}

/// Reads, modifies and writes many entries.
pub(crate) fn update_many(
    table: &mut Table,
    entries: &[EntryKey<'_>],
    change: &mut BatchVisitor<'_>,
    editing: &mut Editing<'_>,
) -> Result<()> {
    if let [at] = entries {
        at.check_lengths()?;
        let group = table.group_mut(at.group(), editing.env)?;
        return group.update(at, address_hash(at), None, editing, |edit| change(0, edit));
    }
    let mut index = 0;
    for entries in entries.chunks(WINDOW) {
        let Hints { hashes, places, .. } = look_up(table, entries);
        let moves = editing.env.moves;
        for ((hash, place), at) in hashes.iter().zip(&places).zip(entries) {
            at.check_lengths()?;
            let place = (editing.env.moves == moves).then_some(*place);
            let group = table.group_mut(at.group(), editing.env)?;
            group.update(at, *hash, place, editing, |edit| change(index, edit))?;
            index += 1;
        }
    }
    Ok(())
}
